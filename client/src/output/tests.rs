use super::*;

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

    fn json(&self) -> Vec<serde_json::Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn output(options: OutputOptions) -> (Output, Buffer, Buffer) {
    let (out, err) = (Buffer::default(), Buffer::default());
    (Output::with_writers(options, Box::new(out.clone()), Box::new(err.clone())), out, err)
}

const JSON: OutputOptions =
    OutputOptions { json: true, quiet: false, data_on_stdout: false, stdout_terminal: false };

fn report<'a>() -> FileReport<'a> {
    FileReport {
        host: "nas",
        action: "get",
        path: b"big.iso",
        bytes: 4 << 30,
        resumed_from: 0,
        digest: Some(("md5", "0123")),
        verified: true,
        elapsed: Duration::from_millis(3200),
    }
}

const FAILURE: ErrorReport<'static> = ErrorReport {
    host: Some("nas"),
    path: Some(b"a\x1bb"),
    exit: Exit::NotFound,
    message: "not\nfound",
    retry_safe: true,
    here: false,
};

#[test]
fn an_error_has_no_number_and_no_empty_path() {
    let refused = io::Error::from_raw_os_error(111);
    assert_eq!(reason(&refused), "Connection refused");
    assert_eq!(
        reason(&format!("a: {refused}; b: {refused}")),
        "a: Connection refused; b: Connection refused"
    );
    assert_eq!(reason(&"a (os error "), "a (os error ");
    let (output, _, err) = output(OutputOptions::default());
    output.error(&ErrorReport { path: Some(b""), message: "gone", ..FAILURE }).unwrap();
    assert_eq!(err.text(), "ftclient: nas: gone\n");
}

#[test]
fn a_warning_is_an_event_and_a_line() {
    let (output, out, err) = self::output(JSON);
    output.warning("nas", b"log", "it grew").unwrap();
    assert_eq!(
        out.json(),
        [serde_json::json!({"type": "warning", "host": "nas", "path": "log", "message": "it grew"})]
    );
    assert_eq!(err.text(), "");
    let (output, _, err) = self::output(OutputOptions::default());
    output.warning("nas", b"log", "it grew").unwrap();
    assert_eq!(err.text(), "log: warning: it grew\n");
}

#[test]
fn a_finished_file_says_how_much_how_fast_and_its_digest() {
    let (output, out, err) = output(OutputOptions::default());
    output.file(&report()).unwrap();
    output.summary(&Summary { files: 1, ..Default::default() }, Exit::Ok).unwrap();
    assert_eq!(err.text(), "big.iso: 4.0 GiB in 3.2 s (1.2 GiB/s), md5 0123 verified\n");
    assert_eq!(out.text(), "", "standard output is for data");
}

#[test]
fn a_resumed_file_says_so_and_its_rate_is_that_of_the_rest() {
    let (output, _, err) = output(OutputOptions::default());
    output.file(&FileReport { resumed_from: 3 << 30, elapsed: Duration::from_secs(1), ..report() }).unwrap();
    assert_eq!(err.text(), "big.iso: 4.0 GiB in 1.0 s (1.0 GiB/s), resumed at 3.0 GiB, md5 0123 verified\n");
}

#[test]
fn several_files_get_totals() {
    let (output, _, err) = output(OutputOptions::default());
    let all =
        Summary { files: 2, bytes: 2048, verified: 2, elapsed: Duration::from_secs(1), ..Default::default() };
    output.summary(&all, Exit::Ok).unwrap();
    output.summary(&Summary { failed: 1, skipped: 3, ..all }, Exit::Partial).unwrap();
    output.summary(&Summary { failed: 2, ..Default::default() }, Exit::NotFound).unwrap();
    let line = "2 files, 2.0 KiB in 1.0 s (2.0 KiB/s), all verified";
    assert_eq!(err.text(), format!("{line}\n{line}; 1 failed, 3 skipped\n0 files; 2 failed\n"));
}

#[test]
fn errors_are_one_line_even_when_quiet() {
    let (output, _, err) = output(OutputOptions { quiet: true, ..Default::default() });
    output.file(&report()).unwrap();
    output.error(&FAILURE).unwrap();
    assert_eq!(err.text(), "ftclient: nas:a\\x1bb: not\\x0afound\n");
}

