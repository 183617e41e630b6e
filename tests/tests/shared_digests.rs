//! The same files for several servers at the same time: hashed once in all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/tree_runs.rs"]
#[allow(dead_code, reason = "not every test needs all of it")]
mod tree_runs;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ft_protocol::digest::Algorithm;
use ft_protocol::transfer::SharedDigests;
use ft_protocol::tree::Action;
use ft_tests::content::pattern;
use ft_tests::server::TestServer;
use ft_tests::tree::{contents, plant, seen};
use ftclient::client::PutTarget;
use ftclient::{TransferOptions, TreeOptions};
use tree_runs::{client, md5, noting, remote};

const SERVERS: usize = 3;
const BLOCK: u64 = 1 << 20;

async fn servers() -> Vec<TestServer> {
    let mut all = Vec::new();
    for _ in 0..SERVERS {
        all.push(TestServer::start().await);
    }
    all
}

/// Bytes of all files, and of those of more than one block.
fn sizes(root: &Path) -> (u64, u64) {
    let seen = seen(root);
    let files = || seen.values().filter(|seen| seen.mode & 0o170_000 == 0o100_000);
    let len = |seen: &ft_tests::tree::Seen| seen.content.len() as u64;
    (files().map(len).sum(), files().map(len).filter(|len| *len > BLOCK).sum())
}

/// Puts `source` to all servers at the same time; what was done at each.
async fn put_everywhere(
    servers: &[TestServer],
    source: &Path,
    options: &TreeOptions,
) -> Vec<Vec<(Action, String, Option<String>, u64)>> {
    let local = tokio::task::LocalSet::new();
    let mut running = tokio::task::JoinSet::new();
    for (number, server) in servers.iter().enumerate() {
        let mut client = client(server).await;
        let (source, options) = (source.to_owned(), options.clone());
        running.spawn_local_on(
            async move {
                let (options, items) = noting(TreeOptions { meter: Arc::default(), ..options });
                let done = client.put_tree(&source, &remote("copy"), None, &options).await.unwrap();
                assert_eq!(done.failed, 0);
                let items = std::mem::take(&mut *items.lock().unwrap());
                let told = items.into_iter().map(|item| {
                    (item.action, item.path.to_string(), item.whole.map(|name| name.to_string()), item.kept)
                });
                (number, told.collect::<Vec<_>>())
            },
            &local,
        );
    }
    let mut all = local.run_until(running.join_all()).await;
    all.sort_by_key(|(number, _)| *number);
    all.into_iter().map(|(_, told)| told).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_for_many_is_hashed_once() {
    for digest in [Algorithm::Md5, Algorithm::Sha256] {
        let place = tempfile::tempdir().unwrap();
        let source = place.path().join("source");
        plant(&source);
        // More than fit in one pack.
        fs::create_dir(source.join("many")).unwrap();
        for number in 0..1100 {
            fs::write(source.join(format!("many/{number}")), pattern(number)).unwrap();
        }
        fs::hard_link(source.join("many/1000"), source.join("many/again")).unwrap();
        let shared = Arc::new(SharedDigests::default());
        let options =
            TreeOptions { digest, times: true, shared: Some(Arc::clone(&shared)), ..TreeOptions::default() };
        let servers = servers().await;
        let told = put_everywhere(&servers, &source, &options).await;
        assert!(told.iter().all(|host| *host == told[0] && host.len() > 1100), "equal names and all");
        for server in &servers {
            assert!(contents(&server.root().join("copy")) == contents(&source));
        }
        let (names, large) = sizes(&source);
        // One of the two names of a file.
        let all = names - 1000;
        assert_eq!((shared.hashed(), shared.named()), (all, large), "{digest:?}");
        if digest == Algorithm::Md5 {
            let due = md5(&pattern(5 * (1 << 20) + 77));
            assert!(told[0].iter().any(|(_, path, name, _)| path == "large" && *name == Some(due.clone())));
        }

        // What stands there is equal by what each sender has hashed, and so is what a dry run tells.
        let each = SERVERS as u64 * names;
        for (dry_run, hashed) in [(true, all + each), (false, all + 2 * each)] {
            let told = put_everywhere(&servers, &source, &TreeOptions { dry_run, ..options.clone() }).await;
            assert!(told.iter().flatten().all(|(action, ..)| *action == Action::Equal), "{told:?}");
            assert_eq!((shared.hashed(), shared.named()), (hashed, large), "{digest:?}, dry run: {dry_run}");
        }

        // What changed is another file: the small one is sent, and of the large one the beginning is kept.
        let before = shared.hashed();
        fs::write(source.join("many/7"), "changed").unwrap();
        fs::write(source.join("large"), pattern(3 << 20)).unwrap();
        let kept = sizes(&source).0 - 7;
        put_everywhere(&servers, &source, &options).await;
        for server in &servers {
            assert!(contents(&server.root().join("copy")) == contents(&source));
        }
        assert_eq!(shared.hashed() - before, 7 + SERVERS as u64 * kept, "{digest:?}");
    }
}

#[tokio::test]
async fn a_file_for_many_is_hashed_once() {
    let place = tempfile::tempdir().unwrap();
    let source: PathBuf = place.path().join("source");
    let data = pattern(5 * (1 << 20) + 1);
    fs::write(&source, &data).unwrap();
    let shared = Arc::new(SharedDigests::default());
    let servers = servers().await;
    for server in &servers {
        let mut client = client(server).await;
        let target = PutTarget { path: remote("copy"), into: false, parents: false };
        let options = TransferOptions { shared: Some(Arc::clone(&shared)), ..TransferOptions::default() };
        let stored = client.put_file(&source, &target, &options).await.unwrap();
        assert_eq!(stored.whole.unwrap().to_string(), md5(&data));
    }
    for server in &servers {
        assert!(fs::read(server.root().join("copy")).unwrap() == data);
    }
    assert_eq!((shared.hashed(), shared.named()), (data.len() as u64, data.len() as u64));
}
