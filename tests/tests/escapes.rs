//! Whatever names a peer makes up, and whatever links and devices stand in the root: nothing outside is read,
//! changed or removed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ft_protocol::Status;
use ft_protocol::auth::Rights;
use ft_protocol::digest::Algorithm;
use ft_protocol::wire::Message;
use ft_protocol::wire::message::{FileResult, Get, List, MakeDir, Put, Remove, Rename, Stat, Sum};
use ft_tests::content::{put, small_put};
use ft_tests::peer::{RawPeer, frame, hello, run};
use ft_tests::server::{TestServer, USER};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tokio::time::timeout;

const SECRET: &[u8] = b"the canary's secret";
const MD5: u32 = Algorithm::Md5 as u32;

/// What stands outside the root: content, kind, mode, times and inode of everything.
type Snapshot = BTreeMap<PathBuf, (u64, u32, i64, i64, u64, Vec<u8>)>;

fn snapshot(top: &Path) -> Snapshot {
    let mut all = Snapshot::new();
    let mut pending = vec![top.to_owned()];
    while let Some(path) = pending.pop() {
        let meta = path.symlink_metadata().unwrap();
        let content = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        if meta.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        all.insert(path, (meta.ino(), meta.mode(), meta.mtime(), meta.mtime_nsec(), meta.nlink(), content));
    }
    all
}

/// A tree beside the root that nothing may touch.
fn canary(server: &TestServer) -> PathBuf {
    let canary = server.outside().join("canary");
    fs::create_dir_all(canary.join("sub")).unwrap();
    fs::write(canary.join("secret"), SECRET).unwrap();
    fs::write(canary.join("sub/deep"), SECRET).unwrap();
    canary
}

/// Paths that no server may accept.
fn hostile_paths(server: &TestServer) -> Vec<Vec<u8>> {
    let canary = server.outside().join("canary");
    let targets =
        ["canary", "canary/secret", "canary/sub", "canary/sub/deep", "state/server.key", "etc/passwd"];
    let climbs = ["..", "../..", "../../..", "../../../../../../../../../.."];
    let prefixes =
        ["", "/", "//", "./", "/./", "d/", "d/../", "d/./", "d//", "./d/../", "f/", "none/", "d/..//"];
    let mut paths: Vec<Vec<u8>> = Vec::new();
    for prefix in prefixes {
        for climb in climbs {
            for target in targets {
                paths.push(format!("{prefix}{climb}/{target}").into_bytes());
            }
        }
    }
    let absolute =
        [canary.join("secret"), canary.join("sub"), PathBuf::from("/etc/passwd"), PathBuf::from("/")];
    for path in &absolute {
        let bytes = path.as_os_str().as_bytes();
        paths.extend([
            bytes.to_vec(),
            [b"/", bytes].concat(),
            [b"d/", bytes].concat(),
            [bytes, b"/"].concat(),
        ]);
    }
    // What some other system, or a careless decoder, would take for a climb or an end.
    for dots in ["..", ".", "", "...\0", "..\0", "\0", "..\0/x", ". \0.", "d\0", "f\0.txt", "../\0"] {
        for place in ["", "d/", "/", "d/d/"] {
            for tail in ["", "/", "/canary/secret", "//canary"] {
                let path = format!("{place}{dots}{tail}");
                if !path.is_empty() {
                    paths.push(path.into_bytes());
                }
            }
        }
    }
    let staging = ft_protocol::path::staging_name([7; 16]);
    paths.extend([staging.clone(), format!("d/{staging}"), format!("{staging}/x")].map(String::into_bytes));
    paths.extend([
        vec![b'a'; 256],
        vec![b'a'; 4097],
        vec![b"a".as_slice(); 1025].join(&b'/'),
        vec![b'/'; 4096],
    ]);
    paths.extend((1..=64).map(|n| [b"../".repeat(n), b"canary/secret".to_vec()].concat()));
    paths.retain(|path| ft_protocol::RemotePath::from_wire(path).is_err());
    paths.sort();
    paths.dedup();
    paths
}

