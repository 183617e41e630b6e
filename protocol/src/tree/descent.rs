//! The order in which names of a tree may come. Whoever keeps it cannot name anything twice, nor put something
//! beneath what is no directory; and keeping it is checked in memory bounded by the depth.

use crate::display::Escaped;
use crate::error::{Error, Result};
use crate::fs::{Kind, MAX_ENTRIES};
use crate::path::{MAX_DEPTH, RemotePath};
use crate::wire::message::Node;

use super::kind_from_wire;

/// Longest target of a symbolic link in bytes (PATH_MAX of Linux, with its zero byte).
const MAX_TARGET: usize = 4095;

/// Follows a sender through its tree.
#[derive(Debug, Default)]
pub struct Descent {
    /// The directories from the root to the last node's, each with the last name in it.
    levels: Vec<Level>,
    /// Path of the last node.
    path: RemotePath,
    begun: bool,
}

#[derive(Debug, Default)]
struct Level {
    dir: RemotePath,
    last: Vec<u8>,
    entries: usize,
}

/// Where a node stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Beneath the tree.
    pub path: RemotePath,
    /// Its kind; never [`Kind::Other`].
    pub kind: Kind,
    /// Directories that end before it, counted from the innermost.
    pub left: usize,
}

impl Descent {
    /// Takes the next node. Errors: [`Error::Protocol`], naming it, where it may not come here.
    pub fn enter(&mut self, node: &Node) -> Result<Place> {
        let refused = |what: &str| {
            let near = if self.begun { format!(" after '{}'", self.path) } else { String::new() };
            Error::protocol(format!("'{}'{near}: {what}", Escaped::new(&node.name)))
        };
        let kind = kind_from_wire(node.kind).ok_or_else(|| refused("a node of an unknown kind"))?;
        if node.mtime_nanos >= 1_000_000_000 {
            return Err(refused("a modification time with more than a second of nanoseconds"));
        }
        if !matches!(node.digest.len(), 0 | 16 | 32) {
            return Err(refused("a digest of a length that none has"));
        }
        let target_fits = match kind {
            Kind::Symlink => {
                !node.target.is_empty() && node.target.len() <= MAX_TARGET && !node.target.contains(&0)
            }
            _ => node.target.is_empty(),
        };
        if !target_fits {
            return Err(refused("a symbolic link without a target that a link can have"));
        }
        if !self.begun {
            if node.depth != 0 || !node.name.is_empty() || kind != Kind::Dir {
                return Err(refused("a tree begins with its own directory"));
            }
            self.begun = true;
            self.levels.push(Level::default());
            return Ok(Place { path: RemotePath::root(), kind, left: 0 });
        }
        let depth = node.depth as usize;
        if depth == 0 || depth > self.levels.len() {
            return Err(refused("it lies in no directory that is open here"));
        }
        let left = self.levels.len() - depth;
        self.levels.truncate(depth);
        let Some(level) = self.levels.last_mut() else { return Err(refused("it lies in no directory")) };
        if level.entries > 0 && level.last >= node.name {
            let shown = Escaped::new(&node.name).to_string();
            let what = if level.last == node.name { "it comes twice" } else { "names are out of order" };
            return Err(Error::protocol(format!("'{shown}' in '{}': {what}", level.dir)));
        }
        level.entries += 1;
        if level.entries > MAX_ENTRIES {
            return Err(Error::protocol(format!("'{}' has more than {MAX_ENTRIES} entries", level.dir)));
        }
        let path = level.dir.join(&node.name).map_err(|error| Error::protocol(error.to_string()))?;
        level.last.clone_from(&node.name);
        if kind == Kind::Dir {
            if depth >= MAX_DEPTH {
                return Err(Error::protocol(format!("'{path}' is deeper than {MAX_DEPTH} levels")));
            }
            self.levels.push(Level { dir: path.clone(), ..Level::default() });
        }
        self.path = path.clone();
        Ok(Place { path, kind, left })
    }
}

#[cfg(test)]
#[path = "descent_tests.rs"]
mod tests;
