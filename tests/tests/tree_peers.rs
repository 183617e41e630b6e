//! A client that sends and takes trees by hand, in good order and in every other: the server keeps to its root, to
//! the account's rights and to its limits, and goes on serving.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use ft_protocol::Status;
use ft_protocol::wire::Message;
use ft_protocol::wire::message::{Again, Block, End, Stat, TreeGet, TreePut};
use ft_tests::content::proof;
use ft_tests::peer::{RawPeer, frame};
use ft_tests::server::{ALL, TestServer, USER};
use ft_tests::tree_lies::{
    A, B, Lie, large_content, lies_of_a_list, lies_of_a_receiver, lies_of_content, three_files,
};
use ft_tests::tree_wire::{
    Teller, accept, created, dir, file, given_up, large, link, names_in as names, packed, put, put_to, root,
    says, tree_get, tree_put, walked,
};

const CREATED: u32 = 1;

/// Directories, files of every size, a link: all of it, proven.
#[tokio::test]
async fn a_tree_sent_by_hand_is_there() {
    let large_bytes = large_content();
    let nodes = [
        root(),
        dir(1, "d"),
        dir(2, "empty"),
        file(2, "none", 0),
        link(2, "to", "../a target that is not there"),
        file(1, "large", large_bytes.len()),
        file(1, "z", A.len()),
    ];
    let teller =
        says(nodes).with(7, [packed(&[(4, b"")]), large(6, &large_bytes), packed(&[(7, A)])].concat());
    let (server, said) =
        put_to(ALL, TreePut { preserve: true, times: true, ..tree_put("to") }, teller, |_| {}).await;
    assert_eq!((said.status, said.fatal), (Status::Ok, false), "{}", said.text);
    let to = server.root().join("to");
    assert_eq!(names(&to), ["d", "large", "z"]);
    assert_eq!(names(&to.join("d")), ["empty", "none", "to"]);
    assert!(fs::read(to.join("large")).unwrap() == large_bytes);
    assert_eq!(fs::read(to.join("d/none")).unwrap(), b"");
    assert_eq!(fs::read_link(to.join("d/to")).unwrap(), Path::new("../a target that is not there"));
    for (path, mode) in [("d", 0o755), ("d/empty", 0o755), ("z", 0o644), ("large", 0o644)] {
        let meta = fs::metadata(to.join(path)).unwrap();
        assert_eq!(meta.permissions().mode() & 0o7777, mode, "{path}");
        assert_eq!(std::os::unix::fs::MetadataExt::mtime(&meta), 1_000_000_000, "{path}");
    }
    for (number, content) in [(4, &b""[..]), (6, &large_bytes), (7, A)] {
        let result = said.results().into_iter().find(|result| result.file == number).unwrap();
        assert_eq!((result.status, result.action), (0, CREATED));
        assert_eq!(result.digest, proof(content).to_vec());
    }
    let numbers: Vec<u32> =
        said.results().iter().map(|result| result.file).filter(|file| *file > 0).collect();
    assert_eq!(numbers, [4, 6, 7], "results come in order");
    let mut others: Vec<String> = said.named().into_iter().map(|(path, ..)| path).collect();
    others.sort();
    assert_eq!(others, ["d", "d/empty", "d/to"]);
}

/// The conversation of PROTOCOL.md.
#[tokio::test]
async fn a_tree_is_taken_by_hand() {
    let server = TestServer::start().await;
    fs::create_dir(server.root().join("d")).unwrap();
    fs::write(server.root().join("d/a"), A).unwrap();
    let mut peer = RawPeer::logged_in(&server).await;
    peer.send(1, tree_get("d")).await.unwrap();
    let Some((1, Message::Node(first))) = peer.next().await else { panic!("NODE 1") };
    assert_eq!((first.depth, &first.name[..], first.kind), (0, &b""[..], 2));
    let Some((1, Message::Node(second))) = peer.next().await else { panic!("NODE 2") };
    assert_eq!((second.depth, &second.name[..], second.kind, second.size), (1, &b"a"[..], 1, 3));
    assert_eq!(peer.next().await, Some((1, walked())));
    peer.send(1, accept(2)).await.unwrap();
    for expected in packed(&[(2, A)]) {
        assert_eq!(peer.next().await, Some((1, expected)));
    }
    peer.send_all(1, [created(2, A).into(), End::default().into()]).await;
    assert_eq!(peer.answer(1).await, (vec![], End::default()));
    assert_eq!(peer.status(2, tree_get("d/a")).await, Status::NotDirectory);
    assert_eq!(peer.status(3, tree_get("gone")).await, Status::NotFound);
}

