//! What became of each name of a run: said, counted and recorded.
//!
//! Trees tell of their names from a thread of their own, so a run shares its books with that.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ft_protocol::RemotePath;
use ft_protocol::digest::Hash;
use ft_protocol::display::Escaped;
use ft_protocol::fs::Kind;
use ft_protocol::tree::{Action, Item};

use super::Failed;
use super::convert::{kind, mtime, printed};
use crate::cli::values::DigestChoice;
use crate::exit::{Exit, Tally};
use crate::output::{
    Change, EntryKind, ErrorReport, FileReport, ItemName, ItemReport, Output, Summary, human_bytes, reason,
};
use crate::receipts::{Concluded, Recorder};

/// Why `--no-clobber` leaves a file out.
const EXISTS: &str = "exists already";

/// The books of a run. Clones are the same books.
#[derive(Clone)]
pub(super) struct Books(Arc<Mutex<Entries>>);

pub(super) struct Entries {
    output: Output,
    host: String,
    action: &'static str,
    digest: DigestChoice,
    pub(super) tally: Tally,
    pub(super) summary: Summary,
    /// Names that changed in any way, or would have.
    changes: u64,
    /// People are told each file that `--no-clobber` left alone.
    pub(super) names_existing: bool,
    receipt: Option<Recorder>,
    /// What could not be said; nothing is from then on.
    unsaid: Option<io::Error>,
}

/// A file that arrived, at whichever end.
pub(super) struct Arrived<'a> {
    /// Its name at the other end, as it was asked for.
    pub(super) path: &'a RemotePath,
    /// Where it is here; none for a stream.
    pub(super) local: Option<&'a Path>,
    pub(super) size: u64,
    pub(super) proof: Hash,
    pub(super) whole: Option<Hash>,
    pub(super) kept: u64,
    pub(super) grew: bool,
}

/// Where the two ends of a tree are.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) local: PathBuf,
    pub(super) remote: RemotePath,
    /// What stands before names in lines for people: where several trees go into one directory, the name there.
    pub(super) shown: Vec<u8>,
    pub(super) dry_run: bool,
}

impl Books {
    pub(super) fn new(
        output: &Output,
        host: &str,
        action: &'static str,
        digest: DigestChoice,
        receipt: Option<Recorder>,
    ) -> Self {
        Self(Arc::new(Mutex::new(Entries {
            output: output.clone(),
            host: host.to_owned(),
            action,
            digest,
            tally: Tally::new(),
            summary: Summary::default(),
            changes: 0,
            names_existing: false,
            receipt,
            unsaid: None,
        })))
    }

    pub(super) fn open(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing more can be said. Does not wait for a line that is being written, whose reader may stand still.
    pub(super) fn is_mute(&self) -> bool {
        self.0.try_lock().is_ok_and(|entries| entries.unsaid.is_some())
    }
}

impl Entries {
    /// A file arrived.
    pub(super) fn arrived(&mut self, file: &Arrived<'_>, elapsed: Duration) -> io::Result<()> {
        self.tally.done();
        self.changes += 1;
        self.summary.files += 1;
        self.summary.verified += 1;
        self.summary.bytes += file.size;
        self.summary.kept += file.kept;
        let (alg, hex) = printed(self.digest, file.size, &file.proof, file.whole.as_ref());
        let same_name =
            |local: &Path| local.file_name().map(|name| name.as_encoded_bytes()) == file.path.file_name();
        self.record(&Concluded {
            local: file.local,
            remote: file.path,
            beneath: usize::from(file.local.is_none_or(same_name)),
            size: file.size,
            mtime: file.local.and_then(|local| std::fs::metadata(local).ok()).as_ref().map(mtime),
            digest: (alg, &hex),
            verified: true,
        })?;
        let shown = super::transfer::shown(file.path);
        if file.grew {
            let message =
                format!("it grew while it was read; its first {} bytes were transferred", file.size);
            self.output.warning(&self.host, &ItemName::same(shown), &message)?;
        }
        self.output.file(&FileReport {
            host: &self.host,
            action: self.action,
            path: shown,
            bytes: file.size,
            resumed_from: file.kept,
            digest: Some((alg, &hex)),
            verified: true,
            elapsed,
        })
    }

    /// A file was left out by rule.
    pub(super) fn skipped(&mut self, name: &ItemName<'_>, why: &str) -> io::Result<()> {
        self.summary.skipped += 1;
        self.output.skipped(&self.host, name, why)
    }

