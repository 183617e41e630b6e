//! Which blocks have landed: the sender goes forward, only damaged blocks come again, out of order.

use std::collections::BTreeMap;

use super::MAX_AGAIN;
use crate::digest::{Algorithm, Hash, Root};
use crate::error::{Error, Result, Status};

/// Accounts for every block exactly once and folds their digests, in order, into the proof.
pub(super) struct Order {
    next: u64,
    total: Option<u64>,
    missing: BTreeMap<u64, u32>,
    ahead: BTreeMap<u64, Hash>,
    root: Root,
}

impl Order {
    pub(super) fn new(algorithm: Algorithm, total: Option<u64>) -> Self {
        Self { next: 0, total, missing: BTreeMap::new(), ahead: BTreeMap::new(), root: Root::new(algorithm) }
    }

    /// The sender announces `count` blocks from `first`: the next ones, or a single one asked for again.
    pub(super) fn announce(&mut self, first: u64, count: u64) -> Result<()> {
        let past =
            first.checked_add(count).ok_or_else(|| Error::protocol("a block number beyond all files"))?;
        if count == 1 && self.missing.contains_key(&first) {
            return Ok(());
        }
        if first != self.next || count == 0 || self.total.is_some_and(|total| past > total) {
            return Err(Error::protocol(format!("block {first} is not the one that was due")));
        }
        self.next = past;
        Ok(())
    }

    /// A block is in place.
    pub(super) fn landed(&mut self, block: u64, digest: Hash) {
        self.missing.remove(&block);
        self.ahead.insert(block, digest);
        while let Some(digest) = self.ahead.remove(&self.root.blocks()) {
            self.root.add(&digest);
        }
    }

    /// A block arrived damaged; an error where it did so too often.
    pub(super) fn damaged(&mut self, block: u64) -> Result<()> {
        let tries = self.missing.entry(block).or_insert(0);
        *tries += 1;
        if *tries > MAX_AGAIN {
            return Err(Error::local(
                Status::Mismatch,
                format!("block {block} arrived damaged {tries} times; check the memory of both machines"),
            ));
        }
        Ok(())
    }

    /// A block arrived whole but cannot be used before an earlier one; it will come again.
    pub(super) fn postponed(&mut self, block: u64) {
        self.missing.entry(block).or_insert(0);
    }

    /// Blocks in place without a gap, from the beginning.
    pub(super) fn contiguous(&self) -> u64 {
        self.root.blocks()
    }

    /// The sender has announced every block; those that arrived damaged may still come again.
    pub(super) fn end_at(&mut self, total: u64) -> Result<()> {
        if self.total.is_some_and(|known| known != total) || total != self.next {
            return Err(Error::protocol(format!("DONE after {} of {total} blocks", self.next)));
        }
        self.total = Some(total);
        Ok(())
    }

    /// True once every block is in place.
    pub(super) fn is_complete(&self) -> bool {
        self.total == Some(self.root.blocks())
    }

    pub(super) fn proof(self) -> Hash {
        self.root.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Lanes;

    fn hash(byte: u8) -> Hash {
        Lanes::default().plain(&[byte])
    }

    #[test]
    fn a_damaged_block_may_come_again_and_nothing_else_may() {
        let mut order = Order::new(Algorithm::Md5, Some(3));
        order.announce(0, 1).unwrap();
        order.damaged(0).unwrap();
        order.announce(1, 2).unwrap();
        order.landed(1, hash(1));
        order.landed(2, hash(2));
        assert!(!order.is_complete());
        assert!(order.announce(1, 1).is_err(), "block 1 is in place");
        assert!(order.announce(3, 1).is_err(), "there is no block 3");
        order.announce(0, 1).unwrap();
        order.landed(0, hash(0));
        assert!(order.is_complete());
        let mut straight = Root::new(Algorithm::Md5);
        (0..3).for_each(|byte| straight.add(&hash(byte)));
        assert_eq!(order.proof(), straight.finish());
    }

    #[test]
    fn a_block_that_is_always_damaged_fails_the_transfer() {
        let mut order = Order::new(Algorithm::Md5, Some(1));
        order.announce(0, 1).unwrap();
        for _ in 0..MAX_AGAIN {
            order.damaged(0).unwrap();
        }
        assert_eq!(order.damaged(0).unwrap_err().status(), Status::Mismatch);
    }

    #[test]
    fn gaps_overlaps_and_overflow_are_refused() {
        for (first, count) in [(1, 1), (0, 0), (0, 4), (u64::MAX, 2)] {
            assert!(Order::new(Algorithm::Md5, Some(3)).announce(first, count).is_err(), "{first}+{count}");
        }
    }
}
