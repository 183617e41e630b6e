//! PROTOCOL.md and ft.proto are compared with the code, so that none of the three can drift.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use ft_protocol::Status;
use ft_protocol::auth::proof::{HASH, NAMESPACE, signature_bytes};
use ft_protocol::auth::{Binding, Fingerprint, JoinString, MAX_USER_NAME, Rights};
use ft_protocol::digest::{Algorithm, Hash, LEAF_LEN, Lanes, Root};
use ft_protocol::exec::WINDOW;
use ft_protocol::fs::{MAX_ENTRIES, MAX_FILTER, MAX_NAMES_BYTES, MAX_RULES};
use ft_protocol::path::{MAX_DEPTH, MAX_NAME, MAX_PATH};
use ft_protocol::tree::{Action, MAX_LISTED, MAX_PIECES, MAX_SENT};
use ft_protocol::wire::connection::SILENCE;
use ft_protocol::wire::frame::preface;
use ft_protocol::wire::message::{
    Accept, Again, Block, Credit, Done, End, Exec, Exit, File, FileResult, Get, Hello, Keep, Node,
    NodeResult, Pass, Piece, Put, TreeGet, TreePut, Walked, Welcome,
};
use ft_protocol::wire::sender::ALIVE_AFTER;
use ft_protocol::wire::{BLOCK_LEN, Kind, Message};
use ssh_key::PrivateKey;
use ssh_key::private::Ed25519Keypair;

const PROTOCOL: &str = include_str!("../PROTOCOL.md");
const PROTO: &str = include_str!("../ft.proto");

/// Every hex example of PROTOCOL.md by its name.
fn examples() -> Vec<(&'static str, Vec<u8>)> {
    [single_examples(), tree_examples()].concat()
}

fn single_examples() -> Vec<(&'static str, Vec<u8>)> {
    let abc = Algorithm::Md5.block(&Lanes::default(), b"abc", true);
    let (leaf, blocks, root) = two_blocks();
    let kept = Keep { file: 0, first: 0, count: 3 };
    vec![
        ("preface", preface().to_vec()),
        ("hello", frame(0, Hello { software: "example/1".into(), run: vec![0x11; 16], ..Hello::default() })),
        ("welcome", frame(0, Welcome { rights: 7 })),
        ("login-binding", binding().message(b"ann")),
        ("public-key", key().public_key().to_bytes().unwrap()),
        ("signature", signature()),
        ("get-request", frame(1, Get { path: b"a/b".to_vec(), digest: 1 })),
        ("file", frame(1, declared(3))),
        ("block", frame(1, Block { digest: abc.to_vec(), last: true, ..Block::default() })),
        ("data", frame(1, Message::Data(Bytes::from_static(b"abc")))),
        ("done", frame(1, Done { size: 3, digest: abc.to_vec(), ..Done::default() })),
        ("file-result", frame(1, FileResult { digest: abc.to_vec(), ..FileResult::default() })),
        ("end", frame(1, End::default())),
        ("end-failed", frame(2, End { status: 3, message: "open 'x': no such file".into() })),
        (
            "put-request",
            frame(
                3,
                Put { path: b"in".to_vec(), name: b"n".to_vec(), digest: 1, into: true, ..Put::default() },
            ),
        ),
        ("accept", frame(1, Accept { file: 0, have: 3 })),
        ("keep", frame(1, kept)),
        ("again", frame(1, Again { file: 0, block: 4 })),
        ("alive", frame(0, Message::Alive)),
        ("cancel", frame(1, Message::Cancel)),
        ("exec-request", frame(1, Exec { argv: b"df\0-h\0".to_vec(), ..Exec::default() })),
        ("started", frame(1, Message::Started)),
        ("stdout", frame(1, Message::Stdout(Bytes::from_static(b"abc")))),
        ("credit", frame(1, Credit { stream: 1, bytes: 131_072 })),
        ("exit", frame(1, Exit { status: 0, signal: 15 })),
        ("digest-leaf", leaf.to_vec()),
        ("digest-block-0", blocks[0].to_vec()),
        ("digest-block-1", blocks[1].to_vec()),
        ("digest-proof", root.to_vec()),
    ]
}

