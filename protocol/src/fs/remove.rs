//! Removal that never leaves the directory it was pointed at: every level is entered with `O_NOFOLLOW` from
//! its held parent, so a directory swapped for a link meanwhile is removed as a link.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::beneath::{HOLD, READ_DIR, open_name};
use super::dir::{Dir, MAX_ENTRIES};
use super::failed;
use super::lock::{Cleared, clear_staging};
use super::meta::Meta;
use crate::display::Escaped;
use crate::error::{Error, Result, Status};
use crate::path::{check_name, is_staging_name};

/// Most levels of directories that one removal descends.
pub const MAX_LEVELS: usize = 1024;
/// Levels whose descriptors stay open; deeper ones are opened again on the way up, so that a deep tree cannot
/// use up the descriptors of the process.
const HELD_LEVELS: usize = 32;
/// How often a directory that others keep filling is read again.
const MAX_PASSES: u32 = 8;

/// Removes what `name` in `dir` is; a directory with visible entries only where `recursive`.
/// Returns how many entries went, staging files not counted.
pub(super) fn entry(dir: &Dir, name: &[u8], recursive: bool) -> Result<u64> {
    check_name(name)?;
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) => return Ok(1),
        Err(Errno::ISDIR) => {}
        Err(errno) => return Err(failed("remove", dir.shown(name), errno)),
    }
    match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Ok(()) => return Ok(1),
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        Err(errno) => return Err(failed("remove", dir.shown(name), errno)),
    }
    let mut removal = Removal::new(dir, recursive);
    removal.enter(name.to_vec())?;
    while removal.step()? {}
    Ok(removal.removed)
}

impl Dir {
    /// Removes one name: a file, a link, or a directory that holds nothing but staging files that are not in use.
    /// Durable only after [`Dir::sync`].
    pub fn remove(&self, name: &[u8]) -> Result<()> {
        entry(self, name, false).map(drop)
    }
}

struct Removal<'a> {
    dir: &'a Dir,
    recursive: bool,
    levels: Vec<Level>,
    /// Names in all levels together, capped.
    remembered: usize,
    removed: u64,
}

struct Level {
    name: Vec<u8>,
    /// To recognise the directory when it is opened again.
    meta: Meta,
    fd: Option<OwnedFd>,
    /// Directories found in it and still there.
    dirs: Vec<Vec<u8>>,
    passes: u32,
}

impl<'a> Removal<'a> {
    fn new(dir: &'a Dir, recursive: bool) -> Self {
        Removal { dir, recursive, levels: Vec::new(), remembered: 0, removed: 0 }
    }

    /// Goes down or up by one level; `false` when all is done.
    fn step(&mut self) -> Result<bool> {
        let Some(level) = self.levels.last_mut() else { return Ok(false) };
        match level.dirs.pop() {
            Some(name) => {
                self.remembered -= 1;
                self.enter(name)?;
            }
            None => self.leave()?,
        }
        Ok(true)
    }

