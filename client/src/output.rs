//! Everything that the client says: text for people, JSON for programs, each on the stream it belongs to.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

use ft_protocol::display::Escaped;

mod event;
mod fleet;
mod gather;
mod scope;
mod text;
mod tree;

pub use event::{Event, JsonDigest, JsonPath};
pub use fleet::{FleetSummary, HostReport, State};
pub use gather::Gather;
pub use scope::{Record, Stream};
pub(crate) use text::columns;
pub use text::{Entry, EntryKind, grouped, human_bytes, human_duration, human_rate, reason, sum_line};
pub use tree::{Change, Compared, ComparedReport, ItemName, ItemReport, Tallied};

use crate::client::Ended;
use crate::exit::Exit;
use scope::Scope;

/// How a run speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutputOptions {
    /// `--json`.
    pub json: bool,
    /// `-q`.
    pub quiet: bool,
    /// Standard output carries a file (`get … -`): JSON goes to standard error, and text to nowhere.
    pub data_on_stdout: bool,
    /// Standard output is a terminal, so names on it are escaped.
    pub stdout_terminal: bool,
}

impl OutputOptions {
    /// The options for this process's own streams.
    pub fn detect(json: bool, quiet: bool, data_on_stdout: bool) -> Self {
        Self { json, quiet, data_on_stdout, stdout_terminal: io::stdout().is_terminal() }
    }
}

/// The streams. Cheap to clone; lines of several tasks never mix.
///
/// Errors of writing are returned, so that a closed pipe can end the run: see [`is_broken_pipe`].
#[derive(Clone)]
pub struct Output {
    streams: Arc<Streams>,
    /// One of many hosts, which all that is said is about.
    scope: Option<Arc<Scope>>,
}

type Sink = Mutex<Box<dyn Write + Send>>;
/// Runs a closure while nothing else draws on the terminal.
type Pause = Arc<dyn Fn(&mut dyn FnMut()) + Send + Sync>;

struct Streams {
    options: OutputOptions,
    out: Sink,
    err: Sink,
    pause: Mutex<Option<Pause>>,
}

/// A transferred file.
#[derive(Debug, Clone, PartialEq)]
pub struct FileReport<'a> {
    /// The host as it was named.
    pub host: &'a str,
    /// `get` or `put`.
    pub action: &'static str,
    /// The remote path.
    pub path: &'a [u8],
    /// Size of the file.
    pub bytes: u64,
    /// Where a partial file was taken up; 0 for none.
    pub resumed_from: u64,
    /// Algorithm and printed form.
    pub digest: Option<(&'a str, &'a str)>,
    /// Both ends agree, and the file is durably in place.
    pub verified: bool,
    /// Time that it took.
    pub elapsed: Duration,
}

/// A failure of a file, or of the run where there is no path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorReport<'a> {
    /// The host as it was named.
    pub host: Option<&'a str>,
    /// The remote path.
    pub path: Option<&'a [u8]>,
    /// Its code.
    pub exit: Exit,
    /// What happened and what to do.
    pub message: &'a str,
    /// Running the command again can do no harm.
    pub retry_safe: bool,
    /// It is about a file of this end: a person is told no host.
    pub here: bool,
    /// The path is one of this end, whoever says what is wrong: a person is told the host after it.
    pub local: bool,
}

/// A run in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Files that arrived.
    pub files: u64,
    /// Files that failed.
    pub failed: u64,
    /// Files left out by rule.
    pub skipped: u64,
    /// Bytes of the files that arrived.
    pub bytes: u64,
    /// Of those, bytes that were there and did not travel.
    pub kept: u64,
    /// Files whose digests were compared.
    pub verified: u64,
    /// Files of directories that were equal already.
    pub equal: u64,
    /// Names that were deleted.
    pub deleted: u64,
    /// Directories took part: the text is said however few files there were.
    pub tree: bool,
    /// It is only what would be done.
    pub dry_run: bool,
    /// Time of the run.
    pub elapsed: Duration,
}

impl Output {
    /// Speaks on this process's standard output and standard error.
    pub fn new(options: OutputOptions) -> Self {
        Self::with_writers(options, Box::new(io::stdout()), Box::new(io::stderr()))
    }

    /// Speaks on other streams.
    pub fn with_writers(
        options: OutputOptions,
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
    ) -> Self {
        let streams =
            Streams { options, out: Mutex::new(out), err: Mutex::new(err), pause: Mutex::default() };
        Self { streams: Arc::new(streams), scope: None }
    }

