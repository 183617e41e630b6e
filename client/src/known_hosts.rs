//! The server keys that this client trusts, one line a server:
//!
//! ```text
//! nas.example:26228 SHA256:… how=prompt 2026-01-31
//! ```
//!
//! Blank lines and lines that start with `#` are kept as they are. A line that cannot be understood is an
//! error, so that a damaged file never reads as "this server is new".

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ft_protocol::auth::Fingerprint;
use ft_protocol::display::Escaped;

use crate::address::host_port;
use crate::files;
use crate::output::reason;

/// How a key came to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// A person compared the fingerprint at a prompt.
    Prompt,
    /// `--accept-new`: nobody compared anything.
    AcceptNew,
    /// `ftclient trust`.
    Trust,
    /// A join string held the fingerprint.
    Join,
    /// `--fingerprint` or the configuration held it; such an entry follows them, see [`decide`].
    Fingerprint,
}

impl How {
    /// True where a person or another channel vouched for the key; only such a server is sent a password.
    pub fn is_confirmed(self) -> bool {
        self != How::AcceptNew
    }

    /// In words, as it is shown behind a key.
    pub(crate) fn described(self) -> &'static str {
        match self {
            How::Prompt => "compared at a prompt",
            How::AcceptNew => "accepted without a look, by --accept-new",
            How::Trust => "confirmed by 'ftclient trust'",
            How::Join => "of the join string",
            How::Fingerprint => "given by --fingerprint",
        }
    }

    /// As it is written in the file.
    pub(crate) fn word(self) -> &'static str {
        match self {
            How::Prompt => "prompt",
            How::AcceptNew => "accept-new",
            How::Trust => "trust",
            How::Join => "join",
            How::Fingerprint => "fingerprint",
        }
    }
}

/// A trusted key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The key's fingerprint.
    pub fingerprint: Fingerprint,
    /// See [`How::is_confirmed`].
    pub confirmed: bool,
    /// How it came to be trusted.
    pub how: How,
}

/// The file could not be read, understood or written.
#[derive(Debug, thiserror::Error)]
pub enum KnownHostsError {
    /// A line means nothing.
    #[error("{}:{line}: {what}; correct or remove the line", path.display())]
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
}

/// The file of trusted keys. It is read at every call, so that runs side by side see each other's changes.
#[derive(Debug, Clone)]
pub struct KnownHosts {
    path: PathBuf,
}

impl KnownHosts {
    /// The file at `path`; it need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key trusted for this host and port.
    pub fn lookup(&self, host: &str, port: u16) -> Result<Option<Known>, KnownHostsError> {
        let name = entry_name(host, port);
        let lines = self.read()?;
        let found = lines.iter().find_map(|line| line.entry.as_ref().filter(|entry| entry.name == name));
        Ok(found.map(|entry| Known {
            fingerprint: entry.fingerprint,
            confirmed: entry.how.is_confirmed(),
            how: entry.how,
        }))
    }

    /// Trusts a key from now on, in place of any other of this host and port.
    pub fn add(
        &self,
        host: &str,
        port: u16,
        fingerprint: &Fingerprint,
        how: How,
    ) -> Result<(), KnownHostsError> {
        let date = jiff::Zoned::now().date().to_string();
        self.add_dated(host, port, fingerprint, how, &date)
    }

    fn add_dated(
        &self,
        host: &str,
        port: u16,
        fingerprint: &Fingerprint,
        how: How,
        date: &str,
    ) -> Result<(), KnownHostsError> {
        let name = entry_name(host, port);
        let text = format!("{name} {fingerprint} how={} {date}", how.word());
        self.rewrite(|lines| {
            let new =
                Line { entry: Some(Entry { name: name.clone(), fingerprint: *fingerprint, how }), text };
            match lines.iter_mut().find(|line| line.is_for(&name)) {
                Some(old) => *old = new,
                None => lines.push(new),
            }
            true
        })
        .map(|_| ())
    }

