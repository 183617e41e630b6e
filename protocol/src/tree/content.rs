//! Content of the files that were accepted: compared as it comes, and written.

use bytes::Bytes;

use super::commit::What;
use super::decide::is_fatal;
use super::landing::TreeLanding;
use super::turns::Content;
use super::{Action, ends_it};
use crate::auth::Rights;
use crate::digest::Hash;
use crate::error::{Error, Failure, Result, Status};
use crate::fs::{Closed, Complete, Mtime};
use crate::path::RemotePath;
use crate::transfer::{Arrived, interrupted};
use crate::wire::BLOCK_LEN;
use crate::wire::message::{Again, Piece};

/// Times that a damaged small file is asked for again.
const MAX_AGAIN: u32 = 3;

impl TreeLanding {
    /// Small files that came together.
    pub(super) fn pack(&mut self, pieces: &[Piece], data: &Bytes) -> Result<()> {
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
        let Some(arriving) = self.turns.find(piece.file) else { return self.late(piece.file) };
        if arriving.item.failure.is_some() {
            return Ok(());
        }
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
            return self.refuse(piece.file);
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

    /// Content of a file that is not awaited: it was given up here while that was on the way, or is not due at all.
    fn late(&self, number: u32) -> Result<()> {
        let expected = self.given_up.contains(&number);
        if expected { Ok(()) } else { Err(Error::protocol(unasked(number))) }
    }

    /// What stands there may have come since it was looked at.
    pub(super) fn may_replace(&self) -> bool {
        !self.job.no_clobber && self.job.rights.contains(Rights::OVERWRITE)
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
        Ok(Complete::Closed { file, target: name.to_vec(), replace: self.may_replace() })
    }

    /// Something about one file that is no piece of a pack.
    pub(super) fn content(&mut self, number: u32, arrived: Arrived) -> Result<()> {
        let whole = self.job.whole;
        let len = if let Arrived::Block(_, data) = &arrived { data.len() } else { 0 };
        let Some(arriving) = self.turns.find(number) else { return self.late(number) };
        if arriving.item.failure.is_some() {
            return Ok(());
        }
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
            (Content::Awaited, Arrived::Done(done))
                if self.job.dry_run && done.size == arriving.item.size =>
            {
                arriving.item.proof = Some(Hash::from_wire(&done.digest)?);
                self.compare(number)
            }
            // A small file that stands here as it is.
            (Content::Awaited, Arrived::Keep(keep)) if (keep.first, keep.count) == (0, 1) => {
                let Some(offered) = arriving.offered else {
                    return Err(Error::protocol(format!(
                        "KEEP of file {number}, of which nothing was offered"
                    )));
                };
                arriving.item.proof = Some(offered);
                arriving.item.whole = whole.then_some(offered);
                arriving.item.kept = arriving.item.size;
                let size = arriving.item.size;
                self.job.meter.bytes.keep(size);
                self.stands(number);
                Ok(())
            }
            _ => Err(Error::protocol(format!("'{}' comes as no file of its size does", arriving.item.path))),
        }
    }

    /// Content for a file that may not be replaced. Whether it is equal is not told: it was offered to those who may
    /// read.
    fn refuse(&mut self, number: u32) -> Result<()> {
        let Some(arriving) = self.turns.find(number) else { return Ok(()) };
        let failure = not_to_be_replaced(&arriving.item.path);
        self.give_up(number, failure, true)
    }

    /// Whether what stands here has the proof that came.
    fn is_what_stands(&mut self, number: u32) -> Result<bool> {
        let Some(arriving) = self.turns.find(number) else { return Ok(false) };
        let (path, size, theirs) = (arriving.item.path.clone(), arriving.item.size, arriving.item.proof);
        let (parent, name) = path.split_last().unwrap_or_default();
        let dir = self.dirs.as_mut().ok_or_else(interrupted)?.get(&parent);
        match dir.and_then(|dir| self.digest_of(&dir, name, size)) {
            Ok(own) => Ok(Some(own) == theirs),
            Err(error) if ends_it(&error) => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// A dry run: whether the content is what stands here.
    fn compare(&mut self, number: u32) -> Result<()> {
        let same = self.is_what_stands(number)?;
        if same {
            self.stands(number);
        }
        let Some(arriving) = self.turns.find(number) else { return Ok(()) };
        if !same && arriving.forbidden {
            return self.refuse(number);
        }
        if !same {
            arriving.item.action = Action::Replaced;
        }
        arriving.content = Content::Ready(What::Nothing);
        Ok(())
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
                    Some(_) if arriving.forbidden => return self.refuse(number),
                    Some(commit) => arriving.content = Content::Ready(What::File(Complete::Open(commit))),
                    None => self.stands(number),
                }
                self.large_ended(number)
            }
            Err(error) => self.large_failed(number, error),
        }
    }

    fn large_failed(&mut self, number: u32, error: Error) -> Result<()> {
        match error {
            error if is_fatal(&error) => Err(error),
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
    pub(super) fn give_up(&mut self, number: u32, failure: Failure, here: bool) -> Result<()> {
        let Some(arriving) = self.turns.find(number) else { return Ok(()) };
        let large = arriving.item.size > BLOCK_LEN as u64;
        arriving.item.failure = Some(failure.clone());
        arriving.item.here = here;
        let content = std::mem::replace(&mut arriving.content, Content::Ready(What::Nothing));
        if let Content::Large(landing) = content {
            drop(landing.give_up(Error::Remote(failure)));
        }
        if large && !self.job.dry_run { self.large_ended(number) } else { Ok(()) }
    }

    /// There is room for another large file.
    fn large_ended(&mut self, number: u32) -> Result<()> {
        let blocks = self.turns.find(number).map_or(0, |arriving| std::mem::take(&mut arriving.blocks));
        self.offered = self.offered.saturating_sub(blocks);
        self.large = self.large.saturating_sub(1);
        self.decide_waiting()
    }
}

fn unasked(number: u32) -> String {
    format!("content of node {number}, which was not asked for")
}

fn not_to_be_replaced(path: &RemotePath) -> Failure {
    let what = format!("'{path}' exists with other content and the account lacks the right 'overwrite'");
    Failure::new(Status::Denied, what)
}
