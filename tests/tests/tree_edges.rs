//! Trees where runs are cut short, names give way to others, and counts are told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/tree_runs.rs"]
#[allow(dead_code, reason = "not every test needs all of it")]
mod tree_runs;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ft_protocol::Status;
use ft_protocol::auth::Rights;
use ft_protocol::tree::{Action, Item};
use ft_protocol::wire::Message;
use ft_protocol::wire::message::{End, NodeResult, TreePut};
use ft_tests::content::pattern;
use ft_tests::hostile::Action::{Close, Send};
use ft_tests::hostile::HostileServer;
use ft_tests::peer::RawPeer;
use ft_tests::proxy::{Direction, Fault, Proxy, What};
use ft_tests::server::{ALL, TestServer, USER, key};
use ft_tests::tree_lies::A;
use ft_tests::tree_wire::{accept, file, packed, pass, put_to, root, says, tree_get, tree_put, walked};
use ftclient::{CheckOptions, Client, TreeOptions};
use tree_runs::{client, noting, remote, syncing};

fn told(items: &Arc<Mutex<Vec<Item>>>) -> Vec<(Action, String, bool)> {
    let items = items.lock().unwrap();
    items.iter().map(|item| (item.action, item.path.to_string(), item.failure.is_some())).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

async fn through(server: &TestServer, proxy: &Proxy) -> Client {
    let builder = Client::builder(&proxy.address().to_string()).unwrap();
    builder.user(USER).key(server.key().clone()).fingerprint(server.fingerprint()).connect().await.unwrap()
}

#[tokio::test]
async fn what_an_excluded_directory_holds_stays_when_the_directory_above_it_goes() {
    let request =
        TreePut { delete: true, max_delete: u64::MAX, rules: b"-keep/\0".to_vec(), ..tree_put("to") };
    let (server, said) = put_to(ALL, request, says([root()]), |root| {
        fs::create_dir_all(root.join("to/old/keep")).unwrap();
        fs::write(root.join("to/old/keep/file"), "left out").unwrap();
        fs::write(root.join("to/old/x"), "x").unwrap();
    })
    .await;
    assert_eq!(said.status, Status::Ok, "{}", said.text);
    assert!(!server.root().join("to/old/x").exists());
    assert!(server.root().join("to/old/keep/file").exists(), "{:?}", said.named());
}

#[tokio::test]
async fn what_is_excluded_stays_where_a_file_takes_the_place_of_its_directory() {
    let request =
        TreePut { delete: true, max_delete: u64::MAX, rules: b"-*.keep\0".to_vec(), ..tree_put("to") };
    let teller = says([root(), file(1, "d", A.len())]).with(2, packed(&[(2, A)]));
    let (server, said) = put_to(ALL, request, teller, |root| {
        fs::create_dir_all(root.join("to/d")).unwrap();
        fs::write(root.join("to/d/a.keep"), "left out").unwrap();
    })
    .await;
    assert!(server.root().join("to/d/a.keep").exists(), "{:?}", said.named());
}

#[tokio::test]
async fn what_was_refused_is_not_counted_as_equal() {
    let server = TestServer::builder().rights(Rights::READ.union(Rights::OVERWRITE)).start().await;
    fs::create_dir(server.root().join("copy")).unwrap();
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("source");
    fs::create_dir_all(source.join("d")).unwrap();
    for name in ["d/a", "d/b", "d/c", "e"] {
        fs::write(source.join(name), name).unwrap();
    }
    let done = client(&server).await.put_tree(&source, &remote("copy"), None, &syncing()).await.unwrap();
    assert_eq!((done.failed, done.equal), (2, 0), "d and e are refused, and what is in d is not there");
}

#[tokio::test]
async fn what_would_be_made_is_not_counted_as_equal() {
    let server = TestServer::start().await;
    fs::create_dir(server.root().join("copy")).unwrap();
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("a"), "a").unwrap();
    let (options, items) = noting(TreeOptions { dry_run: true, ..syncing() });
    let done = client(&server).await.put_tree(place.path(), &remote("copy"), None, &options).await.unwrap();
    assert_eq!((told(&items).len(), done.equal), (1, 0));
}

