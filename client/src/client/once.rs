//! What is told of a tree, where its connection was made again: each attempt begins at the first name.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ft_protocol::RemotePath;
use ft_protocol::fs::Kind;
use ft_protocol::tree::{Action, Item, OnItem, TreeDone};

/// What a run does, and so what its next attempt finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    /// It compares: everything is as it was.
    Compares,
    /// It says what it would do: everything is as it was, and what would be removed comes last.
    Foresees,
    /// It does it. What was made or removed is not made or removed again, and what was copied is equal.
    Changes,
}

/// Tells of everything once, however often the connection is made again.
#[derive(Clone)]
pub(super) struct Once(Arc<Mutex<Told>>);

struct Told {
    on_item: OnItem,
    run: Run,
    /// How far this attempt has come, in the order of the tree.
    reached: Option<RemotePath>,
    /// Up to here an earlier attempt has told of everything that comes in that order.
    until: Option<RemotePath>,
    /// Files that were told as copied, and how many of them before this attempt.
    files: u64,
    before: u64,
    /// What was told out of that order, and whether as removed: what failed or was left out, of which the sender says
    /// so when it comes across it; what took the place of a directory, at the end.
    apart: HashSet<(RemotePath, bool)>,
}

impl Once {
    pub(super) fn new(on_item: OnItem, run: Run) -> Self {
        let (reached, until, apart) = (None, None, HashSet::new());
        Self(Arc::new(Mutex::new(Told { on_item, run, reached, until, files: 0, before: 0, apart })))
    }

    pub(super) fn attempt(&self, number: u32) {
        if number > 0 {
            let mut told = self.told();
            told.before = told.files;
            let reached = told.reached.take();
            // It may have ended before it was where an earlier one had been.
            if let Some(reached) = reached.filter(|reached| !told.was_told(reached)) {
                told.until = Some(reached);
            }
        }
    }

    pub(super) fn on_item(&self) -> OnItem {
        let once = self.clone();
        Arc::new(move |item| {
            let on_item = once.told().take(item);
            if let Some(on_item) = on_item {
                on_item(item);
            }
        })
    }

    /// What earlier attempts copied is equal at the last one, and was told as copied.
    pub(super) fn count(&self, done: TreeDone, quick: bool) -> TreeDone {
        let before = if quick { self.told().before } else { 0 };
        TreeDone { equal: done.equal.saturating_sub(before), ..done }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    fn take(&mut self, item: &Item) -> Option<OnItem> {
        let removed = item.action == Action::Deleted;
        let new = match self.run {
            _ if item.failure.is_some() || item.kind == Kind::Other => self.tell_apart(item),
            Run::Changes if removed || item.kind != Kind::File => true,
            Run::Foresees if removed => self.tell_apart(item),
            Run::Compares | Run::Foresees | Run::Changes => self.tell_in_order(item),
        };
        let copied = matches!(item.action, Action::Created | Action::Replaced | Action::Meta);
        if new && copied && item.failure.is_none() && item.kind == Kind::File && self.run == Run::Changes {
            self.files += 1;
        }
        new.then(|| Arc::clone(&self.on_item))
    }

    fn tell_apart(&mut self, item: &Item) -> bool {
        self.apart.insert((item.path.clone(), item.action == Action::Deleted))
    }

    fn tell_in_order(&mut self, item: &Item) -> bool {
        if self.reached.as_ref().is_some_and(|reached| !is_after(&item.path, reached)) {
            return self.tell_apart(item);
        }
        self.reached = Some(item.path.clone());
        !self.was_told(&item.path)
    }

    /// Whether an earlier attempt came as far as this.
    fn was_told(&self, path: &RemotePath) -> bool {
        self.until.as_ref().is_some_and(|until| !is_after(path, until))
    }
}

/// Whether a walk meets `path` after `other`.
fn is_after(path: &RemotePath, other: &RemotePath) -> bool {
    path.components().gt(other.components())
}

#[cfg(test)]
#[path = "once_tests.rs"]
mod tests;