    /// The options it was made with.
    pub fn options(&self) -> OutputOptions {
        self.streams.options
    }

    /// Lets every line be written between two drawings of a progress bar, from now on of this one.
    pub(crate) fn pause_with(&self, pause: Pause) {
        *self.streams.pause.lock().unwrap_or_else(PoisonError::into_inner) = Some(pause);
    }

    /// The beginning of a run; JSON only.
    pub fn start(&self, run: &[u8; 16]) -> io::Result<()> {
        if let Some(scope) = &self.scope {
            scope.record().run = Some(*run);
            return Ok(());
        }
        self.event(&Event::start(run, None))
    }

    /// A file arrived.
    pub fn file(&self, report: &FileReport<'_>) -> io::Result<()> {
        self.event(&Event::file(report))?;
        self.info(&text::file_line(report))
    }

    /// A file was left out by rule, which is no failure.
    pub fn skipped(&self, host: &str, name: &ItemName<'_>, why: &str) -> io::Result<()> {
        self.left_alone(host, name, why)?;
        self.info(&format!("{}: skipped: {why}", Escaped::new(name.text)))
    }

    /// The same without a line for people, who are told how many there were.
    pub fn left_alone(&self, host: &str, name: &ItemName<'_>, why: &str) -> io::Result<()> {
        self.event(&Event::Skipped {
            host: host.to_owned(),
            path: JsonPath::new(name.remote),
            message: why.to_owned(),
        })
    }

    /// A file arrived, and there is something to know about it.
    pub fn warning(&self, host: &str, name: &ItemName<'_>, message: &str) -> io::Result<()> {
        self.event(&Event::Warning {
            host: host.to_owned(),
            path: JsonPath::new(name.remote),
            message: message.to_owned(),
        })?;
        self.info(&format!("{}: warning: {message}", Escaped::new(name.text)))
    }

    /// A connection is tried again after a wait.
    pub fn retry(&self, host: &str, attempt: u32, wait: Duration, message: &str) -> io::Result<()> {
        let wait_s = wait.as_secs_f64();
        if let Some(scope) = &self.scope {
            scope.record().trouble = Some(message.to_owned());
        }
        self.event(&Event::Retry { host: host.to_owned(), attempt, wait_s, message: message.to_owned() })?;
        let host = if self.scope.is_some() { String::new() } else { format!("{host}: ") };
        self.info(&format!("{host}{message}; trying again in {}", human_duration(wait)))
    }

    /// A failure; shown even with `-q`.
    pub fn error(&self, report: &ErrorReport<'_>) -> io::Result<()> {
        let Some(scope) = &self.scope else {
            self.event(&Event::error(report))?;
            return self.human(&text::error_line(report));
        };
        self.event(&Event::error(&ErrorReport { host: Some(&scope.name), ..report.clone() }))?;
        let words = text::error_words(&ErrorReport { host: None, ..report.clone() });
        scope.record().failed(&words, report.retry_safe);
        self.human(&words)
    }

    /// The last words of a run. Text for more or fewer than one file only: one file has spoken already.
    pub fn summary(&self, summary: &Summary, exit: Exit) -> io::Result<()> {
        self.sum_up(summary, exit.code())?;
        if !summary.tree && summary.files + summary.failed + summary.skipped == 1 {
            return Ok(());
        }
        self.info(&text::summary_line(summary))
    }

    /// The last words of a run that was cut short. No text where there is nothing to count.
    pub fn cut_short(&self, summary: &Summary, code: u8) -> io::Result<()> {
        self.sum_up(summary, code)?;
        if summary.files + summary.failed + summary.skipped + summary.equal + summary.deleted == 0 {
            return Ok(());
        }
        self.info(&format!("cut short: {}", text::summary_line(summary)))
    }

    /// One line of `ls`.
    pub fn listed(&self, host: &str, entry: &Entry<'_>, long: bool) -> io::Result<()> {
        if self.streams.options.json {
            return self.event(&Event::entry(host, entry));
        }
        self.data(&text::ls_line(
            entry,
            long,
            self.streams.options.stdout_terminal,
            &jiff::tz::TimeZone::system(),
        ))
    }

    /// The paragraph of `stat`.
    pub fn stat(&self, host: &str, entry: &Entry<'_>) -> io::Result<()> {
        if self.streams.options.json {
            return self.event(&Event::entry(host, entry));
        }
        self.data(text::stat_text(entry, &jiff::tz::TimeZone::system()).as_bytes())
    }

