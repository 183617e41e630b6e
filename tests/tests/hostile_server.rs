//! A server that lies while it sends: its client reports an error, and nothing but what was asked for, complete
//! and proven, ever stands on this side.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, reason = "not every test needs all of it")]
mod common;

use std::fs;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::lies::{Lie, OK, PATIENCE, SMALL, assert_found, block, data, end, keep, met_by, raw, say, then};
use common::{builder, local, names, remote};
use ft_protocol::Status;
use ft_protocol::wire::message::{
    Accept, Again, Block, Digest, Done, Entry, File, FileResult, Hello, Welcome,
};
use ft_protocol::wire::{BLOCK_LEN, Message};
use ft_tests::content::{blocks, done, file, pattern, proof};
use ft_tests::hostile::{Action, HostileServer};
use ft_tests::peer::forged;
use ftclient::TransferOptions;

/// A whole transfer of [`SMALL`] with some of its messages replaced.
fn small(messages: impl IntoIterator<Item = Message>) -> Vec<Message> {
    [Message::from(file(SMALL.len() as u64))].into_iter().chain(messages).collect()
}

/// Answers to GET.
fn lies_of_a_sender() -> Vec<Lie> {
    use Status::{Cancelled, Failed, Mismatch, NotFound, Protocol, TimedOut, Unavailable};
    let hash = proof(SMALL).to_vec();
    let whole = || vec![block(0, &hash, true), data(SMALL)];
    let large = pattern(2 * BLOCK_LEN + 9);
    let three = || [vec![Message::from(file(large.len() as u64))], blocks(&large)].concat();
    let sized =
        |size| vec![Message::from(file(size)), block(0, &hash, true), data(SMALL), done(SMALL).into()];
    let wrong = || vec![block(0, &[7; 16], true), data(SMALL)];
    let short = || vec![block(0, b"short", true), data(SMALL)];
    let of_three =
        |messages: Vec<Message>| [vec![Message::from(file(large.len() as u64))], messages].concat();
    let with = |change: fn(&mut File)| {
        let mut file = file(SMALL.len() as u64);
        change(&mut file);
        vec![file.into(), block(0, &hash, true), data(SMALL), done(SMALL).into()]
    };
    let finish = |change: fn(&mut Done)| {
        let mut done = done(SMALL);
        change(&mut done);
        small([whole(), vec![done.into()]].concat())
    };
    let mut lies = vec![
        say(
            "a block damaged again and again",
            small([wrong(), wrong(), wrong(), wrong()].concat()),
            Mismatch,
        ),
        say("a digest of 5 bytes", small([short(), short(), short(), short()].concat()), Mismatch),
        say("another proof", finish(|done| done.digest = vec![7; 16]), Mismatch),
        say("no proof", finish(|done| done.digest = Vec::new()), Mismatch),
        say("DONE of another size", finish(|done| done.size += 1), Protocol),
        say("DONE of all bytes there are", finish(|done| done.size = u64::MAX), Protocol),
        say("DONE of another file", finish(|done| done.file = 1), Protocol),
        say("a SHA-256 not asked for", finish(|done| done.whole = vec![7; 32]), Protocol),
        say("a larger size", sized(SMALL.len() as u64 + 1), Protocol),
        say("a smaller size", sized(SMALL.len() as u64 - 1), Protocol),
        say("no size at all", sized(0), Protocol),
        say("all bytes there are", sized(u64::MAX), Protocol),
        say("as many as a file can have", sized(i64::MAX as u64), Protocol),
        say("the second block first", small([block(1, &hash, true), data(SMALL)]), Protocol),
        say("a block beyond all numbers", small([block(u64::MAX, &hash, true), data(SMALL)]), Protocol),
        say("a block of another file", small([Block { file: 1, ..Block::default() }.into()]), Protocol),
        say("a block twice", [three()[..3].to_vec(), three()[1..3].to_vec()].concat(), Protocol),
        say("a block left out", [three()[..3].to_vec(), three()[5..].to_vec()].concat(), Protocol),
        say("a block after the last", [three(), vec![block(3, &hash, true), data(SMALL)]].concat(), Protocol),
        say("DATA without BLOCK", small([data(SMALL)]), Protocol),
        say("BLOCK without DATA", small([block(0, &hash, true), done(SMALL).into()]), Protocol),
        say("BLOCK and BLOCK", small([block(0, &hash, true), block(0, &hash, true)]), Protocol),
        say("empty DATA", small([block(0, &hash, true), data(b"")]), Protocol),
        say("the last block not called last", small([block(0, &hash, false), data(SMALL)]), Protocol),
        say(
            "the first of three called last",
            of_three(vec![block(0, &hash, true), data(&large[..BLOCK_LEN])]),
            Protocol,
        ),
        say("a short block in the middle", of_three(vec![block(0, &hash, false), data(SMALL)]), Protocol),
        say("KEEP of what is not here", of_three(vec![keep(0, 1)]), Protocol),
        say("KEEP of everything", of_three(vec![keep(0, 3), done(&large).into()]), Protocol),
        say("KEEP of nothing", of_three(vec![keep(0, 0)]), Protocol),
        say("KEEP without end", of_three(vec![keep(0, u64::MAX)]), Protocol),
        say("KEEP beyond all numbers", of_three(vec![keep(u64::MAX, u64::MAX)]), Protocol),
        say("DONE before the content", small([done(SMALL).into()]), Protocol),
        say("DONE in the middle", [three()[..3].to_vec(), vec![done(&large).into()]].concat(), Protocol),
        say("DONE twice", [small(wrong()), vec![done(SMALL).into(), done(SMALL).into()]].concat(), Protocol),
        say("FILE twice", small([file(SMALL.len() as u64).into()]), Protocol),
        say("a pipe", with(|file| file.unsized_ = true), Protocol),
        say("another number of the file", with(|file| file.file = 1), Protocol),
        say("too many nanoseconds", with(|file| file.mtime_nanos = 1_000_000_000), Protocol),
        say("a remembered digest of 5 bytes", with(|file| file.known = b"short".to_vec()), Protocol),
        say("a remembered digest that it does not stand by", with(|file| file.known = vec![7; 16]), TimedOut),
        say("content without FILE", whole(), Protocol),
        say("ENTRY", vec![Entry { kind: 1, ..Entry::default() }.into()], Protocol),
        say("ACCEPT", small([Accept { file: 0, have: 0 }.into()]), Protocol),
        say("HAVE", small([Message::Have(Bytes::from_static(&[0; 16]))]), Protocol),
        say("AGAIN", small([Again { file: 0, block: 0 }.into()]), Protocol),
        say(
            "FILE_RESULT",
            small([FileResult { file: 0, digest: hash.clone(), path: vec![] }.into()]),
            Protocol,
        ),
        say("END at once", vec![end(OK, "")], Protocol),
        say("END before the content", small([end(OK, "done")]), Protocol),
        say("END in a block", small([block(0, &hash, true), end(OK, "")]), Protocol),
        say("END before DONE", small([whole(), vec![end(OK, "")]].concat()), Protocol),
        say("END of a status to come", small([end(9999, "?")]), Failed),
        say("END with a long text", vec![end(3, &"x\u{1b}]0;\n".repeat(2000))], NotFound),
        say("CANCEL", small([Message::Cancel]), Cancelled),
        say("silence", Vec::new(), TimedOut),
        say("silence in a block", small([block(0, &hash, true)]), TimedOut),
        say("silence before DONE", small(whole()), TimedOut),
        raw("an unknown kind", forged(0, 99, 1, b"")),
        raw("a block above the cap", forged(BLOCK_LEN as u32 + 1, 52, 1, b"")),
        raw("a length without end", forged(u32::MAX, 7, 1, b"")),
        raw("a body that is no message", forged(3, 48, 1, b"\xff\xff\xff")),
        raw("signs of life without end", forged(0, 6, 0, b"").repeat(1000)),
        raw("a sign of life of an operation", forged(0, 6, 1, b"")),
        raw("noise", pattern(5000)),
    ];
    for (name, message) in [
        ("WELCOME again", Message::from(Welcome { rights: 63 })),
        ("HELLO again", Hello::default().into()),
        ("content outside of an operation", data(SMALL)),
    ] {
        lies.push(Lie { name, actions: vec![Action::Send(0, message)], expected: Protocol });
    }
    let later = Action::Send(7, file(SMALL.len() as u64).into());
    lies.push(Lie { name: "an operation to come", actions: vec![later], expected: Protocol });
    let over = Action::Send(0, end(OK, ""));
    lies.push(Lie { name: "the end of the session", actions: vec![over], expected: Unavailable });
    let steps = small(whole());
    for n in 0..=steps.len() {
        lies.push(then(say("a close in between", steps[..n].to_vec(), Unavailable), Action::Close));
    }
    let cut = Action::Raw(forged(500, 52, 1, b"half"));
    lies.push(then(then(say("a close in a frame", steps[..2].to_vec(), Unavailable), cut), Action::Close));
    lies
}

