//! Whole directories, there and back, with a real server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/tree_runs.rs"]
#[allow(dead_code, reason = "not every test needs all of it")]
mod tree_runs;

use std::fs;
use std::os::unix::fs::MetadataExt;

use ft_protocol::fs::Kind;
use ft_protocol::tree::Action;
use ft_protocol::{RemotePath, Status};
use ft_tests::content::pattern;
use ft_tests::server::TestServer;
use ft_tests::tree::{contents, plant, seen};
use ftclient::TreeOptions;
use tree_runs::{client, lines, md5, noting, preserving, remote, syncing};

#[tokio::test]
async fn a_tree_goes_there_and_comes_back_as_it_was() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    let (source, back) = (place.path().join("source"), place.path().join("back"));
    plant(&source);
    let mut client = client(&server).await;
    let (options, items) = noting(preserving());
    let done = client.put_tree(&source, &remote("copy"), None, &options).await.unwrap();
    assert_eq!((done.equal, done.failed), (0, 0));
    assert_eq!(seen(&server.root().join("copy")), seen(&source));
    let told = lines(&items);
    assert_eq!(told.len(), seen(&source).len(), "each name once");
    assert!(told.iter().all(|(action, _)| *action == Action::Created));

    let (options, items) = noting(preserving());
    client.get_tree(&remote("copy"), &back, None, &options).await.unwrap();
    assert_eq!(seen(&back), seen(&source));
    assert!(back.join("sparse").metadata().unwrap().blocks() < 100, "holes stay holes");
    let items = items.lock().unwrap();
    let large = items.iter().find(|item| item.path.to_string() == "large").unwrap();
    assert_eq!(large.whole.unwrap().to_string(), md5(&pattern(5 * (1 << 20) + 77)));
    assert!(items.iter().filter(|item| item.kind == Kind::File).all(|item| item.whole.is_some()));
}

#[tokio::test]
async fn a_second_run_moves_nothing_and_tells_nothing() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    let (source, back) = (place.path().join("source"), place.path().join("back"));
    plant(&source);
    let files = seen(&source).values().filter(|seen| seen.mode & 0o170_000 == 0o100_000).count() as u64;
    let mut client = client(&server).await;
    client.put_tree(&source, &remote("copy"), None, &syncing()).await.unwrap();
    client.get_tree(&remote("copy"), &back, None, &syncing()).await.unwrap();
    let (options, items) = noting(syncing());
    let put = client.put_tree(&source, &remote("copy"), None, &options).await.unwrap();
    let got = client.get_tree(&remote("copy"), &back, None, &options).await.unwrap();
    assert_eq!(
        (put.equal, got.equal, options.meter.bytes().done()),
        (files, files, options.meter.bytes_total())
    );
    assert_eq!(lines(&items), []);
    // Without times to go by, contents are compared where they are.
    let (options, items) = noting(TreeOptions { times: true, ..TreeOptions::default() });
    client.put_tree(&source, &remote("copy"), None, &options).await.unwrap();
    let items = items.lock().unwrap();
    assert!(items.iter().all(|item| item.action == Action::Equal && item.kept == item.size), "{items:?}");
    assert_eq!(items.len() as u64, files);
}

#[tokio::test]
async fn unchanged_blocks_of_a_changed_file_do_not_travel() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    let (source, back) = (place.path().join("source"), place.path().join("back"));
    fs::create_dir(&source).unwrap();
    let mut content = pattern(20 * (1 << 20) + 5);
    fs::write(source.join("big"), &content).unwrap();
    let mut client = client(&server).await;
    client.put_tree(&source, &remote("copy"), None, &syncing()).await.unwrap();
    client.get_tree(&remote("copy"), &back, None, &syncing()).await.unwrap();
    for at in [0, 7 << 20, (20 << 20) + 1] {
        content[at] ^= 1;
    }
    content.extend_from_slice(&pattern(1 << 20));
    fs::write(source.join("big"), &content).unwrap();
    for to_server in [true, false] {
        let (options, items) = noting(syncing());
        if to_server {
            client.put_tree(&source, &remote("copy"), None, &options).await.unwrap();
            assert_eq!(fs::read(server.root().join("copy/big")).unwrap(), content);
        } else {
            client.get_tree(&remote("copy"), &back, None, &options).await.unwrap();
            assert_eq!(fs::read(back.join("big")).unwrap(), content);
        }
        let items = items.lock().unwrap();
        assert_eq!((items.len(), items[0].kept), (1, 18 << 20), "two blocks changed and the tail is new");
        assert_eq!(items[0].whole.unwrap().to_string(), md5(&content));
    }
}

