//! What waits for its turn: everything is handed over in the order of the tree, many things at a time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Item;
use super::commit::{Step, What};
use crate::digest::Hash;
use crate::fs::{Meta, Mtime};
use crate::path::RemotePath;
use crate::transfer::Landing;

/// Files of a batch that is made durable at once.
pub(super) const BATCH_FILES: usize = 1024;
/// Bytes of them.
const BATCH_BYTES: u64 = 64 << 20;
/// Directories of them, each of which is held open.
const BATCH_DIRS: usize = 128;
/// Longest time that a complete file waits for others.
const BATCH_TIME: Duration = Duration::from_secs(1);

/// What waits for its turn.
pub(super) enum Pending {
    /// Only the turn.
    Step(Box<Step>),
    /// A file whose content is to come.
    File(Box<Arriving>),
}

/// A file whose content is to come.
pub(super) struct Arriving {
    pub(super) number: u32,
    pub(super) item: Item,
    /// Final mode of a small file.
    pub(super) mode: u32,
    pub(super) mtime: Option<Mtime>,
    /// The file that stood under its name.
    pub(super) existing: Option<Meta>,
    /// Digest of a small file that stands there and was offered.
    pub(super) offered: Option<Hash>,
    /// It replaces something, which the account may not do.
    pub(super) forbidden: bool,
    /// A directory stands there that has to go first.
    pub(super) late: bool,
    pub(super) content: Content,
    /// Digests of a large file that were offered.
    pub(super) blocks: u64,
    pub(super) damaged: u32,
}

pub(super) enum Content {
    Awaited,
    Large(Box<Landing>),
    Ready(What),
}

impl Pending {
    fn is_ready(&self) -> bool {
        match self {
            Pending::Step(_) => true,
            Pending::File(arriving) => matches!(arriving.content, Content::Ready(_)),
        }
    }
}

/// The queue. Every entry has the number of the node at which it was made, so files are found quickly.
#[derive(Default)]
pub(super) struct Turns(VecDeque<(u32, Pending)>);

impl Turns {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn push(&mut self, number: u32, pending: Pending) {
        self.0.push_back((number, pending));
    }

    /// The next thing, if it is ready.
    pub(super) fn next(&mut self) -> Option<Pending> {
        let ready = self.0.front().is_some_and(|(_, pending)| pending.is_ready());
        if ready { self.0.pop_front().map(|(_, pending)| pending) } else { None }
    }

    /// The file with this number that was accepted and has not had its turn.
    pub(super) fn find(&mut self, number: u32) -> Option<&mut Arriving> {
        let first = self.0.partition_point(|(at, _)| *at < number);
        self.0.range_mut(first..).take_while(|(at, _)| *at == number).find_map(|(_, pending)| match pending {
            Pending::File(arriving) => Some(&mut **arriving),
            Pending::Step(_) => None,
        })
    }
}

/// What is made durable at once.
#[derive(Default)]
pub(super) struct Batch {
    steps: Vec<Step>,
    files: usize,
    bytes: u64,
    dirs: usize,
    last_dir: RemotePath,
    since: Option<Instant>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub(super) fn into_steps(self) -> Vec<Step> {
        self.steps
    }

    pub(super) fn add(&mut self, step: Step) {
        self.since.get_or_insert_with(Instant::now);
        if let What::File(_) = step.what {
            self.files += 1;
            self.bytes += step.item.size;
            let parent = step.item.path.split_last().unwrap_or_default().0;
            if self.dirs == 0 || self.last_dir != parent {
                self.dirs += 1;
                self.last_dir = parent;
            }
        }
        self.steps.push(step);
    }

    pub(super) fn is_full(&self) -> bool {
        self.files >= BATCH_FILES
            || self.bytes >= BATCH_BYTES
            || self.dirs >= BATCH_DIRS
            || self.steps.len() >= 4 * BATCH_FILES
            || self.since.is_some_and(|since| since.elapsed() >= BATCH_TIME)
    }
}
