//! The blocking half of a sender: walks, answers the receiver, and decides what is sent next.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc::Receiver as Queue;
use tokio::sync::mpsc::error::TryRecvError;

use super::dirs::Dirs;
use super::outgoing::{Listed, Sent, Wanted};
use super::pack::Pack;
use super::send::{Command, SendTree, Unheard};
use super::{Action, Item, MAX_LISTED, MAX_SENT, OnItem, TreeDone, TreeMeter, ends_it, kind_to_wire};
use crate::digest::{Hash, blocks_of};
use crate::error::{Error, Failure, Result, Status};
use crate::fs::{Found, Kind, Meta, Visit, Walk};
use crate::path::RemotePath;
use crate::transfer::{MAX_HAVE, Outlet, Pulse, interrupted, proof_by};
use crate::wire::message::{Accept, Done, End, Node, NodeResult, Walked};
use crate::wire::{BLOCK_LEN, Message, Sender};

/// Nodes are sent in pieces of about so many bytes.
const PIECE: usize = 8 * 1024;
/// While there is content to send, the listing stays so many nodes ahead of the answers.
const AHEAD: usize = 1024;

/// See the module.
pub(super) struct TreeSource {
    pub(super) op: u32,
    pub(super) out: Outlet,
    pub(super) dirs: Dirs,
    pub(super) whole: bool,
    pub(super) meter: Arc<TreeMeter>,
    pub(super) pack: Pack,
    /// Files whose content was sent, by their numbers.
    pub(super) sent: HashMap<u32, Sent>,
    walk: Walk,
    hashes: bool,
    dry_run: bool,
    pulse: Pulse,
    pub(super) on_item: OnItem,
    unheard: Unheard,
    commands: Queue<Command>,
    /// Bytes of digests that wait in it.
    waiting: Arc<AtomicUsize>,
    /// Nodes without an answer, in order.
    listed: VecDeque<Listed>,
    /// Files whose content is wanted, in order.
    pub(super) wanted: VecDeque<Wanted>,
    /// Bytes of the digests that wait in `wanted`.
    pub(super) offered: usize,
    /// Files that could not be sent. The receiver may say something of them before it knows.
    pub(super) given_up: BTreeSet<u32>,
    /// Files that were passed, and those of them of which something was said all the same.
    passed: u64,
    pub(super) noted: u64,
    /// Number of the last node.
    last: u32,
    walked: bool,
    complete: bool,
    done: TreeDone,
}

impl TreeSource {
    pub(super) fn new(
        op: u32,
        job: SendTree,
        tx: Sender,
        commands: Queue<Command>,
        waiting: Arc<AtomicUsize>,
    ) -> Self {
        let pulse = Pulse::new(op, tx.clone(), job.meter.bytes());
        Self {
            op,
            out: Outlet::new(op, job.algorithm, tx.clone(), job.meter.bytes(), job.rate, job.shared),
            dirs: Dirs::new(job.root.clone()),
            whole: job.whole,
            meter: job.meter,
            pack: Pack::default(),
            sent: HashMap::new(),
            walk: Walk::new(job.root, job.filter, job.names),
            hashes: job.hashes,
            dry_run: job.dry_run,
            pulse,
            on_item: job.on_item,
            unheard: job.unheard,
            commands,
            waiting,
            listed: VecDeque::new(),
            wanted: VecDeque::new(),
            offered: 0,
            given_up: BTreeSet::new(),
            passed: 0,
            noted: 0,
            last: 0,
            walked: false,
            complete: true,
            done: TreeDone::default(),
        }
    }

    /// Until the receiver has ended the operation.
    pub(super) fn run(mut self) -> Result<TreeDone> {
        let done = self.send_all();
        if done.is_err() {
            for sent in self.sent.into_values().filter(|sent| sent.proof.is_some()) {
                self.unheard.add(sent.into_item(Action::Created));
            }
        }
        done
    }

    fn send_all(&mut self) -> Result<TreeDone> {
        loop {
            self.hear()?;
            if self.may_list() {
                self.list()?;
            } else if self.sent.len() + self.pack.len() < MAX_SENT
                && let Some(wanted) = self.wanted.pop_front()
            {
                self.offered = self.offered.saturating_sub(wanted.due);
                self.send_content(wanted)?;
            } else {
                self.flush_pack()?;
                match self.commands.blocking_recv() {
                    Some(command) => self.obey(command)?,
                    None if self.is_done() => {
                        let equal = self.passed.saturating_sub(self.noted);
                        return Ok(TreeDone { equal, ..self.done });
                    }
                    None => return Err(interrupted()),
                }
            }
        }
    }

