use super::*;
use crate::testing::Buffer;

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
    local: false,
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
    let (output, _, err) = self::output(OutputOptions::default());
    output.error(&ErrorReport { message: "no right", local: true, ..FAILURE }).unwrap();
    output.error(&ErrorReport { message: "no right", here: true, ..FAILURE }).unwrap();
    assert_eq!(err.text(), "ftclient: a\\x1bb: nas: no right\nftclient: a\\x1bb: no right\n");
}

#[test]
fn a_warning_is_an_event_and_a_line() {
    let (output, out, err) = self::output(JSON);
    output.warning("nas", &ItemName::same(b"log"), "it grew").unwrap();
    assert_eq!(
        out.json(),
        [serde_json::json!({"type": "warning", "host": "nas", "path": "log", "message": "it grew"})]
    );
    assert_eq!(err.text(), "");
    let (output, _, err) = self::output(OutputOptions::default());
    output.warning("nas", &ItemName::same(b"log"), "it grew").unwrap();
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
    assert_eq!(out.bytes(), b"\0\xff");
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

fn item<'a>() -> ItemReport<'a> {
    ItemReport {
        host: "nas",
        action: "sync",
        path: b"d/a",
        remote: b"copy/d/a",
        change: Change::Created,
        kind: EntryKind::File,
        bytes: 4096,
        kept: 0,
        digest: Some(("md5", "0123")),
        dry_run: false,
    }
}

#[test]
fn each_changed_name_is_a_line_and_a_dry_run_says_how_it_begins() {
    let (output, out, err) = output(OutputOptions::default());
    output.item(&item()).unwrap();
    output.item(&ItemReport { change: Change::Replaced, kept: 1024, ..item() }).unwrap();
    for (change, kind, path) in [
        (Change::Created, EntryKind::Directory, &b"d"[..]),
        (Change::Created, EntryKind::Directory, b""),
        (Change::Created, EntryKind::Symlink, b"l"),
        (Change::Meta, EntryKind::File, b"m"),
        (Change::Deleted, EntryKind::File, b"old\x1b"),
        (Change::Deleted, EntryKind::Directory, b"olds"),
    ] {
        output.item(&ItemReport { change, kind, path, digest: None, ..item() }).unwrap();
    }
    let text = err.text();
    assert_eq!(
        text,
        "+ d/a: 4.0 KiB, md5 0123 verified\n* d/a: 4.0 KiB, 1.0 KiB of it were there, md5 0123 verified\n\
         + d/\n+ .\n+ l\n* m: mode or time\n- old\\x1b\n- olds/\n"
    );
    assert_eq!(out.text(), "");
    let (output, _, err) = self::output(OutputOptions::default());
    output.item(&ItemReport { digest: None, dry_run: true, ..item() }).unwrap();
    assert!(text.starts_with(err.text().trim_end()), "{}", err.text());
}

#[test]
fn a_failed_name_says_why_and_on_which_side_even_when_quiet() {
    let (output, _, err) = output(OutputOptions { quiet: true, ..Default::default() });
    output.item(&item()).unwrap();
    let failure = ErrorReport { path: Some(b"copy/d/a"), message: "no\npermission", ..FAILURE };
    output.item_failed(b"d/a", &failure).unwrap();
    output.item_failed(b"d/a", &ErrorReport { here: true, ..failure }).unwrap();
    assert_eq!(err.text(), "! d/a: nas: no\\x0apermission\n! d/a: no\\x0apermission\n");
}

#[test]
fn only_a_file_that_arrived_is_a_file_event() {
    let (output, out, _) = output(JSON);
    output.item(&item()).unwrap();
    output.item(&ItemReport { digest: None, dry_run: true, ..item() }).unwrap();
    output.item(&ItemReport { digest: None, change: Change::Deleted, ..item() }).unwrap();
    let totals = Summary { files: 1, equal: 7, deleted: 1, kept: 3, tree: true, ..Default::default() };
    output.summary(&totals, Exit::Ok).unwrap();
    output.summary(&Summary { tree: false, ..totals }, Exit::Ok).unwrap();
    let events = out.json();
    assert_eq!(
        (&events[0]["type"], &events[0]["change"], &events[0]["path"]),
        (&"file".into(), &"created".into(), &"copy/d/a".into())
    );
    assert_eq!(
        (&events[1]["type"], &events[1]["dry_run"], &events[1]["kind"]),
        (&"item".into(), &true.into(), &"file".into())
    );
    assert_eq!((&events[2]["type"], &events[2]["change"]), (&"item".into(), &"deleted".into()));
    for (field, value) in [("equal", 7), ("deleted", 1), ("kept", 3)] {
        assert_eq!(events[3][field], value);
        assert!(events[4].get(field).is_none(), "no directory took part");
    }
}

#[test]
fn a_tree_is_summed_up_however_few_its_files_are() {
    let (output, _, err) = output(OutputOptions::default());
    let all = Summary { equal: 12_000, tree: true, elapsed: Duration::from_secs(1), ..Default::default() };
    output.summary(&all, Exit::Ok).unwrap();
    let one = Summary { files: 1, bytes: 4096, kept: 2048, verified: 1, deleted: 2, ..all };
    output.summary(&one, Exit::Ok).unwrap();
    output.summary(&Summary { dry_run: true, failed: 1, ..one }, Exit::Partial).unwrap();
    assert_eq!(
        err.text(),
        "0 files; 12,000 equal already\n\
         1 file, 4.0 KiB in 1.0 s (2.0 KiB/s), 2.0 KiB of it were there, all verified; 12,000 equal already, 2 deleted\n\
         would transfer 1 file, 4.0 KiB; 12,000 equal already, 2 to be deleted, 1 failed\n"
    );
}

#[test]
fn a_run_that_was_cut_short_says_what_it_did_until_then() {
    let (output, _, err) = output(OutputOptions::default());
    let one =
        Summary { files: 1, bytes: 5, verified: 1, elapsed: Duration::from_secs(1), ..Default::default() };
    output.cut_short(&one, 143).unwrap();
    output.cut_short(&Summary::default(), 143).unwrap();
    let tallied = Tallied { equal: 2, differ: 1, ..Default::default() };
    output.check_cut_short(&tallied, "nas", Duration::ZERO, 143).unwrap();
    assert_eq!(
        err.text(),
        "cut short: 1 file, 5 B in 1.0 s (5 B/s), all verified\ncut short: 2 equal; 1 differ\n"
    );
    let (output, out, _) = self::output(JSON);
    output.cut_short(&Summary::default(), 143).unwrap();
    assert_eq!(out.json()[0]["exit"], 143);
}

const COMPARED: ComparedReport<'static> = ComparedReport {
    host: "nas",
    side: None,
    text: b"x",
    path: b"copy/x",
    is_dir: false,
    found: Compared::Equal,
    message: None,
};

