//! The blocking half of a sender: reads, hashes and queues the blocks of one file.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::Receiver as Queue;
use tokio::sync::mpsc::error::TryRecvError;

use super::name::SourceNamer;
use super::outlet::Outlet;
use super::{FileKey, MAX_HAVE, SendJob, Sent, Source, changed, interrupted};
use crate::digest::{Algorithm, Hash, Root, blocks_of};
use crate::error::{Error, Result, Status};
use crate::fs::Meta;
use crate::wire::buffer::Block;
use crate::wire::message::{Block as BlockMessage, Done, FileResult, Keep};
use crate::wire::{BLOCK_LEN, Sender};

/// Kept blocks are reported at least this often, so that hashing a long prefix is seen as progress.
const KEEP_RUN: u64 = 64;
/// Blocks that are sent again, a block of the file: those damaged, and those behind them in a stream.
const MAX_RESENT_EACH: u64 = 16;

/// What the receiver says.
pub(super) enum Command {
    Accept(u64),
    Have(Bytes),
    Again(u64),
    Result(FileResult),
}

/// The blocking task, until all content and DONE are queued.
pub(super) struct Half {
    out: Outlet,
    commands: Queue<Command>,
    /// The plain digest of the whole file is wanted.
    whole: bool,
    namer: Option<SourceNamer>,
    /// Under which digests of the file are shared.
    key: Option<FileKey>,
    root: Root,
    /// Blocks that were sent again.
    resent: u64,
}

impl Half {
    pub(super) fn new(op: u32, job: &SendJob, tx: Sender, commands: Queue<Command>) -> Self {
        // A single block is its own proof and its own name.
        let alone = matches!(&job.source, Source::File { meta, .. } if meta.size <= BLOCK_LEN as u64);
        let whole = job.whole || job.algorithm == Algorithm::Sha256;
        Self {
            out: Outlet::new(op, job.algorithm, tx, Arc::clone(&job.meter), job.rate, job.shared.clone()),
            commands,
            whole: whole && !alone,
            namer: None,
            key: None,
            root: Root::new(job.algorithm),
            resent: 0,
        }
    }

    pub(super) fn run(mut self, source: Source) -> Result<Content> {
        match source {
            Source::File { file, meta } => {
                let grew = self.send_file(&file, &meta)?;
                self.finish(meta.size, grew, Some((file, meta)))
            }
            Source::Stream(mut input) => {
                let size = self.send_stream(&mut *input)?;
                self.finish(size, false, None)
            }
        }
    }

    fn send_file(&mut self, file: &File, meta: &Meta) -> Result<bool> {
        let blocks = blocks_of(meta.size);
        self.key = self.out.key(meta);
        if self.whole {
            self.namer = Some(SourceNamer::begin(&self.out, self.key.as_ref(), file)?);
        }
        let had = if blocks > 1 { self.await_accept(blocks)? } else { Vec::new() };
        let mut had = had.chunks_exact(self.out.algorithm.digest_len());
        let mut kept = Keep { file: 0, first: 0, count: 0 };
        for number in 0..blocks {
            self.serve_again(file, meta.size)?;
            let block = self.out.read_block(file, number, meta.size)?;
            let (key, had) = (self.key.as_ref(), had.next());
            let digest = self.out.shared_digest(key, number, had, block.content(), blocks == 1);
            self.root.add(&digest);
            if had == Some(digest.as_bytes()) {
                if kept.count == 0 {
                    kept.first = number;
                }
                kept.count += 1;
                self.out.meter.keep(block.content().len() as u64);
                self.name(number, || block.into_bytes())?;
                if kept.count == KEEP_RUN {
                    self.flush_kept(&mut kept)?;
                }
            } else {
                self.flush_kept(&mut kept)?;
                self.emit(number, digest, number + 1 == blocks, block)?;
            }
        }
        self.flush_kept(&mut kept)?;
        self.check_unchanged(file, meta)
    }

