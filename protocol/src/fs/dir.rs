//! A held directory and operations on single names in it.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::beneath::{READ_DIR, READ_FILE, explain, not_regular, open_name};
use super::failed;
use super::meta::{Entry, Kind, Meta};
use crate::display::Escaped;
use crate::error::{Error, Result, Status};
use crate::path::{RemotePath, check_name, is_staging_name};

/// Most entries of one directory that are listed, and most that a removal remembers.
pub const MAX_ENTRIES: usize = 1_000_000;

/// A held directory: it stays the same directory whatever is renamed meanwhile. Cheap to clone.
///
/// Every method takes one name, never a path, and never follows a symbolic link.
#[derive(Debug, Clone)]
pub struct Dir {
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    fd: OwnedFd,
    path: RemotePath,
    /// Smaller than that of every directory that was opened later.
    turn: u64,
    /// The first failure of a syncfs(2) through `fd`.
    lost: OnceLock<Errno>,
}

impl Dir {
    /// A directory opened with [`READ_DIR`]; `path` is for messages.
    pub(super) fn new(fd: OwnedFd, path: RemotePath) -> Dir {
        static OPENED: AtomicU64 = AtomicU64::new(0);
        let turn = OPENED.fetch_add(1, Ordering::Relaxed);
        Dir { held: Arc::new(Held { fd, path, turn, lost: OnceLock::new() }) }
    }

    /// Where the directory was found, beneath the root.
    pub fn path(&self) -> &RemotePath {
        &self.held.path
    }

    /// Metadata of the directory itself.
    pub fn meta(&self) -> Result<Meta> {
        Meta::of(&self.held.fd)
    }

    /// True where both are clones of one value, and so one descriptor.
    pub(super) fn is(&self, other: &Dir) -> bool {
        Arc::ptr_eq(&self.held, &other.held)
    }

    /// True where this descriptor is the older one.
    pub(super) fn is_older_than(&self, other: &Dir) -> bool {
        self.held.turn < other.held.turn
    }

    /// syncfs(2) through this descriptor; after a failure it never succeeds again. The kernel tells a descriptor once
    /// that a write was lost, and it may be one of the next batch, which is written while this one is synced.
    pub(super) fn sync_file_system(&self) -> Result<(), Errno> {
        match self.held.lost.get() {
            Some(errno) => Err(*errno),
            None => syncfs(&self.held.fd).map_err(|errno| *self.held.lost.get_or_init(|| errno)),
        }
    }

    /// What stands under `name`; `None` where nothing does.
    pub fn lookup(&self, name: &[u8]) -> Result<Option<Meta>> {
        check_name(name)?;
        match rustix::fs::statat(&self.held.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Meta::from_stat(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(failed("stat", self.shown(name), errno)),
        }
    }

    /// Opens a regular file for reading; a FIFO, device or socket is refused at once.
    pub fn open_file(&self, name: &[u8]) -> Result<(File, Meta)> {
        let fd = self.open(name, READ_FILE)?;
        regular(fd, || self.shown(name))
    }

    /// Opens a directory in this one.
    pub fn dir(&self, name: &[u8]) -> Result<Dir> {
        let path = self.held.path.join(name)?;
        Ok(Dir::new(self.open(name, READ_DIR)?, path))
    }

    /// Makes a directory, mode 0777 & ~umask; `false` where the name exists, as whatever.
    /// Durable only after [`Dir::sync`].
    pub fn make_dir(&self, name: &[u8]) -> Result<bool> {
        self.make_dir_with(name, 0o777)
    }

    /// As [`Dir::make_dir`] with mode `mode & 0777 & ~umask`.
    pub fn make_dir_with(&self, name: &[u8], mode: u32) -> Result<bool> {
        check_name(name)?;
        match rustix::fs::mkdirat(&self.held.fd, name, Mode::from_raw_mode(mode & 0o777)) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(failed("make directory", self.shown(name), errno)),
        }
    }

    /// The target of a symbolic link, as it is stored.
    pub fn read_link(&self, name: &[u8]) -> Result<Vec<u8>> {
        let fd = self.open(name, OFlags::PATH | OFlags::CLOEXEC)?;
        link_target(fd, || self.shown(name))
    }

    /// All entries in strictly increasing byte order of their names, without `.`, `..` and staging files.
    /// What vanishes meanwhile is left out; more than [`MAX_ENTRIES`] are refused.
    pub fn list(&self) -> Result<Vec<Entry>> {
        self.list_at_most(MAX_ENTRIES)
    }

    fn list_at_most(&self, cap: usize) -> Result<Vec<Entry>> {
        let mut names = Vec::new();
        for name in self.names()? {
            let name = name?;
            if is_staging_name(&name) {
                continue;
            }
            if names.len() == cap {
                return Err(Error::local(
                    Status::Limit,
                    format!(
                        "'{}' has more than {cap} entries; name a part of it or split it up",
                        self.held.path
                    ),
                ));
            }
            names.push(name);
        }
        names.sort_unstable();
        // getdents(2) may show an entry twice that was renamed while it ran.
        names.dedup();
        let mut entries = Vec::with_capacity(names.len());
        for name in names {
            match rustix::fs::statat(&self.held.fd, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => entries.push(Entry { meta: Meta::from_stat(&stat), name }),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(failed("stat", self.shown(&name), errno)),
            }
        }
        Ok(entries)
    }

