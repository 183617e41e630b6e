//! The command line: parsed by clap, then resolved into plain plans that need no further check.
#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "doc comments of arguments are help texts: [user@]host is no link"
)]

mod backup;
mod exec;
mod fleet;
pub mod globals;
mod hosts;
mod remote;
pub(crate) mod select;
mod setup;
mod shell;
mod sync;
mod transfer;
pub mod values;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use ft_protocol::RemotePath;
use ft_protocol::display::Escaped;

use crate::address::{AddressError, HostSpec, RemoteArg, RemoteOperand};
use crate::exit::Exit;
use crate::inventory::HostList;
use fleet::FleetArgs;
use globals::{ConnectionArgs, RunArgs};

pub use backup::BackupDir;
pub use clap_complete::Shell;
pub use exec::{ExecPlan, Input};
pub use fleet::{FleetPlan, Serial};
pub use hosts::{AddPlan, HostsPlan, ImportPlan};
pub use remote::{LsPlan, MkdirPlan, MvPlan, RmPlan, StatPlan, SumPlan};
pub use select::{NameList, RuleSource, Selection};
pub use setup::{JoinPlan, TrustPlan, write_completions, write_man};
pub use shell::LinePlan;
pub(crate) use shell::{line_command, parse_line};
pub use sync::{CheckPlan, Direction, Sides, SyncPlan};
pub use transfer::{GetPlan, LocalSource, LocalTarget, PutPlan, TreePlan};

const REMOTES: &str = "\
Remote files are written [user@]host:path or ft://[user@]host[:port]/path. A host ends at the first colon that \
has no '/' before it, so host:2222 names a file; ports come from -P, a URL or the configuration. Without a host \
-H, FTCLIENT_HOSTS and default_host of the configuration are used. host: is the root of the account. \
'*', '?' and '[...]' in remote names are patterns (quote them from your shell); a backslash takes away their meaning.

Exit codes: 0 done and verified; 1 failure; 2 usage or configuration; 3 some files failed; 4 not found; \
5 network or temporary, a retry is safe; 6 digest mismatch; 7 login, server key or missing right; 8 server limit or --max-delete; \
9 nothing to do (--error-on-no-transfer); 10 deadline; 11 locked or busy; 12 disk full; 13 versions do not fit.";

/// Move files to and from an ftserver: encrypted, verified by digest, resumable
#[derive(Debug, Parser)]
#[command(name = "ftclient", version, after_help = REMOTES, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    fleet: FleetArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
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
    Shell(shell::ShellArgs),
    Hosts(hosts::HostsArgs),
    Join(setup::JoinArgs),
    Trust(setup::TrustArgs),
    Key(setup::KeyArgs),
    Completions(setup::CompletionsArgs),
    Man(setup::ManArgs),
}

/// A command line, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The host that the operands name; `None` leaves it to `-H`, environment and configuration.
    pub host: Option<HostSpec>,
    /// Connection options.
    pub connection: ConnectionArgs,
    /// Options of the run.
    pub run: RunArgs,
    /// What to do.
    pub plan: Plan,
    /// On which hosts, where they are many.
    pub fleet: Option<FleetPlan>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Copy from the server.
    Get(GetPlan),
    /// Copy to the server.
    Put(PutPlan),
    /// Make a directory equal to another one.
    Sync(SyncPlan),
    /// Compare.
    Check(CheckPlan),
    /// List.
    Ls(LsPlan),
    /// Show metadata.
    Stat(StatPlan),
    /// Print digests.
    Sum(SumPlan),
    /// Make directories.
    Mkdir(MkdirPlan),
    /// Remove.
    Rm(RmPlan),
    /// Rename.
    Mv(MvPlan),
    /// Run a command.
    Exec(ExecPlan),
    /// Read commands from a prompt or a script; the host is in [`Invocation::host`].
    Shell,
    /// List or change the hosts of the configuration.
    Hosts(HostsPlan),
    /// Enrol with a join string.
    Join(JoinPlan),
    /// Trust or forget a server's key; the host is in [`Invocation::host`].
    Trust(TrustPlan),
    /// Show or make the client's key.
    Key,
    /// Print completions; see [`write_completions`].
    Completions(Shell),
    /// Print a manual page; see [`write_man`]. The command exists.
    Man(Option<String>),
}

/// Why there is nothing to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// `--help` or `--version`: a text for standard output, and success.
    Show(String),
    /// The command line makes no sense.
    Usage {
        /// What is wrong and what to type, possibly several lines.
        message: String,
        /// `--json` was on the command line.
        json: bool,
    },
}

