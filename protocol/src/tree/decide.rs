//! What is to be done about a node: it is held against what stands here under its name.

use super::commit::{Step, What};
use super::descent::Place;
use super::extras::Own;
use super::landing::TreeLanding;
use super::turns::{Arriving, Content, Pending};
use super::{Action, Item, mtime_of};
use crate::auth::Rights;
use crate::digest::{Hash, blocks_of};
use crate::error::{Error, Result, Status};
use crate::fs::{CommitOptions, Dir, Kind, Meta, ModeRule, Mtime, Staged};
use crate::path::RemotePath;
use crate::transfer::{FileInfo, Landing, ReceiveJob, Sink};
use crate::wire::BLOCK_LEN;
use crate::wire::message::{Accept, Node};

/// Partial files that nobody came back for are removed after this long.
const ABANDONED: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3600);
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
    swept: bool,
    /// What it gets when it is full.
    mode: Option<u32>,
    mtime: Option<Mtime>,
}

impl TreeLanding {
    /// Ends so many directories, the innermost first.
    pub(super) fn leave(&mut self, levels: usize) {
        for _ in 0..levels {
            let Some(frame) = self.frames.pop() else { return };
            if self.dead.as_ref() == Some(&frame.path) {
                self.dead = None;
            }
            let more = frame.own.is_some_and(|own| self.extras.end(&frame.path, own));
            if frame.mode.is_some() || frame.mtime.is_some() {
                let item = Item::new(frame.path, Kind::Dir, Action::Meta);
                let what = What::DirEnd { mode: frame.mode, mtime: frame.mtime };
                let step = Step { number: 0, item, what };
                if more { self.ends.push(step) } else { self.wait(Pending::Step(step)) }
            }
        }
    }

    /// Errors: what ends it all. Everything else becomes an item.
    pub(super) fn decide(&mut self, number: u32, node: Node, place: Place) -> Result<()> {
        let Place { path, kind, .. } = place;
        if self.dead.is_some() {
            // Beneath what could not be made: it was named once, which is enough.
            if kind == Kind::Dir {
                self.frames.push(Frame {
                    path,
                    exists: false,
                    own: None,
                    swept: true,
                    mode: None,
                    mtime: None,
                });
            } else if kind == Kind::File {
                self.job.meter.decided(node.size);
            }
            return Ok(());
        }
        let item = Item { mtime: mtime_of(&node), size: node.size, ..Item::new(path, kind, Action::Created) };
        let decided = match kind {
            Kind::Dir => self.decide_dir(&node, &item),
            Kind::Symlink => self.decide_link(&node, &item),
            _ => self.decide_file(number, &node, &item),
        };
        match decided {
            Ok(()) => Ok(()),
            Err(error) if is_fatal(&error) => Err(error),
            Err(error) => {
                if kind == Kind::Dir {
                    self.dead = Some(item.path.clone());
                    let path = item.path.clone();
                    self.frames.push(Frame {
                        path,
                        exists: false,
                        own: None,
                        swept: true,
                        mode: None,
                        mtime: None,
                    });
                } else if kind == Kind::File {
                    self.job.meter.decided(node.size);
                }
                self.note(Item { failure: Some(error.failure()), here: true, ..item });
                Ok(())
            }
        }
    }

