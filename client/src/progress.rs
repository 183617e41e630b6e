//! How far a run is: a bar on a terminal, a line a minute elsewhere, `status` events with `--json`. All use of
//! indicatif is here.

use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ft_protocol::display::Escaped;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::values::ProgressWhen;
use crate::output::{Event, Output, grouped, human_bytes, human_duration, human_rate};

mod board;
mod part;
mod stream;

pub use board::Board;
use board::Member;
pub use part::{Part, Position};
use stream::Stream;

/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(60);
/// Time between two `status` events.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// Redraws a second.
const REDRAWS: u8 = 10;
const SIZED: &str = "{msg:30!} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
const UNSIZED: &str = "{msg:30!} {spinner} {binary_bytes} {binary_bytes_per_sec} {elapsed}";

/// A handle on the progress of a run. Cheap to clone; all clones are the same progress.
#[derive(Clone)]
pub struct Progress(Arc<Inner>);

struct Inner {
    shown: Shown,
    state: Mutex<State>,
}

enum Shown {
    Nothing,
    Bar(ProgressBar),
    Lines(Output),
    Json(Output),
    /// One of many hosts.
    Host(Member),
}

#[derive(Debug, Clone)]
struct State {
    /// Nothing is drawn before the first `start`.
    begun: bool,
    done: u64,
    total: Option<u64>,
    files_done: u64,
    files_total: Option<u64>,
    /// The totals are what was found so far, and may grow.
    open: bool,
    /// Which of many hosts it is about.
    host: Option<String>,
    name: String,
    /// Bytes that were there before, and count for no rate.
    resumed: u64,
    started: Instant,
    reported: Option<Instant>,
}

impl Progress {
    /// Shows nothing.
    pub fn hidden() -> Self {
        Self::showing(Shown::Nothing)
    }

    /// The progress that fits the options: `status` events with `--json`, nothing with `-q` or `never`, a bar
    /// with `always` or where standard error is a terminal, otherwise a line a minute.
    pub fn new(output: &Output, when: ProgressWhen) -> Self {
        let options = output.options();
        let terminal = io::stderr().is_terminal();
        match when {
            _ if options.json => Self::showing(Shown::Json(output.clone())),
            ProgressWhen::Never => Self::hidden(),
            _ if options.quiet => Self::hidden(),
            _ if terminal => Self::bar(output, ProgressDrawTarget::stderr_with_hz(REDRAWS)),
            ProgressWhen::Always => {
                let stream = Stream::new(Box::new(io::stderr()));
                Self::bar(output, ProgressDrawTarget::term_like_with_hz(Box::new(stream), REDRAWS))
            }
            ProgressWhen::Auto => Self::showing(Shown::Lines(output.clone())),
        }
    }

    fn bar(output: &Output, target: ProgressDrawTarget) -> Self {
        let bar = ProgressBar::with_draw_target(None, target);
        let pausing = bar.clone();
        output.pause_with(Arc::new(move |write| pausing.suspend(write)));
        Self::showing(Shown::Bar(bar))
    }

    fn showing(shown: Shown) -> Self {
        let state = State {
            begun: false,
            done: 0,
            total: None,
            files_done: 0,
            files_total: None,
            open: false,
            host: None,
            name: String::new(),
            resumed: 0,
            started: Instant::now(),
            reported: None,
        };
        Self(Arc::new(Inner { shown, state: Mutex::new(state) }))
    }

    /// Begins at zero; `total` is the bytes of the whole job, where known.
    pub fn start(&self, total: Option<u64>) {
        let mut state = self.state();
        let now = Instant::now();
        *state =
            State { begun: true, done: 0, total, resumed: 0, started: now, reported: None, ..state.clone() };
        if let Shown::Lines(_) = self.0.shown {
            state.reported = Some(now);
        }
        if let Some(bar) = self.0.shown.bar() {
            bar.reset();
            bar.set_style(style(total.is_some() && !state.open));
            match total {
                Some(total) => bar.set_length(total),
                None => bar.unset_length(),
            }
            bar.set_message(label(&state));
            bar.enable_steady_tick(Duration::from_secs(1) / u32::from(REDRAWS));
        }
    }