    /// Forgets the key of this host and port; false where there was none.
    pub fn forget(&self, host: &str, port: u16) -> Result<bool, KnownHostsError> {
        let name = entry_name(host, port);
        self.rewrite(|lines| {
            let before = lines.len();
            lines.retain(|line| !line.is_for(&name));
            lines.len() != before
        })
    }

    /// Changes the file under a lock, if `change` says that there is something to write.
    fn rewrite(&self, change: impl FnOnce(&mut Vec<Line>) -> bool) -> Result<bool, KnownHostsError> {
        let _lock = files::lock_directory_of(&self.path).map_err(|error| self.io(error))?;
        let mut lines = self.read()?;
        if !change(&mut lines) {
            return Ok(false);
        }
        let text: String = lines.iter().flat_map(|line| [line.text.as_str(), "\n"]).collect();
        files::replace(&self.path, 0o600, text.as_bytes()).map_err(|error| self.io(error))?;
        Ok(true)
    }

    fn read(&self) -> Result<Vec<Line>, KnownHostsError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(self.io(error)),
        };
        let mut lines: Vec<Line> = Vec::new();
        for (index, text) in text.lines().enumerate() {
            let syntax = |what| KnownHostsError::Syntax { path: self.path.clone(), line: index + 1, what };
            let line: Line = text.parse().map_err(syntax)?;
            if line.entry.as_ref().is_some_and(|new| lines.iter().any(|old| old.is_for(&new.name))) {
                return Err(syntax("this host and port is listed twice".into()));
            }
            lines.push(line);
        }
        Ok(lines)
    }

    fn io(&self, error: io::Error) -> KnownHostsError {
        KnownHostsError::Io { path: self.path.clone(), error }
    }
}

/// Host names know no case (RFC 4343).
fn entry_name(host: &str, port: u16) -> String {
    host_port(&host.to_ascii_lowercase(), port)
}

#[derive(Debug)]
struct Line {
    text: String,
    /// `None` for comments and blank lines.
    entry: Option<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    fingerprint: Fingerprint,
    how: How,
}

impl Line {
    fn is_for(&self, name: &str) -> bool {
        self.entry.as_ref().is_some_and(|entry| entry.name == name)
    }
}

impl FromStr for Line {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let entry = match words.as_slice() {
            [] => None,
            [first, ..] if first.starts_with('#') => None,
            [name, fingerprint, how, date] => {
                let (host, port) = name.rsplit_once(':').ok_or("the line must start with host:port")?;
                let port: u16 = port.parse().map_err(|_| "the line must start with host:port")?;
                let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
                date.parse::<jiff::civil::Date>().map_err(|_| "the date must look like 2026-01-31")?;
                Some(Entry {
                    name: entry_name(host, port),
                    fingerprint: fingerprint
                        .parse()
                        .map_err(|error: ft_protocol::auth::BadFingerprint| error.to_string())?,
                    how: how.parse()?,
                })
            }
            _ => return Err("a line is 'host:port SHA256:… how=… date'".into()),
        };
        Ok(Self { text: text.to_owned(), entry })
    }
}

impl FromStr for How {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [How::Prompt, How::AcceptNew, How::Trust, How::Join, How::Fingerprint]
            .into_iter()
            .find(|how| text.strip_prefix("how=") == Some(how.word()))
            .ok_or_else(|| {
                let known = "how=prompt, accept-new, trust, join or fingerprint";
                format!("unknown '{}' (known: {known})", Escaped::from(text))
            })
    }
}

/// What to do about the key that a server presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Trusted {
        /// See [`How::is_confirmed`].
        confirmed: bool,
    },
    /// Store the key, then go on; confirmed if [`How::is_confirmed`].
    AddThenTrust {
        /// What to store.
        how: How,
    },
    /// Show the fingerprint and ask; on yes store it with [`How::Prompt`].
    Ask,
    /// Stop. The text says what happened and what to do.
    Refuse(String),
}

