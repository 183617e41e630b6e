//! PUT and GET, block by block: what is placed, what is resumed, what is never believed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use ft_protocol::Status;
use ft_protocol::digest::{Algorithm, Hash, Lanes, Root};
use ft_protocol::wire::message::{Accept, Block, Done, File, Get, Keep, Put, Stat};
use ft_protocol::wire::{BLOCK_LEN, Message};
use ft_tests::content::{blocks, done, file, pattern, pipe, proof, put, small_put};
use ft_tests::peer::RawPeer;
use ft_tests::server::{TestServer, USER};
use tokio::time::timeout;

fn get(path: &str) -> Get {
    Get { path: path.into(), digest: Algorithm::Md5 as u32 }
}

fn stat(path: &str) -> Stat {
    Stat { path: path.into(), no_follow: false }
}

#[tokio::test]
async fn get_sends_a_file_of_several_blocks() {
    let server = TestServer::start().await;
    let content = pattern(2 * BLOCK_LEN + 77);
    fs::write(server.root().join("f"), &content).unwrap();
    let mut peer = RawPeer::logged_in(&server).await;
    assert_eq!(peer.get_file(1, "f").await, content);
    assert_eq!(peer.get_file(2, "f").await, content, "the connection is good for more");
}

#[tokio::test]
async fn put_places_a_file_with_its_proof() {
    let server = TestServer::start().await;
    let mut peer = RawPeer::logged_in(&server).await;
    peer.send_all(1, small_put("f", b"hello")).await;
    let (answers, end) = peer.answer(1).await;
    let [Message::FileResult(result)] = &answers[..] else { panic!("{answers:?} {end:?}") };
    assert_eq!((&result.path[..], &result.digest), (&b"f"[..], &proof(b"hello").to_vec()));
    assert_eq!(fs::read(server.root().join("f")).unwrap(), b"hello");

    fs::create_dir(server.root().join("d")).unwrap();
    let mut messages = small_put("d", b"inside");
    messages[0] = Put { name: b"n".to_vec(), ..put("d") }.into();
    peer.send_all(2, messages).await;
    assert_eq!(peer.answer(2).await.1.status, 0);
    assert_eq!(fs::read(server.root().join("d/n")).unwrap(), b"inside", "cp's rule");
}

#[tokio::test]
async fn put_of_several_blocks_resumes_where_it_was_cut() {
    let server = TestServer::start().await;
    let content = pattern(2 * BLOCK_LEN + 5);
    let mut peer = RawPeer::logged_in(&server).await;
    let messages = blocks(&content);
    peer.send_all(1, [put("f").into(), file(content.len() as u64).into()]).await;
    assert!(matches!(peer.next().await, Some((1, Message::Accept(accept))) if accept.have == 0));
    peer.send_all(1, messages[..2].iter().cloned()).await;
    peer.send(1, Message::Cancel).await.unwrap();
    assert_eq!(peer.answer(1).await.1.status, Status::Cancelled as u32);
    assert!(!server.root().join("f").exists());

    peer.send_all(2, [put("f").into(), file(content.len() as u64).into()]).await;
    let Some((2, Message::Accept(accept))) = peer.next().await else { panic!("ACCEPT was due") };
    assert_eq!(accept.have, 1, "the first block is still there");
    assert!(matches!(peer.next().await, Some((2, Message::Have(digests))) if digests.len() == 16));
    peer.send(2, Keep { file: 0, first: 0, count: 1 }).await.unwrap();
    peer.send_all(2, messages[2..].iter().cloned().chain([done(&content).into()])).await;
    assert_eq!(peer.answer(2).await.1.status, 0);
    assert_eq!(fs::read(server.root().join("f")).unwrap(), content);
    assert_eq!(fs::read_dir(server.root()).unwrap().count(), 1, "no staging file is left");
}

