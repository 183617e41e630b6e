//! `join`, `trust`, `key`, `completions`, `man`: what is done once.

use std::io::{self, Write};

use clap::{Args, Command};
use clap_complete::Shell;

use super::UsageError;
use super::globals::ConnectionArgs;
use crate::address::{self, HostSpec};

/// Enrol at a server with a join string from 'ftserver invite'
#[derive(Debug, Args)]
#[command(
    after_help = "The join string is read from a prompt or from standard input, never from an argument.\n\n\
    Examples:\n  ftclient join\n  ftclient join --name nas < invitation"
)]
pub(super) struct JoinArgs {
    /// Name of the host in the configuration [default: its address]
    #[arg(long, value_parser = host_name)]
    name: Option<String>,
}

/// Trust the key of a server, or forget it
#[derive(Debug, Args)]
#[command(after_help = "Without --fingerprint the server's key is fetched and shown, and you are asked.\n\n\
    Examples:\n  ftclient trust nas\n  ftclient trust nas --fingerprint SHA256:...\n  ftclient trust nas --forget\n  ftclient trust -g all")]
pub(super) struct TrustArgs {
    /// A name of the configuration, or host[:port]; several are chosen with -H and a list, -g or --tags
    #[arg(value_name = "HOST")]
    server: Option<HostSpec>,
    /// Forget the key
    #[arg(long)]
    forget: bool,
}

/// Show the client's public key; the first call makes the key
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ftclient key\n  ftclient key | ssh server ftserver user add anna --key -"
)]
pub(super) struct KeyArgs {}

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ftclient completions bash > ~/.local/share/bash-completion/completions/ftclient\n  \
    ftclient completions fish > ~/.config/fish/completions/ftclient.fish"
)]
pub(super) struct CompletionsArgs {
    /// Which shell
    #[arg(value_name = "SHELL")]
    pub(super) shell: Shell,
}

/// Print the manual page, of the program or of one command
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ftclient man | man -l -\n  ftclient man get > ftclient-get.1")]
pub(super) struct ManArgs {
    /// A command
    #[arg(value_name = "COMMAND")]
    pub(super) command: Option<String>,
}

/// A `join`, ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinPlan {
    /// Name for the host in the configuration; its address where `None`.
    pub name: Option<String>,
}

/// A `trust`, ready to run. The fingerprint, if given, is in the connection options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustPlan {
    /// Forget the key instead of trusting it.
    pub forget: bool,
}

impl JoinArgs {
    pub(super) fn plan(self) -> JoinPlan {
        JoinPlan { name: self.name }
    }
}

impl TrustArgs {
    /// The plan, and the host where it is an operand.
    pub(super) fn plan(
        self,
        connection: &ConnectionArgs,
    ) -> Result<(TrustPlan, Option<HostSpec>), UsageError> {
        if self.forget && connection.fingerprint.is_some() {
            return Err(UsageError::new("--forget and --fingerprint exclude each other; run trust twice"));
        }
        Ok((TrustPlan { forget: self.forget }, self.server))
    }
}

fn host_name(text: &str) -> Result<String, address::AddressError> {
    address::check_host(text).map(|()| text.to_owned())
}

/// Writes the completions of a shell, made from the parser's own definitions.
pub fn write_completions(shell: Shell, out: &mut dyn Write) -> io::Result<()> {
    // Made in memory first: the generator panics where a write fails.
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "ftclient", &mut text);
    out.write_all(&text)
}

/// Writes the manual page of the program, or of one of its commands, in roff.
pub fn write_man(verb: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
    let mut root = super::command().disable_help_subcommand(true);
    root.build();
    let page = match verb {
        None => root,
        Some(verb) => {
            let found = root.find_subcommand(verb).cloned();
            let found =
                found.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no such command"))?;
            found
                .version(env!("CARGO_PKG_VERSION"))
                .name(format!("ftclient-{verb}"))
                .display_name(format!("ftclient-{verb}"))
        }
    };
    clap_mangen::Man::new(page).render(out)
}

/// True for a command that has a manual page.
pub(super) fn is_verb(root: &Command, name: &str) -> bool {
    root.find_subcommand(name).is_some()
}
