//! Bytes cut, glued and made up in every way: no session brings the server down, and none makes it panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use ft_protocol::Status;
use ft_protocol::wire::frame::{Kind, preface};
use ft_protocol::wire::message::{End, Get, List, MakeDir, Remove, Rename, Stat, Sum, TreeGet, TreePut};
use ft_protocol::wire::{BLOCK_LEN, Message};
use ft_tests::content::{pattern, small_put};
use ft_tests::peer::{RawPeer, forged, frame, hello, run};
use ft_tests::seed::Seed;
use ft_tests::server::{TestServer, USER};
use ft_tests::tree_wire::{accept, created, dir, file, link, packed, pass, root, tree_get, tree_put, walked};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const SESSIONS: usize = 200;

fn stat(path: &[u8]) -> Stat {
    Stat { path: path.to_vec(), no_follow: false }
}

/// A frame of a kind that exists, with a body that need not fit it.
fn random_frame(seed: &mut Seed) -> Vec<u8> {
    let kind = Kind::ALL[seed.below(Kind::ALL.len() as u64) as usize] as u8;
    let body_len = seed.below(64) as usize;
    let body = seed.bytes(body_len);
    // Mostly true lengths: otherwise nothing behind the first frame is ever looked at.
    let len = if seed.below(8) == 0 { seed.next_u64() as u32 } else { body.len() as u32 };
    forged(len, kind, seed.below(4) as u32, &body)
}

/// A session as a client has it, with some bytes changed, left out or doubled.
fn mutated(seed: &mut Seed) -> Vec<u8> {
    let path = b"f".to_vec();
    let mut bytes: Vec<u8> = [
        frame(1, stat(b"")),
        frame(2, List { path: vec![] }),
        frame(3, MakeDir { path: b"made".to_vec(), parents: true }),
        small_put("new", b"content").into_iter().flat_map(|message| frame(4, message)).collect(),
        frame(5, Sum { path: path.clone(), digest: 1, fresh: true }),
        frame(6, Rename { from: b"new".to_vec(), to: b"moved".to_vec(), no_clobber: true }),
        frame(7, Remove { path: b"moved".to_vec(), recursive: true }),
        frame(8, Get { path, digest: 1 }),
        frame(8, Message::Cancel),
        tree_of_one().into_iter().flat_map(|message| frame(9, message)).collect(),
        frame(10, TreeGet { rules: b"-*.o\0".to_vec(), names: true, ..tree_get("d") }),
        frame(10, Message::Names(b"x\0".as_slice().into())),
        frame(10, Message::Names(Vec::new().into())),
        [accept(3), pass(4), created(3, b"abc").into()].map(|message| frame(10, message)).concat(),
        frame(10, End::default()),
    ]
    .concat();
    for _ in 0..=seed.below(4) {
        let at = seed.below(bytes.len() as u64) as usize;
        match seed.below(4) {
            0 => bytes[at] ^= 1 << seed.below(8),
            1 => bytes.truncate(at.max(1)),
            2 => drop(bytes.remove(at)),
            _ => bytes.insert(at, seed.next_u64() as u8),
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
    bytes
}

/// A put of a directory with a file and a link in a directory.
fn tree_of_one() -> Vec<Message> {
    let nodes = [root(), dir(1, "x"), file(2, "a", 3), link(2, "b", "a")].map(Message::from);
    let request = TreePut { delete: true, max_delete: 9, ..tree_put("d") };
    [vec![request.into()], nodes.into(), vec![walked()], packed(&[(3, b"abc")])].concat()
}

/// Sends these bytes in pieces of random size; the server may end it at any point.
async fn send_in_pieces(peer: &mut RawPeer, seed: &mut Seed, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, more) = rest.split_at((1 + seed.below(200) as usize).min(rest.len()));
        if peer.send_bytes(piece).await.is_err() {
            return;
        }
        rest = more;
    }
}

