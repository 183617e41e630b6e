//! The functions of the fuzz targets, on stable and with memory counted. `tests/fuzz/` has the targets.
#![allow(missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../tests/fuzz/src/lib.rs"]
mod functions;

use bytes::BytesMut;
use ft_protocol::RemotePath;
use ft_protocol::auth::{Fingerprint, JoinString};
use ft_protocol::wire::buffer::HEADROOM;
use ft_protocol::wire::frame::{HEADER_LEN, Header};
use ft_protocol::wire::message::{
    Block, Done, End, Entry, Exec, File, Get, Hello, Node, NodeResult, Pass, Piece, Put, TreeGet, TreePut,
    Walked,
};
use ft_protocol::wire::{BLOCK_LEN, Kind, Message};
use peak_alloc::PeakAlloc;
use proptest::collection::vec;
use proptest::prelude::*;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Memory is counted for the whole process, and making up input takes memory too, as does starting a test. So
/// this is the only test, and it does one thing after the other; a panic names the line that failed.
#[test]
fn everything_in_turn() {
    streams_come_out_as_they_went_in_in_bounded_memory();
    damaged_streams_are_refused_in_bounded_memory();
    noise_is_refused_in_bounded_memory();
    a_claimed_size_costs_no_more_than_its_cap();
    full_frames_stay_within_the_bound();
    bodies_that_are_accepted_are_canonical();
    a_damaged_message_is_refused_or_canonical();
    paths_are_safe_or_refused();
    join_strings_print_as_they_are_read();
    made_up_logins_do_not_verify();
}

/// Most bytes that `work` had allocated at one time.
fn peak(work: impl FnOnce()) -> usize {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    work();
    MEMORY.peak_usage().saturating_sub(before)
}

/// Reads a stream and holds its memory to twice the input and 64 KiB. After login one block more: blocks come
/// from a pool that the whole process shares, and are taken whole.
/// Gives the number of messages.
fn read_within_bounds(input: &[u8]) -> Result<usize, TestCaseError> {
    let block = if functions::is_logged_in(input) { HEADROOM + BLOCK_LEN } else { 0 };
    let bound = 2 * input.len() + 64 * 1024 + block;
    let mut count = 0;
    let peak = peak(|| count = functions::frames(input));
    prop_assert!(peak <= bound, "{peak} bytes for {} of input, at most {bound}", input.len());
    Ok(count)
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..most)
}

fn any_message() -> impl Strategy<Value = Message> {
    let number = any::<u64>();
    prop_oneof![
        Just(Message::Alive),
        Just(Message::Cancel),
        bytes(3000).prop_map(|body| Message::Data(body.into())),
        bytes(3000).prop_map(|body| Message::Have(body.into())),
        bytes(3000).prop_map(|body| Message::Stdin(body.into())),
        (bytes(3000), bytes(300), any::<bool>(), any::<u32>()).prop_map(|(argv, env, tty, rows)| Exec {
            argv,
            env,
            tty,
            rows,
            ..Exec::default()
        }
        .into()),
        (".{0,40}", number, bytes(20), any::<u32>())
            .prop_map(|(software, features, run, slot)| { Hello { software, features, run, slot }.into() }),
        (any::<u32>(), ".{0,300}").prop_map(|(status, message)| End { status, message }.into()),
        (bytes(300), 0u32..5).prop_map(|(path, digest)| Get { path, digest }.into()),
        (bytes(300), any::<[bool; 3]>()).prop_map(|(path, [into, fresh, again])| {
            Put { path, into, fresh, again, ..Put::default() }.into()
        }),
        any_tree_message(),
        (bytes(300), number, any::<i64>())
            .prop_map(|(name, size, mtime)| { Entry { name, size, mtime, ..Entry::default() }.into() }),
        (number, any::<i64>(), any::<bool>()).prop_map(|(size, mtime, unsized_)| File {
            size,
            mtime,
            unsized_,
            ..File::default()
        }
        .into()),
        (number, bytes(40), any::<bool>())
            .prop_map(|(block, digest, last)| { Block { file: 0, block, digest, last }.into() }),
        (number, bytes(40), any::<bool>())
            .prop_map(|(size, digest, grew)| { Done { size, digest, grew, ..Done::default() }.into() }),
    ]
}

fn any_tree_message() -> impl Strategy<Value = Message> {
    let number = any::<u32>();
    prop_oneof![
        bytes(3000).prop_map(|body| Message::Pack(body.into())),
        bytes(3000).prop_map(|body| Message::Names(body.into())),
        (bytes(300), bytes(3000), any::<[bool; 2]>()).prop_map(|(path, rules, [hashes, names])| {
            TreeGet { path, rules, hashes, names, ..TreeGet::default() }.into()
        }),
        (bytes(3000), any::<u64>(), any::<[bool; 3]>()).prop_map(
            |(rules, max_delete, [quick, delete, dry_run])| {
                TreePut { rules, max_delete, quick, delete, dry_run, ..TreePut::default() }.into()
            }
        ),
        (bytes(300), bytes(300), any::<u64>(), number).prop_map(|(name, target, size, depth)| {
            Node { name, target, size, depth, ..Node::default() }.into()
        }),
        (number, bytes(40), any::<bool>()).prop_map(|(file, digest, grew)| Piece {
            file,
            digest,
            grew,
            ..Piece::default()
        }
        .into()),
        (number, ".{0,300}", bytes(300), number).prop_map(|(file, message, path, action)| NodeResult {
            file,
            message,
            path,
            action,
            ..NodeResult::default()
        }
        .into()),
        number.prop_map(|upto| Pass { upto }.into()),
        any::<bool>().prop_map(|complete| Walked { complete }.into()),
    ]
}

