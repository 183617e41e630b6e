//! Which variables of the environment a request may set.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names, each of which may end in one `*` for whatever follows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub(super) struct Variables(Vec<String>);

/// What tells a command who asked for it; no request sets it.
const RESERVED: &str = "FT_*";

/// With these, somebody who may run one program makes it another: they name code that the loader, a shell or an
/// interpreter runs, or where these look for it. In order: those that the server sets, and those of the loader and
/// the C library, shells, terminals, interpreters, and programs that start others. Most are those that sudo never
/// lets through (env.c, `initial_badenv_table`).
const HARMFUL: [&str; 6] = [
    "PATH HOME USER LOGNAME SHELL",
    "LD_* _RLD* GCONV_PATH GLIBC_TUNABLES MALLOC_* LOCALDOMAIN RES_OPTIONS HOSTALIASES NLSPATH PATH_LOCALE LOCPATH",
    "IFS CDPATH ENV BASH_* PS4 GLOBIGNORE BASHOPTS SHELLOPTS PROMPT_COMMAND FPATH NULLCMD READNULLCMD ZDOTDIR TMPPREFIX",
    "TERMINFO TERMINFO_DIRS TERMPATH TERMCAP",
    "PERL* PYTHON* RUBY* GEM_* NODE_* JAVA_* _JAVA_* JDK_* CLASSPATH LUA_* TCL* PHP*",
    "GIT_* SSH_* RSYNC_* TAR_* APT_* LESS* MAN* EDITOR VISUAL PAGER BROWSER OPENSSL_* SYSTEMD_* XDG_*",
];

/// The first harmful pattern that has a name in common with this one.
fn harmful(pattern: &str) -> Option<&'static str> {
    HARMFUL.iter().flat_map(|line| line.split(' ')).find(|bad| overlap(bad, pattern))
}

impl TryFrom<Vec<String>> for Variables {
    type Error = String;

    fn try_from(patterns: Vec<String>) -> Result<Self, String> {
        for pattern in &patterns {
            let stem = pattern.strip_suffix('*').unwrap_or(pattern);
            if !(is_name(stem) || pattern == "*") {
                return Err(format!(
                    "{} is no name of a variable: letters, digits and '_', and one '*' at the end",
                    super::audit::quoted(pattern.as_bytes())
                ));
            }
            if stem.starts_with("FT_") {
                return Err(format!("{pattern}: the variables {RESERVED} are set by the server alone"));
            }
        }
        Ok(Self(patterns))
    }
}

impl From<Variables> for Vec<String> {
    fn from(variables: Variables) -> Self {
        variables.0
    }
}

impl fmt::Display for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

impl Variables {
    pub(super) fn any() -> Self {
        Self(vec!["*".to_owned()])
    }

    /// Whether one of the patterns covers `name`. For an account that is `limited` to named commands, none covers
    /// what would let it out of them.
    pub(super) fn allows(&self, name: &str, limited: bool) -> bool {
        let barred = overlap(RESERVED, name) || (limited && harmful(name).is_some());
        !barred && self.0.iter().any(|pattern| overlap(pattern, name))
    }

    /// Whether none of the patterns could let an account out of its named commands; else what is wrong.
    pub(super) fn harmless(&self) -> Result<(), String> {
        for pattern in &self.0 {
            if let Some(bad) = harmful(pattern) {
                return Err(format!(
                    "{pattern} covers {bad}, with which named 'commands' could be made to run others: leave it out"
                ));
            }
        }
        Ok(())
    }
}

/// `[A-Za-z_][A-Za-z0-9_]*`
pub(super) fn is_name(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether some name is covered by both patterns. A name is a pattern for itself.
fn overlap(one: &str, other: &str) -> bool {
    match (one.strip_suffix('*'), other.strip_suffix('*')) {
        (None, None) => one == other,
        (Some(stem), None) => other.starts_with(stem),
        (None, Some(stem)) => one.starts_with(stem),
        (Some(one), Some(other)) => one.starts_with(other) || other.starts_with(one),
    }
}
