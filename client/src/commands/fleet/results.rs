//! What became of each host, as far as it is known: for the table, the file of failed hosts, and the exit code.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::super::Failed;
use super::super::context::Current;
use crate::exit::Exit;
use crate::files;
use crate::output::{Gather, HostReport, Output, Record, State, reason};

/// The results of a run. Clones are the same results.
///
/// What is said is said without holding them, as its reader may stand still: what cuts the run short needs them.
#[derive(Clone)]
pub(super) struct Results {
    inner: Arc<Mutex<Inner>>,
    /// Held by whoever speaks, so that the last words are the last ones. Taken before the results.
    speaking: Arc<Mutex<()>>,
}

struct Inner {
    output: Output,
    hosts: Vec<Host>,
    retry_file: Option<PathBuf>,
    /// What our own failures are worth where the code of a host is that of a command.
    ours: Option<u8>,
    begun: Instant,
    finished: bool,
}

struct Host {
    name: String,
    progress: Progress,
}

enum Progress {
    Waiting,
    Running { since: Instant, output: Output, current: Current },
    Ended(Box<HostReport>),
}

impl Results {
    pub(super) fn new(
        output: &Output,
        names: Vec<String>,
        disabled: &[String],
        retry_file: Option<PathBuf>,
        ours: Option<u8>,
    ) -> Result<Self, Failed> {
        let begun = Instant::now();
        let chosen = names.into_iter().map(|name| Host { name, progress: Progress::Waiting });
        let disabled = disabled.iter().map(|name| {
            let report = report(name, State::Disabled, Exit::Ok.code(), Record::default(), None);
            Host { name: name.clone(), progress: Progress::Ended(Box::new(report)) }
        });
        let hosts = chosen.chain(disabled).collect();
        let output = output.clone();
        let inner = Inner { output, hosts, retry_file, ours, begun, finished: false };
        // None has succeeded yet; what cannot be written is found before anything begins.
        inner.keep_failed().map_err(|failed| Failed { exit: Exit::Usage, ..failed })?;
        Ok(Self { inner: Arc::new(Mutex::new(inner)), speaking: Arc::default() })
    }