/// Names that look like an escape elsewhere and are plain names here.
const ODD_NAMES: [&[u8]; 9] = [
    b"..\\..\\canary",
    b"%2e%2e%2fcanary",
    b"\xc0\xae\xc0\xae",
    b"~root",
    b"$HOME",
    b"C:\\x",
    b"...",
    b"-rf",
    b"\x1b]0;x\x07\n",
];

/// Every verb, aimed at this path in each of its places.
fn every_verb(path: &[u8]) -> Vec<(&'static str, Vec<Message>)> {
    let path = path.to_vec();
    let small = small_put(&path, b"intruder");
    let mut parents = small.clone();
    parents[0] = Put { parents: true, preserve: true, ..put(&path) }.into();
    let mut into = small.clone();
    into[0] = Put { name: path.clone(), into: true, ..put("d") }.into();
    let mut again = small.clone();
    again[0] = Put { again: true, name: b"n".to_vec(), ..put(&path) }.into();
    vec![
        ("get", vec![Get { path: path.clone(), digest: MD5 }.into()]),
        ("ls", vec![List { path: path.clone() }.into()]),
        ("stat", vec![Stat { path: path.clone(), no_follow: false }.into()]),
        ("lstat", vec![Stat { path: path.clone(), no_follow: true }.into()]),
        ("sum", vec![Sum { path: path.clone(), digest: MD5, fresh: true }.into()]),
        ("mkdir", vec![MakeDir { path: path.clone(), parents: false }.into()]),
        ("mkdir -p", vec![MakeDir { path: path.clone(), parents: true }.into()]),
        ("put", small),
        ("put with parents", parents),
        ("put into", into),
        ("put again", again),
        ("mv from", vec![Rename { from: path.clone(), to: b"stolen".to_vec(), no_clobber: false }.into()]),
        ("mv to", vec![Rename { from: b"f".to_vec(), to: path.clone(), no_clobber: false }.into()]),
        ("mv to, kept", vec![Rename { from: b"f".to_vec(), to: path.clone(), no_clobber: true }.into()]),
        ("rm", vec![Remove { path: path.clone(), recursive: false }.into()]),
        ("rm -r", vec![Remove { path, recursive: true }.into()]),
    ]
}

/// Sends the operation in one piece and gives its status and everything that was answered.
async fn attempt(peer: &mut RawPeer, op: u32, messages: &[Message]) -> (Status, Vec<Message>) {
    let bytes: Vec<u8> = messages.iter().flat_map(|message| frame(op, message.clone())).collect();
    peer.send_bytes(&bytes).await.unwrap();
    let mut answers = Vec::new();
    loop {
        match peer.next().await.expect("a bad path ends its operation, never the session") {
            (of, Message::End(end)) if of == op => return (Status::from_wire(end.status), answers),
            (of, message) if of == op => {
                // A get is let through to its end, so that what it would give away is seen.
                if let Message::Done(done) = &message {
                    let result = FileResult { file: 0, digest: done.digest.clone(), path: vec![] };
                    peer.send(op, result).await.unwrap();
                }
                answers.push(message);
            }
            other => panic!("{other:?}"),
        }
    }
}

fn gives_away(answers: &[Message]) -> bool {
    answers.iter().any(
        |answer| matches!(answer, Message::Data(data) if data.windows(SECRET.len()).any(|w| w == SECRET)),
    )
}

async fn furnished() -> (TestServer, PathBuf) {
    let server = TestServer::start().await;
    fs::create_dir_all(server.root().join("d/d")).unwrap();
    fs::write(server.root().join("f"), b"inside").unwrap();
    let canary = canary(&server);
    (server, canary)
}

