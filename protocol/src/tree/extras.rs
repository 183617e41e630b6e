//! What the source does not have: found while names are compared, removed when all the rest is done.

use std::collections::HashSet;

use super::commit::{Step, What, keep_aside};
use super::dirs::Dirs;
use super::receive::{Place, ReceiveTree};
use super::{Action, Item};
use crate::auth::Rights;
use crate::error::{Error, Result, Status};
use crate::fs::{Dir, Filter, Kind, Links, MAX_ENTRIES, Visit, Walk};
use crate::path::RemotePath;
use crate::transfer::Pulse;

/// Names that the source does not have.
#[derive(Default)]
pub(super) struct Extras {
    found: Vec<(RemotePath, Kind)>,
}

/// What one directory holds, in order, and how far the source's names have come.
pub(super) struct Own {
    names: std::iter::Peekable<std::vec::IntoIter<(Vec<u8>, Kind)>>,
    /// Some of it the source does not have.
    more: bool,
}

impl Own {
    pub(super) fn of(dir: &Dir) -> Result<Self> {
        let names: Vec<(Vec<u8>, Kind)> =
            dir.list()?.into_iter().map(|entry| (entry.name, entry.meta.kind)).collect();
        Ok(Self { names: names.into_iter().peekable(), more: false })
    }
}

impl Extras {
    /// The source has `name` next; what stands before it here, it does not have.
    pub(super) fn reach(&mut self, dir: &RemotePath, own: &mut Own, name: &[u8]) {
        while let Some((extra, kind)) = own.names.next_if(|(own, _)| own.as_slice() < name) {
            self.add(dir, &extra, kind);
            own.more = true;
        }
        own.names.next_if(|(own, _)| own.as_slice() == name);
    }

    /// The source has nothing more in this directory. True where something there is to be removed.
    pub(super) fn end(&mut self, dir: &RemotePath, own: Own) -> bool {
        let mut more = own.more;
        for (extra, kind) in own.names {
            self.add(dir, &extra, kind);
            more = true;
        }
        more
    }

    /// A directory goes because a file of the source takes its place.
    pub(super) fn replace(&mut self, path: &RemotePath) {
        self.found.push((path.clone(), Kind::Dir));
    }

    fn add(&mut self, dir: &RemotePath, name: &[u8], kind: Kind) {
        // A name that no path can have cannot be removed through one, and was not made by us.
        if let Ok(path) = dir.join(name) {
            self.found.push((path, kind));
        }
    }

    /// Removes everything, or nothing where it is more than allowed. Gives what is to be reported, and why nothing, or
    /// nothing more, was removed.
    pub(super) fn remove(
        &mut self,
        job: &ReceiveTree,
        place: &Place,
        special: &HashSet<RemotePath>,
        pulse: &mut Pulse,
    ) -> Result<(Vec<Step>, Option<Error>)> {
        let (Some(most), Some(root)) = (job.delete, place.root.as_ref()) else {
            return Ok((Vec::new(), None));
        };
        let mut dirs = Dirs::new(root.clone());
        let within = place.backup.as_ref().and_then(|backup| backup.within.clone());
        let mut steps = Vec::new();
        let mut going: Vec<(RemotePath, Kind)> = Vec::new();
        for (path, kind) in std::mem::take(&mut self.found) {
            if within.as_ref().is_some_and(|backup| backup.starts_with(&path) || path.starts_with(backup)) {
                continue;
            }
            if job.filter.excludes(&path, kind == Kind::Dir) || special.contains(&path) {
                continue;
            }
            match contents(&mut dirs, &path, kind, &job.filter, &mut going) {
                Err(error) if error.status() == Status::NotFound => {}
                Err(error) if error.status() == Status::Limit => return Ok((Vec::new(), Some(error))),
                Err(error) => steps.push(failed(path, kind, &error)),
                Ok(()) => {}
            }
            pulse.beat(0)?;
        }
        let refused = (going.len() as u64 > most).then(|| too_many(going.len(), most));
        // A dry run tells what they are all the same.
        if refused.is_some() && !job.dry_run {
            return Ok((Vec::new(), refused));
        }
        if !going.is_empty() && !job.rights.contains(Rights::DELETE) {
            let what =
                "the account lacks the right 'delete', so nothing was removed; ask the server's operator";
            return Ok((Vec::new(), Some(Error::local(Status::Denied, what))));
        }
        for (path, kind) in going {
            let item = Item::new(path, kind, Action::Deleted);
            let removed = if job.dry_run { Ok(true) } else { remove(&mut dirs, job, place, &item) };
            match removed {
                Ok(true) => steps.push(Step { number: 0, item, what: What::Nothing }),
                // It holds what is left out of the copy, and stays.
                Ok(false) => {}
                Err(error) => steps.push(failed(item.path, kind, &error)),
            }
            // Nobody may be waiting for it any more; what was not removed yet stays.
            if let Err(error) = pulse.beat(0) {
                return Ok((steps, Some(error)));
            }
        }
        Ok((steps, refused))
    }
}