#[derive(Clone, Default)]
struct Taken(Arc<Mutex<Vec<u8>>>);

impl Write for Taken {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_sender_gets_anything_else_in() {
    let before = memory("VmRSS");
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("dir");
    fs::create_dir(&dir).unwrap();
    fs::write(place.path().join("canary"), "sings").unwrap();
    fs::write(dir.join("old"), "what stood here").unwrap();
    for lie in lies_of_a_sender() {
        for name in ["new", "old"] {
            let (_server, mut client) = met_by(&lie).await;
            let options = TransferOptions::default();
            let got = client.get_file(&remote("x"), &local(&dir, name), &options).await;
            assert_found(&lie, got);
            assert_eq!(fs::read(dir.join("old")).unwrap(), b"what stood here", "{}", lie.name);
            assert!(!dir.join("new").exists(), "{}", lie.name);
        }
    }
    assert_eq!(fs::read(place.path().join("canary")).unwrap(), b"sings");
    assert_eq!(names(place.path()), ["canary", "dir"]);
    let grown = memory("VmHWM").saturating_sub(before);
    assert!(grown < 96 << 20, "{} MiB", grown >> 20);
}

#[tokio::test]
async fn no_sender_makes_a_stream_succeed() {
    for lie in lies_of_a_sender() {
        let (_server, mut client) = met_by(&lie).await;
        let taken = Taken::default();
        assert_found(&lie, client.get_to(&remote("x"), taken.clone(), &TransferOptions::default()).await);
        let taken = taken.0.lock().unwrap();
        let proven = SMALL.starts_with(&taken) || pattern(2 * BLOCK_LEN + 9).starts_with(&taken);
        assert!(proven, "{}: unproven bytes were written", lie.name);
    }
}

#[tokio::test]
async fn a_remembered_digest_that_differs_is_a_mismatch() {
    let place = tempfile::tempdir().unwrap();
    let server = HostileServer::start(|op, message| match message {
        Message::Get(_) => {
            let mut all = vec![Message::from(File { known: vec![7; 16], ..file(SMALL.len() as u64) })];
            all.extend(blocks(SMALL));
            all.push(done(SMALL).into());
            all.into_iter().map(|message| Action::Send(op, message)).collect()
        }
        Message::Sum(_) => {
            let digest = Digest { digest: vec![7; 16], size: 1, earlier: Vec::new() };
            vec![Action::Send(op, digest.into()), Action::Send(op, end(OK, ""))]
        }
        _ => Vec::new(),
    })
    .await;
    let mut client = builder(server.address(), server.fingerprint(), PATIENCE).build().unwrap();
    let got = client.get_file(&remote("x"), &local(place.path(), "x"), &TransferOptions::default()).await;
    assert_eq!(got.unwrap_err().status(), Status::Mismatch);
    assert!(names(place.path()).is_empty());
}

/// A line of proc_pid_status(5) of this process, in bytes.
fn memory(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':')).unwrap();
    found.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
