//! The `[exec]` table of an account file.

use std::fmt::Write as _;
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use ft_protocol::auth::Rights;
use ft_protocol::display::Escaped;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::commands::Commands;
use super::variables::Variables;
use crate::config::{DurationText, SizeText};
use crate::process::ProcessLimits;
use crate::toml_file::AbsolutePath;

/// What runs command lines where the account names nothing else.
const SHELL: &str = "/bin/sh";

/// What an account with the right `exec` or `shell` may run, and how: the `[exec]` table of its file.
///
/// Where `commands` are named, everything beside them is denied unless it is granted too; where none are named,
/// the account can run any program, and refusing it a terminal or a variable would keep it from nothing.
/// What the file leaves out stays left out when it is written again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    #[serde(skip_serializing_if = "Option::is_none")]
    commands: Option<Spanned<Commands>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shell: Option<AbsolutePath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tty: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdin: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    env: Option<Spanned<Variables>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    new_privileges: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_limit: Option<DurationText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_limit: Option<SizeText>,
    #[serde(default, skip_serializing_if = "is_default")]
    limits: LimitsTable,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct LimitsTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    processes: Option<NonZeroU64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<SizeText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_time: Option<SecondsText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_size: Option<SizeText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_files: Option<NonZeroU64>,
}

fn is_default(limits: &LimitsTable) -> bool {
    *limits == LimitsTable::default()
}

/// A contradiction between parts of an account file, and the bytes of the file that it is about.
#[derive(Debug)]
pub(crate) struct Contradiction {
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
}

impl Grant {
    /// Any program, with everything around it: for a session that ssh let in, and an account without the table.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Whether the account is held to named commands.
    pub fn is_limited(&self) -> bool {
        self.commands.is_some()
    }

    /// Whether the account file says anything about commands.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What single values cannot show: rights and parts of the table that do not go together.
    pub(crate) fn consistent_with(&self, rights: Rights) -> Result<(), Contradiction> {
        if let Some(commands) = &self.commands
            && rights.contains(Rights::SHELL)
        {
            return Err(Contradiction {
                span: commands.span(),
                message: "a shell can run every command: leave out the right 'shell', or 'commands'"
                    .to_owned(),
            });
        }
        if let Some(env) = &self.env
            && self.is_limited()
            && let Err(message) = env.get_ref().harmless()
        {
            return Err(Contradiction { span: env.span(), message });
        }
        Ok(())
    }

    pub(super) fn commands(&self) -> Option<&Commands> {
        self.commands.as_ref().map(Spanned::get_ref)
    }

    pub(crate) fn user(&self) -> Option<&str> {
        self.user.as_ref().map(|user| user.0.as_str())
    }

    pub(super) fn shell(&self) -> &Path {
        self.shell.as_ref().map_or(Path::new(SHELL), |shell| &shell.0)
    }

    pub(super) fn tty(&self) -> bool {
        self.tty.unwrap_or(!self.is_limited())
    }

    pub(super) fn stdin(&self) -> bool {
        self.stdin.unwrap_or(!self.is_limited())
    }

    pub(super) fn cwd(&self) -> bool {
        self.cwd.unwrap_or(!self.is_limited())
    }

    /// Whether `--env` may set this variable.
    pub(super) fn may_set(&self, name: &str) -> bool {
        match &self.env {
            Some(env) => env.get_ref().allows(name, self.is_limited()),
            None => !self.is_limited() && Variables::any().allows(name, false),
        }
    }

    pub(super) fn new_privileges(&self) -> bool {
        self.new_privileges
    }

    pub(super) fn time_limit(&self) -> Option<Duration> {
        self.time_limit.map(|time| time.0)
    }

    pub(super) fn output_limit(&self) -> Option<u64> {
        self.output_limit.map(|size| size.0)
    }

    pub(super) fn process_limits(&self) -> ProcessLimits {
        let limits = &self.limits;
        ProcessLimits {
            processes: limits.processes.map(NonZeroU64::get),
            memory: limits.memory.map(|size| size.0),
            cpu_seconds: limits.cpu_time.map(|time| time.0),
            file_size: limits.file_size.map(|size| size.0),
            open_files: limits.open_files.map(NonZeroU64::get),
        }
    }