    /// A file stands there already and is left alone. There may be many, so they are named only where that was asked
    /// for, or where there is one.
    pub(super) fn existing(&mut self, name: &ItemName<'_>) -> io::Result<()> {
        if self.names_existing {
            return self.skipped(name, EXISTS);
        }
        self.summary.skipped += 1;
        self.output.left_alone(&self.host, name, EXISTS)
    }

    /// A single file would be transferred.
    pub(super) fn would_arrive(&mut self, path: &RemotePath, change: Change, bytes: u64) -> io::Result<()> {
        self.tally.done();
        self.changes += 1;
        self.summary.files += 1;
        self.summary.bytes += bytes;
        let shown = super::transfer::shown(path);
        self.output.item(&ItemReport {
            host: &self.host,
            action: self.action,
            path: shown,
            remote: shown,
            change,
            kind: EntryKind::File,
            bytes,
            kept: 0,
            digest: None,
            dry_run: true,
        })
    }

    /// Something became of a name in a tree. Where that cannot be said, [`Entries::unsaid`] tells.
    pub(super) fn item(&mut self, place: &Place, item: &Item) {
        // Whatever becomes of the tree, what was done until then is summed up as that of one.
        self.summary.tree = true;
        if self.unsaid.is_none()
            && let Err(error) = self.take(place, item)
        {
            self.unsaid = Some(error);
        }
    }

    /// Why nothing more can be said.
    pub(super) fn unsaid(&mut self) -> io::Result<()> {
        self.unsaid.take().map_or(Ok(()), Err)
    }

    fn take(&mut self, place: &Place, item: &Item) -> io::Result<()> {
        let shown = beneath(&place.shown, item.path.as_bytes());
        let remote = beneath(place.remote.as_bytes(), item.path.as_bytes());
        if let Some(failure) = item.failure.as_ref().filter(|_| item.action != Action::Skipped) {
            return self.item_failed(
                &shown,
                &remote,
                Exit::from(failure.status),
                &failure.to_string(),
                item.here,
            );
        }
        let name = ItemName { text: &shown, remote: &remote };
        let change = match item.action {
            Action::Skipped => {
                let why = match (&item.failure, item.kind) {
                    (Some(failure), _) => failure.to_string(),
                    (None, Kind::Other) => "is a device, FIFO or socket".to_owned(),
                    (None, _) => return self.existing(&name),
                };
                return self.skipped(&name, &why);
            }
            Action::Equal => None,
            Action::Created => Some(Change::Created),
            Action::Replaced => Some(Change::Replaced),
            Action::Meta => Some(Change::Meta),
            Action::Deleted => Some(Change::Deleted),
        };
        let moved = matches!(change, Some(Change::Created | Change::Replaced)) && item.kind == Kind::File;
        let digest =
            item.proof.as_ref().map(|proof| printed(self.digest, item.size, proof, item.whole.as_ref()));
        if moved && digest.is_none() && !place.dry_run {
            return self.item_failed(
                &shown,
                &remote,
                Exit::Mismatch,
                "it arrived and could not be verified",
                false,
            );
        }
        self.tally.done();
        self.count(change, item, moved, digest.is_some());
        let digest = digest.as_ref().map(|(alg, hex)| (*alg, hex.as_str()));
        if let Some(digest) = digest.filter(|_| item.kind == Kind::File && item.action != Action::Deleted) {
            self.record_item(place, item, digest)?;
        }
        let Some(change) = change else { return Ok(()) };
        if item.grew {
            let message =
                format!("it grew while it was read; its first {} were transferred", human_bytes(item.size));
            self.output.warning(&self.host, &name, &message)?;
        }
        self.output.item(&ItemReport {
            host: &self.host,
            action: self.action,
            path: &shown,
            remote: &remote,
            change,
            kind: kind(item.kind),
            bytes: item.size,
            kept: item.kept,
            digest: digest.filter(|_| moved),
            dry_run: place.dry_run,
        })
    }

    fn count(&mut self, change: Option<Change>, item: &Item, moved: bool, verified: bool) {
        self.changes += u64::from(change.is_some());
        if moved {
            self.summary.files += 1;
            self.summary.bytes += item.size;
            self.summary.kept += item.kept.min(item.size);
            self.summary.verified += u64::from(verified);
        } else if change == Some(Change::Deleted) {
            self.summary.deleted += 1;
        } else if item.kind == Kind::File {
            self.summary.equal += 1;
        }
    }

