//! Trees and what an account may do, learn and leave open.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/tree_runs.rs"]
#[allow(dead_code, reason = "not every test needs all of it")]
mod tree_runs;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ft_protocol::auth::Rights;
use ft_protocol::tree::{Action, Item};
use ft_protocol::wire::Message;
use ft_protocol::wire::message::TreePut;
use ft_tests::content::proof;
use ft_tests::peer::RawPeer;
use ft_tests::server::{ALL, TestServer};
use ft_tests::tree_lies::A;
use ft_tests::tree_wire::{dir, file, packed, put_to, root, says, tree_put, walked};
use ftclient::TreeOptions;
use tree_runs::{client, noting, remote, syncing};

fn told(items: &Arc<Mutex<Vec<Item>>>) -> Vec<(Action, String, bool)> {
    let items = items.lock().unwrap();
    items.iter().map(|item| (item.action, item.path.to_string(), item.failure.is_some())).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn without_the_right_to_overwrite_what_appeared_meanwhile_stays() {
    let server = TestServer::builder().rights(Rights::READ.union(Rights::CREATE)).start().await;
    fs::create_dir(server.root().join("to")).unwrap();
    let mut peer = RawPeer::logged_in(&server).await;
    peer.send_all(1, [tree_put("to").into(), root().into(), file(1, "a", A.len()).into()]).await;
    while !matches!(peer.next().await, Some((1, Message::Accept(_)))) {}
    fs::write(server.root().join("to/a"), "another's").unwrap();
    peer.send_all(1, packed(&[(2, A)])).await;
    let result = loop {
        match peer.next().await.unwrap().1 {
            Message::NodeResult(result) if result.file == 2 => break result,
            _ => {}
        }
    };
    assert_eq!(fs::read(server.root().join("to/a")).unwrap(), b"another's", "{result:?}");
    assert_ne!(result.status, 0);
}

#[tokio::test]
async fn a_dry_run_without_the_right_to_read_does_not_tell_whether_a_guess_is_right() {
    let mut answers = Vec::new();
    for guess in [A, b"xyz"] {
        assert_eq!(guess.len(), A.len());
        let mut node = file(1, "a", A.len());
        node.digest = proof(guess).to_vec();
        let request = TreePut { dry_run: true, ..tree_put("to") };
        let (_server, said) = put_to(Rights::WRITE, request, says([root(), node]), |root| {
            fs::create_dir(root.join("to")).unwrap();
            fs::write(root.join("to/a"), A).unwrap();
        })
        .await;
        answers.push(said.named());
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn a_dry_run_without_the_right_to_read_lists_no_directory() {
    let rights = Rights::WRITE.union(Rights::DELETE);
    let request = TreePut { dry_run: true, delete: true, max_delete: u64::MAX, ..tree_put("to") };
    let (_server, said) = put_to(rights, request, says([root()]), |root| {
        fs::create_dir(root.join("to")).unwrap();
        fs::write(root.join("to/secret name"), A).unwrap();
    })
    .await;
    assert!(said.named().iter().all(|(name, ..)| name != "secret name"), "{:?}", said.named());
}

#[tokio::test]
async fn a_private_directory_is_private_while_it_is_filled() {
    let server = TestServer::start().await;
    fs::create_dir(server.root().join("to")).unwrap();
    let mut peer = RawPeer::logged_in(&server).await;
    let mut private = dir(1, "d");
    private.mode = 0o700;
    peer.send_all(1, [TreePut { preserve: true, ..tree_put("to") }.into(), root().into(), private.into()])
        .await;
    peer.send_all(1, [file(2, "a", A.len()).into()]).await;
    while !matches!(peer.next().await, Some((1, Message::Accept(_)))) {}
    assert_eq!(mode(&server.root().join("to/d")), 0o700);
}

#[tokio::test]
async fn a_run_that_is_cut_short_and_run_again_leaves_a_private_directory_private() {
    let server = TestServer::start().await;
    fs::create_dir(server.root().join("to")).unwrap();
    for attempt in 0..2 {
        let mut peer = RawPeer::logged_in(&server).await;
        let mut private = dir(1, "d");
        private.mode = 0o700;
        peer.send_all(1, [tree_put("to").into(), root().into(), private.into()]).await;
        peer.send_all(1, [file(2, "a", A.len()).into()]).await;
        while !matches!(peer.next().await, Some((1, Message::Accept(_)))) {}
        if attempt == 0 {
            peer.send(1, Message::Cancel).await.unwrap();
            while !matches!(peer.next().await, Some((1, Message::End(_))) | None) {}
        } else {
            peer.send_all(1, packed(&[(3, A)])).await;
            peer.send_all(1, [walked()]).await;
            while !matches!(peer.next().await, Some((1, Message::End(_))) | None) {}
        }
    }
    assert_eq!(mode(&server.root().join("to/d")), 0o700, "as without an interruption");
}

#[tokio::test]
async fn the_directory_itself_is_made_as_those_in_it_are() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("source");
    fs::create_dir_all(source.join("d")).unwrap();
    for path in [source.join("d"), source.clone()] {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    }
    client(&server).await.put_tree(&source, &remote("copy"), None, &TreeOptions::default()).await.unwrap();
    assert_eq!(mode(&server.root().join("copy/d")), 0o700);
    assert_eq!(mode(&server.root().join("copy")), 0o700);
}

#[tokio::test]
async fn a_backup_makes_and_replaces_only_what_the_account_may() {
    let set_up = |root: &Path| {
        fs::create_dir(root.join("to")).unwrap();
        fs::create_dir(root.join("kept")).unwrap();
        fs::write(root.join("to/a"), "old").unwrap();
    };
    let teller = || says([root(), file(1, "a", A.len())]).with(2, packed(&[(2, A)]));
    let request = TreePut { backup: b"kept".to_vec(), ..tree_put("to") };
    let (server, said) =
        put_to(Rights::READ.union(Rights::OVERWRITE), request.clone(), teller(), set_up).await;
    assert!(!server.root().join("kept/a").exists(), "made without 'create': {:?}", said.results());
}

#[tokio::test]
async fn a_backup_replaces_nothing_without_the_right_to() {
    let request = TreePut { backup: b"kept".to_vec(), delete: true, max_delete: 9, ..tree_put("to") };
    let rights = Rights::READ.union(Rights::CREATE).union(Rights::DELETE);
    let (server, said) = put_to(rights, request, says([root()]), |root| {
        fs::create_dir(root.join("to")).unwrap();
        fs::create_dir(root.join("kept")).unwrap();
        fs::write(root.join("to/a"), "mine").unwrap();
        fs::write(root.join("kept/a"), "another's").unwrap();
    })
    .await;
    assert_eq!(fs::read(server.root().join("kept/a")).unwrap(), b"another's", "{:?}", said.named());
}

#[tokio::test]
async fn no_name_leads_into_the_directory_for_backups() {
    let request = TreePut { backup: b"to/kept".to_vec(), ..tree_put("to") };
    let teller = says([root(), dir(1, "kept"), file(2, "a", A.len())]).with(3, packed(&[(3, A)]));
    let (server, said) = put_to(ALL, request, teller, |root| {
        fs::create_dir_all(root.join("to/kept")).unwrap();
        fs::write(root.join("to/kept/a"), "kept").unwrap();
    })
    .await;
    assert_eq!(fs::read(server.root().join("to/kept/a")).unwrap(), b"kept", "{:?}", said.results());
}

#[tokio::test]
async fn a_dry_run_leaves_the_directory_for_backups_out_as_the_run_does() {
    let server = TestServer::start().await;
    fs::create_dir(server.root().join("source")).unwrap();
    let place = tempfile::tempdir().unwrap();
    let copy = place.path().join("copy");
    fs::create_dir_all(copy.join("kept")).unwrap();
    fs::write(copy.join("kept/a"), "a").unwrap();
    let deleting = TreeOptions { delete: Some(u64::MAX), dry_run: true, ..syncing() };
    let (options, items) = noting(deleting);
    let mut client = client(&server).await;
    client.get_tree(&remote("source"), &copy, Some(&copy.join("kept")), &options).await.unwrap();
    assert_eq!(told(&items), []);
}
