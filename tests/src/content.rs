//! Files cut into the messages of a transfer, for peers that send them by hand.

use bytes::Bytes;
use ft_protocol::digest::{Algorithm, Hash, Lanes, Root};
use ft_protocol::wire::message::{Block, Done, File, Put};
use ft_protocol::wire::{BLOCK_LEN, Message};

/// `len` bytes without a period that blocks or leaves could hide.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// A PUT with the default digest, to this path, and nothing else asked for.
pub fn put(path: impl AsRef<[u8]>) -> Put {
    Put { path: path.as_ref().to_vec(), digest: Algorithm::Md5 as u32, ..Put::default() }
}

/// FILE of a file of this size that was changed in 2001.
pub fn file(size: u64) -> File {
    File { size, mtime: 1_000_000_000, mode: 0o644, ..File::default() }
}

/// FILE of a pipe.
pub fn pipe() -> File {
    File { unsized_: true, mode: 0o644, ..File::default() }
}

/// BLOCK and DATA of every block of this content.
pub fn blocks(content: &[u8]) -> Vec<Message> {
    let digests = digests(content);
    let all = content.chunks(BLOCK_LEN).zip(&digests).enumerate();
    all.flat_map(|(number, (data, digest))| {
        let last = number + 1 == digests.len();
        let block = Block { file: 0, block: number as u64, digest: digest.to_vec(), last };
        [Message::from(block), Message::Data(Bytes::copy_from_slice(data))]
    })
    .collect()
}

/// DONE of this content.
pub fn done(content: &[u8]) -> Done {
    Done { size: content.len() as u64, digest: proof(content).to_vec(), ..Done::default() }
}

/// PUT, FILE, content and DONE at once, for a file of at most one block.
pub fn small_put(path: impl AsRef<[u8]>, content: &[u8]) -> Vec<Message> {
    assert!(content.len() <= BLOCK_LEN, "the receiver of a larger file speaks first");
    let mut messages = vec![Message::from(put(path)), Message::from(file(content.len() as u64))];
    messages.extend(blocks(content));
    messages.push(Message::from(done(content)));
    messages
}

/// The MD5 digests of the blocks.
pub fn digests(content: &[u8]) -> Vec<Hash> {
    let lanes = Lanes::default();
    let alone = content.len() <= BLOCK_LEN;
    content.chunks(BLOCK_LEN).map(|block| Algorithm::Md5.block(&lanes, block, alone)).collect()
}

/// The proof of the whole.
pub fn proof(content: &[u8]) -> Hash {
    let mut root = Root::new(Algorithm::Md5);
    digests(content).iter().for_each(|digest| root.add(digest));
    root.finish()
}