/// What is wrong with the way in which the server met this lie.
async fn refused(lie: Lie) -> Result<(), String> {
    let name = lie.name;
    let (server, said) = put_to(ALL, tree_put("to"), lie.teller, |root| {
        fs::create_dir(root.join("to")).unwrap();
        symlink("..", root.join("up")).unwrap();
    })
    .await;
    assert!(said.text.len() < 10_000, "{name}");
    assert_eq!(names(server.root()), ["to", "up"], "{name}");
    assert_eq!(names(server.outside()), ["root", "state"], "{name}");
    let mut other = RawPeer::logged_in(&server).await;
    assert_eq!(other.status(1, Stat::default()).await, Status::Ok, "{name}: the server goes on");
    if (said.status, said.fatal) != (Status::Protocol, true) {
        return Err(format!("{name}: {:?} {}", said.status, said.text));
    }
    let found = said.text.contains(&lie.names);
    if found { Ok(()) } else { Err(format!("{name}: {:?} does not name {:?}", said.text, lie.names)) }
}

async fn assert_refused(lies: Vec<Lie>) {
    let mut wrong = Vec::new();
    for lie in lies {
        wrong.extend(refused(lie).await.err());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn no_list_leads_elsewhere() {
    assert_refused(lies_of_a_list()).await;
}

#[tokio::test]
async fn no_content_is_taken_that_was_not_asked_for() {
    assert_refused(lies_of_content()).await;
}

#[tokio::test]
async fn a_receiver_that_lies_is_left() {
    for (name, lie) in lies_of_a_receiver() {
        let server = TestServer::start().await;
        let to = server.root().join("to");
        fs::create_dir(&to).unwrap();
        fs::write(to.join("a"), A).unwrap();
        fs::write(to.join("b"), B).unwrap();
        fs::write(to.join("large"), large_content()).unwrap();
        let mut peer = RawPeer::logged_in(&server).await;
        peer.send(1, tree_get("to")).await.unwrap();
        while peer.next().await.expect(name) != (1, walked()) {}
        let ends_itself = matches!(lie.last(), Some(Message::End(_)));
        let bytes: Vec<u8> = lie.into_iter().flat_map(|message| frame(1, message)).collect();
        let _ = peer.send_bytes(&bytes).await;
        let end = loop {
            match peer.next().await {
                Some((op, Message::End(end))) => break Some((op, Status::from_wire(end.status))),
                Some(_) => {}
                None => break None,
            }
        };
        // A client may leave whenever it wants, but that is no success.
        let expected =
            if ends_itself { end != Some((1, Status::Ok)) } else { end == Some((0, Status::Protocol)) };
        assert!(expected, "{name}: {end:?}");
        let mut other = RawPeer::logged_in(&server).await;
        assert_eq!(other.status(1, Stat::default()).await, Status::Ok, "{name}: the server goes on");
    }
}

#[tokio::test]
async fn paths_stay_beneath_the_root() {
    for path in ["..", "../x", "/x", "a/../b", "a//b", "x\0", ".ft-aaaaaaaaaaaaaaaaaaaaaaaaaa"] {
        let (server, said) = put_to(ALL, tree_put(path), says([root()]), |_| {}).await;
        assert_eq!((said.status, said.fatal), (Status::Invalid, false), "{path:?}: {}", said.text);
        let request = TreePut { backup: path.into(), ..tree_put("to") };
        let mut peer = RawPeer::logged_in(&server).await;
        let said = put(&mut peer, 1, request, says([root()])).await;
        assert_eq!((said.status, said.fatal), (Status::Invalid, false), "backup {path:?}: {}", said.text);
        assert_eq!(peer.status(2, tree_get(path)).await, Status::Invalid, "{path:?}");
        assert_eq!(names(server.outside()), ["root", "state"], "{path:?}");
    }
}

/// A link in the way, or in its place: no put goes through it.
#[tokio::test]
async fn no_put_goes_through_a_link() {
    for path in ["out", "out/new", "in", "in/new"] {
        for backup in [false, true] {
            let set_up = |root: &Path| {
                fs::create_dir(root.join("real")).unwrap();
                symlink("../state", root.join("out")).unwrap();
                symlink("real", root.join("in")).unwrap();
                fs::create_dir(root.join("to")).unwrap();
                fs::write(root.join("to/a"), "old").unwrap();
            };
            let request = if backup {
                TreePut { backup: path.into(), parents: true, ..tree_put("to") }
            } else {
                TreePut { parents: true, ..tree_put(path) }
            };
            let teller = says([root(), file(1, "a", A.len())]).with(2, packed(&[(2, A)]));
            let (server, said) = put_to(ALL, request, teller, set_up).await;
            assert!(said.status != Status::Ok && !said.fatal, "{path} {backup}: {:?}", said.status);
            assert!(names(&server.root().join("real")).is_empty(), "{path}");
            assert!(
                !server.outside().join("state/a").exists() && !server.outside().join("state/new").exists()
            );
            assert_eq!(fs::read(server.root().join("to/a")).unwrap(), b"old", "{path}");
        }
    }
}

/// Wherever the client falls silent, the server ends the operation; what was begun is nowhere to be seen.
#[tokio::test]
async fn silence_ends_a_tree_and_leaves_nothing() {
    let limits = |limits: &mut ftserver::config::Limits| limits.stall_timeout = Duration::from_millis(200);
    let server = TestServer::builder().limits(limits).start().await;
    let large_bytes = large_content();
    let content = [packed(&[(2, A), (3, B)]), large(4, &large_bytes)].concat();
    let mut op = 0;
    for n in 0..content.len() {
        let to = format!("to{n}");
        let mut peer = RawPeer::logged_in(&server).await;
        op += 1;
        let teller = Teller::says(three_files()).with(4, content[..n].to_vec());
        let said = put(&mut peer, op, tree_put(&to), teller).await;
        assert_eq!((said.status, said.fatal), (Status::TimedOut, false), "after {n}: {}", said.text);
        assert!(!server.root().join(&to).join("large").exists(), "after {n}");
    }
    let mut peer = RawPeer::logged_in(&server).await;
    fs::create_dir(server.root().join("from")).unwrap();
    fs::write(server.root().join("from/a"), A).unwrap();
    for (op, said) in (1..).zip([vec![], vec![accept(2)]]) {
        peer.send(op, tree_get("from")).await.unwrap();
        while peer.next().await.unwrap() != (op, walked()) {}
        peer.send_all(op, said).await;
        assert_eq!(Status::from_wire(peer.answer(op).await.1.status), Status::TimedOut);
    }
    let names_sent = TreeGet { names: true, ..tree_get("from") };
    assert_eq!(peer.status(3, names_sent).await, Status::TimedOut);
}

/// A tree that was cut anywhere leaves whole files, old or new, and nothing else.
#[tokio::test]
async fn every_cut_of_a_tree_leaves_whole_files() {
    let server = TestServer::start().await;
    let to = server.root().join("to");
    let nodes = [root(), dir(1, "d"), file(2, "x", A.len()), file(1, "y", B.len()), link(1, "z", "t")];
    let messages = [Message::from(tree_put("to"))].into_iter().chain(nodes.into_iter().map(Message::from));
    let whole: Vec<u8> = messages
        .chain([walked()])
        .chain(packed(&[(3, A), (4, B)]))
        .flat_map(|message| frame(1, message))
        .collect();
    for cut in (0..=whole.len()).step_by(1) {
        let _ = fs::remove_dir_all(&to);
        fs::create_dir(&to).unwrap();
        fs::write(to.join("y"), "before").unwrap();
        let mut peer = RawPeer::connect(&server).await;
        peer.login_as(server.key(), USER, [3; 16], 0).await.unwrap();
        peer.send_bytes(&whole[..cut]).await.unwrap();
        if cut == whole.len() {
            assert_eq!(peer.answer(1).await.1.status, 0);
        }
        drop(peer);
        // The next login of the same run waits until this session is over.
        let mut next = RawPeer::connect(&server).await;
        next.login_as(server.key(), USER, [3; 16], 0).await.unwrap();
        let x = fs::read(to.join("d/x")).ok();
        let y = fs::read(to.join("y")).unwrap();
        assert!(x.is_none() || x.as_deref() == Some(A), "cut at {cut}: {x:?}");
        assert!(y == b"before" || y == B, "cut at {cut}: {y:?}");
        assert!(cut < whole.len() || (x.is_some() && y == B));
        let hidden =
            names(&to).into_iter().chain(names(&to.join("d"))).filter(|name| name.starts_with(".ft-"));
        assert_eq!(hidden.count(), 0, "cut at {cut}");
    }
}

/// A file shrinks while it is sent. That the receiver asks for a block of it again, and gives it up as well, crosses
/// the sender's word.
#[tokio::test]
async fn a_file_that_both_ends_give_up_is_no_fault() {
    let server = TestServer::start().await;
    fs::create_dir(server.root().join("from")).unwrap();
    let shrinking = fs::File::create(server.root().join("from/a")).unwrap();
    shrinking.set_len(256 << 20).unwrap();
    fs::write(server.root().join("from/b"), B).unwrap();
    let mut peer = RawPeer::logged_in(&server).await;
    peer.send(1, tree_get("from")).await.unwrap();
    while peer.next().await.unwrap() != (1, walked()) {}
    peer.send(1, accept(2)).await.unwrap();
    assert!(matches!(peer.next().await, Some((1, Message::Block(_)))));
    shrinking.set_len(1).unwrap();
    let gone = loop {
        match peer.next().await.unwrap() {
            (1, Message::Block(_) | Message::Data(_)) => {}
            (1, Message::NodeResult(gone)) => break gone,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((gone.file, Status::from_wire(gone.status)), (2, Status::Changed));
    let again = Again { file: 2, block: 0 };
    peer.send_all(1, [again.into(), given_up(2, Status::DiskFull as u32).into(), accept(3)]).await;
    for expected in packed(&[(3, B)]) {
        assert_eq!(peer.next().await, Some((1, expected)));
    }
    peer.send_all(1, [created(3, B).into(), End::default().into()]).await;
    assert_eq!(peer.answer(1).await, (vec![], End::default()));
}

/// The same where the server receives: content of a file that it has given up is on its way.
#[tokio::test]
async fn content_of_a_file_that_failed_meanwhile_is_dropped() {
    let large_bytes = large_content();
    let wrong = |content: &[u8]| -> Vec<Message> {
        large(2, content)
            .into_iter()
            .map(|message| match message {
                Message::Block(block) if block.block == 0 => Block { digest: vec![7; 16], ..block }.into(),
                other => other,
            })
            .collect()
    };
    // Damaged for the fourth time: from then on the rest is of no use.
    let damaged = wrong(&large_bytes)[..2].to_vec();
    let content =
        [wrong(&large_bytes), damaged.clone(), damaged.clone(), damaged, packed(&[(3, B)])].concat();
    let nodes = [root(), file(1, "a", large_bytes.len()), file(1, "b", B.len())];
    let (server, said) = put_to(ALL, tree_put("to"), says(nodes).with(3, content), |_| {}).await;
    assert_eq!((said.status, said.fatal), (Status::Ok, false), "{}", said.text);
    let results: Vec<(u32, Status)> =
        said.results().iter().map(|result| (result.file, Status::from_wire(result.status))).collect();
    assert_eq!(results, [(2, Status::Mismatch), (3, Status::Ok)]);
    assert_eq!(names(&server.root().join("to")), ["b"]);
}

#[tokio::test]
async fn a_peer_that_takes_no_content_cannot_hold_up_the_end() {
    let limits = |limits: &mut ftserver::config::Limits| {
        limits.stall_timeout = Duration::from_millis(200);
        limits.drain_timeout = Duration::from_secs(2);
    };
    let server = TestServer::builder().limits(limits).start().await;
    fs::create_dir(server.root().join("from")).unwrap();
    for n in 0..8 {
        let file = fs::File::create(server.root().join(format!("from/{n}"))).unwrap();
        file.set_len(64 << 20).unwrap();
    }
    let mut peer = RawPeer::logged_in(&server).await;
    peer.send(1, tree_get("from")).await.unwrap();
    while peer.next().await.unwrap() != (1, walked()) {}
    peer.send_all(1, (2..10).map(accept)).await;
    // From here on nothing is read.
    let drained = tokio::time::timeout(Duration::from_secs(15), server.drain()).await;
    assert!(drained.is_ok(), "the server does not end");
    drop(peer);
}

/// A file that takes long to read for its digest: the client hears that it goes on, and can end it.
#[tokio::test]
async fn who_waits_for_a_digest_hears_that_it_is_on_its_way() {
    let server = TestServer::start().await;
    fs::create_dir(server.root().join("from")).unwrap();
    let vast = fs::File::create(server.root().join("from/vast")).unwrap();
    vast.set_len(1 << 40).unwrap();
    let mut peer = RawPeer::logged_in(&server).await;
    peer.send(1, TreeGet { hashes: true, ..tree_get("from") }).await.unwrap();
    let mut last = 0;
    while last == 0 {
        match peer.next().await.unwrap() {
            (1, Message::Digest(digest)) => {
                assert!(digest.digest.is_empty());
                last = digest.size;
            }
            (1, Message::Node(node)) => assert_eq!(node.depth, 0),
            other => panic!("{other:?}"),
        }
    }
    peer.send(1, Message::Cancel).await.unwrap();
    assert_eq!(Status::from_wire(peer.answer(1).await.1.status), Status::Cancelled);
    assert_eq!(peer.status(2, Stat::default()).await, Status::Ok);
}
