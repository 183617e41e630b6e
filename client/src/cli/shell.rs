//! `shell`, and the lines that are typed there: the commands of the command line, without a host.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use ft_protocol::RemotePath;
use ft_protocol::display::Escaped;

use super::{
    Hosts, Input, LocalSource, LocalTarget, Plan, Stop, UsageError, escape_lines, exec, remote, sync,
    transfer,
};
use crate::address::{HostSpec, RemoteArg};
use crate::shell::local;
use crate::shell::words::Word;

const SHELL_HELP: &str = "\
At the prompt, 'help' lists the commands: get, put, sync, check, ls, cd, lcd, pwd, lpwd, mkdir, rm, mv, sum, stat, exec, history, \
quit, and '!command' for this machine's own shell. Remote names stand without a host and beneath the remote \
directory; only sync needs a ':' before one; a name with blanks is quoted; a long listing is 'ls -l'. Tab completes; Ctrl-C ends the command that \
runs, Ctrl-D the shell.

Where standard input is no terminal, commands are read from it, one a line: there is no prompt, empty lines and \
those that begin with '#' are skipped, and the first command that fails ends the run with its code and the number \
of its line. A '-' before a command lets the run go on where it fails.

Examples:
  ftclient shell nas
  printf 'cd incoming\\nput *.iso\\n' | ftclient shell nas";

pub(super) const STDIN_IS_TAKEN: &str =
    "standard input carries the commands of the shell; name a file instead of '-'";

/// Work at a prompt, or from a script, on one connection
#[derive(Debug, Args)]
#[command(after_help = SHELL_HELP)]
pub(super) struct ShellArgs {
    /// A name of the configuration, or [user@]host[:port]
    #[arg(value_name = "HOST")]
    pub(super) server: Option<HostSpec>,
}

#[derive(Debug, Parser)]
#[command(name = "", no_binary_name = true, disable_help_subcommand = true, help_template = "{subcommands}")]
struct Line {
    #[command(subcommand)]
    verb: LineVerb,
}

#[derive(Debug, Subcommand)]
enum LineVerb {
    Get(transfer::GetArgs),
    Put(transfer::PutArgs),
    Sync(sync::SyncArgs),
    Check(sync::CheckArgs),
    Ls(remote::LsArgs),
    Stat(remote::StatArgs),
    Sum(remote::SumArgs),
    Mkdir(remote::MkdirArgs),
    Rm(remote::RmArgs),
    Mv(remote::MvArgs),
    Exec(exec::ExecArgs),
    /// Change the remote directory
    Cd {
        /// Remote directory [default: the root]
        #[arg(value_name = "REMOTE")]
        directory: Option<OsString>,
    },
    /// Change the local directory
    Lcd {
        /// Local directory [default: your home directory]
        #[arg(value_name = "LOCAL")]
        directory: Option<OsString>,
    },
    /// Print the remote directory
    Pwd,
    /// Print the local directory
    Lpwd,
    /// List the lines that were typed
    History,
    /// List the commands, or explain one
    #[command(visible_alias = "?")]
    Help {
        /// A command
        #[arg(value_name = "COMMAND")]
        command: Option<String>,
    },
    /// Leave the shell
    #[command(visible_aliases = ["exit", "bye"])]
    Quit,
}

/// A line of the shell, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinePlan {
    /// A command that the server carries out.
    Work(Plan),
    /// Change the remote directory.
    Cd(RemotePath),
    /// Change the local directory.
    Lcd(PathBuf),
    /// Print the remote directory.
    Pwd,
    /// Print the local directory.
    Lpwd,
    /// List the history.
    History,
    /// Leave.
    Quit,
}

/// The definitions of what can be typed at the prompt.
pub(crate) fn line_command() -> clap::Command {
    let examples = ["get", "put", "sync", "check", "ls", "stat", "sum", "mkdir", "rm", "mv", "exec"];
    let line = examples.into_iter().fold(Line::command(), |line, verb| {
        // Those of the command line name hosts.
        line.mut_subcommand(verb, |command| command.after_help(""))
    });
    line.mut_subcommand("ls", |command| {
        command
            .mut_arg("remotes", |arg| {
                arg.help("Remote directories, files or patterns [default: the remote directory]")
            })
            // On the command line it is the user.
            .mut_arg("long", |arg| arg.short('l').help("Mode, size and modification time before each name"))
    })
}

/// Parses a line whose remote operands are relative to `cwd`. Help is [`Stop::Show`].
pub(crate) fn parse_line(words: Vec<Word>, cwd: &RemotePath, json: bool) -> Result<LinePlan, Stop> {
    let usage = |message: String| Stop::Usage { message, json };
    let from_clap = |error: clap::Error| match error.kind() {
        clap::error::ErrorKind::InvalidSubcommand => {
            let typed = words.first().map(|word| word.plain.clone()).unwrap_or_default();
            usage(format!("error: there is no command '{}'; 'help' lists what there is", shown(&typed)))
        }
        _ if error.use_stderr() => usage(escape_lines(&at_the_prompt(&error.to_string()))),
        _ => Stop::Show(at_the_prompt(&error.render().to_string())),
    };
    let typed = words.iter().map(|word| word.plain.clone());
    let matches = line_command().try_get_matches_from(typed).map_err(from_clap)?;
    let line = Line::from_arg_matches(&matches).map_err(from_clap)?;
    if let LineVerb::Help { command } = &line.verb {
        return Err(help(command.as_deref(), json));
    }
    let here = Here { cwd: cwd.clone(), words: RefCell::new(words) };
    plan(line.verb, here, json).map_err(|error| usage(format!("error: {}", Escaped::from(error.0.as_str()))))
}