#[tokio::test]
async fn five_hundred_hostile_paths_are_refused_by_every_verb() {
    let (server, _) = furnished().await;
    let before = snapshot(server.outside());
    let paths = hostile_paths(&server);
    assert!(paths.len() >= 500, "{}", paths.len());
    let mut peer = RawPeer::logged_in(&server).await;
    let mut op = 0;
    for path in &paths {
        for (verb, messages) in every_verb(path) {
            op += 1;
            let (status, answers) = attempt(&mut peer, op, &messages).await;
            let shown = String::from_utf8_lossy(&path[..path.len().min(80)]);
            assert_eq!(status, Status::Invalid, "{verb} {shown:?}");
            assert!(answers.is_empty(), "{verb} {shown:?}: {answers:?}");
        }
    }
    assert_eq!(snapshot(server.outside()), before, "nothing changed, inside or out");
}

#[tokio::test]
async fn odd_names_are_only_names() {
    let (server, canary) = furnished().await;
    let before = snapshot(&canary);
    let mut peer = RawPeer::logged_in(&server).await;
    for (at, name) in ODD_NAMES.iter().enumerate() {
        let op = 1 + 3 * at as u32;
        assert_eq!(attempt(&mut peer, op, &small_put(name, b"x")).await.0, Status::Ok);
        let stat = Stat { path: name.to_vec(), no_follow: false };
        assert_eq!(attempt(&mut peer, op + 1, &[stat.into()]).await.0, Status::Ok);
        let inside = server.root().join(std::ffi::OsStr::from_bytes(name));
        assert_eq!(fs::read(&inside).unwrap(), b"x");
        let remove = Remove { path: name.to_vec(), recursive: false };
        assert_eq!(attempt(&mut peer, op + 2, &[remove.into()]).await.0, Status::Ok);
        assert!(!inside.exists());
    }
    assert_eq!(snapshot(&canary), before);
}

#[tokio::test]
async fn links_that_leave_the_root_lead_nowhere() {
    let (server, canary) = furnished().await;
    let link = |target: &Path, name: &str| symlink(target, server.root().join(name)).unwrap();
    let links = ["to-file", "to-dir", "up", "relative", "to-root", "to-proc", "chain", "d/inner", "dangling"];
    let make = || {
        for name in links {
            let _ = fs::remove_dir_all(server.root().join(name));
            let _ = fs::remove_file(server.root().join(name));
        }
        fs::write(server.root().join("f"), b"inside").unwrap();
        link(&canary.join("secret"), "to-file");
        link(&canary, "to-dir");
        link(Path::new(".."), "up");
        link(Path::new("../canary/secret"), "relative");
        link(Path::new("/"), "to-root");
        link(Path::new("/proc/self/root"), "to-proc");
        link(Path::new("to-dir"), "chain");
        link(Path::new("../../canary"), "d/inner");
        link(&canary.join("not-there"), "dangling");
    };
    let paths = [
        "to-file",
        "to-dir",
        "to-dir/secret",
        "to-dir/sub",
        "to-dir/sub/deep",
        "to-dir/new",
        "up",
        "up/canary",
        "up/canary/secret",
        "up/root/f",
        "up/state/server.key",
        "relative",
        "to-root",
        "to-root/etc/passwd",
        "to-proc/etc/passwd",
        "chain",
        "chain/secret",
        "chain/new/dir",
        "d/inner",
        "d/inner/secret",
        "dangling",
        "dangling/x",
    ];
    let before = snapshot(&canary);
    let key = fs::read(server.state().path().join("server.key")).unwrap();
    let mut peer = RawPeer::logged_in(&server).await;
    let mut op = 0;
    for path in paths {
        for (verb, messages) in every_verb(path.as_bytes()) {
            make();
            op += 1;
            let (status, answers) = attempt(&mut peer, op, &messages).await;
            assert!(!gives_away(&answers), "{verb} {path}: {answers:?}");
            let through = path.contains('/') && !path.starts_with("d/") || path.starts_with("d/inner/");
            // The link itself may be looked at, replaced, renamed and removed; nothing behind it.
            if through || matches!(verb, "get" | "ls" | "stat" | "sum") {
                assert_ne!(status, Status::Ok, "{verb} {path}: {answers:?}");
            }
            assert_eq!(snapshot(&canary), before, "{verb} {path}");
        }
    }
    assert_eq!(fs::read(server.state().path().join("server.key")).unwrap(), key);
    assert!(!server.outside().join("stolen").exists());
}

