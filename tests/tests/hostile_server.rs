//! A server that lies: its client reports an error, and nothing but what was asked for, complete and proven,
//! ever stands on this side.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, reason = "not every test needs all of it")]
mod common;

use std::fs;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::{builder, local, names, remote, target};
use ft_protocol::Status;
use ft_protocol::digest::Algorithm;
use ft_protocol::wire::message::{
    Accept, Again, Block, Digest, Done, End, Entry, File, FileResult, Hello, Keep, Welcome,
};
use ft_protocol::wire::{BLOCK_LEN, Message};
use ft_tests::content::{blocks, done, file, pattern, proof};
use ft_tests::hostile::{Action, HostileServer, welcome};
use ft_tests::peer::forged;
use ftclient::client::Result;
use ftclient::{Client, TransferOptions};

/// Nothing of this ends by time, except where that is the point.
const PATIENCE: Duration = Duration::from_secs(60);
const BRIEF: Duration = Duration::from_secs(1);

/// What a server does, and the error that it must be.
struct Lie {
    name: &'static str,
    actions: Vec<Action>,
    expected: Status,
}

/// In operation 1.
fn say(name: &'static str, messages: Vec<Message>, expected: Status) -> Lie {
    Lie { name, actions: messages.into_iter().map(|message| Action::Send(1, message)).collect(), expected }
}

fn then(mut lie: Lie, action: Action) -> Lie {
    lie.actions.push(action);
    lie
}

fn raw(name: &'static str, bytes: Vec<u8>) -> Lie {
    Lie { name, actions: vec![Action::Raw(bytes)], expected: Status::Protocol }
}

fn block(number: u64, digest: &[u8], last: bool) -> Message {
    Block { file: 0, block: number, digest: digest.to_vec(), last }.into()
}

fn data(bytes: &[u8]) -> Message {
    Message::Data(Bytes::copy_from_slice(bytes))
}

fn keep(first: u64, count: u64) -> Message {
    Keep { file: 0, first, count }.into()
}

fn end(status: u32, message: &str) -> Message {
    End { status, message: message.into() }.into()
}

const OK: u32 = 0;
const SMALL: &[u8] = b"a file of one block";

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

/// Starts the server, which says its lie after the first request, and its client.
async fn met_by(lie: &Lie) -> (HostileServer, Client) {
    let mut actions = Some(lie.actions.clone());
    let server = HostileServer::start(move |_, _| actions.take().unwrap_or_default()).await;
    let patience = if lie.expected == Status::TimedOut { BRIEF } else { PATIENCE };
    let client = builder(server.address(), server.fingerprint(), patience).build().unwrap();
    (server, client)
}

fn assert_found<T: std::fmt::Debug>(lie: &Lie, outcome: Result<T>) {
    let error = outcome.expect_err(lie.name);
    assert_eq!(error.status(), lie.expected, "{}: {error}", lie.name);
    let text = error.to_string();
    assert!(!text.contains(['\u{1b}', '\n']), "{}: {text:?}", lie.name);
    // The cap of END, escaped.
    assert!(text.len() < 100_000, "{}: {} bytes", lie.name, text.len());
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

/// A line of proc_pid_status(5) of this process, in bytes.
fn memory(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':')).unwrap();
    found.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
