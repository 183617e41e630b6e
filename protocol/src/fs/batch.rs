//! Many small files at once: written, synced together, renamed, and only then reported.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::OnceLock;

use rustix::io::Errno;

use super::closed::Closed;
use super::commit::{Commit, Committed, Ready, fsync, give_name, replaceable, sync_dir};
use super::dir::Dir;
use super::failed;
use crate::error::{Error, Failure, Result, Status};

/// One complete file of a batch.
#[derive(Debug)]
pub enum Complete {
    /// A staged file.
    Open(Commit),
    /// A small one that is closed already.
    Closed {
        /// The file.
        file: Closed,
        /// Its name in the directory that it was staged in.
        target: Vec<u8>,
        /// False: an existing target gives [`Status::Exists`].
        replace: bool,
    },
}

/// Commits many small files with one syncfs(2) for each file system where the kernel reports its errors
/// (Linux ≥ 5.8), which is several times faster than an fsync each. One result for each file, in order.
///
/// Files come in the order in which they were begun: the first one's directory, which must be older than all writes
/// of the batch, is asked whether any was lost. The kernel says so once for each descriptor, so this operation has
/// opened it itself ([`super::Root::dir`], [`Dir::dir`]).
pub fn commit_all(batch: Vec<Complete>) -> Vec<Result<Committed>> {
    let mut pending: Vec<Result<Pending>> = batch.into_iter().map(Pending::new).collect();
    sync_files(&mut pending);
    let published: Vec<Result<(Dir, Committed)>> =
        pending.into_iter().map(|pending| pending?.publish()).collect();
    let mut dirs = SyncedDirs::of(&published);
    published
        .into_iter()
        .map(|published| {
            let (dir, committed) = published?;
            dirs.sync(&dir).map(|()| committed).map_err(Error::Local)
        })
        .collect()
}

impl Dir {
    /// syncfs(2): makes everything durable that was written to the file system that this directory is on.
    ///
    /// The kernel reports each lost write once for a descriptor: ask through a directory that this operation opened
    /// before it wrote, and shares with no other.
    pub fn sync_all(&self) -> Result<()> {
        syncfs(self).map_err(|errno| failed("sync the file system of", self.path(), errno))
    }
}

/// A file that is ready to be renamed.
enum Pending {
    Open(Box<Ready>),
    Closed { file: Closed, target: Vec<u8>, replace: bool, replaced: bool },
}

impl Pending {
    fn new(complete: Complete) -> Result<Pending> {
        match complete {
            Complete::Open(commit) => Ok(Pending::Open(Box::new(Ready::new(commit)?))),
            Complete::Closed { file, target, replace } => {
                let replaced = replaceable(&file.dir, &target, replace)?.is_some();
                Ok(Pending::Closed { file, target, replace, replaced })
            }
        }
    }

    fn dir(&self) -> &Dir {
        match self {
            Pending::Open(ready) => &ready.commit.staged.dir,
            Pending::Closed { file, .. } => &file.dir,
        }
    }

    /// What was written may not be on the disk.
    fn lost(&mut self, errno: Errno) -> Error {
        match self {
            Pending::Open(ready) => ready.lost(errno),
            Pending::Closed { file, target, .. } => failed("sync", file.dir.shown(target), errno),
        }
    }

    fn publish(self) -> Result<(Dir, Committed)> {
        let dir = self.dir().clone();
        let committed = match self {
            Pending::Open(ready) => ready.publish()?,
            Pending::Closed { mut file, target, replace, replaced } => {
                give_name(&dir, file.name.as_bytes(), &target, replace).map_err(|error| {
                    match error.status() {
                        Status::NotFound => taken_away(&dir, &target),
                        _ => error,
                    }
                })?;
                file.committed = true;
                Committed { replaced }
            }
        };
        Ok((dir, committed))
    }
}

/// The error where a staging file vanished before it got its name.
pub(super) fn taken_away(dir: &Dir, target: &[u8]) -> Error {
    Error::local(
        Status::Busy,
        format!("the staging file of '{}' was taken away; try again", dir.shown(target)),
    )
}

/// Syncs the files that are ready; those of a file system whose sync failed become errors.
fn sync_files(batch: &mut [Result<Pending>]) {
    let device = |pending: &Pending| pending.dir().meta().map(|meta| meta.dev);
    // Only files that are still open can be synced alone.
    let mut open_on: HashMap<u64, usize> = HashMap::new();
    for pending in batch.iter().flatten() {
        if let (Pending::Open(_), Ok(dev)) = (pending, device(pending)) {
            *open_on.entry(dev).or_default() += 1;
        }
    }
    let mut whole: HashMap<u64, Result<(), Errno>> = HashMap::new();
    for slot in batch.iter_mut() {
        let Ok(pending) = slot else { continue };
        let dev = match device(pending) {
            Ok(dev) => dev,
            Err(error) => {
                *slot = Err(error);
                continue;
            }
        };
        let synced = match pending {
            Pending::Open(ready) if !syncfs_reports() || open_on.get(&dev) == Some(&1) => {
                fsync(&ready.commit.staged)
            }
            // Synced when it was written.
            Pending::Closed { .. } if !syncfs_reports() => Ok(()),
            _ => *whole.entry(dev).or_insert_with(|| syncfs(pending.dir())),
        };
        if let Err(errno) = synced {
            *slot = Err(pending.lost(errno));
        }
    }
}

/// Directories whose new names are durable: one by one where they are few, else with their whole file system,
/// because each fsync may flush the disk's cache.
struct SyncedDirs {
    dirs_on: HashMap<u64, Vec<u64>>,
    done: HashMap<(u64, Option<u64>), Result<(), Failure>>,
}

/// More directories than this on one file system are synced with it.
const FEW_DIRS: usize = 2;

impl SyncedDirs {
    fn of(published: &[Result<(Dir, Committed)>]) -> SyncedDirs {
        let mut dirs_on: HashMap<u64, Vec<u64>> = HashMap::new();
        for (dir, _) in published.iter().flatten() {
            if let Ok(meta) = dir.meta() {
                let seen = dirs_on.entry(meta.dev).or_default();
                // Files come directory by directory.
                if seen.len() <= FEW_DIRS && !seen.contains(&meta.ino) {
                    seen.push(meta.ino);
                }
            }
        }
        SyncedDirs { dirs_on, done: HashMap::new() }
    }

    fn sync(&mut self, dir: &Dir) -> Result<(), Failure> {
        let meta = dir.meta().map_err(|error| error.failure())?;
        let few = self.dirs_on.get(&meta.dev).is_none_or(|dirs| dirs.len() <= FEW_DIRS);
        let (key, sync): (_, fn(&Dir) -> Result<()>) = match few || !syncfs_reports() {
            true => ((meta.dev, Some(meta.ino)), sync_dir),
            false => ((meta.dev, None), Dir::sync_all),
        };
        self.done.entry(key).or_insert_with(|| sync(dir).map_err(|error| error.failure())).clone()
    }
}

fn syncfs(dir: &Dir) -> Result<(), Errno> {
    fail::fail_point!("fs::syncfs", |_| Err(Errno::IO));
    rustix::fs::syncfs(dir.as_fd())
}

/// syncfs(2): "In mainline kernel versions prior to Linux 5.8, syncfs() will fail only when passed a bad
/// file descriptor".
pub(super) fn syncfs_reports() -> bool {
    static REPORTS: OnceLock<bool> = OnceLock::new();
    *REPORTS.get_or_init(|| {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse::<u32>().ok());
        (numbers.next(), numbers.next()) >= (Some(5), Some(8))
    })
}
