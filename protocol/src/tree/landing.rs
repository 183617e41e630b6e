//! The blocking half of a receiver: takes nodes and content, and hands over what is complete, in the order of the
//! tree.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::time::timeout;

use super::commit::{CommitJob, Committer, Step, What};
use super::decide::Frame;
use super::descent::Descent;
use super::dirs::Dirs;
use super::extras::Extras;
use super::receive::{Place, ReceiveTree, Sent};
use super::turns::{Arriving, BATCH_FILES, Batch, Content, Pending, Turns};
use super::{Action, Item, TreeDone, kind_from_wire};
use crate::digest::{Hash, Lanes};
use crate::error::{Error, Failure, Result, Status};
use crate::fs::{Closed, Complete, Kind, Mtime};
use crate::path::RemotePath;
use crate::transfer::{Arrived, Throttle, interrupted};
use crate::wire::message::{Again, Node, NodeResult, Pass, Piece};
use crate::wire::{Message, Sender};

/// A sender that sends nothing for so long is waiting for us.
const IDLE: Duration = Duration::from_millis(20);
/// Large files that are accepted at a time: each holds a descriptor and the digests of what is here of it.
const MAX_LARGE: usize = 16;
/// Answers are sent in pieces of about so many bytes.
const PIECE: usize = 16 * 1024;
/// Times that a damaged small file is asked for again.
const MAX_AGAIN: u32 = 3;
/// Nodes that may wait for a decision. A sender keeps to its window, so more is a fault of it.
const MAX_UNDECIDED: usize = 2 * super::MAX_LISTED;

/// See the module.
pub(super) struct TreeLanding {
    pub(super) op: u32,
    pub(super) job: ReceiveTree,
    pub(super) place: Place,
    pub(super) tx: Sender,
    pub(super) dirs: Option<Dirs>,
    pub(super) frames: Vec<Frame>,
    /// A directory that could not be made or entered: all beneath it is passed over.
    pub(super) dead: Option<RemotePath>,
    pub(super) extras: Extras,
    pub(super) lanes: Lanes,
    pub(super) done: TreeDone,
    /// Files that stand where a directory has to go first.
    pub(super) late: Vec<Step>,
    /// Directories that get their mode and time when what is too much in them is gone.
    pub(super) ends: Vec<Step>,
    /// Large files that were accepted and are not complete.
    pub(super) large: usize,
    descent: Descent,
    queue: mpsc::Receiver<Sent>,
    runtime: Handle,
    throttle: Throttle,
    /// What waits for its turn, in the order of the tree.
    turns: Turns,
    /// Nodes that wait until fewer large files are under way.
    undecided: VecDeque<(u32, Node, super::descent::Place)>,
    /// Number of the last node that came, and of the last that was decided upon.
    last: u32,
    decided: u32,
    /// Number of the node that is being decided upon.
    now: u32,
    /// The last number of which the sender knows that it was passed or accepted.
    passed: u32,
    answers: BytesMut,
    batch: Batch,
    committer: Committer,
    /// WALKED came, and whether the listing is complete.
    walked: Option<bool>,
    unreadable: u64,
}

impl TreeLanding {
    /// Receives everything.
    pub(super) fn run(
        op: u32,
        mut job: ReceiveTree,
        tx: Sender,
        mut queue: mpsc::Receiver<Sent>,
    ) -> Result<TreeDone> {
        let first = queue.blocking_recv().ok_or_else(interrupted)?;
        if !matches!(first, Sent::Node(_)) {
            return Err(Error::protocol("a tree begins with its own directory"));
        }
        let open = std::mem::replace(&mut job.place, Box::new(|| Ok(Place::default())));
        let place = open()?;
        let mut landing = Self::new(op, job, place, tx, queue)?;
        let received = landing.take(first).and_then(|()| landing.receive());
        // What is complete stays complete, whatever ended the rest.
        let last = if matches!(received, Err(Error::Protocol(_))) { Ok(()) } else { landing.hand_over() };
        match received.and(last) {
            Ok(()) => landing.finish(),
            Err(error) => {
                let committed = landing.committer.finish();
                // A full disk, say, is the reason for what came after it.
                Err(committed.err().filter(|error| !matches!(error, Error::Connection(_))).unwrap_or(error))
            }
        }
    }

