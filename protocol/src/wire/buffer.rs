//! Buffers for blocks: reused, bounded over the whole process, given back when transfers end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use memmap2::MmapMut;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::frame::BLOCK_LEN;

/// Room before the content of a block, in which a sender writes the frames that precede it.
pub const HEADROOM: usize = 160;
/// Buffers that all transfers of a process share, beyond the one that each has to itself.
const SHARED: usize = 64;
/// Full-size buffers kept for reuse while any transfer runs.
const IDLE: usize = 16;

static POOL: Mutex<Pool> = Mutex::new(Pool { idle: Vec::new(), leases: 0 });
static COMMON: std::sync::LazyLock<Arc<Semaphore>> =
    std::sync::LazyLock::new(|| Arc::new(Semaphore::new(SHARED)));

struct Pool {
    idle: Vec<Memory>,
    /// Transfers that run.
    leases: usize,
}

/// Held by a running transfer: while there is one, buffers are kept for reuse.
#[derive(Debug)]
pub struct Lease(());

impl Default for Lease {
    fn default() -> Self {
        pool().leases += 1;
        Self(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut pool = pool();
        pool.leases -= 1;
        if pool.leases == 0 {
            pool.idle = Vec::new();
        }
    }
}

/// Memory of a block or a buffer. Large ones are mapped, so that the system has them back as soon as they are
/// dropped; from malloc they would stay in its arenas, one for each thread that once served a client.
#[derive(Debug)]
pub(super) enum Memory {
    Mapped(MmapMut),
    Heap(Vec<u8>),
}

/// Smaller blocks are not worth a mapping of their own, in bytes.
const MAPPED_FROM: usize = 64 << 10;

impl Memory {
    pub(super) fn new(len: usize) -> Self {
        let mapped = if len >= MAPPED_FROM { MmapMut::map_anon(len).ok() } else { None };
        mapped.map_or_else(|| Memory::Heap(vec![0; len]), Memory::Mapped)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Memory::Mapped(bytes) => bytes,
            Memory::Heap(bytes) => bytes,
        }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Memory::Mapped(bytes) => bytes,
            Memory::Heap(bytes) => bytes,
        }
    }
}

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right of one transfer to hold blocks: one of its own, more while the process has some to spare.
/// So no transfer can starve another, however slow its peer.
#[derive(Debug)]
pub struct Quota {
    own: Arc<Semaphore>,
}

impl Default for Quota {
    fn default() -> Self {
        Self { own: Arc::new(Semaphore::new(1)) }
    }
}

impl Quota {
    /// A block for `len` content bytes (at most [`BLOCK_LEN`]); waits where none can be had.
    pub async fn block(&self, len: usize) -> Block {
        let permit = match self.at_once() {
            Some(permit) => Some(permit),
            // Closing never happens, so an error cannot come; without a permit the block is merely uncounted.
            None => Arc::clone(&self.own).acquire_owned().await.ok(),
        };
        Block::new(len, permit)
    }

    fn at_once(&self) -> Option<OwnedSemaphorePermit> {
        let own = Arc::clone(&self.own).try_acquire_owned().ok();
        own.or_else(|| Arc::clone(&COMMON).try_acquire_owned().ok())
    }
}

/// One block of content with room for frames before it.
#[derive(Debug)]
pub struct Block {
    memory: Memory,
    start: usize,
    end: usize,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Block {
    fn new(len: usize, permit: Option<OwnedSemaphorePermit>) -> Self {
        let len = len.min(BLOCK_LEN);
        let kept = if len == BLOCK_LEN { pool().idle.pop() } else { None };
        let memory = kept.unwrap_or_else(|| Memory::new(HEADROOM + len));
        Self { memory, start: HEADROOM, end: HEADROOM + len, _permit: permit }
    }

    /// The content.
    pub fn content(&self) -> &[u8] {
        self.memory.bytes().get(HEADROOM..self.end).unwrap_or_default()
    }

    /// The content, to be filled.
    pub fn content_mut(&mut self) -> &mut [u8] {
        self.memory.bytes_mut().get_mut(HEADROOM..self.end).unwrap_or_default()
    }

    /// Shortens the content to `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.end = self.end.min(HEADROOM + len);
    }

    /// Puts `frames` directly before the content and shares the whole; the content begins at the returned
    /// offset. `frames` longer than the headroom cannot happen: a BLOCK and a DATA header are below it.
    pub fn into_wire(mut self, frames: &[u8]) -> (Bytes, usize) {
        let start = HEADROOM.saturating_sub(frames.len());
        if let Some(room) = self.memory.bytes_mut().get_mut(start..HEADROOM) {
            room.copy_from_slice(frames.get(..room.len()).unwrap_or_default());
        }
        self.start = start;
        (Bytes::from_owner(self), HEADROOM - start)
    }

    /// Shares the content alone.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        self.memory.bytes().get(self.start..self.end).unwrap_or_default()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.memory.bytes().len() == HEADROOM + BLOCK_LEN {
            let mut pool = pool();
            if pool.leases > 0 && pool.idle.len() < IDLE {
                pool.idle.push(std::mem::replace(&mut self.memory, Memory::Heap(Vec::new())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_transfer_always_has_a_block_of_its_own() {
        let greedy = Quota::default();
        let mut held = Vec::new();
        while let Some(permit) = greedy.at_once() {
            held.push(permit);
        }
        assert!(held.len() > SHARED / 2, "{}", held.len());
        let modest = Quota::default();
        let block = modest.block(10).await;
        assert_eq!(block.content().len(), 10);
    }

    #[tokio::test]
    async fn frames_stand_directly_before_the_content() {
        let mut block = Quota::default().block(4).await;
        block.content_mut().copy_from_slice(b"body");
        let (wire, at) = block.into_wire(b"head");
        assert_eq!(&wire[..], b"headbody");
        assert_eq!(&wire[at..], b"body");
    }
}
