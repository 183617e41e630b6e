//! What would be overwritten or deleted is kept under another name.

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::commit::{CommitOptions, ModeRule};
use super::dir::Dir;
use super::failed;
use super::meta::{Kind, Meta};
use super::staged::{Staged, random_name};
use crate::error::{Error, Result, Status};
use crate::path::check_name;

impl Dir {
    /// Keeps what `name` is as `to_name` in `to`; an older backup of that name is replaced, unless it is a directory.
    /// Durable after [`Dir::sync`] of `to`, which belongs before what overwrites it.
    ///
    /// With `move_it` it is renamed, a directory with all that is in it. Without, a file or link keeps its name until
    /// it is replaced, so that there is always something under it: a file gets a second name, or is copied where the
    /// file system or the system's policy does not allow that.
    ///
    /// # Errors
    /// [`Status::Unsupported`] where `to` is on another file system.
    pub fn keep_aside(&self, name: &[u8], to: &Dir, to_name: &[u8], move_it: bool) -> Result<()> {
        check_name(to_name)?;
        if name == to_name && self.meta()?.same_file(&to.meta()?) {
            return Err(Error::local(
                Status::Invalid,
                format!("'{}' cannot be kept as itself; name another backup directory", self.shown(name)),
            ));
        }
        let meta = self.lookup(name)?.ok_or_else(|| failed("find", self.shown(name), Errno::NOENT))?;
        if move_it {
            return rename_over(self, name, &meta, to, to_name)
                .map_err(|errno| self.cannot_keep(name, to, to_name, errno));
        }
        match meta.kind {
            Kind::Dir => Err(failed("keep", self.shown(name), Errno::ISDIR)),
            Kind::Symlink => to.make_link(to_name, &self.read_link(name)?, true).map(drop),
            Kind::File | Kind::Other => match self.link_over(name, &meta, to, to_name) {
                // No hard links here, not to another's file, or no more of them.
                Err(Errno::PERM | Errno::OPNOTSUPP | Errno::MLINK) => self.copy_over(name, to, to_name),
                linked => linked.map_err(|errno| self.cannot_keep(name, to, to_name, errno)),
            },
        }
    }

    /// link(2) that replaces, in one step, what has the new name.
    fn link_over(&self, name: &[u8], meta: &Meta, to: &Dir, to_name: &[u8]) -> Result<(), Errno> {
        match rustix::fs::linkat(self, name, to, to_name, AtFlags::empty()) {
            Err(Errno::EXIST) => {}
            linked => return linked,
        }
        let staging = random_name().map_err(|_| Errno::AGAIN)?;
        rustix::fs::linkat(self, name, to, &staging, AtFlags::empty())?;
        let renamed = rename_over(to, staging.as_bytes(), &Meta { nlink: 2, ..*meta }, to, to_name);
        if renamed.is_err() {
            // Best effort: sweeping removes it otherwise.
            let _ = rustix::fs::unlinkat(to, &staging, AtFlags::empty());
        }
        renamed
    }

    pub(super) fn copy_over(&self, name: &[u8], to: &Dir, to_name: &[u8]) -> Result<()> {
        let (mut file, meta) = self.open_file(name)?;
        let staged = Staged::temp(to)?;
        let len = std::io::copy(&mut file, &mut staged.file())
            .map_err(|error| Error::io(format_args!("copy '{}'", self.shown(name)), &error))?;
        let mode = ModeRule::Preserve(meta.mode);
        staged.commit(to_name, &CommitOptions { len, replace: true, mtime: Some(meta.mtime), mode }).map(drop)
    }

    fn cannot_keep(&self, name: &[u8], to: &Dir, to_name: &[u8], errno: Errno) -> Error {
        match errno {
            Errno::XDEV => Error::local(
                Status::Unsupported,
                format!(
                    "'{}' cannot be kept as '{}': the backup directory must be on the same file system",
                    self.shown(name),
                    to.shown(to_name)
                ),
            ),
            Errno::EXIST | Errno::NOTEMPTY | Errno::ISDIR | Errno::NOTDIR => Error::local(
                Status::Exists,
                format!(
                    "'{}' cannot be kept: a backup '{}' of another kind is there already; move that away",
                    self.shown(name),
                    to.shown(to_name)
                ),
            ),
            _ => failed("keep", self.shown(name), errno),
        }
    }
}

/// rename(2) that replaces and always takes the old name away: it does nothing by itself where both names are one
/// file. `meta` is what `from` was.
fn rename_over(from_dir: &Dir, from: &[u8], meta: &Meta, to_dir: &Dir, to: &[u8]) -> Result<(), Errno> {
    rustix::fs::renameat(from_dir, from, to_dir, to)?;
    if meta.kind == Kind::Dir || meta.nlink < 2 {
        return Ok(());
    }
    match rustix::fs::statat(from_dir, from, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if Meta::from_stat(&stat).same_file(meta) => {
            rustix::fs::unlinkat(from_dir, from, AtFlags::empty())
        }
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}
