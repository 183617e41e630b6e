//! What the receiver says of files that were sent: again, or their result.

use super::source::TreeSource;
use super::{Action, Item, kind_from_wire};
use crate::digest::{Hash, blocks_of};
use crate::error::{Error, Failure, Result, Status};
use crate::fs::Kind;
use crate::path::RemotePath;
use crate::wire::BLOCK_LEN;
use crate::wire::message::{Again, NodeResult};

impl TreeSource {
    pub(super) fn again(&mut self, again: &Again) -> Result<()> {
        if self.given_up.contains(&again.file) {
            return Ok(());
        }
        let Some(mut sent) = self.sent.remove(&again.file) else {
            return Err(Error::protocol(format!("AGAIN for file {}, which was not sent", again.file)));
        };
        let blocks = blocks_of(sent.file.size).max(1);
        sent.resent += 1;
        // Far more than damage explains: a receiver gives a block up after a few times.
        if again.block >= blocks || sent.resent > 16 * (blocks + 1) {
            return Err(Error::protocol(format!("AGAIN for block {} of file {}", again.block, again.file)));
        }
        if sent.file.size <= BLOCK_LEN as u64 {
            self.repeat_small(sent)
        } else {
            self.repeat_block(sent, again.block)
        }
    }

    /// The receiver's last word about a file, or about a name that needed no content.
    pub(super) fn conclude(&mut self, result: NodeResult) -> Result<()> {
        let action = Action::from_wire(result.action)?;
        let failure = (result.status != Status::Ok as u32)
            .then(|| Failure::new(Status::from_wire(result.status), result.message));
        if result.file == 0 {
            let path =
                RemotePath::from_wire(&result.path).map_err(|error| Error::protocol(error.to_string()))?;
            let kind = kind_from_wire(result.kind).unwrap_or(Kind::Other);
            let mut item = Item::new(path, kind, action);
            match kind {
                Kind::File => item.size = result.size,
                // Files beneath a directory that was refused.
                _ => self.noted += result.size,
            }
            if kind == Kind::File && action != Action::Deleted {
                self.noted += 1;
            }
            match failure {
                Some(failure) => self.fail(item, failure, false),
                None => (self.on_item)(&item),
            }
            return Ok(());
        }
        if self.given_up.contains(&result.file) {
            return Ok(());
        }
        let Some(sent) = self.sent.remove(&result.file) else {
            return self.unwanted(result.file, action, failure);
        };
        self.meter.decided(0);
        let item = sent.into_item(action);
        let theirs = if failure.is_none() { Some(Hash::from_wire(&result.digest)?) } else { None };
        match failure {
            Some(failure) => self.fail(item, failure, false),
            None if theirs == item.proof => (self.on_item)(&item),
            None => {
                let what = "the receiver reports another digest than was sent";
                self.fail(item, Failure::new(Status::Mismatch, what), false);
            }
        }
        Ok(())
    }

    /// The receiver gave a file up before any of it was sent.
    fn unwanted(&mut self, number: u32, action: Action, failure: Option<Failure>) -> Result<()> {
        let at = self.wanted.iter().position(|wanted| wanted.file.number == number);
        let (Some(wanted), Some(failure)) = (at.and_then(|at| self.wanted.remove(at)), failure) else {
            return Err(Error::protocol(format!("a result for node {number}, which was not sent")));
        };
        self.offered = self.offered.saturating_sub(wanted.due);
        self.meter.decided(wanted.file.size);
        self.fail(wanted.file.into_item(action), failure, false);
        Ok(())
    }
}
