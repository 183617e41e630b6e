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
        let Some(mut sent) = self.sent.remove(&again.file) else {
            if self.given_up.contains(&again.file) {
                return Ok(());
            }
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
            let item = Item::new(path, kind, action);
            match failure {
                Some(failure) => self.fail(item, failure, false),
                None => (self.on_item)(&item),
            }
            return Ok(());
        }
        if let Some(at) = self.wanted.iter().position(|wanted| wanted.file.number == result.file) {
            // It gave the file up before any of it was sent.
            let (Some(wanted), Some(failure)) = (self.wanted.remove(at), failure) else {
                return Err(Error::protocol("a result for a file that was not sent"));
            };
            self.offered = self.offered.saturating_sub(wanted.due);
            self.meter.decided(wanted.file.size);
            self.fail(wanted.file.into_item(action), failure, false);
            return Ok(());
        }
        let Some(sent) = self.sent.remove(&result.file) else {
            if failure.is_some() && self.given_up.contains(&result.file) {
                return Ok(());
            }
            return Err(Error::protocol(format!("a result for node {}, which was not sent", result.file)));
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
}
