//! What the fuzz targets call: plain functions that panic where the protocol crate breaks a promise.
//!
//! `protocol/tests/fuzz_functions.rs` includes this file and runs them on stable, memory counted.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use ft_protocol::auth::{Binding, Fingerprint, JoinString, Rights};
use ft_protocol::digest::{Algorithm, Hash};
use ft_protocol::path::is_staging_name;
use ft_protocol::tree::Action;
use ft_protocol::wire::frame::{HEADER_LEN, PREFACE_LEN, preface};
use ft_protocol::wire::sender::encode;
use ft_protocol::wire::{Connection, Kind, Message};
use ft_protocol::{RemotePath, Status};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A byte stream as a peer may send it. Bit 0 of the first byte: logged in; bit 1: the preface is part of the
/// stream; the other bits plus one: bytes that arrive at once, 64 meaning all.
///
/// The messages that come out must be the ones that are in it, whole and in order, wherever it is cut. Gives
/// their number, signs of life not counted.
pub fn frames(input: &[u8]) -> usize {
    let Some((how, rest)) = input.split_first() else { return 0 };
    let mut stream = Vec::with_capacity(PREFACE_LEN + rest.len());
    if how & 2 == 0 {
        stream.extend_from_slice(&preface());
    }
    stream.extend_from_slice(rest);
    let step = match how >> 2 {
        63 => usize::MAX,
        step => usize::from(step) + 1,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime without threads").block_on(read_all(stream, step, is_logged_in(input)))
}

/// Whether [`frames`] reads this input with the caps that apply after login.
pub fn is_logged_in(input: &[u8]) -> bool {
    input.first().is_some_and(|how| how & 1 == 1)
}

async fn read_all(stream: Vec<u8>, step: usize, logged_in: bool) -> usize {
    let peer = Peer { stream: Bytes::from(stream), at: 0, step };
    let mut expected = peer.stream.slice(PREFACE_LEN.min(peer.stream.len())..);
    let mut conn = Connection::new(peer);
    if logged_in {
        conn.rx.logged_in();
    }
    let alive = encode(0, &Message::Alive);
    let mut count = 0;
    while let Ok((op, message)) = conn.rx.next().await {
        while expected.starts_with(&alive) {
            expected = expected.slice(HEADER_LEN..);
        }
        assert!(message.kind() != Kind::Alive, "signs of life are swallowed");
        expected = after(op, &message, &expected);
        count += 1;
    }
    count
}

/// Checks that `bytes` begin with this message; gives what follows.
fn after(op: u32, message: &Message, bytes: &Bytes) -> Bytes {
    match message {
        // Compared without a copy, so that the memory counted is that of the receiver.
        Message::Data(body)
        | Message::Have(body)
        | Message::Pack(body)
        | Message::Names(body)
        | Message::Stdin(body)
        | Message::Stdout(body)
        | Message::Stderr(body) => {
            let end = HEADER_LEN + body.len();
            let header = [&(body.len() as u32).to_be_bytes()[..], &[message.kind() as u8], &op.to_be_bytes()];
            assert_eq!(bytes.get(..HEADER_LEN), Some(&header.concat()[..]));
            assert!(bytes.get(HEADER_LEN..end) == Some(&body[..]), "the body is the one that was sent");
            bytes.slice(end..)
        }
        _ => {
            let frame = encode(op, message);
            assert!(bytes.starts_with(&frame), "{message:?} does not encode to what was read");
            bytes.slice(frame.len()..)
        }
    }
}

/// A peer that sends `stream` in steps, closes, and takes everything.
struct Peer {
    stream: Bytes,
    at: usize,
    step: usize,
}

impl AsyncRead for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = self.stream.get(self.at..).unwrap_or_default();
        let now = rest.len().min(self.step).min(room.remaining());
        room.put_slice(rest.get(..now).unwrap_or_default());
        self.at += now;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A kind and the body of one message: what is accepted encodes to exactly what was read.
pub fn message(input: &[u8]) {
    let Some((code, body)) = input.split_first() else { return };
    let Ok(kind) = Kind::from_wire(*code) else { return };
    if body.len() as u64 > u64::from(kind.cap(true)) {
        return;
    }
    let Ok(message) = Message::decode(kind, Bytes::copy_from_slice(body)) else { return };
    assert_eq!(message.kind(), kind);
    let mut frame = BytesMut::new();
    message.encode(7, &mut frame);
    assert_eq!(frame.get(HEADER_LEN..), Some(body), "{message:?} was read from another body");
    known_numbers(&message);
}

/// Numbers and digests in a message never make their readers panic, and name themselves again.
fn known_numbers(message: &Message) {
    match message {
        Message::End(end) => {
            let status = Status::from_wire(end.status);
            assert!(status as u32 == end.status || status == Status::Failed);
        }
        Message::Welcome(welcome) => {
            assert_eq!(Rights::from_bits(welcome.rights).bits(), welcome.rights & 63);
        }
        Message::Get(get) => known_algorithm(get.digest),
        Message::Put(put) => known_algorithm(put.digest),
        Message::Sum(sum) => known_algorithm(sum.digest),
        Message::Block(block) => known_digest(&block.digest),
        Message::Done(done) => known_digest(&done.digest),
        Message::FileResult(result) => known_digest(&result.digest),
        Message::TreeGet(get) => known_algorithm(get.digest),
        Message::TreePut(put) => known_algorithm(put.digest),
        Message::Node(node) => known_digest(&node.digest),
        Message::Piece(piece) => known_digest(&piece.digest),
        Message::NodeResult(result) => {
            known_digest(&result.digest);
            if let Ok(action) = Action::from_wire(result.action) {
                assert_eq!(action as u32, result.action);
            }
        }
        _ => {}
    }
}

fn known_algorithm(code: u32) {
    if let Ok(algorithm) = Algorithm::from_wire(code) {
        assert_eq!(algorithm as u32, code);
    }
}

fn known_digest(bytes: &[u8]) {
    if let Ok(hash) = Hash::from_wire(bytes) {
        assert_eq!(hash.as_bytes(), bytes);
    }
}

/// A path from the wire: what is accepted is unchanged and names something beneath the root.
pub fn remote_path(input: &[u8]) {
    if let Ok(path) = RemotePath::from_wire(input) {
        assert_eq!(path.as_bytes(), input, "nothing is repaired");
        assert!(input.len() <= 4096 && !input.contains(&0));
        let names: Vec<&[u8]> = path.components().collect();
        assert_eq!(names.join(&b'/'), input);
        assert!(names.len() <= 1024);
        for name in &names {
            assert!(!matches!(*name, b"" | b"." | b"..") && name.len() <= 255 && !is_staging_name(name));
        }
        match path.split_last() {
            Some((parent, name)) => assert_eq!(parent.join(name).ok().as_ref(), Some(&path)),
            None => assert!(path.is_root() && input.is_empty()),
        }
    }
    if let Ok(path) = RemotePath::from_typed(input) {
        let again = RemotePath::from_wire(path.as_bytes());
        assert_eq!(again.ok(), Some(path), "what was typed is tidied into what the wire accepts");
    }
    let shown = ft_protocol::display::Escaped::new(input).to_string();
    assert!(!shown.chars().any(char::is_control), "one line stays one line");
}

/// A join string as a person pastes it: what is accepted prints as it was read.
pub fn join_string(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match text.parse::<JoinString>() {
        Ok(join) => assert_eq!(join.to_string(), text.trim()),
        Err(error) => assert!(!error.to_string().chars().any(char::is_control)),
    }
    if let Ok(fingerprint) = text.parse::<Fingerprint>() {
        assert_eq!(fingerprint.to_string(), text);
    }
}

/// Public key and signature of a login: the first byte is the length of the key. Nothing made up verifies.
pub fn login(input: &[u8]) {
    let Some((key_len, rest)) = input.split_first() else { return };
    let Some((key, signature)) = rest.split_at_checked(usize::from(*key_len)) else { return };
    let binding = Binding { exporter: [0x5a; 32], server: Fingerprint::from_bytes([0xa5; 32]) };
    assert!(binding.verify(b"nobody", key, signature).is_err());
}