#[tokio::test]
async fn a_dry_run_says_what_the_run_does_of_the_directory_itself() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("a"), "a").unwrap();
    let (options, foreseen) = noting(TreeOptions { dry_run: true, ..syncing() });
    client(&server).await.put_tree(place.path(), &remote("copy"), None, &options).await.unwrap();
    let (options, items) = noting(syncing());
    client(&server).await.put_tree(place.path(), &remote("copy"), None, &options).await.unwrap();
    assert_eq!(told(&foreseen), told(&items));
}

#[tokio::test]
async fn a_dry_run_says_what_goes_where_a_file_takes_the_place_of_a_directory() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("d"), "file").unwrap();
    fs::create_dir_all(server.root().join("copy/d")).unwrap();
    for name in ["x", "y", "z"] {
        fs::write(server.root().join("copy/d").join(name), name).unwrap();
    }
    let names = |items: &Arc<Mutex<Vec<Item>>>| {
        let mut names: Vec<_> =
            told(items).into_iter().map(|(action, path, _)| (path, action as u32)).collect();
        names.sort();
        names
    };
    let deleting = TreeOptions { delete: Some(u64::MAX), ..syncing() };
    let (options, foreseen) = noting(TreeOptions { dry_run: true, ..deleting.clone() });
    client(&server).await.put_tree(place.path(), &remote("copy"), None, &options).await.unwrap();
    let (options, items) = noting(deleting);
    client(&server).await.put_tree(place.path(), &remote("copy"), None, &options).await.unwrap();
    assert_eq!(names(&foreseen), names(&items));
}

#[tokio::test]
async fn without_clobbering_a_file_does_not_give_way_to_a_directory() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("d")).unwrap();
    fs::create_dir(server.root().join("copy")).unwrap();
    fs::write(server.root().join("copy/d"), "precious").unwrap();
    let options = TreeOptions { no_clobber: true, ..syncing() };
    let _ = client(&server).await.put_tree(place.path(), &remote("copy"), None, &options).await;
    assert_eq!(fs::read(server.root().join("copy/d")).unwrap(), b"precious");
}

#[tokio::test]
async fn both_ends_give_a_file_up_and_the_sender_goes_on() {
    let server = TestServer::start().await;
    fs::create_dir(server.root().join("d")).unwrap();
    fs::write(server.root().join("d/a"), pattern((1 << 20) + 9)).unwrap();
    let mut peer = RawPeer::logged_in(&server).await;
    peer.send(1, tree_get("d")).await.unwrap();
    while peer.next().await != Some((1, walked())) {}
    fs::write(server.root().join("d/a"), "short").unwrap();
    peer.send(1, accept(2)).await.unwrap();
    while !matches!(peer.next().await, Some((1, Message::NodeResult(result))) if result.file == 2) {}
    // As it crosses the other one on the way.
    let failed = NodeResult { file: 2, status: Status::Failed as u32, ..NodeResult::default() };
    peer.send_all(1, [failed.into(), End::default().into()]).await;
    assert_eq!(peer.answer(1).await.1, End::default());
}

#[tokio::test]
async fn more_files_than_the_window_take_the_place_of_directories() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    for number in 0..5000 {
        fs::write(place.path().join(format!("{number:05}")), "file").unwrap();
        fs::create_dir_all(server.root().join(format!("copy/{number:05}"))).unwrap();
    }
    let options = TreeOptions { delete: Some(u64::MAX), ..syncing() };
    let mut client = client(&server).await;
    let to = remote("copy");
    let put = client.put_tree(place.path(), &to, None, &options);
    let put = tokio::time::timeout(Duration::from_secs(30), put).await;
    put.expect("it comes to an end").unwrap();
}

