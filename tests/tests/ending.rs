//! How operations, sessions and servers end: by a stop, by silence, by a stall.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::time::Duration;

use ft_protocol::Status;
use ft_protocol::wire::message::{Accept, FileResult, Get, Stat};
use ft_protocol::wire::{BLOCK_LEN, Message};
use ft_tests::content::{file, pattern, proof, put, small_put};
use ft_tests::peer::{RawPeer, frame};
use ft_tests::server::TestServer;
use ftserver::config::Limits;
use tokio::time::{Instant, timeout};

fn stat() -> Stat {
    Stat { path: Vec::new(), no_follow: false }
}

fn get() -> Get {
    Get { path: b"big".to_vec(), digest: 1 }
}

/// Begins a get of `big` and leaves it where content is due.
async fn begin_get(peer: &mut RawPeer) {
    peer.send(1, get()).await.unwrap();
    assert!(matches!(peer.next().await, Some((1, Message::File(_)))));
    peer.send(1, Accept { file: 0, have: 0 }).await.unwrap();
}

#[tokio::test]
async fn a_drain_lets_a_transfer_finish_and_nothing_new_begin() {
    let server = TestServer::start().await;
    let content = pattern(8 * BLOCK_LEN);
    fs::write(server.root().join("big"), &content).unwrap();
    let (address, fingerprint) = (server.address(), server.fingerprint());
    let mut busy = RawPeer::logged_in(&server).await;
    begin_get(&mut busy).await;
    let mut idle = RawPeer::logged_in(&server).await;
    let draining = tokio::spawn(server.drain());
    let end = idle.farewell().await.expect("an idle session is told");
    assert_eq!(end.status, Status::Unavailable as u32);
    drop(idle);
    assert!(RawPeer::connect_to(address, fingerprint).await.is_err(), "nobody gets in any more");

    let mut got = Vec::new();
    let end = loop {
        match busy.next().await.expect("the transfer goes on") {
            (1, Message::Data(data)) => got.extend_from_slice(&data),
            (1, Message::Done(done)) => {
                assert_eq!(done.digest, proof(&got).to_vec());
                busy.send(1, FileResult { file: 0, digest: done.digest, path: vec![] }).await.unwrap();
            }
            (1, Message::End(end)) => break end,
            (1, Message::Block(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((end.status, got == content), (0, true));
    assert_eq!(busy.farewell().await.unwrap().status, Status::Unavailable as u32);
    drop(busy);
    draining.await.unwrap();
}

#[tokio::test]
async fn a_put_that_stalls_ends_and_the_session_goes_on() {
    let server = TestServer::builder()
        .limits(|limits| limits.stall_timeout = Duration::from_millis(200))
        .start()
        .await;
    let mut peer = RawPeer::logged_in(&server).await;
    peer.send_bytes(&[frame(1, put("f")), frame(1, file(5))].concat()).await.unwrap();
    // No content: the server is the one that loses patience.
    assert_eq!(peer.answer(1).await.1.status, Status::TimedOut as u32);
    let bytes: Vec<u8> = small_put("f", b"hello").into_iter().flat_map(|message| frame(2, message)).collect();
    peer.send_bytes(&bytes).await.unwrap();
    assert_eq!(peer.answer(2).await.1.status, 0);
    assert_eq!(fs::read_dir(server.root()).unwrap().count(), 1, "the first one left nothing");
}

/// In virtual time: the clock moves only while nobody has anything to do.
#[tokio::test]
async fn a_client_that_falls_silent_is_gone_after_45_seconds_and_one_that_lives_is_not() {
    let server = TestServer::start().await;
    let mut living = RawPeer::logged_in(&server).await;
    let mut silent = RawPeer::logged_in(&server).await;
    let started = Instant::now();
    tokio::time::pause();
    let alive = async {
        loop {
            tokio::time::sleep(Duration::from_secs(10)).await;
            living.send(0, Message::Alive).await.unwrap();
        }
    };
    tokio::select! {
        _ = silent.farewell() => {}
        () = alive => {}
    }
    let waited = started.elapsed().as_secs();
    assert!((44..=46).contains(&waited), "{waited} s");
    assert_eq!(living.status(1, stat()).await, Status::Ok);
}

/// In virtual time, as above.
#[tokio::test]
async fn a_killed_server_is_gone_at_once() {
    let server = TestServer::start().await;
    let peer = RawPeer::logged_in(&server).await;
    let started = Instant::now();
    tokio::time::pause();
    server.stop().await;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    drop(peer);
}

#[tokio::test]
async fn a_peer_that_reads_nothing_cannot_hold_up_the_end() {
    let limits = |limits: &mut Limits| {
        limits.stall_timeout = Duration::from_millis(200);
        limits.drain_timeout = Duration::from_secs(2);
    };
    let server = TestServer::builder().limits(limits).start().await;
    fs::File::create(server.root().join("big")).unwrap().set_len(256 << 20).unwrap();
    let mut peer = RawPeer::logged_in(&server).await;
    begin_get(&mut peer).await;
    // From here on nothing is read. The drain takes longer than the stall, so that this has ended the get.
    let drained = timeout(Duration::from_secs(15), server.drain()).await;
    assert!(drained.is_ok(), "the server does not end");
    drop(peer);
}

/// The same before the stall: a stop finds the get still running.
#[tokio::test]
async fn a_peer_that_reads_nothing_is_killed_with_the_server() {
    let server = TestServer::start().await;
    fs::File::create(server.root().join("big")).unwrap().set_len(256 << 20).unwrap();
    let mut peer = RawPeer::logged_in(&server).await;
    begin_get(&mut peer).await;
    assert!(matches!(peer.next().await, Some((1, Message::Block(_)))));
    let stopped = timeout(Duration::from_secs(30), server.stop()).await;
    assert!(stopped.is_ok(), "the server does not end");
    drop(peer);
}
