//! Public keys as OpenSSH writes them; ed25519 only.

use ft_protocol::display::Escaped;
use serde::{Deserialize, Serialize};
use ssh_key::PublicKey;

/// Why a text gives no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// The half that must never leave its owner.
    #[error("this is a private key: give the public half, the file that ends in .pub")]
    Private,
    /// A kind that is not supported.
    #[error("keys of the kind '{}' are not supported: make one with `ssh-keygen -t ed25519`", Escaped::from(.0.as_str()))]
    Kind(String),
    /// Not a key at all.
    #[error("not an OpenSSH public key ({0}): expected one line 'ssh-ed25519 AAAA… comment'")]
    Syntax(String),
    /// Nothing in it.
    #[error("no key in it: expected a line 'ssh-ed25519 AAAA… comment'")]
    Empty,
}

/// Reads one or more public keys, one a line, as in a `.pub` file; empty lines and lines that begin with `#`
/// are passed over. Options before the key, which authorized_keys of sshd(8) may have, are refused.
pub fn parse_public_keys(text: &str) -> Result<Vec<PublicKey>, BadKey> {
    if text.contains("PRIVATE KEY-----") || text.starts_with("PuTTY-User-Key-File") {
        return Err(BadKey::Private);
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys = lines.map(parse_line).collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() { Err(BadKey::Empty) } else { Ok(keys) }
}

fn parse_line(line: &str) -> Result<PublicKey, BadKey> {
    let kind = line.split_whitespace().next().unwrap_or_default();
    let other = ["ssh-", "ecdsa-", "sk-"].iter().any(|family| kind.starts_with(family));
    if other && kind != "ssh-ed25519" {
        return Err(BadKey::Kind(kind.to_owned()));
    }
    let key = PublicKey::from_openssh(line).map_err(|e| BadKey::Syntax(e.to_string()))?;
    match key.key_data().ed25519() {
        Some(_) => Ok(key),
        None => Err(BadKey::Kind(key.algorithm().to_string())),
    }
}

/// A key in a file of an account.
#[derive(Clone, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct KeyLine(pub(super) PublicKey);

impl TryFrom<String> for KeyLine {
    type Error = BadKey;

    fn try_from(line: String) -> Result<Self, BadKey> {
        parse_line(&line).map(Self)
    }
}

impl From<KeyLine> for String {
    fn from(line: KeyLine) -> Self {
        // Of an ed25519 key this fails for no value; an empty line would be refused when it is read.
        line.0.to_openssh().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti a@b";
    const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC a@b";

    #[test]
    fn comments_and_empty_lines_are_passed_over() {
        let keys = parse_public_keys(&format!("# mine\n\n{KEY}\r\n")).unwrap();
        assert_eq!(keys.len(), 1);
        assert_eq!(keys[0].comment(), "a@b");
    }

    #[test]
    fn a_refusal_says_what_to_give() {
        assert_eq!(parse_public_keys("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"), Err(BadKey::Private));
        assert_eq!(parse_public_keys(RSA), Err(BadKey::Kind("ssh-rsa".into())));
        assert_eq!(parse_public_keys("\n# nothing\n"), Err(BadKey::Empty));
        for text in ["hello", "ssh-ed25519 AAAA", &format!("command=\"x\" {KEY}")] {
            assert!(matches!(parse_public_keys(text), Err(BadKey::Syntax(_))), "{text}");
        }
    }
}
