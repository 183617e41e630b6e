//! What get and put share: options, progress, the words about each file, and the sum of it all.

use std::cell::Cell;
use std::collections::HashSet;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ft_protocol::digest::Algorithm;
use ft_protocol::transfer::{Meter, SharedDigests};
use ft_protocol::tree::{TreeDone, TreeMeter};
use ft_protocol::{Error, RemotePath, Status};
use tokio::time::interval;

use super::books::{Arrived, Books, Place};
use super::context::Context;
use super::{About, Failed, ends_the_job};
use crate::cli::globals::{TransferArgs, TransferSettings};
use crate::cli::values::DigestChoice;
use crate::client::{ClientError, TransferOptions};
use crate::exit::Exit;
use crate::output::{Change, ItemName};
use crate::progress::{Part, Position, Progress};
use crate::receipts::{self, Recorder};

/// How often the progress display looks at the meter.
const LOOK: Duration = Duration::from_millis(100);

/// A run of transfers.
pub(super) struct Run<'a> {
    action: &'static str,
    settings: TransferSettings,
    shown: Watched<'a>,
    /// There is one source, so what ends it ends the job.
    single: bool,
    pub(super) books: Books,
    start: Instant,
}

impl<'a> Run<'a> {
    /// `dry`: nothing will be transferred, so nothing is recorded.
    pub(super) fn new(
        context: &'a Context,
        host: &str,
        action: &'static str,
        args: &TransferArgs,
        run: &[u8; 16],
        dry: bool,
    ) -> Result<Self, Failed> {
        context.output.start(run)?;
        let settings = args.settings(&context.config);
        let directory = receipts::directory().filter(|_| !dry);
        let receipt = directory.map(|directory| Recorder::new(directory, run, action, host));
        let books = Books::new(&context.output, host, action, settings.digest, receipt);
        books.open().summary.dry_run = dry;
        books.open().names_existing = context.settings.verbose > 0;
        let (start, last_books) = (Instant::now(), books.clone());
        // What cannot be said here has nobody left to be told.
        context.current.begun(move |code| drop(last_books.open().cut_short(start.elapsed(), code)));
        Ok(Self { action, settings, shown: Watched::new(context), single: true, books, start })
    }

    pub(super) fn settings(&self) -> &TransferSettings {
        &self.settings
    }

    /// How many files there are.
    pub(super) fn files(&self, count: usize) {
        self.books.open().names_existing |= count == 1;
        self.shown.progress.files(Some(count as u64));
    }

    /// How many files there are is found out on the way: these sources are directories, or may be.
    pub(super) fn trees(&mut self, sources: usize) {
        self.single = sources == 1;
        self.shown.progress.set_open(true);
    }

    /// A source turned out to be a single file; `last` where no other one follows.
    pub(super) fn is_file(&self, last: bool) {
        self.books.open().names_existing |= self.single;
        self.shown.progress.add_files(1);
        self.shown.progress.set_open(!last);
    }

    /// What stands on standard input.
    pub(super) fn stdin(&self) -> io::Result<Box<dyn Read + Send>> {
        self.shown.context.stdin()
    }

    /// Digests of what is put, where others put the same.
    pub(super) fn digests(&self) -> Option<Arc<SharedDigests>> {
        self.shown.context.digests()
    }

    /// What is computed and compared.
    pub(super) fn digest(&self) -> Algorithm {
        algorithm(self.settings.digest)
    }

    /// Options for one file, with a meter of its own.
    pub(super) fn options(&self) -> TransferOptions {
        TransferOptions {
            digest: self.digest(),
            preserve: self.settings.preserve,
            no_clobber: self.settings.no_clobber,
            resume: self.settings.resume,
            rate: self.settings.bwlimit,
            meter: Arc::default(),
            shared: self.digests(),
        }
    }

