//! `check` of a local directory, or file, and a remote one.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ft_protocol::digest::Algorithm;
use ft_protocol::fs::Kind;
use ft_protocol::tree::{Action, Item, TreeMeter};
use ft_protocol::{Error, RemotePath, Status};
use tokio::time::interval;

use super::books::beneath;
use super::context::{Context, Server};
use super::transfer::{Watched, algorithm, shown};
use super::{About, Failed, ends_the_job, local_sum, receipt};
use crate::cli::CheckPlan;
use crate::client::{CheckOptions, Client, ClientError};
use crate::exit::Exit;
use crate::output::{Compared, ComparedReport, ItemName, Output, Tallied, reason};

/// How often a comparison is asked whether its words can still be said.
const LOOK: Duration = Duration::from_millis(100);

pub(super) async fn run(context: &Context, server: &mut Server, plan: CheckPlan) -> Result<Exit, Failed> {
    let (local, remote, digest, select) = match plan {
        CheckPlan::Trees { local, remote, digest, select } => (local, remote, digest, select),
        CheckPlan::Receipt { run, sides } => return receipt::check_here(context, server, &run, sides).await,
        CheckPlan::Sums { run, remote } => return receipt::sums(context, &run, remote),
    };
    let Server { name: host, client, .. } = server;
    let digest = algorithm(digest.or(context.config.defaults.digest).unwrap_or_default());
    let (filter, names) = super::select::read(&select).await?;
    context.output.start(client.run())?;
    let start = Instant::now();
    let found = Findings::new(&context.output, host, &remote);
    let last_found = found.clone();
    // What cannot be said here has nobody left to be told.
    context.current.begun(move |code| drop(last_found.open().cut_short(start.elapsed(), code)));
    if local.is_file() {
        let compared = file(client, &local, &remote, digest).await;
        found.open().one(&remote, compared)?;
    } else {
        let told = found.clone();
        let on_item = Arc::new(move |item: &Item| told.open().item(item));
        let meter: Arc<TreeMeter> = Arc::default();
        let options = CheckOptions { filter, names, digest, meter: Arc::clone(&meter), on_item };
        let work = client.check_tree(&local, &remote, &options);
        let done = found.until_mute(context, &meter, work).await?;
        done.map_err(|error| {
            // Of the two directories the one here is meant.
            let here = matches!(&error, ClientError::Protocol(Error::Local(_)));
            let mut failed = Failed::from(error);
            failed.about = if here { About::Here } else { failed.about };
            let path = if here { local.as_os_str().as_encoded_bytes() } else { shown(&remote) };
            failed.report(&context.output, Some(host), Some(path));
            Failed { message: String::new(), ..failed }
        })?;
    }
    context.current.ended();
    let found = found.open();
    let exit = found.tallied.exit();
    context.output.checked(&found.tallied, host, start.elapsed(), exit)?;
    Ok(exit)
}

/// What a comparison found, told from a thread of the library.
#[derive(Clone)]
struct Findings(Arc<Mutex<Entries>>);

struct Entries {
    output: Output,
    host: String,
    remote: RemotePath,
    tallied: Tallied,
    /// What could not be said; nothing is from then on.
    unsaid: Option<io::Error>,
}

impl Findings {
    fn new(output: &Output, host: &str, remote: &RemotePath) -> Self {
        let (output, host, remote) = (output.clone(), host.to_owned(), remote.clone());
        Self(Arc::new(Mutex::new(Entries {
            output,
            host,
            remote,
            tallied: Tallied::default(),
            unsaid: None,
        })))
    }