    fn new(op: u32, job: ReceiveTree, place: Place, tx: Sender, queue: mpsc::Receiver<Sent>) -> Result<Self> {
        Ok(Self {
            op,
            dirs: place.root.clone().map(Dirs::new),
            committer: Committer::spawn(commit_job(op, &job, &place, &tx))?,
            place,
            frames: Vec::new(),
            dead: None,
            extras: Extras::default(),
            lanes: Lanes::default(),
            done: TreeDone::default(),
            late: Vec::new(),
            ends: Vec::new(),
            large: 0,
            descent: Descent::default(),
            queue,
            runtime: Handle::current(),
            throttle: Throttle::new(job.rate),
            turns: Turns::default(),
            undecided: VecDeque::new(),
            last: 0,
            decided: 0,
            now: 0,
            passed: 0,
            answers: BytesMut::new(),
            batch: Batch::default(),
            walked: None,
            unreadable: 0,
            job,
            tx,
        })
    }

    fn receive(&mut self) -> Result<()> {
        while self.walked.is_none() || !self.turns.is_empty() || !self.undecided.is_empty() {
            let sent = self.next()?;
            self.take(sent)?;
            self.settle()?;
            if self.answers.len() >= PIECE {
                self.answer()?;
            }
        }
        self.answer()
    }

    /// The next message. Before it waits, it answers; where nothing comes, what is complete is not held back.
    fn next(&mut self) -> Result<Sent> {
        match self.queue.try_recv() {
            Ok(sent) => return Ok(sent),
            Err(TryRecvError::Disconnected) => return Err(interrupted()),
            Err(TryRecvError::Empty) => {}
        }
        self.answer()?;
        if !self.batch.is_empty() {
            let waited = self.runtime.block_on(async { timeout(IDLE, self.queue.recv()).await });
            match waited {
                Ok(sent) => return sent.ok_or_else(interrupted),
                Err(_) => self.hand_over()?,
            }
        }
        self.committer.check()?;
        self.queue.blocking_recv().ok_or_else(interrupted)
    }

    fn take(&mut self, sent: Sent) -> Result<()> {
        match sent {
            Sent::Node(_) | Sent::Unreadable(_) | Sent::Walked(_) if self.walked.is_some() => {
                Err(Error::protocol("a node after WALKED"))
            }
            Sent::Node(node) => self.node(node),
            Sent::Pack(pieces, data) => self.pack(&pieces, &data),
            Sent::Content(number, arrived) => self.content(number, arrived),
            Sent::Unreadable(result) => self.unreadable(result),
            Sent::Walked(complete) => {
                if self.last == 0 {
                    return Err(Error::protocol("WALKED before the tree's own directory"));
                }
                self.walked = Some(complete);
                self.job.meter.listed();
                self.decide_waiting()
            }
        }
    }

    fn node(&mut self, node: Node) -> Result<()> {
        let place = self.descent.enter(&node)?;
        self.last = self.last.checked_add(1).ok_or_else(|| Error::protocol("too many nodes"))?;
        if place.kind == Kind::File {
            self.job.meter.found(node.size);
        }
        if self.undecided.len() >= MAX_UNDECIDED {
            return Err(Error::protocol("more nodes than may wait for an answer"));
        }
        self.undecided.push_back((self.last, node, place));
        self.decide_waiting()
    }

    /// Decides upon the nodes that came, as far as large files under way allow.
    fn decide_waiting(&mut self) -> Result<()> {
        while self.large < MAX_LARGE {
            let Some((number, node, place)) = self.undecided.pop_front() else { break };
            self.now = number;
            self.leave(place.left);
            self.decide(number, node, place)?;
            self.decided = number;
        }
        if self.walked.is_some() && self.undecided.is_empty() {
            self.leave(self.frames.len());
        }
        Ok(())
    }

    pub(super) fn wait(&mut self, pending: Pending) {
        self.turns.push(self.now, pending);
    }

    /// Nothing is left to do but to say so.
    pub(super) fn note(&mut self, item: Item) {
        self.wait(Pending::Step(Step { number: 0, item, what: What::Nothing }));
    }

    /// Wants the content of a file.
    pub(super) fn accept(&mut self, arriving: Arriving) {
        self.passed = arriving.number;
        self.wait(Pending::File(Box::new(arriving)));
    }