    /// Sends until the end of the input; one byte is read ahead, so that the last block is known as such.
    fn send_stream(&mut self, input: &mut dyn Read) -> Result<u64> {
        let mut ahead = None;
        let mut size = 0;
        if self.whole {
            self.namer = Some(SourceNamer::own(self.out.algorithm)?);
        }
        for number in 0.. {
            let mut block = self.out.room(BLOCK_LEN);
            let len = fill(input, ahead.take(), block.content_mut())?;
            block.truncate(len);
            if len == BLOCK_LEN {
                let mut byte = [0];
                ahead = (fill(input, None, &mut byte)? == 1).then_some(byte[0]);
            }
            if len == 0 {
                break;
            }
            let last = ahead.is_none();
            let digest = self.out.digest(block.content(), number == 0 && last);
            self.root.add(&digest);
            self.emit(number, digest, last, block)?;
            size += len as u64;
            if last {
                break;
            }
            match self.commands.try_recv() {
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Err(interrupted()),
                Ok(Command::Again(_)) => return Err(damaged_pipe()),
                Ok(_) => return Err(Error::protocol("only AGAIN may come while content flows")),
            }
        }
        Ok(size)
    }

    /// Sends DONE.
    fn finish(mut self, size: u64, grew: bool, file: Option<(File, Meta)>) -> Result<Content> {
        let single = self.root.blocks() <= 1;
        let root = std::mem::replace(&mut self.root, Root::new(self.out.algorithm));
        let proof = root.finish();
        let mut whole = single.then_some(proof);
        let mut namer = self.namer.take();
        let source = file.as_ref().map(|(file, _)| (file, size));
        if self.out.algorithm == Algorithm::Sha256 {
            // The receiver compares it before it commits. MD5 may go on meanwhile.
            if let Some(namer) = namer.take() {
                whole = Some(namer.finish(&self.out, source, &proof)?);
            }
        }
        let compared = match self.out.algorithm {
            Algorithm::Sha256 => whole.map(|hash| hash.to_vec()).unwrap_or_default(),
            _ => Vec::new(),
        };
        self.out.send(Done { file: 0, size, digest: proof.to_vec(), whole: compared, grew })?;
        if let Some(namer) = namer {
            whole = Some(namer.finish(&self.out, source, &proof)?);
        }
        Ok(Content { half: self, file, sent: Sent { size, proof, whole, grew, path: Vec::new() } })
    }

    /// Digests of the leading blocks that the receiver has.
    fn await_accept(&mut self, blocks: u64) -> Result<Vec<u8>> {
        let have = match self.commands.blocking_recv() {
            Some(Command::Accept(have)) if have <= blocks.min(MAX_HAVE) => have,
            Some(Command::Accept(_)) => {
                return Err(Error::protocol("ACCEPT of more blocks than the file has"));
            }
            Some(_) => return Err(Error::protocol("ACCEPT was due")),
            None => return Err(interrupted()),
        };
        let due = have as usize * self.out.algorithm.digest_len();
        let mut digests = Vec::new();
        while digests.len() < due {
            match self.commands.blocking_recv() {
                Some(Command::Have(more))
                    if !more.is_empty()
                        && more.len().is_multiple_of(self.out.algorithm.digest_len())
                        && more.len() <= due - digests.len() =>
                {
                    digests.extend_from_slice(&more);
                }
                Some(_) => return Err(Error::protocol("HAVE was due")),
                None => return Err(interrupted()),
            }
        }
        Ok(digests)
    }

