//! A client whose paths begin in a directory of its account.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, reason = "not every test needs all of it")]
#[path = "common/commands.rs"]
mod commands;
#[allow(dead_code, reason = "not every test needs all of it")]
mod common;

use std::fs;
use std::io::Cursor;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use commands::PATIENCE;
use common::{builder, local, names, remote, target};
use ft_protocol::Status;
use ft_protocol::digest::Algorithm;
use ft_protocol::fs::Filter;
use ft_protocol::wire::Message;
use ft_protocol::wire::message::{End, FileResult};
use ft_tests::content::{blocks, file, pattern, proof};
use ft_tests::hostile::{Action, HostileServer};
use ft_tests::server::TestServer;
use ft_tests::tree::contents;
use ftclient::client::{Builder, Command, Control, Ended, EntryType, Finished, PutTarget, Streams};
use ftclient::{CheckOptions, Client, TransferOptions, TreeOptions};

const ROOT: &str = "a/b";

fn at(server: &TestServer) -> Builder {
    builder(server.address(), server.fingerprint(), PATIENCE)
}

/// A server with a file outside of `a/b`, `a/b` there, and a client that begins in it.
async fn rooted() -> (TestServer, PathBuf, Client) {
    let server = commands::builder().start().await;
    let there = server.root().join(ROOT);
    fs::create_dir_all(&there).unwrap();
    fs::write(server.root().join("above"), "above").unwrap();
    let client = at(&server).root(remote(ROOT)).build().unwrap();
    (server, there, client)
}

#[tokio::test]
async fn files_are_put_and_got_beneath_it() {
    let (server, there, mut client) = rooted().await;
    let (place, options) = (tempfile::tempdir().unwrap(), TransferOptions::default());
    let source = place.path().join("source");
    fs::write(&source, "file").unwrap();

    let stored = client.put_from(Cursor::new("pipe"), &remote("pipe"), &options).await.unwrap();
    assert_eq!((stored.path, fs::read(there.join("pipe")).unwrap()), (remote("pipe"), b"pipe".to_vec()));
    let deep = PutTarget { path: remote("deep/er"), into: true, parents: true };
    let stored = client.put_file(&source, &deep, &options).await.unwrap();
    assert_eq!(stored.path, remote("deep/er/source"));
    assert_eq!(fs::read(there.join("deep/er/source")).unwrap(), b"file");
    let stored = client.put_file(&source, &target(""), &options).await.unwrap();
    assert_eq!(
        (stored.path, names(&there)),
        (remote("source"), ["deep", "pipe", "source"].map(String::from).to_vec())
    );

    client.get_file(&remote("pipe"), &local(place.path(), "back"), &options).await.unwrap();
    assert_eq!(fs::read(place.path().join("back")).unwrap(), b"pipe");
    assert_eq!(client.get_to(&remote("deep/er/source"), std::io::sink(), &options).await.unwrap().size, 4);
    let error = client.get_to(&remote("above"), std::io::sink(), &options).await.unwrap_err();
    assert_eq!(error.status(), Status::NotFound);
    assert_eq!(names(server.root()), ["a", "above"]);
}

#[tokio::test]
async fn names_are_seen_and_changed_beneath_it() {
    let (server, there, mut client) = rooted().await;
    fs::write(there.join("file"), "12345").unwrap();
    let listed = client.list(&remote("")).await.unwrap();
    assert_eq!(listed.iter().map(|entry| entry.name.as_slice()).collect::<Vec<_>>(), [b"file"]);
    assert_eq!(client.stat(&remote("file")).await.unwrap().size, 5);
    assert_eq!(client.stat(&remote("")).await.unwrap().kind, EntryType::Dir);
    assert_eq!(client.sum(&remote("file"), Algorithm::Md5, false).await.unwrap().size, 5);
    assert_eq!(client.stat(&remote("above")).await.unwrap_err().status(), Status::NotFound);

    client.make_dir(&remote("dir"), false).await.unwrap();
    client.rename(&remote("file"), &remote("dir/moved"), false).await.unwrap();
    assert_eq!(names(&there.join("dir")), ["moved"]);
    client.rename(&remote("dir/moved"), &remote(""), false).await.unwrap();
    assert_eq!(names(&there), ["dir", "moved"]);
    client.remove(&remote("moved"), false).await.unwrap();
    assert_eq!(names(&there), ["dir"]);
    for gone in
        [client.remove(&remote(""), true).await, client.rename(&remote(""), &remote("x"), false).await]
    {
        assert_eq!(gone.unwrap_err().status(), Status::Invalid, "as with the root of an account");
    }
    assert_eq!(
        (names(&there), names(server.root())),
        (vec!["dir".to_owned()], ["a", "above"].map(String::from).to_vec())
    );
}

