//! How far a run on many hosts is: a line for each that is under way and one for the whole.

use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::termios::tcgetwinsize;

use super::stream::Stream;
use super::{LINE_EVERY, Progress, REDRAWS, STATUS_EVERY, Shown as Drawn};
use crate::cli::values::ProgressWhen;
use crate::output::{Event, Output, grouped, human_bytes, human_rate};

const WHOLE: &str = "{msg} {wide_bar} {elapsed}";
const WAITING: &str = "{msg:30!} {spinner} {elapsed}";
/// Rows of a terminal that does not say how many it has.
const ROWS: u16 = 24;
/// Rows that are left to what was there before, and to the line of the whole.
const OTHER_ROWS: u16 = 3;

/// A handle on the progress of a run on many hosts. Cheap to clone; all clones are the same progress.
#[derive(Clone)]
pub struct Board(Arc<Inner>);

struct Inner {
    shown: Shown,
    totals: Mutex<Totals>,
}

enum Shown {
    Nothing,
    Bars(Bars),
    Lines(Output),
    Json(Output),
}

struct Bars {
    multi: MultiProgress,
    whole: ProgressBar,
    /// More hosts than that have no line of their own: the terminal is not higher.
    rows: usize,
    lines: Mutex<Lines>,
    terminal: bool,
}

/// Lines of hosts. They are used again by others: one that were thrown away would stay on the terminal.
#[derive(Default)]
struct Lines {
    made: usize,
    idle: Vec<ProgressBar>,
}

struct Totals {
    hosts: u64,
    done: u64,
    failed: u64,
    bytes: u64,
    /// Of these, bytes that travelled.
    moved: u64,
    files: u64,
    started: Instant,
    reported: Instant,
}

impl Board {
    /// The progress that fits the options, as with [`Progress::new`].
    pub fn new(output: &Output, when: ProgressWhen, hosts: usize) -> Self {
        let options = output.options();
        let terminal = io::stderr().is_terminal();
        let shown = match when {
            _ if options.json => Shown::Json(output.clone()),
            ProgressWhen::Never => Shown::Nothing,
            _ if options.quiet => Shown::Nothing,
            ProgressWhen::Auto if !terminal => Shown::Lines(output.clone()),
            ProgressWhen::Auto | ProgressWhen::Always => Shown::Bars(Bars::new(output, terminal, hosts)),
        };
        let now = Instant::now();
        let totals = Totals {
            hosts: hosts as u64,
            done: 0,
            failed: 0,
            bytes: 0,
            moved: 0,
            files: 0,
            started: now,
            reported: now,
        };
        Self(Arc::new(Inner { shown, totals: Mutex::new(totals) }))
    }

    /// A host begins. Its line stands until the progress and all its clones are gone.
    pub fn host(&self, name: &str) -> Progress {
        let bar = match &self.0.shown {
            Shown::Bars(bars) => bars.line(name),
            Shown::Nothing | Shown::Lines(_) | Shown::Json(_) => None,
        };
        let progress =
            Progress::showing(Drawn::Host(Member { board: self.clone(), bar, told: Mutex::default() }));
        progress.of(name);
        progress
    }

    /// A host has ended.
    pub fn ended(&self, ok: bool) {
        let mut totals = self.totals();
        totals.done += 1;
        totals.failed += u64::from(!ok);
        drop(totals);
        self.look();
    }

    /// Shows how far the whole is, where that is due. To be called about once a second.
    pub fn look(&self) {
        let mut totals = self.totals();
        let now = Instant::now();
        let due = |every: Duration| now.saturating_duration_since(totals.reported) >= every;
        // What cannot be written here is found by the next line that matters.
        match &self.0.shown {
            Shown::Nothing => {}
            Shown::Bars(bars) => {
                bars.whole.set_position(totals.done);
                bars.whole.set_message(totals.words(now));
            }
            Shown::Lines(output) if due(LINE_EVERY) => {
                totals.reported = now;
                let _ = output.info(&totals.words(now));
            }
            Shown::Json(output) if due(STATUS_EVERY) => {
                totals.reported = now;
                let _ = output.passing(&totals.event());
            }
            Shown::Lines(_) | Shown::Json(_) => {}
        }
    }

    /// How far the run is, in words and as an event, whatever is shown otherwise.
    pub fn report(&self) -> (String, Event) {
        let totals = self.totals();
        (totals.words(Instant::now()), totals.event())
    }

    /// Removes all lines.
    pub fn finish(&self) {
        if let Shown::Bars(bars) = &self.0.shown {
            bars.whole.disable_steady_tick();
            let _ = bars.multi.clear();
            bars.multi.set_draw_target(ProgressDrawTarget::hidden());
        }
    }

    /// Draws nothing while a person is asked something.
    pub fn hidden_while<T>(&self, ask: impl FnOnce() -> T) -> T {
        let Shown::Bars(bars) = &self.0.shown else { return ask() };
        let _ = bars.multi.clear();
        bars.multi.set_draw_target(ProgressDrawTarget::hidden());
        let answer = ask();
        bars.multi.set_draw_target(bars.target());
        answer
    }

