use super::*;
use crate::output::OutputOptions;
use crate::testing::Buffer;
use indicatif::InMemoryTerm;
use std::io::Write;

fn output(json: bool) -> (Output, Buffer) {
    let buffer = Buffer::default();
    let options = OutputOptions { json, ..Default::default() };
    (Output::with_writers(options, Box::new(buffer.clone()), Box::new(buffer.clone())), buffer)
}

fn bar(term: &InMemoryTerm) -> (Progress, Buffer) {
    let (output, buffer) = output(false);
    // A very high rate draws every change.
    let target = ProgressDrawTarget::term_like_with_hz(Box::new(term.clone()), 255);
    (Progress::bar(&output, target), buffer)
}

fn redraw(progress: &Progress) {
    let Shown::Bar(bar) = &progress.0.shown else { panic!("no bar") };
    bar.disable_steady_tick();
    bar.force_draw();
}

#[test]
fn a_bar_shows_name_bytes_and_total_and_goes_away() {
    let term = InMemoryTerm::new(5, 120);
    let (progress, _) = bar(&term);
    progress.message(b"big\x1b.iso");
    progress.files(Some(12));
    progress.start(Some(4 << 20));
    progress.advance(1 << 20);
    progress.file_done();
    redraw(&progress);
    let shown = term.contents();
    for part in ["[1/12] big\\x1b.iso", "1.00 MiB/4.00 MiB", "/s"] {
        assert!(shown.contains(part), "{shown}");
    }
    progress.finish();
    assert_eq!(term.contents(), "");
}

#[test]
fn an_unknown_total_shows_what_has_come() {
    let term = InMemoryTerm::new(5, 120);
    let (progress, _) = bar(&term);
    progress.start(None);
    progress.advance(3 << 10);
    redraw(&progress);
    assert!(term.contents().contains("3.00 KiB"), "{}", term.contents());
}

/// Records what the terminal shows at the moment of each write.
struct Watch(InMemoryTerm, Buffer);

impl Write for Watch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write!(self.1, "[{}]", self.0.contents())?;
        self.1.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_bar_is_out_of_the_way_while_a_line_is_printed() {
    let (term, buffer) = (InMemoryTerm::new(5, 120), Buffer::default());
    let watch = || Box::new(Watch(term.clone(), buffer.clone()));
    let output = Output::with_writers(OutputOptions::default(), watch(), watch());
    let target = ProgressDrawTarget::term_like_with_hz(Box::new(term.clone()), 255);
    let progress = Progress::bar(&output, target);
    progress.start(Some(10));
    redraw(&progress);
    assert_ne!(term.contents(), "");
    output.info("a line").unwrap();
    assert_eq!(buffer.text(), "[]a line\n");
    assert_ne!(term.contents(), "", "and comes back");
}

#[test]
fn plain_lines_come_once_a_minute() {
    let (output, buffer) = output(false);
    let progress = Progress::showing(Shown::Lines(output));
    progress.message(b"a.iso");
    progress.start(Some(400 << 20));
    let start = progress.state().started;
    let at = |seconds: u64, bytes: u64| {
        let mut state = progress.state();
        state.done = bytes;
        progress.moved_at(&mut state, start + Duration::from_secs(seconds));
    };
    at(1, 1 << 20);
    at(59, 99 << 20);
    assert_eq!(buffer.text(), "");
    at(100, 100 << 20);
    at(159, 101 << 20);
    assert_eq!(buffer.text(), "a.iso: 100.0 MiB of 400.0 MiB (25 %), 1.0 MiB/s, 5 min 0 s left\n");
    at(160, 160 << 20);
    assert_eq!(buffer.text().lines().count(), 2);
}

#[test]
fn resumed_bytes_count_for_no_rate() {
    let (output, buffer) = output(false);
    let progress = Progress::showing(Shown::Lines(output));
    progress.start(Some(1000 << 20));
    progress.set_position(900 << 20);
    let mut state = progress.state();
    state.done += 50 << 20;
    let now = state.started + Duration::from_secs(100);
    progress.moved_at(&mut state, now);
    assert!(buffer.text().contains("(95 %), 512.0 KiB/s, 1 min 40 s left"), "{}", buffer.text());
}

#[test]
fn json_status_comes_at_most_once_a_second() {
    let (output, buffer) = output(true);
    let progress = Progress::showing(Shown::Json(output));
    progress.files(Some(2));
    progress.start(Some(100));
    let start = progress.state().started;
    for (millis, bytes) in [(10, 10), (500, 20), (1009, 30), (1010, 40)] {
        let mut state = progress.state();
        state.done = bytes;
        progress.moved_at(&mut state, start + Duration::from_millis(millis));
    }
    let events: Vec<serde_json::Value> =
        buffer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 2);
    assert_eq!(events[1]["type"], "status");
    assert_eq!(events[1]["bytes_done"], 40);
    assert_eq!(events[1]["files_total"], 2);
    assert_eq!(events[1]["eta_s"], 1);
}

