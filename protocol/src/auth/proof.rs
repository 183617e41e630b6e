//! Proof of possession of an ssh ed25519 key: what the client signs and what the server checks, side by side.
//!
//! The signed structure names this TLS connection (its exporter, RFC 9266), this server (the hash of its
//! key), the account and the protocol version. So a signature is worthless on any other connection, and no
//! challenge has to travel first.

use ssh_encoding::{Decode as _, Encode as _};
use ssh_key::public::KeyData;
use ssh_key::{HashAlg, PublicKey, SshSig};

use super::Fingerprint;
use crate::error::{Error, Result, Status};
use crate::wire::frame::VERSION;

/// SSHSIG namespace (PROTOCOL.sshsig): a signature made for anything else does not verify here.
pub const NAMESPACE: &str = "ft-login";
/// Hash inside SSHSIG.
pub const HASH: HashAlg = HashAlg::Sha512;
/// TLS exporter label for channel binding (RFC 9266).
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";
/// Bytes of the exporter.
pub const EXPORTER_LEN: usize = 32;

/// What ties a login to one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// TLS exporter of this connection.
    pub exporter: [u8; EXPORTER_LEN],
    /// The server's key.
    pub server: Fingerprint,
}

impl Binding {
    /// The bytes that the client signs for `user`.
    pub fn message(&self, user: &[u8]) -> Vec<u8> {
        let mut message = b"ft login\0".to_vec();
        message.extend_from_slice(&VERSION.to_be_bytes());
        message.extend_from_slice(&self.exporter);
        message.extend_from_slice(self.server.as_bytes());
        message.extend_from_slice(user);
        message
    }

    /// Checks a signature over [`Binding::message`] and gives the key that made it. Every failure reads the
    /// same. Only ed25519 is accepted.
    pub fn verify(&self, user: &[u8], key: &[u8], signature: &[u8]) -> Result<PublicKey> {
        let key = PublicKey::from_bytes(key).map_err(|_| login_failed())?;
        let mut rest = signature;
        let signature = SshSig::decode(&mut rest).map_err(|_| login_failed())?;
        if !rest.is_empty() {
            return Err(login_failed());
        }
        if !matches!(key.key_data(), KeyData::Ed25519(_)) || signature.hash_alg() != HASH {
            return Err(login_failed());
        }
        key.verify(NAMESPACE, &self.message(user), &signature).map_err(|_| login_failed())?;
        Ok(key)
    }
}

/// A signature as AUTH_KEY carries it: the SSHSIG blob without its armour.
pub fn signature_bytes(signature: &SshSig) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    signature
        .encode(&mut bytes)
        .map_err(|error| Error::local(Status::Failed, format!("cannot encode the signature: {error}")))?;
    Ok(bytes)
}

/// The one answer to every failed login.
pub fn login_failed() -> Error {
    Error::local(
        Status::AuthFailed,
        "login failed: unknown user, key or password; on the server, 'ftserver user add' or 'ftserver invite' gives access",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use ssh_key::PrivateKey;
    use ssh_key::private::Ed25519Keypair;

    fn signed(binding: &Binding, user: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32]));
        let signature = key.sign(NAMESPACE, HASH, &binding.message(user)).unwrap();
        (key.public_key().to_bytes().unwrap(), signature_bytes(&signature).unwrap())
    }

    fn binding(exporter: u8, server: u8) -> Binding {
        Binding { exporter: [exporter; 32], server: Fingerprint::from_bytes([server; 32]) }
    }

    #[test]
    fn a_signature_is_good_for_one_connection_one_server_and_one_user() {
        let (key, signature) = signed(&binding(1, 2), b"ann");
        assert!(binding(1, 2).verify(b"ann", &key, &signature).is_ok());
        for (other, user) in [(binding(9, 2), &b"ann"[..]), (binding(1, 9), b"ann"), (binding(1, 2), b"bob")]
        {
            assert_eq!(other.verify(user, &key, &signature).unwrap_err().status(), Status::AuthFailed);
        }
    }

    #[test]
    fn a_signature_made_for_files_is_refused() {
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32]));
        let binding = binding(1, 2);
        let signature = key.sign("file", HASH, &binding.message(b"ann")).unwrap();
        let signature = signature_bytes(&signature).unwrap();
        assert!(binding.verify(b"ann", &key.public_key().to_bytes().unwrap(), &signature).is_err());
    }

    #[test]
    fn garbage_is_refused_in_the_same_words() {
        let (key, signature) = signed(&binding(1, 2), b"ann");
        let expected = login_failed().to_string();
        for (key, signature) in
            [(&[][..], &signature[..]), (&key, &[]), (&key[..10], &signature), (&key, &signature[1..])]
        {
            assert_eq!(binding(1, 2).verify(b"ann", key, signature).unwrap_err().to_string(), expected);
        }
    }
}
