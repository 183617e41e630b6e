//! MD5 of many independent pieces side by side in SIMD lanes.

use md5::{Digest as _, Md5};
use md5_many::Md5Many;

use super::{Hash, LEAF_LEN};
use crate::wire::BLOCK_LEN;

const LEAVES: usize = BLOCK_LEN / LEAF_LEN;

/// The lanes of this processor. Detects its features once; cheap to keep, one for each thread that hashes.
#[derive(Clone)]
pub struct Lanes(Md5Many);

impl Default for Lanes {
    fn default() -> Self {
        Self(Md5Many::new())
    }
}

impl Lanes {
    /// Plain MD5 of one piece.
    pub fn plain(&self, data: &[u8]) -> Hash {
        Hash::of(&md5_many::md5(data))
    }

    /// Plain MD5 of each of many pieces.
    pub fn plain_each(&self, pieces: &[&[u8]]) -> Vec<Hash> {
        let mut digests = vec![[0; 16]; pieces.len()];
        self.0.hash_many(pieces, &mut digests);
        digests.iter().map(|digest| Hash::of(digest)).collect()
    }

    /// MD5 of the digests of the 32 KiB leaves of one block (at most [`BLOCK_LEN`] bytes; an empty block has
    /// no leaves).
    pub fn tree(&self, block: &[u8]) -> Hash {
        let mut leaves: [&[u8]; LEAVES] = [&[]; LEAVES];
        let mut digests = [[0; 16]; LEAVES];
        let mut count = 0;
        for (leaf, data) in leaves.iter_mut().zip(block.chunks(LEAF_LEN)) {
            *leaf = data;
            count += 1;
        }
        let leaves = leaves.get(..count).unwrap_or_default();
        let digests = digests.get_mut(..count).unwrap_or_default();
        self.0.hash_many(leaves, digests);
        Hash::of(&Md5::digest(digests.as_flattened()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reference(block: &[u8]) -> Hash {
        let mut outer = Md5::new();
        for leaf in block.chunks(LEAF_LEN) {
            outer.update(Md5::digest(leaf));
        }
        Hash::of(&outer.finalize())
    }

    #[test]
    fn every_number_of_leaves_agrees_with_the_plain_implementation() {
        let data: Vec<u8> =
            (0..BLOCK_LEN as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let lanes = Lanes::default();
        for leaves in 0..=LEAVES {
            for extra in [0usize, 1, 63, LEAF_LEN - 1] {
                let len = (leaves * LEAF_LEN + extra).min(BLOCK_LEN);
                assert_eq!(lanes.tree(&data[..len]), reference(&data[..len]), "{len}");
            }
        }
    }

    #[test]
    fn pieces_of_all_sizes_are_hashed_side_by_side() {
        let data: Vec<u8> = (0..70_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let pieces: Vec<&[u8]> = (0..300).map(|i| &data[i..i + (i * i) % 69_000]).collect();
        let digests = Lanes::default().plain_each(&pieces);
        assert!(pieces.iter().zip(&digests).all(|(piece, digest)| *digest == Hash::of(&Md5::digest(piece))));
        assert!(Lanes::default().plain_each(&[]).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn lanes_agree_with_the_plain_implementation(seed in any::<u64>(), len in 0usize..200_000) {
            let data: Vec<u8> = (0..len as u64).map(|i| (i.wrapping_mul(seed | 1) >> 13) as u8).collect();
            let lanes = Lanes::default();
            prop_assert_eq!(lanes.tree(&data), reference(&data));
            prop_assert_eq!(lanes.plain(&data), Hash::of(&Md5::digest(&data)));
        }
    }
}
