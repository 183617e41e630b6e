//! What is known about a file.

use std::os::fd::AsFd;

use rustix::fs::{FileType, Stat};

use crate::error::{Error, Result, Status};

/// What stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// FIFO, device or socket.
    Other,
}

/// A point in time: seconds since 1970 (negative before) and nanoseconds, always below 1,000,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mtime {
    /// Seconds since 1970-01-01 00:00 UTC.
    pub secs: i64,
    /// Nanoseconds of the second.
    pub nanos: u32,
}

impl Mtime {
    /// For utimensat(2). Nanoseconds beyond a second are refused: there they would mean "now" or "leave".
    pub(super) fn timespec(self) -> Result<rustix::fs::Timespec> {
        if self.nanos >= 1_000_000_000 {
            let message = format!("bad modification time: {} nanoseconds", self.nanos);
            return Err(Error::local(Status::Invalid, message));
        }
        Ok(rustix::fs::Timespec { tv_sec: self.secs, tv_nsec: self.nanos.into() })
    }
}

/// Metadata of one file, from one stat(2) call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// What it is.
    pub kind: Kind,
    /// Size in bytes.
    pub size: u64,
    /// Last change of the contents.
    pub mtime: Mtime,
    /// Last change of contents or metadata; cannot be set by a program.
    pub ctime: Mtime,
    /// Permission bits with setuid, setgid and sticky: `st_mode & 0o7777`.
    pub mode: u32,
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Number of names.
    pub nlink: u64,
    /// Allocated blocks of 512 bytes; fewer than `size` needs means holes.
    pub blocks: u64,
}

impl Meta {
    /// Metadata of an open file.
    pub fn of(file: &impl AsFd) -> Result<Meta> {
        let stat = rustix::fs::fstat(file).map_err(|errno| Error::io("stat an open file", &errno.into()))?;
        Ok(Meta::from_stat(&stat))
    }

    /// True where nothing says that the file changed since `earlier`: same inode, size, mtime and ctime.
    /// The ctime counts because mtime can be set back; so a rename or chmod reads as a change too, which
    /// costs a retry where the opposite would cost wrong bytes.
    pub fn unchanged_since(&self, earlier: &Meta) -> bool {
        self.same_file(earlier)
            && self.size == earlier.size
            && self.mtime == earlier.mtime
            && self.ctime == earlier.ctime
    }

    /// True where both describe the same inode.
    pub fn same_file(&self, other: &Meta) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }

    /// True where fewer blocks are allocated than the size needs.
    pub fn is_sparse(&self) -> bool {
        self.kind == Kind::File && self.blocks.saturating_mul(512) < self.size
    }

    /// From the kernel's structure; the casts only change the sign of fields that are never negative.
    #[allow(clippy::useless_conversion, reason = "st_nlink has 32 bits on aarch64")]
    pub(super) fn from_stat(stat: &Stat) -> Meta {
        Meta {
            kind: kind_of(FileType::from_raw_mode(stat.st_mode)),
            size: stat.st_size as u64,
            mtime: Mtime { secs: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 },
            ctime: Mtime { secs: stat.st_ctime, nanos: stat.st_ctime_nsec as u32 },
            mode: stat.st_mode & 0o7777,
            dev: stat.st_dev,
            ino: stat.st_ino,
            nlink: stat.st_nlink.into(),
            blocks: stat.st_blocks as u64,
        }
    }
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name: 1 to 255 bytes, not necessarily UTF-8.
    pub name: Vec<u8>,
    /// Metadata of what stands there; of a link, the link's own.
    pub meta: Meta,
}

fn kind_of(kind: FileType) -> Kind {
    match kind {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Symlink,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_write_or_a_replacement_counts_as_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = std::fs::File::create(dir.path().join("a")).unwrap();
        let before = Meta::of(&file).unwrap();
        assert!(Meta::of(&file).unwrap().unchanged_since(&before));
        file.write_all(b"x").unwrap();
        assert!(!Meta::of(&file).unwrap().unchanged_since(&before));
        let other = std::fs::File::create(dir.path().join("b")).unwrap();
        assert!(!Meta::of(&other).unwrap().unchanged_since(&before));
    }

    #[test]
    fn holes_are_recognised() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        assert!(Meta::of(&file).unwrap().is_sparse());
    }

    #[test]
    fn times_that_the_kernel_would_read_as_now_are_refused() {
        for nanos in [1_000_000_000, rustix::fs::UTIME_NOW as u32, rustix::fs::UTIME_OMIT as u32, u32::MAX] {
            assert!(Mtime { secs: 0, nanos }.timespec().is_err());
        }
        assert!(Mtime { secs: -1, nanos: 999_999_999 }.timespec().is_ok());
    }
}
