//! A held root and operations on paths beneath it.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, OFlags, RenameFlags};
use rustix::io::Errno;

use super::beneath::{HOLD, Links, READ_DIR, READ_FILE, Walker, not_regular};
use super::dir::{Dir, link_target, regular};
use super::meta::{Entry, Kind, Meta};
use super::{failed, remove};
use crate::display::Escaped;
use crate::error::{Error, Result, Status};
use crate::path::RemotePath;

/// A held directory beneath which peers name files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Root {
    dir: Dir,
    walker: Walker,
}

impl Root {
    /// Opens a directory that was typed locally: it resolves as the user's shell would. An empty path, as
    /// [`Path::parent`] gives it for a bare name, is the working directory.
    pub fn open(path: &Path) -> Result<Root> {
        Root::open_with(path, Walker::probe)
    }

    fn open_with(path: &Path, walker: impl Fn(BorrowedFd<'_>) -> Walker) -> Result<Root> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let fd = rustix::fs::open(path, READ_DIR, rustix::fs::Mode::empty()).map_err(|errno| {
            let shown = Escaped::new(path.as_os_str().as_encoded_bytes()).to_string();
            failed("open directory", shown, errno)
        })?;
        let walker = walker(fd.as_fd());
        Ok(Root { dir: Dir::new(fd, RemotePath::root()), walker })
    }

    /// As on a kernel without openat2(2).
    #[cfg(test)]
    pub(super) fn open_stepwise(path: &Path) -> Result<Root> {
        Root::open_with(path, |_| Walker::Components)
    }

    /// Opens a regular file for reading. A FIFO, device or socket is refused at once, a directory as such.
    pub fn open_file(&self, path: &RemotePath, links: Links) -> Result<(File, Meta)> {
        regular(self.at(path, READ_FILE, links)?, || path.to_string())
    }

    /// Holds a directory beneath. The root too is opened anew: of writes that were lost the kernel tells each
    /// descriptor once ([`Dir::sync_all`]), so operations do not share one.
    pub fn dir(&self, path: &RemotePath, links: Links) -> Result<Dir> {
        Ok(Dir::new(self.at(path, READ_DIR, links)?, path.clone()))
    }

    /// This directory as a root of its own: paths are beneath it from now on, whatever it is renamed to.
    pub fn beneath(&self, path: &RemotePath, links: Links) -> Result<Root> {
        Ok(Root { dir: Dir::new(self.at(path, READ_DIR, links)?, RemotePath::root()), walker: self.walker })
    }

    /// Metadata; with [`Links::Refuse`] a link in last place is described itself.
    pub fn stat(&self, path: &RemotePath, links: Links) -> Result<Meta> {
        let last = match links {
            Links::Follow => OFlags::empty(),
            Links::Refuse => OFlags::NOFOLLOW,
        };
        Meta::of(&self.at(path, OFlags::PATH | OFlags::CLOEXEC | last, links)?)
    }

    /// The target of a symbolic link, as it is stored; `links` is for the path up to it.
    pub fn read_link(&self, path: &RemotePath, links: Links) -> Result<Vec<u8>> {
        let fd = self.at(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, links)?;
        link_target(fd, || path.to_string())
    }

    /// All entries of a directory, as [`Dir::list`].
    pub fn list(&self, path: &RemotePath, links: Links) -> Result<Vec<Entry>> {
        self.dir(path, links)?.list()
    }

    /// Makes a directory that survives a power cut; mode 0777 & ~umask.
    ///
    /// With `parents` as `mkdir -p`: missing parents are made, and an existing directory gives `false`.
    pub fn make_dir(&self, path: &RemotePath, parents: bool) -> Result<bool> {
        if !parents {
            let (dir, name) = self.parent(path)?;
            if !dir.make_dir(name)? {
                return Err(failed("make directory", path, Errno::EXIST));
            }
            return dir.sync().map(|()| true);
        }
        match self.at(path, HOLD, Links::Refuse) {
            Ok(_) => return Ok(false),
            Err(error) if error.status() == Status::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut dir = self.dir.clone();
        let mut made = false;
        for name in path.components() {
            made = dir.make_dir(name)?;
            if made {
                dir.sync()?;
            }
            dir = dir.dir(name)?;
        }
        Ok(made)
    }

    /// Removes a file, link, or directory; one with contents only where `recursive`. Never follows a link.
    /// Returns how many entries went, staging files not counted.
    ///
    /// Staging files do not keep a directory from being removed, unless one is in use: [`Status::Busy`].
    pub fn remove(&self, path: &RemotePath, recursive: bool) -> Result<u64> {
        let (dir, name) = self.parent(path)?;
        let removed = remove::entry(&dir, name, recursive)?;
        dir.sync()?;
        Ok(removed)
    }

    /// Renames a file, link or directory; `to` is the new name itself, never a directory to move into.
    /// Both directories are synced.
    ///
    /// Without `replace` an existing `to` gives [`Status::Exists`], decided by the kernel in the same step.
    pub fn rename(&self, from: &RemotePath, to: &RemotePath, replace: bool) -> Result<()> {
        let (from_dir, from_name) = self.parent(from)?;
        let (to_dir, to_name) = self.parent(to)?;
        let target = to_dir.lookup(to_name)?;
        if target.is_some_and(|meta| meta.kind == Kind::Other) {
            return Err(if replace { not_regular(to) } else { failed("rename to", to, Errno::EXIST) });
        }
        let renamed = if replace {
            rustix::fs::renameat(&from_dir, from_name, &to_dir, to_name)
        } else {
            rename_new(&from_dir, from_name, &to_dir, to_name)
        };
        renamed.map_err(|errno| match errno {
            Errno::XDEV => Error::local(
                Status::Unsupported,
                format!("'{from}' and '{to}' are on different file systems; copy, then remove"),
            ),
            Errno::INVAL if is_beneath(to, from) => {
                Error::local(Status::Invalid, format!("'{from}' cannot be moved into itself"))
            }
            Errno::INVAL if !replace => Error::local(
                Status::Unsupported,
                format!("the file system of '{to}' cannot rename a directory without replacing"),
            ),
            Errno::EXIST | Errno::NOTEMPTY | Errno::ISDIR => failed("rename to", to, errno),
            _ => failed("rename", from, errno),
        })?;
        // rename(2) does nothing where both names are one file; mv(1) then removes the old name.
        // More than one name must exist: on a case-insensitive file system both may be the only one.
        let linked = target.is_some_and(|meta| meta.kind == Kind::File && meta.nlink > 1);
        if from != to && linked && from_dir.lookup(from_name)? == to_dir.lookup(to_name)? {
            rustix::fs::unlinkat(&from_dir, from_name, AtFlags::empty())
                .map_err(|errno| failed("remove", from, errno))?;
        }
        to_dir.sync()?;
        from_dir.sync()
    }

    /// A descriptor for looking names up in a directory; needs no right to list it.
    pub(super) fn hold(&self, path: &RemotePath) -> Result<OwnedFd> {
        self.at(path, HOLD, Links::Refuse)
    }

    fn at(&self, path: &RemotePath, flags: OFlags, links: Links) -> Result<OwnedFd> {
        self.walker.open(self.dir.as_fd(), path, flags, links)
    }

    /// The directory that a name to be written is in, reached without following links.
    fn parent<'a>(&self, path: &'a RemotePath) -> Result<(Dir, &'a [u8])> {
        let (parent, _) = path.split_last().ok_or_else(|| {
            Error::local(Status::Invalid, "the root itself cannot be made, renamed or removed")
        })?;
        Ok((self.dir(&parent, Links::Refuse)?, path.file_name().unwrap_or_default()))
    }
}

/// renameat2(2) with `RENAME_NOREPLACE`. Where the file system lacks it, link and unlink do the same for
/// everything that can be linked; directories give EINVAL.
pub(super) fn rename_new(from_dir: &Dir, from: &[u8], to_dir: &Dir, to: &[u8]) -> Result<(), Errno> {
    match rustix::fs::renameat_with(from_dir, from, to_dir, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => link_new(from_dir, from, to_dir, to),
        done => done,
    }
}

pub(super) fn link_new(from_dir: &Dir, from: &[u8], to_dir: &Dir, to: &[u8]) -> Result<(), Errno> {
    match rustix::fs::linkat(from_dir, from, to_dir, to, AtFlags::empty()) {
        // What linkat(2) says of directories.
        Err(Errno::PERM) => Err(Errno::INVAL),
        Err(errno) => Err(errno),
        Ok(()) => rustix::fs::unlinkat(from_dir, from, AtFlags::empty()),
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

fn is_beneath(path: &RemotePath, ancestor: &RemotePath) -> bool {
    path.components().zip(ancestor.components()).filter(|(a, b)| a == b).count()
        == ancestor.components().count()
}
