//! Transfers of directories with all that is in them.

use std::path::Path;
use std::sync::Arc;

use ft_protocol::digest::{Algorithm, Hash};
use ft_protocol::fs::{Filter, Kind, Mtime, Names};
use ft_protocol::tree::Action;
use ft_protocol::{Error, Failure, RemotePath, Status};

use super::{Client, Result};

/// How a tree is transferred.
#[derive(Clone)]
pub struct TreeOptions {
    /// What is computed and compared.
    pub digest: Algorithm,
    /// Keep mode and modification time.
    pub preserve: bool,
    /// Keep the modification time.
    pub times: bool,
    /// Leave what exists alone.
    pub no_clobber: bool,
    /// Go on with what an earlier run left.
    pub resume: bool,
    /// Equal size and modification time are equal.
    pub quick: bool,
    /// Most entries that may go (`u64::MAX`: any number); `None`: nothing is deleted.
    pub delete: Option<u64>,
    /// Where what is replaced or deleted is kept: for a put beneath the account's root, for a get beneath the parent of
    /// the local destination.
    pub backup: Option<RemotePath>,
    /// Make missing directories above the destination.
    pub parents: bool,
    /// Change nothing.
    pub dry_run: bool,
    /// Most bytes a second.
    pub rate: Option<u64>,
    /// What is left out.
    pub filter: Filter,
    /// The only names that take part.
    pub names: Option<Names>,
    /// Where progress can be read meanwhile.
    pub meter: Arc<TreeMeter>,
    /// Called once for each name that was not simply equal by size and time, in tree order, from another thread.
    pub on_item: Arc<dyn Fn(&Item) + Send + Sync>,
}

/// How trees are compared.
#[derive(Clone)]
pub struct CheckOptions {
    /// What is left out.
    pub filter: Filter,
    /// The only names that take part.
    pub names: Option<Names>,
    /// What is computed and compared.
    pub digest: Algorithm,
    /// Called once for each name. Its action is what would make the local tree equal to the remote one: `Equal`,
    /// `Created` (only the server has it), `Deleted` (only this end has it), `Replaced` (they differ).
    pub on_item: Arc<dyn Fn(&Item) + Send + Sync>,
}

/// Position of a tree.
#[derive(Debug, Default)]
pub struct TreeMeter;

impl TreeMeter {
    /// Files of the job, as far as they were listed.
    pub fn files_total(&self) -> u64 {
        0
    }
    /// Bytes of the job, as far as they were listed.
    pub fn bytes_total(&self) -> u64 {
        0
    }
    /// Files that need nothing more.
    pub fn files_done(&self) -> u64 {
        0
    }
    /// Bytes that need nothing more.
    pub fn bytes_done(&self) -> u64 {
        0
    }
    /// The totals are final.
    pub fn is_complete_listing(&self) -> bool {
        false
    }
    /// Path of what is being transferred.
    pub fn current(&self) -> Vec<u8> {
        Vec::new()
    }
}

/// What became of one name.
#[derive(Debug, Clone)]
pub struct Item {
    /// Beneath the tree.
    pub path: RemotePath,
    /// What it is.
    pub kind: Kind,
    /// What was done; where it failed, what was tried.
    pub action: Action,
    /// Bytes.
    pub size: u64,
    /// Modification time of the source.
    pub mtime: Mtime,
    /// Proof, the same at both ends.
    pub proof: Option<Hash>,
    /// Plain digest of the whole file.
    pub whole: Option<Hash>,
    /// Bytes that did not travel.
    pub kept: u64,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// The failure is of this end.
    pub here: bool,
    /// The source grew meanwhile.
    pub grew: bool,
}

/// A tree that came to its end.
#[derive(Debug, Clone, Copy, Default)]
pub struct TreeDone {
    /// Files equal by size and time.
    pub equal: u64,
    /// All of the source could be listed.
    pub complete: bool,
    /// The destination was made.
    pub created_root: bool,
}

/// A comparison that came to its end.
#[derive(Debug, Clone, Copy, Default)]
pub struct CheckDone {
    /// All of both trees could be listed.
    pub complete: bool,
}

impl Client {
    /// Makes local directory `to` the copy of a remote one.
    pub async fn get_tree(&mut self, _: &RemotePath, _: &Path, _: &TreeOptions) -> Result<TreeDone> {
        Err(unsupported())
    }

    /// Makes remote directory `to` the copy of a local one.
    pub async fn put_tree(&mut self, _: &Path, _: &RemotePath, _: &TreeOptions) -> Result<TreeDone> {
        Err(unsupported())
    }

    /// Compares a local directory with a remote one.
    pub async fn check_tree(&mut self, _: &Path, _: &RemotePath, _: &CheckOptions) -> Result<CheckDone> {
        Err(unsupported())
    }
}

fn unsupported() -> super::ClientError {
    Error::local(Status::Unsupported, "trees are not transferred by this build").into()
}
