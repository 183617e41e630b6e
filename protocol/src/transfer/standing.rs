//! What stands at the receiver already, block by block.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::digest::{Algorithm, Hash, Lanes, blocks_of};
use crate::error::{Error, Result};
use crate::wire::BLOCK_LEN;

/// Whether a file of at most one block has this content already.
pub(super) fn stands_already(standing: &File, size: u64, algorithm: Algorithm, proof: &Hash) -> Result<bool> {
    let mut buffer = vec![0; BLOCK_LEN];
    let data = read_at(standing, 0, block_len(size, 0), &mut buffer)?;
    Ok(algorithm.block(&Lanes::default(), data, true) == *proof)
}

pub(super) fn read_at<'a>(file: &File, block: u64, len: usize, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
    let room = buffer.get_mut(..len).unwrap_or_default();
    file.read_exact_at(room, block * BLOCK_LEN as u64)
        .map_err(|error| Error::io("read what is there already", &error))?;
    Ok(room)
}

/// Blocks of a file of `size` bytes that are whole in `len` bytes of it.
pub(super) fn blocks_within(len: u64, size: u64) -> u64 {
    if len == size { blocks_of(size) } else { len.min(size) / BLOCK_LEN as u64 }
}

/// Bytes of block `number` of a file of `size` bytes.
pub(super) fn block_len(size: u64, number: u64) -> usize {
    let start = number.saturating_mul(BLOCK_LEN as u64);
    size.saturating_sub(start).min(BLOCK_LEN as u64) as usize
}