#[tokio::test]
async fn removing_a_tree_takes_links_and_leaves_what_they_point_at() {
    let (server, canary) = furnished().await;
    let before = snapshot(&canary);
    fs::create_dir(server.root().join("tree")).unwrap();
    symlink(&canary, server.root().join("tree/out")).unwrap();
    symlink("..", server.root().join("tree/up")).unwrap();
    let mut peer = RawPeer::logged_in(&server).await;
    let remove = Remove { path: b"tree".to_vec(), recursive: true };
    assert_eq!(peer.status(1, remove).await, Status::Ok);
    assert!(!server.root().join("tree").exists() && server.root().join("f").exists());
    assert_eq!(snapshot(&canary), before);
}

#[tokio::test]
async fn fifos_and_devices_are_neither_read_nor_replaced() {
    let (server, _) = furnished().await;
    let node = |name: &str, kind, device| {
        mknodat(CWD, server.root().join(name), kind, Mode::RUSR | Mode::WUSR, device)
    };
    node("fifo", FileType::Fifo, 0).unwrap();
    let mut names = vec!["fifo", "socket"];
    let _socket = std::os::unix::net::UnixListener::bind(server.root().join("socket")).unwrap();
    // /dev/null's numbers.
    match node("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3)) {
        Ok(()) => names.push("null"),
        Err(errno) => eprintln!("skipped: no device can be made here ({errno})"),
    }
    let mut peer = RawPeer::logged_in(&server).await;
    let mut op = 0;
    for name in names {
        for (verb, messages) in every_verb(name.as_bytes()) {
            // Those that may act on the name itself: links and devices can be looked at, moved and removed.
            if matches!(verb, "stat" | "lstat" | "rm" | "rm -r" | "mv from" | "put into") {
                continue;
            }
            op += 1;
            let answer = timeout(Duration::from_secs(30), attempt(&mut peer, op, &messages)).await;
            let (status, answers) = answer.unwrap_or_else(|_| panic!("{verb} {name} waits for a writer"));
            assert!(
                matches!(status, Status::NotRegular | Status::NotDirectory | Status::Exists)
                    || verb == "mkdir -p" && status == Status::Ok,
                "{verb} {name}: {status:?} {answers:?}"
            );
            let kind = server.root().join(name).symlink_metadata().unwrap().file_type();
            assert!(kind.is_fifo() || kind.is_socket() || kind.is_char_device(), "{verb} {name}");
        }
    }
}

#[tokio::test]
async fn a_name_is_escaped_in_what_is_answered() {
    let (server, _) = furnished().await;
    let mut peer = RawPeer::logged_in(&server).await;
    let name = b"none\x1b[31m\n\x9b\xe2\x80\xae".to_vec();
    let (_, end) = peer.ask(1, Stat { path: name, no_follow: false }).await;
    assert_eq!(Status::from_wire(end.status), Status::NotFound);
    let controls = |c: char| c.is_control() || c == '\u{202e}';
    assert!(!end.message.contains(controls), "{:?}", end.message);
}

#[tokio::test]
async fn an_account_beneath_the_root_stays_beneath_its_own() {
    let (server, _) = furnished().await;
    let own = server.root().join("d");
    let accounts = ftserver::accounts::Accounts::new(server.state());
    accounts.modify(USER, |account| account.root = Some(own)).unwrap();
    let mut peer = RawPeer::connect(&server).await;
    let auth = frame(0, peer.auth_key(server.key(), USER));
    let rights = peer.login_with(&[hello(run(), 0), auth].concat()).await.unwrap();
    assert!(rights.contains(Rights::READ));
    assert_eq!(peer.status(1, Stat { path: b"f".to_vec(), no_follow: false }).await, Status::NotFound);
    assert_eq!(peer.status(2, Stat { path: b"d".to_vec(), no_follow: false }).await, Status::Ok);
    assert_eq!(peer.status(3, Stat { path: b"../f".to_vec(), no_follow: false }).await, Status::Invalid);
}
