//! The blocking task of a receiver: hash, compare, write, commit.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::name::Namer;
use super::order::Order;
use super::receive::{Arrived, ReceiveJob, Received};
use super::sink::{Sink, copy_block, write_block};
use super::{FileInfo, MAX_HAVE, Meter, Throttle, interrupted};
use crate::digest::{Algorithm, Hash, Lanes, blocks_of};
use crate::error::{Error, Result, Status};
use crate::wire::frame::HAVE_CAP;
use crate::wire::message::{Accept, Again, Block, Done, Keep};
use crate::wire::{BLOCK_LEN, Message, Sender};

pub(super) struct Landing {
    op: u32,
    info: FileInfo,
    sink: Sink,
    algorithm: Algorithm,
    lanes: Lanes,
    tx: Sender,
    order: Order,
    /// Digests of the blocks that were here before.
    had: Vec<Hash>,
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
}

impl Landing {
    pub(super) fn run(
        op: u32,
        job: ReceiveJob,
        tx: Sender,
        queue: mpsc::Receiver<Arrived>,
    ) -> Result<Received> {
        let total = job.info.size.map(blocks_of);
        let alone = total.is_some_and(|total| total <= 1);
        let needs_whole = job.whole || job.algorithm == Algorithm::Sha256;
        let needs_namer = needs_whole && !alone && matches!(job.sink, Sink::File { .. });
        let landing = Landing {
            op,
            info: job.info,
            sink: job.sink,
            algorithm: job.algorithm,
            lanes: Lanes::default(),
            tx,
            order: Order::new(job.algorithm, total),
            had: Vec::new(),
            namer: if needs_namer { Some(Namer::spawn(job.algorithm)?) } else { None },
            known: job.known.filter(|_| job.whole),
            meter: job.meter,
            throttle: Throttle::new(job.rate),
            arrived: 0,
            landed: 0,
            last: None,
            kept: 0,
        };
        landing.land(queue)
    }

    fn land(mut self, mut queue: mpsc::Receiver<Arrived>) -> Result<Received> {
        let landed = self.take_all(&mut queue).and_then(|done| {
            let _busy = self.tx.activity().busy();
            let proven = self.compare(&done)?;
            Ok((done, proven))
        });
        match landed {
            Ok((done, proven)) => self.commit(&done, proven),
            Err(error) => {
                if let (Status::Mismatch | Status::Changed, Sink::File { staged, .. }) =
                    (error.status(), self.sink)
                {
                    staged.discard();
                }
                Err(error)
            }
        }
    }

    fn take_all(&mut self, queue: &mut mpsc::Receiver<Arrived>) -> Result<Done> {
        if let Some(size) = self.info.size.filter(|size| blocks_of(*size) > 1) {
            self.offer_what_is_here(size)?;
        }
        let mut done: Option<Done> = None;
        loop {
            match done {
                Some(done) if self.order.is_complete() => {
                    if self.info.size.is_none() && done.size != self.landed {
                        return Err(Error::protocol("DONE names another size than arrived"));
                    }
                    return Ok(done);
                }
                _ => {}
            }
            match queue.blocking_recv().ok_or_else(interrupted)? {
                Arrived::Block(block, data) => self.block(&block, data)?,
                Arrived::Keep(keep) if done.is_none() => self.keep(&keep)?,
                Arrived::Done(last) if done.is_none() => {
                    if self.info.size.is_some_and(|size| size != last.size) {
                        return Err(Error::protocol("DONE names another size than FILE"));
                    }
                    if self.algorithm != Algorithm::Sha256 && !last.whole.is_empty() {
                        return Err(Error::protocol("DONE with a SHA-256 that nobody asked for"));
                    }
                    self.order.end_at(blocks_of(last.size))?;
                    done = Some(last);
                }
                Arrived::Withdrawn => {
                    return Err(Error::local(Status::Changed, "the file changed while it was read"));
                }
                _ => return Err(Error::protocol("a message after DONE")),
            }
        }
    }

