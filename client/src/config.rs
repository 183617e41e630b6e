//! `config.toml`: hosts by name, and defaults.
//!
//! ```toml
//! default_host = "nas"
//!
//! [defaults]
//! retries = 5
//! timeout = "60s"
//! digest = "md5"
//! progress = "auto"
//! bwlimit = "10M"
//!
//! [hosts.nas]
//! address = "nas.example:26228"
//! user = "anna"
//! identity = "~/.ssh/id_nas"
//! fingerprint = "SHA256:…"
//! root = "backups"
//! tags = ["cellar"]
//! enabled = true
//!
//! [groups.storage]
//! hosts = ["nas", "disk[01-12]"]
//! groups = ["mirrors"]
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use ft_protocol::RemotePath;
use ft_protocol::auth::Fingerprint;
use serde::Deserialize;
use toml::Spanned;

use crate::address::{self, HostSpec};
use crate::cli::values::{DigestChoice, Limit, ProgressWhen, Rate};
use crate::inventory::groups::{self, GroupEntry};
use crate::output::reason;

/// Where the client keeps its own files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// `config.toml`.
    pub config: PathBuf,
    /// `known_hosts`, beside it.
    pub known_hosts: PathBuf,
    /// The key that `join` and `key` make, beside it.
    pub client_key: PathBuf,
    /// The user's home directory, where known.
    pub home: Option<PathBuf>,
}

impl Paths {
    /// The paths with `--config FILE`, or else those beneath `$XDG_CONFIG_HOME/ftclient`.
    pub fn find(config: Option<&Path>) -> Result<Self, ConfigError> {
        let base = etcetera::base_strategy::Xdg::new().ok();
        let home = base.as_ref().map(|base| base.home_dir().to_owned());
        let config = match (config, base) {
            (Some(config), _) => config.to_owned(),
            (None, Some(base)) => base.config_dir().join("ftclient/config.toml"),
            (None, None) => return Err(ConfigError::NoHome),
        };
        let beside = |name| config.parent().unwrap_or(Path::new("")).join(name);
        Ok(Self { known_hosts: beside("known_hosts"), client_key: beside("id_ed25519"), home, config })
    }
}

/// The configuration cannot be used. Always exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A line is wrong.
    #[error("{}:{line}: {what}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line number from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// The system refused.
    #[error("{}: {}", path.display(), reason(error))]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// No home directory.
    #[error("there is no home directory to keep the configuration in; set HOME or use --config FILE")]
    NoHome,
    /// Nobody said which host.
    #[error("no host given; use -H HOST or -g GROUP before the command's words, FTCLIENT_HOSTS, or default_host in {}, or write HOST:PATH where a remote path is meant", .0.display())]
    NoHost(PathBuf),
    /// A name of this account is needed.
    #[error("cannot tell which user to log in as; use -l USER")]
    NoUser,
    /// A value is unusable.
    #[error("{0}")]
    Invalid(String),
}

/// The parsed file; all empty where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Host for operands without one.
    pub default_host: Option<String>,
    /// Defaults of options.
    pub defaults: Defaults,
    /// Hosts by name.
    pub hosts: BTreeMap<String, HostEntry>,
    /// The hosts of each group: in the order of the file, those of its groups after its own, each once.
    pub groups: BTreeMap<String, Vec<String>>,
    /// Names of the hosts in the order of the file.
    order: Vec<String>,
    /// Names of the groups of each host that is in one.
    member_of: BTreeMap<String, Vec<String>>,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, deserialize_with = "checked_host")]
    default_host: Option<String>,
    #[serde(default)]
    defaults: Defaults,
    #[serde(default)]
    hosts: BTreeMap<Spanned<String>, HostEntry>,
    #[serde(default)]
    groups: BTreeMap<Spanned<String>, GroupEntry>,
}

/// `[defaults]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// As `--retries`.
    pub retries: Option<u32>,
    /// As `--timeout`.
    pub timeout: Option<Limit>,
    /// As `--digest`.
    pub digest: Option<DigestChoice>,
    /// As `--progress`.
    pub progress: Option<ProgressWhen>,
    /// As `--bwlimit`.
    pub bwlimit: Option<Rate>,
}

/// `[hosts.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostEntry {
    /// `host` or `host:port`; without it the entry's name.
    #[serde(default, deserialize_with = "checked_address")]
    pub address: Option<String>,
    /// Port, where the address has none.
    pub port: Option<u16>,
    /// User to log in as.
    #[serde(default, deserialize_with = "checked_user")]
    pub user: Option<String>,
    /// Private key file; `~/` is the home directory, a relative path starts beside the configuration.
    pub identity: Option<PathBuf>,
    /// File with the password; paths as for `identity`.
    pub password_file: Option<PathBuf>,
    /// Command that prints the password; split into words without a shell.
    pub password_command: Option<String>,
    /// Fingerprint of the server's key.
    #[serde(default, deserialize_with = "checked_fingerprint")]
    pub fingerprint: Option<String>,
    /// Where the host's paths begin: a directory beneath the account's root.
    #[serde(default, deserialize_with = "checked_root")]
    pub root: Option<RemotePath>,
    /// Words to select the host by.
    #[serde(default, deserialize_with = "checked_tags")]
    pub tags: Option<Vec<String>>,
    /// Whether selections take it; they do where this says nothing.
    pub enabled: Option<bool>,
}

