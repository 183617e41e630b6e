//! The sending half.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver as Queue, RecvError, SyncSender, TryRecvError, TrySendError, sync_channel};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;

use super::name::Namer;
use super::{FileInfo, MAX_HAVE, Meter, Throttle, crashed, interrupted};
use crate::digest::{Algorithm, Hash, Lanes, Root, blocks_of};
use crate::error::{Error, Result, Status};
use crate::fs::{Meta, Mtime};
use crate::wire::buffer::{Block, Lease, Quota};
use crate::wire::frame::{Header, Kind};
use crate::wire::message::{Block as BlockMessage, Done, FileResult, Keep};
use crate::wire::{BLOCK_LEN, Connection, Message, Sender};

/// Messages of the receiver that may wait for the blocking task: every HAVE of 1 TiB, and some AGAIN.
const COMMANDS: usize = 2048;
/// Kept blocks are reported at least this often, so that hashing a long prefix is seen as progress.
const KEEP_RUN: u64 = 64;

/// What is sent.
pub enum Source {
    /// A regular file and what was known of it when it was opened.
    File {
        /// Open for reading.
        file: File,
        /// Of this open file.
        meta: Meta,
    },
    /// A pipe: of unknown size, read once, so a damaged block cannot be sent again.
    Stream(Box<dyn Read + Send>),
}

/// One file to send.
pub struct SendJob {
    /// What is sent.
    pub source: Source,
    /// What is computed and compared.
    pub algorithm: Algorithm,
    /// Compute the plain digest of the whole file as well.
    pub whole: bool,
    /// Plain MD5 that this end remembers of the file.
    pub known: Option<Hash>,
    /// Where progress is shown.
    pub meter: Arc<Meter>,
    /// Most bytes a second.
    pub rate: Option<u64>,
}

/// A file that was sent and that the receiver has, verified and durable.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Bytes.
    pub size: u64,
    /// Proof, the same at both ends.
    pub proof: Hash,
    /// Plain digest of the whole file, where it was asked for.
    pub whole: Option<Hash>,
    /// The source grew meanwhile; the declared prefix was sent.
    pub grew: bool,
    /// Where the receiver put it (put).
    pub path: Vec<u8>,
}

/// Sends one file as operation `op`: FILE, the content, DONE, then waits for FILE_RESULT.
///
/// Errors: what this end could not read ([`Status::Changed`] where the source changed meanwhile), what the
/// receiver reported ([`Error::Remote`]), a lost connection. After anything but a lost connection or a
/// protocol error the connection is still good.
pub async fn send<S>(conn: &mut Connection<S>, op: u32, job: SendJob) -> Result<Sent>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let info = match &job.source {
        Source::File { meta, .. } => FileInfo::of(meta),
        Source::Stream(_) => FileInfo { size: None, mtime: Mtime { secs: 0, nanos: 0 }, mode: 0o666 },
    };
    let _lease = Lease::default();
    job.meter.begin(info.size);
    let mut file = info.to_wire();
    file.known = job.known.map(|known| known.to_vec()).unwrap_or_default();
    conn.tx.send(op, file).await?;

    let (commands, queue) = sync_channel(COMMANDS);
    let half = Half::new(op, &job, conn.tx.clone(), queue)?;
    let mut worker = conn.workers.spawn_blocking(move || half.run(job.source, info.size));
    let error = loop {
        tokio::select! {
            sent = &mut worker => return sent.map_err(|error| crashed(&error))?,
            message = conn.rx.next_in(op) => match message.and_then(|message| forward(message, &commands)) {
                // The receiver's last word: the connection may end now.
                Ok(Forwarded::Result) => return worker.await.map_err(|error| crashed(&error))?,
                Ok(Forwarded::Other) => {}
                Err(error) => break error,
            }
        }
    };
    drop(commands);
    match error {
        // The caller says why before it closes; the worker ends with the connection at the latest.
        Error::Protocol(_) => {}
        Error::Connection(_) => {
            conn.abort();
            let _ = worker.await;
        }
        _ => drop(worker.await),
    }
    Err(error)
}

/// Blocks that are sent again, a block of the file: those damaged, and those behind them in a stream.
const MAX_RESENT_EACH: u64 = 16;

enum Command {
    Accept(u64),
    Have(Bytes),
    Again(u64),
    Result(FileResult),
}

enum Forwarded {
    Result,
    Other,
}

