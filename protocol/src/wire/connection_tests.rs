use std::collections::HashSet;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;

use super::*;
use crate::error::Status;
use crate::wire::message::{self, *};
use crate::wire::sender::encode;

/// Every kind of message but ALIVE, which a receiver swallows.
fn samples() -> Vec<(u32, Message)> {
    let bytes = |len: usize| vec![7; len];
    let all: Vec<Message> = vec![
        Hello { software: "x".into(), features: 0, run: bytes(16), slot: 300 }.into(),
        AuthKey { user: bytes(3), key: bytes(51), signature: bytes(180) }.into(),
        AuthPassword { user: bytes(3), password: bytes(9) }.into(),
        AuthInvite { user: bytes(3), secret: bytes(32), key: bytes(51), signature: bytes(180) }.into(),
        Welcome { rights: 63 }.into(),
        End { status: 3, message: "nothing there".into() }.into(),
        Message::Cancel,
        Get { path: b"a/b".to_vec(), digest: 1 }.into(),
        Put {
            path: b"a".to_vec(),
            name: b"b".to_vec(),
            digest: 3,
            into: true,
            again: true,
            ..Put::default()
        }
        .into(),
        List { path: bytes(2) }.into(),
        Stat { path: vec![], no_follow: true }.into(),
        Sum { path: bytes(2), digest: 2, fresh: true }.into(),
        MakeDir { path: bytes(2), parents: true }.into(),
        Remove { path: bytes(2), recursive: true }.into(),
        Rename { from: bytes(2), to: bytes(3), no_clobber: true }.into(),
        Entry { name: bytes(4), kind: 1, size: 1 << 40, mtime: -1, mtime_nanos: 5, ..Entry::default() }
            .into(),
        Digest { digest: bytes(16), size: 9, earlier: bytes(16) }.into(),
        File { size: 1 << 33, mtime: 1_800_000_000, mode: 0o644, ..File::default() }.into(),
        Accept { file: 0, have: 77 }.into(),
        Message::Have(Bytes::from(bytes(32))),
        message::Block { file: 0, block: 1, digest: bytes(16), last: true }.into(),
        Message::Data(Bytes::from(bytes(300))),
        Keep { file: 0, first: 5, count: 64 }.into(),
        Done { file: 0, size: 3, digest: bytes(16), whole: bytes(32), grew: true }.into(),
        Again { file: 0, block: 4 }.into(),
        FileResult { file: 0, digest: bytes(16), path: bytes(9) }.into(),
        Exec { argv: b"df\0-h\0".to_vec(), env: b"A=b\0".to_vec(), tty: true, rows: 24, ..Exec::default() }
            .into(),
        Message::Started,
        Message::Stdin(Bytes::from(bytes(300))),
        Message::Stdout(Bytes::from(bytes(300))),
        Message::Stderr(Bytes::from(bytes(300))),
        Credit { stream: 1, bytes: 1 << 17 }.into(),
        Resize { rows: 24, columns: 80 }.into(),
        Exit { status: 255, signal: 0 }.into(),
        TreeGet {
            path: bytes(3),
            digest: 1,
            rules: b"-*.o\0+a\0".to_vec(),
            hashes: true,
            names: true,
            dry_run: true,
        }
        .into(),
        TreePut { path: bytes(3), digest: 3, max_delete: u64::MAX, backup: bytes(4), ..TreePut::default() }
            .into(),
        Node { depth: 1, name: bytes(9), kind: 3, mtime: -1, target: bytes(40), ..Node::default() }.into(),
        Walked { complete: true }.into(),
        Piece { file: 300, size: 1 << 20, digest: bytes(16), grew: true }.into(),
        Message::Pack(Bytes::from(bytes(300))),
        Pass { upto: 300 }.into(),
        NodeResult { status: 3, message: "gone".into(), path: bytes(9), kind: 4, ..NodeResult::default() }
            .into(),
        Message::Names(Bytes::from_static(b"a\0b/c\0")),
        // Some without a body between others.
        Message::Data(Bytes::new()),
        Message::Pack(Bytes::new()),
        Message::Names(Bytes::new()),
    ];
    assert_eq!(all.iter().map(Message::kind).collect::<HashSet<_>>().len(), Kind::ALL.len() - 1);
    (1..).zip(all).collect()
}

