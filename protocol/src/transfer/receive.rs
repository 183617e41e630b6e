//! The receiving half: the async loop. What happens to the blocks is in [`landing`](super::landing).

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::landing::Landing;
use super::{Abandon, FileInfo, Meter, Sink, crashed, let_go};
use crate::digest::{Algorithm, Hash};
use crate::error::{Error, Result, Status};
use crate::wire::buffer::Lease;
use crate::wire::message::{Block, Done, Keep};
use crate::wire::{Connection, Message};

/// Blocks that may wait for the disk.
const QUEUE: usize = 3;

/// One file to receive.
pub struct ReceiveJob {
    /// What FILE declared.
    pub info: FileInfo,
    /// Where it goes.
    pub sink: Sink,
    /// What is computed and compared.
    pub algorithm: Algorithm,
    /// Compute the plain digest of the whole file as well.
    pub whole: bool,
    /// Plain MD5 that the sender remembers of the file; compared where `whole` is computed.
    pub known: Option<Hash>,
    /// Where progress is shown.
    pub meter: Arc<Meter>,
    /// Most bytes a second.
    pub rate: Option<u64>,
}

/// A file that is verified, durable and in place.
#[derive(Debug, Clone)]
pub struct Received {
    /// Bytes.
    pub size: u64,
    /// Proof, the same at both ends.
    pub proof: Hash,
    /// Plain digest of the whole file, where it was asked for.
    pub whole: Option<Hash>,
    /// Bytes that were here already.
    pub kept: u64,
    /// The source grew meanwhile; this is the prefix that was declared.
    pub grew: bool,
    /// A file of this name was replaced.
    pub replaced: bool,
}

/// Receives one file of operation `op`, whose FILE has come. The caller sends FILE_RESULT, or ends the
/// operation with the error.
///
/// Errors: what this end could not write, [`Status::Mismatch`], what the sender reported ([`Error::Remote`]),
/// a lost connection. Nothing stands under the final name then that did not stand there before. After
/// anything but a lost connection or a protocol error the connection is still good.
pub async fn receive<S>(conn: &mut Connection<S>, op: u32, job: ReceiveJob) -> Result<Received>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let _lease = Lease::default();
    job.meter.begin(job.info.size);
    let (blocks, queue) = mpsc::channel(QUEUE);
    let abandon = Abandon(Arc::clone(&job.meter));
    let tx = conn.tx.clone();
    let mut worker = conn.workers.spawn_blocking(move || Landing::new(op, 0, job, tx).run(queue));
    let mut announced = None;
    let error = loop {
        let arrived = tokio::select! {
            received = &mut worker => return received.map_err(|error| crashed(&error))?,
            message = conn.rx.next_in(op) => message.and_then(|message| arrive(message, &mut announced)),
        };
        match arrived {
            // A worker that has ended cannot take it; its own result comes next.
            Ok(Some(arrived)) => drop(blocks.send(arrived).await),
            Ok(None) => {}
            Err(error) => break error,
        }
    };
    if error.status() == Status::Changed {
        // What came belongs to a file that is no more; an error here means that the worker ended by itself.
        let _ = blocks.send(Arrived::Withdrawn).await;
    }
    drop(blocks);
    drop(abandon);
    Err(let_go(conn, worker, error).await)
}

/// What the sender sent.
pub(crate) enum Arrived {
    Block(Block, Bytes),
    Keep(Keep),
    Done(Done),
    /// The file changed at the sender.
    Withdrawn,
}

fn arrive(message: Message, announced: &mut Option<Block>) -> Result<Option<Arrived>> {
    match (message, announced.take()) {
        (Message::Block(block), None) if block.file == 0 => {
            *announced = Some(block);
            Ok(None)
        }
        (Message::Data(data), Some(block)) => Ok(Some(Arrived::Block(block, damage(data)))),
        (Message::Keep(keep), None) if keep.file == 0 => Ok(Some(Arrived::Keep(keep))),
        (Message::Done(done), None) if done.file == 0 => Ok(Some(Arrived::Done(done))),
        (Message::End(end), _) => Err(end.premature()),
        (Message::Cancel, _) => Err(Error::local(Status::Cancelled, "cancelled by the sender")),
        (other, _) => Err(Error::protocol(format!("{} out of its place", other.kind().name()))),
    }
}

/// Failpoint `receive-damage`: flips a bit between socket and disk.
pub(crate) fn damage(data: Bytes) -> Bytes {
    fail::fail_point!("receive-damage", |_| {
        let mut damaged = data.to_vec();
        if let Some(byte) = damaged.last_mut() {
            *byte ^= 0x10;
        }
        Bytes::from(damaged)
    });
    data
}
