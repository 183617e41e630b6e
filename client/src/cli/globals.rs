//! Options that every command takes.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use ft_protocol::auth::Fingerprint;

use super::values::{DigestChoice, Limit, ProgressWhen, Rate};
use crate::address::AddressError;
use crate::config::Config;
use crate::credentials::PasswordSource;
use crate::inventory::HostList;

const CONNECTION: &str = "Connection";
const RUN: &str = "Run";

/// How to reach a server and log in. Values come from the command line or the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = CONNECTION)]
pub struct ConnectionArgs {
    /// Hosts for operands without one: names of the configuration or [user@]host[:port], in a list, as a pattern such as web[01-20], or @FILE
    #[arg(
        short = 'H',
        long = "hosts",
        visible_alias = "host",
        env = "FTCLIENT_HOSTS",
        global = true,
        hide_env_values = true,
        value_name = "HOST,..."
    )]
    pub hosts: Option<HostList>,
    /// Port, in place of the configured one [default: 26228]
    #[arg(short = 'P', long, env = "FTCLIENT_PORT", global = true, hide_env_values = true, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// User to log in as [default: your login name]
    #[arg(short = 'l', long, env = "FTCLIENT_USER", global = true, hide_env_values = true, value_parser = user)]
    pub user: Option<String>,
    /// Private key to log in with (ed25519, OpenSSH's format)
    #[arg(short = 'i', long, env = "FTCLIENT_IDENTITY", global = true, hide_env_values = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub identity: Option<PathBuf>,
    /// File whose first line is the password; nobody else may be able to read it
    #[arg(long, env = "FTCLIENT_PASSWORD_FILE", global = true, hide_env_values = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub password_file: Option<PathBuf>,
    /// Command whose first line of output is the password; split into words without a shell
    #[arg(
        long,
        env = "FTCLIENT_PASSWORD_COMMAND",
        global = true,
        hide_env_values = true,
        value_name = "CMD"
    )]
    pub password_command: Option<String>,
    /// Accept the key of a server that was never seen before, without comparing it
    #[arg(long, global = true)]
    pub accept_new: bool,
    /// The only key that the server may have, as 'ftserver fingerprint' prints it
    #[arg(
        long,
        env = "FTCLIENT_FINGERPRINT",
        global = true,
        hide_env_values = true,
        value_name = "SHA256:..."
    )]
    pub fingerprint: Option<Fingerprint>,
    /// Reach the server through this command instead of TCP and TLS, as in 'ssh HOST ftserver stdio --root DIR'; split into words without a shell
    #[arg(long, env = "FTCLIENT_VIA", global = true, hide_env_values = true, value_name = "CMD")]
    pub via: Option<String>,
}

impl ConnectionArgs {
    /// The password that was supplied; a file goes before a command.
    pub fn password(&self) -> Option<PasswordSource> {
        let file = self.password_file.clone().map(PasswordSource::File);
        file.or_else(|| self.password_command.clone().map(PasswordSource::Command))
    }
}

fn user(text: &str) -> Result<String, AddressError> {
    // Whoever types 'ls -l nas:' must not list another host as the user 'nas:'.
    if text.contains([':', '/']) {
        let what = "-l is followed by a user name, which holds no ':' or '/'; a long listing is 'ls --long'";
        return Err(AddressError(what.into()));
    }
    crate::address::check_user(text).map(|()| text.to_owned())
}

/// How the run behaves and what it shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = RUN)]
pub struct RunArgs {
    /// Configuration file [default: $XDG_CONFIG_HOME/ftclient/config.toml]; known_hosts and the client's key are beside it
    #[arg(long, env = "FTCLIENT_CONFIG", global = true, hide_env_values = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Show errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Show more: the keys and passwords that are tried to log in
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// One JSON object a line on standard output (on standard error where standard output carries data)
    #[arg(long, global = true)]
    pub json: bool,
    /// When to show progress [default: auto]
    #[arg(long, env = "FTCLIENT_PROGRESS", global = true, hide_env_values = true, value_name = "WHEN")]
    pub progress: Option<ProgressWhen>,
    /// How often a broken connection is tried again, after 1 to 30 s [default: 5]
    #[arg(long, env = "FTCLIENT_RETRIES", global = true, hide_env_values = true, value_name = "N")]
    pub retries: Option<u32>,
    /// Longest time without progress, as 90s or 5m; 0 is no limit [default: 60s, exec: no limit]
    #[arg(long, env = "FTCLIENT_TIMEOUT", global = true, hide_env_values = true, value_name = "DURATION")]
    pub timeout: Option<Limit>,
    /// Longest time for the whole run [default: no limit]
    #[arg(long, env = "FTCLIENT_DEADLINE", global = true, hide_env_values = true, value_name = "DURATION")]
    pub deadline: Option<Limit>,
}