    /// One line of `sum`, as md5sum and sha256sum print it.
    pub fn sum(&self, host: &str, alg: &str, hex: &str, path: &[u8]) -> io::Result<()> {
        if self.streams.options.json {
            return self.event(&Event::sum(host, alg, hex, path));
        }
        self.data(&sum_line(hex, path, self.streams.options.stdout_terminal))
    }

    /// What a command wrote to `stdout` or `stderr`; JSON only.
    pub fn command_output(&self, host: &str, stream: &'static str, bytes: &[u8]) -> io::Result<()> {
        self.event(&Event::output(host, stream, bytes))
    }

    /// How a command ended; JSON only.
    pub fn command_ended(&self, host: &str, ended: Ended) -> io::Result<()> {
        if let Some(scope) = &self.scope {
            scope.record().ended = Some(ended);
        }
        self.event(&Event::exit(host, ended))
    }

    /// The last words about a command, whose status may be any; JSON only.
    pub fn command_summary(&self, summary: &Summary, exit: u8) -> io::Result<()> {
        self.sum_up(summary, exit)
    }

    /// The numbers of a run, which of one of many hosts are kept for the table.
    fn sum_up(&self, summary: &Summary, exit: u8) -> io::Result<()> {
        match &self.scope {
            Some(scope) => scope.record().summary = *summary,
            None => self.event(&Event::summary(summary, exit))?,
        }
        Ok(())
    }

    /// A line for people on standard error; not with `-q` or `--json`.
    pub fn info(&self, line: &str) -> io::Result<()> {
        if self.streams.options.quiet || self.streams.options.json { Ok(()) } else { self.human(line) }
    }

    /// A line for people that changes what the rest means: also with `-q`.
    pub fn insist(&self, line: &str) -> io::Result<()> {
        if self.streams.options.json { Ok(()) } else { self.human(line) }
    }

    /// A line that was asked for by a signal: also with `-q`. Where standard error carries JSON, the event instead.
    pub fn asked(&self, line: &str, event: &Event) -> io::Result<()> {
        if self.streams.options.json && self.streams.options.data_on_stdout {
            self.event(event)
        } else {
            self.human(line)
        }
    }

    /// Bytes for standard output as they are; of one of many hosts line by line, behind its name.
    pub fn data(&self, bytes: &[u8]) -> io::Result<()> {
        self.piece(Stream::Stdout, bytes)
    }

    /// A JSON object on a line of its own; nothing without `--json`.
    pub fn event(&self, event: &Event) -> io::Result<()> {
        if !self.streams.options.json {
            return Ok(());
        }
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.write(self.json_sink(), &line)
    }

    /// An event that may be missed: left out while another line is being written, whose reader may stand still.
    pub(crate) fn passing(&self, event: &Event) -> io::Result<()> {
        let is_free = !matches!(self.json_sink().try_lock(), Err(TryLockError::WouldBlock));
        if is_free { self.event(event) } else { Ok(()) }
    }

    fn json_sink(&self) -> &Sink {
        if self.streams.options.data_on_stdout { &self.streams.err } else { &self.streams.out }
    }

    fn sink(&self, stream: Stream) -> &Sink {
        match stream {
            Stream::Stdout => &self.streams.out,
            Stream::Stderr => &self.streams.err,
        }
    }

    /// A line for people on standard error, unless that is where JSON goes.
    fn human(&self, line: &str) -> io::Result<()> {
        if self.streams.options.json && self.streams.options.data_on_stdout {
            return Ok(());
        }
        let name = self.scope.as_ref().map(|scope| format!("{}: ", scope.name)).unwrap_or_default();
        self.write(&self.streams.err, format!("{name}{}\n", Escaped::from(line)).as_bytes())
    }

    fn write(&self, sink: &Sink, bytes: &[u8]) -> io::Result<()> {
        let mut result = Ok(());
        let mut write = || {
            let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
            result = sink.write_all(bytes).and_then(|()| sink.flush());
        };
        let pause = self.streams.pause.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match pause {
            Some(pause) => pause(&mut write),
            None => write(),
        }
        result
    }
}

/// True where the reader of a pipe has gone: the run ends with a code other than 0 and without a word.
pub fn is_broken_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

#[cfg(test)]
#[path = "output/tests.rs"]
mod tests;
