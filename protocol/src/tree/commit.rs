//! A thread that makes complete files visible and durable, many at a time, while the next ones arrive.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::BytesMut;

use super::dirs::Dirs;
use super::receive::{Backup, Place};
use super::{Action, Item, OnItem, TreeMeter, kind_to_wire};
use crate::error::{Error, Result, Status};
use crate::fs::{Complete, Dir, Kind, Links, Mtime, commit_all};
use crate::path::RemotePath;
use crate::wire::message::{End, NodeResult};
use crate::wire::{Message, Sender};

/// Batches that may wait.
const QUEUE: usize = 1;

/// One thing whose fate is decided, in the order of the tree.
pub(super) struct Step {
    /// Number of the file that was accepted; 0 for everything else.
    pub(super) number: u32,
    pub(super) item: Item,
    pub(super) what: What,
}

pub(super) enum What {
    /// Nothing is left to do.
    Nothing,
    /// A complete file gets its name.
    File(Complete),
    /// A link is made.
    Link { target: Vec<u8>, mtime: Option<Mtime> },
    /// What stands there gets this mode and time.
    Meta { mode: Option<u32>, mtime: Option<Mtime> },
    /// A directory whose contents are complete gets this mode and time. Not reported.
    DirEnd { mode: Option<u32>, mtime: Option<Mtime> },
}

/// What the thread needs.
pub(super) struct CommitJob {
    pub(super) op: u32,
    pub(super) place: Place,
    pub(super) tx: Sender,
    pub(super) report: bool,
    pub(super) meter: Arc<TreeMeter>,
    pub(super) on_item: OnItem,
}

/// The thread, seen from the task that receives.
pub(super) struct Committer {
    batches: SyncSender<Vec<Step>>,
    thread: JoinHandle<()>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// What ends the whole operation.
    fatal: Option<Error>,
    failed: u64,
}

impl Committer {
    pub(super) fn spawn(job: CommitJob) -> Result<Self> {
        // Older than all that is written, so that it tells of every write that is lost.
        let root = match &job.place.root {
            Some(root) => Some(root.dir(&RemotePath::root(), Links::Refuse)?),
            None => None,
        };
        let (batches, queue) = sync_channel(QUEUE);
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("ft-commit".into())
            .spawn(move || {
                Thread { dirs: job.place.root.clone().map(Dirs::new), root, job, state: shared }.run(queue)
            })
            .map_err(|error| Error::io("start the committing thread", &error))?;
        Ok(Self { batches, thread, state })
    }

    /// Hands over what is complete; waits while the thread is busy with the last but one. Errors: what ends the
    /// whole operation.
    pub(super) fn commit(&self, batch: Vec<Step>) -> Result<()> {
        self.check()?;
        // A thread that is gone has left its error.
        self.batches.send(batch).map_err(|_| crashed())
    }

    /// What ended the whole operation.
    pub(super) fn check(&self) -> Result<()> {
        match self.state.lock().unwrap_or_else(PoisonError::into_inner).fatal.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Waits until everything is done; gives how many names failed.
    pub(super) fn finish(self) -> Result<u64> {
        drop(self.batches);
        self.thread.join().map_err(|_| crashed())?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.fatal.take() {
            Some(error) => Err(error),
            None => Ok(state.failed),
        }
    }
}

fn crashed() -> Error {
    Error::local(Status::Failed, "internal error: the committing thread crashed")
}

struct Thread {
    job: CommitJob,
    root: Option<Dir>,
    dirs: Option<Dirs>,
    state: Arc<Mutex<State>>,
}

impl Thread {
    fn run(mut self, queue: Receiver<Vec<Step>>) {
        for batch in queue {
            let tx = self.job.tx.clone();
            let _busy = tx.activity().busy();
            if let Err(error) = self.commit(batch) {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                state.fatal.get_or_insert(error);
            }
        }
    }

    fn commit(&mut self, batch: Vec<Step>) -> Result<()> {
        let mut fatal = None;
        let mut done = Vec::with_capacity(batch.len());
        let mut ends = Vec::new();
        let (mut places, mut complete) = (Vec::new(), Vec::new());
        let (mut touched, mut kept) = (false, false);
        for Step { number, mut item, what } in batch {
            match what {
                What::Nothing => touched |= item.failure.is_none(),
                What::File(file) => match self.keep_old(&item) {
                    Ok(has_kept) => {
                        kept |= has_kept;
                        places.push(done.len());
                        complete.push(file);
                    }
                    Err(error) => fail(&mut item, &error),
                },
                What::Link { target, mtime } => {
                    touched = true;
                    if let Err(error) = self.make_link(&item, &target, mtime) {
                        fail(&mut item, &error);
                    }
                }
                What::Meta { mode, mtime } => {
                    touched = true;
                    if let Err(error) = self.set_meta(&item, mode, mtime) {
                        fail(&mut item, &error);
                    }
                }
                What::DirEnd { mode, mtime } => {
                    ends.push((item, mode, mtime));
                    continue;
                }
            }
            done.push((number, item));
        }
        // What is replaced is safe before it is replaced.
        if kept && let Some(backup) = &self.job.place.backup {
            backup.root()?.dir(&RemotePath::root(), Links::Refuse)?.sync_all()?;
        }
        for (place, committed) in places.into_iter().zip(commit_all(complete)) {
            let Some((_, item)) = done.get_mut(place) else { continue };
            match committed {
                Ok(committed) if committed.replaced => item.action = Action::Replaced,
                Ok(_) => item.action = Action::Created,
                Err(error) => {
                    fail(item, &error);
                    if error.status() == Status::DiskFull {
                        fatal.get_or_insert(error);
                    }
                }
            }
        }
        // Directories last: what was renamed into them changed their times.
        for (mut item, mode, mtime) in ends {
            match self.end_dir(&item.path, mode, mtime) {
                Ok(changed) => touched |= changed,
                Err(error) => {
                    fail(&mut item, &error);
                    done.push((0, item));
                }
            }
        }
        if touched {
            self.sync()?;
        }
        self.tell(done)?;
        fatal.map_or(Ok(()), Err)
    }

