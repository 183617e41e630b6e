//! Sends and receives one file: read, hash and frame in one pass, the same code for get and put.
//!
//! ```text
//! sender                                      receiver
//! FILE size, mtime, mode          ───────▶
//!                                 ◀───────    ACCEPT, HAVE…   (sized files of more than one block)
//! KEEP | BLOCK digest + DATA …    ───────▶    hash, compare, write
//!                                 ◀───────    AGAIN           (a block arrived damaged)
//! DONE size, proof                ───────▶    compare, commit
//!                                 ◀───────    FILE_RESULT     (verified, durable, under its name)
//! ```
//!
//! Each half is one long-lived blocking task that reads or writes and hashes, and one async loop that moves
//! messages between it and the connection. The sender's task ends with DONE; only the loop waits for FILE_RESULT.

mod landing;
mod name;
mod order;
mod outlet;
mod reading;
mod receive;
mod send;
mod shared;
mod sink;
mod standing;

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

pub use receive::{ReceiveJob, Received, receive};
pub use send::{SendJob, Sent, Source, send};
pub use shared::SharedDigests;
pub use sink::{Sink, StreamOut};

pub(crate) use landing::Landing;
pub(crate) use name::SourceNamer;
pub(crate) use outlet::Outlet;
pub(crate) use receive::{Arrived, damage};
pub(crate) use shared::{FileKey, Small};

use crate::digest::{Algorithm, Hash, Lanes, Root, blocks_of, sha256};
use crate::error::{Error, Result, Status};
use crate::fs::{Meta, Mtime};
use crate::path::RemotePath;
use crate::wire::message::{Digest, File as FileMessage};
use crate::wire::{BLOCK_LEN, Connection, Sender};

/// Most blocks whose digests a receiver offers: 1 TiB of content, 16 MiB of MD5s at the sender.
pub(crate) const MAX_HAVE: u64 = 1 << 20;
/// Times that a damaged block is asked for again before the transfer fails.
const MAX_AGAIN: u32 = 3;

/// What a sender declares of a file before its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileInfo {
    /// Bytes; `None` for a pipe.
    pub size: Option<u64>,
    /// Modification time.
    pub mtime: Mtime,
    /// Permission bits.
    pub mode: u32,
}

impl FileInfo {
    /// What FILE says.
    pub fn from_wire(file: &FileMessage) -> Result<Self> {
        if file.mtime_nanos >= 1_000_000_000 {
            return Err(Error::protocol("a modification time with more than a second of nanoseconds"));
        }
        Ok(Self {
            size: (!file.unsized_).then_some(file.size),
            mtime: Mtime { secs: file.mtime, nanos: file.mtime_nanos },
            mode: file.mode,
        })
    }

    /// What is known of an open file.
    pub fn of(meta: &Meta) -> Self {
        Self { size: Some(meta.size), mtime: meta.mtime, mode: meta.mode & 0o777 }
    }

    /// Which partial file belongs to this file of this account: what changed at its source has another one.
    pub fn partial_key(&self, account: &str, path: &RemotePath) -> [u8; 16] {
        let size = self.size.unwrap_or(u64::MAX);
        let mut identity = Vec::new();
        for part in [account.as_bytes(), path.as_bytes()] {
            identity.extend_from_slice(&(part.len() as u64).to_be_bytes());
            identity.extend_from_slice(part);
        }
        identity.extend_from_slice(&size.to_be_bytes());
        identity.extend_from_slice(&self.mtime.secs.to_be_bytes());
        identity.extend_from_slice(&self.mtime.nanos.to_be_bytes());
        let mut key = [0; 16];
        key.iter_mut().zip(sha256(&identity).as_bytes()).for_each(|(to, from)| *to = *from);
        key
    }

    fn to_wire(self) -> FileMessage {
        FileMessage {
            file: 0,
            size: self.size.unwrap_or(0),
            unsized_: self.size.is_none(),
            mtime: self.mtime.secs,
            mtime_nanos: self.mtime.nanos,
            mode: self.mode,
            known: Vec::new(),
        }
    }
}

/// Position of a running transfer, read by whoever shows progress. All values are bytes.
#[derive(Debug, Default)]
pub struct Meter {
    total: AtomicU64,
    done: AtomicU64,
    kept: AtomicU64,
    /// Nobody waits for the transfer any more, so its blocking half need not keep to a rate.
    abandoned: AtomicBool,
}

impl Meter {
    /// A new file begins: `total` bytes, or unknown.
    pub fn begin(&self, total: Option<u64>) {
        self.total.store(total.map_or(0, |total| total.saturating_add(1)), Ordering::Relaxed);
        self.done.store(0, Ordering::Relaxed);
        self.kept.store(0, Ordering::Relaxed);
        self.abandoned.store(false, Ordering::Relaxed);
    }

