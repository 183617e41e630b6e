//! A server that lies in its answers to anything but a get: its client reports an error.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, reason = "not every test needs all of it")]
mod common;

use std::fs;

use bytes::Bytes;
use common::lies::{BRIEF, Lie, OK, PATIENCE, SMALL, assert_found, data, end, keep, met_by, raw, say, then};
use common::{builder, remote, target};
use ft_protocol::Status;
use ft_protocol::digest::Algorithm;
use ft_protocol::wire::message::{Accept, Again, Digest, Entry, FileResult};
use ft_protocol::wire::{BLOCK_LEN, Message};
use ft_tests::content::{done, file, pattern, proof};
use ft_tests::hostile::{Action, HostileServer, welcome};
use ft_tests::peer::forged;
use ftclient::TransferOptions;

/// Answers to PUT of three blocks.
fn lies_of_a_receiver(content: &[u8]) -> Vec<Lie> {
    use Status::{Cancelled, Protocol, TimedOut, Unavailable};
    let accept = |have| Message::from(Accept { file: 0, have });
    let have = |digests: usize| Message::Have(Bytes::from(vec![7; digests * 16]));
    let again = |block| Message::from(Again { file: 0, block });
    let result = |digest: &[u8], path: &[u8]| {
        Message::from(FileResult { file: 0, digest: digest.to_vec(), path: path.to_vec() })
    };
    let good = proof(content).to_vec();
    let mut lies = vec![
        say("END at once", vec![end(OK, "")], Protocol),
        say("END without a result", vec![accept(0), end(OK, "")], Protocol),
        say("a result before ACCEPT", vec![result(&good, b"x")], Protocol),
        say(
            "a result of another file",
            vec![FileResult { file: 1, ..FileResult::default() }.into()],
            Protocol,
        ),
        say("more blocks than there are", vec![accept(4)], Protocol),
        say("all blocks there are", vec![accept(u64::MAX)], Protocol),
        say("ACCEPT of another file", vec![Accept { file: 1, have: 0 }.into()], Protocol),
        say("ACCEPT twice", vec![accept(0), accept(0)], Protocol),
        say("HAVE without ACCEPT", vec![have(1)], Protocol),
        say("HAVE of nothing", vec![accept(1), have(0)], Protocol),
        say("half a digest", vec![accept(1), Message::Have(Bytes::from_static(&[7; 8]))], Protocol),
        say("more digests than announced", vec![accept(1), have(2)], Protocol),
        say("digests that were not announced", vec![accept(1), have(1), have(1)], Protocol),
        say("fewer digests than announced", vec![accept(2), have(1), again(0)], Protocol),
        say("AGAIN of a block that is not there", vec![accept(0), again(3)], Protocol),
        say("AGAIN beyond all numbers", vec![accept(0), again(u64::MAX)], Protocol),
        say("AGAIN at once", [vec![accept(0)], vec![again(0); 5000]].concat(), Protocol),
        say("KEEP", vec![keep(0, 1)], Protocol),
        say("FILE", vec![file(3).into()], Protocol),
        say("DATA", vec![data(SMALL)], Protocol),
        say("DONE", vec![done(SMALL).into()], Protocol),
        say("CANCEL", vec![accept(0), Message::Cancel], Cancelled),
        say("silence", Vec::new(), TimedOut),
        say("silence after ACCEPT", vec![accept(0)], TimedOut),
        say("a digest less than announced", vec![accept(2), have(1)], TimedOut),
        raw("an unknown kind", forged(0, 99, 1, b"")),
        raw("noise", pattern(5000)),
    ];
    for n in 0..2 {
        let steps = [accept(0)][..n].to_vec();
        lies.push(then(say("a close in between", steps, Unavailable), Action::Close));
    }
    lies
}

#[tokio::test]
async fn no_receiver_makes_a_put_succeed() {
    let content = pattern(2 * BLOCK_LEN + 9);
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("source");
    fs::write(&source, &content).unwrap();
    for lie in lies_of_a_receiver(&content) {
        let (_server, mut client) = met_by(&lie).await;
        assert_found(&lie, client.put_file(&source, &target("x"), &TransferOptions::default()).await);
    }
    assert_eq!(fs::read(&source).unwrap(), content);
}

/// Answers DONE with this.
async fn put_answered(answer: impl Fn(u64) -> Vec<Message> + Send + 'static) -> Status {
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("source");
    fs::write(&source, SMALL).unwrap();
    let mut asked = 0;
    let server = HostileServer::start(move |op, message| match message {
        Message::Done(_) | Message::Data(_) => {
            asked += 1;
            answer(asked).into_iter().map(|message| Action::Send(op, message)).collect()
        }
        _ => Vec::new(),
    })
    .await;
    let mut client = builder(server.address(), server.fingerprint(), PATIENCE).build().unwrap();
    client.put_file(&source, &target("x"), &TransferOptions::default()).await.unwrap_err().status()
}

#[tokio::test]
async fn a_receiver_that_asks_again_for_ever_is_left() {
    assert_eq!(put_answered(|_| vec![Again { file: 0, block: 0 }.into()]).await, Status::Protocol);
}

