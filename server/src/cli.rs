//! The command line: what can be typed, with the help that explains it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand};
use clap_complete::Shell;
use ft_protocol::auth::{Rights, check_user_name};

use crate::config::{Settings, parse_duration};
use crate::logging::{LogFormat, LogLevel};

/// Server of ft: encrypted, verified, resumable file transfer
#[derive(Debug, Parser)]
#[command(
    name = "ftserver",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  ftserver serve --root /srv/files                           this machine only
  ftserver serve --root /srv/files --listen 0.0.0.0:26228    every address
  ftserver invite alice --address files.example.org          let a client in, once

Exit codes: 0 done, 1 failed, 2 usage or configuration, 4 not found, 7 permission, 12 disk full"
)]
pub struct Cli {
    /// Where key, accounts and invites are kept [default: $XDG_STATE_HOME/ftserver]
    #[arg(long, value_name = "DIR", global = true, env = "FTSERVER_STATE", hide_env_values = true)]
    pub state: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `ftserver` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the files beneath a directory
    Serve(ServeArgs),
    /// Add, change and remove accounts
    #[command(subcommand)]
    User(UserCommand),
    /// Make a join string, which lets one client in, once
    Invite(InviteArgs),
    /// Print the fingerprint of the server's key
    #[command(after_help = "\
Compare it with what `ftclient` shows when it meets this server for the first time.
Exit code 4 where there is no key yet: `serve` and `invite` make it")]
    Fingerprint,
    /// Check configuration, accounts and invites
    Check(CheckArgs),
    /// Serve one session over standard input and output, behind ssh
    Stdio(StdioArgs),
    /// Print completions for a shell
    #[command(after_help = "\
Example:
  ftserver completions bash > ~/.local/share/bash-completion/completions/ftserver")]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    #[command(after_help = "\
Example:
  ftserver man > ~/.local/share/man/man1/ftserver.1")]
    Man,
}

/// What `serve` is told.
#[derive(Debug, Args)]
#[command(after_help = "\
Once connections are accepted, one line goes to standard output, and nothing more:
  ready listen=127.0.0.1:26228 fingerprint=SHA256:…

Examples:
  ftserver serve --root /srv/files
  ftserver serve --root /srv/files --listen '[::]:26228' --log-format json
  ftserver serve --config /etc/ftserver.toml

A flag wins over the environment, the environment over the configuration file. Keys of that file:
  root, listen, log_format, log_level, max_connections (1024), max_unauthenticated (256),
  max_unauthenticated_per_source (32), login_timeout (\"20s\"), stall_timeout (\"60s\"),
  drain_timeout (\"30s\")")]
pub struct ServeArgs {
    /// Directory to serve; it must not contain the state directory
    #[arg(long, value_name = "DIR", env = "FTSERVER_ROOT", hide_env_values = true)]
    pub root: Option<PathBuf>,
    /// Address and port to listen on, port 0 for a free one [default: 127.0.0.1:26228]
    #[arg(long, value_name = "ADDR:PORT", env = "FTSERVER_LISTEN", hide_env_values = true, value_parser = listen)]
    pub listen: Option<SocketAddr>,
    /// Configuration file, TOML
    #[arg(long, value_name = "FILE", env = "FTSERVER_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Logs
    #[command(flatten)]
    pub log: LogArgs,
}

impl ServeArgs {
    /// What flags and environment say.
    pub fn settings(&self) -> Settings {
        Settings {
            root: self.root.clone(),
            listen: self.listen,
            log_format: self.log.log_format,
            log_level: self.log.log_level,
        }
    }
}

/// How to log.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// Form of log lines on standard error [default: text]
    #[arg(long, value_name = "FORMAT", env = "FTSERVER_LOG_FORMAT", hide_env_values = true)]
    pub log_format: Option<LogFormat>,
    /// Least severe level that is logged; commands that were run always are [default: info; warn for stdio]
    #[arg(long, value_name = "LEVEL", env = "FTSERVER_LOG_LEVEL", hide_env_values = true)]
    pub log_level: Option<LogLevel>,
}

/// What can be done with accounts.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add an account; the server takes notice at the next login
    Add(UserAddArgs),
    /// List accounts: name, rights, ways to log in, root
    List,
    /// Show an account
    Show(UserName),
    /// Change what an account may do, from its next login on
    Allow(UserAllowArgs),
    /// Remove an account with its pending invites; a running server ends its sessions
    Remove(UserName),
    /// Set the password: asked for on a terminal, read from standard input elsewhere
    #[command(after_help = "\
Examples:
  ftserver user passwd alice
  ftserver user passwd alice < password.txt")]
    Passwd(UserName),
}

/// One account.
#[derive(Debug, Args)]
pub struct UserName {
    /// Name of the account
    #[arg(value_parser = user_name)]
    pub name: String,
}

/// What `user add` is told.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ftserver user add alice --key alice.pub
  ftserver user add backup --key backup.pub --append-only --root /srv/backup
  ssh-add -L | ftserver user add alice --key - --allow read,write,delete
  ftserver user add bob --password-file - --read-only < password.txt

