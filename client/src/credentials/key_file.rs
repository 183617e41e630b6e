//! Private key files in OpenSSH's format.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{Algorithm, LineEnding, PrivateKey};
use zeroize::Zeroizing;

use super::{Candidate, CredentialError};
use crate::files;
use crate::output::reason;

/// Longest key file that is read, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// Reads an ed25519 private key. A file that group or others may read is refused, as ssh does.
pub(super) fn load(path: &Path) -> Result<Candidate, CredentialError> {
    let shown = path.display();
    let text = read_private(path)?;
    if text.trim_start().starts_with("ssh-") {
        return Err(CredentialError(format!("{shown} is a public key; name the private one beside it")));
    }
    let key = PrivateKey::from_openssh(text.as_bytes()).map_err(|error| {
        CredentialError(format!(
            "{shown}: {error}; it must be a private key in OpenSSH's format ('ssh-keygen -t ed25519' makes one)"
        ))
    })?;
    // The public half is readable even where the private one is encrypted.
    if key.public_key().algorithm() != Algorithm::Ed25519 {
        let algorithm = key.public_key().algorithm();
        return Err(CredentialError(format!(
            "{shown} is a key of type {algorithm}, and only ssh-ed25519 is accepted; \
             'ssh-keygen -t ed25519' makes one"
        )));
    }
    let (path, key) = (path.to_owned(), Box::new(key));
    Ok(if key.is_encrypted() { Candidate::EncryptedKey { path, key } } else { Candidate::Key { path, key } })
}

/// The client's own key at `path`. The first call makes it, mode 0600; an existing file is never replaced.
pub fn load_or_make_client_key(path: &Path) -> Result<PrivateKey, CredentialError> {
    if !path.exists() {
        make(path)?;
    }
    match load(path)? {
        Candidate::Key { key, .. } => Ok(*key),
        _ => Err(CredentialError(format!(
            "{} has a passphrase; the client's own key has none: move it away, and use it with -i",
            path.display()
        ))),
    }
}

fn make(path: &Path) -> Result<(), CredentialError> {
    let failed = |error: &dyn std::fmt::Display| {
        CredentialError(format!("make {}: {}", path.display(), reason(error)))
    };
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(|error| failed(&error))?;
    let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed));
    let key = PrivateKey::new(pair, "ftclient").map_err(|error| failed(&error))?;
    let text = key.to_openssh(LineEnding::LF).map_err(|error| failed(&error))?;
    let _lock = files::lock_directory_of(path).map_err(|error| failed(&error))?;
    match files::create(path, text.as_bytes()) {
        // Another run made it meanwhile: theirs is as good as ours.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(|error| failed(&error)),
    }
}

/// Reads a file that holds a secret and that nobody else may read.
pub(super) fn read_private(path: &Path) -> Result<Zeroizing<String>, CredentialError> {
    let shown = path.display();
    let failed = |error: io::Error| CredentialError(format!("{shown}: {}", reason(&error)));
    let file = File::open(path).map_err(failed)?;
    check_private(path, &file.metadata().map_err(failed)?)?;
    let mut text = Zeroizing::new(String::new());
    let read = file.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
    if read as u64 == MAX_FILE {
        return Err(CredentialError(format!("{shown} is too long to be a key or a password")));
    }
    Ok(text)
}

/// Refuses a file with a secret that is missing, or that group or others may read. It is not opened: a pipe would be
/// emptied, or waited for.
pub(crate) fn check_file(path: &Path) -> Result<(), CredentialError> {
    let found = path.metadata();
    let found = found.map_err(|error| CredentialError(format!("{}: {}", path.display(), reason(&error))))?;
    check_private(path, &found)
}

/// Refuses a file with a secret that group or others may read.
fn check_private(path: &Path, found: &Metadata) -> Result<(), CredentialError> {
    let (shown, mode) = (path.display(), found.mode());
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(CredentialError(format!(
            "{shown} may be read by others (mode {:04o}), so it is not used; run: chmod 600 {shown}",
            mode & 0o7777
        ))),
    }
}