#[tokio::test]
async fn a_damaged_block_is_asked_for_again_and_a_wrong_proof_leaves_nothing() {
    let server = TestServer::start().await;
    let mut peer = RawPeer::logged_in(&server).await;
    let mut messages = small_put("f", b"hello");
    messages[3] = Message::Data(Bytes::from_static(b"hellO"));
    peer.send_all(1, messages).await;
    assert!(matches!(peer.next().await, Some((1, Message::Again(again))) if again.block == 0));
    peer.send_all(1, blocks(b"hello")).await;
    assert_eq!(peer.answer(1).await.1.status, 0);

    let mut messages = small_put("g", b"hello");
    messages[4] = Done { size: 5, ..done(b"hellO") }.into();
    peer.send_all(2, messages).await;
    assert_eq!(peer.answer(2).await.1.status, Status::Mismatch as u32);
    assert_eq!(fs::read_dir(server.root()).unwrap().count(), 1, "only the good one");
}

#[tokio::test]
async fn no_mode_from_the_wire_is_more_than_0777() {
    let server = TestServer::start().await;
    let mut peer = RawPeer::logged_in(&server).await;
    for (op, preserve) in [(1, true), (2, false)] {
        let name = format!("f{op}");
        let mut messages = small_put(&name, b"x");
        messages[0] = Put { preserve, ..put(&name) }.into();
        messages[1] = File { mode: u32::MAX, ..file(1) }.into();
        peer.send_all(op, messages).await;
        assert_eq!(peer.answer(op).await.1.status, 0);
        let mode = server.root().join(&name).metadata().unwrap().mode();
        assert_eq!(mode & 0o7000, 0, "{mode:o}");
    }
}

#[tokio::test]
async fn a_pipe_cannot_lie_about_its_size() {
    let server = TestServer::start().await;
    let mut peer = RawPeer::logged_in(&server).await;
    let lie = Done { size: 500_000, ..done(b"hello") };
    let messages = [put("f").into(), pipe().into()].into_iter().chain(blocks(b"hello")).chain([lie.into()]);
    peer.send_all(1, messages).await;
    // Whatever ends first: the operation or the session.
    while let Some((_, message)) = peer.next().await {
        if let Message::End(end) = message {
            assert_ne!(end.status, 0, "5 bytes came, 500,000 were confirmed");
            break;
        }
    }
    assert!(!server.root().join("f").exists());
}

#[tokio::test]
async fn nothing_follows_the_last_block_of_a_pipe() {
    let server = TestServer::start().await;
    let mut peer = RawPeer::logged_in(&server).await;
    let lanes = Lanes::default();
    let (first, second) = (lanes.plain(b"hello"), lanes.tree(b"world"));
    let mut whole = Root::new(Algorithm::Md5);
    [first, second].iter().for_each(|digest| whole.add(digest));
    let block = |block, digest: Hash| Block { file: 0, block, digest: digest.to_vec(), last: true };
    let size = BLOCK_LEN as u64 + 5;
    let messages: [Message; 7] = [
        put("f").into(),
        pipe().into(),
        block(0, first).into(),
        Message::Data(Bytes::from_static(b"hello")),
        block(1, second).into(),
        Message::Data(Bytes::from_static(b"world")),
        Done { size, digest: whole.finish().to_vec(), ..Done::default() }.into(),
    ];
    peer.send_all(1, messages).await;
    let end = timeout(Duration::from_secs(30), async {
        loop {
            match peer.next().await {
                Some((_, Message::End(end))) => return end.status,
                Some(_) => {}
                None => return Status::Protocol as u32,
            }
        }
    });
    assert_ne!(end.await.unwrap(), 0, "10 bytes came, and a file of 1 MiB and 5 bytes was confirmed");
}

#[tokio::test]
async fn a_file_of_one_block_is_proven_by_its_plain_md5_whatever_the_sender_says() {
    let server = TestServer::start().await;
    let mut peer = RawPeer::logged_in(&server).await;
    let digest = Lanes::default().tree(b"hello").to_vec();
    let messages: [Message; 5] = [
        put("f").into(),
        file(5).into(),
        Block { file: 0, block: 0, digest: digest.clone(), last: false }.into(),
        Message::Data(Bytes::from_static(b"hello")),
        Done { size: 5, digest, ..Done::default() }.into(),
    ];
    peer.send_all(1, messages).await;
    let mut confirmed = false;
    while let Some((_, message)) = peer.next().await {
        match message {
            Message::FileResult(_) => confirmed = true,
            Message::Again(_) | Message::End(_) => break,
            _ => {}
        }
    }
    assert!(!confirmed, "a digest that md5sum does not print was confirmed");
}