    fn open(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.speaking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A host begins; `output` and `current` are its own.
    pub(super) fn began(&self, number: usize, output: &Output, current: &Current) {
        if let Some(host) = self.open().hosts.get_mut(number) {
            let (output, current) = (output.clone(), current.clone());
            host.progress = Progress::Running { since: Instant::now(), output, current };
        }
    }

    /// A host has ended. Blocks where the reader of the output stands still.
    pub(super) fn ended(&self, number: usize, state: State, exit: u8) {
        let _turn = self.turn();
        let mut inner = self.open();
        let output = inner.output.clone();
        let finished = inner.finished;
        let Some(host) = inner.hosts.get_mut(number).filter(|_| !finished) else { return };
        host.end(state, exit);
        let report = host.report().cloned();
        drop(inner);
        if let Some(report) = report {
            // What cannot be said here is found by the next line that matters.
            let _ = output.host_ended(&report);
        }
    }

    /// The last words, which block as [`Results::ended`] does. What is under way ends in `state`, with
    /// the code `interrupted` unless a deadline passed, and what waits was not started; `exit` makes the code of it all.
    pub(super) fn finish(
        &self,
        gather: Option<&Gather>,
        state: State,
        interrupted: u8,
        exit: impl FnOnce(&[HostReport]) -> u8,
    ) -> io::Result<u8> {
        let mut inner = self.open();
        if std::mem::replace(&mut inner.finished, true) {
            return Ok(Exit::Failure.code());
        }
        // First, as whoever reads the rest may have gone or stand still.
        let kept = inner.keep_failed();
        drop(inner);
        let _turn = self.turn();
        let mut inner = self.open();
        let Inner { output, hosts, ours, begun, .. } = &mut *inner;
        for host in hosts.iter_mut() {
            match &host.progress {
                Progress::Ended(report) if report.state != State::Disabled => continue,
                Progress::Ended(_) => {}
                Progress::Waiting => host.end(State::NotStarted, ours.unwrap_or(Exit::Failure.code())),
                Progress::Running { current, .. } => {
                    let code = if state == State::Deadline { Exit::Deadline.code() } else { interrupted };
                    current.cut_short_here(code);
                    host.end(state, ours.unwrap_or(code));
                }
            }
            if let Progress::Ended(report) = &host.progress {
                output.host_ended(report)?;
            }
        }
        let reports: Vec<HostReport> = hosts.iter().filter_map(Host::report).cloned().collect();
        if let Some(gather) = gather {
            gather.show(output)?;
        }
        let mut code = exit(&reports);
        if let Err(failed) = kept {
            failed.report(output, None, None);
            code = code.max(failed.exit.code());
        }
        output.fleet_ended(&reports, begun.elapsed(), code)?;
        Ok(code)
    }

    /// Nobody reads the last words: what else is left of the run is the file of the hosts that did not succeed.
    pub(super) fn abandon(&self) {
        let mut inner = self.open();
        if !std::mem::replace(&mut inner.finished, true) {
            // There is nowhere left to complain to.
            let _ = inner.keep_failed();
        }
    }
}

impl Inner {
    /// Writes the hosts that did not succeed, also those that did not come to their end.
    fn keep_failed(&self) -> Result<(), Failed> {
        let Some(path) = &self.retry_file else { return Ok(()) };
        let is_ok = |report: &HostReport| matches!(report.state, State::Ok | State::Disabled);
        let failed = self.hosts.iter().filter(|host| !host.report().is_some_and(is_ok));
        let text: String = failed.map(|host| format!("{}\n", host.name)).collect();
        // A device, a FIFO or a link is written to, and not replaced.
        let is_other = path.symlink_metadata().is_ok_and(|meta| !meta.is_file());
        let written = match is_other {
            true => std::fs::write(path, text.as_bytes()),
            false => files::replace(path, 0o644, text.as_bytes()),
        };
        written.map_err(|error| {
            let message = format!("cannot write {}: {}", path.display(), reason(&error));
            Failed::new(Exit::Failure, message)
        })
    }
}

impl Host {
    fn end(&mut self, state: State, exit: u8) {
        let (record, since) = match &self.progress {
            Progress::Running { since, output, .. } => {
                let mut record = output.record();
                if matches!(state, State::Deadline | State::Interrupted) {
                    record.retry_safe &= !output.once().load(Ordering::Relaxed);
                    record.error = record.error.or_else(|| record.trouble.clone());
                }
                (record, Some(*since))
            }
            Progress::Waiting | Progress::Ended(_) => (Record::default(), None),
        };
        self.progress = Progress::Ended(Box::new(report(&self.name, state, exit, record, since)));
    }

    fn report(&self) -> Option<&HostReport> {
        match &self.progress {
            Progress::Ended(report) => Some(report),
            Progress::Waiting | Progress::Running { .. } => None,
        }
    }
}

fn report(name: &str, state: State, exit: u8, record: Record, since: Option<Instant>) -> HostReport {
    let elapsed = since.map(|since| since.elapsed()).unwrap_or_default();
    HostReport { host: name.to_owned(), state, exit, record, elapsed }
}

/// 0 where all that was asked for was done on every host, otherwise 3, or the largest code of all hosts.
pub(super) fn exit(reports: &[HostReport], max_status: bool) -> u8 {
    let codes =
        reports.iter().filter(|report| report.state != State::Disabled).map(|report| match report.state {
            State::Ok => Exit::Ok.code(),
            _ => report.exit.max(Exit::Failure.code()),
        });
    match codes.max().unwrap_or(0) {
        0 => Exit::Ok.code(),
        largest if max_status => largest,
        _ => Exit::Partial.code(),
    }
}
