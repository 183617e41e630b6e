//! The blocking task of a receiver: hash, compare, write, commit.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::name::Namer;
use super::order::Order;
use super::receive::{Arrived, ReceiveJob, Received};
use super::sink::{Sink, copy_block, write_block};
use super::standing::{block_len, blocks_within, read_at, stands_already};
use super::{FileInfo, MAX_HAVE, Meter, Pulse, Throttle, interrupted};
use crate::digest::{Algorithm, Hash, Lanes, blocks_of};
use crate::error::{Error, Result, Status};
use crate::fs::{Commit, Meta};
use crate::wire::message::{Accept, Again, Block, Done, Keep};
use crate::wire::{BLOCK_LEN, Message, Sender};

/// Digests are sent as they are computed, so many at a time: a quarter of a second of reading.
const HAVE_RUN: u64 = 256;

/// One file that is arriving.
pub(crate) struct Landing {
    op: u32,
    /// Its number within the operation.
    file: u32,
    info: FileInfo,
    sink: Sink,
    algorithm: Algorithm,
    lanes: Lanes,
    tx: Sender,
    order: Order,
    /// Digests of the blocks that were here before.
    had: Vec<Hash>,
    /// Compute the plain digest of the file too.
    named: bool,
    namer: Option<Namer>,
    known: Option<Hash>,
    meter: Arc<Meter>,
    throttle: Throttle,
    /// Blocks that came over the connection.
    arrived: u64,
    /// Bytes of them.
    landed: u64,
    /// The block that said that it is the last.
    last: Option<u64>,
    kept: u64,
    /// Leading blocks that are kept and still only where they stand: a file that proves equal is not written again.
    uncopied: u64,
    done: Option<Done>,
    pulse: Option<Pulse>,
}

impl Landing {
    /// From now on the sender is told while much is copied or hashed at once.
    pub(crate) fn with_pulse(self) -> Self {
        let pulse = Pulse::new(self.op, self.tx.clone(), Arc::clone(&self.meter));
        Self { pulse: Some(pulse), ..self }
    }

    /// Prepares for the content of file `file` of operation `op`.
    pub(crate) fn new(op: u32, file: u32, job: ReceiveJob, tx: Sender) -> Self {
        let total = job.info.size.map(blocks_of);
        let alone = total.is_some_and(|total| total <= 1);
        let needs_whole = job.whole || job.algorithm == Algorithm::Sha256;
        Landing {
            op,
            file,
            named: needs_whole && !alone && matches!(job.sink, Sink::File { .. }),
            info: job.info,
            sink: job.sink,
            algorithm: job.algorithm,
            lanes: Lanes::default(),
            tx,
            order: Order::new(job.algorithm, total),
            had: Vec::new(),
            namer: None,
            known: job.known.filter(|_| job.whole),
            meter: job.meter,
            throttle: Throttle::new(job.rate),
            arrived: 0,
            landed: 0,
            last: None,
            kept: 0,
            uncopied: 0,
            done: None,
            pulse: None,
        }
    }

