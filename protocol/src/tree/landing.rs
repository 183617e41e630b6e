//! The blocking half of a receiver: takes nodes and content, and hands over what is complete, in the order of the
//! tree.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::time::Duration;

use bytes::BytesMut;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::commit::{Committer, Step, What};
use super::decide::Frame;
use super::descent::Descent;
use super::dirs::Dirs;
use super::extras::Extras;
use super::finish::commit_job;
use super::receive::{Place, Queued, ReceiveTree, Sent};
use super::turns::{Arriving, Batch, Content, Pending, Turns};
use super::{Action, Item, MAX_LISTED, TreeDone, kind_from_wire};
use crate::digest::Lanes;
use crate::error::{Error, Failure, Result, Status};
use crate::fs::Kind;
use crate::path::RemotePath;
use crate::transfer::{Pulse, Throttle, interrupted};
use crate::wire::message::{Node, NodeResult, Pass};
use crate::wire::{Message, Sender};

/// A sender that sends nothing for so long is waiting for us.
const IDLE: Duration = Duration::from_millis(20);
/// Large files that are accepted at a time: each holds a descriptor and the digests of what is here of it.
const MAX_LARGE: usize = 16;
/// Answers are sent in pieces of about so many bytes.
const PIECE: usize = 16 * 1024;
/// Memory for the names of special files of the source, in bytes.
const MAX_SPECIAL: usize = 16 << 20;
/// What may wait for its turn. While so much does, nodes wait for their decision, and the sender for an answer.
const MAX_WAITING: usize = 2 * MAX_LISTED;

/// See the module.
pub(super) struct TreeLanding {
    pub(super) op: u32,
    pub(super) job: ReceiveTree,
    pub(super) place: Place,
    pub(super) tx: Sender,
    pub(super) dirs: Option<Dirs>,
    pub(super) frames: Vec<Frame>,
    /// A directory that could not be made or entered: all beneath it is passed over.
    pub(super) dead: Option<Item>,
    /// Files beneath it.
    pub(super) dead_files: u64,
    pub(super) extras: Extras,
    pub(super) lanes: Lanes,
    pub(super) done: TreeDone,
    /// Files that stand where a directory has to go first.
    pub(super) late: Vec<Step>,
    /// How many there will be.
    pub(super) taking_place: usize,
    /// Directories that get their mode and time when what is too much in them is gone.
    pub(super) ends: Vec<Step>,
    /// Large files that were accepted and are not complete.
    pub(super) large: usize,
    /// Digests of them that were offered.
    pub(super) offered: u64,
    descent: Descent,
    queue: mpsc::Receiver<Queued>,
    unwanted: CancellationToken,
    pub(super) pulse: Pulse,
    runtime: Handle,
    pub(super) throttle: Throttle,
    /// What waits for its turn, in the order of the tree.
    pub(super) turns: Turns,
    /// Nodes that wait until fewer large files are under way.
    undecided: VecDeque<(u32, Node, super::descent::Place)>,
    /// Number of the last node that came, and of the last that was decided upon.
    last: u32,
    pub(super) decided: u32,
    /// Number of the node that is being decided upon.
    now: u32,
    /// The last number of which the sender knows that it was passed or accepted.
    passed: u32,
    answers: BytesMut,
    batch: Batch,
    pub(super) committer: Committer,
    /// Files that failed here, whose content may be on the way.
    pub(super) given_up: BTreeSet<u32>,
    /// Special files of the source: something of their name here is not missing there.
    pub(super) special: HashSet<RemotePath>,
    special_bytes: usize,
    /// WALKED came, and whether the listing is complete.
    pub(super) walked: Option<bool>,
    pub(super) unreadable: u64,
}