    /// The directory that a name is in, if it exists, and what stands under the name.
    fn standing(&mut self, path: &RemotePath) -> Result<(Option<Dir>, Option<Meta>)> {
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
                let action = if replaces { Action::Replaced } else { Action::Created };
                self.note(Item { action, ..item.clone() });
                if self.job.dry_run {
                    false
                } else {
                    let above = above.ok_or_else(|| Error::protocol("a node without a tree"))?;
                    if replaces {
                        self.put_aside(&above, item)?;
                    }
                    above.make_dir(name)?;
                    let made = ModeRule::Default(node.mode).resolve(None);
                    let wanted = if self.job.preserve { node.mode & 0o777 } else { made };
                    mode = Some(wanted);
                    if made & FILL != FILL {
                        self.dir(&item.path)?.set_meta(Some(made | FILL), None)?;
                    }
                    true
                }
            }
        };
        if !self.may(Rights::OVERWRITE) && existing.is_some() {
            mode = None;
        }
        let own = match (
            exists && existing.is_some() && self.job.delete.is_some(),
            self.walks_backup(&item.path),
        ) {
            (true, false) => Some(Own::of(&self.dir(&item.path)?)?),
            _ => None,
        };
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
                    self.wait(Pending::Step(Step { number: 0, item, what }));
                }
                return Ok(());
            }
            (Some(meta), _) if meta.kind == Kind::Dir => return Err(is_directory(item)),
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

    fn decide_file(&mut self, number: u32, node: &Node, item: &Item) -> Result<()> {
        let (dir, existing) = self.standing(&item.path)?;
        let keeps_time = self.job.preserve || self.job.times;
        let mut late = false;
        match existing {
            Some(meta) if meta.kind == Kind::Other => return Err(not_regular(item)),
            Some(meta) if meta.kind == Kind::Dir => {
                if self.job.delete.is_none() || self.walks_backup(&item.path) {
                    return Err(is_directory(item));
                }
                late = true;
            }
            Some(_) if self.job.no_clobber => {
                self.job.meter.decided(item.size);
                self.note(Item { action: Action::Skipped, ..item.clone() });
                return Ok(());
            }
            Some(meta)
                if self.job.quick
                    && meta.kind == Kind::File
                    && meta.size == item.size
                    && same_time(meta.mtime, item.mtime) =>
            {
                self.equal(node, item, &meta);
                return Ok(());
            }
            _ => {}
        }
        let file = existing.filter(|meta| meta.kind == Kind::File);
        let forbidden = match self.allow(existing.is_some(), item) {
            Ok(()) => false,
            // It may be equal, which is all that is needed then.
            Err(_) if file.is_some_and(|meta| meta.size == item.size) => true,
            Err(error) => return Err(error),
        };
        if self.job.dry_run {
            return self.foresee(node, item, dir.as_ref(), existing);
        }
        let dir = dir.ok_or_else(|| Error::protocol("a node without a tree"))?;
        let name = item.path.file_name().unwrap_or_default();
        if let Some(frame) = self.frames.last_mut().filter(|frame| !frame.swept) {
            frame.swept = true;
            dir.sweep_staging(ABANDONED);
        }
        if late {
            self.extras.replace(&item.path);
        }
        let rule =
            if self.job.preserve { ModeRule::Preserve(node.mode) } else { ModeRule::Default(node.mode) };
        let mut arriving = Arriving {
            number,
            item: Item { size: node.size, ..item.clone() },
            mode: rule.resolve(file.as_ref()),
            mtime: keeps_time.then_some(item.mtime),
            existing: file,
            offered: None,
            forbidden,
            late,
            content: Content::Awaited,
            damaged: 0,
        };
        if node.size > BLOCK_LEN as u64 {
            return self.accept_large(arriving, &dir, name, rule);
        }
        if file.is_some_and(|meta| meta.size == node.size) {
            arriving.offered = self.digest_of(&dir, name, node.size).ok();
        }
        self.say(Accept { file: number, have: u64::from(arriving.offered.is_some()) });
        if let Some(offered) = arriving.offered {
            self.say(crate::wire::Message::Have(offered.to_vec().into()));
        }
        self.accept(arriving);
        Ok(())
    }

    /// Equal by size and time; with `-p` its mode may not be.
    fn equal(&mut self, node: &Node, item: &Item, meta: &Meta) {
        self.done.equal += 1;
        self.job.meter.decided(item.size);
        let mode = Some(node.mode & 0o777).filter(|mode| self.job.preserve && *mode != meta.mode & 0o777);
        if mode.is_some() && self.may(Rights::OVERWRITE) {
            let what =
                if self.job.dry_run { What::Nothing } else { What::Meta { mode, mtime: Some(item.mtime) } };
            let item = Item { action: Action::Meta, ..item.clone() };
            self.wait(Pending::Step(Step { number: 0, item, what }));
        }
    }

    fn accept_large(&mut self, mut arriving: Arriving, dir: &Dir, name: &[u8], rule: ModeRule) -> Result<()> {
        let info =
            FileInfo { size: Some(arriving.item.size), mtime: arriving.item.mtime, mode: arriving.mode };
        let staged = match self.job.resume {
            true => Staged::partial(dir, info.partial_key(&self.job.account, &arriving.item.path))?,
            false => Staged::temp(dir)?,
        };
        let standing = match arriving.existing {
            // What cannot be read is replaced all the same.
            Some(_) => dir.open_file(name).ok().map(|(file, _)| file),
            None => None,
        };
        let replace = !self.job.no_clobber;
        let commit = CommitOptions { len: 0, replace, mtime: arriving.mtime, mode: rule };
        let job = ReceiveJob {
            info,
            sink: Sink::File { staged, name: name.to_vec(), commit, standing },
            algorithm: self.job.algorithm,
            whole: self.job.whole,
            known: None,
            meter: self.job.meter.bytes.clone(),
            rate: None,
        };
        let mut landing = Landing::new(self.op, arriving.number, job, self.tx.clone());
        // It sends by itself, behind what was said before.
        self.answer()?;
        debug_assert!(blocks_of(arriving.item.size) > 1);
        landing.offer_what_is_here()?;
        arriving.content = Content::Large(Box::new(landing));
        self.large += 1;
        self.accept(arriving);
        Ok(())
    }

    /// What would become of a file.
    fn foresee(&mut self, node: &Node, item: &Item, dir: Option<&Dir>, existing: Option<Meta>) -> Result<()> {
        self.job.meter.decided(item.size);
        let same_size = existing.is_some_and(|meta| meta.kind == Kind::File && meta.size == item.size);
        let name = item.path.file_name().unwrap_or_default();
        let same = match dir.filter(|_| same_size && !node.digest.is_empty()) {
            Some(dir) => self.digest_of(dir, name, item.size).is_ok_and(|own| own.as_bytes() == node.digest),
            None => false,
        };
        let differs = existing.is_some_and(|meta| !same_time(meta.mtime, item.mtime));
        let action = match (existing.is_some(), same) {
            (_, true) if (self.job.times || self.job.preserve) && differs => Action::Meta,
            (_, true) => Action::Equal,
            (true, false) => Action::Replaced,
            (false, false) => Action::Created,
        };
        if action != Action::Equal {
            self.note(Item { action, ..item.clone() });
        } else {
            self.done.equal += 1;
        }
        Ok(())
    }

    /// Proof of what stands here.
    fn digest_of(&self, dir: &Dir, name: &[u8], size: u64) -> Result<Hash> {
        let (file, meta) = dir.open_file(name)?;
        if meta.size != size {
            return Err(Error::local(Status::Changed, "it changed"));
        }
        crate::transfer::proof_of(&file, size, self.job.algorithm, &self.lanes, self.tx.activity())
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

    fn may(&self, rights: Rights) -> bool {
        self.job.rights.contains(rights)
    }

    /// Whether the account may place something where something `exists` or nothing does.
    fn allow(&self, exists: bool, item: &Item) -> Result<()> {
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
    fn walks_backup(&self, path: &RemotePath) -> bool {
        let within = self.place.backup.as_ref().and_then(|backup| backup.within.as_ref());
        within.is_some_and(|backup| path.starts_with(backup))
    }
}

/// Errors after which nothing else of the tree can succeed.
fn is_fatal(error: &Error) -> bool {
    matches!(error, Error::Protocol(_) | Error::Connection(_))
        || matches!(error.status(), Status::DiskFull | Status::Cancelled)
}

/// Nanoseconds count only where both sides have them.
fn same_time(a: Mtime, b: Mtime) -> bool {
    a.secs == b.secs && (a.nanos == b.nanos || a.nanos == 0 || b.nanos == 0)
}

fn is_directory(item: &Item) -> Error {
    Error::local(Status::IsDirectory, format!("'{}' is a directory here; remove it first", item.path))
}

fn not_regular(item: &Item) -> Error {
    let what = format!("'{}' is a device, FIFO or socket here and is not replaced", item.path);
    Error::local(Status::NotRegular, what)
}
