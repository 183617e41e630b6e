//! The configuration file.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;

use ft_protocol::Error;
use serde::Deserialize;

use super::duration::DurationText;
use super::{ConfigError, Limits, Settings};
use crate::logging::{LogFormat, LogLevel};
use crate::toml_file::{self, AbsolutePath};

/// The configuration file as it is written; every key may be left out, unknown ones are errors.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigFile {
    root: Option<AbsolutePath>,
    listen: Option<SocketAddr>,
    log_format: Option<LogFormat>,
    log_level: Option<LogLevel>,
    max_connections: Option<NonZeroUsize>,
    max_unauthenticated: Option<NonZeroUsize>,
    max_unauthenticated_per_source: Option<NonZeroUsize>,
    login_timeout: Option<DurationText>,
    stall_timeout: Option<DurationText>,
    drain_timeout: Option<DurationText>,
}

impl ConfigFile {
    /// Reads a configuration file.
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| ConfigError::Unreadable { path: path.to_owned(), source: Error::io("read", &e) })?;
        Ok(toml_file::parse(path, &text)?)
    }

    /// What it says that flags and environment can say too.
    pub(super) fn settings(self) -> Settings {
        Settings {
            root: self.root.map(|root| root.0),
            listen: self.listen,
            log_format: self.log_format,
            log_level: self.log_level,
        }
    }

    /// The limits that it sets, over the defaults.
    pub(super) fn limits(&self) -> Limits {
        let default = Limits::default();
        let time = |given: &Option<DurationText>, default| given.as_ref().map_or(default, |text| text.0);
        Limits {
            max_connections: self.max_connections.unwrap_or(default.max_connections),
            max_unauthenticated: self.max_unauthenticated.unwrap_or(default.max_unauthenticated),
            max_unauthenticated_per_source: self
                .max_unauthenticated_per_source
                .unwrap_or(default.max_unauthenticated_per_source),
            login_timeout: time(&self.login_timeout, default.login_timeout),
            stall_timeout: time(&self.stall_timeout, default.stall_timeout),
            drain_timeout: time(&self.drain_timeout, default.drain_timeout),
        }
    }
}
