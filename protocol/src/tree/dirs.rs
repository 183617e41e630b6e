//! Directories of a tree that are held open: a few, however many there are and however deep.

use std::collections::VecDeque;

use crate::error::Result;
use crate::fs::{Dir, Links, Root};
use crate::path::RemotePath;

/// Directories that are held.
const HELD: usize = 16;

/// Opens directories beneath a root, never through a link, and holds those used last.
pub(super) struct Dirs {
    root: Root,
    held: VecDeque<(RemotePath, Dir)>,
}

impl Dirs {
    pub(super) fn new(root: Root) -> Self {
        Self { root, held: VecDeque::new() }
    }

    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// The directory at `path`.
    pub(super) fn get(&mut self, path: &RemotePath) -> Result<Dir> {
        if let Some(at) = self.held.iter().position(|(held, _)| held == path) {
            if at > 0
                && let Some(found) = self.held.remove(at)
            {
                self.held.push_front(found);
            }
            if let Some((_, dir)) = self.held.front() {
                return Ok(dir.clone());
            }
        }
        let dir = self.root.dir(path, Links::Refuse)?;
        self.hold(path.clone(), dir.clone());
        Ok(dir)
    }

    /// Holds a directory that was opened elsewhere.
    pub(super) fn hold(&mut self, path: RemotePath, dir: Dir) {
        self.held.truncate(HELD - 1);
        self.held.push_front((path, dir));
    }
}