#[test]
fn a_comparison_prints_a_line_for_each_name_and_its_code_follows() {
    let compare = |options| {
        let (output, out, err) = output(options);
        let mut tallied = Tallied::default();
        for (path, found) in [
            (&b"a\xff"[..], Compared::Equal),
            (b"b", Compared::Differ),
            (b"c", Compared::OnlyLocal),
            (b"d", Compared::OnlyRemote),
            (b"x\ny", Compared::Missing),
        ] {
            let report = ComparedReport { text: path, found, is_dir: path == b"d", ..COMPARED };
            output.compared(&report).unwrap();
            tallied.count(found);
        }
        assert_eq!(tallied.exit(), Exit::Failure);
        tallied.count(Compared::Unreadable);
        assert_eq!(tallied.exit(), Exit::Partial);
        let message = Some("permission denied");
        let report = ComparedReport { text: b"e", found: Compared::Unreadable, message, ..COMPARED };
        output.compared(&report).unwrap();
        output.checked(&tallied, "nas", Duration::ZERO, tallied.exit()).unwrap();
        (out, err)
    };
    let (out, err) = compare(OutputOptions::default());
    assert_eq!(out.bytes(), b"= a\xff\n* b\n+ c\n- d/\n- x\\x0ay\n! e\n");
    assert_eq!(
        err.text(),
        "ftclient: e: permission denied\n1 equal; 1 differ, 1 only here, 1 only on nas, 1 gone, 1 could not be read\n"
    );
    let (out, err) = compare(OutputOptions { quiet: true, ..Default::default() });
    assert!(out.text().starts_with("* b\n"), "equal ones are left out");
    assert_eq!(err.text(), "ftclient: e: permission denied\n");
    let (out, _) = compare(OutputOptions { quiet: true, ..JSON });
    assert_eq!(out.json().len(), 6, "with --json as well");
    let (out, _) = compare(JSON);
    let events = out.json();
    assert_eq!(events[1]["path"], "copy/x");
    assert_eq!((&events[1]["type"], &events[1]["result"]), (&"check".into(), &"differ".into()));
    assert_eq!(events[5]["message"], "permission denied");
    let summary = &events[6];
    assert_eq!((&summary["files"], &summary["failed"], &summary["exit"]), (&6.into(), &1.into(), &3.into()));
    assert_eq!((&summary["equal"], &summary["missing"]), (&1.into(), &1.into()));
    assert_eq!(Tallied { equal: 3, ..Default::default() }.exit(), Exit::Ok);
}

#[test]
fn what_was_asked_for_is_said_even_when_quiet() {
    let event = || crate::progress::Progress::hidden().event();
    let (output, _, err) = output(OutputOptions { quiet: true, ..Default::default() });
    output.asked("half way", &event()).unwrap();
    assert_eq!(err.text(), "half way\n");
    let (output, out, err) = self::output(OutputOptions { data_on_stdout: true, ..JSON });
    output.asked("half way", &event()).unwrap();
    assert_eq!((err.json()[0]["type"].as_str(), out.text().as_str()), (Some("status"), ""));
}