    /// Goes into directory `name` of the current level and removes all but directories there.
    fn enter(&mut self, name: Vec<u8>) -> Result<()> {
        let shown = self.shown(Some(&name));
        if self.levels.len() >= MAX_LEVELS {
            return Err(Error::local(
                Status::Limit,
                format!("'{shown}' is deeper than {MAX_LEVELS} levels; remove its parts first"),
            ));
        }
        let fd = match open_name(self.current()?, &name, READ_DIR) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(()),
            // Not a directory any more.
            Err(Errno::NOTDIR | Errno::LOOP) => return self.unlink(&name).map(drop),
            Err(errno) => return Err(failed("open", shown, errno)),
        };
        let meta = Meta::of(&fd)?;
        // The level above gives up its descriptor unless it is one of the outermost.
        if self.levels.len() > HELD_LEVELS
            && let Some(above) = self.levels.last_mut()
        {
            above.fd = None;
        }
        self.levels.push(Level { name, meta, fd: Some(fd), dirs: Vec::new(), passes: 0 });
        self.clear()
    }

    /// Removes the current level's directory, which should be empty now, and goes up.
    fn leave(&mut self) -> Result<()> {
        let Some(level) = self.levels.pop() else { return Ok(()) };
        match rustix::fs::unlinkat(self.current()?, &level.name, AtFlags::REMOVEDIR) {
            Ok(()) => self.removed += 1,
            Err(Errno::NOENT) => {}
            Err(Errno::NOTDIR) => {
                self.unlink(&level.name)?;
            }
            Err(Errno::NOTEMPTY | Errno::EXIST) if level.passes < MAX_PASSES => {
                self.levels.push(Level { passes: level.passes + 1, ..level });
                return self.clear();
            }
            Err(errno) => return Err(failed("remove", self.shown(Some(&level.name)), errno)),
        }
        Ok(())
    }

    /// Removes everything but directories from the current level and remembers those.
    fn clear(&mut self) -> Result<()> {
        let shown = self.shown(None);
        let list = |errno| failed("list", &shown, errno);
        if !self.recursive && self.has_visible()? {
            return Err(Error::local(
                Status::NotEmpty,
                format!("directory '{shown}' is not empty; remove it recursively"),
            ));
        }
        for entry in rustix::fs::Dir::read_from(self.current()?).map_err(list)? {
            let entry = entry.map_err(list)?;
            let name = entry.file_name().to_bytes();
            let is_dir = match name {
                b"." | b".." => continue,
                _ if is_staging_name(name) => self.clear_staging(name)?,
                _ => !self.unlink(name)?,
            };
            if is_dir {
                self.remember(name)?;
            }
        }
        Ok(())
    }

    fn has_visible(&mut self) -> Result<bool> {
        let shown = self.shown(None);
        let list = |errno| failed("list", &shown, errno);
        for entry in rustix::fs::Dir::read_from(self.current()?).map_err(list)? {
            let entry = entry.map_err(list)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." && !is_staging_name(name) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Unlinks a name of the current level; `false` where it is a directory.
    fn unlink(&mut self, name: &[u8]) -> Result<bool> {
        match rustix::fs::unlinkat(self.current()?, name, AtFlags::empty()) {
            Ok(()) => self.removed += 1,
            Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) => return Ok(false),
            Err(errno) => return Err(failed("remove", self.shown(Some(name)), errno)),
        }
        Ok(true)
    }

    /// Removes a staging file that is not in use; `true` where it is a directory.
    fn clear_staging(&mut self, name: &[u8]) -> Result<bool> {
        match clear_staging(self.current()?, name, Duration::ZERO) {
            Ok(Cleared::Directory) => Ok(true),
            Ok(Cleared::Locked) => Err(Error::local(
                Status::Busy,
                format!("'{}' is receiving a file; try again when that has ended", self.shown(None)),
            )),
            Ok(Cleared::Gone | Cleared::Young) | Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(failed("remove a staging file in", self.shown(None), errno)),
        }
    }

    fn remember(&mut self, name: &[u8]) -> Result<()> {
        self.remembered += 1;
        if self.remembered > MAX_ENTRIES {
            return Err(Error::local(
                Status::Limit,
                format!("'{}' has too many directories; remove its parts first", self.shown(None)),
            ));
        }
        if let Some(level) = self.levels.last_mut() {
            level.dirs.push(name.to_vec());
        }
        Ok(())
    }

    /// The directory of the innermost level, opened again from the last held one where necessary.
    fn current(&mut self) -> Result<BorrowedFd<'_>> {
        let open = self.levels.iter().rposition(|level| level.fd.is_some());
        let missing = self.levels.get(open.map_or(0, |at| at + 1)..).unwrap_or_default();
        if !missing.is_empty() {
            let held = open.and_then(|at| self.levels.get(at)).and_then(|level| level.fd.as_ref());
            let fd = reopen(held.map_or(self.dir.as_fd(), AsFd::as_fd), missing)
                .map_err(|errno| failed("open", self.shown(None), errno))?;
            if let Some(level) = self.levels.last_mut() {
                level.fd = Some(fd);
            }
        }
        let innermost = self.levels.last().and_then(|level| level.fd.as_ref());
        Ok(innermost.map_or(self.dir.as_fd(), AsFd::as_fd))
    }

    /// The path of the innermost level, or of a name in it, for messages.
    fn shown(&self, name: Option<&[u8]>) -> String {
        let names: Vec<&[u8]> = self.levels.iter().map(|level| &level.name[..]).chain(name).collect();
        match names.split_first() {
            Some((first, rest)) => {
                let below = rest.iter().map(|name| format!("/{}", Escaped::new(name)));
                self.dir.shown(first) + &below.collect::<String>()
            }
            None => self.dir.path().to_string(),
        }
    }
}

/// Opens the innermost of these levels, each beneath the one before; ESTALE where it is another one now.
fn reopen(from: BorrowedFd<'_>, levels: &[Level]) -> Result<OwnedFd, Errno> {
    let mut held: Option<OwnedFd> = None;
    for (at, level) in levels.iter().enumerate() {
        let flags = if at + 1 == levels.len() { READ_DIR } else { HOLD };
        let fd = open_name(held.as_ref().map_or(from, AsFd::as_fd), &level.name, flags)?;
        if !Meta::of(&fd).is_ok_and(|meta| meta.same_file(&level.meta)) {
            return Err(Errno::STALE);
        }
        held = Some(fd);
    }
    held.ok_or(Errno::STALE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RemotePath;
    use crate::fs::{Links, Root};

    #[test]
    fn a_deep_tree_holds_few_descriptors() {
        let temp = tempfile::tempdir().unwrap();
        let top = Root::open(temp.path()).unwrap().dir(&RemotePath::root(), Links::Refuse).unwrap();
        let mut dir = top.clone();
        for _ in 0..300 {
            dir.make_dir(b"d").unwrap();
            dir = dir.dir(b"d").unwrap();
        }
        let mut removal = Removal::new(&top, true);
        removal.enter(b"d".to_vec()).unwrap();
        let mut most = 0;
        while removal.step().unwrap() {
            most = most.max(removal.levels.iter().filter(|level| level.fd.is_some()).count());
        }
        assert_eq!(removal.removed, 300);
        assert!(most <= HELD_LEVELS + 2, "{most} at once");
    }
}