    /// It is about this one of many hosts.
    fn of(&self, host: &str) {
        self.state().host = Some(host.to_owned());
    }

    /// How many files the job has, where known.
    pub fn files(&self, total: Option<u64>) {
        self.state().files_total = total;
        self.relabel();
    }

    /// One more file is complete.
    pub fn file_done(&self) {
        let mut state = self.state();
        state.files_done += 1;
        if let Shown::Host(member) = &self.0.shown {
            member.moved(state.moved(), state.done, state.files_done);
        }
        drop(state);
        self.relabel();
    }

    /// The job turned out larger: so many bytes more in all.
    pub fn add_total(&self, bytes: u64) {
        let mut state = self.state();
        let total = state.total.unwrap_or(0).saturating_add(bytes);
        state.total = Some(total);
        if let Some(bar) = self.0.shown.bar() {
            bar.set_style(style(!state.open));
            bar.set_length(total);
        }
    }

    /// Whether more files than were counted so far may come. While they may, nothing is said in relation to a total.
    pub fn set_open(&self, open: bool) {
        self.state().open = open;
        self.relabel();
    }

    /// So many files more have been found.
    pub fn add_files(&self, files: u64) {
        let mut state = self.state();
        state.files_total = Some(state.files_total.unwrap_or(0).saturating_add(files));
        drop(state);
        self.relabel();
    }

    /// Where the job is before a part of it, such as a tree, that counts for itself.
    pub fn part(&self) -> Part {
        let state = self.state();
        Part {
            bytes_done: state.done,
            bytes_kept: state.resumed,
            bytes_total: state.total.unwrap_or(0),
            files_done: state.files_done,
            files_total: state.files_total.unwrap_or(0),
        }
    }

    /// How far the part is that began there. What was shown stands until it is reached again, so a part that begins anew
    /// after a broken connection never goes back. Once its totals are final they stay so, and where no other part
    /// follows (`last`) so do those of the job.
    pub fn at(&self, start: &Part, position: &Position<'_>, last: bool) {
        let mut state = self.state();
        let total = (start.bytes_total + position.bytes_total).max(state.total.unwrap_or(0));
        let files = (start.files_total + position.files_total).max(state.files_total.unwrap_or(0));
        let closes = state.open && last && position.is_final;
        state.open &= !closes;
        if !position.name.is_empty() {
            state.name = Escaped::new(position.name).to_string();
        }
        let files_done = (start.files_done + position.files_done).min(files);
        state.files_done = state.files_done.max(files_done);
        state.done = state.done.max((start.bytes_done + position.bytes_done).min(total));
        state.resumed = state.resumed.max(start.bytes_kept + position.bytes_kept).min(state.done);
        (state.total, state.files_total) = (Some(total), Some(files));
        if let (Some(bar), true) = (self.0.shown.bar(), state.begun) {
            bar.set_length(total);
            bar.set_message(label(&state));
            if closes {
                bar.set_style(style(true));
                bar.reset_eta();
            }
        }
        self.moved(&mut state);
    }

    /// How far the run is, in words, whatever is shown otherwise.
    pub fn words(&self) -> String {
        let state = self.state();
        if state.begun { state.line(Instant::now()) } else { "nothing has moved yet".to_owned() }
    }

    /// The same as an event.
    pub fn event(&self) -> Event {
        self.state().event(Instant::now())
    }

    /// So many bytes more were transferred.
    pub fn advance(&self, bytes: u64) {
        let mut state = self.state();
        state.done = state.done.saturating_add(bytes);
        self.moved(&mut state);
    }

    /// Bytes of the job so far.
    pub fn position(&self) -> u64 {
        self.state().done
    }

    /// Goes to a position of the job: forward over what is there already, or back to what must be sent again.
    /// The jump counts for no rate.
    pub fn set_position(&self, bytes: u64) {
        let mut state = self.state();
        state.resumed = state.resumed.saturating_add(bytes).saturating_sub(state.done);
        state.done = bytes;
        if let Some(bar) = self.0.shown.bar() {
            bar.set_position(bytes);
            bar.reset_eta();
        }
        self.moved(&mut state);
    }

