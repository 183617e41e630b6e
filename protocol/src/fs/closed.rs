//! A small complete file that waits for its batch without an open descriptor: as few system calls as it takes.

use std::fs::File;
use std::io::Write;

use rustix::fs::{AtFlags, Mode, OFlags, openat};
use rustix::io::Errno;

use super::attributes::{set_mode, set_mtime};
use super::batch::syncfs_reports;
use super::dir::Dir;
use super::meta::Mtime;
use super::staged::random_name;
use super::{failed, is_zero};
use crate::error::{Error, Result};

const FLAGS: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Zeros that are worth a hole: a page.
const LEAST_HOLE: usize = 4096;

/// A staging file with its final content, mode and time, closed. It has no lock, so the removal of its directory may
/// take it away; the commit then says so. Dropped without a commit it is removed.
#[derive(Debug)]
pub struct Closed {
    pub(super) dir: Dir,
    pub(super) name: String,
    pub(super) committed: bool,
}

impl Closed {
    /// Writes a file: `mode & 0o777` and `mtime` are final, `None` leaves the time of the write. Nobody else can read
    /// it before it is complete. Compare the digest of `data` before.
    ///
    /// Durable after [`super::commit_all`], which asks the descriptor of `dir`.
    pub fn write(dir: &Dir, data: &[u8], mode: u32, mtime: Option<Mtime>) -> Result<Closed> {
        let (closed, mut file) = Closed::create(dir)?;
        let shown = || format!("a file in '{}'", dir.path());
        let written = match data.len() >= LEAST_HOLE && is_zero(data) {
            true => rustix::fs::ftruncate(&file, data.len() as u64).map_err(Into::into),
            false => write(&mut file, data),
        };
        written.map_err(|error| Error::io(format_args!("write {}", shown()), &error))?;
        set_mode(&file, mode).map_err(|errno| failed("set the mode of", shown(), errno))?;
        if let Some(mtime) = mtime {
            set_mtime(&file, mtime, shown)?;
        }
        if !syncfs_reports() {
            rustix::fs::fsync(&file).map_err(|errno| failed("sync", shown(), errno))?;
        }
        Ok(closed)
    }

    fn create(dir: &Dir) -> Result<(Closed, File)> {
        loop {
            let name = random_name()?;
            match openat(dir, &name, FLAGS, Mode::RUSR | Mode::WUSR) {
                Ok(fd) => return Ok((Closed { dir: dir.clone(), name, committed: false }, File::from(fd))),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed("make a staging file in", dir.path(), errno)),
            }
        }
    }
}

fn write(file: &mut File, data: &[u8]) -> std::io::Result<()> {
    fail::fail_point!("fs::write", |_| Err(Errno::NOSPC.into()));
    file.write_all(data)
}

impl Drop for Closed {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        match rustix::fs::unlinkat(&self.dir, &self.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => {
                tracing::warn!(dir = %self.dir.path(), name = %self.name, %errno, "staging file is left behind");
            }
        }
    }
}
