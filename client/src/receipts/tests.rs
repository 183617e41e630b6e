use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ft_protocol::RemotePath;
use ft_protocol::fs::Mtime;

use super::*;

fn remote(path: &[u8]) -> RemotePath {
    RemotePath::from_wire(path).unwrap()
}

fn done<'a>(local: Option<&'a Path>, remote: &'a RemotePath, beneath: usize) -> Concluded<'a> {
    Concluded {
        local,
        remote,
        beneath,
        size: 5,
        mtime: Some(Mtime { secs: -7, nanos: 9 }),
        digest: ("md5", "5d41402abc4b2a76b9719d911017c592"),
        verified: true,
    }
}

fn all(path: &Path) -> Vec<Recorded> {
    let mut receipt = Receipt::open(path).unwrap();
    std::iter::from_fn(|| receipt.next_file().unwrap()).collect()
}

fn only_file(directory: &Path) -> std::path::PathBuf {
    find(directory, "last".as_ref()).unwrap()
}

#[test]
fn what_was_recorded_is_read_again_whatever_the_names_are() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("state/receipts");
    let mut recorder = Recorder::new(directory.clone(), &[0xab; 16], "get", "nas");
    let odd = Path::new(std::ffi::OsStr::from_bytes(b"/copy/d/a\xff\n"));
    let files = [
        (Some(Path::new("/copy/a")), remote(b"x/a"), 1),
        (Some(odd), remote(b"x/d/a\xff\n"), 2),
        (Some(Path::new("/elsewhere/new name")), remote(b"old"), 0),
        (Some(Path::new("/a")), remote(b"a"), 1),
        (None, remote(b"db.sql"), 1),
    ];
    for (local, remote, beneath) in &files {
        recorder.add(&done(*local, remote, *beneath)).unwrap();
    }
    recorder.finish().unwrap();
    let path = only_file(&directory);
    let read = all(&path);
    assert_eq!(read.len(), files.len());
    for (read, (local, remote, _)) in read.iter().zip(&files) {
        assert_eq!((read.local.as_deref(), &read.remote), (*local, remote));
        assert_eq!((read.size, read.mtime), (5, Some(Mtime { secs: -7, nanos: 9 })));
        assert_eq!(read.alg, "md5");
    }
    let text = fs::read_to_string(&path).unwrap();
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((&first["type"], &first["run"]), (&"run".into(), &"ab".repeat(16).into()));
    assert_eq!(
        (&first["local"], &first["remote"], &first["host"]),
        (&"/copy".into(), &"x".into(), &"nas".into())
    );
    assert_eq!(text.lines().filter(|line| line.contains("\"base\"")).count(), 3, "{text}");
}

#[test]
fn receipts_are_for_their_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("receipts");
    let mut recorder = Recorder::new(directory.clone(), &[1; 16], "get", "nas");
    assert!(!directory.exists(), "a run that does nothing leaves nothing");
    let path = remote(b"a");
    recorder.add(&done(None, &path, 1)).unwrap();
    drop(recorder);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&directory), mode(&only_file(&directory))), (0o700, 0o600));
    assert_eq!(all(&only_file(&directory)).len(), 1, "also of a run that was cut short");
}

#[test]
fn a_run_is_found_by_its_number_its_time_and_as_the_last() {
    let dir = tempfile::tempdir().unwrap();
    for name in
        ["20261121T100000.000000Z-aa11", "20261121T110000.000000Z-ab22", "20261122T090000.000000Z-0f33"]
    {
        fs::write(dir.path().join(format!("{name}.jsonl")), "").unwrap();
    }
    fs::write(dir.path().join("zz-notes"), "").unwrap();
    let found = |run: &str| find(dir.path(), run.as_ref());
    for (run, end) in
        [("last", "0f33"), ("aa", "aa11"), ("ab22", "ab22"), ("20261122", "0f33"), ("20261121T11", "ab22")]
    {
        let path = found(run).unwrap();
        assert!(path.to_str().unwrap().ends_with(&format!("{end}.jsonl")), "{run}: {path:?}");
    }
    assert!(found("a").unwrap_err().to_string().contains("several receipts"));
    assert!(found("20261121").is_err());
    assert!(found("ff").unwrap_err().to_string().contains("'last'"));
    assert!(found("").is_err());
    assert_eq!(found("./a").unwrap(), Path::new("./a"));
    assert_eq!(found("a.jsonl").unwrap(), Path::new("a.jsonl"));
    assert!(find(&dir.path().join("none"), "last".as_ref()).is_err());
}

const FIRST: &str = r#"{"type":"run","v":1,"run":"ab","time":"t","action":"get","host":"nas","local":"/c","remote":"x","new":1}"#;
const FILE: &str = r#"{"type":"file","path":"a","size":1,"mtime":null,"mtime_ns":null,"digest":{"alg":"md5","hex":"00"},"verified":true}"#;

#[test]
fn a_receipt_that_was_cut_short_is_read_up_to_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.jsonl");
    fs::write(&path, format!("{FIRST}\n{{\"type\":\"later\",\"x\":[1]}}\n{FILE}\n{}", &FILE[..40])).unwrap();
    let mut receipt = Receipt::open(&path).unwrap();
    assert_eq!(receipt.next_file().unwrap().unwrap().remote, remote(b"x/a"));
    assert_eq!(receipt.next_file().unwrap(), None);
    assert!(receipt.is_cut());
}

#[test]
fn whatever_is_no_receipt_is_an_error_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.jsonl");
    for (text, line) in [
        (String::new(), 1),
        ("[hosts]\n".into(), 1),
        (format!("{FILE}\n"), 1),
        (FIRST.replace("\"v\":1", "\"v\":2"), 1),
        (format!("{FIRST}\n{FILE}\nnonsense\n{FILE}\n"), 3),
        (format!("{FIRST}\n{}\n", FILE.replace("\"a\"", "\"../a\"")), 2),
        (format!("{FIRST}\n{}\n", FILE.replace("\"path\":\"a\"", "\"path\":\"a\",\"path_b64\":\"*\"")), 2),
        (format!("{FIRST}\n{{\"type\":\"base\",\"local\":null,\"remote\":\"/\"}}\n"), 2),
    ] {
        fs::write(&path, &text).unwrap();
        let read = Receipt::open(&path).and_then(|mut receipt| {
            while receipt.next_file()?.is_some() {}
            Ok(())
        });
        let error = read.unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}:{line}: ", path.display())), "{text:?}: {error}");
    }
}