    /// Hashes what an earlier attempt left, and tells the sender.
    fn offer_what_is_here(&mut self, size: u64) -> Result<()> {
        match &self.sink {
            Sink::Stream(stream) => {
                self.had = stream.digests();
                self.had.truncate(usize::try_from(blocks_of(size).min(MAX_HAVE)).unwrap_or(usize::MAX));
            }
            Sink::File { staged, standing, .. } => {
                let (file, len) = match standing {
                    Some(standing) => (standing, size),
                    None => (staged.file(), staged.kept_len().min(size)),
                };
                let whole_blocks = if len == size { blocks_of(size) } else { len / BLOCK_LEN as u64 };
                let mut buffer = vec![0; BLOCK_LEN];
                for number in 0..whole_blocks.min(MAX_HAVE) {
                    let data = read_at(file, number, block_len(size, number), &mut buffer)?;
                    self.had.push(self.algorithm.block(&self.lanes, data, false));
                    self.tx.activity().moved();
                    if self.tx.is_closed() {
                        return Err(interrupted());
                    }
                }
            }
        }
        self.tx.blocking_send(self.op, Accept { file: 0, have: self.had.len() as u64 })?;
        for digests in self.had.chunks(HAVE_CAP as usize / self.algorithm.digest_len()) {
            let bytes: Vec<u8> = digests.iter().flat_map(|digest| digest.as_bytes()).copied().collect();
            self.tx.blocking_send(self.op, Message::Have(Bytes::from(bytes)))?;
        }
        Ok(())
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
            return self.tx.blocking_send(self.op, Again { file: 0, block: number });
        }
        let len = data.len() as u64;
        match &self.sink {
            Sink::Stream(stream) => {
                if number > self.order.contiguous() {
                    self.order.postponed(number);
                    return self.tx.blocking_send(self.op, Again { file: 0, block: number });
                }
                stream.write(number, digest, data.clone())?;
            }
            Sink::File { staged, .. } => {
                write_block(staged.file(), staged.kept_len(), number, &data)?;
                if let Some(namer) = &mut self.namer {
                    // What was kept or landed out of order is read back from the file.
                    namer.catch_up(staged.file(), self.order.contiguous(), u64::MAX)?;
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
            if let Sink::File { staged, standing: Some(standing), .. } = &self.sink {
                let data = copy_block(standing, staged.file(), number, len)?;
                if self.algorithm.block(&self.lanes, &data, false) != digest {
                    return Err(Error::local(Status::Changed, "the existing file changed meanwhile"));
                }
            }
            self.order.landed(number, digest);
            self.meter.keep(len as u64);
            self.kept += len as u64;
        }
        if let (Some(namer), Sink::File { staged, .. }) = (&mut self.namer, &self.sink) {
            namer.catch_up(staged.file(), self.order.contiguous(), size)?;
        }
        Ok(())
    }

    /// Proof, then plain digest, then what the sender remembered.
    fn compare(&mut self, done: &Done) -> Result<Proven> {
        let order = std::mem::replace(&mut self.order, Order::new(self.algorithm, None));
        let blocks = order.contiguous();
        let proof = order.proof();
        if proof.as_bytes() != done.digest {
            return Err(mismatch("the proof of the whole file differs from the sender's"));
        }
        let named = match (&self.sink, self.namer.take()) {
            (Sink::Stream(stream), _) => stream.finish()?,
            (Sink::File { staged, .. }, Some(mut namer)) => {
                namer.catch_up(staged.file(), blocks, done.size)?;
                Some(namer.finish()?)
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

    fn commit(self, done: &Done, proven: Proven) -> Result<Received> {
        let _busy = self.tx.activity().busy();
        let mut received = Received {
            size: done.size,
            proof: proven.proof,
            whole: proven.whole,
            kept: self.kept,
            grew: done.grew,
            replaced: false,
        };
        if let Sink::File { staged, name, mut commit, standing } = self.sink {
            commit.len = done.size;
            let stands = match &standing {
                Some(_) if blocks_of(done.size) > 1 => self.arrived == 0,
                Some(standing) => stands_already(standing, done.size, self.algorithm, &proven.proof)?,
                None => false,
            };
            // An earlier attempt of this run had come this far and its answer was lost.
            if !stands {
                received.replaced = staged.commit(&name, &commit)?.replaced;
            }
        }
        Ok(received)
    }
}

struct Proven {
    proof: Hash,
    whole: Option<Hash>,
}

fn mismatch(message: impl Into<String>) -> Error {
    Error::local(Status::Mismatch, message)
}

/// Whether a file of at most one block has this content already.
fn stands_already(standing: &File, size: u64, algorithm: Algorithm, proof: &Hash) -> Result<bool> {
    let mut buffer = vec![0; BLOCK_LEN];
    let data = read_at(standing, 0, block_len(size, 0), &mut buffer)?;
    Ok(algorithm.block(&Lanes::default(), data, true) == *proof)
}

fn read_at<'a>(file: &File, block: u64, len: usize, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
    let room = buffer.get_mut(..len).unwrap_or_default();
    file.read_exact_at(room, block * BLOCK_LEN as u64)
        .map_err(|error| Error::io("read what is there already", &error))?;
    Ok(room)
}

/// Bytes of block `number` of a file of `size` bytes.
fn block_len(size: u64, number: u64) -> usize {
    let start = number.saturating_mul(BLOCK_LEN as u64);
    size.saturating_sub(start).min(BLOCK_LEN as u64) as usize
}
