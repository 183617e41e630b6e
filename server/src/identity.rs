//! The server's identity: one ed25519 key, and the fingerprint that clients pin.

use std::fmt;
use std::path::{Path, PathBuf};

use ft_protocol::auth::Fingerprint;
use ft_protocol::{Error, Status};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ED25519, PublicKeyData};
use zeroize::Zeroizing;

use crate::state::{StateDir, StateError, shown};

const KEY_FILE: &str = "server.key";

/// What can go wrong with the server's key.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The key file holds something else.
    #[error(
        "{} holds no ed25519 key in PKCS#8 PEM ({reason}): restore it from a copy; or remove it, and the next \
         start makes a new key that every client has to trust anew",
        shown(.path)
    )]
    BadKey {
        /// The key file.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
    /// No key was made in this state directory yet.
    #[error(
        "there is no server key in {} yet: `ftserver serve` or `ftserver invite` makes one there; if the server \
         keeps its state elsewhere, give --state DIR",
        shown(.0)
    )]
    Missing(PathBuf),
    /// The state directory failed or is exposed.
    #[error(transparent)]
    State(#[from] StateError),
    /// Key or certificate could not be made.
    #[error("make the server's key: {0}")]
    Make(#[from] rcgen::Error),
}

/// The key of the server and a certificate that carries it.
#[derive(Clone)]
pub struct Identity {
    key_der: Zeroizing<Vec<u8>>,
    cert_der: Vec<u8>,
    fingerprint: Fingerprint,
}

impl Identity {
    /// Loads the key of this state; `None` where there is none yet. A key that others can read is refused.
    pub fn load(state: &StateDir) -> Result<Option<Self>, IdentityError> {
        let name = Path::new(KEY_FILE);
        let pem = state.read(name)?;
        pem.map(|pem| Self::from_pem(&state.path().join(name), &pem)).transpose()
    }

    /// Loads the key of this state, or makes it. Of two that start at once, both get the same key.
    pub fn load_or_create(state: &StateDir) -> Result<Self, IdentityError> {
        if let Some(identity) = Self::load(state)? {
            return Ok(identity);
        }
        let fresh = Zeroizing::new(KeyPair::generate_for(&PKCS_ED25519)?.serialize_pem());
        state.lock()?.create(Path::new(KEY_FILE), fresh.as_bytes())?;
        // Whoever was first, what counts is what is there now.
        Self::load(state)?.ok_or_else(|| {
            let message = format!("{KEY_FILE} vanished while it was made: try again");
            StateError::System(Error::local(Status::Changed, message)).into()
        })
    }

    fn from_pem(path: &Path, pem: &str) -> Result<Self, IdentityError> {
        let bad = |reason: String| IdentityError::BadKey { path: path.to_owned(), reason };
        let key = KeyPair::from_pem(pem).map_err(|e| bad(e.to_string()))?;
        if key.algorithm() != &PKCS_ED25519 {
            return Err(bad("it is a key of another kind".to_owned()));
        }
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "ftserver");
        let cert = params.self_signed(&key)?;
        Ok(Self {
            key_der: Zeroizing::new(key.serialize_der()),
            cert_der: cert.der().to_vec(),
            fingerprint: Fingerprint::of_spki(&key.subject_public_key_info()),
        })
    }

    /// The private key, PKCS#8 DER.
    pub fn key_der(&self) -> &[u8] {
        &self.key_der
    }

    /// A certificate signed by the key itself, DER. Clients look at nothing in it but the public key.
    pub fn cert_der(&self) -> &[u8] {
        &self.cert_der
    }

    /// The fingerprint of the public key.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(Some(dir.path())).unwrap();
        let first = Identity::load_or_create(&state).unwrap();
        let again = Identity::load_or_create(&state).unwrap();
        assert_eq!(first.fingerprint(), again.fingerprint());
        assert_eq!(first.key_der(), again.key_der());
        let mode = dir.path().join(KEY_FILE).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }

    #[test]
    fn two_starters_share_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(Some(dir.path())).unwrap();
        let barrier = Barrier::new(8);
        let mut all: Vec<Fingerprint> = std::thread::scope(|scope| {
            let start = || {
                barrier.wait();
                Identity::load_or_create(&state).unwrap().fingerprint()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        all.dedup();
        assert_eq!(all.len(), 1);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(Some(dir.path())).unwrap();
        Identity::load_or_create(&state).unwrap();
        for mode in [0o640, 0o604] {
            let exposed = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(dir.path().join(KEY_FILE), exposed).unwrap();
            let error = Identity::load_or_create(&state).unwrap_err().to_string();
            assert!(error.contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn a_damaged_or_foreign_key_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(Some(dir.path())).unwrap();
        let foreign = KeyPair::generate().unwrap().serialize_pem();
        for text in ["", "rubbish", &foreign] {
            state.lock().unwrap().replace(Path::new(KEY_FILE), text.as_bytes()).unwrap();
            let error = Identity::load_or_create(&state).unwrap_err();
            assert!(matches!(error, IdentityError::BadKey { .. }), "{error}");
            assert_eq!(std::fs::read_to_string(dir.path().join(KEY_FILE)).unwrap(), text);
        }
    }

    #[test]
    fn the_fingerprint_is_that_of_the_key_in_the_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity::load_or_create(&StateDir::new(Some(dir.path())).unwrap()).unwrap();
        // SubjectPublicKeyInfo of an ed25519 key: a fixed prefix (RFC 8410) and 32 bytes.
        let prefix = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        let cert = identity.cert_der();
        let at = cert.windows(prefix.len()).position(|window| window == prefix).unwrap();
        assert_eq!(Fingerprint::of_spki(&cert[at..at + 44]), identity.fingerprint());
    }
}
