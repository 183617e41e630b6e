//! The paths that a tree is limited to.

use std::cmp::Ordering;

use super::dir::MAX_ENTRIES;
use crate::error::{Error, Result, Status};
use crate::path::RemotePath;

/// Most bytes of a list of paths as it travels.
pub const MAX_NAMES_BYTES: usize = 16 * 1024 * 1024;

/// Paths in the order in which a walk meets them, each once.
#[derive(Debug, Clone, Default)]
pub struct Names {
    paths: Vec<RemotePath>,
}

impl Names {
    /// Sorts the paths and drops those that come twice.
    pub fn new(mut paths: Vec<RemotePath>) -> Names {
        paths.sort_unstable_by(tree_order);
        paths.dedup();
        Names { paths }
    }

    /// The paths, sorted by components.
    pub fn paths(&self) -> &[RemotePath] {
        &self.paths
    }

    /// From [`Names::to_wire`] of a peer.
    ///
    /// # Errors
    /// [`Status::Limit`] beyond [`MAX_NAMES_BYTES`] or [`MAX_ENTRIES`] paths; [`Status::Invalid`] for a bad path.
    pub fn from_wire(bytes: &[u8]) -> Result<Names> {
        let Some((last, paths)) = bytes.split_last() else { return Ok(Names::default()) };
        // Counted before anything is made of them: a path takes far more memory than the two bytes it may have here.
        if bytes.len() > MAX_NAMES_BYTES || bytes.iter().filter(|byte| **byte == 0).count() > MAX_ENTRIES {
            return Err(Error::local(
                Status::Limit,
                format!(
                    "too many paths: a list holds at most {MAX_ENTRIES} and {MAX_NAMES_BYTES} bytes; name the \
                     directories they are in"
                ),
            ));
        }
        if *last != 0 {
            return Err(Error::local(Status::Invalid, "a list of paths that is cut in its last one"));
        }
        let paths = paths.split(|byte| *byte == 0).map(RemotePath::from_wire);
        Ok(Names::new(paths.collect::<Result<_>>()?))
    }

    /// The wire form: each path and a zero byte.
    pub fn to_wire(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for path in &self.paths {
            bytes.extend_from_slice(path.as_bytes());
            bytes.push(0);
        }
        bytes
    }
}

/// Component by component: what is in `a` comes before `a-b`, although `/` is greater than `-`.
fn tree_order(one: &RemotePath, other: &RemotePath) -> Ordering {
    one.components().cmp(other.components())
}
