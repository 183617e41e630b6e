//! [`JoinString`]: the one line that carries everything a new client needs.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::fingerprint::Fingerprint;
use super::user_name::{BadUserName, check_user_name};
use crate::display::Escaped;

const FAMILY: &str = "ft-join-";
const PREFIX: &str = "ft-join-1.";
const CHECKSUM: usize = 4;
/// Longest address in bytes: a DNS name (RFC 1035: 253), a colon and a port.
const MAX_ADDRESS: usize = 253 + 6;
/// Longest text worth decoding: all fields at their limits, in base64.
const MAX_TEXT: usize = 1024;

/// What `ftserver invite` prints and `ftclient join` reads: where the server is, which key it has, as whom
/// to join, and a secret that works once.
///
/// Text form: `ft-join-1.` and, in base64url without padding (RFC 4648 section 5): fingerprint (32 bytes),
/// secret (32 bytes), length of the user name (1 byte), user name, address, and the first 4 bytes of the
/// SHA-256 of all that, so that a paste error is noticed before anything is sent.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinString {
    address: String,
    fingerprint: Fingerprint,
    user: String,
    secret: Zeroizing<[u8; 32]>,
}

/// The text is no usable join string, or one cannot be made of these parts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// It does not begin as join strings do.
    #[error(
        "this is no join string: paste the line that `ftserver invite` printed, it begins with ft-join-1."
    )]
    Foreign,
    /// Made by a release with another format.
    #[error("the join string is of another version: install matching releases of ftserver and ftclient")]
    Version,
    /// Checksum, length or encoding is wrong.
    #[error("the join string is damaged or incomplete: paste the whole line")]
    Damaged,
    /// The address is not `host:port`.
    #[error("bad address '{}': give HOST:PORT, an IPv6 address in brackets", Escaped::from(.0.as_str()))]
    Address(String),
    /// The name of the user is not allowed.
    #[error(transparent)]
    User(#[from] BadUserName),
}

impl JoinString {
    /// A join string of its parts. `address` is `host:port`, an IPv6 address in brackets.
    pub fn new(
        address: impl Into<String>,
        fingerprint: Fingerprint,
        user: impl Into<String>,
        secret: [u8; 32],
    ) -> Result<Self, JoinError> {
        let (address, user) = (address.into(), user.into());
        if !is_address(&address) {
            return Err(JoinError::Address(address.chars().take(80).collect()));
        }
        check_user_name(&user)?;
        Ok(Self { address, fingerprint, user, secret: Zeroizing::new(secret) })
    }

    /// Where the server listens: `host:port`, an IPv6 address in brackets.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The key that the server must have.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The account to join.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The secret that works once.
    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }
}

impl fmt::Display for JoinString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_TEXT));
        bytes.extend_from_slice(self.fingerprint.as_bytes());
        bytes.extend_from_slice(self.secret());
        bytes.push(u8::try_from(self.user.len()).map_err(|_| fmt::Error)?);
        bytes.extend_from_slice(self.user.as_bytes());
        bytes.extend_from_slice(self.address.as_bytes());
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        write!(f, "{PREFIX}{}", Zeroizing::new(URL_SAFE_NO_PAD.encode(&bytes)).as_str())
    }
}

impl fmt::Debug for JoinString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinString")
            .field("address", &self.address)
            .field("fingerprint", &self.fingerprint)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl FromStr for JoinString {
    type Err = JoinError;

    fn from_str(text: &str) -> Result<Self, JoinError> {
        let text = text.trim();
        let Some(digits) = text.strip_prefix(PREFIX) else {
            return Err(if text.starts_with(FAMILY) { JoinError::Version } else { JoinError::Foreign });
        };
        if digits.len() > MAX_TEXT {
            return Err(JoinError::Damaged);
        }
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(digits).map_err(|_| JoinError::Damaged)?);
        let (body, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(JoinError::Damaged)?;
        if checksum(body) != *sum {
            return Err(JoinError::Damaged);
        }
        let (fingerprint, rest) = body.split_first_chunk::<32>().ok_or(JoinError::Damaged)?;
        let (secret, rest) = rest.split_first_chunk::<32>().ok_or(JoinError::Damaged)?;
        let (length, rest) = rest.split_first().ok_or(JoinError::Damaged)?;
        let (user, address) = rest.split_at_checked(usize::from(*length)).ok_or(JoinError::Damaged)?;
        let user = std::str::from_utf8(user).map_err(|_| JoinError::Damaged)?;
        let address = std::str::from_utf8(address).map_err(|_| JoinError::Damaged)?;
        Self::new(address, Fingerprint::from_bytes(*fingerprint), user, *secret)
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut sum = [0; CHECKSUM];
    for (to, from) in sum.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
        *to = *from;
    }
    sum
}

/// True for `host:port` and `[v6]:port`; nothing else may reach a connect, a log or a configuration file.
fn is_address(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    if address.len() > MAX_ADDRESS || !digits || !port.parse::<u16>().is_ok_and(|port| port != 0) {
        return false;
    }
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => {
            let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
            plain && !host.is_empty() && !host.starts_with(['-', '.'])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> JoinString {
        JoinString::new("files.example.org:26228", Fingerprint::of_spki(b"k"), "alice", [7; 32]).unwrap()
    }

    #[test]
    fn it_reads_what_it_prints() {
        for address in ["files.example.org:26228", "10.0.0.1:1", "[2001:db8::1]:65535"] {
            let join = JoinString::new(address, Fingerprint::of_spki(b"k"), "alice", [7; 32]).unwrap();
            let text = format!("  {join}\n");
            assert_eq!(text.parse::<JoinString>().unwrap(), join);
        }
    }

    #[test]
    fn every_single_damage_is_noticed() {
        let text = sample().to_string();
        for end in PREFIX.len()..text.len() {
            assert_eq!(text[..end].parse::<JoinString>(), Err(JoinError::Damaged), "cut at {end}");
        }
        for at in PREFIX.len()..text.len() {
            for other in ["A", "b", " ", "\n"] {
                let mut damaged = text.clone();
                damaged.replace_range(at..=at, other);
                assert!(
                    damaged == text || damaged.trim() == text || damaged.parse::<JoinString>().is_err(),
                    "at {at}"
                );
            }
        }
    }

    #[test]
    fn other_lines_are_told_apart() {
        assert_eq!("hello".parse::<JoinString>(), Err(JoinError::Foreign));
        assert_eq!("ft-join-2.AAAA".parse::<JoinString>(), Err(JoinError::Version));
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for bad in [
            "", "a", "a:", "a:0", "a:+1", "a:70000", ":1", "-a:1", "::1:1", "[::1]", "[x]:1", "a b:1",
            "a\x1b:1",
        ] {
            let join = JoinString::new(bad, Fingerprint::of_spki(b"k"), "alice", [7; 32]);
            assert!(matches!(join, Err(JoinError::Address(_))), "{bad:?}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", sample());
        assert!(!shown.contains("7, 7") && shown.contains("alice"), "{shown}");
    }
}