async fn random_session(server: &TestServer, seed: &mut Seed) {
    let kind = seed.below(5);
    if kind == 0 {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let _ = stream.write_all(&seed.bytes(300)).await;
        return;
    }
    let mut peer = RawPeer::connect(server).await;
    let bytes = match kind {
        1 => seed.bytes(300),
        2 => [&preface()[..], &seed.bytes(300)].concat(),
        3 => {
            let frames: Vec<u8> = (0..5).flat_map(|_| random_frame(seed)).collect();
            [hello(run(), 0), frames].concat()
        }
        _ => {
            peer.login(server.key(), USER).await.unwrap();
            if seed.below(2) == 0 {
                (0..20).flat_map(|_| random_frame(seed)).collect()
            } else {
                mutated(seed)
            }
        }
    };
    send_in_pieces(&mut peer, seed, &bytes).await;
}

static PANICS: AtomicU32 = AtomicU32::new(0);

/// Counts panics of the server's tasks, which would otherwise only end their session; not those of the tests,
/// which run on the same threads.
fn count_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let ours = info.location().is_some_and(|at| at.file().starts_with("tests/"));
            PANICS.fetch_add(u32::from(!ours), Ordering::SeqCst);
            default(info);
        }));
    });
}

#[tokio::test]
async fn two_hundred_random_sessions_leave_a_good_server() {
    count_panics();
    let mut seed = Seed::fresh("two_hundred_random_sessions_leave_a_good_server");
    let server = TestServer::start().await;
    fs::write(server.root().join("f"), pattern(BLOCK_LEN + 5)).unwrap();
    let outside = fs::read_dir(server.outside()).unwrap().count();
    for _ in 0..SESSIONS {
        random_session(&server, &mut seed).await;
    }
    let mut peer = RawPeer::logged_in(&server).await;
    assert_eq!(peer.status(1, stat(b"")).await, Status::Ok);
    assert_eq!(fs::read_dir(server.outside()).unwrap().count(), outside);
    server.stop().await;
    assert_eq!(PANICS.load(Ordering::SeqCst), 0, "no session makes the server panic");
}

#[tokio::test]
async fn a_session_reads_the_same_in_single_bytes_as_in_one_piece() {
    count_panics();
    let server = TestServer::start().await;
    for piece in [1, 2, 3, 7, 8, 9, 10, 1000] {
        let mut peer = RawPeer::connect(&server).await;
        let auth = peer.auth_key(server.key(), USER);
        let put = small_put("new", b"content").into_iter().flat_map(|message| frame(1, message)).collect();
        let bytes = [hello(run(), 0), frame(0, auth), put].concat();
        for part in bytes.chunks(piece) {
            peer.send_bytes(part).await.unwrap();
        }
        assert!(peer.login_with(b"").await.is_ok(), "{piece}");
        assert_eq!(peer.answer(1).await.1.status, 0, "{piece}");
        let tree: Vec<u8> = tree_of_one().into_iter().flat_map(|message| frame(2, message)).collect();
        for part in tree.chunks(piece) {
            peer.send_bytes(part).await.unwrap();
        }
        assert_eq!(peer.answer(2).await.1.status, 0, "{piece}");
        assert_eq!(peer.status(3, stat(b"new")).await, Status::Ok, "{piece}");
        assert_eq!(peer.status(4, stat(b"d/x/a")).await, Status::Ok, "{piece}");
    }
}

#[tokio::test]
async fn every_cut_of_a_put_leaves_the_old_file_or_the_whole_new_one() {
    count_panics();
    let server = TestServer::start().await;
    let file = server.root().join("f");
    let whole: Vec<u8> =
        small_put("f", b"the new content").into_iter().flat_map(|message| frame(1, message)).collect();
    for cut in 0..=whole.len() {
        fs::write(&file, b"old").unwrap();
        let mut peer = RawPeer::connect(&server).await;
        peer.login_as(server.key(), USER, [3; 16], 0).await.unwrap();
        peer.send_bytes(&whole[..cut]).await.unwrap();
        if cut == whole.len() {
            assert_eq!(peer.answer(1).await.1.status, 0);
        }
        drop(peer);
        // The next login of the same run waits until this session is over.
        let mut next = RawPeer::connect(&server).await;
        next.login_as(server.key(), USER, [3; 16], 0).await.unwrap();
        let expected: &[u8] = if cut == whole.len() { b"the new content" } else { b"old" };
        assert_eq!(fs::read(&file).unwrap(), expected, "cut at {cut} of {}", whole.len());
        assert_eq!(fs::read_dir(server.root()).unwrap().count(), 1, "no staging file stays, cut at {cut}");
    }
}
