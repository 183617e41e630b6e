//! What `serve` runs with: flags over environment over file over defaults.

mod duration;
mod file;
mod size;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ft_protocol::Error;
use ft_protocol::auth::Rights;

pub(crate) use duration::DurationText;
pub use duration::{BadDuration, parse_duration};
pub(crate) use size::SizeText;

use file::ConfigFile;

use crate::identity::{Identity, IdentityError};
use crate::logging::{LogFormat, LogLevel};
use crate::roots::{RootError, canonical_directory, canonical_root};
use crate::state::{StateDir, StateError, shown};
use crate::toml_file::Malformed;

/// The port where nothing else is said: 0x6674, "ft" in ASCII.
pub const DEFAULT_PORT: u16 = 26228;
/// Where `serve` listens where nothing else is said: this machine only.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), DEFAULT_PORT);

/// This very program, even where its file was replaced since it started (proc_pid_exe(5)).
const SELF: &str = "/proc/self/exe";

/// What can be wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be understood.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The file cannot be read.
    #[error("configuration file {}: {source}", shown(.path))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Error,
    },
    /// Nothing says what to serve.
    #[error("nothing to serve: give --root DIR, FTSERVER_ROOT, or root = \"/DIR\" in the configuration file")]
    NoRoot,
    /// The root cannot be served.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The key of the server cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The state directory failed or is exposed.
    #[error(transparent)]
    State(#[from] StateError),
}

/// How much the server takes on, and how long it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub max_connections: NonZeroUsize,
    /// Connections at once that have not logged in.
    pub max_unauthenticated: NonZeroUsize,
    /// Connections at once from one source address that have not logged in.
    pub max_unauthenticated_per_source: NonZeroUsize,
    /// From accept to logged in, whatever happens in between.
    pub login_timeout: Duration,
    /// An operation may go without progress for so long.
    pub stall_timeout: Duration,
    /// After SIGTERM, operations may go on for so long.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let count = |n| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
        Self {
            max_connections: count(1024),
            max_unauthenticated: count(512),
            max_unauthenticated_per_source: count(256),
            login_timeout: Duration::from_secs(20),
            stall_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// Everything that serving needs.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// The directory that is served to accounts without a root of their own; canonical.
    pub root: PathBuf,
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Key, accounts and invites.
    pub state: StateDir,
    /// The key of this server.
    pub identity: Identity,
    /// Limits.
    pub limits: Limits,
    /// The program that supervises commands: one whose `main` begins with [`crate::process::become_helper`].
    pub supervisor: PathBuf,
}

/// Everything that one session over standard input and output needs.
#[derive(Debug, Clone)]
pub struct StdioOptions {
    /// The directory that is served; canonical.
    pub root: PathBuf,
    /// What the session may do.
    pub rights: Rights,
    /// Limits; those of connections and login do not apply.
    pub limits: Limits,
    /// As in [`ServeOptions`].
    pub supervisor: PathBuf,
}

/// Settings that a flag, the environment or the file can give; `None` where it says nothing.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Directory to serve.
    pub root: Option<PathBuf>,
    /// Where to listen.
    pub listen: Option<SocketAddr>,
    /// Form of log lines.
    pub log_format: Option<LogFormat>,
    /// Least severe level that is logged.
    pub log_level: Option<LogLevel>,
}

/// Flags, environment and file brought together; the root is not looked at yet.
#[derive(Debug, Clone)]
pub struct Config {
    /// Settings, each from the first place that gives it.
    pub settings: Settings,
    /// Limits, which only the file can give.
    pub limits: Limits,
}

impl Config {
    /// Reads the file, if one is named, and lets `given` (flags over environment) win over it.
    pub fn load(given: Settings, file: Option<&Path>) -> Result<Self, ConfigError> {
        let file = file.map(ConfigFile::read).transpose()?.unwrap_or_default();
        let limits = file.limits();
        let from_file = file.settings();
        let settings = Settings {
            root: given.root.or(from_file.root),
            listen: given.listen.or(from_file.listen),
            log_format: given.log_format.or(from_file.log_format),
            log_level: given.log_level.or(from_file.log_level),
        };
        Ok(Self { settings, limits })
    }

    /// Checks the root, makes the key of the server where there is none, and returns what `serve` needs.
    pub fn into_serve_options(self, state: StateDir) -> Result<ServeOptions, ConfigError> {
        // Before anything is written: a state directory inside the root is not even made.
        let root = canonical_root(&self.settings.root.ok_or(ConfigError::NoRoot)?, &state)?;
        state.ensure()?;
        let identity = Identity::load_or_create(&state)?;
        let listen = self.settings.listen.unwrap_or(DEFAULT_LISTEN);
        Ok(ServeOptions { root, listen, state, identity, limits: self.limits, supervisor: SELF.into() })
    }
}

/// Checks the root and returns what `stdio` needs. A state directory that does not exist needs no protection.
pub fn stdio_options(root: &Path, rights: Rights, state: &StateDir) -> Result<StdioOptions, ConfigError> {
    let root = if state.path().exists() { canonical_root(root, state)? } else { canonical_directory(root)? };
    Ok(StdioOptions { root, rights, limits: Limits::default(), supervisor: SELF.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str, given: Settings) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ftserver.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(given, Some(&path))
    }

    #[test]
    fn what_is_given_wins_over_the_file_and_the_file_over_defaults() {
        let text = "listen = '[::]:7'\nlog_level = 'debug'\nmax_connections = 5\nlogin_timeout = '1m'";
        let given = Settings { log_level: Some(LogLevel::Error), ..Settings::default() };
        let config = config(text, given).unwrap();
        assert_eq!(config.settings.listen, Some("[::]:7".parse().unwrap()));
        assert_eq!(config.settings.log_level, Some(LogLevel::Error));
        assert_eq!(config.limits.max_connections.get(), 5);
        assert_eq!(config.limits.login_timeout, Duration::from_secs(60));
        assert_eq!(config.limits.stall_timeout, Limits::default().stall_timeout);
    }

    #[test]
    fn every_bad_line_is_refused_by_its_number() {
        for line in [
            "rooot = '/srv'",
            "root = 'srv'",
            "root = 5",
            "listen = 'localhost'",
            "listen = '1.2.3.4'",
            "log_format = 'xml'",
            "log_level = 'loud'",
            "max_connections = 0",
            "max_unauthenticated = -1",
            "max_unauthenticated_per_source = '3'",
            "login_timeout = '0s'",
            "stall_timeout = 60",
            "drain_timeout = '30 parsecs'",
            "[limits]",
        ] {
            let error =
                config(&format!("# comment\n\n{line}\n"), Settings::default()).unwrap_err().to_string();
            assert!(error.contains("ftserver.toml:3: "), "{line}: {error}");
        }
    }

    #[test]
    fn a_root_over_the_state_leaves_no_trace() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(Some(&dir.path().join("state"))).unwrap();
        let given = Settings { root: Some(dir.path().to_owned()), ..Settings::default() };
        let error = Config::load(given, None).unwrap().into_serve_options(state.clone()).unwrap_err();
        assert!(error.to_string().contains("contains the state directory"), "{error}");
        assert!(!state.path().exists());
    }

    #[test]
    fn a_missing_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = Config::load(Settings::default(), Some(&dir.path().join("none.toml"))).unwrap_err();
        assert!(matches!(error, ConfigError::Unreadable { .. }), "{error}");
    }
}
