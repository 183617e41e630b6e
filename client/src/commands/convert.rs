//! What the library says, as output and receipts have it.

use ft_protocol::digest::{Hash, blocks_of};
use ft_protocol::fs::{Kind, Mtime};

use crate::cli::values::DigestChoice;
use crate::output::EntryKind;

/// Algorithm and text: what md5sum or sha256sum prints, or `hex-N` for a tree of N blocks.
pub(super) fn printed(
    choice: DigestChoice,
    size: u64,
    proof: &Hash,
    whole: Option<&Hash>,
) -> (&'static str, String) {
    let blocks = blocks_of(size);
    match (choice, whole) {
        (DigestChoice::Md5, Some(whole)) => ("md5", whole.to_string()),
        (DigestChoice::Sha256, Some(whole)) => ("sha256", whole.to_string()),
        // The proof of a single block is its plain digest.
        (DigestChoice::Md5, None) if blocks <= 1 => ("md5", proof.to_string()),
        (DigestChoice::Sha256, None) if blocks <= 1 => ("sha256", proof.to_string()),
        (_, _) if blocks > 1 => ("md5-tree", format!("{proof}-{blocks}")),
        (_, _) => ("md5-tree", proof.to_string()),
    }
}

pub(super) fn mtime(meta: &std::fs::Metadata) -> Mtime {
    use std::os::unix::fs::MetadataExt;
    Mtime { secs: meta.mtime(), nanos: u32::try_from(meta.mtime_nsec()).unwrap_or(0) }
}

pub(super) fn kind(kind: Kind) -> EntryKind {
    match kind {
        Kind::File => EntryKind::File,
        Kind::Dir => EntryKind::Directory,
        Kind::Symlink => EntryKind::Symlink,
        Kind::Other => EntryKind::Other,
    }
}
