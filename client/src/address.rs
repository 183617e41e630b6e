//! Remote operands and host names as people type them.

use std::ffi::OsStr;
use std::fmt;
use std::net::Ipv6Addr;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;

use ft_protocol::RemotePath;
use ft_protocol::display::Escaped;

use crate::glob::{self, GlobComponent};

/// Port where neither the command line nor the configuration names one (0x6674, "ft").
pub const DEFAULT_PORT: u16 = 26228;
/// Longest user name in bytes.
const MAX_USER: usize = 64;
/// Longest host name in bytes (RFC 1035).
const MAX_HOST: usize = 253;
/// What marks a URL.
const SCHEME: &[u8] = b"ft://";

/// What is wrong with an operand and what to type instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AddressError(pub String);

/// A host as typed: an entry of the configuration, or a name or address to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostSpec {
    /// User before the `@`.
    pub user: Option<String>,
    /// Name or address; an IPv6 address without its brackets.
    pub host: String,
    /// Port, where one was typed (`-H host:port` or a URL; never `host:path`).
    pub port: Option<u16>,
}

/// `[user@]host[:port]`, with an IPv6 address in brackets.
impl FromStr for HostSpec {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.contains(',') {
            return Err(AddressError("one host at a time; lists of hosts are for -H and -x".into()));
        }
        let (user, rest) = split_user(text);
        let (host, port) = match rest.strip_prefix('[') {
            Some(inner) => match inner.split_once(']') {
                Some((host, "")) => (v6(host)?, None),
                Some((host, port)) => (v6(host)?, port.strip_prefix(':')),
                None => return Err(bad(text, "a '[' without its ']'")),
            },
            None if rest.parse::<Ipv6Addr>().is_ok() => (rest.to_owned(), None),
            None => match rest.split_once(':') {
                Some((host, port)) => (host.to_owned(), Some(port)),
                None => (rest.to_owned(), None),
            },
        };
        let port = port.map(|port| parse_port(text, port)).transpose()?;
        Self::checked(user, host, port)
    }
}

impl HostSpec {
    /// A host whose parts passed the checks.
    fn checked(user: Option<&str>, host: String, port: Option<u16>) -> Result<Self, AddressError> {
        if let Some(user) = user {
            check_user(user)?;
        }
        check_host(&host)?;
        Ok(Self { user: user.map(str::to_owned), host, port })
    }
}

impl fmt::Display for HostSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{}@", Escaped::from(user.as_str()))?;
        }
        if self.host.contains(':') { write!(f, "[{}]", self.host) } else { f.write_str(&self.host) }?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// `host:port` as known_hosts and messages write it; an IPv6 address gets brackets.
pub fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A remote operand, split but not yet read as a path or a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteArg {
    /// The host; `None` for the selected or default one.
    pub host: Option<HostSpec>,
    /// The path as typed, decoded where it was a URL.
    path: Vec<u8>,
    /// The same with a backslash before each character that a URL encoded and a glob would read.
    pattern: Vec<u8>,
}

/// A remote operand that may name several files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteOperand {
    /// One path.
    Path(RemotePath),
    /// A pattern, component by component, outermost first; at least one component is not literal.
    Glob(Vec<GlobComponent>),
}

impl RemoteOperand {
    /// The operand without its host, for messages.
    pub(crate) fn shown(&self) -> Vec<u8> {
        match self {
            RemoteOperand::Path(path) => path.as_bytes().to_vec(),
            RemoteOperand::Glob(components) => glob::shown(components),
        }
    }
}