    /// Queues a message for the sender behind all earlier ones.
    pub(super) fn say(&mut self, message: impl Into<Message>) {
        message.into().encode(self.op, &mut self.answers);
    }

    /// Sends what was queued.
    pub(super) fn answer(&mut self) -> Result<()> {
        if self.decided > self.passed {
            self.passed = self.decided;
            self.say(Pass { upto: self.decided });
        }
        if self.answers.is_empty() {
            return Ok(());
        }
        self.tx.activity().moved();
        self.tx.blocking_send_bytes(self.answers.split().freeze())
    }

    fn unreadable(&mut self, result: NodeResult) -> Result<()> {
        if result.file > 0 {
            let failure = Failure::new(Status::from_wire(result.status), result.message);
            if failure.status == Status::Ok {
                return Err(Error::protocol("a sender's NODE_RESULT without a failure"));
            }
            if self.turns.find(result.file).is_none() && result.file > self.decided {
                return Err(Error::protocol(format!("NODE_RESULT for node {}", result.file)));
            }
            return self.give_up(result.file, failure, false);
        }
        let path = RemotePath::from_wire(&result.path).map_err(|error| Error::protocol(error.to_string()))?;
        let kind = kind_from_wire(result.kind).unwrap_or(Kind::Other);
        if result.status == Status::Ok as u32 {
            if !self.job.report {
                self.note(Item::new(path, Kind::Other, Action::Skipped));
            }
            return Ok(());
        }
        self.unreadable += 1;
        if !self.job.report {
            let failure = Failure::new(Status::from_wire(result.status), result.message);
            self.note(Item { failure: Some(failure), ..Item::new(path, kind, Action::Created) });
        }
        Ok(())
    }

    /// Small files that came together.
    fn pack(&mut self, pieces: &[Piece], data: &Bytes) -> Result<()> {
        let mut contents = Vec::with_capacity(pieces.len());
        let mut rest: &[u8] = data;
        for piece in pieces {
            let (content, after) = rest.split_at_checked(piece.size as usize).unwrap_or((&[], &[]));
            contents.push(content);
            rest = after;
        }
        let digests = self.job.algorithm.pieces(&self.lanes, &contents);
        for ((piece, content), digest) in pieces.iter().zip(contents).zip(digests) {
            self.piece(piece, content, digest)?;
        }
        self.tx.activity().moved();
        let meter = self.job.meter.clone();
        self.throttle.pass(data.len(), &self.tx, &meter.bytes);
        Ok(())
    }

    fn piece(&mut self, piece: &Piece, content: &[u8], digest: Hash) -> Result<()> {
        let accepted = piece.file <= self.decided;
        let Some(arriving) = self.turns.find(piece.file) else {
            // Of a file that was given up here while its content was on the way.
            return if accepted { Ok(()) } else { Err(Error::protocol(unasked(piece.file))) };
        };
        if !matches!(arriving.content, Content::Awaited) || arriving.item.size != u64::from(piece.size) {
            let path = &arriving.item.path;
            return Err(Error::protocol(format!("'{path}': content of another size than its node declared")));
        }
        if digest.as_bytes() != piece.digest {
            arriving.damaged += 1;
            let path = arriving.item.path.clone();
            if arriving.damaged > MAX_AGAIN {
                let what =
                    format!("'{path}' arrived damaged {MAX_AGAIN} times; check the memory of both machines");
                return self.give_up(piece.file, Failure::new(Status::Mismatch, what), true);
            }
            tracing::warn!(%path, "a file arrived damaged and is asked for again");
            self.say(Again { file: piece.file, block: 0 });
            return Ok(());
        }
        arriving.item.proof = Some(digest);
        arriving.item.grew = piece.grew;
        if arriving.forbidden {
            let failure = not_to_be_replaced(&arriving.item.path);
            return self.give_up(piece.file, failure, true);
        }
        let (path, mode, mtime) = (arriving.item.path.clone(), arriving.mode, arriving.mtime);
        self.job.meter.works_on(&path);
        let written = self.write_small(&path, content, mode, mtime);
        let whole = self.job.whole;
        let Some(arriving) = self.turns.find(piece.file) else { return Ok(()) };
        match written {
            Ok(complete) => {
                arriving.item.whole = whole.then_some(digest);
                arriving.content = Content::Ready(What::File(complete));
                self.job.meter.bytes.moved(content.len() as u64);
                Ok(())
            }
            Err(error) if error.status() == Status::DiskFull => Err(error),
            Err(error) => self.give_up(piece.file, error.failure(), true),
        }
    }

