//! From complete to visible and durable: mode and time, fsync, rename, fsync of the directory, and only then
//! success. An fsync that fails is never repeated: the kernel reports a lost write once and then forgets it.

use std::os::fd::AsFd;
use std::sync::OnceLock;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::attributes::{set_mode, set_mtime};
use super::batch::taken_away;
use super::beneath::not_regular;
use super::dir::Dir;
use super::failed;
use super::lock::is_named;
use super::meta::{Kind, Meta, Mtime};
use super::root::rename_new;
use super::staged::{Fate, Staged, random_name};
use crate::error::{Error, Result, Status};

/// How a staged file becomes the final one.
#[derive(Debug, Clone, Copy)]
pub struct CommitOptions {
    /// Exact length in bytes: a longer partial is cut, a tail of zeros that was not written becomes a hole.
    pub len: u64,
    /// False: an existing target gives [`Status::Exists`], decided by the kernel in the same step as the
    /// rename, and the staging file is removed.
    pub replace: bool,
    /// Modification time; `None` leaves the time of the last write.
    pub mtime: Option<Mtime>,
    /// Permission bits.
    pub mode: ModeRule,
}

/// Which permission bits the final file gets; never setuid, setgid or sticky.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModeRule {
    /// `mode & 0o777`.
    Preserve(u32),
    /// The replaced regular file's `mode & 0o777`; for a new file the source's `mode & 0o777 & !umask`.
    Default(u32),
}

/// A commit that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// True where something stood under the name before.
    pub replaced: bool,
}

/// A staged file of a batch ([`super::commit_all`]).
#[derive(Debug)]
pub struct Commit {
    /// The complete file.
    pub staged: Staged,
    /// Its name in the directory that it was staged in.
    pub target: Vec<u8>,
    /// How.
    pub how: CommitOptions,
}

impl Staged {
    /// Gives the file its name `target`, complete and durable. Compare digests before.
    ///
    /// A regular file or a link under that name is replaced in one step (a link itself, not what it points
    /// to); anything else is refused.
    pub fn commit(self, target: &[u8], how: &CommitOptions) -> Result<Committed> {
        let mut ready = Ready::new(Commit { staged: self, target: target.to_vec(), how: *how })?;
        ready.sync()?;
        let dir = ready.commit.staged.dir.clone();
        let committed = ready.publish()?;
        sync_dir(&dir)?;
        Ok(committed)
    }
}

impl Dir {
    /// Makes a symbolic link that holds `target` as it is, or replaces a file or link by it. Durable only
    /// after [`Dir::sync`].
    pub fn make_link(&self, name: &[u8], target: &[u8], replace: bool) -> Result<Committed> {
        let existing = replaceable(self, name, replace)?;
        let staging = random_name()?;
        rustix::fs::symlinkat(target, self, &staging)
            .map_err(|errno| failed("make link", self.shown(name), errno))?;
        let named = give_name(self, staging.as_bytes(), name, replace);
        if named.is_err() {
            // Best effort: sweeping removes it otherwise.
            let _ = rustix::fs::unlinkat(self, &staging, AtFlags::empty());
        }
        named.map(|()| Committed { replaced: existing.is_some() })
    }
}

/// A file with its final length, mode and time, still under its staging name.
pub(super) struct Ready {
    pub(super) commit: Commit,
    replaced: bool,
}

impl Ready {
    pub(super) fn new(mut commit: Commit) -> Result<Ready> {
        let Commit { staged, target, how } = &mut commit;
        let existing = replaceable(&staged.dir, target, how.replace).inspect_err(|error| {
            if error.status() == Status::Exists {
                staged.fate = Fate::Remove;
            }
        })?;
        let shown = || staged.dir.shown(target);
        if Meta::of(&staged.file)?.size != how.len {
            rustix::fs::ftruncate(&staged.file, how.len)
                .map_err(|errno| failed("set the length of", shown(), errno))?;
        }
        let mode = how.mode.resolve(existing.as_ref());
        set_mode(&staged.file, mode).map_err(|errno| failed("set the mode of", shown(), errno))?;
        if let Some(mtime) = how.mtime {
            set_mtime(&staged.file, mtime, shown)?;
        }
        Ok(Ready { commit, replaced: existing.is_some() })
    }

    fn sync(&mut self) -> Result<()> {
        let staged = &mut self.commit.staged;
        let synced = fsync(staged);
        synced.map_err(|errno| self.lost(errno))
    }

    /// What was written may be in the page cache and yet not on the disk, so that a later run would find a
    /// partial to be right that is not: nothing of it is kept.
    pub(super) fn lost(&mut self, errno: Errno) -> Error {
        let Commit { staged, target, .. } = &mut self.commit;
        staged.fate = Fate::Remove;
        failed("sync", staged.dir.shown(target), errno)
    }

    pub(super) fn publish(mut self) -> Result<Committed> {
        let Commit { staged, target, how } = &mut self.commit;
        if !is_named(staged.dir.as_fd(), staged.name.as_bytes(), &staged.file) {
            return Err(taken_away(&staged.dir, target));
        }
        match give_name(&staged.dir, staged.name.as_bytes(), target, how.replace) {
            Ok(()) => staged.fate = Fate::Committed,
            Err(error) => {
                if error.status() == Status::Exists {
                    staged.fate = Fate::Remove;
                }
                return Err(error);
            }
        }
        Ok(Committed { replaced: self.replaced })
    }
}

impl ModeRule {
    /// The bits that the final file gets, where this stands under its name now.
    pub fn resolve(self, existing: Option<&Meta>) -> u32 {
        match (self, existing) {
            (ModeRule::Preserve(mode), _) => mode & 0o777,
            (ModeRule::Default(_), Some(old)) if old.kind == Kind::File => old.mode & 0o777,
            (ModeRule::Default(mode), _) => mode & 0o777 & !umask(),
        }
    }
}

/// What stands under the target name, if a commit may replace it.
pub(super) fn replaceable(dir: &Dir, name: &[u8], replace: bool) -> Result<Option<Meta>> {
    let existing = dir.lookup(name)?;
    match existing.map(|meta| meta.kind) {
        Some(Kind::Dir) => Err(failed("replace", dir.shown(name), Errno::ISDIR)),
        Some(Kind::Other) => Err(not_regular(dir.shown(name))),
        Some(_) if !replace => Err(failed("make", dir.shown(name), Errno::EXIST)),
        _ => Ok(existing),
    }
}

pub(super) fn give_name(dir: &Dir, staging: &[u8], name: &[u8], replace: bool) -> Result<()> {
    let renamed = if replace {
        rustix::fs::renameat(dir, staging, dir, name)
    } else {
        rename_new(dir, staging, dir, name)
    };
    renamed.map_err(|errno| failed("make", dir.shown(name), errno))
}

pub(super) fn fsync(staged: &Staged) -> Result<(), Errno> {
    fail::fail_point!("fs::fsync", |_| Err(Errno::IO));
    rustix::fs::fsync(&staged.file)
}

pub(super) fn sync_dir(dir: &Dir) -> Result<()> {
    fail::fail_point!("fs::sync_dir", |_| Err(failed("sync directory", dir.path(), Errno::IO)));
    dir.sync()
}

/// The process's umask, read without changing it as umask(2) would, for all threads; 022 where /proc is not
/// mounted.
fn umask() -> u32 {
    static UMASK: OnceLock<u32> = OnceLock::new();
    *UMASK.get_or_init(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
        mask.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok()).unwrap_or(0o022)
    })
}
