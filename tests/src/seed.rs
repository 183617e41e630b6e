//! Random numbers that can be had again: `FT_SEED=N` repeats a run.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A SplitMix64 generator (Steele, Lea, Flood 2014). Good enough to vary tests, and for nothing else.
#[derive(Debug, Clone)]
pub struct Seed(u64);

impl Seed {
    /// The generator of a test: from `FT_SEED` where that is set, otherwise another one each run. Prints
    /// which, so that a failure can be repeated.
    pub fn fresh(test: &str) -> Self {
        let given = std::env::var("FT_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        eprintln!("{test}: FT_SEED={seed}");
        Self(seed)
    }

    /// The generator that begins here.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound
    }

    /// `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next_u64() as u8).collect()
    }
}