    fn write_small(
        &mut self,
        path: &RemotePath,
        content: &[u8],
        mode: u32,
        mtime: Option<Mtime>,
    ) -> Result<Complete> {
        let (parent, name) = path.split_last().unwrap_or_default();
        let dirs = self.dirs.as_mut().ok_or_else(interrupted)?;
        let file = Closed::write(&dirs.get(&parent)?, content, mode, mtime)?;
        Ok(Complete::Closed { file, target: name.to_vec(), replace: !self.job.no_clobber })
    }

    /// Something about one file that is no piece of a pack.
    fn content(&mut self, number: u32, arrived: Arrived) -> Result<()> {
        let (algorithm, whole) = (self.job.algorithm, self.job.whole);
        let accepted = number > 0 && number <= self.decided;
        let len = if let Arrived::Block(_, data) = &arrived { data.len() } else { 0 };
        let Some(arriving) = self.turns.find(number) else {
            return if accepted { Ok(()) } else { Err(Error::protocol(unasked(number))) };
        };
        match (&mut arriving.content, arrived) {
            (Content::Large(landing), arrived) => {
                let path = arriving.item.path.clone();
                let taken = landing.take(arrived).map(|()| landing.is_complete());
                self.job.meter.works_on(&path);
                let meter = self.job.meter.clone();
                self.throttle.pass(len, &self.tx, &meter.bytes);
                match taken {
                    Ok(true) => self.land(number),
                    Ok(false) => Ok(()),
                    Err(error) => self.large_failed(number, error),
                }
            }
            // A small file that stands here as it is.
            (Content::Awaited, Arrived::Keep(keep)) if (keep.first, keep.count) == (0, 1) => {
                let Some(offered) = arriving.offered else {
                    return Err(Error::protocol(format!(
                        "KEEP of file {number}, of which nothing was offered"
                    )));
                };
                debug_assert_eq!(offered.as_bytes().len(), algorithm.digest_len());
                arriving.item.proof = Some(offered);
                arriving.item.whole = whole.then_some(offered);
                arriving.item.kept = arriving.item.size;
                let size = arriving.item.size;
                self.job.meter.bytes.keep(size);
                self.stands(number);
                Ok(())
            }
            _ => Err(Error::protocol(format!("file {number} comes as no file of its size does"))),
        }
    }

    /// The content of a large file is complete.
    fn land(&mut self, number: u32) -> Result<()> {
        let Some(arriving) = self.turns.find(number) else { return Ok(()) };
        let Content::Large(landing) = std::mem::replace(&mut arriving.content, Content::Awaited) else {
            return Ok(());
        };
        match landing.finish() {
            Ok((received, commit)) => {
                arriving.item.proof = Some(received.proof);
                arriving.item.whole = received.whole;
                arriving.item.kept = received.kept;
                arriving.item.grew = received.grew;
                match commit {
                    Some(_) if arriving.forbidden => {
                        let failure = not_to_be_replaced(&arriving.item.path);
                        return self.give_up(number, failure, true);
                    }
                    Some(commit) => arriving.content = Content::Ready(What::File(Complete::Open(commit))),
                    None => self.stands(number),
                }
                self.large = self.large.saturating_sub(1);
                self.decide_waiting()
            }
            Err(error) => self.large_failed(number, error),
        }
    }

    fn large_failed(&mut self, number: u32, error: Error) -> Result<()> {
        match error {
            Error::Protocol(_) | Error::Connection(_) => Err(error),
            error if matches!(error.status(), Status::DiskFull | Status::Cancelled) => Err(error),
            error => self.give_up(number, error.failure(), true),
        }
    }