impl Stop {
    /// Writes the text where it belongs: help and JSON to `out`, errors to `err`. Returns the exit code.
    pub fn write(&self, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Exit> {
        match self {
            Stop::Show(text) => {
                out.write_all(text.as_bytes())?;
                out.flush()?;
                return Ok(Exit::Ok);
            }
            Stop::Usage { message, json: true } => {
                let event = serde_json::json!({
                    "type": "error", "code": Exit::Usage.code(), "message": message.trim_end(), "retry_safe": true,
                });
                writeln!(out, "{event}")?;
                out.flush()?;
            }
            Stop::Usage { message, json: false } => writeln!(err, "{}", message.trim_end())?,
        }
        Ok(Exit::Usage)
    }
}

/// A mistake in operands that clap cannot see.
#[derive(Debug, Clone, PartialEq, Eq)]
struct UsageError(String);

impl UsageError {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl From<AddressError> for UsageError {
    fn from(error: AddressError) -> Self {
        Self(error.0)
    }
}

/// The parser's definition, from which help, completions and manual pages are made.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses a command line; the first argument is the program's own name. Reads `FTCLIENT_…` variables.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, Stop> {
    let args: Vec<OsString> = args.into_iter().collect();
    let usage = |message: String| Stop::Usage { message, json: asks_for_json(&args) };
    let from_clap = |error: clap::Error| {
        if error.use_stderr() {
            // clap quotes what was typed; only line breaks of its own making may stay.
            usage(escape_lines(&error.to_string()))
        } else {
            Stop::Show(error.render().to_string())
        }
    };
    let matches = command().try_get_matches_from(&args).map_err(from_clap)?;
    let mut cli = Cli::from_arg_matches(&matches).map_err(from_clap)?;
    let explicit = cli.connection.hosts.clone().filter(|_| was_typed(&matches, "hosts"));
    one_password(&mut cli.connection, &matches)
        .and_then(|()| resolve(cli, explicit, &matches))
        .map_err(|error| usage(format!("error: {}", Escaped::from(error.0.as_str()))))
}

/// A typed password option beats the other one's variable; two typed ones exclude each other.
fn one_password(connection: &mut ConnectionArgs, matches: &ArgMatches) -> Result<(), UsageError> {
    match (was_typed(matches, "password_file"), was_typed(matches, "password_command")) {
        (true, true) => {
            return Err(UsageError::new("--password-file and --password-command exclude each other"));
        }
        (false, true) => connection.password_file = None,
        (true, false) => connection.password_command = None,
        (false, false) => {}
    }
    Ok(())
}

fn resolve(cli: Cli, explicit: Option<HostList>, matches: &ArgMatches) -> Result<Invocation, UsageError> {
    let mut hosts = Hosts { explicit, named: None, here: None };
    let plan = match cli.verb {
        Verb::Get(args) => Plan::Get(args.plan(&mut hosts)?),
        Verb::Put(args) => Plan::Put(args.plan(&mut hosts)?),
        Verb::Sync(args) => Plan::Sync(args.plan(&mut hosts)?),
        Verb::Check(args) => {
            let plan = args.plan(&mut hosts)?;
            if matches!(plan, CheckPlan::Receipt { .. }) {
                // A typed host goes before that of the receipt, which goes before that of the environment.
                hosts.named = hosts
                    .explicit
                    .take_if(|list| list.single().is_some())
                    .and_then(|list| list.single().cloned());
            }
            Plan::Check(plan)
        }
        Verb::Ls(args) => Plan::Ls(args.plan(&mut hosts)?),
        Verb::Stat(args) => Plan::Stat(args.plan(&mut hosts)?),
        Verb::Sum(args) => Plan::Sum(args.plan(&mut hosts)?),
        Verb::Mkdir(args) => Plan::Mkdir(args.plan(&mut hosts)?),
        Verb::Rm(args) => Plan::Rm(args.plan(&mut hosts)?),
        Verb::Mv(args) => Plan::Mv(args.plan(&mut hosts)?),
        Verb::Exec(args) => Plan::Exec(args.plan(cli.run.json, &mut hosts)?),
        Verb::Shell(args) => {
            if let Some(host) = args.server {
                hosts.name(host)?;
            }
            Plan::Shell
        }
        Verb::Hosts(args) => {
            let selection = cli.fleet.selection(hosts.explicit.take());
            Plan::Hosts(args.plan(selection, &cli.connection, matches)?)
        }
        Verb::Join(args) => Plan::Join(args.plan()),
        Verb::Trust(args) => {
            let (plan, host) = args.plan(&cli.connection)?;
            host.map_or(Ok(()), |host| hosts.name(host))?;
            Plan::Trust(plan)
        }
        Verb::Key(_) => Plan::Key,
        Verb::Completions(args) => Plan::Completions(args.shell),
        Verb::Man(args) => match args.command {
            Some(verb) if !setup::is_verb(&command(), &verb) => {
                return Err(UsageError::new(format!("there is no command '{verb}'; see ftclient --help")));
            }
            verb => Plan::Man(verb),
        },
    };
    let fleet = cli.fleet.plan(&cli.connection, hosts.named.is_some(), &plan, matches, cli.run.json)?;
    Ok(Invocation { host: hosts.named, connection: cli.connection, run: cli.run, plan, fleet })
}

/// The hosts that operands name: for now all must be the same, and none may stand beside `-H`.
struct Hosts {
    explicit: Option<HostList>,
    named: Option<HostSpec>,
    /// A line of the shell, whose operands name no host.
    here: Option<shell::Here>,
}

impl Hosts {
    /// Where remote paths begin.
    fn start(&self) -> RemotePath {
        self.here.as_ref().map_or_else(RemotePath::root, |here| here.cwd().clone())
    }