impl RemoteArg {
    /// Parses `[user@]host:path`, `ft://[user@]host[:port]/path`, `:path` or `path`.
    ///
    /// A host ends at the first colon with no `/` before it, so `host:2222` is a path and `./a:b` has no host.
    pub fn parse(text: &OsStr) -> Result<Self, AddressError> {
        let bytes = text.as_bytes();
        if bytes.starts_with(SCHEME) {
            return parse_url(bytes.get(SCHEME.len()..).unwrap_or_default());
        }
        let Some((host, path)) = split_host(bytes) else {
            return Ok(Self::plain(None, bytes));
        };
        if host.is_empty() {
            return Ok(Self::plain(None, path));
        }
        let host = std::str::from_utf8(host).map_err(|_| bad_host(host))?;
        let (user, name) = split_user(host);
        let name = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
            Some(inner) => v6(inner)?,
            None => name.to_owned(),
        };
        Ok(Self::plain(Some(HostSpec::checked(user, name, None)?), path))
    }

    /// A path of the selected host, typed where `cwd` is the working directory: from the root where it begins with
    /// `/`. `..` goes back one component, and stays at the root. `pattern` is the same with a backslash before what
    /// is to stand for itself in a pattern.
    pub(crate) fn within(cwd: &RemotePath, path: &[u8], pattern: &[u8]) -> Self {
        Self {
            host: None,
            path: resolve(cwd.as_bytes(), path),
            pattern: resolve(&glob::escaped(cwd.as_bytes()), pattern),
        }
    }

    fn plain(host: Option<HostSpec>, path: &[u8]) -> Self {
        Self { host, path: path.to_vec(), pattern: path.to_vec() }
    }

    /// The operand as one path; `*`, `?`, `[` and backslashes stand for themselves.
    pub fn literal(&self) -> Result<RemotePath, AddressError> {
        self.check_beneath()?;
        RemotePath::from_typed(&self.path).map_err(|error| AddressError(error.to_string()))
    }

    /// The operand as a path or a pattern; a backslash before `* ? [ ] \` takes away their meaning.
    pub fn operand(&self) -> Result<RemoteOperand, AddressError> {
        self.check_beneath()?;
        glob::parse(&self.pattern).map_err(|error| AddressError(error.to_string()))
    }

    fn check_beneath(&self) -> Result<(), AddressError> {
        if self.path.split(|b| *b == b'/').any(|part| part == b"..") {
            return Err(AddressError("'..' is not allowed: paths are beneath the account's root".into()));
        }
        Ok(())
    }

    /// True where the path can only be a directory: it is the root, or ends in `/`, `/.` or `.`.
    pub fn names_directory(&self) -> bool {
        matches!(self.path.rsplit(|b| *b == b'/').next(), None | Some(b"" | b"."))
    }
}

/// True where the text names something remote whatever stands beside it: a URL, `host:path` or `:path`.
pub fn names_remote(text: &OsStr) -> bool {
    let bytes = text.as_bytes();
    bytes.starts_with(SCHEME) || split_host(bytes).is_some()
}

