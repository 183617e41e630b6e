//! The sending half: the loop that moves messages between the connection and the task of `source.rs`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Sender as Said, channel};

use super::source::TreeSource;
use super::{Item, MAX_LISTED, MAX_SENT, OnItem, TreeDone, TreeMeter};
use crate::digest::Algorithm;
use crate::error::{Error, Result, Status};
use crate::fs::{Filter, Names, Root};
use crate::path::RemotePath;
use crate::transfer::{Abandon, MAX_HAVE, SharedDigests, crashed, let_go};
use crate::wire::buffer::Lease;
use crate::wire::message::{Accept, Again, NodeResult};
use crate::wire::{Connection, Message};

/// Messages of the receiver that may wait for the blocking task: an answer and a result for each file, and digests
/// of what the receiver has of large ones. It must never be waited for with the connection unread, or each side
/// would wait for the other.
const COMMANDS: usize = 4 * (MAX_LISTED + MAX_SENT);

/// Bytes of such digests that may wait.
const MAX_WAITING: usize = MAX_HAVE as usize * 32;

/// One tree to send.
pub struct SendTree {
    /// The directory that is sent.
    pub root: Root,
    /// What is left out.
    pub filter: Filter,
    /// All that is sent, where not everything is.
    pub names: Option<Names>,
    /// What is computed and compared.
    pub algorithm: Algorithm,
    /// Compute the plain digest of each file as well.
    pub whole: bool,
    /// Nodes carry the proof of their content.
    pub hashes: bool,
    /// Of files that are accepted only the proof is sent.
    pub dry_run: bool,
    /// Most bytes a second.
    pub rate: Option<u64>,
    /// Where progress is shown.
    pub meter: Arc<TreeMeter>,
    /// What an earlier attempt of the same run left.
    pub unheard: Unheard,
    /// Told what became of each name.
    pub on_item: OnItem,
    /// Digests that are shared with other senders of the same files; `None` where there are none.
    pub shared: Option<Arc<SharedDigests>>,
}

/// Files that were sent and whose results were lost with the connection. The receiver gives a file its name only
/// after its proof, so one of the same size and time, at the next attempt, is one that arrived.
#[derive(Debug, Clone, Default)]
pub struct Unheard(Arc<Mutex<HashMap<RemotePath, Item>>>);

impl Unheard {
    pub(super) fn add(&self, item: Item) {
        self.held().insert(item.path.clone(), item);
    }

    pub(super) fn take(&self, path: &RemotePath) -> Option<Item> {
        self.held().remove(path)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<RemotePath, Item>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the receiver says.
pub(super) enum Command {
    Accept(Accept),
    Have(Bytes),
    Pass(u32),
    Again(Again),
    Result(NodeResult),
}

/// Sends a tree as operation `op`, and waits for the receiver's END.
///
/// What cannot be read, or not be written at the other end, is an item with a failure. Errors: what ends it all,
/// as a lost connection, a full disk at the receiver, a receiver that breaks the protocol. After anything but the
/// first and the last the connection is still good.
pub async fn send_tree<S>(conn: &mut Connection<S>, op: u32, job: SendTree) -> Result<TreeDone>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let _lease = Lease::default();
    job.meter.begin();
    let abandon = Abandon(Arc::clone(&job.meter.bytes));
    let (commands, queue) = channel(COMMANDS);
    let waiting = Arc::new(AtomicUsize::new(0));
    let source = TreeSource::new(op, job, conn.tx.clone(), queue, Arc::clone(&waiting));
    let mut worker = conn.workers.spawn_blocking(move || source.run());
    let error = loop {
        tokio::select! {
            // It ends by itself only where it failed.
            done = &mut worker => return done.map_err(|error| crashed(&error))?,
            message = conn.rx.next_in(op) => match message.and_then(|message| forward(message, &commands, &waiting)) {
                Ok(Forwarded::More) => {}
                // Of what is removed there may be any number, when nothing is left to be sent.
                Ok(Forwarded::Full(command)) => drop(commands.send(command).await),
                Ok(Forwarded::End) => {
                    drop(commands);
                    let done = worker.await.map_err(|error| crashed(&error))?;
                    return done.map_err(|error| match error.status() {
                        Status::Cancelled => Error::protocol("END while files had no result"),
                        _ => error,
                    });
                }
                Err(error) => break error,
            }
        }
    };
    drop(commands);
    drop(abandon);
    Err(let_go(conn, worker, error).await)
}

enum Forwarded {
    More,
    Full(Command),
    End,
}

fn forward(message: Message, commands: &Said<Command>, waiting: &AtomicUsize) -> Result<Forwarded> {
    let command = match message {
        Message::Accept(accept) => Command::Accept(accept),
        Message::Have(digests) => {
            if waiting.fetch_add(digests.len(), Ordering::Relaxed) > MAX_WAITING {
                return Err(Error::protocol("more digests than were announced"));
            }
            Command::Have(digests)
        }
        Message::Pass(pass) => Command::Pass(pass.upto),
        Message::Again(again) => Command::Again(again),
        Message::NodeResult(result) => Command::Result(result),
        // It is at work.
        Message::Digest(digest) if digest.digest.is_empty() => return Ok(Forwarded::More),
        Message::End(end) if end.status == Status::Ok as u32 => return Ok(Forwarded::End),
        Message::End(end) => return Err(end.premature()),
        Message::Cancel => return Err(Error::local(Status::Cancelled, "cancelled by the receiver")),
        other => return Err(Error::protocol(format!("{} from a receiver", other.kind().name()))),
    };
    match commands.try_send(command) {
        Err(TrySendError::Full(Command::Result(result))) if result.file == 0 => {
            Ok(Forwarded::Full(Command::Result(result)))
        }
        Err(TrySendError::Full(_)) => Err(Error::protocol("too many messages from the receiver")),
        // A worker that has ended cannot take it, and its own result is about to be seen.
        _ => Ok(Forwarded::More),
    }
}
