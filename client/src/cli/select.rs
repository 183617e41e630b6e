//! Which names of a directory take part: `--exclude`, `--include`, `--exclude-from`, `--files-from`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::builder::ArgAction;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, ValueHint, value_parser};

use super::{Hosts, UsageError};

const HEADING: &str = "Selection within a directory";
const EXCLUDE: &str = "exclude";
const INCLUDE: &str = "include";
const EXCLUDE_FROM: &str = "exclude_from";
const FILES_FROM: &str = "files_from";
const FROM0: &str = "from0";

const EXCLUDE_HELP: &str = "Leave out names that fit, in gitignore's syntax: without '/' at any depth, with one from \
the directory's top on; '/' at the end means directories only. The first pattern that fits counts, of --include and \
--exclude in the order of the command line; what fits none takes part, and an excluded directory is not entered";
const INCLUDE_HELP: &str = "Let names take part that a later --exclude would leave out";
const EXCLUDE_FROM_HELP: &str = "Read patterns to exclude, one a line; '-' is standard input; empty lines and those with '#' in front are skipped";
const FILES_FROM_HELP: &str = "Only these names, and all that is in them: one path a line, beneath the directory, CRLF too; \
'-' is standard input";
const FROM0_HELP: &str = "Names of --files-from end in a zero byte, as 'find -print0' writes them";

/// The options as they were typed. Made by hand: clap's derive does not tell in which order options of different
/// names stood.
#[derive(Debug, Clone, Default)]
pub(super) struct SelectArgs {
    rules: Vec<RuleSource>,
    files_from: Option<PathBuf>,
    from0: bool,
}

/// What of a directory takes part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Patterns in the order in which they are tried.
    pub rules: Vec<RuleSource>,
    /// The only names that take part, where they were listed.
    pub names: Option<NameList>,
}

/// Where patterns come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleSource {
    /// The command line.
    Pattern {
        /// What fits takes part; otherwise it is left out.
        include: bool,
        /// In gitignore's syntax.
        pattern: OsString,
    },
    /// A file of patterns to exclude; `-` is standard input.
    File(PathBuf),
}

/// A file that lists names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameList {
    /// The file; `-` is standard input.
    pub file: PathBuf,
    /// Names end in a zero byte, not in a line feed.
    pub zero: bool,
}

impl Selection {
    /// Everything takes part.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Standard input is read.
    pub fn reads_stdin(&self) -> bool {
        let is_stdin = |file: &PathBuf| file.as_os_str() == "-";
        let listed = self.names.as_ref().is_some_and(|names| is_stdin(&names.file));
        listed || self.rules.iter().any(|rule| matches!(rule, RuleSource::File(file) if is_stdin(file)))
    }
}

impl SelectArgs {
    /// Checks what can be checked without reading a file.
    pub(super) fn plan(self, hosts: &Hosts) -> Result<Selection, UsageError> {
        let file = |path: PathBuf| match path.as_os_str().as_bytes() {
            b"" => Err(UsageError::new("--exclude-from and --files-from need the name of a file")),
            b"-" => Ok(path),
            _ => Ok(hosts.local(path.as_os_str())),
        };
        if self.from0 && self.files_from.is_none() {
            return Err(UsageError::new(
                "--from0 says how the names of --files-from end, and that is not given",
            ));
        }
        let rules = self.rules.into_iter().map(|rule| match rule {
            RuleSource::Pattern { pattern, .. } if pattern.is_empty() => {
                Err(UsageError::new("a pattern of --exclude or --include is empty"))
            }
            RuleSource::Pattern { pattern, .. } if pattern.as_bytes().starts_with(b"!") => {
                Err(UsageError::new(negated(&pattern)))
            }
            pattern @ RuleSource::Pattern { .. } => Ok(pattern),
            RuleSource::File(path) => file(path).map(RuleSource::File),
        });
        let rules = rules.collect::<Result<Vec<_>, _>>()?;
        let list = |path| Ok::<_, UsageError>(NameList { file: file(path)?, zero: self.from0 });
        let selection = Selection { rules, names: self.files_from.map(list).transpose()? };
        let stdin = |rule: &&RuleSource| **rule == RuleSource::File("-".into());
        let listed = selection.names.as_ref().is_some_and(|names| names.file.as_os_str() == "-");
        if selection.rules.iter().filter(stdin).count() + usize::from(listed) > 1 {
            return Err(UsageError::new("standard input can be read for one option only"));
        }
        if selection.reads_stdin() && hosts.here.is_some() {
            return Err(UsageError::new(super::shell::STDIN_IS_TAKEN));
        }
        Ok(selection)
    }
}

/// What is wrong with a pattern that begins with `!`. With gitignore the last pattern counts, here the first: taken
/// over from there, it would not do what it did.
pub(crate) fn negated(pattern: &OsStr) -> String {
    let shown = pattern.display();
    format!(
        "'{shown}': there is no '!' here; write --include before the --exclude (or \\! for a name with '!')"
    )
}

impl Args for SelectArgs {
    fn augment_args(command: Command) -> Command {
        let option = |id: &'static str, long: &'static str, value: &'static str, help: &'static str| {
            Arg::new(id).long(long).value_name(value).help(help).action(ArgAction::Append)
        };
        let pattern = |id, help| {
            option(id, id, "PATTERN", help).value_parser(value_parser!(OsString)).allow_hyphen_values(true)
        };
        let file = |id, long, help| {
            option(id, long, "FILE", help)
                .value_parser(value_parser!(PathBuf))
                .value_hint(ValueHint::FilePath)
        };
        command.next_help_heading(HEADING).args([
            pattern(EXCLUDE, EXCLUDE_HELP),
            pattern(INCLUDE, INCLUDE_HELP),
            file(EXCLUDE_FROM, "exclude-from", EXCLUDE_FROM_HELP),
            file(FILES_FROM, "files-from", FILES_FROM_HELP).action(ArgAction::Set),
            Arg::new(FROM0).short('0').long("from0").action(ArgAction::SetTrue).help(FROM0_HELP),
        ])
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SelectArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut rules: Vec<(usize, RuleSource)> = Vec::new();
        for (id, include) in [(EXCLUDE, false), (INCLUDE, true)] {
            let patterns = matches.get_many::<OsString>(id).unwrap_or_default().cloned();
            let rule = |pattern| RuleSource::Pattern { include, pattern };
            rules.extend(matches.indices_of(id).unwrap_or_default().zip(patterns.map(rule)));
        }
        let files = matches.get_many::<PathBuf>(EXCLUDE_FROM).unwrap_or_default().cloned();
        rules.extend(matches.indices_of(EXCLUDE_FROM).unwrap_or_default().zip(files.map(RuleSource::File)));
        rules.sort_by_key(|(place, _)| *place);
        Ok(Self {
            rules: rules.into_iter().map(|(_, rule)| rule).collect(),
            files_from: matches.get_one(FILES_FROM).cloned(),
            from0: matches.get_flag(FROM0),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
