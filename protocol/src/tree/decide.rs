//! What is to be done about a node: it is held against what stands here under its name.

use super::commit::{Step, What};
use super::descent::Place;
use super::extras::Own;
use super::landing::TreeLanding;
use super::{Action, Item, ends_it, mtime_of};
use crate::auth::Rights;
use crate::error::{Error, Result, Status};
use crate::fs::{Dir, Kind, Meta, ModeRule, Mtime};
use crate::path::RemotePath;
use crate::wire::BLOCK_LEN;
use crate::wire::message::Node;

/// Names that may take the place of a directory in one run.
const MAX_LATE: usize = 1024;
/// What an owner needs of a directory to fill it.
const FILL: u32 = 0o700;

/// A directory that is being filled.
pub(super) struct Frame {
    path: RemotePath,
    /// It exists; not so in a dry run that would make it.
    exists: bool,
    /// What it holds, where the rest of that is to be removed.
    own: Option<Own>,
    /// Leftovers of earlier runs were looked for.
    pub(super) swept: bool,
    /// What it gets when it is full.
    mode: Option<u32>,
    mtime: Option<Mtime>,
}

impl Frame {
    /// Of a directory that is not filled.
    fn dead(path: RemotePath) -> Self {
        Self { path, exists: false, own: None, swept: true, mode: None, mtime: None }
    }
}

impl TreeLanding {
    /// Ends so many directories, the innermost first.
    pub(super) fn leave(&mut self, levels: usize) {
        for _ in 0..levels {
            let Some(frame) = self.frames.pop() else { return };
            if self.dead.as_ref().is_some_and(|dead| dead.path == frame.path)
                && let Some(dead) = self.dead.take()
            {
                // A sender that took the files beneath it for equal is told how many they are.
                let size = if self.job.report { std::mem::take(&mut self.dead_files) } else { 0 };
                self.note(Item { size, ..dead });
            }
            let more = frame.own.is_some_and(|own| self.extras.end(&frame.path, own));
            if frame.mode.is_some() || frame.mtime.is_some() {
                let item = Item::new(frame.path, Kind::Dir, Action::Meta);
                let what = What::DirEnd { mode: frame.mode, mtime: frame.mtime };
                let step = Step { number: 0, item, what };
                if more { self.ends.push(step) } else { self.wait(step) }
            }
        }
    }

    /// Errors: what ends it all. Everything else becomes an item.
    pub(super) fn decide(&mut self, number: u32, node: Node, place: Place) -> Result<()> {
        let Place { path, kind, .. } = place;
        if self.dead.is_some() {
            // Beneath what could not be made: it was named once, which is enough.
            if kind == Kind::Dir {
                self.frames.push(Frame::dead(path));
            } else if kind == Kind::File {
                self.job.meter.decided(node.size);
                self.dead_files += 1;
            }
            return Ok(());
        }
        let item = Item { mtime: mtime_of(&node), size: node.size, ..Item::new(path, kind, Action::Created) };
        let decided = match kind {
            _ if self.walks_backup(&item.path) => {
                let what =
                    format!("'{}' is where backups are kept here; it is no part of the copy", item.path);
                Err(Error::local(Status::Invalid, what))
            }
            Kind::Dir => self.decide_dir(&node, &item),
            Kind::Symlink => self.decide_link(&node, &item),
            _ => self.decide_file(number, &node, &item),
        };
        match decided {
            Ok(()) => Ok(()),
            Err(error) if is_fatal(&error) => Err(error),
            Err(error) => {
                let item = Item { failure: Some(error.failure()), here: true, ..item };
                if kind == Kind::Dir {
                    self.frames.push(Frame::dead(item.path.clone()));
                    self.dead = Some(item);
                    return Ok(());
                }
                if kind == Kind::File {
                    self.job.meter.decided(node.size);
                }
                self.note(item);
                Ok(())
            }
        }
    }

    /// The directory that a name is in, if it exists, and what stands under the name.
    pub(super) fn standing(&mut self, path: &RemotePath) -> Result<(Option<Dir>, Option<Meta>)> {
        let Some((parent, name)) = path.split_last() else {
            let root = self.dirs.as_mut().map(|dirs| dirs.get(path)).transpose()?;
            let meta = root.as_ref().map(Dir::meta).transpose()?;
            return Ok((root, meta));
        };
        let Some(frame) = self.frames.last_mut() else {
            return Err(Error::protocol("a node before its directory"));
        };
        if let Some(own) = &mut frame.own {
            self.extras.reach(&frame.path, own, name);
        }
        if !frame.exists {
            return Ok((None, None));
        }
        let dirs = self.dirs.as_mut().ok_or_else(|| Error::protocol("a node without a tree"))?;
        let dir = dirs.get(&parent)?;
        let meta = dir.lookup(name)?;
        Ok((Some(dir), meta))
    }

