//! Two trees compared by digest, the sender's against the one here: two sorted streams are merged, and nothing moves.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::descent::Descent;
use super::dirs::Dirs;
use super::{Action, Item, OnItem, TreeMeter, ends_it, kind_from_wire, mtime_of};
use crate::digest::{Algorithm, Hash, Lanes};
use crate::error::{Error, Failure, Result, Status};
use crate::fs::{Filter, Found, Kind, Names, Root, Visit, Walk};
use crate::path::RemotePath;
use crate::transfer::{Abandon, Pulse, crashed, interrupted, let_go, proof_of};
use crate::wire::message::{Node, NodeResult, Pass};
use crate::wire::{Connection, Message, Sender};

/// Nodes that may wait for the blocking task.
const QUEUE: usize = 256;
/// Nodes that are answered at once.
const PASS_EACH: u32 = 256;

/// One tree to compare.
pub struct CompareTree {
    /// The directory here.
    pub root: Root,
    /// What is left out at both ends.
    pub filter: Filter,
    /// All that is compared, where not everything is.
    pub names: Option<Names>,
    /// What is computed and compared.
    pub algorithm: Algorithm,
    /// Where progress is shown.
    pub meter: Arc<TreeMeter>,
    /// Told of each file and link: [`Action::Equal`], [`Action::Replaced`] where they differ, [`Action::Created`] for
    /// what only the sender has, [`Action::Deleted`] for what is only here, and [`Action::Skipped`] for special files.
    /// Directories only where they are missing.
    pub on_item: OnItem,
}

enum Said {
    Node(Node),
    Unreadable(NodeResult),
    Walked,
}

/// Compares the tree that the sender lists as operation `op`, with digests, and gives how many names could not be
/// compared. The caller ends the operation.
pub async fn compare_tree<S>(conn: &mut Connection<S>, op: u32, job: CompareTree) -> Result<u64>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    job.meter.begin();
    let (said, queue) = mpsc::channel(QUEUE);
    let abandon = Abandon(job.meter.bytes());
    let tx = conn.tx.clone();
    let mut worker = conn.workers.spawn_blocking(move || Comparison::new(op, job, tx).run(queue));
    let error = loop {
        let message = tokio::select! {
            done = &mut worker => return done.map_err(|error| crashed(&error))?,
            message = conn.rx.next_in(op) => message,
        };
        let message = match message {
            Ok(Message::Node(node)) => Said::Node(node),
            Ok(Message::NodeResult(result)) => Said::Unreadable(result),
            Ok(Message::Walked(_)) => Said::Walked,
            // It is at work.
            Ok(Message::Digest(digest)) if digest.digest.is_empty() => continue,
            Ok(Message::End(end)) => break end.premature(),
            Ok(other) => break Error::protocol(format!("{} in a comparison", other.kind().name())),
            Err(error) => break error,
        };
        // A worker that has ended cannot take it; its own result comes next.
        drop(said.send(message).await);
    };
    drop(said);
    drop(abandon);
    Err(let_go(conn, worker, error).await)
}

struct Comparison {
    op: u32,
    tx: Sender,
    dirs: Dirs,
    walk: Walk,
    /// The next name here.
    here: Option<Visit>,
    algorithm: Algorithm,
    lanes: Lanes,
    pulse: Pulse,
    meter: Arc<TreeMeter>,
    on_item: OnItem,
    /// A directory that could not be read at one end: what is beneath it is not compared.
    blind: Option<RemotePath>,
    failed: u64,
}

impl Comparison {
    fn new(op: u32, job: CompareTree, tx: Sender) -> Self {
        let pulse = Pulse::new(op, tx.clone(), job.meter.bytes());
        let mut walk = Walk::new(job.root.clone(), job.filter, job.names);
        Self {
            op,
            tx,
            dirs: Dirs::new(job.root),
            here: walk.next(),
            walk,
            algorithm: job.algorithm,
            lanes: Lanes::default(),
            pulse,
            meter: job.meter,
            on_item: job.on_item,
            blind: None,
            failed: 0,
        }
    }

    fn run(mut self, mut queue: mpsc::Receiver<Said>) -> Result<u64> {
        let mut descent = Descent::default();
        let (mut last, mut passed) = (0_u32, 0);
        loop {
            if last > passed && (last - passed >= PASS_EACH || queue.is_empty()) {
                self.tx.blocking_send(self.op, Pass { upto: last })?;
                passed = last;
            }
            match queue.blocking_recv().ok_or_else(interrupted)? {
                Said::Node(node) => {
                    let place = descent.enter(&node)?;
                    last = last.checked_add(1).ok_or_else(|| Error::protocol("too many nodes"))?;
                    self.node(&node, place.path, place.kind)?;
                }
                Said::Unreadable(result) => self.unreadable(result)?,
                Said::Walked => {
                    self.meter.listed();
                    if last > passed {
                        self.tx.blocking_send(self.op, Pass { upto: last })?;
                    }
                    while let Some(visit) = self.here.take() {
                        self.only_here(visit);
                    }
                    return Ok(self.failed);
                }
            }
        }
    }