fn tree_examples() -> Vec<(&'static str, Vec<u8>)> {
    let abc = Algorithm::Md5.block(&Lanes::default(), b"abc", true);
    let node = |mode| Node { mtime: 1_700_000_000, mtime_nanos: 5, mode, ..Node::default() };
    let file = Node { depth: 1, name: b"a".to_vec(), kind: 1, size: 3, ..node(0o644) };
    let put = TreePut {
        path: b"in".to_vec(),
        digest: 1,
        rules: b"-*.o\0".to_vec(),
        times: true,
        quick: true,
        delete: true,
        max_delete: 100,
        ..TreePut::default()
    };
    let created = NodeResult { file: 2, action: 1, digest: abc.to_vec(), ..NodeResult::default() };
    let deleted = NodeResult { action: 4, path: b"old".to_vec(), kind: 1, ..NodeResult::default() };
    vec![
        ("tree-get", frame(1, TreeGet { path: b"d".to_vec(), digest: 1, ..TreeGet::default() })),
        ("node-root", frame(1, Node { kind: 2, ..node(0o755) })),
        ("node", frame(1, file)),
        ("walked", frame(1, Walked { complete: true })),
        ("accept-node", frame(1, Accept { file: 2, have: 0 })),
        ("pass", frame(1, Pass { upto: 2 })),
        ("piece", frame(1, Piece { file: 2, size: 3, digest: abc.to_vec(), grew: false })),
        ("pack", frame(1, Message::Pack(Bytes::from_static(b"abc")))),
        ("node-result", frame(1, created)),
        ("tree-put", frame(2, put)),
        ("node-deleted", frame(2, deleted)),
        ("names", frame(1, Message::Names(Bytes::from_static(b"a\0b/c\0")))),
        ("names-end", frame(1, Message::Names(Bytes::new()))),
    ]
}

fn frame(op: u32, message: impl Into<Message>) -> Vec<u8> {
    let mut out = BytesMut::new();
    message.into().encode(op, &mut out);
    out.to_vec()
}

fn declared(size: u64) -> File {
    File { size, mtime: 1_700_000_000, mtime_nanos: 5, mode: 0o644, ..File::default() }
}

fn binding() -> Binding {
    Binding { exporter: [1; 32], server: Fingerprint::from_bytes([2; 32]) }
}

fn key() -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32]))
}

fn signature() -> Vec<u8> {
    signature_bytes(&key().sign(NAMESPACE, HASH, &binding().message(b"ann")).unwrap()).unwrap()
}

/// Leaf, blocks and proof of a file of 1 MiB and one byte, all of them `a`.
fn two_blocks() -> (Hash, Vec<Hash>, Hash) {
    let lanes = Lanes::default();
    let data = vec![b'a'; BLOCK_LEN + 1];
    let blocks: Vec<Hash> = data.chunks(BLOCK_LEN).map(|b| Algorithm::Md5.block(&lanes, b, false)).collect();
    let mut root = Root::new(Algorithm::Md5);
    blocks.iter().for_each(|block| root.add(block));
    (lanes.plain(&data[..LEAF_LEN]), blocks, root.finish())
}

#[test]
fn every_hex_example_is_what_the_code_encodes() {
    let mut expected: BTreeMap<&str, Vec<u8>> = examples().into_iter().collect();
    for (name, block) in fenced("hex ") {
        let code = expected.remove(name).unwrap_or_else(|| panic!("unknown or doubled example '{name}'"));
        assert_eq!(hex(&unhex(block)), hex(&code), "example '{name}'");
    }
    assert!(expected.is_empty(), "not in PROTOCOL.md: {:?}", expected.keys());
}

#[test]
fn examples_that_are_frames_decode_to_themselves() {
    let mut frames = 0;
    for (name, bytes) in examples() {
        let Some((header, body)) = bytes.split_first_chunk::<9>() else { continue };
        if body.len() as u64 != u64::from(u32::from_be_bytes(header[..4].try_into().unwrap())) {
            continue;
        }
        let kind = Kind::from_wire(header[4]).unwrap();
        let op = u32::from_be_bytes(header[5..].try_into().unwrap());
        let message = Message::decode(kind, Bytes::copy_from_slice(body)).unwrap();
        assert_eq!(frame(op, message), bytes, "{name}");
        frames += 1;
    }
    assert_eq!(frames, 34);
}

#[test]
fn the_login_of_the_example_verifies() {
    let public = key().public_key().to_bytes().unwrap();
    assert!(binding().verify(b"ann", &public, &signature()).is_ok());
}

#[test]
fn the_join_string_is_read_as_it_is_explained() {
    let (_, text) = fenced("text ").into_iter().find(|(name, _)| *name == "join-string").unwrap();
    let join: JoinString = text.parse().unwrap();
    assert_eq!(join.to_string(), text.trim());
    assert_eq!((join.address(), join.user()), ("files.example.org:26228", "ann"));
    assert_eq!((join.fingerprint(), join.secret()), (Fingerprint::from_bytes([2; 32]), &[3; 32]));
}

