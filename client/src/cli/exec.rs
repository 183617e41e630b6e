//! `exec`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::{Args, ValueHint};
use ft_protocol::RemotePath;

use super::{Hosts, UsageError};
use crate::client::Program;

/// Run a program on the server
#[derive(Debug, Args)]
#[command(
    override_usage = "ftclient exec [OPTIONS] [--] PROGRAM [ARG]...\n       ftclient exec [OPTIONS] --shell LINE",
    after_help = "\
The first word that is no option is the program; everything behind it belongs to the program, options too. The \
host is never among the words: it is that of -H, or the default host. Words arrive as they are, and no shell looks \
at them. The program runs in the root of the account, with the environment that the server gives it. An account \
that may run named commands only has to write the program with its full path.

The program reads what is piped into this one; any other standard input only with '--stdin -'. In a loop that reads \
its lines from a pipe, exec is given '< /dev/null', as ssh is given -n. With --tty, '~.' at the beginning of a line leaves a session that hangs, and '~~' is a '~'.

Ctrl-C, a closed standard output, a lost connection and a deadline end the program and all that it started. \
--timeout counts only where it is given for this command (or by FTCLIENT_TIMEOUT).

Exit codes: that of the program; 128+N where signal N ended it; 2 usage, configuration or no host; 255 anything \
else that went wrong, with the cause on standard error. On many hosts 0, or 3 where one is not ok; -S is the largest.

Examples:
  ftclient exec -H nas df -h
  ftclient exec --shell 'du -s * | sort -n'
  tar c src | ftclient exec --cwd backup tar x
  ftclient exec --tty htop
  ftclient exec -g web -b df -h"
)]
pub(super) struct ExecArgs {
    /// The program and its arguments
    #[arg(value_name = "PROGRAM", trailing_var_arg = true, value_hint = ValueHint::CommandWithArguments)]
    argv: Vec<OsString>,
    /// Run a line, quoted as one word, with the shell of the account instead; a grant of its own
    #[arg(long, value_name = "LINE", conflicts_with = "argv")]
    shell: Option<OsString>,
    /// What the program reads: a file, or '-' for standard input [default: standard input where it is a pipe, and nothing on many hosts]
    #[arg(long, value_name = "FILE", conflicts_with = "tty", value_hint = ValueHint::FilePath)]
    stdin: Option<PathBuf>,
    /// Give the program a terminal, which is this one
    #[arg(long)]
    tty: bool,
    /// Directory on the server in which it runs [default: the root]
    #[arg(long, value_name = "DIR")]
    cwd: Option<OsString>,
    /// A variable for its environment; NAME alone takes the value that it has here
    #[arg(long, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,
}

/// An `exec`, ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecPlan {
    /// What to run.
    pub program: Program,
    /// What it reads.
    pub input: Input,
    /// Where it runs.
    pub cwd: RemotePath,
    /// Variables, with a value or with the one that they have here.
    pub env: Vec<(OsString, Option<OsString>)>,
}

/// What a command reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Nothing.
    None,
    /// Standard input where it is a pipe, otherwise nothing.
    Pipe,
    /// Standard input, whatever it is.
    Stdin,
    /// A file.
    File(PathBuf),
    /// The terminal, on which it also writes.
    Terminal,
}

impl ExecArgs {
    pub(super) fn plan(self, json: bool, hosts: &mut Hosts) -> Result<ExecPlan, UsageError> {
        if json && self.tty {
            return Err(UsageError::new("--tty cannot be used with --json"));
        }
        let program = match self.shell {
            Some(line) => Program::Shell(line),
            None if self.argv.is_empty() => {
                return Err(UsageError::new(
                    "exec needs a program, as in 'ftclient exec df -h', or --shell and a line",
                ));
            }
            None => Program::Argv(self.argv),
        };
        let input = match self.stdin {
            _ if self.tty => Input::Terminal,
            // That of the shell are its lines.
            None if hosts.here.is_some() => Input::None,
            None => Input::Pipe,
            Some(file) if file.as_os_str() == "-" => Input::Stdin,
            Some(file) => Input::File(hosts.local(file.as_os_str())),
        };
        let cwd = match &self.cwd {
            Some(dir) => hosts.directory(dir)?,
            None => hosts.start(),
        };
        let env = self.env.iter().map(|variable| parse(variable)).collect::<Result<_, _>>()?;
        Ok(ExecPlan { program, input, cwd, env })
    }
}

fn parse(variable: &OsStr) -> Result<(OsString, Option<OsString>), UsageError> {
    let bytes = variable.as_bytes();
    let (name, value) = match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) => (bytes.get(..at).unwrap_or_default(), bytes.get(at + 1..)),
        None => (bytes, None),
    };
    if name.is_empty() {
        return Err(UsageError::new("--env is followed by NAME=VALUE or NAME"));
    }
    let owned = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
    Ok((owned(name), value.map(owned)))
}