impl HostEntry {
    /// Words to select the host by.
    pub fn tags(&self) -> &[String] {
        self.tags.as_deref().unwrap_or_default()
    }

    /// Whether selections take it.
    pub fn is_enabled(&self) -> bool {
        self.enabled.unwrap_or(true)
    }

    /// The fingerprint, parsed.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprint.as_ref().and_then(|text| text.parse().ok())
    }

    /// The address as host and port, or the entry's own name.
    pub(crate) fn spec(&self, name: &str) -> Result<HostSpec, ConfigError> {
        let address = self.address.as_deref().unwrap_or(name);
        address.parse().map_err(|error: address::AddressError| ConfigError::Invalid(error.to_string()))
    }
}

impl Config {
    /// Reads the file. A missing one is an empty configuration, unless `must_exist` (it was named with
    /// `--config`).
    pub fn load(path: &Path, must_exist: bool) -> Result<Self, ConfigError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => Ok(Self::default()),
            Err(error) => Err(ConfigError::Io { path: path.to_owned(), error }),
        }
    }

    /// Parses the text of the file at `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let syntax = |at: usize, what: String| {
            let line = text.get(..at).unwrap_or_default().matches('\n').count() + 1;
            ConfigError::Syntax { path: path.to_owned(), line, what }
        };
        let file: File = toml::from_str(text).map_err(|error| {
            syntax(error.span().map_or(0, |span| span.start), error.message().replace('\n', " "))
        })?;
        for name in file.hosts.keys() {
            address::check_host(name.as_ref())
                .map_err(|error| syntax(name.span().start, error.to_string()))?;
        }
        let names = file.hosts.keys().map(|name| name.as_ref().as_str());
        let is_host = |name: &str| file.hosts.contains_key(&Spanned::new(0..0, name.to_owned()));
        let groups = groups::resolve(&file.groups, is_host, names).map_err(|(at, what)| syntax(at, what))?;
        let mut order: Vec<&Spanned<String>> = file.hosts.keys().collect();
        order.sort_by_key(|name| name.span().start);
        let order = order.into_iter().map(|name| name.as_ref().clone()).collect();
        let hosts = file.hosts.into_iter().map(|(name, entry)| (name.into_inner(), entry)).collect();
        let File { default_host, defaults, .. } = file;
        let mut member_of: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (group, members) in &groups {
            for member in members {
                member_of.entry(member.clone()).or_default().push(group.clone());
            }
        }
        Ok(Self { default_host, defaults, hosts, groups, order, member_of })
    }

    /// Names of the hosts in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.order.iter().map(String::as_str)
    }

    /// Names of the groups that a host is in.
    pub fn groups_of(&self, host: &str) -> &[String] {
        self.member_of.get(host).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Checks a tag: neither empty nor long, and nothing that a list could be split at.
pub(crate) fn check_tag(tag: &str) -> Result<(), String> {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    match tag.is_empty() || tag.len() > 64 || !tag.chars().all(plain) {
        true => Err(format!("bad tag '{tag}': a tag has 1 to 64 letters, digits, '.', '-' and '_'")),
        false => Ok(()),
    }
}

/// Parses the root of a host: a directory beneath that of the account.
pub(crate) fn parse_root(text: &str) -> Result<RemotePath, String> {
    let bad = |what: &str| Err(format!("bad root '{}': {what}", ft_protocol::display::Escaped::from(text)));
    match RemotePath::from_typed(text.as_bytes()) {
        _ if text.split('/').any(|part| part == "..") => bad("'..' is not allowed"),
        _ if text.starts_with('/') => bad("it begins at the account's root, so without a '/'"),
        Err(error) => bad(&error.to_string()),
        Ok(path) => Ok(path),
    }
}

fn checked_root<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<RemotePath>, D::Error> {
    let text = String::deserialize(from)?;
    parse_root(&text).map(Some).map_err(serde::de::Error::custom)
}

fn checked_tags<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    let tags = Vec::<String>::deserialize(from)?;
    tags.iter().try_for_each(|tag| check_tag(tag)).map_err(serde::de::Error::custom)?;
    Ok(Some(tags))
}

fn checked_host<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    checked(from, |text| text.parse::<HostSpec>().map(|_| ()).map_err(|error| error.to_string()))
}

fn checked_address<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    checked(from, |text| {
        let spec: HostSpec = text.parse().map_err(|error: address::AddressError| error.to_string())?;
        if spec.user.is_some() { Err("the user has a key of its own: user = \"…\"".into()) } else { Ok(()) }
    })
}

fn checked_user<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    checked(from, |text| address::check_user(text).map_err(|error| error.to_string()))
}

fn checked_fingerprint<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    checked(from, |text| text.parse::<Fingerprint>().map(|_| ()).map_err(|error| error.to_string()))
}

fn checked<'de, D: serde::Deserializer<'de>>(
    from: D,
    check: impl FnOnce(&str) -> Result<(), String>,
) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(from)?;
    check(&text).map_err(serde::de::Error::custom)?;
    Ok(Some(text))
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
