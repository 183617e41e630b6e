//! Digests of source files that many senders share, so that a file is hashed once however many hosts receive it.
//!
//! Every sender still reads the file for itself (the page cache serves it). Whoever comes to a block first hashes
//! the bytes that it has just read, the others take the digest: they wait at most for the hashing of that one block,
//! never for another host. The plain digest of a whole file is computed by one thread a file (`name`).
//!
//! # Why a shared digest cannot make a wrong file
//! A file's times do not tell all of its contents apart: stores through a mapping of it (mmap(2)) change them late or
//! not at all, and so may two writes within one step of the kernel's clock. So nothing rests on a shared digest alone:
//! - What is sent, the receiver hashes and compares. Where the shared digest does not belong to the bytes, it asks for
//!   the block again; what is sent again is always hashed anew, and a digest that differs then says that the file
//!   changed ([`SharedDigests::agrees`]).
//! - What the receiver has is kept (KEEP) only by a digest of the bytes that this sender has just read: where the shared
//!   one is equal to the receiver's, they are hashed all the same. So is what a dry run tells.
//! - A plain digest is taken only for the proof that came out of the same reading ([`name`]).
//!
//! Times, which are part of [`FileKey`], only make it rare that a digest does not belong. What is found not to is
//! forgotten with all of its file, so that the next attempt hashes anew.

mod name;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quick_cache::sync::{Cache, DefaultLifecycle, GuardResult};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, UnitWeighter};

pub(crate) use name::SharedName;

use self::name::Naming;
use crate::digest::{Algorithm, Hash, Lanes};
use crate::fs::Meta;

/// Most digests that are kept: those of 28 GiB in large files, or of as many small files. What was not used for long
/// goes first, and is hashed again where somebody still needs it. Less than half of what [`SharedDigests::MAX_MEMORY`]
/// has room for, because tables grow by doubling: the rest is for what is being hashed.
const MAX_DIGESTS: u64 = 28_672;
/// Parts of the store with a lock each.
const SHARDS: usize = 16;
/// Share of the room for what more than one sender has needed. The rest is for how far the fastest is ahead of the
/// others.
const NEEDED_AGAIN: f64 = 0.5;

/// Digests of source files, shared by all senders that hold a clone of one `Arc` of it.
///
/// Of use where one process sends the same files to many hosts; a single sender gains nothing.
#[derive(Debug)]
pub struct SharedDigests {
    digests: Cache<Part, Hash>,
    /// Files whose plain digests are being computed.
    naming: Mutex<HashMap<FileKey, Arc<Naming>>>,
    hashed: AtomicU64,
    named: AtomicU64,
}

/// One content of one file, as far as it can be told: its identity with its times, and what is computed of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FileKey {
    dev: u64,
    ino: u64,
    size: u64,
    mtime: i64,
    ctime: i64,
    mtime_nanos: u32,
    ctime_nanos: u32,
    algorithm: Algorithm,
}

/// One block of a file, or the whole ([`NAME`], [`PROOF`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Part {
    file: FileKey,
    number: u64,
}

/// Where the plain digest of the whole file is kept. No file has so many blocks.
const NAME: u64 = u64::MAX;
/// Where the proof is kept that came out of the same reading as [`NAME`].
const PROOF: u64 = u64::MAX - 1;

impl Default for SharedDigests {
    fn default() -> Self {
        let options = OptionsBuilder::new()
            .shards(SHARDS)
            .estimated_items_capacity(MAX_DIGESTS as usize)
            .weight_capacity(MAX_DIGESTS)
            .hot_allocation(NEEDED_AGAIN)
            .ghost_allocation(0.0)
            .build();
        // Options that lack nothing are never refused.
        let digests = options.map_or_else(
            |_| Cache::new(MAX_DIGESTS as usize),
            |options| {
                Cache::with_options(
                    options,
                    UnitWeighter,
                    DefaultHashBuilder::default(),
                    DefaultLifecycle::default(),
                )
            },
        );
        Self { digests, naming: Mutex::default(), hashed: AtomicU64::new(0), named: AtomicU64::new(0) }
    }
}

impl SharedDigests {
    /// Most bytes that the digests take, whatever is sent.
    pub const MAX_MEMORY: usize = 8 << 20;

    /// Bytes of content that were hashed for proofs by all senders together, also for what was sent again.
    pub fn hashed(&self) -> u64 {
        self.hashed.load(Ordering::Relaxed)
    }

    /// Bytes that were hashed for plain digests of whole files of more than one block.
    pub fn named(&self) -> u64 {
        self.named.load(Ordering::Relaxed)
    }

    /// Bytes of memory that the digests take: at most [`Self::MAX_MEMORY`].
    pub fn memory(&self) -> usize {
        self.digests.memory_used().total()
    }

