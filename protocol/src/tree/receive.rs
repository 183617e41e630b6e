//! The receiving half: the loop that moves messages between the connection and the task of `landing.rs`.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::landing::TreeLanding;
use super::{MAX_PIECES, OnItem, TreeDone, TreeMeter};
use crate::auth::Rights;
use crate::digest::Algorithm;
use crate::error::{Error, Result, Status};
use crate::fs::{DirLock, Filter, Root};
use crate::path::RemotePath;
use crate::transfer::{Abandon, Arrived, crashed, damage, let_go};
use crate::wire::buffer::Lease;
use crate::wire::message::{Block, Node, NodeResult, Piece};
use crate::wire::{Connection, Message};

/// Messages that may wait for the blocking task.
const QUEUE: usize = 256;
/// Blocks of content among them: each is up to 1 MiB.
const BLOCKS: usize = 6;

/// One tree to receive.
pub struct ReceiveTree {
    /// Opens what becomes equal to the source, when the sender has begun: nothing is made for a tree that is not
    /// there.
    pub place: OpenPlace,
    /// Whose it is, and where: partial files are found again by it.
    pub account: String,
    /// What may be done here.
    pub rights: Rights,
    /// What is computed and compared.
    pub algorithm: Algorithm,
    /// Compute the plain digest of each file as well.
    pub whole: bool,
    /// Set mode and modification time of the source.
    pub preserve: bool,
    /// Set the modification time of the source.
    pub times: bool,
    /// Leave existing files alone.
    pub no_clobber: bool,
    /// Go on with what an earlier run left.
    pub resume: bool,
    /// Files of equal size and modification time are equal.
    pub quick: bool,
    /// Remove what the source does not have, at most so many entries.
    pub delete: Option<u64>,
    /// Say what would be done, and change nothing.
    pub dry_run: bool,
    /// What the source leaves out is not removed here.
    pub filter: Filter,
    /// Most bytes a second.
    pub rate: Option<u64>,
    /// Tell the sender of everything, not of its files alone.
    pub report: bool,
    /// Where progress is shown.
    pub meter: Arc<TreeMeter>,
    /// Told what became of each name.
    pub on_item: OnItem,
}

/// See [`ReceiveTree::place`].
pub type OpenPlace = Box<dyn FnOnce() -> Result<Place> + Send>;

/// Where a tree goes.
#[derive(Clone, Default)]
pub struct Place {
    /// The directory; `None` where a dry run would make it first.
    pub root: Option<Root>,
    /// It was made for this, and private until its mode is known.
    pub made: bool,
    /// Where what is replaced or removed is kept.
    pub backup: Option<Backup>,
    /// Keeps other runs away for as long as anything of this one may still write, also where it was dropped.
    pub lock: Option<Arc<DirLock>>,
}

/// A directory for what is replaced or removed. It is opened, or made, when there is something to be kept.
#[derive(Clone)]
pub struct Backup {
    /// Opens it.
    open: Arc<dyn Fn() -> Result<Root> + Send + Sync>,
    opened: Arc<Mutex<Option<Root>>>,
    /// Where it is beneath the tree, if it is: it is left alone there.
    pub(super) within: Option<RemotePath>,
}

impl Backup {
    /// The directory that `open` gives; `within` is where it lies beneath the tree, if it does.
    pub fn new(open: impl Fn() -> Result<Root> + Send + Sync + 'static, within: Option<RemotePath>) -> Self {
        Self { open: Arc::new(open), opened: Arc::default(), within }
    }

    pub(super) fn root(&self) -> Result<Root> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = &*opened {
            return Ok(root.clone());
        }
        let root = (self.open)()?;
        *opened = Some(root.clone());
        Ok(root)
    }
}

/// What waits for the blocking task, with its room where it needs any.
pub(super) type Queued = (Sent, Option<OwnedSemaphorePermit>);

/// What the sender sent.
pub(super) enum Sent {
    Node(Node),
    /// Small files and their contents one after the other.
    Pack(Vec<Piece>, Bytes),
    /// Something about file `.0`, which is a large one, or a small one that is kept.
    Content(u32, Arrived),
    /// The sender cannot read something.
    Unreadable(NodeResult),
    Walked(bool),
}