fn wire(messages: &[(u32, Message)]) -> Vec<u8> {
    let mut out = BytesMut::from(&frame::preface()[..]);
    for (op, message) in messages {
        message.encode(*op, &mut out);
    }
    out.to_vec()
}

async fn read_all<R: AsyncRead + Unpin>(io: R, count: usize) -> Vec<(u32, Message)> {
    let mut rx = Receiver::new(io, Activity::default());
    rx.logged_in();
    let mut seen = Vec::new();
    for _ in 0..count {
        seen.push(rx.next().await.unwrap());
    }
    seen
}

#[tokio::test]
async fn glued_into_one_read_every_message_comes_out_alone() {
    let all = samples();
    assert_eq!(read_all(&wire(&all)[..], all.len()).await, all);
}

#[tokio::test]
async fn cut_at_every_byte_every_message_comes_out_whole() {
    let all = samples();
    let bytes = wire(&all);
    for cut in 0..=bytes.len() {
        let (first, second) = bytes.split_at(cut);
        assert_eq!(read_all(first.chain(second), all.len()).await, all, "cut at {cut}");
    }
}

#[tokio::test]
async fn a_message_survives_a_pipe_of_one_byte_and_a_reader_that_gives_up_at_every_await() {
    let all = samples();
    let bytes = wire(&all);
    let (mut a, b) = tokio::io::duplex(1);
    let feed = tokio::spawn(async move {
        a.write_all(&bytes).await.unwrap();
        a
    });
    let mut rx = Receiver::new(b, Activity::default());
    rx.logged_in();
    let mut seen = Vec::new();
    while seen.len() < all.len() {
        tokio::select! {
            biased;
            message = rx.next() => seen.push(message.unwrap()),
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(seen, all);
    drop(feed.await.unwrap());
}

#[tokio::test]
async fn every_truncation_is_an_error_never_a_message() {
    let all = samples();
    let bytes = wire(&all[..1]);
    for cut in 0..bytes.len() {
        let mut rx = Receiver::new(&bytes[..cut], Activity::default());
        assert_eq!(rx.next().await.unwrap_err().status(), Status::Unavailable, "cut at {cut}");
    }
}

#[tokio::test]
async fn a_claimed_gigabyte_is_refused_unread() {
    let mut bytes = wire(&[]);
    bytes.extend_from_slice(&[0x40, 0, 0, 0, Kind::Get as u8, 0, 0, 0, 1]);
    let mut rx = Receiver::new(&bytes[..], Activity::default());
    assert_eq!(rx.next().await.unwrap_err().status(), Status::Protocol);
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_given_up_after_45_seconds_and_alive_prevents_it() {
    let (a, b) = tokio::io::duplex(1024);
    let mut silent = Connection::new(a);
    let start = Instant::now();
    let error = silent.rx.next().await.unwrap_err();
    assert_eq!(error.status(), Status::TimedOut);
    assert_eq!(start.elapsed().as_secs(), 45);
    drop((silent, b));

    let (a, b) = tokio::io::duplex(1024);
    let (mut waiting, other) = (Connection::new(a), Connection::new(b));
    assert!(
        timeout(Duration::from_secs(600), waiting.rx.next()).await.is_err(),
        "still waiting, still alive"
    );
    drop(other);
}

#[tokio::test]
async fn a_flood_of_alive_ends_the_connection() {
    let mut bytes = wire(&[]);
    for _ in 0..100_000 {
        bytes.extend_from_slice(&encode(0, &Message::Alive));
    }
    let mut rx = Receiver::new(&bytes[..], Activity::default());
    assert_eq!(rx.next().await.unwrap_err().status(), Status::Protocol);
}
