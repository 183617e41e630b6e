use super::*;
use crate::output::OutputOptions;
use indicatif::InMemoryTerm;

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

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
    let stream = Stream(Mutex::new(Box::new(buffer.clone())));
    let progress = Progress::bar(&output, ProgressDrawTarget::term_like_with_hz(Box::new(stream), 255));
    progress.start(Some(10 << 10));
    progress.advance(5 << 10);
    redraw(&progress);
    assert!(buffer.text().contains("5.00 KiB/10.00 KiB"), "{}", buffer.text());
    progress.finish();
}