    /// The programs that are named.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &Path> {
        self.commands().into_iter().flat_map(Commands::programs)
    }

    /// The policy for the operator's eyes: lines of `name: value`, defaults included.
    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        match self.commands() {
            Some(commands) => {
                commands.shown().for_each(|command| _ = writeln!(text, "command: {command}"));
            }
            None => text.push_str("commands: any\n"),
        }
        let user =
            self.user().map_or("that of the server".to_owned(), |user| Escaped::from(user).to_string());
        let _ = writeln!(text, "commands run as: {user}");
        let parts = [
            ("tty", self.tty()),
            ("stdin", self.stdin()),
            ("cwd", self.cwd()),
            ("new_privileges", self.new_privileges),
        ];
        let granted: Vec<_> = parts.iter().filter(|(_, granted)| *granted).map(|(name, _)| *name).collect();
        let _ = writeln!(text, "commands may have: {}", or_none(&granted.join(", ")));
        let env = match &self.env {
            Some(env) => env.get_ref().to_string(),
            None if self.is_limited() => String::new(),
            None => Variables::any().to_string(),
        };
        let _ = writeln!(text, "variables: {}", or_none(&env));
        let _ = writeln!(text, "limits: {}", or_none(&self.limits_shown().join(", ")));
        text
    }

    fn limits_shown(&self) -> Vec<String> {
        let limits = &self.limits;
        let all = [
            ("time", self.time_limit.map(String::from)),
            ("output", self.output_limit.map(String::from)),
            ("processes", limits.processes.map(|n| n.to_string())),
            ("memory", limits.memory.map(String::from)),
            ("cpu_time", limits.cpu_time.map(String::from)),
            ("file_size", limits.file_size.map(String::from)),
            ("open_files", limits.open_files.map(|n| n.to_string())),
        ];
        all.into_iter().filter_map(|(name, limit)| Some(format!("{name} {}", limit?))).collect()
    }
}

fn or_none(list: &str) -> &str {
    if list.is_empty() { "none" } else { list }
}

/// Name of an operating-system user. Whether there is such a user is seen when a command is to run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
struct UserText(String);

impl TryFrom<String> for UserText {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if name.is_empty() || name.contains([':', '\0', '\n', '/']) {
            return Err(format!("'{}' is no name of an operating-system user", Escaped::from(name.as_str())));
        }
        Ok(Self(name))
    }
}

impl From<UserText> for String {
    fn from(user: UserText) -> Self {
        user.0
    }
}

/// A duration of whole seconds, as the kernel counts processor time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "DurationText", into = "DurationText")]
struct SecondsText(u64);

impl TryFrom<DurationText> for SecondsText {
    type Error = &'static str;

    fn try_from(text: DurationText) -> Result<Self, Self::Error> {
        match (text.0.as_secs(), text.0.subsec_nanos()) {
            (seconds, 0) => Ok(Self(seconds)),
            _ => Err("processor time is counted in whole seconds"),
        }
    }
}

impl From<SecondsText> for DurationText {
    fn from(seconds: SecondsText) -> Self {
        Self(Duration::from_secs(seconds.0))
    }
}

impl From<SecondsText> for String {
    fn from(seconds: SecondsText) -> Self {
        DurationText::from(seconds).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toml_file;

    fn parsed(text: &str) -> Result<Grant, toml_file::Malformed> {
        toml_file::parse(Path::new("/x"), text)
    }

    #[test]
    fn the_operator_sees_what_holds_defaults_included() {
        let any = Grant::everything().describe();
        assert_eq!(
            any,
            "commands: any\ncommands run as: that of the server\ncommands may have: tty, stdin, cwd\n\
             variables: *\nlimits: none\n"
        );
        let text = "commands = [['/bin/df', '*', 'a b']]\nuser = 'backup'\nstdin = true\nenv = ['LANG', 'LC_*']\n\
                    time_limit = '90s'\noutput_limit = '100M'\nlimits.processes = 3";
        assert_eq!(
            parsed(text).unwrap().describe(),
            "command: /bin/df * $'a b'\ncommands run as: backup\ncommands may have: stdin\n\
             variables: LANG, LC_*\nlimits: time 90s, output 100M, processes 3\n"
        );
    }

    #[test]
    fn harmful_variables_are_no_part_of_a_limited_account() {
        let harmful =
            ["*", "PATH", "P*", "LD_PRELOAD", "LD_*", "L*", "_*", "BASH_ENV", "ENV", "IFS", "HOME", "SHELL"];
        for name in harmful {
            let grant = parsed(&format!("commands = [['/bin/df']]\nenv = ['{name}']")).unwrap();
            let wrong = grant.consistent_with(Rights::EXEC).unwrap_err();
            assert!(wrong.message.starts_with(name), "{}", wrong.message);
            assert!(!grant.may_set("PATH") && !grant.may_set("LD_PRELOAD"), "{name}");
            // Where any program may run anyway, there is nothing to get around.
            parsed(&format!("env = ['{name}']")).unwrap().consistent_with(Rights::EXEC).unwrap();
        }
        let grant = parsed("commands = [['/bin/df']]\nenv = ['LANG', 'LC_*', 'BLOCK_SIZE']").unwrap();
        grant.consistent_with(Rights::EXEC).unwrap();
        let may = |name| grant.may_set(name);
        assert!(may("LANG") && may("LC_") && may("LC_ALL") && may("BLOCK_SIZE"));
        assert!(!may("LANGUAGE") && !may("BLOCK_SIZES") && !may("lang") && !may("XLC_ALL"));
    }
}
