//! Small files: many in one PACK, hashed side by side.

use std::os::unix::fs::FileExt;

use bytes::BytesMut;

use super::MAX_PIECES;
use super::outgoing::{Listed, Sent, Wanted};
use super::source::TreeSource;
use crate::digest::Hash;
use crate::error::{Error, Result, Status};
use crate::fs::Meta;
use crate::transfer::{FileKey, Small};
use crate::wire::buffer::Block;
use crate::wire::message::{Keep, Piece};
use crate::wire::{BLOCK_LEN, Message};

/// Files that were read and wait to be sent together.
#[derive(Default)]
pub(super) struct Pack {
    block: Option<Block>,
    filled: usize,
    files: Vec<Held>,
}

/// One file of a pack.
struct Held {
    sent: Sent,
    /// What the receiver has.
    had: Option<Hash>,
    /// Where its content begins.
    at: usize,
    /// Under which its digest is shared.
    key: Option<FileKey>,
    /// It was asked for again.
    repeated: bool,
}

impl Pack {
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }
}

impl TreeSource {
    /// Reads a file of at most one block into the pack.
    pub(super) fn add_to_pack(&mut self, mut wanted: Wanted) -> Result<()> {
        self.await_digests(&mut wanted)?;
        let had = (!wanted.had.is_empty()).then(|| Hash::from_wire(&wanted.had)).transpose()?;
        if self.pack.files.len() == MAX_PIECES || self.pack.filled + wanted.file.size as usize > BLOCK_LEN {
            self.flush_pack()?;
        }
        let at = self.pack.filled;
        // Retried once: a file that is written to now and then is quiet most of the time.
        let read = match self.read_small(&wanted.file, at) {
            Err(error) if error.status() == Status::Changed => self.read_small(&wanted.file, at),
            read => read,
        };
        let (meta, key) = match read {
            Ok(read) => read,
            Err(error) => return self.give_up(wanted.file, error, 0),
        };
        let grew = meta.size > wanted.file.size;
        self.pack.filled += wanted.file.size as usize;
        let sent = Sent { file: wanted.file, meta, proof: None, whole: None, kept: 0, grew, resent: 0 };
        self.pack.files.push(Held { sent, had, at, key, repeated: false });
        Ok(())
    }

    /// Reads as much as was declared. There may be more of it: then its digest is not shared.
    fn read_small(&mut self, listed: &Listed, at: usize) -> Result<(Meta, Option<FileKey>)> {
        let (file, meta) = self.open(&listed.path)?;
        if meta.size < listed.size {
            return Err(listed.changed());
        }
        let key = if meta.size == listed.size { self.out.key(&meta) } else { None };
        if self.pack.block.is_none() {
            self.pack.block = Some(self.out.room(BLOCK_LEN));
        }
        let room = self.pack.block.as_mut().and_then(|block| block.content_mut().get_mut(at..));
        let room = room.and_then(|room| room.get_mut(..listed.size as usize)).unwrap_or_default();
        file.read_exact_at(room, 0).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => listed.changed(),
            _ => Error::io(format_args!("read '{}'", listed.path), &error),
        })?;
        if !Meta::of(&file)?.unchanged_since(&meta) {
            return Err(listed.changed());
        }
        Ok((meta, key))
    }

    /// Hashes and sends what was gathered.
    pub(super) fn flush_pack(&mut self) -> Result<()> {
        let Some(mut block) = self.pack.block.take() else { return Ok(()) };
        let mut files = std::mem::take(&mut self.pack.files);
        self.pack.filled = 0;
        let content = block.content();
        let pieces = files.iter().map(|held| {
            let content = content.get(held.at..held.at + held.sent.file.size as usize).unwrap_or_default();
            // What is sent again is always hashed anew.
            Small { file: held.key.filter(|_| !held.repeated), content, had: held.had }
        });
        let digests = self.out.pieces(&pieces.collect::<Vec<_>>());

        let (mut keeps, mut frames) = (BytesMut::new(), BytesMut::new());
        let mut filled = 0;
        for (held, digest) in files.iter_mut().zip(digests) {
            let (number, len) = (held.sent.file.number, held.sent.file.size as usize);
            if held.repeated {
                self.out.agrees(held.key.as_ref(), 0, &digest);
            }
            held.sent.proof = Some(digest);
            held.sent.whole = self.whole.then_some(digest);
            if held.had == Some(digest) {
                Message::from(Keep { file: number, first: 0, count: 1 }).encode(self.op, &mut keeps);
                held.sent.kept = len as u64;
                self.meter.bytes.keep(len as u64);
                continue;
            }
            let piece =
                Piece { file: number, size: len as u32, digest: digest.to_vec(), grew: held.sent.grew };
            Message::from(piece).encode(self.op, &mut frames);
            // What is kept leaves a gap.
            if held.at != filled {
                block.content_mut().copy_within(held.at..held.at + len, filled);
            }
            filled += len;
            if !held.repeated {
                self.meter.bytes.moved(len as u64);
            }
        }
        block.truncate(filled);
        for held in files {
            self.sent.insert(held.sent.file.number, held.sent);
        }
        if !keeps.is_empty() {
            self.out.tx.blocking_send_bytes(keeps.freeze())?;
        }
        if frames.is_empty() { Ok(()) } else { self.out.emit_pack(frames, block) }
    }

    /// Sends a small file again, in a pack of its own.
    pub(super) fn repeat_small(&mut self, mut sent: Sent) -> Result<()> {
        self.flush_pack()?;
        let unchanged =
            self.read_small(&sent.file, 0).and_then(|(meta, key)| match meta.unchanged_since(&sent.meta) {
                true => Ok(key),
                false => Err(sent.file.changed()),
            });
        let key = match unchanged {
            Ok(key) => key,
            Err(error) => {
                self.pack = Pack::default();
                let counted = sent.file.size;
                return self.give_up(sent.file, error, counted);
            }
        };
        self.pack.filled = sent.file.size as usize;
        sent.proof = None;
        self.pack.files.push(Held { sent, had: None, at: 0, key, repeated: true });
        self.flush_pack()
    }
}