    fn decide_dir(&mut self, node: &Node, item: &Item) -> Result<()> {
        let (above, existing) = self.standing(&item.path)?;
        let name = item.path.file_name().unwrap_or_default();
        let keeps_time = self.job.preserve || self.job.times;
        let (mut mode, mtime) = (None, keeps_time.then_some(item.mtime));
        let exists = match existing.map(|meta| meta.kind) {
            // It was made for this, private, and is like any other new one.
            Some(Kind::Dir) if item.path.is_root() && self.place.made => {
                let made = ModeRule::Default(node.mode).resolve(None) | FILL;
                self.dir(&item.path)?.set_meta(Some(made), None)?;
                mode = Some(if self.job.preserve { node.mode & 0o777 } else { made });
                true
            }
            Some(Kind::Dir) => {
                let old = existing.map_or(0, |meta| meta.mode & 0o777);
                if !self.job.dry_run && old & FILL != FILL && self.may(Rights::OVERWRITE) {
                    self.dir(&item.path)?.set_meta(Some(old | FILL), None)?;
                    mode = Some(old);
                }
                if self.job.preserve {
                    mode = Some(node.mode & 0o777);
                }
                true
            }
            Some(Kind::Other) => return Err(not_regular(item)),
            Some(_) if self.job.no_clobber => {
                return Err(Error::local(
                    Status::Exists,
                    format!("'{}' exists and is no directory", item.path),
                ));
            }
            standing => {
                let replaces = standing.is_some();
                // An older file or link in the place of a directory goes only where all becomes equal.
                if replaces && !self.job.times {
                    return Err(Error::local(
                        Status::NotDirectory,
                        format!("'{}' exists and is no directory; remove it first", item.path),
                    ));
                }
                self.allow(replaces, item)?;
                self.allow(false, item)?;
                let action = if replaces { Action::Replaced } else { Action::Created };
                // The tree's own directory is made by whoever opens the place.
                if !item.path.is_root() {
                    self.note(Item { action, ..item.clone() });
                }
                if self.job.dry_run {
                    false
                } else {
                    let above = above.ok_or_else(|| Error::protocol("a node without a tree"))?;
                    if replaces {
                        self.put_aside(&above, item)?;
                    }
                    // Never wider than it will be, so that nobody looks in meanwhile.
                    above.make_dir_with(name, (node.mode & 0o777) | FILL)?;
                    // Without -p its owner can always use it: a later run has to.
                    let made = ModeRule::Default(node.mode).resolve(None) | FILL;
                    mode = Some(if self.job.preserve { node.mode & 0o777 } else { made });
                    true
                }
            }
        };
        if !self.may(Rights::OVERWRITE) && existing.is_some() && !(item.path.is_root() && self.place.made) {
            mode = None;
        }
        let lists = exists && existing.is_some() && self.job.delete.is_some();
        let own = if lists { Some(Own::of(&self.dir(&item.path)?)?) } else { None };
        let (mode, mtime) = if self.job.dry_run { (None, None) } else { (mode, mtime) };
        let mtime = mtime.filter(|_| existing.is_none() || self.may(Rights::OVERWRITE));
        self.frames.push(Frame {
            path: item.path.clone(),
            exists,
            own,
            swept: existing.is_none(),
            mode,
            mtime,
        });
        Ok(())
    }

