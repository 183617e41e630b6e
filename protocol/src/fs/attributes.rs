//! Mode and time of what is there already: set through a descriptor or the name in a held directory, so that a link
//! put in its place changes nothing elsewhere.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Mode, OFlags, RawMode, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use super::beneath::{explain, not_regular, open_name};
use super::dir::{Dir, regular};
use super::failed;
use super::meta::{Kind, Mtime};
use crate::error::{Error, Result, Status};

impl Dir {
    /// Sets permission bits (`mode & 0o777`) and modification time of the directory itself.
    pub fn set_meta(&self, mode: Option<u32>, mtime: Option<Mtime>) -> Result<()> {
        if let Some(mode) = mode {
            set_mode(self, mode).map_err(|errno| failed("set the mode of", self.path(), errno))?;
        }
        if let Some(mtime) = mtime {
            set_mtime(self, mtime, || self.path().to_string())?;
        }
        Ok(())
    }

    /// Sets permission bits (`mode & 0o777`) and modification time of a regular file in this directory.
    ///
    /// # Errors
    /// [`Status::NotFound`], [`Status::IsDirectory`], [`Status::NotRegular`] for links and special files;
    /// [`Status::PermissionDenied`] for another's file, and for the mode of one that may be neither read nor written.
    pub fn set_file_meta(&self, name: &[u8], mode: Option<u32>, mtime: Option<Mtime>) -> Result<()> {
        let meta = self.lookup(name)?.ok_or_else(|| failed("find", self.shown(name), Errno::NOENT))?;
        match meta.kind {
            Kind::File => {}
            Kind::Dir => return Err(failed("set the mode of", self.shown(name), Errno::ISDIR)),
            Kind::Symlink | Kind::Other => return Err(not_regular(self.shown(name))),
        }
        if let Some(mode) = mode.filter(|mode| mode & 0o777 != meta.mode) {
            self.set_file_mode(name, mode)?;
        }
        mtime.map_or(Ok(()), |mtime| self.set_time(name, mtime))
    }

    /// Sets the modification time of a symbolic link itself.
    pub fn set_link_time(&self, name: &[u8], mtime: Mtime) -> Result<()> {
        crate::path::check_name(name)?;
        self.set_time(name, mtime)
    }

    /// fchmodat(2) follows links, so the file is opened; to write it where it may not be read.
    fn set_file_mode(&self, name: &[u8], mode: u32) -> Result<()> {
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = match open_name(self.as_fd(), name, flags | OFlags::RDONLY) {
            Err(Errno::ACCESS) => open_name(self.as_fd(), name, flags | OFlags::WRONLY),
            opened => opened,
        };
        let fd = opened.map_err(|errno| match errno {
            Errno::ACCESS => Error::local(
                Status::PermissionDenied,
                format!(
                    "the mode of '{}' cannot be set, because it may be neither read nor written; chmod it",
                    self.shown(name)
                ),
            ),
            _ => explain(self.shown(name), errno),
        })?;
        let (file, _) = regular(fd, || self.shown(name))?;
        set_mode(&file, mode).map_err(|errno| failed("set the mode of", self.shown(name), errno))
    }

    fn set_time(&self, name: &[u8], mtime: Mtime) -> Result<()> {
        rustix::fs::utimensat(self, name, &times(mtime)?, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| failed("set the time of", self.shown(name), errno))
    }
}

/// fchmod(2) with the permission bits only: never setuid, setgid or sticky.
pub(super) fn set_mode(file: &impl AsFd, mode: u32) -> Result<(), Errno> {
    rustix::fs::fchmod(file, Mode::from_raw_mode(RawMode::from(mode & 0o777)))
}

/// Sets the modification time and leaves the access time.
pub(super) fn set_mtime(file: &impl AsFd, mtime: Mtime, shown: impl Fn() -> String) -> Result<()> {
    rustix::fs::futimens(file, &times(mtime)?).map_err(|errno| failed("set the time of", shown(), errno))
}

fn times(mtime: Mtime) -> Result<Timestamps> {
    Ok(Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: mtime.timespec()?,
    })
}
