//! What every sender of content does with a block: read it, hash it, frame it, queue it, at the rate that is allowed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use tokio::runtime::Handle;

use super::{FileKey, Meter, SharedDigests, Small, Throttle, changed, interrupted};
use crate::digest::{Algorithm, Hash, Lanes};
use crate::error::{Error, Result, Status};
use crate::fs::Meta;
use crate::wire::buffer::{Block, Quota};
use crate::wire::frame::{Header, Kind};
use crate::wire::message::Block as BlockMessage;
use crate::wire::{BLOCK_LEN, Message, Sender};

/// The way of content from a blocking task to the connection.
pub(crate) struct Outlet {
    op: u32,
    pub(crate) algorithm: Algorithm,
    pub(crate) lanes: Lanes,
    pub(crate) tx: Sender,
    pub(crate) meter: Arc<Meter>,
    quota: Quota,
    runtime: Handle,
    throttle: Throttle,
    pub(crate) shared: Option<Arc<SharedDigests>>,
}

impl Outlet {
    /// For operation `op`; `rate` is bytes a second. Called on a runtime.
    pub(crate) fn new(
        op: u32,
        algorithm: Algorithm,
        tx: Sender,
        meter: Arc<Meter>,
        rate: Option<u64>,
        shared: Option<Arc<SharedDigests>>,
    ) -> Self {
        Self {
            op,
            algorithm,
            lanes: Lanes::default(),
            tx,
            meter,
            quota: Quota::default(),
            runtime: Handle::current(),
            throttle: Throttle::new(rate),
            shared,
        }
    }

    /// Room for so many bytes of content; waits for it.
    pub(crate) fn room(&self, len: usize) -> Block {
        self.runtime.block_on(self.quota.block(len))
    }

    /// Reads block `number` of a file of `size` bytes.
    pub(crate) fn read_block(&self, file: &File, number: u64, size: u64) -> Result<Block> {
        let start = number * BLOCK_LEN as u64;
        let len = size.saturating_sub(start).min(BLOCK_LEN as u64) as usize;
        let mut block = self.room(len);
        match file.read_exact_at(block.content_mut(), start) {
            Ok(()) => Ok(block),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(Error::local(Status::Changed, "the file shrank while it was read"))
            }
            Err(error) => Err(Error::io("read the file", &error)),
        }
    }

    /// Digest of a block; `alone` where it is the whole file.
    pub(crate) fn digest(&self, content: &[u8], alone: bool) -> Hash {
        self.tx.activity().moved();
        self.hash(content, alone)
    }

    /// Under which digests of this open file are shared with other senders; `meta` was read before any content.
    pub(crate) fn key(&self, meta: &Meta) -> Option<FileKey> {
        self.shared.is_some().then(|| FileKey::new(meta, self.algorithm))
    }

    /// As [`Outlet::digest`] for block `number` of a file, of which the receiver `had` this digest: hashed only where
    /// nobody else has done it, and always where it is equal, so that the block may be kept.
    pub(crate) fn shared_digest(
        &self,
        file: Option<&FileKey>,
        number: u64,
        had: Option<&[u8]>,
        content: &[u8],
        alone: bool,
    ) -> Hash {
        self.tx.activity().moved();
        match (&self.shared, file) {
            (Some(shared), Some(file)) => shared.block(file, number, had, || self.hash(content, alone)),
            _ => self.hash(content, alone),
        }
    }

    /// As [`Outlet::digest`] for a block that was sent before. Always hashed: a shared digest that is another says that
    /// the file changed.
    pub(crate) fn digest_again(
        &self,
        file: Option<&FileKey>,
        number: u64,
        block: &Block,
        alone: bool,
    ) -> Result<Hash> {
        let digest = self.digest(block.content(), alone);
        if self.agrees(file, number, &digest) { Ok(digest) } else { Err(changed()) }
    }

    /// Whether nobody shares another digest of this block; see [`SharedDigests::agrees`].
    pub(crate) fn agrees(&self, file: Option<&FileKey>, number: u64, digest: &Hash) -> bool {
        match (&self.shared, file) {
            (Some(shared), Some(file)) => shared.agrees(file, number, digest),
            _ => true,
        }
    }

    /// Digests of whole small files, hashed side by side, of those with a key only where nobody else has done it.
    pub(crate) fn pieces(&self, pieces: &[Small<'_>]) -> Vec<Hash> {
        self.tx.activity().moved();
        match &self.shared {
            Some(shared) => shared.pieces(self.algorithm, &self.lanes, pieces),
            None => {
                let pieces: Vec<&[u8]> = pieces.iter().map(|piece| piece.content).collect();
                self.algorithm.pieces(&self.lanes, &pieces)
            }
        }
    }

    /// An error where nobody waits for what is done here. That the connection is lost is for the async half to see: a
    /// receiver that has said its last word may close it.
    pub(crate) fn still_wanted(&self) -> Result<()> {
        if self.meter.abandoned.load(Ordering::Relaxed) { Err(interrupted()) } else { Ok(()) }
    }

    fn hash(&self, content: &[u8], alone: bool) -> Hash {
        if let Some(shared) = &self.shared {
            shared.count(content.len());
        }
        self.algorithm.block(&self.lanes, content, alone)
    }

    /// Sends one message.
    pub(crate) fn send(&self, message: impl Into<Message>) -> Result<()> {
        self.tx.blocking_send(self.op, message)
    }

    /// Sends BLOCK and DATA in one piece; gives the content back, shared.
    pub(crate) fn emit(&mut self, announced: BlockMessage, block: Block) -> Result<Bytes> {
        let mut frames = BytesMut::with_capacity(128);
        Message::from(announced).encode(self.op, &mut frames);
        self.pass(Kind::Data, frames, block)
    }

    /// Sends `frames` and then PACK.
    pub(crate) fn emit_pack(&mut self, frames: BytesMut, block: Block) -> Result<()> {
        self.tx.blocking_send_bytes(frames.freeze())?;
        self.pass(Kind::Pack, BytesMut::new(), block).map(drop)
    }

    fn pass(&mut self, kind: Kind, mut frames: BytesMut, block: Block) -> Result<Bytes> {
        let len = block.content().len();
        Header { len: len as u32, kind, op: self.op }.encode(&mut frames);
        let (wire, at) = block.into_wire(&frames);
        let content = wire.slice(at..);
        self.throttle.pass(len, &self.tx, &self.meter);
        self.tx.blocking_send_bytes(wire)?;
        Ok(content)
    }
}
