//! The first answer comes after three round trips: TCP, TLS, and then login and request together. The proxy
//! ends TCP itself, so it counts two.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, reason = "not every test needs all of it")]
mod common;

use std::fs;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use common::{builder, remote, target};
use ft_protocol::Status;
use ft_protocol::digest::Algorithm;
use ft_protocol::wire::Message;
use ft_protocol::wire::message::{Digest, End, Entry, FileResult};
use ft_tests::content::{blocks, done, file, pattern, proof};
use ft_tests::hostile::{Action, HostileServer, welcome};
use ft_tests::proxy::Proxy;
use ft_tests::server::TestServer;
use ftclient::{Client, TransferOptions};

const PATIENCE: Duration = Duration::from_secs(60);

/// Tells how many round trips there were when content arrived.
struct Probe {
    proxy: Arc<Proxy>,
    tell: Sender<u32>,
}

impl Write for Probe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let traffic = self.proxy.traffic();
        assert_eq!(traffic.len(), 1, "{traffic:?}");
        let _ = self.tell.send(traffic[0].round_trips);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_content_of_a_small_file_comes_after_two() {
    let server = TestServer::start().await;
    fs::write(server.root().join("a"), pattern(10_000)).unwrap();
    let proxy = Arc::new(Proxy::start(server.address()).await);
    let mut client = builder(proxy.address(), server.fingerprint(), PATIENCE).build().unwrap();
    let (tell, told) = channel();
    let writer = Probe { proxy: Arc::clone(&proxy), tell };
    client.get_to(&remote("a"), writer, &TransferOptions::default()).await.unwrap();
    assert_eq!(told.recv().unwrap(), 2);
}

/// A client of a server that says nothing at all, not even that the login is accepted, before this kind of
/// message has come. A client that waited for any answer earlier would wait for ever.
async fn client_of_taciturn(
    until: fn(&Message) -> bool,
    answer: impl Fn() -> Vec<Message> + Send + 'static,
) -> (HostileServer, Client) {
    let server = HostileServer::start_with(Vec::new(), move |op, message| {
        if !until(&message) {
            return Vec::new();
        }
        let answers = answer().into_iter().map(|message| Action::Send(op, message));
        welcome().into_iter().chain(answers).collect()
    });
    let server = server.await;
    let client = builder(server.address(), server.fingerprint(), PATIENCE).build().unwrap();
    (server, client)
}

fn end() -> Message {
    End::default().into()
}

#[tokio::test]
async fn a_small_file_goes_with_the_login() {
    let content = pattern(10_000);
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("a");
    fs::write(&source, &content).unwrap();
    let result = FileResult { file: 0, digest: proof(&content).to_vec(), path: b"a".to_vec() };
    let (_server, mut client) = client_of_taciturn(
        |message| matches!(message, Message::Done(_)),
        move || vec![result.clone().into(), end()],
    )
    .await;
    let stored = client.put_file(&source, &target("a"), &TransferOptions::default()).await.unwrap();
    assert_eq!(stored.size, 10_000);
}

#[tokio::test]
async fn requests_go_with_the_login() {
    let content = pattern(100);
    let sent = content.clone();
    let (_server, mut client) = client_of_taciturn(
        |message| matches!(message, Message::Get(_)),
        move || {
            let mut all = vec![Message::from(file(100))];
            all.extend(blocks(&sent));
            all.push(done(&sent).into());
            all
        },
    )
    .await;
    let got = client.get_to(&remote("a"), io::sink(), &TransferOptions::default()).await.unwrap();
    assert_eq!(got.proof, proof(&content));

    let entry = || vec![Entry { kind: 1, size: 7, ..Entry::default() }.into(), end()];
    let (_server, mut client) =
        client_of_taciturn(|message| matches!(message, Message::Stat(_)), entry).await;
    assert_eq!(client.stat(&remote("a")).await.unwrap().size, 7);

    let (_server, mut client) =
        client_of_taciturn(|message| matches!(message, Message::List(_)), || vec![end()]).await;
    assert!(client.list(&remote("")).await.unwrap().is_empty());

    let digest = || vec![Digest { digest: vec![7; 16], size: 1, earlier: Vec::new() }.into(), end()];
    let (_server, mut client) =
        client_of_taciturn(|message| matches!(message, Message::Sum(_)), digest).await;
    assert_eq!(client.sum(&remote("a"), Algorithm::Md5, false).await.unwrap().size, 1);
}

/// What must not happen twice is asked for only once the login has succeeded.
#[tokio::test]
async fn what_cannot_be_repeated_waits_for_the_login_no_longer_than_anything_else() {
    let alone = |_: u32, message: Message| panic!("{message:?} before the login was accepted");
    let server = HostileServer::start_with(Vec::new(), alone).await;
    let patience = Duration::from_secs(1);
    let mut client = builder(server.address(), server.fingerprint(), patience).build().unwrap();
    let error = client.remove(&remote("a"), false).await.unwrap_err();
    assert_eq!((error.status(), error.is_retry_safe()), (Status::TimedOut, true), "{error}");
    assert!(error.to_string().contains("no progress for 1 s"), "{error}");
}