    /// Waits for one transfer while its progress is shown.
    pub(super) async fn watch<T>(
        &self,
        name: &[u8],
        meter: &Arc<Meter>,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        self.shown.progress.message(name);
        let mut shown = Shown { base: self.shown.progress.position(), total: None, kept: 0 };
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

    /// Waits for one tree while its progress is shown. Ends with it where nothing more can be said about it.
    pub(super) async fn watch_tree(
        &self,
        meter: &TreeMeter,
        last: bool,
        work: impl Future<Output = Result<TreeDone, ClientError>>,
    ) -> Result<Result<TreeDone, ClientError>, Failed> {
        let part = self.shown.progress.part();
        let mut tick = interval(LOOK);
        tokio::pin!(work);
        let done = loop {
            tokio::select! {
                biased;
                done = &mut work => break done,
                _ = tick.tick() => {
                    self.shown.look(&part, meter, last);
                    if self.books.is_mute() {
                        break Ok(TreeDone::default());
                    }
                }
            }
        };
        self.shown.look(&part, meter, last);
        self.books.open().unsaid()?;
        Ok(done)
    }

    /// Shows nothing before something moves: until then a person may be asked about a key or for a password.
    fn show(&self, shown: &mut Shown, meter: &Meter) {
        if meter.total().is_none() && meter.done() == 0 {
            return;
        }
        self.shown.begin();
        shown.update(&self.shown.progress, meter);
    }

    /// Says that a file arrived.
    pub(super) fn arrived(&mut self, file: &Arrived<'_>, elapsed: Duration) -> Result<(), Failed> {
        self.shown.progress.file_done();
        Ok(self.books.open().arrived(file, elapsed)?)
    }

    /// Says that a file would be transferred.
    pub(super) fn would_arrive(&self, path: &RemotePath, change: Change, bytes: u64) -> Result<(), Failed> {
        Ok(self.books.open().would_arrive(path, change, bytes)?)
    }

    /// Says that a file did not arrive. An error where nothing else of the job can succeed.
    pub(super) fn failed(&mut self, path: &[u8], error: ClientError) -> Result<(), Failed> {
        if self.settings.no_clobber && error.status() == Status::Exists {
            return self.existing(path);
        }
        // Of a put, what fails here is the local file.
        let here = self.action == "put" && matches!(&error, ClientError::Protocol(Error::Local(_)));
        self.end_of(path, error, here.then_some(About::Here), false)
    }

    /// Says that a local file did not arrive. An error as of [`Run::failed`].
    pub(super) fn not_sent(&mut self, local: &[u8], error: ClientError) -> Result<(), Failed> {
        let here = matches!(&error, ClientError::Protocol(Error::Local(_)));
        if here || (self.settings.no_clobber && error.status() == Status::Exists) {
            return self.failed(local, error);
        }
        self.end_of(local, error, Some(About::Sent), false)
    }

    /// Says that a tree did not come to its end. An error where nothing else of the job can succeed.
    pub(super) fn tree_failed(&mut self, place: &Place, error: ClientError) -> Result<(), Failed> {
        let here = matches!(&error, ClientError::Protocol(Error::Local(_)));
        let keeps_its_code = self.single && ends_with_its_code(error.status());
        if here {
            let path = place.local.clone();
            let about = Some(About::Here);
            return self.end_of(path.as_os_str().as_encoded_bytes(), error, about, keeps_its_code);
        }
        self.end_of(shown(&place.remote), error, None, keeps_its_code)
    }

    fn end_of(
        &mut self,
        path: &[u8],
        error: ClientError,
        about: Option<About>,
        keeps: bool,
    ) -> Result<(), Failed> {
        let ended = ends_the_job(&error);
        let mut failed = Failed::from(error);
        failed.about = match about {
            Some(about) if failed.about != About::Itself => about,
            _ => failed.about,
        };
        let mut books = self.books.open();
        books.failed(&failed, path);
        if ended || keeps {
            books.tally.ended(failed.exit);
        } else {
            books.tally.failed(failed.exit);
        }
        if ended { Err(Failed { message: String::new(), ..failed }) } else { Ok(()) }
    }

    /// Says that an operand means nothing.
    pub(super) fn unusable(&mut self, shown: &[u8], failed: &Failed) {
        let mut books = self.books.open();
        books.failed(failed, shown);
        books.tally.failed(failed.exit);
    }

    /// Says that a file stands there already and was left alone.
    pub(super) fn existing(&mut self, path: &[u8]) -> Result<(), Failed> {
        Ok(self.books.open().existing(&ItemName::same(path))?)
    }

    /// The last words, and the exit code.
    pub(super) fn finish(self) -> Result<Exit, Failed> {
        self.shown.progress.finish();
        self.shown.context.current.ended();
        let nothing_is_an_error = self.settings.error_on_no_transfer;
        Ok(self.books.open().finish(self.start.elapsed(), nothing_is_an_error)?)
    }
}

/// The code of a tree's own failure: what ends the job keeps its own, whatever became of the names before it.
fn ends_with_its_code(status: Status) -> bool {
    matches!(
        Exit::from(status),
        Exit::Temporary | Exit::Denied | Exit::Limit | Exit::Busy | Exit::DiskFull | Exit::Version
    )
}

/// What an option means to the library.
pub(super) fn algorithm(choice: DigestChoice) -> Algorithm {
    match choice {
        DigestChoice::Md5 => Algorithm::Md5,
        DigestChoice::Md5Tree => Algorithm::Md5Tree,
        DigestChoice::Sha256 => Algorithm::Sha256,
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

/// The progress of a run, for whoever looks or asks.
pub(super) struct Watched<'a> {
    context: &'a Context,
    pub(super) progress: Progress,
    begun: Cell<bool>,
}

impl<'a> Watched<'a> {
    pub(super) fn new(context: &'a Context) -> Self {
        let progress = context.progress();
        let (output, asked) = (context.output.clone(), progress.clone());
        context.current.begin(move || {
            // What cannot be said here is found by the next line that matters.
            let _ = output.asked(&asked.words(), &asked.event());
        });
        Self { context, progress, begun: Cell::new(false) }
    }

    fn begin(&self) {
        if !self.begun.replace(true) {
            self.progress.start(None);
        }
    }

    /// Shows how far a tree is; nothing before something was found, as with single files. `last`: no other part of the
    /// job follows.
    pub(super) fn look(&self, part: &Part, meter: &TreeMeter, last: bool) {
        // Asked first: totals that grow after it are not taken for final ones.
        let is_final = meter.is_complete();
        if meter.files_total() == 0 && !is_final {
            return;
        }
        self.begin();
        let name = meter.current();
        let (bytes_done, files_done) = (meter.bytes_done(), meter.files_done());
        let (bytes_total, files_total) = (meter.bytes_total(), meter.files_total());
        let bytes_kept = meter.bytes().kept();
        let position =
            Position { bytes_done, bytes_kept, bytes_total, files_done, files_total, is_final, name: &name };
        self.progress.at(part, &position, last);
    }
}

/// A run that is cut short leaves no bar behind.
impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.progress.finish();
        self.context.current.end();
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