fn forward(message: Message, commands: &SyncSender<Command>) -> Result<Forwarded> {
    let command = match message {
        Message::Accept(accept) if accept.file == 0 => Command::Accept(accept.have),
        Message::Have(digests) => Command::Have(digests),
        Message::Again(again) if again.file == 0 => Command::Again(again.block),
        Message::FileResult(result) if result.file == 0 => Command::Result(result),
        Message::End(end) => return Err(end.premature()),
        Message::Cancel => return Err(Error::local(Status::Cancelled, "cancelled by the receiver")),
        other => return Err(Error::protocol(format!("{} from a receiver", other.kind().name()))),
    };
    let forwarded = if matches!(command, Command::Result(_)) { Forwarded::Result } else { Forwarded::Other };
    // A worker that has ended cannot take it, and its own result is about to be seen.
    match commands.try_send(command) {
        Err(TrySendError::Full(_)) => Err(Error::protocol("too many messages from the receiver")),
        _ => Ok(forwarded),
    }
}

/// The blocking task.
struct Half {
    op: u32,
    algorithm: Algorithm,
    lanes: Lanes,
    tx: Sender,
    commands: Queue<Command>,
    quota: Quota,
    runtime: Handle,
    namer: Option<Namer>,
    root: Root,
    meter: Arc<Meter>,
    throttle: Throttle,
    /// Blocks that were sent again.
    resent: u64,
}

impl Half {
    fn new(op: u32, job: &SendJob, tx: Sender, commands: Queue<Command>) -> Result<Self> {
        // A single block is its own proof and its own name.
        let alone = matches!(&job.source, Source::File { meta, .. } if meta.size <= BLOCK_LEN as u64);
        let whole = job.whole || job.algorithm == Algorithm::Sha256;
        let namer = if whole && !alone { Some(Namer::spawn(job.algorithm)?) } else { None };
        Ok(Self {
            op,
            algorithm: job.algorithm,
            lanes: Lanes::default(),
            tx,
            commands,
            quota: Quota::default(),
            runtime: Handle::current(),
            namer,
            root: Root::new(job.algorithm),
            meter: Arc::clone(&job.meter),
            throttle: Throttle::new(job.rate),
            resent: 0,
        })
    }

    fn run(mut self, source: Source, size: Option<u64>) -> Result<Sent> {
        match source {
            Source::File { file, meta } => {
                let grew = self.send_file(&file, &meta)?;
                self.conclude(meta.size, grew, Some((&file, &meta)))
            }
            Source::Stream(mut input) => {
                debug_assert!(size.is_none());
                let size = self.send_stream(&mut *input)?;
                self.conclude(size, false, None)
            }
        }
    }

    fn send_file(&mut self, file: &File, meta: &Meta) -> Result<bool> {
        let blocks = blocks_of(meta.size);
        let had = if blocks > 1 { self.await_accept(blocks)? } else { Vec::new() };
        let mut had = had.chunks_exact(self.algorithm.digest_len());
        let mut kept = Keep { file: 0, first: 0, count: 0 };
        for number in 0..blocks {
            self.serve_again(file, meta.size)?;
            let block = self.read_block(file, number, meta.size)?;
            let digest = self.algorithm.block(&self.lanes, block.content(), blocks == 1);
            self.tx.activity().moved();
            self.root.add(&digest);
            if had.next() == Some(digest.as_bytes()) {
                if kept.count == 0 {
                    kept.first = number;
                }
                kept.count += 1;
                self.meter.keep(block.content().len() as u64);
                self.name(number, || block.into_bytes());
                if kept.count == KEEP_RUN {
                    self.flush_kept(&mut kept)?;
                }
            } else {
                self.flush_kept(&mut kept)?;
                self.emit(number, digest, number + 1 == blocks, block, true)?;
            }
        }
        self.flush_kept(&mut kept)?;
        self.check_unchanged(file, meta)
    }