#[tokio::test]
async fn trees_and_their_backups_are_beneath_it() {
    let (server, there, mut client) = rooted().await;
    let place = tempfile::tempdir().unwrap();
    let (source, back) = (place.path().join("source"), place.path().join("back"));
    fs::create_dir_all(source.join("sub")).unwrap();
    fs::write(source.join("sub/file"), "old").unwrap();
    client.put_tree(&source, &remote("tree"), None, &TreeOptions::default()).await.unwrap();
    assert_eq!(contents(&there.join("tree")), contents(&source));

    fs::write(source.join("sub/file"), "newer").unwrap();
    client.put_tree(&source, &remote("tree"), Some(&remote("kept")), &TreeOptions::default()).await.unwrap();
    assert_eq!(fs::read(there.join("kept/sub/file")).unwrap(), b"old");
    assert_eq!(names(server.root()), ["a", "above"]);

    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    let options = CheckOptions {
        filter: Filter::default(),
        names: None,
        digest: Algorithm::Md5,
        meter: Arc::default(),
        on_item: Arc::new(move |item| telling.lock().unwrap().push((item.path.to_string(), item.action))),
    };
    assert_eq!(client.check_tree(&source, &remote("tree"), &options).await.unwrap(), 0);
    assert_eq!(*told.lock().unwrap(), [("sub/file".to_owned(), ft_protocol::tree::Action::Equal)]);
    client.get_tree(&remote(""), &back, None, &TreeOptions::default()).await.unwrap();
    assert_eq!(contents(&back), contents(&there));
}

#[tokio::test]
async fn commands_run_in_it_or_beneath_it() {
    let (_server, there, mut client) = rooted().await;
    fs::create_dir(there.join("sub")).unwrap();
    for (cwd, expected) in [("", there.clone()), ("sub", there.join("sub"))] {
        let (command, mut out) = (Command { cwd: remote(cwd), ..Command::new(["pwd"]) }, Vec::new());
        let streams = Streams::new(&mut out, tokio::io::sink());
        let finished = client.exec(&command, streams, Control::default()).await.unwrap();
        assert_eq!(finished, Finished { ended: Ended::Status(0), stopped: None });
        assert_eq!(String::from_utf8(out).unwrap(), format!("{}\n", expected.display()));
    }
}

#[tokio::test]
async fn one_that_is_not_there_is_made_with_other_missing_directories_and_never_as_a_file() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    let (source, options) = (place.path().join("source"), TransferOptions::default());
    fs::write(&source, "file").unwrap();
    fs::create_dir(server.root().join("a")).unwrap();
    let mut client = at(&server).root(remote(ROOT)).build().unwrap();
    let error = client.put_file(&source, &target(""), &options).await.unwrap_err();
    assert_eq!(error.status(), Status::NotDirectory);
    assert!(client.put_from(Cursor::new("pipe"), &remote(""), &options).await.is_err());
    assert!(names(&server.root().join("a")).is_empty());
    let parents = PutTarget { path: remote("x"), into: false, parents: true };
    client.put_file(&source, &parents, &options).await.unwrap();
    assert_eq!(names(&server.root().join(ROOT)), ["x"]);
}

#[tokio::test]
async fn what_a_broken_get_left_belongs_to_its_own_root() {
    let content = pattern(3 << 20);
    let failed = End { status: Status::Failed as u32, message: String::new() };
    let server = HostileServer::start(move |op, message| {
        let answers: Vec<Message> = match message {
            Message::Get(_) => vec![file(content.len() as u64).into()],
            // Two blocks of three: each is announced first.
            Message::Accept(_) => {
                blocks(&content).into_iter().take(4).chain([failed.clone().into()]).collect()
            }
            _ => Vec::new(),
        };
        answers.into_iter().map(|message| Action::Send(op, message)).collect()
    });
    let server = server.await;
    let place = tempfile::tempdir().unwrap();
    let (to, options) = (local(place.path(), "big"), TransferOptions::default());
    for (root, left) in [("one", 1), ("other", 2), ("one", 2)] {
        let builder = builder(server.address(), server.fingerprint(), PATIENCE);
        let mut client = builder.root(remote(root)).build().unwrap();
        let error = client.get_file(&remote("big"), &to, &options).await.unwrap_err();
        assert_eq!((error.status(), names(place.path()).len()), (Status::Failed, left), "{root}: {error}");
    }
}

#[tokio::test]
async fn an_answer_that_names_what_is_outside_breaks_the_protocol() {
    for (path, found) in
        [("a/b/x", Some("x")), ("a/bc/x", None), ("x", None), ("a", None), ("a/b/../x", None)]
    {
        let result = FileResult { file: 0, digest: proof(b"content").to_vec(), path: path.into() };
        let server = HostileServer::start(move |op, message| match message {
            Message::Done(_) => {
                vec![Action::Send(op, result.clone().into()), Action::Send(op, End::default().into())]
            }
            _ => Vec::new(),
        });
        let server = server.await;
        let builder = builder(server.address(), server.fingerprint(), PATIENCE);
        let mut client = builder.root(remote(ROOT)).build().unwrap();
        let put = client.put_from(Cursor::new("content"), &remote("x"), &TransferOptions::default()).await;
        match found {
            Some(found) => assert_eq!(put.unwrap().path, remote(found)),
            None => assert_eq!(put.unwrap_err().status(), Status::Protocol, "{path}"),
        }
    }
}