    /// Digest of block `number`: shared, or else what `hash` computes, which is shared from then on. It is never equal
    /// to `had`, what the receiver has of the block, without `hash` saying so. Where `hash` panics the next one who
    /// waits for the block hashes it.
    pub(crate) fn block(
        &self,
        file: &FileKey,
        number: u64,
        had: Option<&[u8]>,
        hash: impl FnOnce() -> Hash,
    ) -> Hash {
        match self.digests.get_value_or_guard(&Part { file: *file, number }, None) {
            GuardResult::Value(digest) if had == Some(digest.as_bytes()) => {
                let own = hash();
                self.agrees(file, number, &own);
                own
            }
            GuardResult::Value(digest) => digest,
            GuardResult::Guard(claim) => {
                let digest = hash();
                // Where it is not kept, the next one hashes the block again.
                let _ = claim.insert(digest);
                digest
            }
            GuardResult::Timeout => hash(),
        }
    }

    /// Digests of whole small files: shared, or else hashed side by side. As with [`SharedDigests::block`] none is equal
    /// to what the receiver has without being of the bytes.
    pub(crate) fn pieces(&self, algorithm: Algorithm, lanes: &Lanes, pieces: &[Small<'_>]) -> Vec<Hash> {
        let mut digests = vec![None; pieces.len()];
        let (mut ours, mut claims) = (Vec::new(), Vec::new());
        for (piece, digest) in pieces.iter().zip(&mut digests) {
            let claim = match piece.file.map(|file| self.try_claim(file)) {
                Some(GuardResult::Value(shared)) if piece.had == Some(shared) => None,
                Some(GuardResult::Value(shared)) => {
                    *digest = Some(shared);
                    continue;
                }
                // Somebody hashes it. Nobody waits while it holds claims itself, or two could wait for each other.
                Some(GuardResult::Timeout) => continue,
                Some(GuardResult::Guard(claim)) => Some(claim),
                None => None,
            };
            ours.push(piece.content);
            claims.push((claim, piece.file, digest));
        }
        self.count(ours.iter().map(|data| data.len()).sum());
        for (hash, (claim, file, digest)) in algorithm.pieces(lanes, &ours).into_iter().zip(claims) {
            *digest = Some(hash);
            match (claim, file) {
                (Some(claim), _) => drop(claim.insert(hash)),
                (None, Some(file)) => drop(self.agrees(&file, 0, &hash)),
                (None, None) => {}
            }
        }
        let hash = |data: &[u8]| {
            self.count(data.len());
            algorithm.block(lanes, data, true)
        };
        let rest = pieces.iter().zip(digests).map(|(piece, digest)| match (digest, &piece.file) {
            (Some(digest), _) => digest,
            (None, Some(file)) => {
                let had = piece.had.as_ref().map(Hash::as_bytes);
                self.block(file, 0, had, || hash(piece.content))
            }
            (None, None) => hash(piece.content),
        });
        rest.collect()
    }

    /// Whether this digest, of bytes just read, is the one that is shared. Where it is not, the file changed without
    /// another time, and all that is known of it is forgotten.
    pub(crate) fn agrees(&self, file: &FileKey, number: u64, digest: &Hash) -> bool {
        let agrees = self.digests.peek(&Part { file: *file, number }).is_none_or(|shared| shared == *digest);
        if !agrees {
            self.forget(file);
        }
        agrees
    }

    /// The file is not any more what its digests say.
    pub(crate) fn forget(&self, file: &FileKey) {
        self.digests.retain(|part, _| part.file != *file);
    }

    /// So many bytes were hashed.
    pub(crate) fn count(&self, bytes: usize) {
        self.hashed.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn try_claim(&self, file: FileKey) -> Claimed<'_> {
        self.digests.get_value_or_guard(&Part { file, number: 0 }, Some(Duration::ZERO))
    }
}

/// A file of at most one block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Small<'a> {
    /// Where its digest is shared.
    pub(crate) file: Option<FileKey>,
    pub(crate) content: &'a [u8],
    /// Digest of what the receiver has.
    pub(crate) had: Option<Hash>,
}

type Claimed<'a> =
    GuardResult<'a, Part, Hash, UnitWeighter, DefaultHashBuilder, DefaultLifecycle<Part, Hash>>;

impl FileKey {
    /// Of an open file; what is hashed must be read after `meta` was.
    pub(crate) fn new(meta: &Meta, algorithm: Algorithm) -> Self {
        let Meta { dev, ino, size, mtime, ctime, .. } = *meta;
        Self {
            dev,
            ino,
            size,
            mtime: mtime.secs,
            ctime: ctime.secs,
            mtime_nanos: mtime.nanos,
            ctime_nanos: ctime.nanos,
            algorithm,
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod wrong_tests;
