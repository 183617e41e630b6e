//! What `hosts` says with `--json`.

use std::io;

use serde::Serialize;

use super::super::context::Context;
use super::{entry_of, place};
use crate::address::HostSpec;
use crate::config::{Config, ConfigError};

/// One line. Fields of no value are null or empty; nothing is a secret.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum HostEvent {
    /// A host of `hosts list`.
    HostEntry(Described),
    /// The host of `hosts show`.
    HostShow {
        #[serde(flatten)]
        entry: Described,
        default: bool,
        /// Where credentials of its own come from.
        credentials: Vec<String>,
        /// The key that the server must have, where one is known.
        fingerprint: Option<String>,
        /// What vouches for the key: `configuration`, or the word of known_hosts.
        confirmed_by: Option<&'static str>,
    },
    /// A host was added, changed or removed.
    HostChange {
        host: String,
        change: Change,
        /// Groups that it came into or went out of.
        groups: Vec<String>,
        was_default: bool,
    },
    /// A host of an INI file.
    HostImport {
        host: String,
        line: usize,
        address: Option<String>,
        port: Option<u16>,
        user: Option<String>,
        enabled: bool,
        password_file: Option<String>,
        replaced: bool,
        dry_run: bool,
    },
    /// A group of an INI file.
    GroupImport { group: String, line: usize, hosts: Vec<String>, replaced: bool, dry_run: bool },
    /// A section of an INI file that was left out.
    ImportSkip { section: String, line: usize, message: String },
    /// Something of an INI file that is not as it was written.
    ImportNote {
        #[serde(skip_serializing_if = "String::is_empty")]
        section: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        line: Option<usize>,
        message: String,
    },
    /// The last words of an import.
    Summary { hosts: usize, disabled: usize, groups: usize, skipped: usize, dry_run: bool, exit: u8 },
}

/// What the configuration says of a host.
#[derive(Debug, Serialize)]
pub(super) struct Described {
    host: String,
    address: String,
    port: u16,
    user: Option<String>,
    root: Option<String>,
    tags: Vec<String>,
    groups: Vec<String>,
    enabled: bool,
}

/// What became of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    Added,
    Changed,
    Unchanged,
    Removed,
}

impl Change {
    pub(super) fn word(self) -> &'static str {
        match self {
            Change::Added => "added",
            Change::Changed => "changed",
            Change::Unchanged => "unchanged:",
            Change::Removed => "removed",
        }
    }
}

impl Described {
    pub(super) fn of(host: &HostSpec, config: &Config) -> Result<Self, ConfigError> {
        let entry = entry_of(host, config);
        let (address, port) = place(host, &entry)?;
        Ok(Self {
            host: host.host.clone(),
            address,
            port,
            user: host.user.clone().or(entry.user.clone()),
            root: entry.root.as_ref().map(ToString::to_string),
            tags: entry.tags().to_vec(),
            groups: config.groups_of(&host.host).to_vec(),
            enabled: entry.is_enabled(),
        })
    }
}

/// A line on standard output; nothing without `--json`.
pub(super) fn write(context: &Context, event: &HostEvent) -> io::Result<()> {
    if !context.output.options().json {
        return Ok(());
    }
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    context.output.data(&line)
}