#[test]
fn json_has_the_documented_fields() {
    let (output, out, err) = output(JSON);
    output.start(&[0xab; 16]).unwrap();
    output.file(&FileReport { path: b"a\xff", ..report() }).unwrap();
    output.retry("nas", 1, Duration::from_secs(2), "connection lost").unwrap();
    output.error(&FAILURE).unwrap();
    let totals = Summary { files: 1, failed: 1, bytes: 5, verified: 1, ..Default::default() };
    output.summary(&totals, Exit::Partial).unwrap();
    let events = out.json();
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["start", "file", "retry", "error", "summary"]);
    assert_eq!(events[0]["run"], "ab".repeat(16));
    assert_eq!(events[0]["v"], 1);
    assert_eq!(events[1]["path"], "a\u{fffd}");
    assert_eq!(events[1]["path_b64"], "Yf8=");
    assert_eq!(events[1]["digest"], serde_json::json!({"alg": "md5", "hex": "0123"}));
    assert_eq!(events[1]["verified"], true);
    assert_eq!(events[3]["code"], 4);
    assert_eq!(events[3]["path"], "a\u{1b}b");
    assert!(events[3].get("path_b64").is_none());
    assert_eq!(events[4]["exit"], 3);
    assert!(err.text().starts_with("ftclient: "), "errors are shown to people as well");
}

#[test]
fn json_leaves_standard_output_to_the_data() {
    let (output, out, err) = output(OutputOptions { data_on_stdout: true, ..JSON });
    output.data(b"\0\xff").unwrap();
    output.error(&FAILURE).unwrap();
    output.summary(&Summary::default(), Exit::NotFound).unwrap();
    assert_eq!(*out.0.lock().unwrap(), b"\0\xff");
    assert_eq!(err.json().len(), 2, "nothing but JSON");
}

#[test]
fn sums_are_read_by_md5sum() {
    let line = |name: &[u8]| String::from_utf8(sum_line("00ff", name, false)).unwrap();
    assert_eq!(line(b"a b"), "00ff  a b\n");
    assert_eq!(line(b"a\nb"), "\\00ff  a\\nb\n");
    assert_eq!(line(b"a\\b"), "\\00ff  a\\\\b\n");
    assert_eq!(sum_line("00", b"\xff", false), b"00  \xff\n");
    assert_eq!(sum_line("00", b"\x1b", true), b"00  \\x1b\n");
}

#[test]
fn listings_escape_for_terminals_only() {
    let entry =
        Entry { path: b"a\x1b", kind: EntryKind::Directory, size: 5, mode: Some(0o750), mtime: Some((0, 1)) };
    let zone = jiff::tz::TimeZone::UTC;
    assert_eq!(text::ls_line(&entry, false, false, &zone), b"a\x1b\n");
    let long = String::from_utf8(text::ls_line(&entry, true, true, &zone)).unwrap();
    assert_eq!(long, "drwxr-x---              5 1970-01-01 00:00:00 a\\x1b\n");
    let stat = text::stat_text(&entry, &zone);
    for part in [
        "path: a\\x1b\n",
        "kind: directory",
        "mode: 0750 (drwxr-x---)",
        "1970-01-01 00:00:00.000000001 +00:00",
    ] {
        assert!(stat.contains(part), "{stat}");
    }
    let unknown = Entry { mode: None, mtime: Some((i64::MAX, 0)), ..entry };
    assert!(text::stat_text(&unknown, &zone).contains("modified: unknown"));
}

#[test]
fn a_closed_pipe_is_an_error_and_no_panic() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let output = Output::with_writers(OutputOptions::default(), Box::new(Closed), Box::new(Closed));
    assert!(is_broken_pipe(&output.sum("nas", "md5", "00", b"a").unwrap_err()));
}

#[test]
fn numbers_for_people() {
    for (bytes, text) in
        [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), ((1 << 20) - 1, "1.0 MiB"), (u64::MAX, "16.0 EiB")]
    {
        assert_eq!(human_bytes(bytes), text);
    }
    for (seconds, text) in [(0, "0.0 s"), (125, "2 min 5 s"), (3661, "1 h 1 min")] {
        assert_eq!(human_duration(Duration::from_secs(seconds)), text);
    }
}
