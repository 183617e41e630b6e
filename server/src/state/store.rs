//! Changes of the state: each is complete and durable, or did not happen.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{StateError, StateLock, make_private};

/// First characters of the names of unfinished files.
const UNFINISHED: &str = ".new-";

impl StateLock {
    /// Makes a file (mode 0600) that must not exist yet; false where it does.
    pub(crate) fn create(&self, name: &Path, bytes: &[u8]) -> Result<bool, StateError> {
        let path = self.state.path().join(name);
        let fail = |e: &io::Error| StateError::io("write", &path, e);
        let staged = Staged::new(&path, bytes).map_err(|e| fail(&e))?;
        // A link never replaces, whatever other programs do here.
        match std::fs::hard_link(&staged.path, &path) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(e) => return Err(fail(&e)),
        }
        drop(staged);
        sync_parent(&path).map_err(|e| fail(&e))?;
        Ok(true)
    }

    /// Makes or replaces a file (mode 0600).
    pub(crate) fn replace(&self, name: &Path, bytes: &[u8]) -> Result<(), StateError> {
        let path = self.state.path().join(name);
        let fail = |e: io::Error| StateError::io("write", &path, &e);
        let staged = Staged::new(&path, bytes).map_err(fail)?;
        std::fs::rename(&staged.path, &path).map_err(fail)?;
        sync_parent(&path).map_err(fail)
    }

    /// Removes a file; false where there is none.
    pub(crate) fn remove(&self, name: &Path) -> Result<bool, StateError> {
        let path = self.state.path().join(name);
        match std::fs::remove_file(&path).and_then(|()| sync_parent(&path)) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(StateError::io("remove", &path, &e)),
        }
    }

    /// Makes a subdirectory (mode 0700) where it is missing, and clears it of what a crash left unfinished:
    /// whoever holds the lock knows that nobody is still writing it.
    pub(crate) fn directory(&self, name: &str) -> Result<(), StateError> {
        let path = self.state.path().join(name);
        let fail = |e: io::Error| StateError::io("make", &path, &e);
        make_private(&path)?;
        for entry in path.read_dir().map_err(fail)? {
            let entry = entry.map_err(fail)?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                std::fs::remove_file(entry.path()).map_err(fail)?;
            }
        }
        Ok(())
    }
}

/// A complete and synced file under a name of its own beside its final one; removed when dropped.
struct Staged {
    path: PathBuf,
}

impl Staged {
    fn new(target: &Path, bytes: &[u8]) -> io::Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|e| io::Error::other(e.to_string()))?;
        let name = format!("{UNFINISHED}{}", data_encoding::HEXLOWER.encode(&random));
        let path = target.with_file_name(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let staged = Self { path };
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(staged)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After a rename there is nothing left, and a leftover is cleared by the next change.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Makes what happened to the entry `path` durable.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::StateDir;

    #[test]
    fn a_file_is_never_replaced_by_create() {
        let dir = tempfile::tempdir().unwrap();
        let lock = StateDir::new(Some(dir.path())).unwrap().lock().unwrap();
        let name = Path::new("a");
        assert!(lock.create(name, b"1").unwrap());
        assert!(!lock.create(name, b"2").unwrap());
        assert_eq!(std::fs::read(dir.path().join(name)).unwrap(), b"1");
        let mut left: Vec<_> = dir.path().read_dir().unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["a", "lock"]);
    }

    #[test]
    fn what_a_crash_left_is_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let lock = StateDir::new(Some(dir.path())).unwrap().lock().unwrap();
        lock.directory("accounts").unwrap();
        let left = dir.path().join("accounts/.new-0011");
        std::fs::write(&left, b"half").unwrap();
        lock.directory("accounts").unwrap();
        assert!(!left.exists());
    }
}
