//! A client at work in tasks of a runtime with several threads, which takes futures that are `Send`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, reason = "not every test needs all of it")]
#[path = "common/commands.rs"]
mod commands;
#[allow(dead_code, reason = "not every test needs all of it")]
mod common;

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{builder, local, names, remote, target};
use ft_protocol::digest::Algorithm;
use ft_protocol::fs::Filter;
use ft_protocol::tree::Action;
use ftclient::client::{Command, Control, Ended, Streams};
use ftclient::{CheckOptions, Client, TransferOptions, TreeOptions};

/// Every method of a client, in the directory `name` of the server.
async fn work(mut client: Client, name: String, place: PathBuf) -> Client {
    let (options, trees) = (TransferOptions::default(), TreeOptions::default());
    let at = |path: &str| remote(&format!("{name}/{path}"));
    client.login().await.unwrap();
    client.make_dir(&remote(&name), false).await.unwrap();
    client.put_from(Cursor::new("from"), &at("from"), &options).await.unwrap();
    client.put_stream(Cursor::new("stream"), &target(&format!("{name}/stream")), &options).await.unwrap();
    let source = place.join("source");
    fs::write(&source, "file").unwrap();
    client.put_file(&source, &target(&name), &options).await.unwrap();
    assert_eq!(client.list(&remote(&name)).await.unwrap().len(), 3);
    assert_eq!(client.stat(&at("source")).await.unwrap().size, 4);
    assert_eq!(client.sum(&at("from"), Algorithm::Md5, false).await.unwrap().size, 4);
    client.rename(&at("from"), &at("moved"), true).await.unwrap();
    assert_eq!(client.get_to(&at("moved"), std::io::sink(), &options).await.unwrap().size, 4);
    client.get_file(&at("source"), &local(&place, "back"), &options).await.unwrap();
    client.remove(&at("moved"), false).await.unwrap();

    let (tree, checked) = (place.join("tree"), check());
    client.get_tree(&remote(&name), &tree, None, &trees).await.unwrap();
    assert_eq!(names(&tree), ["source", "stream"]);
    assert_eq!(client.check_tree(&tree, &remote(&name), &checked).await.unwrap(), 0);
    client.put_tree(&tree, &at("copy"), None, &trees).await.unwrap();

    let (mut command, mut out) = (Command::new(["cat"]), Vec::new());
    command.cwd = at("copy");
    let streams = Streams::new(&mut out, tokio::io::sink()).stdin(&b"in"[..]);
    let finished = client.exec(&command, streams, Control::default()).await.unwrap();
    assert_eq!((finished.ended, out.as_slice()), (Ended::Status(0), &b"in"[..]));

    let ((), lost) = client.idle(tokio::task::yield_now()).await;
    assert!(lost.is_none(), "{lost:?}");
    client.settle().await;
    client.abandon().await;
    client.stat(&at("copy")).await.unwrap();
    client
}

fn check() -> CheckOptions {
    CheckOptions {
        filter: Filter::default(),
        names: None,
        digest: Algorithm::Md5,
        meter: Arc::default(),
        on_item: Arc::new(|item| assert_eq!(item.action, Action::Equal, "{}", item.path)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_client_does_can_be_spawned() {
    let server = commands::builder().start().await;
    let place = tempfile::tempdir().unwrap();
    let connect = |name: &str, place: &Path| {
        let (name, place) = (name.to_owned(), place.join(name));
        fs::create_dir(&place).unwrap();
        let builder = builder(server.address(), server.fingerprint(), commands::PATIENCE);
        tokio::spawn(async move { work(builder.connect().await.unwrap(), name, place).await })
    };
    let (one, other) = (connect("one", place.path()), connect("other", place.path()));
    for (client, name) in [(one.await.unwrap(), "one"), (other.await.unwrap(), "other")] {
        tokio::spawn(client.close()).await.unwrap();
        assert_eq!(names(&server.root().join(name).join("copy")), ["source", "stream"]);
    }
}