    fn is_done(&self) -> bool {
        self.walked && self.listed.is_empty() && self.wanted.is_empty() && self.sent.is_empty()
    }

    fn may_list(&self) -> bool {
        let ahead = if self.wanted.is_empty() { MAX_LISTED } else { AHEAD };
        !self.walked && self.listed.len() < ahead && self.wanted.len() < MAX_LISTED
    }

    /// Whatever the receiver has said meanwhile.
    pub(super) fn hear(&mut self) -> Result<()> {
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.obey(command)?,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) if self.is_done() => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(interrupted()),
            }
        }
    }

    /// Waits until the digests that the receiver announced are here.
    pub(super) fn await_digests(&mut self, wanted: &mut Wanted) -> Result<()> {
        while wanted.had.len() < wanted.due {
            match self.commands.blocking_recv() {
                Some(Command::Have(digests)) => {
                    self.waiting.fetch_sub(digests.len(), Ordering::Relaxed);
                    wanted.collect(&digests, self.out.algorithm.digest_len())?;
                }
                Some(command) => self.obey(command)?,
                None => return Err(interrupted()),
            }
        }
        Ok(())
    }

    fn obey(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Accept(accept) => self.accept(&accept),
            Command::Have(digests) => self.take_digests(&digests),
            Command::Pass(upto)
                if upto <= self.last && self.listed.front().is_some_and(|n| n.number <= upto) =>
            {
                self.pass(upto);
                Ok(())
            }
            Command::Pass(upto) => Err(Error::protocol(format!("PASS of node {upto}, which is not due"))),
            Command::Again(again) => self.again(&again),
            Command::Result(result) => self.conclude(result),
        }
    }

    fn take_digests(&mut self, digests: &Bytes) -> Result<()> {
        self.waiting.fetch_sub(digests.len(), Ordering::Relaxed);
        match self.wanted.back_mut() {
            Some(wanted) => wanted.collect(digests, self.out.algorithm.digest_len()),
            None => Err(Error::protocol("HAVE without ACCEPT")),
        }
    }

    fn pass(&mut self, upto: u32) {
        while self.listed.front().is_some_and(|node| node.number <= upto) {
            if let Some(node) = self.listed.pop_front()
                && node.kind == Kind::File
            {
                match self.unheard.take(&node.path) {
                    Some(item) => (self.on_item)(&item),
                    None => self.passed += 1,
                }
                self.meter.decided(node.size);
            }
        }
    }

    fn accept(&mut self, accept: &Accept) -> Result<()> {
        if accept.file > 0 {
            self.pass(accept.file - 1);
        }
        let file = match self.listed.pop_front() {
            Some(node) if node.number == accept.file && node.kind == Kind::File => node,
            _ => {
                return Err(Error::protocol(format!(
                    "ACCEPT of node {}, which is no file that is due",
                    accept.file
                )));
            }
        };
        let due = accept.have.min(MAX_HAVE) as usize * self.out.algorithm.digest_len();
        self.offered += due;
        if accept.have > blocks_of(file.size).clamp(1, MAX_HAVE)
            || self.offered > MAX_HAVE as usize * self.out.algorithm.digest_len() + MAX_LISTED * 32
        {
            return Err(Error::protocol("ACCEPT of more blocks than the file has"));
        }
        self.wanted.push_back(Wanted { file, had: Vec::new(), due });
        Ok(())
    }

    /// Sends a piece of the listing.
    fn list(&mut self) -> Result<()> {
        let mut frames = BytesMut::new();
        while frames.len() < PIECE && self.listed.len() < MAX_LISTED {
            match self.walk.next() {
                Some(Visit::Found(found)) => self.found(found, &mut frames)?,
                Some(Visit::Failed { path, error }) => {
                    self.unreadable(path, Kind::Other, &error, &mut frames)
                }
                None => {
                    self.walked = true;
                    self.meter.listed();
                    Message::from(Walked { complete: self.complete }).encode(self.op, &mut frames);
                    break;
                }
            }
        }
        self.out.tx.activity().moved();
        self.out.tx.blocking_send_bytes(frames.freeze())
    }

    fn found(&mut self, found: Found, frames: &mut BytesMut) -> Result<()> {
        let Found { path, depth, meta, target } = found;
        if meta.kind == Kind::Other {
            let item = Item::new(path, Kind::Other, Action::Skipped);
            let result = NodeResult {
                action: item.action as u32,
                path: item.path.as_bytes().to_vec(),
                kind: kind_to_wire(Kind::Other),
                ..NodeResult::default()
            };
            Message::from(result).encode(self.op, frames);
            (self.on_item)(&item);
            return Ok(());
        }
        let digest = if self.hashes && meta.kind == Kind::File {
            match self.proof(&path, meta.size) {
                Ok((_, proof)) => proof.to_vec(),
                Err(error) if ends_it(&error) => return Err(error),
                Err(error) => {
                    self.unreadable(path, Kind::File, &error, frames);
                    return Ok(());
                }
            }
        } else {
            Vec::new()
        };
        self.last += 1;
        let node = Node {
            depth,
            name: path.file_name().unwrap_or_default().to_vec(),
            kind: kind_to_wire(meta.kind),
            size: if meta.kind == Kind::File { meta.size } else { 0 },
            mtime: meta.mtime.secs,
            mtime_nanos: meta.mtime.nanos,
            mode: meta.mode & 0o777,
            target,
            digest,
        };
        if meta.kind == Kind::File {
            self.meter.found(meta.size);
        }
        let size = node.size;
        Message::from(node).encode(self.op, frames);
        let listed = Listed { number: self.last, path, kind: meta.kind, size, mtime: meta.mtime };
        self.listed.push_back(listed);
        Ok(())
    }

    fn unreadable(&mut self, path: RemotePath, kind: Kind, error: &Error, frames: &mut BytesMut) {
        self.complete = false;
        let failure = error.failure();
        let End { status, message } = failure.clone().into();
        let result = NodeResult {
            status,
            message,
            path: path.as_bytes().to_vec(),
            kind: kind_to_wire(kind),
            ..NodeResult::default()
        };
        Message::from(result).encode(self.op, frames);
        self.fail(Item::new(path, kind, Action::Created), failure, true);
    }

    pub(super) fn fail(&mut self, item: Item, failure: Failure, here: bool) {
        self.done.failed += 1;
        (self.on_item)(&Item { failure: Some(failure), here, ..item });
    }

    fn proof(&mut self, path: &RemotePath, size: u64) -> Result<(Meta, Hash)> {
        let (file, meta) = self.open(path)?;
        if meta.size != size {
            return Err(Error::local(Status::Changed, format!("'{path}' changed while it was read")));
        }
        // Never by shared digests: the receiver says by this proof alone whether it has the same.
        let (out, pulse) = (&self.out, &mut self.pulse);
        let proof = proof_by(&file, size, out.algorithm, pulse, |block, alone| out.digest(block, alone))?;
        Ok((meta, proof))
    }

    pub(super) fn open(&mut self, path: &RemotePath) -> Result<(File, Meta)> {
        let (parent, name) = path.split_last().unwrap_or_default();
        self.dirs.get(&parent)?.open_file(name)
    }

    fn send_content(&mut self, wanted: Wanted) -> Result<()> {
        self.meter.works_on(&wanted.file.path);
        if self.dry_run {
            return self.send_proof(wanted);
        }
        if wanted.file.size <= BLOCK_LEN as u64 {
            return self.add_to_pack(wanted);
        }
        self.flush_pack()?;
        self.send_large(wanted)
    }

    /// What a dry run needs of a file.
    fn send_proof(&mut self, wanted: Wanted) -> Result<()> {
        let file = wanted.file;
        let (meta, proof) = match self.proof(&file.path, file.size) {
            Ok(proven) => proven,
            Err(error) => return self.give_up(file, error, 0),
        };
        let (number, size) = (file.number, file.size);
        let sent = Sent { file, meta, proof: Some(proof), whole: None, kept: 0, grew: false, resent: 0 };
        self.sent.insert(number, sent);
        self.meter.bytes.keep(size);
        self.out.send(Done { file: number, size, digest: proof.to_vec(), ..Done::default() })
    }

    /// A file that cannot be sent. Errors: the connection.
    pub(super) fn give_up(&mut self, file: Listed, error: Error, counted: u64) -> Result<()> {
        if ends_it(&error) {
            return Err(error);
        }
        let failure = error.failure();
        let End { status, message } = failure.clone().into();
        let said = NodeResult { file: file.number, status, message, ..NodeResult::default() };
        self.given_up.insert(file.number);
        // What is said of older ones is on no way any more.
        if self.given_up.len() > MAX_SENT {
            self.given_up.pop_first();
        }
        self.out.send(said)?;
        self.meter.decided(file.size.saturating_sub(counted));
        self.fail(file.into_item(Action::Created), failure, true);
        Ok(())
    }
}