#[tokio::test]
async fn a_result_that_differs_is_a_mismatch_and_one_elsewhere_is_refused() {
    let result = |digest: &[u8], path: &[u8]| {
        let result = FileResult { file: 0, digest: digest.to_vec(), path: path.to_vec() };
        move |asked| if asked == 2 { vec![result.clone().into()] } else { Vec::new() }
    };
    let good = proof(SMALL);
    assert_eq!(put_answered(result(&[7; 16], b"x")).await, Status::Mismatch);
    for (digest, path) in [
        (&b"short"[..], &b"x"[..]),
        (good.as_bytes(), b"../x"),
        (good.as_bytes(), b"/x"),
        (good.as_bytes(), b"x\0y"),
    ] {
        assert_eq!(put_answered(result(digest, path)).await, Status::Protocol, "{path:?}");
    }
}

#[tokio::test]
async fn no_listing_leads_elsewhere() {
    let entry = |name: &[u8]| Message::from(Entry { name: name.to_vec(), kind: 1, ..Entry::default() });
    let staging = ft_protocol::path::staging_name([7; 16]);
    let long = [b'a'; 256];
    let named: [&[u8]; 9] = [b"", b".", b"..", b"../x", b"/etc", b"a/b", b"nul\0", staging.as_bytes(), &long];
    let mut lies: Vec<Lie> =
        named.iter().map(|name| say("a name", vec![entry(name), end(OK, "")], Status::Protocol)).collect();
    let odd = |change: fn(&mut Entry)| {
        let mut entry = Entry { name: b"a".to_vec(), kind: 1, ..Entry::default() };
        change(&mut entry);
        vec![entry.into(), end(OK, "")]
    };
    lies.extend([
        say("out of order", vec![entry(b"b"), entry(b"a"), end(OK, "")], Status::Protocol),
        say("twice", vec![entry(b"a"), entry(b"a"), end(OK, "")], Status::Protocol),
        say("too many nanoseconds", odd(|entry| entry.mtime_nanos = u32::MAX), Status::Protocol),
        say("no kind", odd(|entry| entry.kind = 0), Status::Protocol),
        say("kind 99", odd(|entry| entry.kind = 99), Status::Protocol),
        say("FILE", vec![file(3).into()], Status::Protocol),
        say("CANCEL", vec![Message::Cancel], Status::Protocol),
        say("silence", vec![entry(b"a")], Status::TimedOut),
        then(say("a close", vec![entry(b"a")], Status::Unavailable), Action::Close),
    ]);
    for lie in &lies {
        let (_server, mut client) = met_by(lie).await;
        assert_found(lie, client.list(&remote("")).await);
    }
}

#[tokio::test]
async fn no_digest_is_made_up_of_nothing() {
    let digest = |digest: &[u8], earlier: &[u8]| {
        Message::from(Digest { digest: digest.to_vec(), size: 1, earlier: earlier.to_vec() })
    };
    for lie in [
        say("none", vec![end(OK, "")], Status::Protocol),
        say("only progress", vec![digest(b"", b""), end(OK, "")], Status::Protocol),
        say("5 bytes", vec![digest(b"short", b""), end(OK, "")], Status::Protocol),
        say("another algorithm", vec![digest(&[7; 32], b""), end(OK, "")], Status::Protocol),
        say("5 bytes remembered", vec![digest(&[7; 16], b"short"), end(OK, "")], Status::Protocol),
        say("twice", vec![digest(&[7; 16], b""), digest(&[7; 16], b""), end(OK, "")], Status::Protocol),
        say("ENTRY", vec![Entry::default().into()], Status::Protocol),
        say("silence", vec![digest(b"", b"")], Status::TimedOut),
    ] {
        let (_server, mut client) = met_by(&lie).await;
        assert_found(&lie, client.sum(&remote("x"), Algorithm::Md5, false).await);
    }
}

#[tokio::test]
async fn a_login_has_one_answer() {
    let [hello, granted] = welcome().try_into().unwrap_or_else(|_| panic!("HELLO and WELCOME"));
    let entry = Action::Send(1, Entry { kind: 1, ..Entry::default() }.into());
    let over = |status: Status| Action::Send(0, end(status as u32, "go \u{1b}[2J away\n"));
    for (name, greeting, expected) in [
        ("WELCOME first", vec![granted.clone()], Status::Protocol),
        ("HELLO twice", vec![hello.clone(), hello.clone()], Status::Protocol),
        ("WELCOME twice", vec![hello.clone(), granted.clone(), granted.clone()], Status::Protocol),
        ("HELLO after WELCOME", vec![hello.clone(), granted.clone(), hello.clone()], Status::Protocol),
        ("an answer without HELLO", vec![entry.clone()], Status::Protocol),
        ("an answer without WELCOME", vec![hello.clone(), entry], Status::Protocol),
        ("a refusal", vec![hello.clone(), over(Status::AuthFailed)], Status::AuthFailed),
        ("an end without a reason", vec![hello.clone(), over(Status::Ok)], Status::Unavailable),
        ("a large HELLO", vec![Action::Raw(forged(8193, 1, 0, b""))], Status::Protocol),
        ("a close", vec![Action::Close], Status::Unavailable),
        ("a close after HELLO", vec![hello.clone(), Action::Close], Status::Unavailable),
        ("silence", vec![Action::Stall], Status::TimedOut),
        ("silence after HELLO", vec![hello, Action::Stall], Status::TimedOut),
    ] {
        let lie = Lie { name, actions: Vec::new(), expected };
        let server = HostileServer::start_with(greeting, |_, _| Vec::new()).await;
        let patience = if expected == Status::TimedOut { BRIEF } else { PATIENCE };
        let mut client = builder(server.address(), server.fingerprint(), patience).build().unwrap();
        assert_found(&lie, client.stat(&remote("")).await);
    }
}