    /// A remote directory that names no host.
    fn directory(&self, text: &OsStr) -> Result<RemotePath, UsageError> {
        let plain =
            || RemotePath::from_typed(text.as_bytes()).map_err(|error| UsageError::new(error.to_string()));
        self.here.as_ref().map_or_else(plain, |here| Ok(here.remote(text).literal()?))
    }

    /// Whether what should be a local operand names a host.
    fn names_host(&self, text: &OsStr) -> bool {
        self.here.is_none() && RemoteArg::parse(text).is_ok_and(|arg| arg.host.is_some())
    }

    /// A local operand. A shell outside has expanded those of the command line.
    fn local(&self, text: &OsStr) -> PathBuf {
        self.here.as_ref().map_or_else(|| PathBuf::from(text), |here| here.local(text))
    }

    /// A local operand that may be a pattern in the shell.
    fn locals(&self, text: &OsStr) -> Vec<OsString> {
        self.here.as_ref().map_or_else(|| vec![text.to_owned()], |here| here.locals(text))
    }

    /// A remote operand that may be a pattern.
    fn operand(&mut self, text: &OsStr) -> Result<RemoteOperand, UsageError> {
        Ok(self.remote(text)?.operand()?)
    }

    /// A remote operand that is one path, and whether it can only be a directory.
    fn target(&mut self, text: &OsStr) -> Result<(RemotePath, bool), UsageError> {
        let remote = self.remote(text)?;
        Ok((remote.literal()?, remote.names_directory()))
    }

    fn remote(&mut self, text: &OsStr) -> Result<RemoteArg, UsageError> {
        if text.is_empty() {
            return Err(UsageError::new(
                "a remote name is empty; the root of the account is written host: or /",
            ));
        }
        if let Some(here) = &self.here {
            return Ok(here.remote(text));
        }
        let remote = RemoteArg::parse(text)?;
        if let Some(host) = &remote.host {
            self.name(host.clone())?;
        }
        Ok(remote)
    }

    fn name(&mut self, host: HostSpec) -> Result<(), UsageError> {
        if let Some(explicit) = &self.explicit {
            return Err(UsageError::new(format!(
                "-H {explicit} and the host of '{host}:' exclude each other; drop one of them"
            )));
        }
        match &self.named {
            Some(other) if *other != host => {
                Err(UsageError::new(format!("one host at a time: the operands name {other} and {host}")))
            }
            _ => {
                self.named = Some(host);
                Ok(())
            }
        }
    }
}

/// True where an option stood on the command line, and did not come from the environment.
fn was_typed(matches: &ArgMatches, id: &str) -> bool {
    let here = matches.value_source(id) == Some(ValueSource::CommandLine);
    here || matches.subcommand().is_some_and(|(_, inner)| was_typed(inner, id))
}

/// Usage errors are JSON as well, so this must work on a command line that does not parse.
fn asks_for_json(args: &[OsString]) -> bool {
    args.iter().skip(1).take_while(|arg| *arg != "--").any(|arg| arg == "--json")
}

fn escape_lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| Escaped::from(line).to_string()).collect();
    lines.join("\n")
}