    /// One name of the sender's. Errors: what ends it all; everything else is told of the name.
    fn node(&mut self, node: &Node, path: RemotePath, kind: Kind) -> Result<()> {
        if kind == Kind::File {
            self.meter.found(node.size);
        }
        self.meter.works_on(&path);
        let here = self.reach(&path);
        let item = Item { size: node.size, mtime: mtime_of(node), ..Item::new(path, kind, Action::Created) };
        if !self.is_blind(&item.path) {
            match here {
                Some(found) => self.compare(node, &found, item)?,
                None => (self.on_item)(&item),
            }
        }
        if kind == Kind::File {
            self.meter.decided(node.size);
        }
        Ok(())
    }

    fn compare(&mut self, node: &Node, found: &Found, item: Item) -> Result<()> {
        let (kind, meta) = (item.kind, &found.meta);
        let same = match kind {
            _ if meta.kind != kind => Ok(None),
            Kind::Dir => return Ok(()),
            Kind::Symlink => Ok((found.target == node.target).then_some(None)),
            _ if meta.size != node.size => Ok(None),
            _ => self.proof(found).map(|own| (own.as_bytes() == node.digest).then_some(Some(own))),
        };
        if meta.kind == Kind::Dir && kind != Kind::Dir {
            self.walk_past(&found.path);
        }
        match same {
            Ok(Some(proof)) => (self.on_item)(&Item { action: Action::Equal, proof, ..item }),
            Ok(None) => (self.on_item)(&Item { action: Action::Replaced, ..item }),
            Err(error) if ends_it(&error) => return Err(error),
            Err(error) => self.fail(item, error.failure(), true),
        }
        Ok(())
    }

    /// What a directory here holds is not told, where the sender has none.
    fn walk_past(&mut self, dir: &RemotePath) {
        while self.here.as_ref().is_some_and(|visit| path_of(visit).starts_with(dir)) {
            self.here = self.walk.next();
        }
    }

    fn proof(&mut self, found: &Found) -> Result<Hash> {
        let (parent, name) = found.path.split_last().unwrap_or_default();
        let (file, meta) = self.dirs.get(&parent)?.open_file(name)?;
        if meta.size != found.meta.size {
            return Err(Error::local(Status::Changed, format!("'{}' changed while it was read", found.path)));
        }
        proof_of(&file, meta.size, self.algorithm, &self.lanes, &mut self.pulse)
    }

    /// Goes on here up to `path`, and gives what stands there.
    fn reach(&mut self, path: &RemotePath) -> Option<Found> {
        while let Some(visit) = self.here.take() {
            match path_of(&visit).components().cmp(path.components()) {
                std::cmp::Ordering::Less => self.only_here(visit),
                std::cmp::Ordering::Equal => {
                    self.here = self.walk.next();
                    if let Visit::Found(found) = visit {
                        // It says at once where it could not be listed.
                        if let Some(Visit::Failed { path: failed, .. }) = &self.here
                            && *failed == found.path
                            && let Some(failed) = self.here.take()
                        {
                            self.only_here(failed);
                        }
                        return Some(found);
                    }
                    self.failed_here(visit);
                    return None;
                }
                std::cmp::Ordering::Greater => {
                    self.here = Some(visit);
                    return None;
                }
            }
        }
        None
    }

    /// A name that the sender does not have. The one after it is next.
    fn only_here(&mut self, visit: Visit) {
        self.here = self.walk.next();
        match visit {
            Visit::Found(found) if self.is_blind(&found.path) => {}
            Visit::Found(found) => {
                let size = if found.meta.kind == Kind::File { found.meta.size } else { 0 };
                let mtime = found.meta.mtime;
                // A FIFO, a device or a socket is copied by nothing, so it is missing nowhere.
                let skipped = found.meta.kind == Kind::Other;
                let action = if skipped { Action::Skipped } else { Action::Deleted };
                let item = Item { size, mtime, ..Item::new(found.path, found.meta.kind, action) };
                (self.on_item)(&item);
            }
            failed @ Visit::Failed { .. } => self.failed_here(failed),
        }
    }

    fn failed_here(&mut self, visit: Visit) {
        if let Visit::Failed { path, error } = visit {
            self.fail(Item::new(path.clone(), Kind::Other, Action::Equal), error.failure(), true);
            self.blind = Some(path);
        }
    }

    fn unreadable(&mut self, result: NodeResult) -> Result<()> {
        let path = RemotePath::from_wire(&result.path).map_err(|error| Error::protocol(error.to_string()))?;
        if result.status == Status::Ok as u32 {
            // A FIFO, a device or a socket there. Something else of that name here differs from it.
            let here = self.reach(&path).map(|found| found.meta.kind).filter(|kind| *kind != Kind::Other);
            let item = match here {
                Some(kind) => Item::new(path, kind, Action::Replaced),
                None => Item::new(path, Kind::Other, Action::Skipped),
            };
            (self.on_item)(&item);
            return Ok(());
        }
        self.reach(&path);
        let kind = kind_from_wire(result.kind).unwrap_or(Kind::Other);
        let failure = Failure::new(Status::from_wire(result.status), result.message);
        self.fail(Item::new(path.clone(), kind, Action::Equal), failure, false);
        self.blind = Some(path);
        Ok(())
    }

    fn is_blind(&self, path: &RemotePath) -> bool {
        self.blind.as_ref().is_some_and(|blind| path.starts_with(blind))
    }

    fn fail(&mut self, item: Item, failure: Failure, here: bool) {
        self.failed += 1;
        (self.on_item)(&Item { failure: Some(failure), here, ..item });
    }
}

fn path_of(visit: &Visit) -> &RemotePath {
    match visit {
        Visit::Found(found) => &found.path,
        Visit::Failed { path, .. } => path,
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