fn failed(path: RemotePath, kind: Kind, error: &Error) -> Step {
    let item = Item { failure: Some(error.failure()), here: true, ..Item::new(path, kind, Action::Deleted) };
    Step { number: 0, item, what: What::Nothing }
}

fn beyond_all_limits() -> Error {
    let what =
        format!("more than {MAX_ENTRIES} entries would be removed; nothing was. Remove a part of them first");
    Error::local(Status::Limit, what)
}

fn too_many(count: usize, most: u64) -> Error {
    let entries = if count == 1 { "entry" } else { "entries" };
    let what =
        format!("{count} {entries} would be removed, and --max-delete allows {most}; nothing was removed");
    Error::local(Status::Limit, what)
}

/// Lists a name with all that is beneath it, contents before their directory.
fn contents(
    dirs: &mut Dirs,
    path: &RemotePath,
    kind: Kind,
    filter: &Filter,
    going: &mut Vec<(RemotePath, Kind)>,
) -> Result<()> {
    if kind != Kind::Dir {
        going.push((path.clone(), kind));
        return if going.len() > MAX_ENTRIES { Err(beyond_all_limits()) } else { Ok(()) };
    }
    let first = going.len();
    let root = dirs.root().beneath(path, Links::Refuse)?;
    let mut walk = Walk::new(root, Filter::default(), None);
    while let Some(visit) = walk.next() {
        match visit {
            Visit::Found(found) => {
                let beneath = found.path.components().try_fold(path.clone(), |path, name| path.join(name))?;
                if filter.excludes(&beneath, found.meta.kind == Kind::Dir) {
                    // With all that is in it.
                    walk.skip_contents();
                } else {
                    going.push((beneath, found.meta.kind));
                    if going.len() > MAX_ENTRIES {
                        return Err(beyond_all_limits());
                    }
                }
            }
            // Vanished meanwhile, or found out when it is removed.
            Visit::Failed { .. } => {}
        }
    }
    // Directories come before their contents in a walk.
    if let Some(listed) = going.get_mut(first..) {
        listed.reverse();
    }
    Ok(())
}

/// `false` where a directory is not empty and is to stay.
fn remove(dirs: &mut Dirs, job: &ReceiveTree, place: &Place, item: &Item) -> Result<bool> {
    let (parent, name) = item.path.split_last().unwrap_or_default();
    let dir = dirs.get(&parent)?;
    let removed = match &place.backup {
        Some(backup) if item.kind != Kind::Dir => keep_aside(backup, &dir, &item.path, true),
        _ => dir.remove(name),
    };
    match removed {
        Ok(()) => Ok(true),
        Err(error) if error.status() == Status::NotFound => Ok(true),
        Err(error) if error.status() == Status::NotEmpty && !job.filter.is_empty() => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[path = "extras_tests.rs"]
mod tests;
