//! Where a password comes from.

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use zeroize::Zeroizing;

use super::CredentialError;
use super::key_file::{check_file, read_private};
use crate::output::reason;
use crate::words;

/// Longest password that a server takes, in bytes.
pub(crate) const MAX_PASSWORD: usize = 1024;

/// A place that a password is read from, when it is needed and not before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// The first line of a file that only its owner may read.
    File(PathBuf),
    /// The first line that a command prints; the command is split into words without a shell.
    Command(String),
    /// The terminal, with this prompt.
    Prompt(String),
}

impl fmt::Display for PasswordSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PasswordSource::File(path) => write!(f, "password of {}", path.display()),
            PasswordSource::Command(_) => f.write_str("password of the password command"),
            PasswordSource::Prompt(_) => f.write_str("password from the terminal"),
        }
    }
}

impl PasswordSource {
    /// Refuses a file that is missing or that others may read, before anybody is connected to. Other places are asked
    /// when the password is needed.
    pub(super) fn check(&self) -> Result<(), CredentialError> {
        match self {
            PasswordSource::File(path) => check_file(path),
            PasswordSource::Command(_) | PasswordSource::Prompt(_) => Ok(()),
        }
    }

    /// Obtains the password. Blocks: on the terminal, or while the command runs.
    pub fn read(&self) -> Result<Zeroizing<String>, CredentialError> {
        let text = match self {
            PasswordSource::File(path) => read_private(path)?,
            PasswordSource::Command(command) => run(command)?,
            PasswordSource::Prompt(prompt) => ask_on_terminal(prompt)
                .ok_or_else(|| CredentialError("no password was given at the terminal".into()))?,
        };
        let line = Zeroizing::new(text.lines().next().unwrap_or_default().to_owned());
        match line.len() {
            0 => Err(CredentialError(format!("the {self} is empty"))),
            length if length > MAX_PASSWORD => {
                Err(CredentialError(format!("the {self} is longer than {MAX_PASSWORD} bytes")))
            }
            _ => Ok(line),
        }
    }
}

/// Prompts on the controlling terminal without showing what is typed; `None` where there is none or nothing
/// was typed.
pub fn ask_on_terminal(prompt: &str) -> Option<Zeroizing<String>> {
    let mut answer = None;
    let mut ask = || answer = rpassword::prompt_password(prompt).ok().map(Zeroizing::new);
    match THROUGH.get() {
        Some(through) => through(&mut ask),
        None => ask(),
    }
    answer.filter(|text| !text.is_empty())
}

/// Runs a prompt while nothing else uses the terminal.
type Through = Box<dyn Fn(&mut dyn FnMut()) + Send + Sync>;

/// There is one terminal, however many hosts ask for something.
static THROUGH: OnceLock<Through> = OnceLock::new();

/// From now on every prompt goes through this, which calls what it is given; the first call counts.
pub fn prompt_through(through: impl Fn(&mut dyn FnMut()) + Send + Sync + 'static) {
    let _ = THROUGH.set(Box::new(through));
}

fn run(command: &str) -> Result<Zeroizing<String>, CredentialError> {
    let failed = |why: &dyn fmt::Display| CredentialError(format!("the password command: {why}"));
    let words = words::split(command).map_err(|why| failed(&why))?;
    let (program, arguments) = words.split_first().ok_or_else(|| failed(&"it is empty"))?;
    let output = Command::new(program)
        .args(arguments)
        .stderr(Stdio::inherit())
        .stdin(Stdio::inherit())
        .output()
        .map_err(|error| failed(&format_args!("cannot start '{program}': {}", reason(&error))))?;
    if !output.status.success() {
        return Err(failed(&format_args!("{program} failed ({})", output.status)));
    }
    let bytes = Zeroizing::new(output.stdout);
    let text = std::str::from_utf8(&bytes).map_err(|_| failed(&"it printed something other than UTF-8"))?;
    Ok(Zeroizing::new(text.to_owned()))
}