    fn serve_again(&mut self, file: &File, size: u64) -> Result<()> {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Again(block)) => self.resend(file, size, block)?,
                Ok(_) => return Err(Error::protocol("only AGAIN may come while content flows")),
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(interrupted()),
            }
        }
    }

    fn resend(&mut self, file: &File, size: u64, number: u64) -> Result<()> {
        let blocks = blocks_of(size);
        if number >= blocks {
            return Err(Error::protocol(format!("AGAIN for block {number} of {blocks}")));
        }
        // Far more than damage explains: a receiver gives a block up after MAX_AGAIN times.
        self.resent += 1;
        if self.resent > MAX_RESENT_EACH * (blocks + 1) {
            return Err(Error::protocol("AGAIN without end"));
        }
        let block = self.out.read_block(file, number, size)?;
        let digest = self.out.digest_again(self.key.as_ref(), number, &block, blocks == 1)?;
        self.out.emit(
            BlockMessage { file: 0, block: number, digest: digest.to_vec(), last: number + 1 == blocks },
            block,
        )?;
        Ok(())
    }

    /// Sends a block for the first time.
    fn emit(&mut self, number: u64, digest: Hash, last: bool, block: Block) -> Result<()> {
        self.out.meter.moved(block.content().len() as u64);
        let announced = BlockMessage { file: 0, block: number, digest: digest.to_vec(), last };
        let sent = self.out.emit(announced, block)?;
        self.name(number, || sent)
    }

    fn name(&mut self, number: u64, data: impl FnOnce() -> Bytes) -> Result<()> {
        match &mut self.namer {
            Some(namer) => namer.offer(&self.out, number, data()),
            None => Ok(()),
        }
    }

    fn flush_kept(&mut self, kept: &mut Keep) -> Result<()> {
        let run = std::mem::take(kept);
        if run.count == 0 { Ok(()) } else { self.out.send(run) }
    }

    /// `Ok(true)` where the file only grew: what was declared and sent is still its beginning.
    fn check_unchanged(&mut self, file: &File, meta: &Meta) -> Result<bool> {
        let now = Meta::of(file)?;
        if now.unchanged_since(meta) {
            return Ok(false);
        }
        if now.size > meta.size {
            let blocks = blocks_of(meta.size);
            let mut again = Root::new(self.out.algorithm);
            for number in 0..blocks {
                let block = self.out.read_block(file, number, meta.size)?;
                again.add(&self.out.digest(block.content(), blocks == 1));
            }
            if again.finish() == self.root.clone().finish() {
                return Ok(true);
            }
        }
        Err(changed())
    }
}

/// Content that is on its way: what is needed to send blocks of it again, and to judge the receiver's last word.
pub(super) struct Content {
    half: Half,
    /// `None` for a pipe.
    file: Option<(File, Meta)>,
    sent: Sent,
}

impl Content {
    /// A message that came while content was sent.
    pub(super) fn queued(&mut self) -> Option<Command> {
        self.half.commands.try_recv().ok()
    }

    /// Sends a damaged block again; blocks the thread.
    pub(super) fn resend(mut self, block: u64) -> Result<Self> {
        let Some((file, meta)) = &self.file else { return Err(damaged_pipe()) };
        self.half.resend(file, meta.size, block)?;
        Ok(self)
    }

    /// What was sent, if the receiver has the same.
    pub(super) fn compare(self, result: FileResult) -> Result<Sent> {
        if Hash::from_wire(&result.digest)? != self.sent.proof {
            return Err(Error::local(Status::Mismatch, "the receiver reports another digest than was sent"));
        }
        Ok(Sent { path: result.path, ..self.sent })
    }
}

fn damaged_pipe() -> Error {
    Error::local(
        Status::Mismatch,
        "a block was damaged on the way and a pipe cannot be read again; run it again",
    )
}

/// Reads until `room` is full or the input ends; `ahead` is its first byte.
fn fill(input: &mut dyn Read, ahead: Option<u8>, room: &mut [u8]) -> Result<usize> {
    let mut len = 0;
    if let (Some(byte), Some(first)) = (ahead, room.first_mut()) {
        *first = byte;
        len = 1;
    }
    while let Some(rest) = room.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("read the input", &error)),
        }
    }
    Ok(len)
}