    fn open(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing more can be said. Does not wait for a line that is being written, whose reader may stand still.
    fn is_mute(&self) -> bool {
        self.0.try_lock().is_ok_and(|entries| entries.unsaid.is_some())
    }

    /// Waits for the comparison while its progress is shown; an error where nobody reads what it finds.
    async fn until_mute<T>(
        &self,
        context: &Context,
        meter: &TreeMeter,
        work: impl Future<Output = T>,
    ) -> Result<T, Failed> {
        let shown = Watched::new(context);
        shown.progress.set_open(true);
        let part = shown.progress.part();
        let mut tick = interval(LOOK);
        tokio::pin!(work);
        let done = loop {
            tokio::select! {
                biased;
                done = &mut work => break Some(done),
                _ = tick.tick() => {
                    shown.look(&part, meter, true);
                    if self.is_mute() {
                        break None;
                    }
                }
            }
        };
        match (self.open().unsaid.take(), done) {
            (None, Some(done)) => Ok(done),
            (error, _) => {
                // Nobody reads a summary either.
                context.current.ended();
                Err(error.unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()).into())
            }
        }
    }
}

impl Entries {
    fn item(&mut self, item: &Item) {
        if self.unsaid.is_some() {
            return;
        }
        if let Err(error) = self.take(item) {
            self.unsaid = Some(error);
        }
    }

    fn take(&mut self, item: &Item) -> io::Result<()> {
        let (path, remote) = (item.path.as_bytes(), beneath(self.remote.as_bytes(), item.path.as_bytes()));
        let name = ItemName { text: path, remote: &remote };
        let is_dir = item.kind == Kind::Dir;
        if let Some(failure) = &item.failure {
            let message = if item.here { failure.to_string() } else { format!("{}: {failure}", self.host) };
            return self.say(&name, is_dir, Compared::Unreadable, Some(&message));
        }
        let found = match item.action {
            _ if item.kind == Kind::Other => {
                return self.output.skipped(&self.host, &name, "is a device, FIFO or socket");
            }
            Action::Skipped => return Ok(()),
            // Modes and times are no contents.
            Action::Equal | Action::Meta if is_dir => return Ok(()),
            Action::Equal | Action::Meta => Compared::Equal,
            Action::Created => Compared::OnlyRemote,
            Action::Deleted => Compared::OnlyLocal,
            Action::Replaced => Compared::Differ,
        };
        self.say(&name, is_dir, found, None)
    }

    /// The last words of a comparison that does not come to its end; nothing is said after them.
    fn cut_short(&mut self, elapsed: Duration, code: u8) -> io::Result<()> {
        self.unsaid.get_or_insert_with(|| io::ErrorKind::BrokenPipe.into());
        self.output.check_cut_short(&self.tallied, &self.host, elapsed, code)
    }

    fn one(&mut self, remote: &RemotePath, compared: Result<Compared, ClientError>) -> Result<(), Failed> {
        let name = ItemName::same(shown(remote));
        match compared {
            Ok(found) => self.say(&name, false, found, None)?,
            Err(error) if ends_the_job(&error) => return Err(error.into()),
            Err(error) => self.say(&name, false, Compared::Unreadable, Some(&reason(&error)))?,
        }
        Ok(())
    }

    fn say(
        &mut self,
        name: &ItemName<'_>,
        is_dir: bool,
        found: Compared,
        message: Option<&str>,
    ) -> io::Result<()> {
        self.tallied.count(found);
        let ItemName { text, remote } = *name;
        let host = &self.host;
        self.output.compared(&ComparedReport { host, side: None, text, path: remote, is_dir, found, message })
    }
}

async fn file(
    client: &mut Client,
    local: &Path,
    remote: &RemotePath,
    digest: Algorithm,
) -> Result<Compared, ClientError> {
    let there = match client.sum(remote, digest, true).await {
        Err(error) if error.status() == Status::NotFound => return Ok(Compared::OnlyLocal),
        Err(error) if error.status() == Status::IsDirectory => return Ok(Compared::Differ),
        there => receipt::printed(&there?, digest),
    };
    let here = local_sum::of(local, digest).await?;
    Ok(if here.printed == there { Compared::Equal } else { Compared::Differ })
}