#[tokio::test]
async fn a_cancelled_get_ends_once_and_the_connection_goes_on() {
    let server = TestServer::start().await;
    fs::write(server.root().join("big"), pattern(8 * BLOCK_LEN)).unwrap();
    let mut peer = RawPeer::logged_in(&server).await;
    peer.send(1, get("big")).await.unwrap();
    assert!(matches!(peer.next().await, Some((1, Message::File(_)))));
    peer.send(1, Accept { file: 0, have: 0 }).await.unwrap();
    assert!(matches!(peer.next().await, Some((1, Message::Block(_)))));
    peer.send(1, Message::Cancel).await.unwrap();
    peer.send(1, Message::Cancel).await.unwrap();
    let (_, end) = peer.answer(1).await;
    assert_eq!(end.status, Status::Cancelled as u32);
    peer.send(1, Message::Cancel).await.unwrap();
    // `ask` refuses anything of operation 1 from here on, a second END above all.
    let (answers, end) = peer.ask(2, stat("big")).await;
    assert_eq!((answers.len(), end.status), (1, 0));
    assert_eq!(peer.get_file(3, "big").await.len(), 8 * BLOCK_LEN);
}

#[tokio::test]
async fn a_cancelled_put_leaves_the_old_file() {
    let server = TestServer::start().await;
    fs::write(server.root().join("f"), b"old").unwrap();
    let mut peer = RawPeer::logged_in(&server).await;
    let mut messages = small_put("f", b"new");
    messages.truncate(4);
    messages.push(Message::Cancel);
    peer.send_all(1, messages).await;
    assert_eq!(peer.answer(1).await.1.status, Status::Cancelled as u32);
    assert_eq!(fs::read(server.root().join("f")).unwrap(), b"old");
    assert_eq!(peer.put_small(2, "f", b"new").await, Status::Ok);
}

#[tokio::test]
async fn a_connection_lost_in_a_put_leaves_the_old_file_and_frees_its_lock() {
    let server = TestServer::start().await;
    fs::write(server.root().join("f"), b"old").unwrap();
    let content = pattern(2 * BLOCK_LEN);
    let start = [Message::from(put("f")), file(content.len() as u64).into()];
    let mut peer = RawPeer::connect(&server).await;
    peer.login_as(server.key(), USER, [7; 16], 0).await.unwrap();
    peer.send_all(1, start.clone()).await;
    assert!(matches!(peer.next().await, Some((1, Message::Accept(_)))));
    peer.send_all(1, blocks(&content).into_iter().take(2)).await;
    drop(peer);
    // The same run and slot: the older session is over before this one begins.
    let mut peer = RawPeer::connect(&server).await;
    peer.login_as(server.key(), USER, [7; 16], 0).await.unwrap();
    assert_eq!(fs::read(server.root().join("f")).unwrap(), b"old");
    peer.send_all(1, start).await;
    assert!(matches!(peer.next().await, Some((1, Message::Accept(_)))));
    let partials = |root: &Path| fs::read_dir(root).unwrap().count() - 1;
    assert_eq!(partials(server.root()), 1, "the partial is taken up, not doubled");
}

#[tokio::test]
async fn a_put_onto_a_link_to_a_directory_is_refused_not_put_in_its_place() {
    let server = TestServer::start().await;
    fs::create_dir(server.root().join("v1")).unwrap();
    let link = server.root().join("current");
    std::os::unix::fs::symlink("v1", &link).unwrap();
    let mut peer = RawPeer::logged_in(&server).await;
    assert_eq!(peer.put_small(1, "current", b"x").await, Status::IsDirectory);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink(), "the link stands");
    assert_eq!(peer.put_small(2, "v1/f", b"x").await, Status::Ok);
}