fn plan(verb: LineVerb, here: Here, json: bool) -> Result<LinePlan, UsageError> {
    let mut hosts = Hosts { explicit: None, named: None, here: Some(here) };
    Ok(LinePlan::Work(match verb {
        LineVerb::Get(args) => {
            let plan = args.plan(&mut hosts)?;
            if json && plan.target == LocalTarget::Stdout {
                return Err(UsageError::new("with --json a file cannot go to standard output; name a file"));
            }
            Plan::Get(plan)
        }
        LineVerb::Put(args) => {
            let plan = args.plan(&mut hosts)?;
            if plan.sources.contains(&LocalSource::Stdin) {
                return Err(UsageError::new(STDIN_IS_TAKEN));
            }
            Plan::Put(plan)
        }
        LineVerb::Sync(args) => Plan::Sync(args.plan(&mut hosts)?),
        LineVerb::Check(args) => Plan::Check(args.plan(&mut hosts)?),
        LineVerb::Ls(args) => Plan::Ls(args.plan(&mut hosts)?),
        LineVerb::Stat(args) => Plan::Stat(args.plan(&mut hosts)?),
        LineVerb::Sum(args) => Plan::Sum(args.plan(&mut hosts)?),
        LineVerb::Mkdir(args) => Plan::Mkdir(args.plan(&mut hosts)?),
        LineVerb::Rm(args) => Plan::Rm(args.plan(&mut hosts)?),
        LineVerb::Mv(args) => Plan::Mv(args.plan(&mut hosts)?),
        LineVerb::Exec(args) => {
            let plan = args.plan(json, &mut hosts)?;
            if plan.input == Input::Stdin {
                return Err(UsageError::new(STDIN_IS_TAKEN));
            }
            Plan::Exec(plan)
        }
        LineVerb::Cd { directory: None } => return Ok(LinePlan::Cd(RemotePath::root())),
        LineVerb::Cd { directory: Some(directory) } => return Ok(LinePlan::Cd(hosts.target(&directory)?.0)),
        LineVerb::Lcd { directory } => {
            let directory = directory.map_or_else(local::home, |directory| Some(hosts.local(&directory)));
            let none = || UsageError::new("there is no home directory; name one");
            return Ok(LinePlan::Lcd(
                directory.filter(|path| !path.as_os_str().is_empty()).ok_or_else(none)?,
            ));
        }
        LineVerb::Pwd => return Ok(LinePlan::Pwd),
        LineVerb::Lpwd => return Ok(LinePlan::Lpwd),
        LineVerb::History => return Ok(LinePlan::History),
        LineVerb::Help { .. } | LineVerb::Quit => return Ok(LinePlan::Quit),
    }))
}

fn help(command: Option<&str>, json: bool) -> Stop {
    let mut all = line_command();
    all.build();
    let Some(name) = command else {
        let list = all.render_help().to_string();
        let list = list.trim_end();
        return Stop::Show(format!(
            "{list}\n  !        Run a command of this machine's shell, as in '!ls -l'; alone, an interactive one\n"
        ));
    };
    match all.find_subcommand_mut(name) {
        Some(found) => Stop::Show(at_the_prompt(&found.render_long_help().to_string())),
        None => {
            let message =
                format!("error: there is no command '{}'; 'help' lists what there is", Escaped::from(name));
            Stop::Usage { message, json }
        }
    }
}

/// Usage lines are written for the command line.
fn at_the_prompt(text: &str) -> String {
    text.replace("ftclient ", "").replace("Usage:  ", "Usage: ")
}

fn shown(word: &OsStr) -> String {
    Escaped::new(word.as_bytes()).to_string()
}

/// Where a line was typed, and how: quotes are gone from the operands, and protect from patterns.
pub(super) struct Here {
    cwd: RemotePath,
    words: RefCell<Vec<Word>>,
}

impl Here {
    pub(super) fn cwd(&self) -> &RemotePath {
        &self.cwd
    }

    pub(super) fn remote(&self, text: &OsStr) -> RemoteArg {
        let word = self.word(text);
        RemoteArg::within(&self.cwd, text.as_bytes(), &word.pattern)
    }

    pub(super) fn local(&self, text: &OsStr) -> PathBuf {
        local::path(&self.word(text))
    }

    pub(super) fn locals(&self, text: &OsStr) -> Vec<OsString> {
        local::expand(&self.word(text))
    }

    /// The word that an operand was; of two that are the same but for their quotes the first that was not asked for.
    fn word(&self, text: &OsStr) -> Word {
        let mut words = self.words.borrow_mut();
        match words.iter().position(|word| word.plain == text) {
            Some(at) => words.remove(at),
            None => Word { plain: text.to_owned(), pattern: text.as_bytes().to_vec(), tilde: false },
        }
    }
}