/// Ends in `/` where `path` can only mean a directory.
fn resolve(cwd: &[u8], path: &[u8]) -> Vec<u8> {
    let from = if path.first() == Some(&b'/') { b"" } else { cwd };
    let mut parts = Vec::new();
    for part in from.split(|b| *b == b'/').chain(path.split(|b| *b == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut resolved = parts.join(&b'/');
    if matches!(path.rsplit(|b| *b == b'/').next(), None | Some(b"" | b"." | b"..")) {
        resolved.push(b'/');
    }
    resolved
}

/// Splits at the first colon that has no `/` before it and is not inside the brackets of an IPv6 address.
fn split_host(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let head = bytes.split(|b| *b == b'/').next().unwrap_or_default();
    let after_user = head.iter().position(|b| *b == b'@').map_or(0, |at| at + 1);
    let bracketed = [0, after_user].into_iter().find(|at| head.get(*at) == Some(&b'['));
    let from = bracketed
        .and_then(|at| head.get(at..)?.windows(2).position(|pair| pair == b"]:").map(|end| at + end + 1));
    let colon = from.or_else(|| head.iter().position(|b| *b == b':'))?;
    Some((bytes.get(..colon)?, bytes.get(colon + 1..)?))
}

fn parse_url(rest: &[u8]) -> Result<RemoteArg, AddressError> {
    let slash = rest.iter().position(|b| *b == b'/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(slash).unwrap_or((rest, b""));
    let shown = format!("ft://{}", Escaped::new(authority));
    let authority = std::str::from_utf8(authority).map_err(|_| bad_host(authority))?;
    let (user, host) = split_user(authority);
    let user = user
        .map(|user| {
            let (plain, _) = decode(user.as_bytes())?;
            String::from_utf8(plain).map_err(|_| bad(&shown, "the user is not UTF-8"))
        })
        .transpose()?;
    let mut host: HostSpec = host.parse()?;
    if let Some(user) = &user {
        check_user(user)?;
    }
    host.user = user;
    let (path, pattern) = decode(path)?;
    Ok(RemoteArg { host: Some(host), path, pattern })
}

/// Percent-decodes (RFC 3986, 2.1): the plain bytes, and the same with decoded glob characters escaped.
fn decode(text: &[u8]) -> Result<(Vec<u8>, Vec<u8>), AddressError> {
    let (mut plain, mut pattern) = (Vec::new(), Vec::new());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        if *byte != b'%' {
            plain.push(*byte);
            pattern.push(*byte);
            continue;
        }
        let digits = [rest.next(), rest.next()].map(|d| d.and_then(|d| char::from(*d).to_digit(16)));
        let [Some(high), Some(low)] = digits else {
            return Err(bad(
                &Escaped::new(text),
                "'%' must be followed by two hexadecimal digits (write %25)",
            ));
        };
        let byte = u8::try_from(high * 16 + low).unwrap_or_default();
        if byte == b'/' {
            return Err(bad(&Escaped::new(text), "no name holds a '/', so %2F has no meaning"));
        }
        plain.push(byte);
        if glob::is_special(byte) {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    Ok((plain, pattern))
}

/// Splits `user@rest` at the last `@`, as ssh does.
pub(crate) fn split_user(text: &str) -> (Option<&str>, &str) {
    text.rsplit_once('@').map_or((None, text), |(user, rest)| (Some(user), rest))
}

/// Checks a user name: 1 to 64 bytes, no leading `-` or `@`, and nothing that a path, a list of hosts or a line of its
/// files would be split at. Names that this refuses are none of an account (`ft_protocol::auth::check_user_name`).
pub fn check_user(user: &str) -> Result<(), AddressError> {
    let what = match user {
        "" => "it is empty",
        _ if user.len() > MAX_USER => "it is longer than 64 bytes",
        _ if user.starts_with('-') => "it starts with '-'",
        // It would be the name of a file: @FILE.
        _ if user.starts_with('@') => "it starts with '@'",
        _ if Escaped::from(user).to_string() != user => "it holds a control character",
        // What 'get' fetches of a host goes to DIR/USER@HOST.
        _ if user.contains('/') => "it holds a '/'",
        _ if user.contains(char::is_whitespace) => "it holds white space",
        _ if user.contains(['#', ',', '[', ']']) => "it holds one of '#', ',', '[' and ']'",
        _ => return Ok(()),
    };
    Err(AddressError(format!("bad user name '{}': {what}", Escaped::from(user))))
}

/// Checks a host name, an address or the name of a configured host.
pub fn check_host(host: &str) -> Result<(), AddressError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let what = match host {
        "" => "it is empty",
        _ if host.len() > MAX_HOST => "it is longer than 253 bytes",
        _ if host.starts_with('-') => "it starts with '-'",
        // They would be directories: what 'get' fetches of a host goes to DIR/HOST.
        _ if host.bytes().all(|b| b == b'.') => "it is nothing but dots",
        _ if v6(host).is_err() && !host.chars().all(plain) => {
            "a host has letters, digits, '.', '-' and '_' (a local or remote name with a colon is written ./a:b)"
        }
        _ => return Ok(()),
    };
    Err(AddressError(format!("bad host '{}': {what}", Escaped::from(host))))
}

/// An IPv6 address, with or without a zone (`fe80::1%eth0`).
fn v6(text: &str) -> Result<String, AddressError> {
    let (address, zone) = text.split_once('%').map_or((text, None), |(a, zone)| (a, Some(zone)));
    let good_zone = |zone: &str| !zone.is_empty() && zone.chars().all(|c| c.is_ascii_alphanumeric());
    match address.parse::<Ipv6Addr>() {
        Ok(_) if zone.is_none_or(good_zone) => Ok(text.to_owned()),
        _ => Err(bad(
            &Escaped::from(text),
            "brackets before a colon hold an IPv6 address; \
             a name with brackets and a colon is written ./[a]:b",
        )),
    }
}

pub(crate) fn parse_port(whole: &str, port: &str) -> Result<u16, AddressError> {
    match port.parse() {
        Ok(number) if number > 0 && port.bytes().all(|b| b.is_ascii_digit()) => Ok(number),
        _ => Err(bad(&Escaped::from(whole), "the port is a number from 1 to 65535")),
    }
}

fn bad_host(host: &[u8]) -> AddressError {
    bad(&Escaped::new(host), "a host is written in ASCII")
}

fn bad(text: &(impl fmt::Display + ?Sized), what: &str) -> AddressError {
    AddressError(format!("cannot read '{text}': {what}"))
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