#[test]
fn the_table_of_kinds_is_complete_and_has_the_caps() {
    let rows = table("| number | name | body |");
    let code: Vec<Vec<String>> = Kind::ALL
        .iter()
        .map(|kind| {
            let caps = [false, true].map(|logged_in| kind.cap(logged_in).to_string());
            let number = (*kind as u8).to_string();
            [vec![number, kind.name().to_owned(), body_of(*kind).to_owned()], caps.to_vec()].concat()
        })
        .collect();
    let document: Vec<Vec<String>> = rows
        .iter()
        .map(|row| vec![row[0].clone(), camel(&row[1]), row[2].clone(), row[4].clone(), row[5].clone()])
        .collect();
    assert_eq!(document, code);
    assert!(rows.iter().all(|row| ["client", "server", "both", "sender", "receiver"].contains(&&row[3][..])));
}

#[test]
fn the_table_of_statuses_is_complete() {
    let code: Vec<Vec<String>> = Status::ALL
        .iter()
        .map(|status| vec![(*status as u32).to_string(), format!("{status:?}"), status.text().to_owned()])
        .collect();
    assert_eq!(table("| status | name | meaning |"), code);
}

#[test]
fn rights_and_algorithms_have_their_numbers() {
    let rights = table("| bit | right |");
    assert_eq!(rights.len(), 6);
    for row in rights {
        assert_eq!(Rights::from_bits(row[0].parse().unwrap()).to_string(), row[1]);
        assert!(PROTO.contains(&format!("{} {}", row[0], row[1])), "{row:?} in ft.proto");
    }
    let algorithms = table("| number | name | digest of a block |");
    assert_eq!(algorithms.len(), 3);
    for row in algorithms {
        let algorithm = Algorithm::from_wire(row[0].parse().unwrap()).unwrap();
        assert_eq!(algorithm.name(), row[1]);
        assert!(PROTO.contains(&format!("//   {} {:8}", row[0], row[1])), "{row:?} in ft.proto");
    }
    assert!(Algorithm::from_wire(4).is_err() && Algorithm::from_wire(0).is_err());
}

#[test]
fn actions_have_their_numbers() {
    let actions = table("| number | action |");
    assert!(Action::from_wire(actions.len() as u32).is_err());
    for (number, row) in (0..).zip(actions) {
        let action = Action::from_wire(number).unwrap();
        assert_eq!((row[0].clone(), action as u32), (number.to_string(), number));
        let word = row[1].split(':').next().unwrap();
        let named = match action {
            Action::Meta => "only mode or time changed".to_owned(),
            _ => format!("{action:?}").to_lowercase(),
        };
        assert_eq!(word, named);
        assert!(PROTO.replace("\n// ", " ").contains(&format!("{number} {word}")), "{row:?} in ft.proto");
    }
}

#[test]
fn limits_are_those_of_the_code() {
    let code = [
        BLOCK_LEN as u64,
        LEAF_LEN as u64,
        MAX_PATH as u64,
        MAX_NAME as u64,
        MAX_DEPTH as u64,
        MAX_USER_NAME as u64,
        ALIVE_AFTER.as_secs(),
        SILENCE.as_secs(),
        u64::from(WINDOW),
        MAX_LISTED as u64,
        MAX_SENT as u64,
        MAX_PIECES as u64,
        MAX_ENTRIES as u64,
        MAX_RULES as u64,
        MAX_FILTER as u64,
        MAX_NAMES_BYTES as u64,
    ];
    let document: Vec<u64> = table("| what | value |").iter().map(|row| row[1].parse().unwrap()).collect();
    assert_eq!(document, code);
}

#[test]
fn ft_proto_has_every_message_and_every_field_with_its_number_and_type() {
    let messages = proto();
    let with_message: Vec<&str> =
        Kind::ALL.iter().filter(|kind| body_of(**kind) == "message").map(|kind| kind.name()).collect();
    let names: Vec<&str> = messages.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, with_message, "messages, in the order of their kinds");
    for (name, fields) in messages {
        let kind = *Kind::ALL.iter().find(|kind| kind.name() == name).unwrap();
        let empty = shown(&Message::decode(kind, Bytes::new()).unwrap());
        let in_code: Vec<&str> = empty.keys().map(|field| field.trim_end_matches('_')).collect();
        let mut in_proto: Vec<&str> = fields.iter().map(|field| field.name).collect();
        in_proto.sort_unstable();
        assert_eq!(in_proto, in_code, "fields of {name}");
        for field in fields {
            field.check(kind, &empty);
        }
    }
}

