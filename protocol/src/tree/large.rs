//! Files of more than one block: block after block, as in a transfer of their own.

use std::fs::File;

use super::outgoing::{Listed, Sent, Wanted};
use super::source::TreeSource;
use crate::digest::{Algorithm, Hash, Root as Proof, blocks_of};
use crate::error::{Error, Result, Status};
use crate::fs::Meta;
use crate::transfer::SourceNamer;
use crate::wire::message::{Block as BlockMessage, Done, Keep};

/// Kept blocks are reported at least this often, so that hashing a long run of them is seen as progress.
const KEEP_RUN: u64 = 64;

/// What was read of a file.
struct ReadOut {
    proof: Hash,
    whole: Option<Hash>,
    kept: u64,
}

impl TreeSource {
    pub(super) fn send_large(&mut self, mut wanted: Wanted) -> Result<()> {
        self.await_digests(&mut wanted)?;
        let Wanted { file: listed, had, .. } = wanted;
        let before = self.meter.bytes_done();
        let opened = self.open(&listed.path).and_then(|(file, meta)| match meta.size < listed.size {
            true => Err(shrank(&listed)),
            false => Ok((file, meta)),
        });
        let (file, meta) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.give_up(listed, error, 0),
        };
        let number = listed.number;
        let grew = meta.size > listed.size;
        // Before its content: the receiver may ask for a block again at once, or give the file up.
        let sent = Sent { file: listed, meta, proof: None, whole: None, kept: 0, grew, resent: 0 };
        self.sent.insert(number, sent);
        let read = self.send_blocks(number, &file, &had);
        let Some(mut sent) = self.sent.remove(&number) else { return read.map(drop) };
        let counted = self.meter.bytes_done().saturating_sub(before);
        let read = read.and_then(|read| match Meta::of(&file)?.unchanged_since(&sent.meta) {
            true => Ok(read),
            false => Err(sent.file.changed()),
        });
        let read = match read {
            Ok(Some(read)) => read,
            Ok(None) => return Ok(()),
            Err(error) => return self.give_up(sent.file, error, counted),
        };
        let whole = match (self.out.algorithm, read.whole) {
            (Algorithm::Sha256, Some(whole)) => whole.to_vec(),
            _ => Vec::new(),
        };
        let size = sent.file.size;
        self.out.send(Done { file: number, size, digest: read.proof.to_vec(), whole, grew: sent.grew })?;
        (sent.proof, sent.whole, sent.kept) = (Some(read.proof), read.whole, read.kept);
        self.sent.insert(number, sent);
        Ok(())
    }

    /// `None` where the receiver gave the file up meanwhile.
    fn send_blocks(&mut self, number: u32, file: &File, had: &[u8]) -> Result<Option<ReadOut>> {
        let Some(sent) = self.sent.get(&number) else { return Ok(None) };
        let (size, key) = (sent.file.size, sent.key(&self.out));
        let blocks = blocks_of(size);
        let named = self.whole || self.out.algorithm == Algorithm::Sha256;
        let mut namer = if named { Some(SourceNamer::begin(&self.out, key.as_ref(), file)?) } else { None };
        let mut proof = Proof::new(self.out.algorithm);
        let mut had = had.chunks_exact(self.out.algorithm.digest_len());
        let mut run = Keep { file: number, first: 0, count: 0 };
        let mut kept = 0;
        for at in 0..blocks {
            self.hear()?;
            if !self.sent.contains_key(&number) {
                return Ok(None);
            }
            let block = self.out.read_block(file, at, size)?;
            let len = block.content().len() as u64;
            let had = had.next();
            let digest = self.out.shared_digest(key.as_ref(), at, had, block.content(), false);
            proof.add(&digest);
            let content = if had == Some(digest.as_bytes()) {
                if run.count == 0 {
                    run.first = at;
                }
                run.count += 1;
                kept += len;
                self.meter.bytes.keep(len);
                block.into_bytes()
            } else {
                self.flush_run(&mut run)?;
                self.meter.bytes.moved(len);
                let announced =
                    BlockMessage { file: number, block: at, digest: digest.to_vec(), last: at + 1 == blocks };
                self.out.emit(announced, block)?
            };
            if run.count == KEEP_RUN {
                self.flush_run(&mut run)?;
            }
            if let Some(namer) = &mut namer {
                namer.offer(&self.out, at, content)?;
            }
        }
        self.flush_run(&mut run)?;
        let proof = proof.finish();
        let whole = namer.map(|namer| namer.finish(&self.out, Some((file, size)), &proof)).transpose()?;
        Ok(Some(ReadOut { proof, whole, kept }))
    }

    fn flush_run(&mut self, run: &mut Keep) -> Result<()> {
        let kept = std::mem::replace(run, Keep { file: run.file, first: 0, count: 0 });
        if kept.count == 0 { Ok(()) } else { self.out.send(kept) }
    }

    /// Sends one block of a file again.
    pub(super) fn repeat_block(&mut self, sent: Sent, number: u64) -> Result<()> {
        let opened =
            self.open(&sent.file.path).and_then(|(file, meta)| match meta.unchanged_since(&sent.meta) {
                true => Ok(file),
                false => Err(sent.file.changed()),
            });
        let size = sent.file.size;
        let key = sent.key(&self.out);
        let block = opened.and_then(|file| {
            let block = self.out.read_block(&file, number, size)?;
            let digest = self.out.digest_again(key.as_ref(), number, &block, false)?;
            Ok((block, digest.to_vec()))
        });
        let (block, digest) = match block {
            Ok(block) => block,
            Err(error) => return self.give_up(sent.file, error, size),
        };
        let file = sent.file.number;
        self.sent.insert(file, sent);
        let last = number + 1 == blocks_of(size);
        self.out.emit(BlockMessage { file, block: number, digest, last }, block).map(drop)
    }
}

fn shrank(listed: &Listed) -> Error {
    Error::local(Status::Changed, format!("'{}' shrank after it was listed", listed.path))
}