#[test]
fn always_draws_on_what_is_no_terminal() {
    let (output, _) = output(false);
    let buffer = Buffer::default();
    let stream = Stream::new(Box::new(buffer.clone()));
    let progress = Progress::bar(&output, ProgressDrawTarget::term_like_with_hz(Box::new(stream), 255));
    progress.start(Some(10 << 10));
    progress.advance(5 << 10);
    redraw(&progress);
    assert!(buffer.text().contains("5.00 KiB/10.00 KiB"), "{}", buffer.text());
    progress.finish();
}

fn position(files: (u64, u64), bytes: (u64, u64), is_final: bool) -> Position<'static> {
    Position {
        files_done: files.0,
        files_total: files.1,
        bytes_kept: 0,
        bytes_done: bytes.0,
        bytes_total: bytes.1,
        is_final,
        name: b"d/a",
    }
}

#[test]
fn while_files_are_still_found_nothing_is_said_in_relation_to_a_total() {
    let (output, buffer) = output(true);
    let progress = Progress::showing(Shown::Json(output));
    progress.set_open(true);
    let start = progress.part();
    progress.start(None);
    progress.at(&start, &position((8, 12_000), (1 << 20, 10 << 20), false), true);
    assert!(progress.words().starts_with("[8/12,000+] d/a: 1.0 MiB of 10.0 MiB found so far, "));
    assert!(!progress.words().contains('%') && !progress.words().contains("left"));
    let event: serde_json::Value = serde_json::from_str(buffer.text().lines().next().unwrap()).unwrap();
    assert_eq!((&event["files_total"], &event["bytes_total"]), (&().into(), &().into()));
    assert_eq!((&event["files_found"], &event["bytes_found"]), (&12_000.into(), &(10 << 20).into()));
    assert_eq!(event["eta_s"], serde_json::Value::Null);
    progress.at(&start, &position((9, 12_500), (5 << 20, 20 << 20), true), true);
    assert!(
        progress.words().starts_with("[9/12,500] d/a: 5.0 MiB of 20.0 MiB (25 %), "),
        "{}",
        progress.words()
    );
    let event = serde_json::to_value(progress.event()).unwrap();
    assert_eq!((&event["files_total"], &event["bytes_total"]), (&12_500.into(), &(20 << 20).into()));
    assert!(event.get("files_found").is_none());
}

#[test]
fn a_tree_that_begins_anew_after_a_broken_connection_never_goes_back() {
    let progress = Progress::hidden();
    assert_eq!(progress.words(), "nothing has moved yet");
    progress.set_open(true);
    let start = progress.part();
    progress.start(None);
    progress.at(&start, &position((5, 10), (50, 100), true), true);
    let before = progress.words();
    progress.at(&start, &position((0, 0), (0, 0), false), true);
    progress.at(&start, &position((2, 4), (20, 40), false), true);
    let counts = |words: &str| words.split_once(", ").unwrap().0.to_owned();
    assert_eq!(counts(&progress.words()), counts(&before));
    progress.at(&start, &position((7, 10), (70, 100), true), true);
    assert!(progress.words().starts_with("[7/10] d/a: 70 B of 100 B (70 %)"), "{}", progress.words());
}

#[test]
fn the_parts_of_a_job_add_up() {
    let progress = Progress::hidden();
    progress.set_open(true);
    progress.start(None);
    let first = progress.part();
    progress.at(&first, &position((3, 3), (30, 30), true), false);
    assert!(progress.words().starts_with("[3/3+]"), "another one follows: {}", progress.words());
    let second = progress.part();
    progress.at(&second, &position((1, 2), (5, 10), true), true);
    assert!(progress.words().starts_with("[4/5] d/a: 35 B of 40 B"), "{}", progress.words());
}

#[test]
fn a_bar_has_no_length_before_all_was_found() {
    let term = InMemoryTerm::new(5, 120);
    let (progress, _) = bar(&term);
    progress.set_open(true);
    let start = progress.part();
    progress.start(None);
    progress.at(&start, &position((0, 20), (1 << 20, 4 << 20), false), true);
    redraw(&progress);
    assert!(
        term.contents().contains("[0/20+] d/a") && !term.contents().contains("4.00 MiB"),
        "{}",
        term.contents()
    );
    progress.at(&start, &position((1, 20), (2 << 20, 4 << 20), true), true);
    redraw(&progress);
    assert!(term.contents().contains("2.00 MiB/4.00 MiB"), "{}", term.contents());
}
