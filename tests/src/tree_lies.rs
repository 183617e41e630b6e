//! What a sender or a receiver of a tree may do wrong: every one of these is fatal.

use bytes::Bytes;
use ft_protocol::path::staging_name;
use ft_protocol::wire::message::{
    Accept, Again, Block, Done, End, Entry, File, FileResult, Node, NodeResult, Pass, Piece, Walked,
};
use ft_protocol::wire::{BLOCK_LEN, Message};

use crate::content::pattern;
use crate::tree_wire::{
    Teller, accept, created, dir, file, given_up, keep, large, large_done, link, pack, packed, pass, piece,
    root, walked,
};

/// A sender that lies.
#[derive(Debug, Clone)]
pub struct Lie {
    /// What is wrong.
    pub name: String,
    /// Who says it.
    pub teller: Teller,
    /// What the error must hold, so that somebody can find the entry.
    pub names: String,
}

/// Content of the files that tell lies: `a` is number 2, `b` number 3.
pub const A: &[u8] = b"abc";
/// See [`A`].
pub const B: &[u8] = b"xyz";

/// Content of `large`, number 4.
pub fn large_content() -> Vec<u8> {
    pattern(2 * BLOCK_LEN + 9)
}

/// NODEs of `a`, `b` and `large`.
pub fn three_files() -> Vec<Message> {
    let large = file(1, "large", large_content().len());
    vec![root().into(), file(1, "a", A.len()).into(), file(1, "b", B.len()).into(), large.into(), walked()]
}

/// Lists that no walk through a directory makes.
pub fn lies_of_a_list() -> Vec<Lie> {
    let says = |name: &str, names: &str, nodes: Vec<Message>| Lie {
        name: name.to_owned(),
        names: names.to_owned(),
        teller: Teller::says(nodes),
    };
    let below = |name: &str, names: &str, nodes: Vec<Node>| {
        let nodes = [root()].into_iter().chain(nodes).map(Message::from).chain([walked()]).collect();
        says(name, names, nodes)
    };
    let mut lies = Vec::new();
    let staging = staging_name([7; 16]);
    let long = "a".repeat(300);
    for (name, shown) in [
        ("..", ".."),
        (".", "."),
        ("", "''"),
        ("../x", "../x"),
        ("a/b", "a/b"),
        ("/etc", "/etc"),
        ("a/", "a/"),
        ("nul\0", "nul"),
        (&long, "aaaa"),
        (&staging, ".ft-"),
    ] {
        lies.push(below(&format!("a file {name:?}"), shown, vec![file(1, name, 3)]));
        lies.push(below(&format!("a directory {name:?}"), shown, vec![dir(1, name), file(2, "x", 3)]));
        lies.push(below(&format!("a link {name:?}"), shown, vec![link(1, name, "x")]));
    }
    let deep = (1..=1025).map(|depth| dir(depth, "d")).collect();
    let far = (1..=20).map(|depth| dir(depth, "d".repeat(250))).collect();
    let odd = |change: fn(&mut Node)| {
        let mut node = file(1, "odd", 3);
        change(&mut node);
        vec![node]
    };
    lies.extend([
        below("two levels at once", "deep", vec![file(2, "deep", 3)]),
        below("two levels at once in a directory", "deep", vec![dir(1, "d"), file(3, "deep", 3)]),
        below("all levels at once", "deep", vec![file(u32::MAX, "deep", 3)]),
        below("the directory itself twice", "''", vec![root()]),
        below("depth 0 with a name", "zero", vec![dir(0, "zero")]),
        below("out of order", "early", vec![file(1, "late", 3), file(1, "early", 3)]),
        below("out of order in a directory", "b", vec![dir(1, "d"), file(2, "c", 3), file(2, "b", 3)]),
        below("a name back", "b", vec![file(1, "b", 3), dir(1, "c"), file(2, "x", 3), file(1, "b", 3)]),
        below("a file twice", "twice", vec![file(1, "twice", 3), file(1, "twice", 3)]),
        below("a file and a directory", "twice", vec![file(1, "twice", 3), dir(1, "twice")]),
        below("a directory and a file", "twice", vec![dir(1, "twice"), file(2, "x", 3), file(1, "twice", 3)]),
        below("a link and a directory", "twice", vec![link(1, "twice", "/tmp"), dir(1, "twice")]),
        below("beneath a file", "below", vec![file(1, "f", 3), file(2, "below", 3)]),
        below("beneath a link", "below", vec![link(1, "l", ".."), file(2, "below", 3)]),
        below("too deep", "d", deep),
        below("too long a path", "d", far),
        below("kind 0", "odd", odd(|node| node.kind = 0)),
        below("a device", "odd", odd(|node| node.kind = 4)),
        below("kind 99", "odd", odd(|node| node.kind = 99)),
        below("too many nanoseconds", "odd", odd(|node| node.mtime_nanos = 1_000_000_000)),
        below("a link to nothing", "odd", vec![link(1, "odd", "")]),
        below("a link with a zero byte", "odd", vec![link(1, "odd", "a\0b")]),
        below("a link of 5,000 bytes", "odd", vec![link(1, "odd", "x".repeat(5000))]),
        below("a file with a target", "odd", odd(|node| node.target = b"x".to_vec())),
        says("no directory first", "x", vec![file(1, "x", 3).into()]),
        says("a file itself", "", vec![Node { kind: 1, ..root() }.into()]),
        says("a link itself", "", vec![link(0, "", "/").into()]),
        says("a directory with a name first", "x", vec![dir(0, "x").into()]),
        says("nothing but its end", "", vec![walked()]),
        says("its end twice", "", [three_files(), vec![walked()]].concat()),
        says("more after its end", "", [three_files(), vec![file(1, "x", 3).into()]].concat()),
        says("END at once", "", vec![End::default().into()]),
        says("END before WALKED", "", vec![root().into(), End::default().into()]),
        says("END in the middle", "", [three_files(), vec![End::default().into()]].concat()),
    ]);
    lies
}