/// Receives a tree as operation `op`. The caller ends the operation.
///
/// What cannot be written here, or not be read at the other end, is an item with a failure. Errors: what ends it
/// all, as a lost connection, a full disk, a sender that breaks the protocol. After anything but the first and the
/// last the connection is still good. What was reported as done is done and durable.
pub async fn receive_tree<S>(conn: &mut Connection<S>, op: u32, job: ReceiveTree) -> Result<TreeDone>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let _lease = Lease::default();
    job.meter.begin();
    let (sent, queue) = mpsc::channel(QUEUE);
    let room = Arc::new(Semaphore::new(BLOCKS));
    let abandon = Abandon(Arc::clone(&job.meter.bytes));
    // Whoever drops this does not want what is on its way any more; after an error it is still of use.
    let unwanted = CancellationToken::new();
    let guard = unwanted.clone().drop_guard();
    let tx = conn.tx.clone();
    let mut worker = conn.workers.spawn_blocking(move || TreeLanding::run(op, job, tx, queue, unwanted));
    let mut gathering = Gathering::default();
    let error = loop {
        let message = tokio::select! {
            done = &mut worker => {
                guard.disarm();
                return done.map_err(|error| crashed(&error))?;
            }
            message = conn.rx.next_in(op) => message.and_then(|message| gathering.take(message)),
        };
        match message {
            // A worker that has ended cannot take it, and lets all room go; its own result comes next.
            Ok(Some(message)) => {
                let holds = matches!(&message, Sent::Pack(..) | Sent::Content(_, Arrived::Block(..)));
                let room = if holds { Arc::clone(&room).acquire_owned().await.ok() } else { None };
                drop(sent.send((message, room)).await);
            }
            Ok(None) => {}
            Err(error) => break error,
        }
    };
    drop(sent);
    drop(abandon);
    guard.disarm();
    Err(let_go(conn, worker, error).await)
}

/// Messages that belong together.
#[derive(Default)]
struct Gathering {
    block: Option<Block>,
    pieces: Vec<Piece>,
    bytes: usize,
}

impl Gathering {
    fn take(&mut self, message: Message) -> Result<Option<Sent>> {
        let block = self.block.take();
        let between = block.is_some() || !self.pieces.is_empty();
        match message {
            Message::Data(data) => match block {
                Some(block) => Ok(Some(Sent::Content(block.file, Arrived::Block(block, damage(data))))),
                None => Err(Error::protocol("DATA without BLOCK")),
            },
            Message::Piece(piece) if block.is_none() => {
                self.bytes += piece.size as usize;
                if self.pieces.len() == MAX_PIECES || self.bytes > crate::wire::BLOCK_LEN {
                    return Err(Error::protocol("more PIECEs than a PACK can hold"));
                }
                self.pieces.push(piece);
                Ok(None)
            }
            Message::Pack(data) if block.is_none() && !self.pieces.is_empty() => {
                let pieces = std::mem::take(&mut self.pieces);
                if std::mem::take(&mut self.bytes) != data.len() {
                    return Err(Error::protocol("a PACK of another size than its PIECEs"));
                }
                Ok(Some(Sent::Pack(pieces, damage(data))))
            }
            Message::End(end) => Err(end.premature()),
            Message::Cancel => Err(Error::local(Status::Cancelled, "cancelled by the sender")),
            other if between => Err(out_of_place(&other)),
            Message::Block(block) => {
                self.block = Some(block);
                Ok(None)
            }
            // It is at work.
            Message::Digest(digest) if digest.digest.is_empty() => Ok(None),
            Message::Node(node) => Ok(Some(Sent::Node(node))),
            Message::Keep(keep) => Ok(Some(Sent::Content(keep.file, Arrived::Keep(keep)))),
            Message::Done(done) => Ok(Some(Sent::Content(done.file, Arrived::Done(done)))),
            Message::NodeResult(result) => Ok(Some(Sent::Unreadable(result))),
            Message::Walked(walked) => Ok(Some(Sent::Walked(walked.complete))),
            other => Err(out_of_place(&other)),
        }
    }
}

fn out_of_place(message: &Message) -> Error {
    Error::protocol(format!("{} out of its place", message.kind().name()))
}