    /// Makes names that were added, renamed or removed here survive a power cut.
    pub fn sync(&self) -> Result<()> {
        rustix::fs::fsync(&self.held.fd).map_err(|errno| failed("sync directory", &self.held.path, errno))
    }

    /// All names with staging files, without `.` and `..`, in no order.
    pub(super) fn names(&self) -> Result<impl Iterator<Item = Result<Vec<u8>>>> {
        let list = move |errno| failed("list", &self.held.path, errno);
        let entries = rustix::fs::Dir::read_from(&self.held.fd).map_err(list)?;
        Ok(entries.filter_map(move |entry| match entry {
            Ok(entry) => {
                let name = entry.file_name().to_bytes();
                (name != b"." && name != b"..").then(|| Ok(name.to_vec()))
            }
            Err(errno) => Some(Err(list(errno))),
        }))
    }

    /// The path of `name` in this directory, for messages.
    pub(super) fn shown(&self, name: &[u8]) -> String {
        if self.held.path.is_root() {
            return Escaped::new(name).to_string();
        }
        format!("{}/{}", self.held.path, Escaped::new(name))
    }

    fn open(&self, name: &[u8], flags: OFlags) -> Result<OwnedFd> {
        check_name(name)?;
        open_name(self.as_fd(), name, flags).map_err(|errno| explain(self.shown(name), errno))
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.held.fd.as_fd()
    }
}

fn syncfs(fd: &OwnedFd) -> Result<(), Errno> {
    fail::fail_point!("fs::syncfs", |_| Err(Errno::IO));
    rustix::fs::syncfs(fd)
}

/// The file behind `fd`, if it is a regular one.
pub(super) fn regular(fd: OwnedFd, shown: impl Fn() -> String) -> Result<(File, Meta)> {
    let file = File::from(fd);
    let meta = Meta::of(&file)?;
    match meta.kind {
        Kind::File => Ok((file, meta)),
        Kind::Dir => Err(failed("open", shown(), Errno::ISDIR)),
        Kind::Symlink | Kind::Other => Err(not_regular(shown())),
    }
}

/// The target of the link that `fd` (`O_PATH`) is.
pub(super) fn link_target(fd: OwnedFd, shown: impl Fn() -> String) -> Result<Vec<u8>> {
    if Meta::of(&fd)?.kind != Kind::Symlink {
        return Err(Error::local(Status::Invalid, format!("'{}' is not a symbolic link", shown())));
    }
    match rustix::fs::readlinkat(&fd, "", Vec::new()) {
        Ok(target) => Ok(target.into_bytes()),
        Err(errno) => Err(failed("read link", shown(), errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{Mtime, Root};
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    fn held(path: &std::path::Path) -> Dir {
        Root::open(path).unwrap().dir(&RemotePath::root(), super::super::Links::Refuse).unwrap()
    }

    #[test]
    fn a_listing_is_sorted_by_bytes_and_hides_staging_files() {
        let temp = tempfile::tempdir().unwrap();
        let long = [b'\xfe'; 255];
        let names: [&[u8]; 6] = [b"b", b"a\n", b"\xff\xfe", b"B", &long, b".ft-notes"];
        for name in names {
            std::fs::write(temp.path().join(OsStr::from_bytes(name)), name).unwrap();
        }
        std::fs::write(temp.path().join(crate::path::staging_name([3; 16])), b"x").unwrap();
        std::os::unix::fs::symlink("/nowhere", temp.path().join("l")).unwrap();
        let dir = held(temp.path());
        let entries = dir.list().unwrap();
        assert!(entries.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert_eq!(entries.len(), names.len() + 1);
        for entry in &entries {
            if entry.name == b"l" {
                assert_eq!(entry.meta.kind, Kind::Symlink);
                assert_eq!(dir.read_link(b"l").unwrap(), b"/nowhere");
            } else {
                assert_eq!(dir.open_file(&entry.name).unwrap().1.size, entry.name.len() as u64);
            }
        }
        assert_eq!(dir.list_at_most(names.len()).unwrap_err().status(), Status::Limit);
    }

    #[test]
    fn a_directory_gets_mode_and_time_but_never_setgid() {
        let temp = tempfile::tempdir().unwrap();
        let dir = held(temp.path());
        assert!(dir.make_dir(b"d").unwrap());
        assert!(!dir.make_dir(b"d").unwrap());
        let sub = dir.dir(b"d").unwrap();
        let mtime = Mtime { secs: -5, nanos: 7 };
        sub.set_meta(Some(0o6751), Some(mtime)).unwrap();
        let meta = dir.lookup(b"d").unwrap().unwrap();
        assert_eq!((meta.mode, meta.mtime), (0o751, mtime));
        assert_eq!(dir.lookup(b"none").unwrap(), None);
    }

    #[test]
    fn reserved_names_do_not_exist_for_anyone() {
        let temp = tempfile::tempdir().unwrap();
        let name = crate::path::staging_name([3; 16]);
        std::fs::write(temp.path().join(&name), b"x").unwrap();
        let dir = held(temp.path());
        for name in [name.as_bytes(), b"..", b".", b"", b"a/b"] {
            assert_eq!(dir.lookup(name).unwrap_err().status(), Status::Invalid);
            assert_eq!(dir.open_file(name).unwrap_err().status(), Status::Invalid);
            assert_eq!(dir.dir(name).unwrap_err().status(), Status::Invalid);
            assert_eq!(dir.make_dir(name).unwrap_err().status(), Status::Invalid);
        }
    }
}