#[tokio::test]
async fn a_slow_reader_of_the_items_does_not_end_a_run_that_removes_many_names() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    let copy = server.root().join("copy");
    fs::create_dir(&copy).unwrap();
    for number in 0..40_000 {
        fs::write(copy.join(format!("{number:05}")), "").unwrap();
    }
    // Whoever reads what is told stands still until the run has ended, or for a while, as a pager does.
    let (ended, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(Some(gate));
    let on_item = Arc::new(move |_: &Item| {
        if let Some(gate) = gate.lock().unwrap().take() {
            let _ = gate.recv_timeout(Duration::from_secs(5));
        }
    });
    let options = TreeOptions { delete: Some(u64::MAX), on_item, ..syncing() };
    let done = client(&server).await.put_tree(place.path(), &remote("copy"), None, &options).await;
    drop(ended);
    done.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_over_a_broken_connection_tells_of_each_name_once() {
    let server = TestServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    let place = tempfile::tempdir().unwrap();
    for root in [place.path().to_owned(), server.root().join("copy")] {
        fs::create_dir_all(&root).unwrap();
        for number in 0..5000 {
            let name = root.join(format!("{number:04}"));
            if number < 10 {
                std::os::unix::fs::symlink("x", name).unwrap();
            } else {
                fs::write(name, "x").unwrap();
            }
        }
    }
    proxy.plan(Fault { direction: Direction::ToClient, after: 150_000, what: What::Close });
    let (options, items) = noting(TreeOptions::default());
    let check = CheckOptions {
        filter: options.filter,
        names: None,
        digest: options.digest,
        meter: Arc::default(),
        on_item: options.on_item,
    };
    through(&server, &proxy).await.check_tree(place.path(), &remote("copy"), &check).await.unwrap();
    assert_eq!(told(&items).len(), 5000);
}

#[tokio::test]
async fn where_too_much_would_be_removed_the_rest_is_done_and_told() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("d")).unwrap();
    fs::set_permissions(place.path().join("d"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(place.path().join("f"), "file").unwrap();
    for dir in ["copy/d", "copy/f"] {
        fs::create_dir_all(server.root().join(dir)).unwrap();
        fs::write(server.root().join(dir).join("extra"), "x").unwrap();
    }
    let (options, items) = noting(TreeOptions { preserve: true, delete: Some(0), ..syncing() });
    let done = client(&server).await.put_tree(place.path(), &remote("copy"), None, &options).await;
    assert_eq!(done.unwrap_err().status(), Status::Limit);
    let told_of_f = told(&items).iter().any(|(_, path, failed)| path == "f" && *failed);
    assert_eq!((mode(&server.root().join("copy/d")), told_of_f), (0o700, true), "{:?}", told(&items));
}

#[tokio::test]
async fn with_deletion_a_link_takes_the_place_of_a_directory_as_a_file_does() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("elsewhere", place.path().join("d")).unwrap();
    fs::create_dir_all(server.root().join("copy/d")).unwrap();
    let (options, items) = noting(TreeOptions { delete: Some(u64::MAX), ..syncing() });
    client(&server).await.put_tree(place.path(), &remote("copy"), None, &options).await.unwrap();
    assert!(server.root().join("copy/d").is_symlink(), "{:?}", told(&items));
}

#[tokio::test]
async fn a_file_that_arrived_unheard_and_is_then_left_alone_is_told_once() {
    let (mut attempts, taken) = (0, A.len());
    let server = HostileServer::start(move |op, message| match message {
        Message::Walked(_) if attempts == 0 => vec![Send(op, accept(2))],
        Message::Pack(_) => {
            attempts += 1;
            vec![Close]
        }
        Message::Walked(_) => {
            let (path, size) = (b"a".to_vec(), taken as u64);
            let skipped = NodeResult { path, kind: 1, action: 5, size, ..NodeResult::default() };
            vec![Send(op, skipped.into()), Send(op, pass(2)), Send(op, End::default().into())]
        }
        _ => vec![],
    })
    .await;
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("a"), A).unwrap();
    let (options, items) = noting(TreeOptions { no_clobber: true, ..TreeOptions::default() });
    let builder = Client::builder(&server.address().to_string()).unwrap();
    let builder = builder.user(USER).key(key(1)).fingerprint(server.fingerprint()).retries(1);
    let mut client = builder.build().unwrap();
    client.put_tree(place.path(), &remote("copy"), None, &options).await.unwrap();
    assert_eq!(told(&items), [(Action::Skipped, "a".to_string(), false)]);
}
