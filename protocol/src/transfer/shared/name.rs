//! The plain digest of a whole file for all senders: one thread a file reads it at its own speed, so that no sender
//! waits for the network of another.
//!
//! The thread's reading is another one than the senders'. So it computes the proof of what it reads besides, and a
//! sender takes the name only where that is its own proof, which its receiver compares.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{FileKey, NAME, PROOF, Part, SharedDigests};
use crate::digest::{Hash, Lanes, Root, Whole, blocks_of};
use crate::error::{Error, Result};
use crate::wire::BLOCK_LEN;

/// The thread says how far it is after so many bytes.
const STEP: u64 = 4 << 20;
/// A sender runs at most so many bytes ahead of the thread. So it need not wait long at the end, with nothing to show
/// for it.
const AHEAD: u64 = 4 * STEP;
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
    Named(Named),
    /// It could not be read: each sender sees to itself.
    Failed,
}

/// What came out of one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: Hash,
    pub(super) proof: Hash,
}

/// One sender's claim to the plain digest of a file.
pub(crate) struct SharedName {
    store: Arc<SharedDigests>,
    key: FileKey,
    progress: Progress,
}

enum Progress {
    /// It was known already.
    Known(Named),
    /// It is being computed.
    Awaited(Awaited),
}

/// Counted, so that the thread ends where nobody wants its result.
struct Awaited(Arc<Naming>);

impl SharedDigests {
    /// The plain digest of this file: computed already, or by a thread that runs, or by one that is started now.
    pub(crate) fn name(self: &Arc<Self>, file: &File, key: &FileKey) -> Result<SharedName> {
        Ok(SharedName { store: Arc::clone(self), key: *key, progress: self.begin(file, key)? })
    }

    fn begin(self: &Arc<Self>, file: &File, key: &FileKey) -> Result<Progress> {
        let mut files = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(naming) = files.get(key) {
            naming.state().wanted += 1;
            return Ok(Progress::Awaited(Awaited(Arc::clone(naming))));
        }
        if let Some(named) = self.named_before(key) {
            return Ok(Progress::Known(named));
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
        Ok(Progress::Awaited(Awaited(naming)))
    }

    /// What was kept of a file that nobody names now, so that both digests are of the same reading.
    fn named_before(&self, key: &FileKey) -> Option<Named> {
        let get = |number| self.digests.get(&Part { file: *key, number });
        Some(Named { name: get(NAME)?, proof: get(PROOF)? })
    }

    /// Keeps what is known of a file; by the one who names it.
    pub(super) fn keep_named(&self, key: &FileKey, named: Named) {
        for (number, digest) in [(NAME, named.name), (PROOF, named.proof)] {
            self.digests.insert(Part { file: *key, number }, digest);
        }
    }
}

impl SharedName {
    /// Waits while the thread is far behind a sender that has come to byte `at`. `look` is called now and then; its
    /// error ends the waiting.
    pub(crate) fn keep_pace(&self, at: u64, look: impl FnMut() -> Result<()>) -> Result<()> {
        match &self.progress {
            Progress::Known(_) => Ok(()),
            Progress::Awaited(Awaited(naming)) => {
                naming.wait_until(look, |state| state.at.saturating_add(AHEAD) >= at).map(drop)
            }
        }
    }

    /// Waits for the name of what `proof` proves; `None` where it cannot be had. A name of anything else says that the
    /// file changed, and all that is known of it is forgotten.
    pub(crate) fn finish(&self, proof: &Hash, look: impl FnMut() -> Result<()>) -> Result<Option<Hash>> {
        let named = match &self.progress {
            Progress::Known(named) => *named,
            Progress::Awaited(Awaited(naming)) => match naming.wait_until(look, |_| false)? {
                Phase::Named(named) => named,
                Phase::Reading | Phase::Failed => return Ok(None),
            },
        };
        if named.proof == *proof {
            return Ok(Some(named.name));
        }
        self.store.forget(&self.key);
        Ok(None)
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
        if let Some(named) = self.read(file) {
            // Known before the thread is gone, so that no sender finds neither.
            self.store.keep_named(&self.key, named);
            self.naming.state().phase = Phase::Named(named);
        }
    }

    /// `None` where it fails, and where nobody wants it any more.
    fn read(&self, file: &File) -> Option<Named> {
        let FileKey { size, algorithm, .. } = self.key;
        let alone = blocks_of(size) == 1;
        let lanes = Lanes::default();
        let (mut whole, mut root) = (Whole::new(algorithm), Root::new(algorithm));
        let mut buffer = vec![0; BLOCK_LEN];
        let mut at = 0;
        while at < size {
            let room = buffer.get_mut(..(size - at).min(BLOCK_LEN as u64) as usize)?;
            file.read_exact_at(room, at).ok()?;
            whole.update(room);
            // Hashed here and not taken from the senders: it must be of these bytes.
            root.add(&algorithm.block(&lanes, room, alone));
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
        // That the file changed meanwhile need not be asked: then nobody's proof is this one.
        Some(Named { name: whole.finish(), proof: root.finish() })
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
