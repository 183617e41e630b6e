//! Small private files of the client: replaced whole or not at all, one writer at a time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Holds the only right to change the files of a directory, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "dropping the descriptor releases the lock")] File);

/// Makes the directory of `path`, mode 0700, where it is missing, and waits for the right to change it. Of a symbolic
/// link that is the directory of its target, so that a file has one lock under all its names.
pub(crate) fn lock_directory_of(path: &Path) -> io::Result<Lock> {
    let path = target_of(path)?;
    let directory = directory_of(&path);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let handle = File::open(directory)?;
    flock(&handle, FlockOperation::LockExclusive)?;
    Ok(Lock(handle))
}

/// Replaces `path` by a complete, synced file of that mode. A symbolic link keeps being one: its target is
/// replaced.
pub(crate) fn replace(path: &Path, mode: u32, contents: &[u8]) -> io::Result<()> {
    let path = target_of(path)?;
    let temporary = Temporary::write(&path, mode, contents)?;
    fs::rename(&temporary.0, &path)?;
    sync_directory_of(&path)
}

/// Makes `path` with these contents, mode 0600; an existing file is left alone and is an error.
pub(crate) fn create(path: &Path, contents: &[u8]) -> io::Result<()> {
    let temporary = Temporary::write(path, 0o600, contents)?;
    fs::hard_link(&temporary.0, path)?;
    drop(temporary);
    sync_directory_of(path)
}

/// The file that a symbolic link leads to, or else the path itself. A link that leads nowhere is an error.
fn target_of(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::read_link(path) {
            Ok(target) => {
                let target = target.display();
                let what = format!(
                    "it is a symbolic link to {target}, which does not exist; make that, or remove the link"
                );
                Err(io::Error::new(io::ErrorKind::NotFound, what))
            }
            Err(_) => Ok(path.to_owned()),
        },
        found => found,
    }
}

/// A file beside its target that vanishes with this value.
struct Temporary(PathBuf);

impl Temporary {
    fn write(target: &Path, mode: u32, contents: &[u8]) -> io::Result<Self> {
        let suffix = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{suffix:016x}.tmp"));
        let path = directory_of(target).join(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let temporary = Self(path);
        file.write_all(contents)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        Ok(temporary)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove.
        let _ = fs::remove_file(&self.0);
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<std::ffi::OsString> {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn replacing_leaves_no_litter_and_follows_links() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        replace(&link, 0o640, b"new").unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(names(dir.path()).len(), 2);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_told_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        for error in [replace(&link, 0o600, b"new").unwrap_err(), lock_directory_of(&link).unwrap_err()] {
            assert!(error.to_string().contains("a symbolic link to nowhere"), "{error}");
        }
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn a_file_of_two_names_has_one_lock() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real/file"), dir.path().join("link/file"));
        for path in [&real, &link] {
            fs::create_dir(path.parent().unwrap()).unwrap();
        }
        fs::write(&real, "").unwrap();
        std::os::unix::fs::symlink("../real/file", &link).unwrap();
        let _lock = lock_directory_of(&link).unwrap();
        let other = File::open(real.parent().unwrap()).unwrap();
        assert!(flock(&other, FlockOperation::NonBlockingLockExclusive).is_err());
    }

    #[test]
    fn creating_never_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        create(&path, b"first").unwrap();
        assert_eq!(create(&path, b"second").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(names(dir.path()), ["key"]);
    }
}
