//! What get and put share: options, progress, the words about each file, and the sum of it all.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ft_protocol::digest::{Algorithm, Hash, blocks_of};
use ft_protocol::transfer::Meter;
use ft_protocol::{Error, RemotePath, Status};
use tokio::time::interval;

use super::context::Context;
use super::{About, Failed, ends_the_job};
use crate::cli::globals::{TransferArgs, TransferSettings};
use crate::cli::values::DigestChoice;
use crate::client::{ClientError, TransferOptions};
use crate::exit::{Exit, Tally};
use crate::output::{FileReport, Summary};
use crate::progress::Progress;

/// How often the progress display looks at the meter.
const LOOK: Duration = Duration::from_millis(100);

/// A run of transfers.
pub(super) struct Run<'a> {
    context: &'a Context,
    host: String,
    action: &'static str,
    settings: TransferSettings,
    progress: Progress,
    begun: Cell<bool>,
    tally: Tally,
    summary: Summary,
    start: Instant,
}

/// A file that arrived, at whichever end.
pub(super) struct Arrived<'a> {
    pub(super) path: &'a [u8],
    pub(super) size: u64,
    pub(super) proof: Hash,
    pub(super) whole: Option<Hash>,
    pub(super) kept: u64,
    pub(super) grew: bool,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        context: &'a Context,
        host: &str,
        action: &'static str,
        args: &TransferArgs,
        run: &[u8; 16],
    ) -> Result<Self, Failed> {
        context.output.start(run)?;
        let progress = Progress::new(&context.output, context.settings.progress);
        Ok(Self {
            context,
            host: host.to_owned(),
            action,
            settings: args.settings(&context.config),
            progress,
            begun: Cell::new(false),
            tally: Tally::new(),
            summary: Summary::default(),
            start: Instant::now(),
        })
    }

    pub(super) fn settings(&self) -> &TransferSettings {
        &self.settings
    }

    /// How many files there are.
    pub(super) fn files(&self, count: usize) {
        self.progress.files(Some(count as u64));
    }

    /// Options for one file, with a meter of its own.
    pub(super) fn options(&self) -> TransferOptions {
        TransferOptions {
            digest: match self.settings.digest {
                DigestChoice::Md5 => Algorithm::Md5,
                DigestChoice::Md5Tree => Algorithm::Md5Tree,
                DigestChoice::Sha256 => Algorithm::Sha256,
            },
            preserve: self.settings.preserve,
            no_clobber: self.settings.no_clobber,
            resume: self.settings.resume,
            rate: self.settings.bwlimit,
            meter: Arc::default(),
        }
    }

    /// Waits for one transfer while its progress is shown.
    pub(super) async fn watch<T>(
        &self,
        name: &[u8],
        meter: &Arc<Meter>,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        self.progress.message(name);
        let mut shown = Shown { base: self.progress.position(), total: None, kept: 0 };
        let mut tick = interval(LOOK);
        tokio::pin!(work);
        let done = loop {
            tokio::select! {
                biased;
                done = &mut work => break done,
                _ = tick.tick() => self.show(&mut shown, meter),
            }
        };
        self.show(&mut shown, meter);
        done
    }

    /// Shows nothing before something moves: until then a person may be asked about a key or for a password.
    fn show(&self, shown: &mut Shown, meter: &Meter) {
        if meter.total().is_none() && meter.done() == 0 {
            return;
        }
        if !self.begun.replace(true) {
            self.progress.start(None);
        }
        shown.update(&self.progress, meter);
    }

    /// Says that a file arrived.
    pub(super) fn arrived(&mut self, file: &Arrived<'_>, elapsed: Duration) -> Result<(), Failed> {
        self.tally.done();
        self.progress.file_done();
        self.summary.files += 1;
        self.summary.verified += 1;
        self.summary.bytes += file.size;
        let digest = self.printed_digest(file);
        if file.grew {
            let message =
                format!("it grew while it was read; its first {} bytes were transferred", file.size);
            self.context.output.warning(&self.host, file.path, &message)?;
        }
        self.context.output.file(&FileReport {
            host: &self.host,
            action: self.action,
            path: file.path,
            bytes: file.size,
            resumed_from: file.kept,
            digest: Some((digest.0, &digest.1)),
            verified: true,
            elapsed,
        })?;
        Ok(())
    }

    /// Says that a file did not arrive. An error where nothing else of the job can succeed.
    pub(super) fn failed(&mut self, path: &[u8], error: ClientError) -> Result<(), Failed> {
        if self.settings.no_clobber && error.status() == Status::Exists {
            return self.skipped(path, "exists already");
        }
        let ended = ends_the_job(&error);
        // Of a put, what fails here is the local file.
        let here = self.action == "put" && matches!(&error, ClientError::Protocol(Error::Local(_)));
        let mut failed = Failed::from(error);
        if here {
            failed.about = About::Here;
        }
        failed.report(&self.context.output, Some(&self.host), Some(path));
        self.summary.failed += 1;
        if ended {
            self.tally.ended(failed.exit);
            return Err(Failed { message: String::new(), ..failed });
        }
        self.tally.failed(failed.exit);
        Ok(())
    }

    /// Says that an operand means nothing.
    pub(super) fn unusable(&mut self, shown: &[u8], failed: Failed) {
        failed.report(&self.context.output, Some(&self.host), Some(shown));
        self.summary.failed += 1;
        self.tally.failed(failed.exit);
    }

    /// Says that a file was left out by rule.
    pub(super) fn skipped(&mut self, path: &[u8], why: &str) -> Result<(), Failed> {
        self.summary.skipped += 1;
        self.context.output.skipped(&self.host, path, why)?;
        Ok(())
    }

    /// The last words, and the exit code.
    pub(super) fn finish(mut self) -> Result<Exit, Failed> {
        self.progress.finish();
        self.summary.elapsed = self.start.elapsed();
        let mut exit = self.tally.exit();
        if exit.is_ok() && self.summary.files == 0 && self.settings.error_on_no_transfer {
            exit = Exit::Nothing;
        }
        self.context.output.summary(&self.summary, exit)?;
        Ok(exit)
    }

    /// Algorithm and text: what md5sum or sha256sum prints, or `hex-N` for a tree of N blocks.
    fn printed_digest(&self, file: &Arrived<'_>) -> (&'static str, String) {
        let blocks = blocks_of(file.size);
        match (self.settings.digest, file.whole) {
            (DigestChoice::Md5, Some(whole)) => ("md5", whole.to_string()),
            (DigestChoice::Sha256, Some(whole)) => ("sha256", whole.to_string()),
            (_, _) if blocks > 1 => ("md5-tree", format!("{}-{blocks}", file.proof)),
            (_, _) => ("md5-tree", file.proof.to_string()),
        }
    }
}