    fn decide_link(&mut self, node: &Node, item: &Item) -> Result<()> {
        let (dir, existing) = self.standing(&item.path)?;
        let name = item.path.file_name().unwrap_or_default();
        let keeps_time = self.job.preserve || self.job.times;
        let mtime = keeps_time.then_some(item.mtime);
        match (existing, &dir) {
            (Some(meta), Some(dir)) if meta.kind == Kind::Symlink && dir.read_link(name)? == node.target => {
                let differs = mtime.is_some_and(|mtime| !same_time(mtime, meta.mtime));
                if differs && self.may(Rights::OVERWRITE) && !self.job.no_clobber {
                    let item = Item { action: Action::Meta, ..item.clone() };
                    let what =
                        if self.job.dry_run { What::Nothing } else { What::Meta { mode: None, mtime } };
                    self.wait(Step { number: 0, item, what });
                }
                return Ok(());
            }
            (Some(meta), _) if meta.kind == Kind::Dir && !self.job.no_clobber => {
                self.takes_place(item)?;
                let target = node.target.clone();
                let what = if self.job.dry_run { What::Nothing } else { What::Link { target, mtime } };
                self.late.push(Step { number: 0, item: item.clone(), what });
                return Ok(());
            }
            (Some(meta), _) if meta.kind == Kind::Other => return Err(not_regular(item)),
            (Some(_), _) if self.job.no_clobber => {
                self.note(Item { action: Action::Skipped, ..item.clone() });
                return Ok(());
            }
            _ => {}
        }
        let replaces = existing.is_some();
        self.allow(replaces, item)?;
        if let (false, Some(dir)) = (self.job.dry_run, dir) {
            if replaces && let Some(backup) = &self.place.backup {
                super::commit::keep_aside(backup, &dir, &item.path, false)?;
            }
            dir.make_link(name, &node.target, replaces)?;
            if let Some(mtime) = mtime {
                dir.set_link_time(name, mtime)?;
            }
        }
        self.note(Item { action: if replaces { Action::Replaced } else { Action::Created }, ..item.clone() });
        Ok(())
    }

    /// Something will take the place of a directory, when all the rest is done. Each keeps what it has until then, and
    /// its sender waiting.
    pub(super) fn takes_place(&mut self, item: &Item) -> Result<()> {
        // A large one keeps its file open.
        let weight = if item.size > BLOCK_LEN as u64 { MAX_LATE / 8 } else { 1 };
        if self.job.delete.is_none() || self.taking_place + weight > MAX_LATE {
            return Err(is_directory(item));
        }
        self.allow(true, item)?;
        self.taking_place += weight;
        self.extras.replace(&item.path);
        Ok(())
    }

    fn put_aside(&self, dir: &Dir, item: &Item) -> Result<()> {
        match &self.place.backup {
            Some(backup) => super::commit::keep_aside(backup, dir, &item.path, true),
            None => dir.remove(item.path.file_name().unwrap_or_default()),
        }
    }

    fn dir(&mut self, path: &RemotePath) -> Result<Dir> {
        match &mut self.dirs {
            Some(dirs) => dirs.get(path),
            None => Err(Error::protocol("a node without a tree")),
        }
    }

    pub(super) fn may(&self, rights: Rights) -> bool {
        self.job.rights.contains(rights)
    }

    /// Whether the account may place something where something `exists` or nothing does.
    pub(super) fn allow(&self, exists: bool, item: &Item) -> Result<()> {
        let (needed, what, name) = match exists {
            true => (Rights::OVERWRITE, "exists", "overwrite"),
            false => (Rights::CREATE, "does not exist", "create"),
        };
        if self.may(needed) {
            return Ok(());
        }
        let path = &item.path;
        Err(Error::local(
            Status::Denied,
            format!("'{path}' {what} and the account lacks the right '{name}'; ask the server's operator"),
        ))
    }

    /// Whether this is the directory of backups, or lies in it.
    pub(super) fn walks_backup(&self, path: &RemotePath) -> bool {
        let within = self.place.backup.as_ref().and_then(|backup| backup.within.as_ref());
        within.is_some_and(|backup| path.starts_with(backup))
    }
}

/// Errors after which nothing else of the tree can succeed.
pub(super) fn is_fatal(error: &Error) -> bool {
    ends_it(error) || error.status() == Status::DiskFull
}

/// Nanoseconds count only where both sides have them.
pub(super) fn same_time(a: Mtime, b: Mtime) -> bool {
    a.secs == b.secs && (a.nanos == b.nanos || a.nanos == 0 || b.nanos == 0)
}

pub(super) fn is_directory(item: &Item) -> Error {
    Error::local(
        Status::IsDirectory,
        format!(
            "'{}' is a directory here; remove it first (--delete does, up to 1,024 times a run)",
            item.path
        ),
    )
}

pub(super) fn not_regular(item: &Item) -> Error {
    let what = format!("'{}' is a device, FIFO or socket here and is not replaced", item.path);
    Error::local(Status::NotRegular, what)
}