    /// Size of the file; `None` while unknown.
    pub fn total(&self) -> Option<u64> {
        self.total.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Bytes that are verified, or sent, or were there already.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Bytes that did not have to travel.
    pub fn kept(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
    }

    pub(crate) fn moved(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn keep(&self, bytes: u64) {
        self.kept.fetch_add(bytes, Ordering::Relaxed);
        self.moved(bytes);
    }
}

/// Tells the blocking half of a transfer that its async half has ended, also where that was dropped.
pub(crate) struct Abandon(pub(crate) Arc<Meter>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.abandoned.store(true, Ordering::Relaxed);
    }
}

/// Holds a blocking task to a rate.
pub(crate) struct Throttle {
    rate: Option<u64>,
    start: Instant,
    bytes: u64,
}

impl Throttle {
    pub(crate) fn new(rate: Option<u64>) -> Self {
        Self { rate: rate.filter(|rate| *rate > 0), start: Instant::now(), bytes: 0 }
    }

    /// Sleeps until `bytes` more may have passed; returns early when the connection is gone or nobody waits any
    /// more. Nobody else is to blame for this pause, so it counts as progress.
    pub(crate) fn pass(&mut self, bytes: usize, tx: &Sender, meter: &Meter) {
        let Some(rate) = self.rate else { return };
        self.bytes += bytes as u64;
        let due = Duration::from_secs_f64(self.bytes as f64 / rate as f64);
        while let Some(rest) = due.checked_sub(self.start.elapsed()) {
            if rest.is_zero() || tx.is_closed() || meter.abandoned.load(Ordering::Relaxed) {
                return;
            }
            tx.activity().moved();
            std::thread::sleep(rest.min(Duration::from_millis(100)));
        }
    }
}

/// Tells the other end that work goes on where nothing else is sent for a while.
pub(crate) struct Pulse {
    op: u32,
    tx: Sender,
    meter: Arc<Meter>,
    last: Instant,
}

impl Pulse {
    pub(crate) fn new(op: u32, tx: Sender, meter: Arc<Meter>) -> Self {
        Self { op, tx, meter, last: Instant::now() }
    }

    /// So many bytes of a file were read. DIGEST without a digest says so, once a second. An error where nobody waits
    /// for it.
    pub(crate) fn beat(&mut self, size: u64) -> Result<()> {
        self.tx.activity().moved();
        if self.meter.abandoned.load(Ordering::Relaxed) {
            return Err(interrupted());
        }
        if self.last.elapsed() < Duration::from_secs(1) {
            return Ok(());
        }
        self.last = Instant::now();
        self.tx.blocking_send(self.op, Digest { size, ..Digest::default() })
    }
}

/// Proof of a whole file of `size` bytes that is read for it alone.
pub(crate) fn proof_of(
    file: &File,
    size: u64,
    algorithm: Algorithm,
    lanes: &Lanes,
    pulse: &mut Pulse,
) -> Result<Hash> {
    proof_by(file, size, algorithm, pulse, |block, alone| algorithm.block(lanes, block, alone))
}

/// As [`proof_of`]; `digest` gives the digest of a block: its content, whether it is the whole file.
pub(crate) fn proof_by(
    file: &File,
    size: u64,
    algorithm: Algorithm,
    pulse: &mut Pulse,
    mut digest: impl FnMut(&[u8], bool) -> Hash,
) -> Result<Hash> {
    let blocks = blocks_of(size);
    let mut proof = Root::new(algorithm);
    let mut buffer = vec![0; size.min(BLOCK_LEN as u64) as usize];
    for number in 0..blocks {
        let start = number * BLOCK_LEN as u64;
        let room = buffer.get_mut(..(size - start).min(BLOCK_LEN as u64) as usize).unwrap_or_default();
        file.read_exact_at(room, start).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => Error::local(Status::Changed, "the file shrank while it was read"),
            _ => Error::io("read the file", &error),
        })?;
        proof.add(&digest(room, blocks == 1));
        pulse.beat(start + room.len() as u64)?;
    }
    // A file without blocks is proven by the digest of nothing.
    Ok(proof.finish())
}

/// The source is not any more what it was.
pub(crate) fn changed() -> Error {
    Error::local(Status::Changed, "the file changed while it was read")
}

/// The other half of this transfer is gone; its own error says why.
pub(crate) fn interrupted() -> Error {
    Error::local(Status::Cancelled, "the transfer was interrupted")
}

/// Lets the blocking half of an operation that failed come to its end, and gives the error back.
pub(crate) async fn let_go<S, T>(conn: &mut Connection<S>, worker: JoinHandle<T>, error: Error) -> Error
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    match error {
        // The caller says why before it closes; the worker ends with the connection at the latest.
        Error::Protocol(_) => {}
        Error::Connection(_) => {
            conn.abort();
            drop(worker.await);
        }
        _ => drop(worker.await),
    }
    error
}

/// A blocking task that panicked, which it never should.
pub(crate) fn crashed(error: &tokio::task::JoinError) -> Error {
    Error::local(Status::Failed, format!("internal error: {error}"))
}
