//! Many writers of one name: one complete version stands there, and nothing else is left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, reason = "not every test needs all of it")]
mod common;

use std::fs;
use std::time::Duration;

use common::{builder, names, target};
use ft_tests::server::TestServer;
use ftclient::TransferOptions;
use tokio::task::{LocalSet, spawn_local};

const WRITERS: usize = 50;

/// FT_SOAK=1: two hundred.
fn rounds() -> usize {
    if std::env::var_os("FT_SOAK").is_some_and(|value| value == "1") { 200 } else { 3 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_writers_one_wins_whole() {
    LocalSet::new().run_until(fifty_writers()).await;
}

async fn fifty_writers() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    // Of every size there is a class of: empty, a block, several.
    let versions: Vec<Vec<u8>> =
        (0..WRITERS).map(|n| vec![n as u8 + 1; [0, 1000, 1 << 20, (1 << 20) + 77][n % 4] + n]).collect();
    let mut clients = Vec::new();
    for (n, version) in versions.iter().enumerate() {
        fs::write(place.path().join(n.to_string()), version).unwrap();
        let builder = builder(server.address(), server.fingerprint(), Duration::from_secs(60));
        clients.push(builder.connect().await.unwrap());
    }
    for round in 0..rounds() {
        let mut writing = Vec::new();
        for (n, mut client) in clients.drain(..).enumerate() {
            let source = place.path().join(n.to_string());
            writing.push(spawn_local(async move {
                let stored =
                    client.put_file(&source, &target("contested"), &TransferOptions::default()).await;
                (client, stored)
            }));
        }
        for writer in writing {
            let (client, stored) = writer.await.unwrap();
            stored.unwrap();
            clients.push(client);
        }
        let winner = fs::read(server.root().join("contested")).unwrap();
        assert!(versions.contains(&winner), "round {round}: a mixture of {} bytes", winner.len());
        assert_eq!(names(server.root()), ["contested"], "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_that_replace_nothing_one_succeeds() {
    LocalSet::new().run_until(fifty_that_replace_nothing()).await;
}

async fn fifty_that_replace_nothing() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    let mut writing = Vec::new();
    for n in 0..WRITERS {
        let source = place.path().join(n.to_string());
        fs::write(&source, vec![n as u8 + 1; 2000]).unwrap();
        let builder = builder(server.address(), server.fingerprint(), Duration::from_secs(60));
        writing.push(spawn_local(async move {
            let options = TransferOptions { no_clobber: true, ..TransferOptions::default() };
            builder.build().unwrap().put_file(&source, &target("contested"), &options).await
        }));
    }
    let mut won = Vec::new();
    for (n, writer) in writing.into_iter().enumerate() {
        match writer.await.unwrap() {
            Ok(_) => won.push(n),
            Err(error) => assert_eq!(error.status(), ft_protocol::Status::Exists, "{error}"),
        }
    }
    let [winner] = won[..] else { panic!("{won:?} all succeeded") };
    assert!(fs::read(server.root().join("contested")).unwrap() == vec![winner as u8 + 1; 2000]);
    server.stop().await;
}
