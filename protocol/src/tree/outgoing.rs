//! Nodes on their way out: listed, then wanted, then sent.

use bytes::Bytes;

use super::{Action, Item};
use crate::digest::Hash;
use crate::error::{Error, Result, Status};
use crate::fs::{Kind, Meta, Mtime};
use crate::path::RemotePath;
use crate::transfer::{FileKey, Outlet};

/// A node that was sent.
pub(super) struct Listed {
    pub(super) number: u32,
    pub(super) path: RemotePath,
    pub(super) kind: Kind,
    pub(super) size: u64,
    pub(super) mtime: Mtime,
}

/// A file that the receiver accepted.
pub(super) struct Wanted {
    pub(super) file: Listed,
    /// Digests of what the receiver has, and how many bytes of them there will be.
    pub(super) had: Vec<u8>,
    pub(super) due: usize,
}

/// A file on its way: what is needed to send it again, and to judge the receiver's last word.
pub(super) struct Sent {
    pub(super) file: Listed,
    /// Of the open file.
    pub(super) meta: Meta,
    pub(super) proof: Option<Hash>,
    pub(super) whole: Option<Hash>,
    pub(super) kept: u64,
    pub(super) grew: bool,
    pub(super) resent: u64,
}

impl Wanted {
    /// Takes digests that the receiver announced.
    pub(super) fn collect(&mut self, digests: &Bytes, digest_len: usize) -> Result<()> {
        let fits = digests.len() <= self.due - self.had.len();
        if digests.is_empty() || !digests.len().is_multiple_of(digest_len) || !fits {
            return Err(Error::protocol("HAVE of other digests than ACCEPT announced"));
        }
        self.had.extend_from_slice(digests);
        Ok(())
    }
}

impl Sent {
    /// Under which digests of it are shared; those of a file that grew are its own.
    pub(super) fn key(&self, out: &Outlet) -> Option<FileKey> {
        if self.grew { None } else { out.key(&self.meta) }
    }

    pub(super) fn into_item(self, action: Action) -> Item {
        let Sent { file, proof, whole, kept, grew, .. } = self;
        Item { proof, whole, kept, grew, ..file.into_item(action) }
    }
}

impl Listed {
    /// The error where it is not any more what it was.
    pub(super) fn changed(&self) -> Error {
        Error::local(Status::Changed, format!("'{}' changed while it was read", self.path))
    }

    pub(super) fn into_item(self, action: Action) -> Item {
        Item { size: self.size, mtime: self.mtime, ..Item::new(self.path, Kind::File, action) }
    }
}
