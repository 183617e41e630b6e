//! Depth-first walk of a tree: names strictly increasing within a directory, a directory before what is in it.
//!
//! Only the names of the directories on the way are in memory, each is looked up when it is reached, and links are
//! visited, never followed.

use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::beneath::{HOLD, READ_DIR, explain, open_name};
use super::dir::MAX_ENTRIES;
use super::failed;
use super::filter::Filter;
use super::listing::Listing;
use super::meta::{Kind, Meta};
use super::names::Names;
use super::root::Root;
use crate::error::{Error, Failure, Result, Status};
use crate::path::RemotePath;

/// Levels whose descriptors stay open, the innermost ones. Outer ones are opened again on the way back, so that a
/// deep tree cannot use up the descriptors of the process.
const HELD_LEVELS: usize = 32;

/// What a walk comes upon.
#[derive(Debug)]
pub enum Visit {
    /// Something that is part of the tree.
    Found(Found),
    /// What could not be read: a directory that was visited and cannot be listed, a name that cannot be looked up, a
    /// path of [`Names`] that does not exist. For a name that makes too long a path, the directory it is in.
    Failed {
        /// Where, beneath the walk's root.
        path: RemotePath,
        /// Why.
        error: Error,
    },
}

/// One name of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where, beneath the walk's root; the root itself first.
    pub path: RemotePath,
    /// Number of components of `path`.
    pub depth: u32,
    /// What stands there; of a link, the link's own.
    pub meta: Meta,
    /// Where a link points to, as it is stored; empty for everything else.
    pub target: Vec<u8>,
}

/// A walk in progress, an iterator. It blocks.
///
/// What vanishes between being listed and being looked up is left out in silence, unless [`Names`] asked for it.
/// Special files are visited as [`Kind::Other`]; staging files are not.
#[derive(Debug)]
pub struct Walk {
    root: Root,
    filter: Filter,
    names: Names,
    begun: bool,
    levels: Vec<Level>,
    /// The directory that was visited last and is to be entered.
    entering: Option<Entering>,
    /// Paths of `names` that come to nothing, and why.
    hopeless: Option<(Range<usize>, Failure)>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Level {
    path: RemotePath,
    /// To recognise the directory when it is opened again.
    meta: Meta,
    fd: Option<OwnedFd>,
    /// All that is in it; `None` where only `named` is asked for.
    listing: Option<Listing>,
    /// Paths of [`Names`] beneath it that were not reached yet.
    named: Range<usize>,
}

#[derive(Debug)]
struct Entering {
    path: RemotePath,
    meta: Meta,
    whole: bool,
    named: Range<usize>,
}

/// The next name of a directory.
struct Step {
    name: Vec<u8>,
    /// All beneath it is part of the tree, not only `named`.
    whole: bool,
    /// The paths of [`Names`] that it is or leads to.
    named: Range<usize>,
    /// False where it is known that nothing has this name.
    exists: bool,
}

impl Walk {
    /// A walk of all beneath `root` that `filter` does not leave out; with `names` only of those paths, of all beneath
    /// those that are directories, and of the directories that lead to them.
    pub fn new(root: Root, filter: Filter, names: Option<Names>) -> Walk {
        // Asking for the root itself is asking for everything.
        let names = names.unwrap_or_else(|| Names::new(vec![RemotePath::root()]));
        Walk {
            root,
            filter,
            names,
            begun: false,
            levels: Vec::new(),
            entering: None,
            hopeless: None,
            buffer: Vec::new(),
        }
    }

    /// Does not enter the directory that was visited last.
    pub fn skip_contents(&mut self) {
        self.entering = None;
    }

    /// For each level whether its descriptor is open.
    #[cfg(test)]
    pub(super) fn levels(&self) -> Vec<bool> {
        self.levels.iter().map(|level| level.fd.is_some()).collect()
    }

    /// The root is visited like any other directory.
    fn begin(&mut self) -> Visit {
        let path = RemotePath::root();
        let meta = match self.root.dir(&path, super::Links::Refuse).and_then(|dir| dir.meta()) {
            Ok(meta) => meta,
            Err(error) => return Visit::Failed { path, error },
        };
        let (named, whole) = self.split_whole(0..self.names.paths().len(), 0);
        self.entering = Some(Entering { path: path.clone(), meta, whole, named });
        Visit::Found(Found { path, depth: 0, meta, target: Vec::new() })
    }

    /// Opens the directory that was visited last and reads its names.
    fn enter(&mut self, entering: Entering) -> Result<()> {
        let Entering { path, meta, whole, named } = entering;
        // To look names up needs no right to list them.
        let flags = if whole { READ_DIR } else { HOLD };
        let opened = match path.file_name() {
            None => open_name(self.root.as_fd(), b".", flags),
            Some(name) => open_name(self.current()?.as_fd(), name, flags),
        };
        let fd = opened.map_err(|errno| explain(&path, errno))?;
        let listing = match whole {
            true => Some(Listing::read(&fd, &path, MAX_ENTRIES, &mut self.buffer)?),
            false => None,
        };
        self.levels.push(Level { path, meta, fd: Some(fd), listing, named });
        if let Some(outer) =
            self.levels.len().checked_sub(HELD_LEVELS + 1).and_then(|at| self.levels.get_mut(at))
        {
            outer.fd = None;
        }
        Ok(())
    }

    /// The innermost directory, opened again where it was closed.
    fn current(&mut self) -> Result<&OwnedFd> {
        let Some(level) = self.levels.last_mut() else {
            return Err(Error::local(Status::Failed, "a walk that is not in a directory"));
        };
        let fd = match level.fd.take() {
            Some(fd) => fd,
            None => {
                let fd = self.root.hold(&level.path)?;
                if !Meta::of(&fd)?.same_file(&level.meta) {
                    return Err(Error::local(
                        Status::Changed,
                        format!("directory '{}' was replaced by another while it was read", level.path),
                    ));
                }
                fd
            }
        };
        Ok(level.fd.insert(fd))
    }