    fn item_failed(
        &mut self,
        shown: &[u8],
        remote: &[u8],
        exit: Exit,
        why: &str,
        here: bool,
    ) -> io::Result<()> {
        self.summary.failed += 1;
        match exit {
            // It is the same for all that is still to come.
            Exit::DiskFull => self.tally.ended(exit),
            _ => self.tally.failed(exit),
        }
        let report = ErrorReport {
            host: Some(&self.host),
            path: Some(remote),
            exit,
            message: why,
            retry_safe: true,
            here,
            local: false,
        };
        self.output.item_failed(shown, &report)
    }

    fn record_item(&mut self, place: &Place, item: &Item, digest: (&str, &str)) -> io::Result<()> {
        let remote = item.path.components().try_fold(place.remote.clone(), |path, name| path.join(name));
        let Ok(remote) = remote else { return Ok(()) };
        let local = match item.path.is_root() {
            true => place.local.clone(),
            false => place.local.join(item.path.as_os_str()),
        };
        self.record(&Concluded {
            local: Some(&local),
            remote: &remote,
            beneath: item.path.components().count(),
            size: item.size,
            mtime: Some(item.mtime),
            digest,
            verified: true,
        })
    }

    /// Adds to the receipt. The files are in place, whatever becomes of that: one that cannot be written is warned of,
    /// once, and no failure.
    fn record(&mut self, done: &Concluded<'_>) -> io::Result<()> {
        let absolute = done.local.map(std::path::absolute).transpose();
        let written = match (&mut self.receipt, absolute) {
            (None, _) => return Ok(()),
            (Some(_), Err(error)) => Err(error),
            (Some(receipt), Ok(local)) => receipt.add(&Concluded { local: local.as_deref(), ..*done }),
        };
        written.or_else(|error| self.without_receipt(&error))
    }

    fn without_receipt(&mut self, error: &io::Error) -> io::Result<()> {
        let Some(receipt) = self.receipt.take() else { return Ok(()) };
        let directory = Escaped::new(receipt.directory().as_os_str().as_encoded_bytes());
        let why = reason(error);
        self.output
            .info(&format!("warning: there is no receipt of this run; writing it in '{directory}': {why}"))
    }

    /// The last words, and the exit code.
    pub(super) fn finish(&mut self, elapsed: Duration, error_on_no_transfer: bool) -> io::Result<Exit> {
        if let Some(Err(error)) = self.receipt.as_mut().map(Recorder::finish) {
            self.without_receipt(&error)?;
        }
        self.summary.elapsed = elapsed;
        let mut exit = self.tally.exit();
        if exit.is_ok() && self.changes == 0 && error_on_no_transfer {
            exit = Exit::Nothing;
        }
        self.output.summary(&self.summary, exit)?;
        Ok(exit)
    }

    /// The last words of a run that does not come to its end. Nothing is said after them: a thread of the library may
    /// still be at work.
    pub(super) fn cut_short(&mut self, elapsed: Duration, code: u8) -> io::Result<()> {
        let receipt = self.receipt.take().map_or(Ok(()), |mut receipt| receipt.finish());
        self.unsaid.get_or_insert_with(|| io::ErrorKind::BrokenPipe.into());
        self.summary.elapsed = elapsed;
        self.output.cut_short(&self.summary, code)?;
        receipt
    }

    /// So many files of a tree were equal by size and time.
    pub(super) fn equal(&mut self, files: u64) {
        self.summary.equal += files;
        (0..files).for_each(|_| self.tally.done());
    }

    /// Something that a person may want to know.
    pub(super) fn note(&self, line: &str) -> io::Result<()> {
        self.output.info(line)
    }

    /// A file or a tree did not come to its end.
    pub(super) fn failed(&mut self, failed: &Failed, path: &[u8]) {
        failed.report(&self.output, Some(&self.host), Some(path));
        self.summary.failed += 1;
    }
}

pub(super) fn beneath(base: &[u8], path: &[u8]) -> Vec<u8> {
    if base.is_empty() || path.is_empty() { [base, path].concat() } else { [base, b"/", path].concat() }
}

#[cfg(test)]
#[path = "books_tests.rs"]
mod tests;
