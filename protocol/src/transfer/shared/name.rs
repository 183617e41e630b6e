//! The plain digest of a whole file for all senders: one thread a file reads it at its own speed, so that no sender
//! waits for the network of another.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{FileKey, NAME, Part, SharedDigests};
use crate::digest::{Hash, Whole};
use crate::error::{Error, Result};
use crate::fs::Meta;

/// The thread says how far it is after so many bytes.
const STEP: u64 = 4 << 20;
/// A sender runs at most so many bytes ahead of the thread. So it need not wait long at the end, with nothing to show
/// for it.
const AHEAD: u64 = 4 * STEP;
/// Bytes that are read at once; they stay in the processor's cache.
const READ: usize = 256 << 10;
/// Whether a sender is still of use is looked at so often while it waits.
const LOOK: Duration = Duration::from_millis(100);

/// A file that is being read.
#[derive(Debug)]
pub(super) struct Naming {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug)]
struct State {
    /// Bytes hashed.
    at: u64,
    /// Senders that want the result.
    wanted: usize,
    phase: Phase,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Reading,
    Named(Hash),
    /// It could not be read, or changed meanwhile: each sender sees to itself.
    Failed,
}

/// One sender's claim to the plain digest of a file.
pub(crate) enum SharedName {
    /// It was known already.
    Known(Hash),
    /// It is being computed.
    Awaited(Awaited),
}

/// Counted, so that the thread ends where nobody wants its result.
pub(crate) struct Awaited(Arc<Naming>);

impl SharedDigests {
    /// The plain digest of this file: computed already, or by a thread that runs, or by one that is started now.
    pub(crate) fn name(self: &Arc<Self>, file: &File, key: &FileKey) -> Result<SharedName> {
        let mut files = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(naming) = files.get(key) {
            naming.state().wanted += 1;
            return Ok(SharedName::Awaited(Awaited(Arc::clone(naming))));
        }
        if let Some(name) = self.digests.get(&Part { file: *key, number: NAME }) {
            return Ok(SharedName::Known(name));
        }
        let file = file.try_clone().map_err(|error| Error::io("share the file", &error))?;
        let state = State { at: 0, wanted: 1, phase: Phase::Reading };
        let naming = Arc::new(Naming { state: Mutex::new(state), moved: Condvar::new() });
        let work = Work { store: Arc::clone(self), key: *key, naming: Arc::clone(&naming) };
        files.insert(*key, Arc::clone(&naming));
        // Where no thread can be started, `work` is dropped here, which takes the file out again.
        drop(files);
        std::thread::Builder::new()
            .name("ft-name".into())
            .spawn(move || work.run(&file))
            .map_err(|error| Error::io("start the hashing thread", &error))?;
        Ok(SharedName::Awaited(Awaited(naming)))
    }
}

impl SharedName {
    /// Waits while the thread is far behind a sender that has come to byte `at`. `look` is called now and then; its
    /// error ends the waiting.
    pub(crate) fn keep_pace(&self, at: u64, look: impl FnMut() -> Result<()>) -> Result<()> {
        match self {
            SharedName::Known(_) => Ok(()),
            SharedName::Awaited(Awaited(naming)) => {
                naming.wait_until(look, |state| state.at.saturating_add(AHEAD) >= at).map(drop)
            }
        }
    }

    /// Waits for the result; `None` where it cannot be had.
    pub(crate) fn finish(&self, look: impl FnMut() -> Result<()>) -> Result<Option<Hash>> {
        match self {
            SharedName::Known(name) => Ok(Some(*name)),
            SharedName::Awaited(Awaited(naming)) => match naming.wait_until(look, |_| false)? {
                Phase::Named(name) => Ok(Some(name)),
                Phase::Reading | Phase::Failed => Ok(None),
            },
        }
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.0.state().wanted -= 1;
    }
}

impl Naming {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the thread has ended, or `enough` is true.
    fn wait_until(
        &self,
        mut look: impl FnMut() -> Result<()>,
        enough: impl Fn(&State) -> bool,
    ) -> Result<Phase> {
        let mut state = self.state();
        while matches!(state.phase, Phase::Reading) && !enough(&state) {
            state = self.moved.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
            look()?;
        }
        Ok(state.phase)
    }
}

/// What the thread does. However it ends, nobody goes on waiting for it.
struct Work {
    store: Arc<SharedDigests>,
    key: FileKey,
    naming: Arc<Naming>,
}

impl Work {
    fn run(self, file: &File) {
        if let Some(name) = self.read(file) {
            // Known before the thread is gone, so that no sender finds neither.
            self.store.digests.insert(Part { file: self.key, number: NAME }, name);
            self.naming.state().phase = Phase::Named(name);
        }
    }

    /// `None` where it fails, and where nobody wants it any more.
    fn read(&self, file: &File) -> Option<Hash> {
        let size = self.key.size();
        let mut whole = Whole::new(self.key.algorithm);
        let mut buffer = vec![0; READ];
        let mut at = 0;
        while at < size {
            let room = buffer.get_mut(..(size - at).min(READ as u64) as usize)?;
            file.read_exact_at(room, at).ok()?;
            whole.update(room);
            self.store.named.fetch_add(room.len() as u64, Ordering::Relaxed);
            at += room.len() as u64;
            if at.is_multiple_of(STEP) {
                self.naming.state().at = at;
                self.naming.moved.notify_all();
                if self.is_unwanted() {
                    return None;
                }
            }
        }
        // Senders compare times before they take the name, so it must not be of anything later.
        let unchanged = FileKey::new(&Meta::of(file).ok()?, self.key.algorithm) == self.key;
        unchanged.then(|| whole.finish())
    }

    /// Nobody wants it; from now on nobody joins either.
    fn is_unwanted(&self) -> bool {
        let mut files = self.store.naming.lock().unwrap_or_else(PoisonError::into_inner);
        let unwanted = self.naming.state().wanted == 0;
        if unwanted {
            files.remove(&self.key);
        }
        unwanted
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let mut files = self.store.naming.lock().unwrap_or_else(PoisonError::into_inner);
        if files.get(&self.key).is_some_and(|naming| Arc::ptr_eq(naming, &self.naming)) {
            files.remove(&self.key);
        }
        drop(files);
        let mut state = self.naming.state();
        if matches!(state.phase, Phase::Reading) {
            state.phase = Phase::Failed;
        }
        drop(state);
        self.naming.moved.notify_all();
    }
}
