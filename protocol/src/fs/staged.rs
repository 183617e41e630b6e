//! A file under construction: invisible to every verb until it is committed, gone or resumable if it is not.

use std::cell::RefCell;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{AtFlags, Mode, OFlags, openat};
use rustix::io::Errno;

use super::attributes::set_mode;
use super::dir::Dir;
use super::failed;
use super::lock::{is_named, try_lock};
use super::meta::{Kind, Meta};
use crate::error::{Error, Result, Status};
use crate::path::staging_name;

/// How often a name is tried that others remove between opening and locking.
const MAX_TRIES: u32 = 16;
const FLAGS: OFlags =
    OFlags::RDWR.union(OFlags::CREATE).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);
/// Only the owner may read what is not complete.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// A staging file in the directory where the complete one will appear, mode 0600 and locked while it exists.
///
/// Dropped without a commit, a temp is removed and a partial is kept, unless it is empty.
#[derive(Debug)]
pub struct Staged {
    pub(super) dir: Dir,
    pub(super) name: String,
    pub(super) file: File,
    pub(super) fate: Fate,
    kept_len: u64,
    partial: bool,
}

/// What Drop does with the staging file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Remove,
    KeepUnlessEmpty,
    /// It has its final name.
    Committed,
}

impl Staged {
    /// A staging file with a random name.
    pub fn temp(dir: &Dir) -> Result<Staged> {
        for _ in 0..MAX_TRIES {
            let name = random_name()?;
            let fd = match openat(dir, &name, FLAGS | OFlags::EXCL, PRIVATE) {
                Ok(fd) => fd,
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(failed("make a staging file in", dir.path(), errno)),
            };
            let file = File::from(fd);
            // A file system without locks must not stop a transfer: the name is nobody else's, and without its
            // lock the file is only more easily swept.
            let locked = try_lock(&file).unwrap_or(true);
            let staged =
                Staged { dir: dir.clone(), name, file, fate: Fate::Remove, kept_len: 0, partial: false };
            // A removal of the whole directory may have been quicker with the lock.
            if locked && is_named(dir.as_fd(), staged.name.as_bytes(), &staged.file) {
                return Ok(staged);
            }
        }
        Err(Error::local(
            Status::Busy,
            format!("'{}' is being removed while a file arrives; try again", dir.path()),
        ))
    }

    /// The staging file of this key, with what an earlier run left in it. Where that is in use, or is no
    /// plain file of ours with one name, a fresh temp serves instead.
    pub fn partial(dir: &Dir, key: [u8; 16]) -> Result<Staged> {
        let name = staging_name(key);
        for _ in 0..MAX_TRIES {
            let file = match openat(dir, &name, FLAGS, PRIVATE) {
                Ok(fd) => File::from(fd),
                // Whatever stands there is not ours; if it is the directory that refuses, temp says so.
                Err(_) => return Staged::temp(dir),
            };
            let Some(meta) = ours(&file)? else { return Staged::temp(dir) };
            // NFS and others without locks: nobody could tell whether it is in use.
            if !try_lock(&file).unwrap_or(false) {
                return Staged::temp(dir);
            }
            if meta.nlink == 1 && is_named(dir.as_fd(), name.as_bytes(), &file) {
                set_mode(&file, PRIVATE.bits()).map_err(|errno| failed("make private", &name, errno))?;
                // Under the lock, as its last owner may have written until then.
                let kept_len = Meta::of(&file)?.size;
                let fate = Fate::KeepUnlessEmpty;
                return Ok(Staged { dir: dir.clone(), name, file, fate, kept_len, partial: true });
            }
        }
        Staged::temp(dir)
    }

    /// Bytes that an earlier run left, to be verified before they are built upon; 0 for a fresh file.
    pub fn kept_len(&self) -> u64 {
        self.kept_len
    }

    /// True where the file outlives a failure.
    pub fn is_partial(&self) -> bool {
        self.partial
    }

    /// The file, open for reading and writing.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Writes all bytes at this offset; a full disk is [`Status::DiskFull`].
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(|error| Error::io(format_args!("write a file in '{}'", self.dir.path()), &error))
    }

    /// Removes the staging file, also a partial: what is in it proved wrong.
    pub fn discard(mut self) {
        self.fate = Fate::Remove;
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let keep = match self.fate {
            Fate::Committed => true,
            Fate::Remove => false,
            Fate::KeepUnlessEmpty => Meta::of(&self.file).is_ok_and(|meta| meta.size > 0),
        };
        if keep && self.fate == Fate::KeepUnlessEmpty {
            // A commit that failed late may have set the final mode. Best effort: it is checked when reopened.
            let _ = set_mode(&self.file, PRIVATE.bits());
        }
        // Still under the lock, so that nobody else can have taken the name up.
        if !keep && is_named(self.dir.as_fd(), self.name.as_bytes(), &self.file) {
            let removed = rustix::fs::unlinkat(&self.dir, &self.name, AtFlags::empty());
            if let Err(errno) = removed {
                tracing::warn!(dir = %self.dir.path(), name = %self.name, %errno, "staging file is left behind");
            }
        }
    }
}

/// A fresh staging name. A tree takes thousands, so the kernel is asked for the bits of many at once.
pub(super) fn random_name() -> Result<String> {
    thread_local! {
        static BITS: RefCell<Vec<[u8; 16]>> = const { RefCell::new(Vec::new()) };
    }
    BITS.with_borrow_mut(|stock| {
        if stock.is_empty() {
            let mut fresh = [[0; 16]; 16];
            getrandom::fill(fresh.as_flattened_mut())
                .map_err(|error| Error::local(Status::Failed, format!("no random numbers: {error}")))?;
            stock.extend_from_slice(&fresh);
        }
        Ok(staging_name(stock.pop().unwrap_or_default()))
    })
}

/// Metadata, if nobody else can have prepared this file: regular, our own, without a second name. A file
/// without any name is being removed and passes, to be found out under the lock.
fn ours(file: &File) -> Result<Option<Meta>> {
    let stat = rustix::fs::fstat(file).map_err(|errno| failed("stat", "a staging file", errno))?;
    let meta = Meta::from_stat(&stat);
    let own = stat.st_uid == rustix::process::geteuid().as_raw();
    Ok((meta.kind == Kind::File && own && meta.nlink <= 1).then_some(meta))
}
