//! Staging files in use are locked with flock(2), which the kernel lets go when their process ends. Whoever
//! removes one does it while holding its lock. Whole directories are locked in the same way, one run at a time.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, FlockOperation, OFlags};
use rustix::io::Errno;

use super::beneath::{READ_DIR, open_name};
use super::dir::Dir;
use super::failed;
use super::meta::{Kind, Meta, Mtime};
use crate::error::{Error, Status};
use crate::path::is_staging_name;

/// What became of a name that looks like a staging file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cleared {
    /// It is gone.
    Gone,
    /// It is in use.
    Locked,
    /// It is not old enough.
    Young,
    /// It is a directory, which none of our staging files ever is.
    Directory,
}

impl Dir {
    /// Removes staging files that were last changed more than `older_than` ago and are not in use; returns
    /// how many. What cannot be removed is left: sweeping is a courtesy and never fails an operation.
    pub fn sweep_staging(&self, older_than: Duration) -> u64 {
        let Ok(names) = self.names() else { return 0 };
        let old: Vec<Vec<u8>> = names.flatten().filter(|name| is_staging_name(name)).collect();
        let cleared = old.iter().map(|name| clear_staging(self.as_fd(), name, older_than));
        cleared.filter(|outcome| *outcome == Ok(Cleared::Gone)).count() as u64
    }
}

/// A directory that one run has for itself, until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct DirLock {
    _dir: OwnedFd,
}

impl Dir {
    /// Locks this directory against other runs; nobody is kept from using it otherwise. A file system without locks
    /// grants it to everyone.
    ///
    /// # Errors
    /// [`Status::Busy`] at once where another run has it.
    pub fn lock(&self) -> Result<DirLock, Error> {
        // A description of its own: two locks through one would be one lock.
        let dir = open_name(self.as_fd(), b".", READ_DIR)
            .map_err(|errno| failed("open directory", self.path(), errno))?;
        match rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {
                let what = match self.path().is_root() {
                    true => "this directory".to_owned(),
                    false => format!("'{}'", self.path()),
                };
                Err(Error::local(
                    Status::Busy,
                    format!("another run works on {what}; wait for it or stop it"),
                ))
            }
            _ => Ok(DirLock { _dir: dir }),
        }
    }
}

/// Takes the lock; `false` where another open file holds it.
pub(super) fn try_lock(file: &File) -> Result<bool, Errno> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// True where `name` still is the name of `file`: it may have been removed before the lock was taken.
pub(super) fn is_named(dir: BorrowedFd<'_>, name: &[u8], file: &File) -> bool {
    let Ok(stat) = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else { return false };
    Meta::of(file).is_ok_and(|meta| meta.same_file(&Meta::from_stat(&stat)))
}

/// Removes a staging file of at least this age unless it is in use.
pub(super) fn clear_staging(
    dir: BorrowedFd<'_>,
    name: &[u8],
    older_than: Duration,
) -> Result<Cleared, Errno> {
    let meta = Meta::from_stat(&rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?);
    if meta.kind == Kind::Dir {
        return Ok(Cleared::Directory);
    }
    // Its mtime may be that of its source.
    if !is_older(meta.ctime, older_than) {
        return Ok(Cleared::Young);
    }
    // Only regular files carry a lock; a link is left by a run that was killed between making and naming it.
    let file = match meta.kind {
        Kind::File => Some(open_for_lock(dir, name)?),
        _ => None,
    };
    if let Some(file) = &file {
        if !try_lock(file)? {
            return Ok(Cleared::Locked);
        }
        if !is_named(dir, name, file) {
            return Ok(Cleared::Gone);
        }
    }
    rustix::fs::unlinkat(dir, name, AtFlags::empty())?;
    Ok(Cleared::Gone)
}

/// For writing where possible: on NFS only then a file can be locked exclusively.
fn open_for_lock(dir: BorrowedFd<'_>, name: &[u8]) -> Result<File, Errno> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = match open_name(dir, name, flags | OFlags::RDWR) {
        Err(Errno::ACCESS | Errno::ROFS | Errno::TXTBSY) => open_name(dir, name, flags | OFlags::RDONLY)?,
        opened => opened?,
    };
    Ok(File::from(fd))
}

fn is_older(changed: Mtime, age: Duration) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let Some(limit) = now.checked_sub(age) else { return false };
    let limit =
        Mtime { secs: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX), nanos: limit.subsec_nanos() };
    age.is_zero() || changed < limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_is_counted_from_the_last_change() {
        let week = Duration::from_secs(7 * 86_400);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let ago = |secs| Mtime { secs: now - secs, nanos: 0 };
        assert!(is_older(ago(8 * 86_400), week));
        assert!(!is_older(ago(6 * 86_400), week) && !is_older(ago(-86_400), week));
        assert!(is_older(ago(-86_400), Duration::ZERO));
    }
}