/// Names that the files of a run took in the directory that they all go to.
#[derive(Debug, Default)]
pub(super) struct Taken(HashSet<Vec<u8>>);

impl Taken {
    /// Refuses, as cp(1) does, to replace a file that came before in the same run.
    pub(super) fn take(&mut self, name: &[u8]) -> Result<(), ClientError> {
        if self.0.insert(name.to_vec()) {
            return Ok(());
        }
        let message =
            "another file of this name came before in the same run and is not replaced; copy it elsewhere";
        Err(Error::local(Status::Exists, message).into())
    }
}

/// A run that is cut short leaves no bar behind.
impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.progress.finish();
    }
}

/// What of a meter has been shown.
struct Shown {
    base: u64,
    total: Option<u64>,
    kept: u64,
}

impl Shown {
    fn update(&mut self, progress: &Progress, meter: &Meter) {
        if let (None, Some(total)) = (self.total, meter.total()) {
            progress.add_total(total);
            self.total = Some(total);
        }
        let kept = meter.kept();
        let position = progress.position();
        // A new attempt begins at zero; what was shown stands until it is reached again.
        let done = position.max(self.base + meter.done());
        if kept > self.kept {
            // Taken up where an earlier attempt stopped, which does not count for the rate.
            progress.set_position(done);
        } else {
            progress.advance(done - position);
        }
        self.kept = kept;
    }
}

/// The base name of a path, for messages; the root is `/`.
pub(super) fn shown(path: &RemotePath) -> &[u8] {
    if path.is_root() { b"/" } else { path.as_bytes() }
}