#[tokio::test]
async fn two_runs_never_work_on_one_destination() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::create_dir(server.root().join("copy")).unwrap();
    let root = ft_protocol::fs::Root::open(&server.root().join("copy")).unwrap();
    let held = root.dir(&RemotePath::root(), ft_protocol::fs::Links::Refuse).unwrap().lock().unwrap();
    let mut client = client(&server).await;
    let error = client.put_tree(&source, &remote("copy"), None, &syncing()).await.unwrap_err();
    assert_eq!(error.status(), Status::Busy);
    drop(held);
    client.put_tree(&source, &remote("copy"), None, &syncing()).await.unwrap();

    let root = ft_protocol::fs::Root::open(&source).unwrap();
    let held = root.dir(&RemotePath::root(), ft_protocol::fs::Links::Refuse).unwrap().lock().unwrap();
    let error = client.get_tree(&remote("copy"), &source, None, &syncing()).await.unwrap_err();
    assert_eq!(error.status(), Status::Busy);
    drop(held);
    client.get_tree(&remote("copy"), &source, None, &syncing()).await.unwrap();
}

#[tokio::test]
async fn what_is_no_directory_is_said_to_be_none() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    fs::write(server.root().join("file"), "content").unwrap();
    let mut client = client(&server).await;
    let target = place.path().join("target");
    let error = client.get_tree(&remote("file"), &target, None, &syncing()).await.unwrap_err();
    assert_eq!(error.status(), Status::NotDirectory);
    let error = client.get_tree(&remote("missing"), &target, None, &syncing()).await.unwrap_err();
    assert_eq!(error.status(), Status::NotFound);
    assert!(!target.exists(), "nothing is made for a source that is not there");
    fs::create_dir(&target).unwrap();
    let error = client.put_tree(&target, &remote("file"), None, &syncing()).await.unwrap_err();
    assert_eq!(error.status(), Status::NotDirectory);
    let error = client.put_tree(&target, &remote("no/where"), None, &syncing()).await.unwrap_err();
    assert_eq!(error.status(), Status::NotFound);
    let parents = TreeOptions { parents: true, ..syncing() };
    client.put_tree(&target, &remote("no/where"), None, &parents).await.unwrap();
    assert!(server.root().join("no/where").is_dir());
}

#[tokio::test]
async fn what_is_equal_is_left_as_it_is_and_nothing_is_left_beside_it() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    let (source, back) = (place.path().join("source"), place.path().join("back"));
    fs::create_dir(&source).unwrap();
    fs::write(source.join("large"), pattern((3 << 20) + 5)).unwrap();
    let mut client = client(&server).await;
    let plain = TreeOptions::default();
    client.put_tree(&source, &remote("copy"), None, &plain).await.unwrap();
    client.get_tree(&remote("copy"), &back, None, &plain).await.unwrap();
    let copy = server.root().join("copy");
    let inodes = || [&copy, &back].map(|dir| dir.join("large").metadata().unwrap().ino());
    let before = inodes();
    for _ in 0..2 {
        let (options, items) = noting(plain.clone());
        client.put_tree(&source, &remote("copy"), None, &options).await.unwrap();
        client.get_tree(&remote("copy"), &back, None, &options).await.unwrap();
        assert_eq!(lines(&items), vec![(Action::Equal, "large".to_owned()); 2]);
        assert_eq!(inodes(), before, "an equal file is not written again");
        assert_eq!((contents(&copy), contents(&back)), (contents(&source), contents(&source)));
    }
}

#[tokio::test]
async fn a_new_directory_can_be_filled_again_whatever_its_mode_was() {
    use std::os::unix::fs::PermissionsExt;
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("source");
    fs::create_dir_all(source.join("closed")).unwrap();
    fs::set_permissions(source.join("closed"), fs::Permissions::from_mode(0o555)).unwrap();
    let mut client = client(&server).await;
    client.put_tree(&source, &remote("copy"), None, &syncing()).await.unwrap();
    let mode = |path: &str| server.root().join(path).metadata().unwrap().mode() & 0o777;
    assert_eq!(mode("copy/closed") & 0o700, 0o700);
    client.put_tree(&source, &remote("exact"), None, &preserving()).await.unwrap();
    assert_eq!(mode("exact/closed"), 0o555);
}