/// What a peer sends that knows the protocol, and how many messages are in it.
fn any_stream() -> impl Strategy<Value = (Vec<u8>, usize)> {
    let messages = vec((0u32..4, any_message()), 0..12);
    (any::<u8>(), messages).prop_map(|(how, messages)| {
        let mut stream = BytesMut::from(&[how & !2][..]);
        let mut count = 0;
        for (op, message) in messages {
            let alive = message == Message::Alive;
            message.encode(if alive { 0 } else { op }, &mut stream);
            count += usize::from(!alive);
        }
        (stream.to_vec(), count)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    fn streams_come_out_as_they_went_in_in_bounded_memory((stream, count) in any_stream()) {
        prop_assert_eq!(read_within_bounds(&stream)?, count);
    }

    fn damaged_streams_are_refused_in_bounded_memory(
        (stream, _) in any_stream(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut stream = stream;
        let at = at.index(stream.len());
        stream[at] ^= byte;
        if cut {
            stream.truncate(at + 1);
        }
        read_within_bounds(&stream)?;
    }

    fn noise_is_refused_in_bounded_memory(noise in bytes(2000)) {
        read_within_bounds(&noise)?;
    }

    fn bodies_that_are_accepted_are_canonical(kind in any::<prop::sample::Index>(), body in bytes(200)) {
        let kind = Kind::ALL[kind.index(Kind::ALL.len())];
        functions::message(&[&[kind as u8], &body[..]].concat());
    }

    fn a_damaged_message_is_refused_or_canonical(
        message in any_message(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut frame = BytesMut::new();
        message.encode(1, &mut frame);
        let mut input = frame[HEADER_LEN - 1..].to_vec();
        input[0] = message.kind() as u8;
        functions::message(&input);
        let at = at.index(input.len());
        input[at] ^= byte;
        functions::message(&input);
    }

    fn paths_are_safe_or_refused(path in bytes(80), tricky in r"[./a-z\x00\n]{0,40}", suffix in "[a-z2-7]{24,28}") {
        functions::remote_path(&path);
        functions::remote_path(tricky.as_bytes());
        functions::remote_path(format!("a/.ft-{suffix}").as_bytes());
        prop_assert_eq!(RemotePath::from_wire(format!("a/.ft-{suffix}").as_bytes()).is_err(), suffix.len() == 26);
    }

    fn join_strings_print_as_they_are_read(
        text in "(ft-join-1\\.)?[A-Za-z0-9_-]{0,200}",
        address in "[a-z0-9.:-]{0,20}:[0-9]{1,5}",
        user in "[a-z0-9._-]{1,64}",
        secret in any::<[u8; 32]>(),
    ) {
        functions::join_string(text.as_bytes());
        if let Ok(join) = JoinString::new(address, Fingerprint::of_spki(&secret), user, secret) {
            let text = join.to_string();
            functions::join_string(text.as_bytes());
            prop_assert_eq!(text.parse::<JoinString>(), Ok(join));
        }
    }

    fn made_up_logins_do_not_verify(input in bytes(400), tail in bytes(300)) {
        functions::login(&input);
        // A well-formed ed25519 key (RFC 8709) and the beginning of an SSHSIG blob.
        let mut key = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
        key.resize(51, 7);
        functions::login(&[&[51], &key[..], b"SSHSIG\0\0\0\x01\0\0\0\x33", &key[..], &tail[..]].concat());
    }
}

fn a_claimed_size_costs_no_more_than_its_cap() {
    for how in [0u8, 1] {
        for kind in Kind::ALL {
            for len in [kind.cap(how == 1)].into_iter().chain((0..32).map(|bit| 1 << bit)) {
                let mut stream = BytesMut::from(&[how | 0xfc][..]);
                Header { len, kind: *kind, op: 1 }.encode(&mut stream);
                read_within_bounds(&stream).unwrap();
            }
        }
    }
}

fn full_frames_stay_within_the_bound() {
    for len in [0, 1, 16 * 1024, BLOCK_LEN] {
        let mut stream = BytesMut::from(&[0xfd][..]);
        for _ in 0..3 {
            Message::Data(vec![7; len].into()).encode(1, &mut stream);
            Message::Pack(vec![7; len].into()).encode(1, &mut stream);
            Message::Names(vec![7; len.min(64 * 1024)].into()).encode(1, &mut stream);
            Message::Have(vec![7; len.min(64 * 1024)].into()).encode(1, &mut stream);
        }
        read_within_bounds(&stream).unwrap();
    }
}