/// One field of ft.proto.
struct Field<'a> {
    name: &'a str,
    kind: &'a str,
    number: u32,
}

impl Field<'_> {
    /// Decodes a message in which this field stands alone, at the edges of its type: it must be the field of
    /// this name in the code that gets the value, and what the type cannot hold must be refused.
    fn check(&self, of: Kind, empty: &BTreeMap<String, String>) {
        let max = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        let (wire_type, good, value, bad): (u8, &[u8], &str, &[u8]) = match self.kind {
            "bool" => (0, &[1], "true", &[2]),
            "uint32" => (0, &max_u32(), "4294967295", &max),
            "uint64" => (0, &max, "18446744073709551615", &[0]),
            "int64" => (0, &max, "-1", &[0]),
            "bytes" => (2, &[1, 0xff], "[255]", &[0]),
            "string" => (2, &[1, b'x'], "\"x\"", &[1, 0xff]),
            other => panic!("type {other} is not used in ft"),
        };
        assert!(self.number < 16, "one byte of tag");
        let tag = [(self.number as u8) << 3 | wire_type];
        let decode = |content: &[u8]| Message::decode(of, [&tag[..], content].concat().into());
        let context = format!("{}.{}", of.name(), self.name);
        assert!(decode(bad).is_err(), "{context} is no {}", self.kind);
        let now = shown(&decode(good).unwrap_or_else(|error| panic!("{context}: {error}")));
        let changed: Vec<(&str, &str)> = now
            .iter()
            .filter(|(field, value)| empty.get(*field) != Some(value))
            .map(|(field, value)| (field.trim_end_matches('_'), &value[..]))
            .collect();
        assert_eq!(changed, [(self.name, value)], "{context}");
    }
}

fn max_u32() -> [u8; 5] {
    [0xff, 0xff, 0xff, 0xff, 0x0f]
}

/// Fields and values of a message, from its Debug form: `Get(Get { path: [], digest: 0 })`.
fn shown(message: &Message) -> BTreeMap<String, String> {
    let text = format!("{message:?}");
    let fields = text.split_once('{').unwrap().1.rsplit_once('}').unwrap().0;
    let pairs = fields.split(", ").map(|pair| pair.trim().split_once(": ").unwrap());
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Messages of ft.proto in their order.
fn proto() -> Vec<(&'static str, Vec<Field<'static>>)> {
    let mut messages: Vec<(&str, Vec<Field>)> = Vec::new();
    for line in PROTO.lines().map(|line| line.split("//").next().unwrap().trim()) {
        let words: Vec<&str> = line.trim_end_matches(';').split_whitespace().collect();
        match words[..] {
            [] | ["}"] | ["syntax", ..] | ["package", "ft"] => {}
            ["message", name, "{"] => messages.push((name, Vec::new())),
            [kind, name, "=", number] => {
                let number = number.parse().unwrap();
                messages.last_mut().unwrap().1.push(Field { name, kind, number });
            }
            _ => panic!("'{line}' is beyond this reader; keep ft.proto plain"),
        }
    }
    messages
}

/// What the body of this kind is.
fn body_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Alive | Kind::Cancel | Kind::Started => "empty",
        Kind::Have | Kind::Data | Kind::Pack | Kind::Names | Kind::Stdin | Kind::Stdout | Kind::Stderr => {
            "raw"
        }
        _ => "message",
    }
}

/// `AUTH_KEY` → `AuthKey`.
fn camel(name: &str) -> String {
    name.split('_').map(|word| format!("{}{}", &word[..1], word[1..].to_lowercase())).collect()
}

/// Fenced blocks of PROTOCOL.md whose info string begins with `marker`: the rest of that, and the content.
fn fenced(marker: &str) -> Vec<(&'static str, &'static str)> {
    PROTOCOL
        .split("\n```")
        .filter_map(|part| part.strip_prefix(marker)?.split_once('\n'))
        .map(|(name, block)| (name.trim(), block))
        .collect()
}

/// The rows below the header that begins so.
fn table(header: &str) -> Vec<Vec<String>> {
    let (_, rest) = PROTOCOL.split_once(header).unwrap_or_else(|| panic!("no table '{header}'"));
    rest.lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

fn unhex(block: &str) -> Vec<u8> {
    let digits = block.lines().flat_map(|line| line.split('#').next().unwrap().split_whitespace());
    digits.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}