/// What holds for the run after the configuration was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Reconnects after the first attempt.
    pub retries: u32,
    /// Longest time without progress; `None` is no limit.
    pub timeout: Option<Duration>,
    /// The same for a command of `exec`: what was given for this run, and nothing else.
    pub command_timeout: Option<Duration>,
    /// Longest time for the whole run; `None` is no limit.
    pub deadline: Option<Duration>,
    /// When progress is shown.
    pub progress: ProgressWhen,
    /// Errors only.
    pub quiet: bool,
    /// How much more than usual is shown.
    pub verbose: u8,
    /// JSON instead of text.
    pub json: bool,
}

impl RunArgs {
    /// Fills what was not given from the configuration, then from the defaults.
    pub fn settings(&self, config: &Config) -> Settings {
        let defaults = &config.defaults;
        let timeout = self.timeout.or(defaults.timeout).unwrap_or(Limit(Some(Duration::from_secs(60))));
        Settings {
            retries: self.retries.or(defaults.retries).unwrap_or(5),
            timeout: timeout.0,
            command_timeout: self.timeout.and_then(|limit| limit.0),
            deadline: self.deadline.and_then(|limit| limit.0),
            progress: self.progress.or(defaults.progress).unwrap_or_default(),
            quiet: self.quiet,
            verbose: self.verbose,
            json: self.json,
        }
    }
}

/// Options of `get` and `put`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Transfer")]
pub struct TransferArgs {
    /// Keep mode and modification time; owner, group, ACLs, extended attributes and hard links are not kept
    #[arg(short, long)]
    pub preserve: bool,
    /// Leave existing files alone and count them as skipped; -v names them where there are several
    #[arg(long)]
    pub no_clobber: bool,
    /// Start over instead of going on with a partial file
    #[arg(long)]
    pub no_resume: bool,
    /// How files are proven equal and which digest is printed [default: md5]
    #[arg(long, env = "FTCLIENT_DIGEST", hide_env_values = true, value_name = "DIGEST")]
    pub digest: Option<DigestChoice>,
    /// Bytes a second, as 500K, 10M or 1.5G (powers of 1024), at least 64K; 0 is no limit
    #[arg(long, env = "FTCLIENT_BWLIMIT", hide_env_values = true, value_name = "RATE")]
    pub bwlimit: Option<Rate>,
    /// End with code 9 if there was nothing to transfer
    #[arg(long)]
    pub error_on_no_transfer: bool,
}

/// Transfer options after the configuration was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferSettings {
    /// Keep mode and modification time.
    pub preserve: bool,
    /// Leave existing files alone.
    pub no_clobber: bool,
    /// Go on with partial files.
    pub resume: bool,
    /// Proof and printed digest.
    pub digest: DigestChoice,
    /// Bytes a second; `None` is no limit.
    pub bwlimit: Option<u64>,
    /// Code 9 where nothing was transferred.
    pub error_on_no_transfer: bool,
}

impl TransferArgs {
    /// Fills what was not given from the configuration, then from the defaults.
    pub fn settings(&self, config: &Config) -> TransferSettings {
        let defaults = &config.defaults;
        TransferSettings {
            preserve: self.preserve,
            no_clobber: self.no_clobber,
            resume: !self.no_resume,
            digest: self.digest.or(defaults.digest).unwrap_or_default(),
            bwlimit: self.bwlimit.or(defaults.bwlimit).and_then(|rate| rate.0),
            error_on_no_transfer: self.error_on_no_transfer,
        }
    }
}