    /// What stands there has the content already; its mode and time may not be right.
    fn stands(&mut self, number: u32) {
        let (preserve, times) = (self.job.preserve, self.job.preserve || self.job.times);
        let Some(arriving) = self.turns.find(number) else { return };
        let Some(existing) = arriving.existing else { return };
        let mode = Some(arriving.mode).filter(|mode| preserve && *mode != existing.mode & 0o777);
        let mtime = arriving.mtime.filter(|mtime| times && *mtime != existing.mtime);
        let right = mode.is_none() && mtime.is_none();
        if right || arriving.forbidden {
            arriving.item.action = Action::Equal;
            arriving.content = Content::Ready(What::Nothing);
        } else {
            arriving.item.action = Action::Meta;
            arriving.content = Content::Ready(What::Meta { mode, mtime });
        }
    }

    /// A file does not arrive, and why.
    fn give_up(&mut self, number: u32, failure: Failure, here: bool) -> Result<()> {
        let Some(arriving) = self.turns.find(number) else { return Ok(()) };
        let was_large = matches!(arriving.content, Content::Large(_));
        let large_file = arriving.item.size > crate::wire::BLOCK_LEN as u64;
        arriving.item.failure = Some(failure.clone());
        arriving.item.here = here;
        let content = std::mem::replace(&mut arriving.content, Content::Ready(What::Nothing));
        if let Content::Large(landing) = content {
            drop(landing.give_up(Error::Remote(failure)));
        }
        if was_large || large_file {
            self.large = self.large.saturating_sub(1);
            return self.decide_waiting();
        }
        Ok(())
    }

    /// Moves what is complete, in order, into the batch.
    fn settle(&mut self) -> Result<()> {
        while let Some(pending) = self.turns.next() {
            match pending {
                Pending::Step(step) => self.batch.add(step),
                Pending::File(arriving) => self.arrived(*arriving),
            }
            if self.batch.is_full() {
                self.hand_over()?;
            }
        }
        Ok(())
    }

    fn arrived(&mut self, arriving: Arriving) {
        let Arriving { number, item, late, content, .. } = arriving;
        let what = if let Content::Ready(what) = content { what } else { What::Nothing };
        // The sender knows of its own failures.
        let theirs = item.failure.is_some() && !item.here;
        if theirs && self.job.report {
            self.unreadable += 1;
            return;
        }
        let step = Step { number: if theirs { 0 } else { number }, item, what };
        if late && step.item.failure.is_none() { self.late.push(step) } else { self.batch.add(step) }
    }

    fn hand_over(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() { Ok(()) } else { self.committer.commit(batch.into_steps()) }
    }

    /// The second pass, when everything has arrived.
    fn finish(mut self) -> Result<TreeDone> {
        let complete = self.walked == Some(true) && self.unreadable == 0;
        let mut done = self.done;
        done.failed = self.committer.finish()?;
        let mut rest = Vec::new();
        if complete && done.failed == 0 {
            rest = self.extras.remove(&self.job, &self.place, &self.tx)?;
            rest.append(&mut self.late);
        }
        for mut step in std::mem::take(&mut self.late) {
            let what = "a directory stands here, and nothing is removed after a failure";
            step.item.failure =
                Some(Failure::new(Status::IsDirectory, format!("'{}': {what}", step.item.path)));
            step.item.here = true;
            rest.push(Step { what: What::Nothing, ..step });
        }
        rest.append(&mut self.ends);
        if !rest.is_empty() {
            let committer = Committer::spawn(commit_job(self.op, &self.job, &self.place, &self.tx))?;
            for batch in chunks(rest) {
                committer.commit(batch)?;
            }
            done.failed += committer.finish()?;
        }
        Ok(done)
    }
}

fn commit_job(op: u32, job: &ReceiveTree, place: &Place, tx: &Sender) -> CommitJob {
    CommitJob {
        op,
        place: place.clone(),
        tx: tx.clone(),
        report: job.report,
        meter: job.meter.clone(),
        on_item: job.on_item.clone(),
    }
}

fn chunks(steps: Vec<Step>) -> impl Iterator<Item = Vec<Step>> {
    let mut steps = steps.into_iter();
    std::iter::from_fn(move || {
        let chunk: Vec<Step> = steps.by_ref().take(BATCH_FILES).collect();
        (!chunk.is_empty()).then_some(chunk)
    })
}

fn unasked(number: u32) -> String {
    format!("content of node {number}, which was not asked for")
}

fn not_to_be_replaced(path: &RemotePath) -> Failure {
    let what = format!("'{path}' exists with other content and the account lacks the right 'overwrite'");
    Failure::new(Status::Denied, what)
}