impl TreeLanding {
    /// Receives everything.
    pub(super) fn run(
        op: u32,
        mut job: ReceiveTree,
        tx: Sender,
        mut queue: mpsc::Receiver<Queued>,
        unwanted: CancellationToken,
    ) -> Result<TreeDone> {
        let (first, _) = queue.blocking_recv().ok_or_else(interrupted)?;
        if !matches!(first, Sent::Node(_)) {
            return Err(Error::protocol("a tree begins with its own directory"));
        }
        let open = std::mem::replace(&mut job.place, Box::new(|| Ok(Place::default())));
        let place = open()?;
        let mut landing = Self::new(op, job, place, tx, queue, unwanted)?;
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

    fn new(
        op: u32,
        job: ReceiveTree,
        place: Place,
        tx: Sender,
        queue: mpsc::Receiver<Queued>,
        unwanted: CancellationToken,
    ) -> Result<Self> {
        Ok(Self {
            op,
            dirs: place.root.clone().map(Dirs::new),
            committer: Committer::spawn(commit_job(op, &job, &place, &tx))?,
            place,
            frames: Vec::new(),
            dead: None,
            dead_files: 0,
            extras: Extras::default(),
            lanes: Lanes::default(),
            done: TreeDone::default(),
            late: Vec::new(),
            taking_place: 0,
            ends: Vec::new(),
            large: 0,
            offered: 0,
            descent: Descent::default(),
            queue,
            unwanted,
            pulse: Pulse::new(op, tx.clone(), job.meter.bytes()),
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
            given_up: BTreeSet::new(),
            special: HashSet::new(),
            special_bytes: 0,
            walked: None,
            unreadable: 0,
            job,
            tx,
        })
    }

    fn receive(&mut self) -> Result<()> {
        while self.walked.is_none() || !self.turns.is_empty() || !self.undecided.is_empty() {
            let (sent, room) = self.next()?;
            self.take(sent)?;
            drop(room);
            self.settle()?;
            // There is room again.
            if !self.undecided.is_empty() {
                self.decide_waiting()?;
                self.settle()?;
            }
            if self.answers.len() >= PIECE {
                self.answer()?;
            }
            // Also while a large file comes: what is complete before it does not wait for it.
            if self.batch.is_full() {
                self.hand_over()?;
            }
        }
        self.answer()
    }

    /// The next message. Before it waits, it answers; where nothing comes, what is complete is not held back.
    fn next(&mut self) -> Result<Queued> {
        if self.unwanted.is_cancelled() {
            return Err(interrupted());
        }
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
            Sent::Node(_) | Sent::Walked(_) if self.walked.is_some() => {
                Err(Error::protocol("a node after WALKED"))
            }
            Sent::Unreadable(result) if self.walked.is_some() && result.file == 0 => {
                Err(Error::protocol("a name that cannot be read after WALKED"))
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
        if self.undecided.len() >= MAX_LISTED {
            return Err(Error::protocol("more nodes than may wait for an answer"));
        }
        self.undecided.push_back((self.last, node, place));
        self.decide_waiting()
    }

    /// Decides upon the nodes that came, as far as large files under way allow.
    pub(super) fn decide_waiting(&mut self) -> Result<()> {
        while self.large < MAX_LARGE && self.turns.len() < MAX_WAITING {
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

    pub(super) fn wait(&mut self, step: Step) {
        self.turns.push(self.now, Pending::Step(Box::new(step)));
    }

    /// Nothing is left to do but to say so.
    pub(super) fn note(&mut self, item: Item) {
        self.wait(Step { number: 0, item, what: What::Nothing });
    }

    /// Wants the content of a file.
    pub(super) fn accept(&mut self, arriving: Arriving) {
        self.passed = arriving.number;
        self.turns.push(self.now, Pending::File(Box::new(arriving)));
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
            return match self.turns.find(result.file) {
                Some(arriving) if arriving.item.failure.is_none() => {
                    self.give_up(result.file, failure, false)
                }
                // Both ends gave it up at the same time.
                Some(arriving) if arriving.item.here => Ok(()),
                None if self.given_up.contains(&result.file) => Ok(()),
                _ => Err(Error::protocol(format!("NODE_RESULT for node {}, which is not due", result.file))),
            };
        }
        let path = RemotePath::from_wire(&result.path).map_err(|error| Error::protocol(error.to_string()))?;
        let kind = kind_from_wire(result.kind).unwrap_or(Kind::Other);
        if result.status == Status::Ok as u32 {
            if self.job.delete.is_some() {
                self.special_bytes += path.as_bytes().len() + 64;
                if self.special_bytes > MAX_SPECIAL {
                    return Err(Error::local(Status::Limit, "too many special files for --delete"));
                }
                self.special.insert(path.clone());
            }
            return self.tell(Item::new(path, Kind::Other, Action::Skipped));
        }
        self.unreadable += 1;
        let failure = Failure::new(Status::from_wire(result.status), result.message);
        self.tell(Item { failure: Some(failure), ..Item::new(path, kind, Action::Created) })
    }

    /// What the sender says of itself waits for no turn: nothing bounds how much of it comes.
    fn tell(&mut self, item: Item) -> Result<()> {
        if self.job.report {
            return Ok(());
        }
        self.batch.add(Step { number: 0, item, what: What::Nothing });
        if self.batch.is_full() { self.hand_over() } else { Ok(()) }
    }

    /// Moves what is complete, in order, into the batch.
    fn settle(&mut self) -> Result<()> {
        while let Some(pending) = self.turns.next() {
            match pending {
                Pending::Step(step) => self.batch.add(*step),
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
        if theirs {
            self.job.meter.decided(0);
        }
        if theirs && self.job.report {
            self.unreadable += 1;
            return;
        }
        if item.failure.is_some() && item.here {
            self.given_up.insert(number);
            // A sender has no more under way.
            if self.given_up.len() > MAX_WAITING {
                self.given_up.pop_first();
            }
        }
        let step = Step { number: if theirs { 0 } else { number }, item, what };
        if late && step.item.failure.is_none() { self.late.push(step) } else { self.batch.add(step) }
    }

    fn hand_over(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() { Ok(()) } else { self.committer.commit(batch.into_steps()) }
    }
}