    /// Looks one name up; `None` where it is not part of the tree.
    fn visit(&mut self, step: Step) -> Option<Visit> {
        let level = self.levels.last()?;
        let path = match level.path.join(&step.name) {
            Ok(path) => path,
            Err(error) => return Some(Visit::Failed { path: level.path.clone(), error }),
        };
        if !step.exists {
            return self.give_up(step.named, &failed("find", &path, Errno::NOENT));
        }
        let looked_up = match self.current() {
            Ok(dir) => look_up(dir, &path, &step.name),
            Err(error) => {
                // None of what is left in it can be reached.
                return self.levels.pop().map(|level| Visit::Failed { path: level.path, error });
            }
        };
        let (meta, target) = match looked_up {
            Ok(found) => found,
            Err(error) if error.status() == Status::NotFound => return self.give_up(step.named, &error),
            Err(error) => return Some(Visit::Failed { path, error }),
        };
        let is_dir = meta.kind == Kind::Dir;
        if self.filter.excludes(&path, is_dir) {
            return None;
        }
        let depth = self.levels.len();
        let (beneath, asked) = self.split_whole(step.named, depth);
        if is_dir {
            let path = path.clone();
            self.entering = Some(Entering { path, meta, whole: step.whole || asked, named: beneath });
        } else {
            if !beneath.is_empty() {
                let errno = if meta.kind == Kind::Symlink { Errno::LOOP } else { Errno::NOTDIR };
                self.hopeless = Some((beneath, explain(&path, errno).failure()));
            }
            // Only a way to paths that do not exist.
            if !step.whole && !asked {
                return None;
            }
        }
        Some(Visit::Found(Found { path, depth: u32::try_from(depth).unwrap_or(u32::MAX), meta, target }))
    }

    /// Reports each of these paths with this error, from the next visit on.
    fn give_up(&mut self, named: Range<usize>, error: &Error) -> Option<Visit> {
        if !named.is_empty() {
            self.hopeless = Some((named, error.failure()));
        }
        None
    }

    /// The next name of the innermost directory, from what is in it and what was asked for.
    fn step(&mut self) -> Option<Step> {
        let depth = self.levels.len() - 1;
        let level = self.levels.last_mut()?;
        let paths = self.names.paths();
        let asked = paths.get(level.named.start).filter(|_| !level.named.is_empty());
        let asked = asked.and_then(|path| path.components().nth(depth));
        let listed = level.listing.as_ref().map(Listing::peek);
        let (name, whole, exists, is_asked) = match (listed, asked) {
            (None | Some(None), None) => return None,
            (None, Some(asked)) => (asked, false, true, true),
            (Some(None), Some(asked)) => (asked, false, false, true),
            (Some(Some(name)), None) => (name, true, true, false),
            (Some(Some(name)), Some(asked)) if asked < name => (asked, false, false, true),
            (Some(Some(name)), Some(asked)) => (name, true, true, asked == name),
        };
        let mut step = Step { name: name.to_vec(), whole, named: 0..0, exists };
        if is_asked {
            let rest = paths.get(level.named.clone()).unwrap_or_default();
            let same = rest.partition_point(|path| path.components().nth(depth) == Some(&step.name));
            let end = level.named.start + same;
            step.named = level.named.start..end;
            level.named.start = end;
        }
        if let (true, Some(listing)) = (whole, &mut level.listing) {
            listing.advance();
        }
        Some(step)
    }

    /// Splits paths that lead to one name of this depth into those beneath it and whether it was asked for itself.
    fn split_whole(&self, named: Range<usize>, depth: usize) -> (Range<usize>, bool) {
        let first = self.names.paths().get(named.start).filter(|_| !named.is_empty());
        match first.is_some_and(|path| path.components().count() == depth) {
            true => (named.start + 1..named.end, true),
            false => (named, false),
        }
    }
}

impl Iterator for Walk {
    type Item = Visit;

    fn next(&mut self) -> Option<Visit> {
        if !self.begun {
            self.begun = true;
            return Some(self.begin());
        }
        loop {
            if let Some((named, failure)) = &mut self.hopeless {
                if let Some(path) = named.next().and_then(|at| self.names.paths().get(at)) {
                    return Some(Visit::Failed { path: path.clone(), error: Error::Local(failure.clone()) });
                }
                self.hopeless = None;
            }
            if let Some(entering) = self.entering.take() {
                let path = entering.path.clone();
                if let Err(error) = self.enter(entering) {
                    return Some(Visit::Failed { path, error });
                }
            }
            if self.levels.is_empty() {
                return None;
            }
            match self.step() {
                Some(step) => {
                    if let Some(visit) = self.visit(step) {
                        return Some(visit);
                    }
                }
                None => drop(self.levels.pop()),
            }
        }
    }
}

/// What stands under a name, and where it points to if it is a link.
fn look_up(dir: &OwnedFd, path: &RemotePath, name: &[u8]) -> Result<(Meta, Vec<u8>)> {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| failed("stat", path, errno))?;
    let meta = Meta::from_stat(&stat);
    if meta.kind != Kind::Symlink {
        return Ok((meta, Vec::new()));
    }
    match rustix::fs::readlinkat(dir, name, Vec::new()) {
        Ok(target) => Ok((meta, target.into_bytes())),
        // What readlink(2) says of everything that is no link.
        Err(Errno::INVAL) => Err(Error::local(
            Status::Changed,
            format!("'{path}' was a link and is something else now; try again"),
        )),
        Err(errno) => Err(failed("read link", path, errno)),
    }
}
