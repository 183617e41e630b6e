//! Digests of blocks and of whole files: the only place that names an MD5 crate.
//!
//! Two digests, two jobs. The *proof* is made of independent pieces, so SIMD lanes compute it at both ends
//! while the data is hot: leaves of 32 KiB, the digest of a block is the MD5 of its leaf digests, the proof of
//! the file is the MD5 of its block digests; a file of at most one block is proven by its plain MD5. The
//! *name* is the plain MD5 (or SHA-256) of the whole file, a serial computation, done beside the transfer.

mod many;

use std::fmt;

use aws_lc_rs::digest as aws;
use md5_many::Digest as _;

pub use many::Lanes;

use crate::error::{Error, Result};
use crate::wire::BLOCK_LEN;

/// Bytes of a leaf of the tree.
pub const LEAF_LEN: usize = 32 * 1024;

/// What is computed and compared for a transfer (`--digest`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u32)]
pub enum Algorithm {
    /// Proof by the tree of MD5s, and the plain MD5 as the name.
    #[default]
    Md5 = 1,
    /// Proof by the tree of MD5s alone.
    Md5Tree = 2,
    /// SHA-256 of each block and of the whole file, at both ends.
    Sha256 = 3,
}

impl Algorithm {
    /// The algorithm with this number on the wire.
    pub fn from_wire(code: u32) -> Result<Self> {
        match code {
            1 => Ok(Algorithm::Md5),
            2 => Ok(Algorithm::Md5Tree),
            3 => Ok(Algorithm::Sha256),
            _ => Err(Error::protocol(format!("unknown digest algorithm {code}"))),
        }
    }

    /// Bytes of one digest: 16 or 32.
    pub fn digest_len(self) -> usize {
        match self {
            Algorithm::Md5 | Algorithm::Md5Tree => 16,
            Algorithm::Sha256 => 32,
        }
    }

    /// Name as options and JSON write it.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Md5 => "md5",
            Algorithm::Md5Tree => "md5-tree",
            Algorithm::Sha256 => "sha256",
        }
    }

    /// Digests of whole files of at most one block each.
    pub fn pieces(self, lanes: &Lanes, pieces: &[&[u8]]) -> Vec<Hash> {
        match self {
            Algorithm::Sha256 => pieces.iter().map(|piece| sha256(piece)).collect(),
            _ => lanes.plain_each(pieces),
        }
    }

    /// Digest of one block. `alone` where the block is the whole file.
    pub fn block(self, lanes: &Lanes, data: &[u8], alone: bool) -> Hash {
        match self {
            Algorithm::Sha256 => sha256(data),
            _ if alone => lanes.plain(data),
            _ => lanes.tree(data),
        }
    }
}

/// A digest of 16 or 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash {
    bytes: [u8; 32],
    len: u8,
}

impl Hash {
    /// Takes 16 or 32 bytes; any other length is refused.
    pub fn from_wire(bytes: &[u8]) -> Result<Self> {
        match bytes.len() {
            16 | 32 => Ok(Self::of(bytes)),
            n => Err(Error::protocol(format!("a digest of {n} bytes"))),
        }
    }

    fn of(bytes: &[u8]) -> Self {
        let mut all = [0; 32];
        for (to, from) in all.iter_mut().zip(bytes) {
            *to = *from;
        }
        Self { bytes: all, len: bytes.len().min(32) as u8 }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The bytes, owned.
    pub fn to_vec(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }
}

/// Lower-case hexadecimal, as `md5sum` prints it.
impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Plain digest of a whole file, computed serially.
#[derive(Clone)]
pub enum Whole {
    /// MD5 (RFC 1321). md5-many is a fifth faster than md-5 on one stream, and this stream is what a transfer
    /// waits for.
    Md5(md5_many::Md5),
    /// SHA-256 (FIPS 180-4).
    Sha256(aws::Context),
}

impl Whole {
    /// The plain digest that belongs to `algorithm`: SHA-256 for `sha256`, otherwise MD5.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Whole::Sha256(aws::Context::new(&aws::SHA256)),
            _ => Whole::Md5(md5_many::Md5::new()),
        }
    }

    /// Adds bytes in the order of the file.
    pub fn update(&mut self, data: &[u8]) {
        match self {
            Whole::Md5(md5) => md5.update(data),
            Whole::Sha256(sha) => sha.update(data),
        }
    }

    /// The digest of everything added.
    pub fn finish(self) -> Hash {
        match self {
            Whole::Md5(md5) => Hash::of(&md5.finalize()),
            Whole::Sha256(sha) => Hash::of(sha.finish().as_ref()),
        }
    }
}

/// Proof of a whole file from the digests of its blocks, added in order.
///
/// For MD5 the root of the tree (of one plain block: that block's digest). For SHA-256 the SHA-256 of the
/// block digests; the plain SHA-256 of the file is compared besides.
#[derive(Clone)]
pub struct Root {
    whole: Whole,
    first: Option<Hash>,
    blocks: u64,
}

impl Root {
    /// The proof of no blocks yet.
    pub fn new(algorithm: Algorithm) -> Self {
        Self { whole: Whole::new(algorithm), first: None, blocks: 0 }
    }

    /// Adds the digest of the next block.
    pub fn add(&mut self, block: &Hash) {
        self.first.get_or_insert(*block);
        self.whole.update(block.as_bytes());
        self.blocks += 1;
    }

    /// Blocks added.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// The proof. A single block is its own proof; no block is the digest of nothing.
    pub fn finish(self) -> Hash {
        match (self.blocks, self.first) {
            (1, Some(only)) => only,
            _ => self.whole.finish(),
        }
    }
}

/// SHA-256 of some bytes.
pub fn sha256(data: &[u8]) -> Hash {
    Hash::of(aws::digest(&aws::SHA256, data).as_ref())
}

/// Number of blocks of a file of `size` bytes.
pub fn blocks_of(size: u64) -> u64 {
    size.div_ceil(BLOCK_LEN as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_what_md5sum_prints() {
        let mut whole = Whole::new(Algorithm::Md5);
        whole.update(b"The quick brown fox jumps over ");
        whole.update(b"the lazy dog");
        assert_eq!(whole.finish().to_string(), "9e107d9d372bb6826bd81d3542a419d6");
        assert_eq!(Root::new(Algorithm::Md5).finish().to_string(), "d41d8cd98f00b204e9800998ecf8427e");
    }

    #[test]
    fn sha256_is_fips_180() {
        assert_eq!(
            sha256(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn swapped_or_missing_blocks_change_the_proof() {
        let lanes = Lanes::default();
        let blocks: Vec<Hash> = (0u8..4).map(|i| Algorithm::Md5.block(&lanes, &[i; 100], false)).collect();
        let proof = |order: &[usize]| {
            let mut root = Root::new(Algorithm::Md5);
            order.iter().for_each(|i| root.add(&blocks[*i]));
            root.finish()
        };
        assert_ne!(proof(&[0, 1, 2, 3]), proof(&[0, 2, 1, 3]));
        assert_ne!(proof(&[0, 1, 2, 3]), proof(&[0, 1, 2]));
    }
}