Without --allow the account may read and write. exec lets it run programs, shell command lines, with
all the rights of the user that the server runs as, unless an [exec] table in STATE/accounts/NAME.toml
names the commands or another user; README, \"Running commands\", lists its keys.")]
pub struct UserAddArgs {
    /// Name of the account: 1 to 64 of a-z, 0-9, '.', '_', '-', not starting with '.' or '-'
    #[arg(value_parser = user_name)]
    pub name: String,
    /// OpenSSH public key file (ed25519), or - for standard input; may be given several times
    #[arg(long, value_name = "FILE")]
    pub key: Vec<PathBuf>,
    /// File that holds the password, or - for standard input; one trailing newline is not part of it
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Directory that the account sees [default: that of serve]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Rights
    #[command(flatten)]
    pub rights: RightsArgs,
}

/// What `user allow` is told.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").args(["allow", "read_only", "append_only"]).required(true),
    after_help = "\
The rights replace those that the account had; its [exec] table stays. Sessions that are open keep theirs until they end.

Examples:
  ftserver user allow alice --allow read,write,delete
  ftserver user allow backup --append-only"
)]
pub struct UserAllowArgs {
    /// Name of the account
    #[arg(value_parser = user_name)]
    pub name: String,
    /// Rights
    #[command(flatten)]
    pub rights: RightsArgs,
}

/// Which rights to grant.
#[derive(Debug, Args)]
pub struct RightsArgs {
    /// Rights, of read,create,overwrite,delete,exec,shell; write = create,overwrite
    #[arg(long, value_name = "LIST", value_parser = rights, conflicts_with_all = ["read_only", "append_only"])]
    pub allow: Option<Rights>,
    /// The same as --allow read
    #[arg(long, conflicts_with = "append_only")]
    pub read_only: bool,
    /// The same as --allow read,create
    #[arg(long)]
    pub append_only: bool,
}

impl RightsArgs {
    /// The rights that were asked for; `None` where nothing was said.
    pub fn given(&self) -> Option<Rights> {
        match (self.read_only, self.append_only) {
            (true, _) => Some(Rights::READ),
            (_, true) => Some(Rights::READ.union(Rights::CREATE)),
            _ => self.allow,
        }
    }
}

/// What `invite` is told.
#[derive(Debug, Args)]
#[command(after_help = "\
The join string is all that standard output gets. It works once; whoever has it can join, so send
it as you would send a password.

Examples:
  ftserver invite alice --address files.example.org
  ftserver invite backup --append-only --root /srv/backup --expires 15m
  ssh admin@server ftserver invite bob | ftclient join

A new account may read and write, unless --allow says otherwise. Where the account exists, the
invite adds a key to it and changes nothing else.")]
pub struct InviteArgs {
    /// Name of the account: a new one, or one that is to have another key
    #[arg(value_parser = user_name)]
    pub name: String,
    /// Where the client reaches the server [default: the address that serve listens on]
    #[arg(long, value_name = "HOST[:PORT]")]
    pub address: Option<String>,
    /// Directory that a new account sees [default: that of serve]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// How long the invite is good for
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_duration)]
    pub expires: Duration,
    /// Rights
    #[command(flatten)]
    pub rights: RightsArgs,
}

/// What `check` is told.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code 2 where something is wrong; each error names its file and line. Commands of [exec] tables
that look like a mistake are noted.

Example:
  ftserver check --config /etc/ftserver.toml --state /var/lib/ftserver")]
pub struct CheckArgs {
    /// Configuration file, TOML
    #[arg(long, value_name = "FILE", env = "FTSERVER_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
}

/// What `stdio` is told.
#[derive(Debug, Args)]
#[command(after_help = "\
There is no login: ssh has seen to it, and --root and --allow say what the session may do. With exec
it runs any program as the user that ssh logged in.

Example, on the client:
  ftclient get --via 'ssh HOST ftserver stdio --root /srv/files --allow read' HOST:file .")]
pub struct StdioArgs {
    /// Directory to serve
    #[arg(long, value_name = "DIR", env = "FTSERVER_ROOT", hide_env_values = true)]
    pub root: PathBuf,
    /// Rights, of read,create,overwrite,delete,exec,shell; write = create,overwrite
    #[arg(long, value_name = "LIST", value_parser = rights, default_value = "read,write")]
    pub allow: Rights,
    /// Logs
    #[command(flatten)]
    pub log: LogArgs,
}

fn user_name(text: &str) -> Result<String, String> {
    check_user_name(text).map(|()| text.to_owned()).map_err(|e| e.to_string())
}

fn rights(text: &str) -> Result<Rights, String> {
    match text.parse()? {
        Rights::NONE => Err("the list is empty: name at least one right".to_owned()),
        rights => Ok(rights),
    }
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "give a numeric address and a port, such as 127.0.0.1:26228 or [::]:26228".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn presets_exclude_each_other() {
        let all = ["--allow=read", "--read-only", "--append-only"];
        for one in all {
            for other in all.iter().filter(|other| **other != one) {
                assert!(Cli::try_parse_from(["ftserver", "user", "add", "a", one, other]).is_err());
            }
        }
    }
}