    /// Sends until the end of the input; one byte is read ahead, so that the last block is known as such.
    fn send_stream(&mut self, input: &mut dyn Read) -> Result<u64> {
        let mut ahead = None;
        let mut size = 0;
        for number in 0.. {
            let mut block = self.runtime.block_on(self.quota.block(BLOCK_LEN));
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
            let digest = self.algorithm.block(&self.lanes, block.content(), number == 0 && last);
            self.root.add(&digest);
            self.emit(number, digest, last, block, true)?;
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

    /// Sends DONE and waits for FILE_RESULT, sending damaged blocks again meanwhile.
    fn conclude(mut self, size: u64, grew: bool, file: Option<(&File, &Meta)>) -> Result<Sent> {
        let single = self.root.blocks() <= 1;
        let root = std::mem::replace(&mut self.root, Root::new(self.algorithm));
        let proof = root.finish();
        let mut whole = single.then_some(proof);
        let mut namer = self.namer.take();
        if self.algorithm == Algorithm::Sha256 {
            // The receiver compares it before it commits. MD5 may go on meanwhile.
            if let Some(namer) = namer.take() {
                whole = Some(namer.finish()?);
            }
        }
        let compared = match self.algorithm {
            Algorithm::Sha256 => whole.map(|hash| hash.to_vec()).unwrap_or_default(),
            _ => Vec::new(),
        };
        self.tx
            .blocking_send(self.op, Done { file: 0, size, digest: proof.to_vec(), whole: compared, grew })?;
        let result = loop {
            match (self.commands.recv(), file) {
                (Ok(Command::Result(result)), _) => break result,
                (Ok(Command::Again(block)), Some((file, meta))) => self.resend(file, meta.size, block)?,
                (Ok(Command::Again(_)), None) => return Err(damaged_pipe()),
                (Ok(_), _) => return Err(Error::protocol("ACCEPT after the content")),
                (Err(RecvError), _) => return Err(interrupted()),
            }
        };
        if Hash::from_wire(&result.digest)? != proof {
            return Err(Error::local(Status::Mismatch, "the receiver reports another digest than was sent"));
        }
        if let Some(namer) = namer {
            whole = Some(namer.finish()?);
        }
        Ok(Sent { size, proof, whole, grew, path: result.path })
    }

    /// Digests of the leading blocks that the receiver has.
    fn await_accept(&mut self, blocks: u64) -> Result<Vec<u8>> {
        let have = match self.commands.recv() {
            Ok(Command::Accept(have)) if have <= blocks.min(MAX_HAVE) => have,
            Ok(Command::Accept(_)) => return Err(Error::protocol("ACCEPT of more blocks than the file has")),
            Ok(_) => return Err(Error::protocol("ACCEPT was due")),
            Err(RecvError) => return Err(interrupted()),
        };
        let due = have as usize * self.algorithm.digest_len();
        let mut digests = Vec::new();
        while digests.len() < due {
            match self.commands.recv() {
                Ok(Command::Have(more))
                    if !more.is_empty()
                        && more.len().is_multiple_of(self.algorithm.digest_len())
                        && more.len() <= due - digests.len() =>
                {
                    digests.extend_from_slice(&more);
                }
                Ok(_) => return Err(Error::protocol("HAVE was due")),
                Err(RecvError) => return Err(interrupted()),
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
        let block = self.read_block(file, number, size)?;
        let digest = self.algorithm.block(&self.lanes, block.content(), blocks == 1);
        self.emit(number, digest, number + 1 == blocks, block, false)
    }

    fn read_block(&mut self, file: &File, number: u64, size: u64) -> Result<Block> {
        let start = number * BLOCK_LEN as u64;
        let len = (size - start).min(BLOCK_LEN as u64) as usize;
        let mut block = self.runtime.block_on(self.quota.block(len));
        match file.read_exact_at(block.content_mut(), start) {
            Ok(()) => Ok(block),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(Error::local(Status::Changed, "the file shrank while it was read"))
            }
            Err(error) => Err(Error::io("read the file", &error)),
        }
    }

    /// BLOCK and DATA in one piece.
    fn emit(&mut self, number: u64, digest: Hash, last: bool, block: Block, first: bool) -> Result<()> {
        let len = block.content().len();
        let mut frames = BytesMut::with_capacity(128);
        let announced = BlockMessage { file: 0, block: number, digest: digest.to_vec(), last };
        Message::from(announced).encode(self.op, &mut frames);
        Header { len: len as u32, kind: Kind::Data, op: self.op }.encode(&mut frames);
        let (wire, at) = block.into_wire(&frames);
        if first {
            self.name(number, || wire.slice(at..));
            self.meter.moved(len as u64);
        }
        self.throttle.pass(len, &self.tx);
        self.tx.blocking_send_bytes(wire)
    }

    fn name(&mut self, number: u64, data: impl FnOnce() -> Bytes) {
        if let Some(namer) = &mut self.namer {
            namer.offer(number, data());
        }
    }

    fn flush_kept(&mut self, kept: &mut Keep) -> Result<()> {
        let run = std::mem::take(kept);
        if run.count == 0 { Ok(()) } else { self.tx.blocking_send(self.op, run) }
    }

    /// `Ok(true)` where the file only grew: what was declared and sent is still its beginning.
    fn check_unchanged(&mut self, file: &File, meta: &Meta) -> Result<bool> {
        let now = Meta::of(file)?;
        if now.unchanged_since(meta) {
            return Ok(false);
        }
        if now.size > meta.size {
            let blocks = blocks_of(meta.size);
            let mut again = Root::new(self.algorithm);
            for number in 0..blocks {
                let block = self.read_block(file, number, meta.size)?;
                again.add(&self.algorithm.block(&self.lanes, block.content(), blocks == 1));
            }
            if again.finish() == self.root.clone().finish() {
                return Ok(true);
            }
        }
        Err(Error::local(Status::Changed, "the file changed while it was read"))
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
