//! Many small files at once: written, synced together, renamed, and only then reported.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use rustix::io::Errno;

use super::closed::Closed;
use super::commit::{Commit, Committed, Ready, fsync, give_name, replaceable, sync_dir};
use super::dir::Dir;
use super::failed;
use crate::error::{Error, Failure, Result, Status};

/// More directories than this on one file system are synced with it.
const FEW_DIRS: usize = 2;

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
/// The kernel tells each descriptor once which writes were lost since it was opened. So the oldest directory of the
/// batch is asked, which is older than all its writes; this operation has opened it itself ([`super::Root::dir`],
/// [`Dir::dir`]).
pub fn commit_all(batch: Vec<Complete>) -> Vec<Result<Committed>> {
    let mut pending: Vec<Result<Pending>> = batch.into_iter().map(Pending::new).collect();
    sync_files(&mut pending);
    let published: Vec<Result<(Dir, Committed)>> =
        pending.into_iter().map(|pending| pending?.publish()).collect();
    sync_dirs(published)
}

impl Dir {
    /// syncfs(2): makes everything durable that was written to the file system that this directory is on.
    ///
    /// The kernel tells each descriptor once that a write was lost: ask through a directory that this operation opened
    /// before it wrote, and shares with no other. Where it has failed once, it fails for ever.
    pub fn sync_all(&self) -> Result<()> {
        self.sync_file_system().map_err(|errno| failed("sync the file system of", self.path(), errno))
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
    let mut places = Places::default();
    let mut oldest_on: HashMap<u64, Dir> = HashMap::new();
    // Only files that are still open can be synced alone.
    let mut open_on: HashMap<u64, usize> = HashMap::new();
    for pending in batch.iter().flatten() {
        let dir = pending.dir();
        let Ok((dev, _)) = places.of(dir) else { continue };
        let oldest = oldest_on.entry(dev).or_insert_with(|| dir.clone());
        if dir.is_older_than(oldest) {
            *oldest = dir.clone();
        }
        *open_on.entry(dev).or_default() += usize::from(matches!(pending, Pending::Open(_)));
    }
    let mut whole: HashMap<u64, Result<(), Errno>> = HashMap::new();
    for slot in batch.iter_mut() {
        let Ok(pending) = slot else { continue };
        let dev = match places.of(pending.dir()) {
            Ok((dev, _)) => dev,
            Err(error) => {
                *slot = Err(error);
                continue;
            }
        };
        let synced = match &*pending {
            Pending::Open(ready) if !syncfs_reports() || open_on.get(&dev) == Some(&1) => {
                fsync(&ready.commit.staged)
            }
            // Synced when it was written.
            Pending::Closed { .. } if !syncfs_reports() => Ok(()),
            pending => *whole
                .entry(dev)
                .or_insert_with(|| oldest_on.get(&dev).unwrap_or(pending.dir()).sync_file_system()),
        };
        if let Err(errno) = synced {
            *slot = Err(pending.lost(errno));
        }
    }
}

/// Syncs the directories with new names: one by one where they are few, else with their whole file system, because
/// each fsync may flush the disk's cache. Files whose new name may not last become errors.
fn sync_dirs(published: Vec<Result<(Dir, Committed)>>) -> Vec<Result<Committed>> {
    let mut places = Places::default();
    let mut dirs_on: HashMap<u64, HashSet<u64>> = HashMap::new();
    for (dir, _) in published.iter().flatten() {
        if let Ok((dev, ino)) = places.of(dir) {
            dirs_on.entry(dev).or_default().insert(ino);
        }
    }
    let is_few = |dev| dirs_on.get(&dev).is_none_or(|dirs| dirs.len() <= FEW_DIRS);
    let mut synced: HashMap<(u64, Option<u64>), Result<(), Failure>> = HashMap::new();
    let mut sync = |dir: &Dir| {
        let (dev, ino) = places.of(dir)?;
        let (key, sync): (_, fn(&Dir) -> Result<()>) = match is_few(dev) || !syncfs_reports() {
            true => ((dev, Some(ino)), sync_dir),
            false => ((dev, None), Dir::sync_all),
        };
        let synced = synced.entry(key).or_insert_with(|| sync(dir).map_err(|error| error.failure()));
        synced.clone().map_err(Error::Local)
    };
    published
        .into_iter()
        .map(|published| published.and_then(|(dir, committed)| sync(&dir).map(|()| committed)))
        .collect()
}

/// Device and inode of directories. Files come directory by directory, so the last one is remembered.
#[derive(Default)]
struct Places {
    last: Option<(Dir, (u64, u64))>,
}

impl Places {
    fn of(&mut self, dir: &Dir) -> Result<(u64, u64)> {
        if let Some((last, place)) = &self.last
            && last.is(dir)
        {
            return Ok(*place);
        }
        let meta = dir.meta()?;
        let place = (meta.dev, meta.ino);
        self.last = Some((dir.clone(), place));
        Ok(place)
    }
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