    fn totals(&self) -> MutexGuard<'_, Totals> {
        self.0.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bars {
    fn new(output: &Output, terminal: bool, hosts: usize) -> Self {
        let size = tcgetwinsize(io::stderr()).map(|size| size.ws_row).unwrap_or(ROWS);
        let multi = MultiProgress::new();
        let whole = ProgressBar::hidden();
        let rows = usize::from(size.saturating_sub(OTHER_ROWS));
        let bars = Self { multi, whole, rows, lines: Mutex::default(), terminal };
        bars.multi.set_draw_target(bars.target());
        let whole = bars.multi.add(ProgressBar::new(hosts as u64).with_style(style(WHOLE)));
        whole.enable_steady_tick(Duration::from_secs(1) / u32::from(REDRAWS));
        let pausing = bars.multi.clone();
        output.pause_with(Arc::new(move |write| pausing.suspend(write)));
        Self { whole, ..bars }
    }

    fn target(&self) -> ProgressDrawTarget {
        match self.terminal {
            true => ProgressDrawTarget::stderr_with_hz(REDRAWS),
            false => {
                let stream = Stream::new(Box::new(io::stderr()));
                ProgressDrawTarget::term_like_with_hz(Box::new(stream), REDRAWS)
            }
        }
    }

    /// A line for a host that has not moved anything yet; none where there is no room.
    fn line(&self, name: &str) -> Option<ProgressBar> {
        let mut lines = self.lines();
        let bar = match lines.idle.pop() {
            Some(bar) => bar,
            None if lines.made >= self.rows => return None,
            None => {
                lines.made += 1;
                self.multi.insert_before(&self.whole, ProgressBar::new_spinner())
            }
        };
        bar.reset();
        bar.unset_length();
        bar.set_style(style(WAITING));
        bar.set_message(name.to_owned());
        bar.enable_steady_tick(Duration::from_secs(1) / u32::from(REDRAWS));
        Some(bar)
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

impl Totals {
    fn words(&self, now: Instant) -> String {
        let mut words = format!("{}/{} hosts", grouped(self.done), grouped(self.hosts));
        if self.failed > 0 {
            words += &format!(", {} failed", grouped(self.failed));
        }
        if self.bytes > 0 {
            let rate = human_rate(self.moved, now.saturating_duration_since(self.started));
            words += &format!(", {} ({rate})", human_bytes(self.bytes));
        }
        words
    }

    fn event(&self) -> Event {
        Event::Status {
            bytes_done: self.bytes,
            bytes_total: None,
            files_done: self.files,
            files_total: None,
            bytes_found: None,
            files_found: None,
            hosts_done: Some(self.done),
            hosts_total: Some(self.hosts),
            eta_s: None,
        }
    }
}

/// A host's part of the whole.
pub(super) struct Member {
    board: Board,
    bar: Option<ProgressBar>,
    /// What the whole knows of it: bytes that travelled, bytes, files.
    told: Mutex<(u64, u64, u64)>,
}

impl Member {
    pub(super) fn bar(&self) -> Option<&ProgressBar> {
        self.bar.as_ref()
    }

    pub(super) fn moved(&self, moved: u64, bytes: u64, files: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut totals = self.board.totals();
        totals.moved = (totals.moved + moved).saturating_sub(told.0);
        totals.bytes = (totals.bytes + bytes).saturating_sub(told.1);
        totals.files = (totals.files + files).saturating_sub(told.2);
        *told = (moved, bytes, files);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let (Some(bar), Shown::Bars(bars)) = (&self.bar, &self.board.0.shown) {
            bar.disable_steady_tick();
            bar.finish_and_clear();
            bars.lines().idle.push(bar.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::OutputOptions;

    fn board(when: ProgressWhen, hosts: usize) -> Board {
        let output =
            Output::with_writers(OutputOptions::default(), Box::new(io::sink()), Box::new(io::sink()));
        Board::new(&output, when, hosts)
    }

    #[test]
    fn the_whole_is_the_sum_of_its_hosts() {
        let board = board(ProgressWhen::Never, 3);
        let (one, two) = (board.host("web1"), board.host("web2"));
        for progress in [&one, &two] {
            progress.start(Some(10));
            progress.advance(4);
            progress.advance(6);
            progress.file_done();
            progress.set_position(10);
        }
        board.ended(true);
        board.ended(false);
        let (words, event) = board.report();
        assert!(words.starts_with("2/3 hosts, 1 failed, 20 B ("), "{words}");
        let Event::Status { bytes_done, files_done, hosts_done, hosts_total, .. } = event else { panic!() };
        assert_eq!((bytes_done, files_done, hosts_done, hosts_total), (20, 2, Some(2), Some(3)));
    }
}
