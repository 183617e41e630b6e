//! What became of each name of a run: said, counted and recorded.
//!
//! Trees tell of their names from a thread of their own, so a run shares its books with that.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ft_protocol::digest::{Hash, blocks_of};
use ft_protocol::fs::{Kind, Mtime};
use ft_protocol::tree::{Action, Item};
use ft_protocol::{RemotePath, Status};

use super::Failed;
use crate::cli::values::DigestChoice;
use crate::exit::{Exit, Tally};
use crate::output::{
    Change, EntryKind, ErrorReport, FileReport, ItemReport, Output, Summary, human_bytes, reason,
};
use crate::receipts::{Concluded, Recorder};

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
            receipt,
            unsaid: None,
        })))
    }

    pub(super) fn open(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
            self.output.warning(&self.host, shown, &message)?;
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
    pub(super) fn skipped(&mut self, path: &[u8], why: &str) -> io::Result<()> {
        self.summary.skipped += 1;
        self.output.skipped(&self.host, path, why)
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

    /// Whether nothing more can be said.
    pub(super) fn is_mute(&self) -> bool {
        self.unsaid.is_some()
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
        let change = match item.action {
            Action::Skipped => {
                let why = match (&item.failure, item.kind) {
                    (Some(failure), _) => failure.to_string(),
                    (None, Kind::Other) => "is a device, FIFO or socket".to_owned(),
                    (None, _) => "exists already".to_owned(),
                };
                return self.skipped(&shown, &why);
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
            self.output.warning(&self.host, &shown, &message)?;
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
        self.receipt = None;
        self.output.info(&format!("warning: there is no receipt of this run: {}", reason(error)))
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

    /// A tree did not come to its end: what was done until then is summed up as of one that did.
    pub(super) fn cut_short(&mut self) {
        let Summary { files, failed, skipped, equal, deleted, .. } = self.summary;
        self.summary.tree |= files + failed + skipped + equal + deleted > 0;
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

/// Algorithm and text: what md5sum or sha256sum prints, or `hex-N` for a tree of N blocks.
pub(super) fn printed(
    choice: DigestChoice,
    size: u64,
    proof: &Hash,
    whole: Option<&Hash>,
) -> (&'static str, String) {
    let blocks = blocks_of(size);
    match (choice, whole) {
        (DigestChoice::Md5, Some(whole)) => ("md5", whole.to_string()),
        (DigestChoice::Sha256, Some(whole)) => ("sha256", whole.to_string()),
        // The proof of a single block is its plain digest.
        (DigestChoice::Md5, None) if blocks <= 1 => ("md5", proof.to_string()),
        (DigestChoice::Sha256, None) if blocks <= 1 => ("sha256", proof.to_string()),
        (_, _) if blocks > 1 => ("md5-tree", format!("{proof}-{blocks}")),
        (_, _) => ("md5-tree", proof.to_string()),
    }
}

/// The code of a tree's own failure: what ends the job keeps its own, whatever became of the names before it.
pub(super) fn ends_with_its_code(status: Status) -> bool {
    matches!(
        Exit::from(status),
        Exit::Temporary | Exit::Denied | Exit::Limit | Exit::Busy | Exit::DiskFull | Exit::Version
    )
}

fn beneath(base: &[u8], path: &[u8]) -> Vec<u8> {
    if base.is_empty() || path.is_empty() { [base, path].concat() } else { [base, b"/", path].concat() }
}

fn mtime(meta: &std::fs::Metadata) -> Mtime {
    use std::os::unix::fs::MetadataExt;
    Mtime { secs: meta.mtime(), nanos: u32::try_from(meta.mtime_nsec()).unwrap_or(0) }
}

fn kind(kind: Kind) -> EntryKind {
    match kind {
        Kind::File => EntryKind::File,
        Kind::Dir => EntryKind::Directory,
        Kind::Symlink => EntryKind::Symlink,
        Kind::Other => EntryKind::Other,
    }
}

#[cfg(test)]
#[path = "books_tests.rs"]
mod tests;
