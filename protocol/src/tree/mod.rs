//! Sends and receives a directory with all that is in it, as one pipelined operation: no round trip for a file.
//!
//! ```text
//! sender                                      receiver
//! NODE depth, name, size, mtime … ───────▶    compare with what is here
//!                                 ◀───────    ACCEPT, HAVE…   (content is wanted)
//!                                 ◀───────    PASS            (nothing more is needed up to here)
//! PIECE… PACK                     ───────▶    many small files at once: hash, compare, write
//! KEEP | BLOCK DATA … DONE        ───────▶    a large file, as in a transfer of its own
//!                                 ◀───────    AGAIN           (damaged)
//!                                 ◀───────    NODE_RESULT     (verified, durable, under its name)
//! WALKED                          ───────▶    delete, directories' modes and times
//! ```
//!
//! Each half is one long-lived blocking task and one async loop that moves messages between it and the
//! connection. Memory is bounded by the windows below, by depth, and by the largest single directory.
//!
//! # Layout
//! - `descent`: the order in which names may come, at the receiver
//! - `dirs`: directories held open, at both ends
//! - `send`, `source`, `outgoing`, `answers`, `pack`, `large`: the sending half: the loop, what is sent next, what is
//!   under way, what the receiver says of it, small files, large ones
//! - `receive`, `landing`, `decide`, `decide_file`, `content`, `turns`, `commit`, `extras`, `finish`: the receiving
//!   half: the loop, what comes, what to do with a node, content, order, durability, what the source does not have
//! - `compare`: two trees held against each other, and nothing moved

mod answers;
mod commit;
mod compare;
mod content;
mod decide;
mod decide_file;
mod descent;
mod dirs;
mod extras;
mod finish;
mod landing;
mod large;
mod outgoing;
mod pack;
mod receive;
mod send;
mod source;
mod turns;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub use compare::{CompareTree, compare_tree};
pub use descent::Descent;
pub use receive::{Backup, OpenPlace, Place, ReceiveTree, receive_tree};
pub use send::{SendTree, Unheard, send_tree};

use crate::digest::Hash;
use crate::error::{Error, Failure, Result, Status};
use crate::fs::{Kind, Mtime};
use crate::path::RemotePath;
use crate::transfer::Meter;
use crate::wire::message::Node;

/// Nodes that a sender may have sent without an answer.
pub const MAX_LISTED: usize = 4096;
/// Files whose content a sender may have sent without a result.
pub const MAX_SENT: usize = 4096;
/// Files in one PACK.
pub const MAX_PIECES: usize = 1024;

/// What became of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Action {
    /// Its content was compared and is equal.
    Equal = 0,
    /// It is new.
    Created = 1,
    /// Something of its name was replaced.
    Replaced = 2,
    /// Only its mode or time was changed.
    Meta = 3,
    /// The source does not have it, and it was removed.
    Deleted = 4,
    /// It exists and was not to be replaced.
    Skipped = 5,
}

impl Action {
    /// The action with this number on the wire.
    pub fn from_wire(code: u32) -> Result<Self> {
        Ok(match code {
            0 => Action::Equal,
            1 => Action::Created,
            2 => Action::Replaced,
            3 => Action::Meta,
            4 => Action::Deleted,
            5 => Action::Skipped,
            _ => return Err(Error::protocol(format!("unknown action {code}"))),
        })
    }
}

/// What became of one name of a tree. Those that are simply equal by size and time are only counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Beneath the tree.
    pub path: RemotePath,
    /// What it is at the source; of what was deleted, what it was.
    pub kind: Kind,
    /// What was done, or was to be done where there is a failure.
    pub action: Action,
    /// Bytes; 0 where it is no file.
    pub size: u64,
    /// Modification time at the source.
    pub mtime: Mtime,
    /// Proof of the content, the same at both ends.
    pub proof: Option<Hash>,
    /// Plain digest of the whole file, where it was asked for.
    pub whole: Option<Hash>,
    /// Bytes that were there already.
    pub kept: u64,
    /// The source grew; this is the prefix that was declared.
    pub grew: bool,
    /// Why it was not done.
    pub failure: Option<Failure>,
    /// The failure is one of this end.
    pub here: bool,
}