/// Content that was not asked for, or is not what was announced.
pub fn lies_of_content() -> Vec<Lie> {
    let large_bytes = large_content();
    let first = Block { file: 4, block: 0, digest: vec![7; 16], last: false };
    let good = || packed(&[(2, A), (3, B)]);
    let a = || Message::from(piece(2, A));
    let odd = |change: fn(&mut Piece)| {
        let mut piece = piece(2, A);
        change(&mut piece);
        vec![piece.into(), pack(A)]
    };
    let block_of = |file| Message::from(Block { file, last: true, ..first.clone() });
    let data = || Message::Data(Bytes::from_static(A));
    let mut said: Vec<(&str, Vec<Message>)> = vec![
        ("content of the directory", packed(&[(1, A)])),
        ("content of number 0", packed(&[(0, A)])),
        ("content of what was never listed", packed(&[(99, A)])),
        ("content of the last number there is", packed(&[(u32::MAX, A)])),
        ("content twice", [good(), packed(&[(2, A)])].concat()),
        ("content twice at once", packed(&[(2, A), (2, A)])),
        ("a piece that is smaller", odd(|piece| piece.size = 2)),
        ("a piece that is larger", odd(|piece| piece.size = 4)),
        ("a piece of everything", odd(|piece| piece.size = u32::MAX)),
        ("a pack that is shorter", vec![a(), pack(b"ab")]),
        ("a pack that is longer", vec![a(), pack(b"abcd")]),
        ("an empty pack", vec![a(), pack(b"")]),
        ("a pack without pieces", vec![pack(A)]),
        ("a pack of nothing", vec![pack(b"")]),
        ("two packs", [good(), vec![pack(A)]].concat()),
        ("a piece without its pack", vec![a(), block_of(4), data()]),
        ("the end in a pack", vec![a(), End::default().into()]),
        ("a piece of a large file", vec![Piece { file: 4, ..piece(4, &large_bytes) }.into()]),
        ("a block of a small file", vec![block_of(2), data()]),
        ("DONE of a small file", vec![large_done(2, A).into()]),
        ("a block never offered of a small file", vec![keep(2, 0, 1)]),
        ("a block never offered", [good(), vec![keep(4, 0, 1)]].concat()),
        ("no block kept", [good(), vec![keep(4, 0, 0)]].concat()),
        ("all blocks kept", [good(), vec![keep(4, 0, u64::MAX)]].concat()),
        ("a block of the directory", [good(), vec![block_of(1), data()]].concat()),
        ("a block of what was never listed", [good(), vec![block_of(77), data()]].concat()),
        ("a later block first", [good(), vec![Block { block: 1, ..first.clone() }.into(), data()]].concat()),
        ("a short block in the middle", [good(), vec![first.clone().into(), data()]].concat()),
        ("BLOCK without DATA", [good(), vec![first.clone().into(), first.clone().into()]].concat()),
        ("DATA without BLOCK", [good(), vec![data()]].concat()),
        ("DONE without content", [good(), vec![large_done(4, &large_bytes).into()]].concat()),
        ("FILE", vec![File::default().into()]),
        ("ENTRY", vec![Entry { kind: 1, ..Entry::default() }.into()]),
        ("FILE_RESULT", vec![FileResult::default().into()]),
        ("ACCEPT", vec![accept(2)]),
        ("HAVE", vec![Message::Have(Bytes::from_static(&[7; 16]))]),
        ("PASS", vec![pass(2)]),
        ("AGAIN", vec![Again { file: 2, block: 0 }.into()]),
        ("NAMES", vec![Message::Names(Bytes::from_static(b"a\0"))]),
        ("a file given up that was never listed", vec![given_up(99, 1).into()]),
        ("the directory given up by number", vec![given_up(1, 1).into()]),
        ("a file given up twice", vec![given_up(2, 1).into(), given_up(2, 1).into()]),
        ("a file given up with success", vec![given_up(2, 0).into()]),
        ("content of a file that was given up", [vec![given_up(2, 1).into()], packed(&[(2, A)])].concat()),
        ("WALKED again", vec![Walked { complete: true }.into()]),
        ("a node after WALKED", vec![file(1, "z", 3).into()]),
        ("END while files are missing", vec![End::default().into()]),
        ("END while a file is missing", [good(), vec![End::default().into()]].concat()),
    ];
    for path in ["../x", "/etc/x", "a/../../x", "nul\0"] {
        let result = NodeResult { path: path.into(), status: 9, kind: 1, ..NodeResult::default() };
        said.push(("a failure elsewhere", vec![result.into()]));
    }
    let unknown = NodeResult { action: 99, path: b"x".to_vec(), kind: 4, ..NodeResult::default() };
    said.push(("an unknown action", vec![unknown.into()]));
    for (name, change) in DONES {
        let mut content = large(4, &large_bytes);
        if let Some(Message::Done(done)) = content.last_mut() {
            change(done);
        }
        said.push((name, [good(), content].concat()));
    }
    said.into_iter()
        .map(|(name, content)| Lie {
            name: name.to_owned(),
            teller: Teller::says(three_files()).with(4, content),
            names: String::new(),
        })
        .chain([too_many_pieces(), too_many_nodes()])
        .collect()
}