    /// Receives the whole file from a queue, and puts it in its place.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Arrived>) -> Result<Received> {
        let taken = self.take_all(&mut queue);
        let tx = self.tx.clone();
        let _busy = tx.activity().busy();
        match taken {
            Ok(()) => match self.finish()? {
                (received, None) => Ok(received),
                (received, Some(Commit { staged, target, how })) => {
                    let replaced = staged.commit(&target, &how)?.replaced;
                    Ok(Received { replaced, ..received })
                }
            },
            Err(error) => Err(self.give_up(error)),
        }
    }

    fn take_all(&mut self, queue: &mut mpsc::Receiver<Arrived>) -> Result<()> {
        self.offer_what_is_here(MAX_HAVE)?;
        while !self.is_complete() {
            self.take(queue.blocking_recv().ok_or_else(interrupted)?)?;
        }
        Ok(())
    }

    /// One message of the sender about this file.
    pub(crate) fn take(&mut self, arrived: Arrived) -> Result<()> {
        match arrived {
            Arrived::Block(block, data) => self.block(&block, data),
            Arrived::Keep(keep) if self.done.is_none() => self.keep(&keep),
            Arrived::Done(done) if self.done.is_none() => {
                if self.info.size.is_some_and(|size| size != done.size) {
                    return Err(Error::protocol("DONE names another size than FILE"));
                }
                if self.algorithm != Algorithm::Sha256 && !done.whole.is_empty() {
                    return Err(Error::protocol("DONE with a SHA-256 that nobody asked for"));
                }
                self.order.end_at(blocks_of(done.size))?;
                self.done = Some(done);
                Ok(())
            }
            Arrived::Withdrawn => Err(Error::local(Status::Changed, "the file changed while it was read")),
            _ => Err(Error::protocol("a message after DONE")),
        }
    }

    /// Whether everything is here that the sender has.
    pub(crate) fn is_complete(&self) -> bool {
        self.done.is_some() && self.order.is_complete()
    }

    /// The error, where nothing that came is of use to a later attempt without what came.
    pub(crate) fn give_up(self, error: Error) -> Error {
        if let (Status::Mismatch | Status::Changed, Sink::File { staged, .. }) = (error.status(), self.sink) {
            staged.discard();
        }
        error
    }

    /// Hashes what is here of the file already, and tells the sender, who waits for it where there is more than
    /// one block. At most so many blocks; gives how many.
    pub(crate) fn offer_what_is_here(&mut self, most: u64) -> Result<u64> {
        let Some(size) = self.info.size.filter(|size| blocks_of(*size) > 1) else { return Ok(0) };
        let blocks = match &self.sink {
            Sink::Stream(stream) => {
                self.had = stream.digests();
                self.had.truncate(usize::try_from(blocks_of(size).min(most)).unwrap_or(usize::MAX));
                self.had.len() as u64
            }
            Sink::File { staged, standing, .. } => {
                let standing =
                    standing.as_ref().map_or(Ok(0), |file| Meta::of(file).map(|meta| meta.size))?;
                blocks_within(standing, size).max(blocks_within(staged.kept_len(), size)).min(most)
            }
        };
        self.tx.blocking_send(self.op, Accept { file: self.file, have: blocks })?;
        let mut buffer = vec![0; BLOCK_LEN];
        let mut begin = 0;
        while begin < blocks {
            let end = blocks.min(begin + HAVE_RUN);
            if let Sink::File { staged, standing, .. } = &self.sink {
                for number in begin..end {
                    // What an earlier attempt left goes before what stands under the name.
                    let file = match standing {
                        Some(standing) if number >= blocks_within(staged.kept_len(), size) => standing,
                        _ => staged.file(),
                    };
                    // The sender waits for as many as were announced. One of a block that cannot be read fits none.
                    let digest = match read_at(file, number, block_len(size, number), &mut buffer) {
                        Ok(data) => self.algorithm.block(&self.lanes, data, false),
                        Err(_) => Hash::from_wire(&vec![0; self.algorithm.digest_len()])?,
                    };
                    self.had.push(digest);
                    self.tx.activity().moved();
                    if self.tx.is_closed() {
                        return Err(interrupted());
                    }
                }
            }
            let run = self.had.get(begin as usize..end as usize).unwrap_or_default();
            let bytes: Vec<u8> = run.iter().flat_map(|digest| digest.as_bytes()).copied().collect();
            self.tx.blocking_send(self.op, Message::Have(Bytes::from(bytes)))?;
            begin = end;
        }
        Ok(blocks)
    }

    fn block(&mut self, block: &Block, data: Bytes) -> Result<()> {
        let number = block.block;
        self.order.announce(number, 1)?;
        let fits = match self.info.size {
            Some(size) => {
                data.len() == block_len(size, number) && block.last == (number + 1 == blocks_of(size))
            }
            // Of a pipe only the block that says so is the last, and only that one may be short.
            None if block.last => !data.is_empty() && self.last.is_none_or(|last| last == number),
            None => data.len() == BLOCK_LEN && self.last.is_none_or(|last| number < last),
        };
        if !fits {
            return Err(Error::protocol(format!(
                "block {number} of {} bytes is out of its place",
                data.len()
            )));
        }
        if block.last {
            self.last = Some(number);
        }
        let alone = number == 0 && block.last;
        let digest = self.algorithm.block(&self.lanes, &data, alone);
        if digest.as_bytes() != block.digest {
            tracing::warn!(block = number, "a block arrived damaged and is asked for again");
            self.order.damaged(number)?;
            return self.tx.blocking_send(self.op, Again { file: self.file, block: number });
        }
        let len = data.len() as u64;
        self.copy_all()?;
        match &self.sink {
            Sink::Stream(stream) => {
                if number > self.order.contiguous() {
                    self.order.postponed(number);
                    return self.tx.blocking_send(self.op, Again { file: self.file, block: number });
                }
                stream.write(number, digest, data.clone())?;
            }
            Sink::File { staged, .. } => {
                write_block(staged.file(), staged.kept_len(), number, &data)?;
                if self.named && self.namer.is_none() {
                    self.namer = Some(Namer::spawn(self.algorithm)?);
                }
                if let Some(namer) = &mut self.namer {
                    // What was kept or landed out of order is read back from the file.
                    namer.catch_up(staged.file(), self.order.contiguous(), u64::MAX, self.tx.activity())?;
                    namer.offer(number, data.clone());
                }
            }
        }
        self.arrived += 1;
        self.landed += len;
        self.order.landed(number, digest);
        self.meter.moved(len);
        self.throttle.pass(data.len(), &self.tx, &self.meter);
        Ok(())
    }

    fn keep(&mut self, keep: &Keep) -> Result<()> {
        self.order.announce(keep.first, keep.count)?;
        let size = self.info.size.unwrap_or(0);
        for number in keep.first..keep.first.saturating_add(keep.count) {
            let digest = usize::try_from(number).ok().and_then(|number| self.had.get(number)).copied();
            let digest = digest
                .ok_or_else(|| Error::protocol(format!("KEEP of block {number}, which is not here")))?;
            let len = block_len(size, number);
            if let Sink::File { staged, standing: Some(_), .. } = &self.sink
                && number >= blocks_within(staged.kept_len(), size)
            {
                if self.arrived == 0 && number == self.uncopied {
                    self.uncopied += 1;
                } else {
                    self.copy(number, len, digest)?;
                }
            }
            self.order.landed(number, digest);
            self.meter.keep(len as u64);
            self.kept += len as u64;
        }
        if self.named && self.namer.is_none() {
            self.namer = Some(Namer::spawn(self.algorithm)?);
        }
        if let (Some(namer), Sink::File { staged, standing, .. }) = (&mut self.namer, &self.sink) {
            let file = standing.as_ref().filter(|_| self.uncopied > 0).unwrap_or(staged.file());
            namer.catch_up(file, self.order.contiguous(), size, self.tx.activity())?;
        }
        Ok(())
    }

    /// Copies a kept block from where it stands.
    fn copy(&self, number: u64, len: usize, digest: Hash) -> Result<()> {
        let Sink::File { staged, standing: Some(standing), .. } = &self.sink else { return Ok(()) };
        let data = copy_block(standing, staged.file(), number, len)?;
        if self.algorithm.block(&self.lanes, &data, false) != digest {
            return Err(Error::local(Status::Changed, "the existing file changed meanwhile"));
        }
        Ok(())
    }

    /// Tells the sender that work goes on, where it listens for that.
    fn beat(&mut self, number: u64) -> Result<()> {
        self.tx.activity().moved();
        match &mut self.pulse {
            Some(pulse) => pulse.beat(number * BLOCK_LEN as u64),
            None => Ok(()),
        }
    }

    /// Copies what was left where it stands, now that the file will be written.
    fn copy_all(&mut self) -> Result<()> {
        let size = self.info.size.unwrap_or(0);
        for number in 0..std::mem::take(&mut self.uncopied) {
            let digest = usize::try_from(number).ok().and_then(|number| self.had.get(number)).copied();
            let digest = digest.ok_or_else(interrupted)?;
            self.copy(number, block_len(size, number), digest)?;
            self.beat(number)?;
        }
        Ok(())
    }

    /// Proof, then plain digest, then what the sender remembered.
    fn compare(&mut self, done: &Done) -> Result<Proven> {
        if self.info.size.is_none() && done.size != self.landed {
            return Err(Error::protocol("DONE names another size than arrived"));
        }
        let order = std::mem::replace(&mut self.order, Order::new(self.algorithm, None));
        let blocks = order.contiguous();
        let proof = order.proof();
        if proof.as_bytes() != done.digest {
            return Err(mismatch("the proof of the whole file differs from the sender's"));
        }
        let named = match (&self.sink, self.namer.take()) {
            (Sink::Stream(stream), _) => stream.finish()?,
            (Sink::File { staged, .. }, Some(mut namer)) => {
                namer.catch_up(staged.file(), blocks, done.size, self.tx.activity())?;
                let pulse = &mut self.pulse;
                Some(namer.finish_while(|| pulse.as_mut().map_or(Ok(()), |pulse| pulse.beat(done.size)))?)
            }
            _ => None,
        };
        // A single block is its own proof and its own name.
        let whole = named.or_else(|| (blocks <= 1).then_some(proof));
        if self.algorithm == Algorithm::Sha256 && whole.is_none_or(|whole| whole.as_bytes() != done.whole) {
            return Err(mismatch("the SHA-256 of the whole file differs from the sender's"));
        }
        if let (Some(whole), Some(known), true) = (whole, self.known, self.algorithm != Algorithm::Sha256)
            && whole != known
        {
            return Err(mismatch(format!(
                "MD5 {whole} differs from {known}, which the sender remembers of this file"
            )));
        }
        Ok(Proven { proof, whole })
    }

    /// Compares everything. Gives what is to be committed, or nothing where the file stood here already.
    pub(crate) fn finish(mut self) -> Result<(Received, Option<Commit>)> {
        let proven = match self.done.take() {
            Some(done) => self.compare(&done).map(|proven| (done, proven)),
            None => Err(interrupted()),
        };
        let (done, proven) = match proven {
            Ok(proven) => proven,
            Err(error) => return Err(self.give_up(error)),
        };
        let received = Received {
            size: done.size,
            proof: proven.proof,
            whole: proven.whole,
            kept: self.kept,
            grew: done.grew,
            replaced: false,
        };
        if self.stands(&done, &proven)? {
            if let Sink::File { staged, .. } = self.sink {
                staged.discard();
            }
            return Ok((received, None));
        }
        self.copy_all()?;
        let Sink::File { staged, name, mut commit, .. } = self.sink else { return Ok((received, None)) };
        commit.len = done.size;
        Ok((received, Some(Commit { staged, target: name, how: commit })))
    }

    /// Whether the file stands under its name already, as it is.
    fn stands(&self, done: &Done, proven: &Proven) -> Result<bool> {
        let Sink::File { standing: Some(standing), .. } = &self.sink else { return Ok(false) };
        if blocks_of(done.size) <= 1 {
            return stands_already(standing, done.size, self.algorithm, &proven.proof);
        }
        Ok(self.uncopied == blocks_of(done.size) && Meta::of(standing)?.size == done.size)
    }
}

struct Proven {
    proof: Hash,
    whole: Option<Hash>,
}

fn mismatch(message: impl Into<String>) -> Error {
    Error::local(Status::Mismatch, message)
}