impl Item {
    /// An item about this name, nothing else known.
    pub fn new(path: RemotePath, kind: Kind, action: Action) -> Self {
        let mtime = Mtime { secs: 0, nanos: 0 };
        let (proof, whole, failure) = (None, None, None);
        Self { path, kind, action, size: 0, mtime, proof, whole, kept: 0, grew: false, failure, here: false }
    }
}

/// Told of each item, from another thread, in the order of the tree.
pub type OnItem = Arc<dyn Fn(&Item) + Send + Sync>;

/// What a tree operation that did not fail as a whole has done besides its items.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TreeDone {
    /// Files that were equal by size and time.
    pub equal: u64,
    /// Names that failed.
    pub failed: u64,
}

/// Position of a running tree, read by whoever shows progress.
#[derive(Debug, Default)]
pub struct TreeMeter {
    bytes: Arc<Meter>,
    bytes_total: AtomicU64,
    files_total: AtomicU64,
    files_done: AtomicU64,
    complete: AtomicBool,
    current: Mutex<Vec<u8>>,
}

impl TreeMeter {
    /// Files found so far.
    pub fn files_total(&self) -> u64 {
        self.files_total.load(Ordering::Relaxed)
    }

    /// Bytes of the files found so far.
    pub fn bytes_total(&self) -> u64 {
        self.bytes_total.load(Ordering::Relaxed)
    }

    /// Files whose fate is decided.
    pub fn files_done(&self) -> u64 {
        self.files_done.load(Ordering::Relaxed)
    }

    /// Bytes that are verified, or sent, or need not travel.
    pub fn bytes_done(&self) -> u64 {
        self.bytes.done()
    }

    /// True once the totals are final.
    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Relaxed)
    }

    /// Path of the file that is on its way, beneath the tree.
    pub fn current(&self) -> Vec<u8> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The bytes alone.
    pub fn bytes(&self) -> Arc<Meter> {
        Arc::clone(&self.bytes)
    }

    /// Begins again, as after a lost connection.
    pub fn begin(&self) {
        self.bytes.begin(None);
        for counter in [&self.bytes_total, &self.files_total, &self.files_done] {
            counter.store(0, Ordering::Relaxed);
        }
        self.complete.store(false, Ordering::Relaxed);
    }

    /// A file was listed.
    pub fn found(&self, bytes: u64) {
        self.files_total.fetch_add(1, Ordering::Relaxed);
        self.bytes_total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The fate of a file is decided; so many bytes of it are not counted yet.
    pub fn decided(&self, rest: u64) {
        self.files_done.fetch_add(1, Ordering::Relaxed);
        self.bytes.keep(rest);
    }

    /// Everything was listed.
    pub fn listed(&self) {
        self.complete.store(true, Ordering::Relaxed);
    }

    fn works_on(&self, path: &RemotePath) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.clear();
        current.extend_from_slice(path.as_bytes());
    }
}

/// Whether an error is one of the whole operation, or comes of its end: nobody may be told of it as one of the name
/// that was worked on, which the next attempt would find to be in order.
fn ends_it(error: &Error) -> bool {
    matches!(error, Error::Connection(_) | Error::Protocol(_)) || error.status() == Status::Cancelled
}

/// The kind that a number on the wire means; special files have none.
fn kind_from_wire(code: u32) -> Option<Kind> {
    match code {
        1 => Some(Kind::File),
        2 => Some(Kind::Dir),
        3 => Some(Kind::Symlink),
        _ => None,
    }
}

fn kind_to_wire(kind: Kind) -> u32 {
    match kind {
        Kind::File => 1,
        Kind::Dir => 2,
        Kind::Symlink => 3,
        Kind::Other => 4,
    }
}

/// Modification time that a node declares; [`Descent`] has checked it.
fn mtime_of(node: &Node) -> Mtime {
    Mtime { secs: node.mtime, nanos: node.mtime_nanos }
}