    /// What is being transferred; shown escaped.
    pub fn message(&self, name: &[u8]) {
        self.state().name = Escaped::new(name).to_string();
        self.relabel();
    }

    /// Removes the bar. Nothing is shown from here to the next `start`.
    pub fn finish(&self) {
        if let Some(bar) = self.0.shown.bar() {
            bar.disable_steady_tick();
            bar.finish_and_clear();
        }
    }

    fn relabel(&self) {
        let state = self.state();
        if let (Some(bar), true) = (self.0.shown.bar(), state.begun) {
            bar.set_message(label(&state));
        }
    }

    fn moved(&self, state: &mut State) {
        self.moved_at(state, Instant::now());
    }

    fn moved_at(&self, state: &mut State, now: Instant) {
        // What cannot be written here is found by the next line that matters.
        match &self.0.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => bar.set_position(state.done),
            Shown::Host(member) => member.moved(state.moved(), state.done, state.files_done),
            Shown::Lines(output) => {
                if state.is_due(LINE_EVERY, now) {
                    let _ = output.info(&state.line(now));
                }
            }
            Shown::Json(output) => {
                if state.is_due(STATUS_EVERY, now) {
                    let _ = output.passing(&state.event(now));
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    fn bar(&self) -> Option<&ProgressBar> {
        match self {
            Shown::Bar(bar) => Some(bar),
            Shown::Host(member) => member.bar(),
            Shown::Nothing | Shown::Lines(_) | Shown::Json(_) => None,
        }
    }
}

impl State {
    fn is_due(&mut self, every: Duration, now: Instant) -> bool {
        let due = self.reported.is_none_or(|last| now.saturating_duration_since(last) >= every);
        if due {
            self.reported = Some(now);
        }
        due
    }

    fn line(&self, now: Instant) -> String {
        let elapsed = now.saturating_duration_since(self.started);
        let mut line = format!("{}: {}", label(self), human_bytes(self.done));
        if self.open {
            line += &format!(" of {} found so far", human_bytes(self.total.unwrap_or(0)));
        } else if let Some(total) = self.total {
            let percent = self.done.saturating_mul(100).checked_div(total).unwrap_or(100);
            line += &format!(" of {} ({percent} %)", human_bytes(total));
        }
        line += &format!(", {}", human_rate(self.moved(), elapsed));
        match self.left(now) {
            Some(left) => line + &format!(", {} left", human_duration(left)),
            None => line,
        }
    }

    fn event(&self, now: Instant) -> Event {
        let (closed, open) = (!self.open, self.open);
        Event::Status {
            bytes_done: self.done,
            bytes_total: self.total.filter(|_| closed),
            files_done: self.files_done,
            files_total: self.files_total.filter(|_| closed),
            bytes_found: self.total.filter(|_| open),
            files_found: self.files_total.filter(|_| open),
            hosts_done: None,
            hosts_total: None,
            eta_s: self.left(now).map(|left| left.as_secs()),
        }
    }

    fn moved(&self) -> u64 {
        self.done.saturating_sub(self.resumed)
    }

    /// Time left at the rate so far.
    fn left(&self, now: Instant) -> Option<Duration> {
        let rest = self.total.filter(|_| !self.open)?.saturating_sub(self.done) as f64;
        let elapsed = now.saturating_duration_since(self.started).as_secs_f64();
        (self.moved() > 0).then(|| Duration::try_from_secs_f64(rest * elapsed / self.moved() as f64).ok())?
    }
}

/// The name, and for several files how many are complete: `[3/12] a.iso`, `[8/12,000+] b` while more are found.
fn label(state: &State) -> String {
    let host = state.host.as_ref().map(|host| format!("{host} ")).unwrap_or_default();
    match state.files_total {
        Some(total) if total > 1 || state.open => {
            let more = if state.open { "+" } else { "" };
            format!("{host}[{}/{}{more}] {}", grouped(state.files_done), grouped(total), state.name)
        }
        _ => format!("{host}{}", state.name),
    }
}

fn style(has_total: bool) -> ProgressStyle {
    let template = if has_total { SIZED } else { UNSIZED };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