    /// Keeps what is about to be replaced; true where there was something.
    fn keep_old(&mut self, item: &Item) -> Result<bool> {
        let Some(backup) = self.job.place.backup.clone() else { return Ok(false) };
        let (dir, name) = self.place(&item.path)?;
        match dir.lookup(name)? {
            Some(meta) if matches!(meta.kind, Kind::File | Kind::Symlink) => {
                keep_aside(&backup, &dir, &item.path, false).map(|()| true)
            }
            _ => Ok(false),
        }
    }

    fn set_meta(&mut self, item: &Item, mode: Option<u32>, mtime: Option<Mtime>) -> Result<()> {
        let (dir, name) = self.place(&item.path)?;
        match (item.kind, mtime) {
            (Kind::Symlink, Some(mtime)) => dir.set_link_time(name, mtime),
            (Kind::Symlink, None) => Ok(()),
            _ => dir.set_file_meta(name, mode, mtime),
        }
    }

    fn make_link(&mut self, item: &Item, target: &[u8], mtime: Option<Mtime>) -> Result<()> {
        let (dir, name) = self.place(&item.path)?;
        dir.make_link(name, target, false)?;
        mtime.map_or(Ok(()), |mtime| dir.set_link_time(name, mtime))
    }

    /// True where something was changed.
    fn end_dir(&mut self, path: &RemotePath, mode: Option<u32>, mtime: Option<Mtime>) -> Result<bool> {
        let Some(dirs) = &mut self.dirs else { return Ok(false) };
        let dir = dirs.get(path)?;
        let meta = dir.meta()?;
        let mode = mode.filter(|mode| *mode != meta.mode & 0o777);
        let mtime = mtime.filter(|mtime| *mtime != meta.mtime);
        if mode.is_none() && mtime.is_none() {
            return Ok(false);
        }
        dir.set_meta(mode, mtime).map(|()| true)
    }

    fn place<'a>(&mut self, path: &'a RemotePath) -> Result<(Dir, &'a [u8])> {
        let (parent, name) = path.split_last().unwrap_or_default();
        match &mut self.dirs {
            Some(dirs) => Ok((dirs.get(&parent)?, name)),
            None => Err(Error::local(Status::NotFound, format!("'{parent}' does not exist"))),
        }
    }

    fn sync(&self) -> Result<()> {
        self.root.as_ref().map_or(Ok(()), Dir::sync_all)
    }

    fn tell(&self, done: Vec<(u32, Item)>) -> Result<()> {
        let mut frames = BytesMut::new();
        let mut failed = 0;
        for (number, item) in done {
            if number > 0 {
                self.job.meter.decided(0);
            }
            if number > 0 || self.job.report {
                Message::from(result_of(number, &item)).encode(self.job.op, &mut frames);
            }
            failed += u64::from(item.failure.is_some());
            (self.job.on_item)(&item);
        }
        self.state.lock().unwrap_or_else(PoisonError::into_inner).failed += failed;
        if frames.is_empty() { Ok(()) } else { self.job.tx.blocking_send_bytes(frames.freeze()) }
    }
}

fn fail(item: &mut Item, error: &Error) {
    item.failure = Some(error.failure());
    item.here = true;
}

/// What is said of an item.
pub(super) fn result_of(number: u32, item: &Item) -> NodeResult {
    // As an END it is no longer than a frame.
    let End { status, message } = item.failure.clone().map(End::from).unwrap_or_default();
    let (path, kind, size) = match number {
        0 => (item.path.as_bytes().to_vec(), kind_to_wire(item.kind), item.size),
        _ => (Vec::new(), 0, 0),
    };
    let digest = item.proof.filter(|_| number > 0).map(|proof| proof.to_vec()).unwrap_or_default();
    NodeResult { file: number, status, message, action: item.action as u32, digest, path, kind, size }
}

/// Keeps `path`, found in `dir`, under the same path in the backup directory.
pub(super) fn keep_aside(backup: &Backup, dir: &Dir, path: &RemotePath, move_it: bool) -> Result<()> {
    let Some((parent, name)) = path.split_last() else { return Ok(()) };
    let root = backup.root()?;
    if !parent.is_root() {
        root.make_dir(&parent, true)?;
    }
    let to = root.dir(&parent, Links::Refuse)?;
    dir.keep_aside(name, &to, name, move_it)
}