/// The only key that a server may have, as it was written down or typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The key's fingerprint.
    pub fingerprint: Fingerprint,
    /// Where it stands.
    pub origin: PinOrigin,
}

/// Where a [`Pin`] stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinOrigin {
    /// `--fingerprint`, or its name in the environment.
    Option,
    /// The table of a host.
    Configuration {
        /// The file.
        path: PathBuf,
        /// The host's name in it.
        host: String,
    },
}

impl PinOrigin {
    /// What makes another key the expected one, to be said after "run".
    pub(crate) fn advice(&self, fingerprint: &Fingerprint) -> String {
        match self {
            PinOrigin::Option => format!("this again with --fingerprint {fingerprint}"),
            PinOrigin::Configuration { host, .. } => {
                format!("'ftclient hosts add {host} --fingerprint {fingerprint}'")
            }
        }
    }
}

impl fmt::Display for PinOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PinOrigin::Option => f.write_str("as --fingerprint (or FTCLIENT_FINGERPRINT) says"),
            PinOrigin::Configuration { path, host } => {
                write!(f, "as the configuration says (host '{host}' in {})", path.display())
            }
        }
    }
}

/// Decides about a presented key. `host` is shown in messages and must be what `ftclient trust` takes;
/// `pin` is what counts now; `terminal` tells whether somebody can be asked.
///
/// A key that differs from a stored one is refused whatever else is given: only `trust` may replace it. An entry
/// that did no more than repeat a pin is none of that kind, and follows the pin.
pub fn decide(
    host: &dyn fmt::Display,
    known: Option<&Known>,
    presented: &Fingerprint,
    pin: Option<&Pin>,
    accept_new: bool,
    terminal: bool,
) -> Decision {
    // An entry that only repeats a pin stops nobody who has a pin.
    let other = known
        .filter(|known| known.fingerprint != *presented && (known.how != How::Fingerprint || pin.is_none()));
    if let Some(Pin { fingerprint, origin }) = pin.filter(|pin| pin.fingerprint != *presented) {
        let forget = match other {
            Some(_) => format!("'ftclient trust {host} --forget', then "),
            None => String::new(),
        };
        return Decision::Refuse(format!(
            "{host} presented the key {presented}, but {fingerprint} was expected, {origin}; nothing was sent. \
             Somebody may be intercepting the connection, or the server was installed anew. If \
             'ftserver fingerprint' on the server prints the presented key, run {forget}{}",
            origin.advice(presented)
        ));
    }
    if let Some(known) = other {
        return Decision::Refuse(changed(host, known, presented));
    }
    match known {
        Some(known) if known.fingerprint == *presented && (known.confirmed || pin.is_none()) => {
            Decision::Trusted { confirmed: known.confirmed }
        }
        _ if pin.is_some() => Decision::AddThenTrust { how: How::Fingerprint },
        _ if accept_new => Decision::AddThenTrust { how: How::AcceptNew },
        _ if terminal => Decision::Ask,
        _ => Decision::Refuse(format!(
            "the key of {host} is not known: it presented {presented}. Compare it with the output of \
             'ftserver fingerprint' on the server, then run 'ftclient trust {host} --fingerprint {presented}'; \
             or accept any key the first time with --accept-new"
        )),
    }
}

/// What is said of a key that is not the stored one.
pub(crate) fn changed(host: &dyn fmt::Display, known: &Known, presented: &Fingerprint) -> String {
    format!(
        "THE KEY OF {host} HAS CHANGED: known {}, presented {presented}; nothing was sent. Somebody may be \
         intercepting the connection, or the server has a new key. If 'ftserver fingerprint' on the server \
         prints the new one, run 'ftclient trust {host} --forget' and then \
         'ftclient trust {host} --fingerprint {presented}'",
        known.fingerprint
    )
}

#[cfg(test)]
#[path = "known_hosts_tests.rs"]
mod tests;
