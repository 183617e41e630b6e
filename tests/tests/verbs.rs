//! Every verb, frame by frame: what it does, who may, and what breaks a session.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ft_protocol::Status;
use ft_protocol::auth::Rights;
use ft_protocol::digest::Algorithm;
use ft_protocol::wire::message::{Accept, Entry, Get, Hello, List, MakeDir, Remove, Rename, Stat, Sum};
use ft_protocol::wire::{BLOCK_LEN, Message};
use ft_tests::content::{blocks, file, pattern, put};
use ft_tests::peer::{RawPeer, forged, frame};
use ft_tests::server::TestServer;
use tokio::task::JoinSet;
use tokio::time::timeout;

const MD5: u32 = Algorithm::Md5 as u32;

fn get(path: &str) -> Get {
    Get { path: path.into(), digest: MD5 }
}

fn stat(path: &str) -> Stat {
    Stat { path: path.into(), no_follow: false }
}

fn make_dir(path: &str) -> MakeDir {
    MakeDir { path: path.into(), parents: false }
}

fn remove(path: &str) -> Remove {
    Remove { path: path.into(), recursive: false }
}

fn rename(from: &str, to: &str) -> Rename {
    Rename { from: from.into(), to: to.into(), no_clobber: false }
}

#[tokio::test]
async fn list_tells_everything_but_staging_files() {
    let server = TestServer::start().await;
    fs::write(server.root().join("file"), b"12345").unwrap();
    fs::set_permissions(server.root().join("file"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::create_dir(server.root().join("dir")).unwrap();
    symlink("file", server.root().join("link")).unwrap();
    fs::write(server.root().join(".ft-aaaaaaaaaaaaaaaaaaaaaaaaaa"), b"half").unwrap();
    let mut peer = RawPeer::logged_in(&server).await;
    let (answers, end) = peer.ask(1, List { path: vec![] }).await;
    assert_eq!(end.status, 0);
    let entries: BTreeMap<Vec<u8>, Entry> = answers
        .into_iter()
        .map(|answer| match answer {
            Message::Entry(entry) => (entry.name.clone(), entry),
            other => panic!("{other:?}"),
        })
        .collect();
    let names: Vec<_> = entries.keys().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    assert_eq!(names, ["dir", "file", "link"]);
    let file = &entries[&b"file"[..]];
    let meta = server.root().join("file").metadata().unwrap();
    assert_eq!((file.kind, file.size, file.mode & 0o777), (1, 5, 0o640));
    assert_eq!((file.mtime, i64::from(file.mtime_nanos)), (meta.mtime(), meta.mtime_nsec()));
    assert_eq!(entries[&b"dir"[..]].kind, 2);
    assert_eq!((entries[&b"link"[..]].kind, &entries[&b"link"[..]].target[..]), (3, &b"file"[..]));
}

#[tokio::test]
async fn stat_follows_a_link_or_describes_it() {
    let server = TestServer::start().await;
    fs::write(server.root().join("file"), b"12345").unwrap();
    symlink("file", server.root().join("link")).unwrap();
    let mut peer = RawPeer::logged_in(&server).await;
    for (op, no_follow, kind) in [(1, false, 1), (2, true, 3)] {
        let (answers, end) = peer.ask(op, Stat { path: b"link".to_vec(), no_follow }).await;
        assert!(matches!(&answers[..], [Message::Entry(entry)] if entry.kind == kind), "{answers:?}");
        assert_eq!(end.status, 0);
    }
    assert_eq!(peer.status(3, stat("none")).await, Status::NotFound);
    assert_eq!(peer.status(4, stat("file/none")).await, Status::NotDirectory);
}

#[tokio::test]
async fn sum_is_what_md5sum_and_sha256sum_print() {
    let server = TestServer::start().await;
    fs::write(server.root().join("f"), b"abc").unwrap();
    let mut peer = RawPeer::logged_in(&server).await;
    for (op, algorithm, expected) in [
        (1, Algorithm::Md5, "900150983cd24fb0d6963f7d28e17f72"),
        (2, Algorithm::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ] {
        let sum = Sum { path: b"f".to_vec(), digest: algorithm as u32, fresh: false };
        let (answers, _) = peer.ask(op, sum).await;
        let [Message::Digest(digest)] = &answers[..] else { panic!("{answers:?}") };
        let hex: String = digest.digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((hex.as_str(), digest.size), (expected, 3));
    }
    let directory = Sum { path: vec![], digest: MD5, fresh: false };
    assert_eq!(peer.status(3, directory).await, Status::IsDirectory);
}

#[tokio::test]
async fn names_are_made_moved_and_removed() {
    let server = TestServer::start().await;
    let root = server.root();
    let mut peer = RawPeer::logged_in(&server).await;
    assert_eq!(peer.status(1, make_dir("a")).await, Status::Ok);
    assert_eq!(peer.status(2, make_dir("a")).await, Status::Exists);
    assert_eq!(peer.status(3, make_dir("x/y")).await, Status::NotFound);
    let parents = MakeDir { path: b"x/y/z".to_vec(), parents: true };
    assert_eq!(peer.status(4, parents).await, Status::Ok);
    fs::write(root.join("f"), b"f").unwrap();
    assert_eq!(peer.status(5, rename("f", "a")).await, Status::Ok, "into a directory, as mv");
    assert!(root.join("a/f").is_file());
    fs::write(root.join("g"), b"g").unwrap();
    let keep = Rename { no_clobber: true, ..rename("g", "a/f") };
    assert_eq!(peer.status(6, keep).await, Status::Exists);
    assert_eq!(peer.status(7, rename("g", "a/f")).await, Status::Ok);
    assert_eq!(fs::read(root.join("a/f")).unwrap(), b"g");
    assert_eq!(peer.status(8, rename("x", "x/y/z")).await, Status::Invalid, "not into itself");
    assert_eq!(peer.status(9, remove("a")).await, Status::NotEmpty);
    assert_eq!(peer.status(10, Remove { recursive: true, ..remove("a") }).await, Status::Ok);
    assert!(!root.join("a").exists());
    assert_eq!(peer.status(11, remove("a")).await, Status::NotFound);
    let everything = Remove { path: vec![], recursive: true };
    assert_eq!(peer.status(12, everything).await, Status::Invalid, "the root stays");
    assert!(root.join("x/y/z").is_dir());
}

#[tokio::test]
async fn the_rights_of_an_account_hold_on_the_wire() {
    let base = [Rights::READ, Rights::CREATE, Rights::OVERWRITE, Rights::DELETE];
    for bits in 0..16u32 {
        let rights = base.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0);
        let rights = rights.fold(Rights::NONE, |all, (_, right)| all.union(*right));
        let server = TestServer::builder().rights(rights).start().await;
        for name in ["old", "victim", "moved", "replaced"] {
            fs::write(server.root().join(name), b"before").unwrap();
        }
        let mut peer = RawPeer::logged_in(&server).await;
        let has = |right| rights.contains(right);
        let move_needs = has(Rights::DELETE) && has(Rights::CREATE);
        let expect = |what: &str, status: Status, allowed: bool| {
            assert_eq!(status == Status::Ok, allowed, "{what} with {rights}: {status:?}");
            assert!(allowed || status == Status::Denied, "{what} with {rights}: {status:?}");
        };
        expect("ls", peer.status(1, List { path: vec![] }).await, has(Rights::READ));
        expect("stat", peer.status(2, stat("old")).await, has(Rights::READ));
        let sum = Sum { path: b"old".to_vec(), digest: MD5, fresh: true };
        expect("sum", peer.status(3, sum).await, has(Rights::READ));
        expect("mkdir", peer.status(4, make_dir("made")).await, has(Rights::CREATE));
        let status = peer.put_small(5, "new", b"after").await;
        expect("put a new file", status, has(Rights::CREATE));
        let status = peer.put_small(6, "old", b"after").await;
        expect("put over a file", status, has(Rights::OVERWRITE));
        expect("mv", peer.status(7, rename("moved", "elsewhere")).await, move_needs);
        let over = rename("replaced", "victim");
        expect("mv over a file", peer.status(8, over).await, move_needs && has(Rights::OVERWRITE));
        expect("rm", peer.status(9, remove("victim")).await, has(Rights::DELETE));
        if has(Rights::READ) {
            assert_eq!(peer.get_file(10, "old").await.len(), if has(Rights::OVERWRITE) { 5 } else { 6 });
        } else {
            assert_eq!(peer.status(10, get("old")).await, Status::Denied);
        }
        let exists = |name: &str| server.root().join(name).exists();
        assert_eq!(exists("made"), has(Rights::CREATE), "{rights}");
        assert_eq!(exists("new"), has(Rights::CREATE), "{rights}");
        assert_eq!(
            fs::read(server.root().join("old")).unwrap() == b"after",
            has(Rights::OVERWRITE),
            "{rights}"
        );
        assert_eq!(exists("elsewhere"), move_needs, "{rights}");
        assert_eq!(exists("victim"), !has(Rights::DELETE), "{rights}");
        let staging = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(".ft-");
        assert!(!fs::read_dir(server.root()).unwrap().any(|entry| staging(&entry.unwrap())), "{rights}");
    }
}

/// Sends these bytes on a fresh session and gives the status with which the session ended.
async fn fatal(server: &TestServer, bytes: &[u8]) -> Option<Status> {
    let mut peer = RawPeer::logged_in(server).await;
    // The server may end the session before all of it is sent.
    let _ = peer.send_bytes(bytes).await;
    peer.farewell().await.map(|end| Status::from_wire(end.status))
}

#[tokio::test]
async fn what_is_not_the_protocol_ends_the_session() {
    let server = TestServer::start().await;
    let big = pattern(2 * BLOCK_LEN);
    fs::write(server.root().join("big"), &big).unwrap();
    let data = Message::Data(Bytes::from_static(b"x"));
    let all = |messages: Vec<Message>| -> Vec<u8> {
        messages.into_iter().flat_map(|message| frame(1, message)).collect()
    };
    let bad_get = Get { path: b"big".to_vec(), digest: 77 };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("an unknown kind", forged(0, 99, 1, b"")),
        ("kind 0", forged(0, 0, 1, b"")),
        ("a body beyond its cap", forged(16 * 1024 + 1, 16, 1, b"")),
        ("a block beyond its cap", forged(BLOCK_LEN as u32 + 1, 52, 1, b"")),
        ("a body in ALIVE", forged(1, 6, 0, b"x")),
        ("trailing bytes", forged(2, 18, 1, &[0x0a, 0])),
        ("DATA without an operation", frame(1, data.clone())),
        ("DATA without BLOCK", all(vec![put("f").into(), file(1).into(), data.clone()])),
        ("BLOCK after BLOCK", {
            let block = blocks(b"x").remove(0);
            all(vec![put("f").into(), file(1).into(), block.clone(), block])
        }),
        ("PUT without FILE", all(vec![put("f").into(), Message::Cancel, data])),
        ("an operation that has not begun", [frame(1, get("big")), frame(2, get("big"))].concat()),
        ("a request in operation 0", frame(0, stat(""))),
        ("a second HELLO", frame(0, Hello::default())),
        ("CANCEL of the session", frame(0, Message::Cancel)),
        ("an answer as a request", frame(1, Entry::default())),
        ("an unknown digest", frame(1, bad_get)),
        (
            "ACCEPT of more than there is",
            [frame(1, get("big")), frame(1, Accept { file: 0, have: 3 })].concat(),
        ),
    ];
    let server = Arc::new(server);
    let mut sessions = JoinSet::new();
    for (what, bytes) in cases {
        let server = Arc::clone(&server);
        sessions.spawn(async move { (what, timeout(Duration::from_secs(30), fatal(&server, &bytes)).await) });
    }
    for (what, status) in sessions.join_all().await {
        let status = status.unwrap_or_else(|_| panic!("{what}: the session lives"));
        assert!(matches!(status, None | Some(Status::Protocol)), "{what}: {status:?}");
    }
    assert_eq!(fs::read_dir(server.root()).unwrap().count(), 1, "nothing was placed");
    RawPeer::logged_in(&server).await;
}

#[tokio::test]
async fn a_session_that_broke_the_protocol_in_a_transfer_is_told_so() {
    let server = TestServer::start().await;
    let data = frame(1, Message::Data(Bytes::from_static(b"x")));
    let bytes = [frame(1, put("f")), frame(1, file(1)), data].concat();
    assert_eq!(fatal(&server, &bytes).await, Some(Status::Protocol));
}

#[tokio::test]
async fn frames_of_ended_operations_are_passed_over() {
    let server = TestServer::start().await;
    let mut peer = RawPeer::logged_in(&server).await;
    assert_eq!(peer.status(5, make_dir("five")).await, Status::Ok);
    for stale in [frame(5, make_dir("again")), frame(4, make_dir("four")), frame(5, Message::Cancel)] {
        peer.send_bytes(&stale).await.unwrap();
    }
    assert_eq!(peer.status(6, stat("five")).await, Status::Ok);
    assert!(!server.root().join("again").exists() && !server.root().join("four").exists());
    // A refused put has its content behind it.
    assert_eq!(peer.put_small(7, "none/f", b"content").await, Status::NotFound);
    assert_eq!(peer.status(8, stat("five")).await, Status::Ok);
}

#[tokio::test]
async fn end_of_session_from_the_client_is_no_error() {
    let server = TestServer::start().await;
    let mut peer = RawPeer::logged_in(&server).await;
    peer.send(0, ft_protocol::wire::message::End::default()).await.unwrap();
    assert!(peer.farewell().await.is_none_or(|end| end.status == 0));
}

#[tokio::test]
async fn a_cancelled_sum_ends() {
    let server = TestServer::start().await;
    fs::File::create(server.root().join("big")).unwrap().set_len(3 << 30).unwrap();
    let mut peer = RawPeer::logged_in(&server).await;
    peer.send(1, Sum { path: b"big".to_vec(), digest: MD5, fresh: true }).await.unwrap();
    peer.send(1, Message::Cancel).await.unwrap();
    assert_eq!(peer.answer(1).await.1.status, Status::Cancelled as u32);
}
