//! File system: a held root, names opened beneath it, staged files that appear only when complete.
//!
//! Everything here blocks; callers run it on blocking threads. Names that a peer supplied reach the kernel
//! only through `*at()` calls on a held directory descriptor, so that a directory swapped for a symbolic link
//! meanwhile changes nothing outside.
//!
//! # Layout
//! - `meta`: what is known about a file ([`Meta`], [`Entry`])
//! - `beneath`: opening a path beneath a descriptor, with openat2(2) or component by component
//! - `root`: operations on a [`crate::RemotePath`] ([`Root`])
//! - `dir`: operations on one name in a held directory ([`Dir`])
//! - `filter`: what a tree leaves out ([`Filter`]) · `names`: what it is limited to ([`Names`])
//! - `walk`: a tree, depth-first and in order ([`Walk`]) · `listing`: the names of one directory of it
//! - `remove`: recursive removal that never follows a link
//! - `lock`: which staging files are in use, and sweeping the others; one run at a time ([`DirLock`])
//! - `staged`: a file under construction ([`Staged`])
//! - `closed`: a small complete file that needs no descriptor ([`Closed`])
//! - `commit`: from complete to visible and durable ([`Staged::commit`]) · `batch`: many at once ([`commit_all`])
//! - `attributes`: mode and time of what is there · `backup`: what would be overwritten is kept

mod attributes;
mod backup;
mod batch;
mod beneath;
mod closed;
mod commit;
mod dir;
mod filter;
mod listing;
mod lock;
mod meta;
mod names;
mod remove;
mod root;
mod staged;
mod walk;

#[cfg(test)]
mod batch_tests;
#[cfg(test)]
mod escape_tests;
#[cfg(test)]
mod filter_tests;
#[cfg(test)]
mod root_tests;
#[cfg(test)]
mod staged_tests;
#[cfg(test)]
mod walk_tests;

use std::fmt;

use rustix::io::Errno;

use crate::error::{Error, Status};

pub use batch::{Complete, commit_all};
pub use beneath::Links;
pub use closed::Closed;
pub use commit::{Commit, CommitOptions, Committed, ModeRule};
pub use dir::{Dir, MAX_ENTRIES};
pub use filter::{Filter, MAX_FILTER, MAX_RULES, Rule};
pub use lock::DirLock;
pub use meta::{Entry, Kind, Meta, Mtime};
pub use names::{MAX_NAMES_BYTES, Names};
pub use remove::MAX_LEVELS;
pub use root::Root;
pub use staged::Staged;
pub use walk::{Found, Visit, Walk};

/// True where every byte is zero, so that a writer may leave a hole instead. The commit's `len` extends a
/// file that ends in a hole.
pub fn is_zero(block: &[u8]) -> bool {
    // Whole chunks are folded without a branch, which the compiler turns into vector instructions.
    let (chunks, rest) = block.as_chunks::<128>();
    chunks.iter().all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0)
        && rest.iter().all(|byte| *byte == 0)
}

/// An error of a system call on a path: "open 'a/b': No such file or directory".
fn failed(doing: &str, shown: impl fmt::Display, errno: Errno) -> Error {
    match errno {
        Errno::ISDIR => Error::local(Status::IsDirectory, format!("'{shown}' is a directory")),
        Errno::NOTDIR => Error::local(
            Status::NotDirectory,
            format!("{doing} '{shown}': a component of the path is not a directory"),
        ),
        Errno::EXIST => Error::local(Status::Exists, format!("'{shown}' already exists")),
        _ => Error::io(format_args!("{doing} '{shown}'"), &errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blocks_of_zeros_are_zero() {
        for len in [0, 1, 127, 128, 129, 4096, 4099] {
            let mut block = vec![0; len];
            assert!(is_zero(&block));
            for at in [0, len / 2, len.saturating_sub(1)] {
                if at < len {
                    block[at] = 1;
                    assert!(!is_zero(&block), "{at} of {len}");
                    block[at] = 0;
                }
            }
        }
    }
}
