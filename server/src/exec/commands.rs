//! Named commands: the only ones that an account may run, where its file names any.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::audit::quoted;

/// Stands for one argument that does not begin with `-`.
const ONE: &str = "*";

/// Lists of a program and its arguments: the program absolute, `*` exactly one argument that does not begin with
/// `-`, anything else itself. There is at least one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Vec<Vec<String>>", into = "Vec<Vec<String>>")]
pub(super) struct Commands(Vec<Vec<String>>);

impl TryFrom<Vec<Vec<String>>> for Commands {
    type Error = String;

    fn try_from(commands: Vec<Vec<String>>) -> Result<Self, String> {
        if commands.is_empty() {
            return Err("no command is named: name some, or take the right 'exec' away".to_owned());
        }
        for command in &commands {
            match command.first() {
                None => return Err("an empty command: name a program".to_owned()),
                Some(program) if !program.starts_with('/') || program.ends_with('/') => {
                    return Err(format!(
                        "{} is not the full path of a program, as /usr/bin/df is",
                        quoted(program.as_bytes())
                    ));
                }
                Some(_) if command.iter().any(|word| word.contains('\0')) => {
                    return Err("a command cannot hold a zero byte".to_owned());
                }
                Some(_) => {}
            }
        }
        Ok(Self(commands))
    }
}

impl From<Commands> for Vec<Vec<String>> {
    fn from(commands: Commands) -> Self {
        commands.0
    }
}

impl Commands {
    /// Whether `argv`, the program first, is one of them.
    pub(super) fn allow(&self, argv: &[Vec<u8>]) -> bool {
        self.0.iter().any(|command| matches(command, argv))
    }

    pub(super) fn programs(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().filter_map(|command| command.first()).map(Path::new)
    }

    /// Each on one line.
    pub(super) fn shown(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|command| {
            let shown = |word: &String| if word == ONE { ONE.to_owned() } else { quoted(word.as_bytes()) };
            command.iter().map(shown).collect::<Vec<_>>().join(" ")
        })
    }
}

fn matches(command: &[String], argv: &[Vec<u8>]) -> bool {
    command.len() == argv.len()
        && command.iter().zip(argv).all(|(pattern, word)| match pattern.as_str() {
            ONE => !word.starts_with(b"-"),
            pattern => pattern.as_bytes() == word,
        })
}