type Change<M> = fn(&mut M);

/// Wrong ends of a large file.
const DONES: [(&str, Change<Done>); 3] = [
    ("DONE of another size", |done| done.size += 1),
    ("DONE of all bytes there are", |done| done.size = u64::MAX),
    ("a SHA-256 that nobody asked for", |done| done.whole = vec![7; 32]),
];

fn too_many_pieces() -> Lie {
    let count = 1025;
    let nodes = (0..count).map(|n| file(1, format!("f{n:06}"), 1).into());
    let listing = [root().into()].into_iter().chain(nodes).chain([walked()]);
    let names: Vec<(u32, &[u8])> = (2..count + 2).map(|number| (number, &b"x"[..])).collect();
    Lie {
        name: "1,025 pieces in a pack".into(),
        teller: Teller::says(listing).with(count + 1, packed(&names)),
        names: String::new(),
    }
}

/// More files than any sender leaves without content.
fn too_many_nodes() -> Lie {
    let nodes = (0..20_000).map(|n| file(1, format!("f{n:06}"), 1).into());
    Lie {
        name: "more nodes than may wait".into(),
        teller: Teller::says([root().into()].into_iter().chain(nodes)),
        names: String::new(),
    }
}

/// What a receiver says first, wrong for a sender whose tree is [`three_files`].
pub fn lies_of_a_receiver() -> Vec<(&'static str, Vec<Message>)> {
    let have = |digests: usize| Message::Have(Bytes::from(vec![7; 16 * digests]));
    let accept_of = |file, have| Message::from(Accept { file, have });
    let again = |file, block| Message::from(Again { file, block });
    let result = |file| Message::from(created(file, A));
    let odd = |change: fn(&mut NodeResult)| {
        let mut result = NodeResult { path: b"x".to_vec(), kind: 2, action: 1, ..NodeResult::default() };
        change(&mut result);
        vec![result.into()]
    };
    vec![
        ("ACCEPT of the directory", vec![accept(1)]),
        ("ACCEPT of number 0", vec![accept(0)]),
        ("ACCEPT of what was never listed", vec![accept(5)]),
        ("ACCEPT of the last number there is", vec![accept(u32::MAX)]),
        ("ACCEPT twice", vec![accept(2), accept(2)]),
        ("ACCEPT of an earlier one", vec![accept(3), accept(2)]),
        ("ACCEPT of what was passed", vec![pass(4), accept(3)]),
        ("more blocks than there are", vec![accept_of(4, 4)]),
        ("all blocks there are", vec![accept_of(4, u64::MAX)]),
        ("two blocks of a small file", vec![accept_of(2, 2)]),
        ("HAVE without ACCEPT", vec![have(1)]),
        ("HAVE that was not announced", vec![accept(2), have(1)]),
        ("more digests than announced", vec![accept_of(4, 2), have(3)]),
        ("digests after the last", vec![accept_of(4, 1), have(1), have(1)]),
        ("no digest", vec![accept_of(4, 1), Message::Have(Bytes::new())]),
        ("half a digest", vec![accept_of(4, 1), Message::Have(Bytes::from_static(&[7; 8]))]),
        ("PASS of nothing", vec![pass(0)]),
        ("PASS of what was never listed", vec![pass(5)]),
        ("PASS of all there could be", vec![pass(u32::MAX)]),
        ("PASS backwards", vec![pass(3), pass(2)]),
        ("PASS twice", vec![pass(4), pass(4)]),
        ("AGAIN of what was not accepted", vec![again(2, 0)]),
        ("AGAIN of what was never listed", vec![again(99, 0)]),
        ("AGAIN of another block of a small file", vec![accept(2), again(2, 1)]),
        ("AGAIN beyond all numbers", vec![accept(2), again(2, u64::MAX)]),
        ("a result of what was not accepted", vec![result(2)]),
        ("a result of the directory", vec![result(1)]),
        ("a result of what was never listed", vec![result(99)]),
        ("a result twice", vec![accept(2), pass(4), result(2), result(2)]),
        ("an unknown action", odd(|result| result.action = 99)),
        ("a result elsewhere", odd(|result| result.path = b"../x".to_vec())),
        ("a result at the root of all", odd(|result| result.path = b"/etc".to_vec())),
        ("END at once", vec![End::default().into()]),
        ("END before results", vec![accept(2), pass(4), End::default().into()]),
        ("NODE", vec![root().into()]),
        ("WALKED", vec![walked()]),
        ("PIECE", vec![piece(2, A).into()]),
        ("PACK", vec![pack(A)]),
        ("BLOCK", vec![Block::default().into()]),
        ("DATA", vec![Message::Data(Bytes::from_static(A))]),
        ("KEEP", vec![keep(2, 0, 1)]),
        ("FILE_RESULT", vec![FileResult::default().into()]),
        ("FILE", vec![File::default().into()]),
        ("NAMES", vec![Message::Names(Bytes::from_static(b"a\0"))]),
        (
            "another PASS for each node there could be",
            (1..5).map(|upto| Pass { upto }.into()).chain([pass(4)]).collect(),
        ),
    ]
}
