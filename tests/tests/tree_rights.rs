//! Puts of trees by an account that may not do everything, with rules, limits and deletion; lists of names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

use ft_protocol::Status;
use ft_protocol::auth::Rights;
use ft_protocol::wire::Message;
use ft_protocol::wire::message::{End, Stat, TreeGet, TreePut, Walked};
use ft_tests::peer::RawPeer;
use ft_tests::server::{ALL, TestServer};
use ft_tests::tree_lies::{A, B, large_content};
use ft_tests::tree_wire::{
    Teller, file, given_up, names_in as names, packed, pass, put, put_to, root, says, tree_get, tree_put,
};

const DELETED: u32 = 4;

#[tokio::test]
async fn rights_hold_for_each_name() {
    let teller = || {
        says([root(), file(1, "new", B.len()), file(1, "old", A.len())])
            .with(2, packed(&[(2, B)]))
            .with(3, packed(&[(3, A)]))
    };
    let set_up = |root: &Path| {
        fs::create_dir(root.join("to")).unwrap();
        fs::write(root.join("to/old"), "what was here").unwrap();
        fs::write(root.join("to/more"), "extra").unwrap();
    };
    let read = |server: &TestServer, name: &str| fs::read(server.root().join("to").join(name)).ok();

    let (server, said) = put_to(Rights::READ, tree_put("to"), teller(), set_up).await;
    assert_eq!(said.status, Status::Denied);
    assert_eq!(read(&server, "old").unwrap(), b"what was here");

    let append = Rights::READ.union(Rights::CREATE);
    let (server, said) = put_to(append, tree_put("to"), teller(), set_up).await;
    assert_eq!(said.status, Status::Ok, "{}", said.text);
    assert_eq!(
        (read(&server, "new").unwrap(), read(&server, "old").unwrap()),
        (B.into(), b"what was here".into())
    );
    let refused: Vec<Status> = said
        .results()
        .iter()
        .map(|result| Status::from_wire(result.status))
        .filter(|s| *s != Status::Ok)
        .collect();
    assert_eq!(refused, [Status::Denied], "the one that exists");

    let (server, said) = put_to(Rights::OVERWRITE, tree_put("to"), teller(), set_up).await;
    assert_eq!(said.status, Status::Ok, "{}", said.text);
    assert_eq!((read(&server, "new"), read(&server, "old").unwrap()), (None, A.into()));

    let delete = TreePut { delete: true, max_delete: u64::MAX, ..tree_put("to") };
    let (server, said) = put_to(Rights::READ.union(Rights::WRITE), delete.clone(), teller(), set_up).await;
    assert_eq!(said.status, Status::Denied);
    assert!(read(&server, "more").is_some() && read(&server, "new").is_none(), "nothing was done");
    let (server, said) = put_to(ALL, delete, teller(), set_up).await;
    assert_eq!(said.status, Status::Ok, "{}", said.text);
    assert_eq!(names(&server.root().join("to")), ["new", "old"]);

    let (_server, said) =
        put_to(Rights::READ.union(Rights::OVERWRITE), tree_put("made"), teller(), |_| {}).await;
    assert_eq!(said.status, Status::Denied, "a directory is made with the right to create");
}

/// Who may not read learns no digest of what others put here.
#[tokio::test]
async fn without_the_right_to_read_nothing_is_learnt_of_what_is_there() {
    let set_up = |root: &Path| {
        fs::create_dir(root.join("to")).unwrap();
        fs::write(root.join("to/a"), B).unwrap();
        fs::write(root.join("to/large"), large_content()).unwrap();
    };
    let teller = says([root(), file(1, "a", A.len()), file(1, "large", large_content().len())])
        .with(2, packed(&[(2, A)]))
        .with(3, vec![given_up(3, Status::Changed as u32).into()]);
    let (_server, said) = put_to(Rights::WRITE, tree_put("to"), teller, set_up).await;
    assert!(!said.messages.iter().any(|message| matches!(message, Message::Have(_))), "{:?}", said.messages);
}

#[tokio::test]
async fn nothing_is_removed_unless_all_went_well() {
    let set_up = |root: &Path| {
        fs::create_dir_all(root.join("to/extra/deep")).unwrap();
        fs::write(root.join("to/extra/deep/x"), "x").unwrap();
        fs::write(root.join("to/old.o"), "left out").unwrap();
    };
    let delete = TreePut { delete: true, max_delete: 3, rules: b"-*.o\0".to_vec(), ..tree_put("to") };
    let good = || says([root(), file(1, "a", A.len())]).with(2, packed(&[(2, A)]));
    let incomplete = Teller::says([root().into(), Walked { complete: false }.into()]);
    let failed = says([root(), file(1, "a", A.len())]).with(2, vec![given_up(2, 9).into()]);
    let silent = Teller::says([root().into(), End { status: 1, message: "lost".into() }.into()]);
    let few = TreePut { max_delete: 2, ..delete.clone() };
    let none = TreePut { max_delete: 0, ..delete.clone() };
    let dry = TreePut { dry_run: true, ..delete.clone() };
    for (name, request, teller, expected) in [
        ("an incomplete list", delete.clone(), incomplete, None),
        ("a file that failed", delete.clone(), failed, None),
        ("a client that gives up", delete.clone(), silent, None),
        ("more than allowed", few, good(), Some(Status::Limit)),
        ("none allowed", none, good(), Some(Status::Limit)),
        ("a dry run", dry, good(), Some(Status::Ok)),
    ] {
        let (server, said) = put_to(ALL, request, teller, set_up).await;
        assert!(!said.fatal, "{name}: {}", said.text);
        assert!(
            expected.is_none_or(|expected| expected == said.status),
            "{name}: {:?} {}",
            said.status,
            said.text
        );
        let to = server.root().join("to");
        assert!(to.join("extra/deep/x").exists() && to.join("old.o").exists(), "{name}");
        let told = said.named().iter().filter(|(_, action, _)| *action == DELETED).count();
        assert_eq!(told, if name == "a dry run" { 3 } else { 0 }, "{name}");
        assert_eq!(to.join("a").exists(), expected == Some(Status::Limit), "{name}: the rest is done");
    }
    let (server, said) = put_to(ALL, delete, good(), set_up).await;
    assert_eq!(said.status, Status::Ok, "{}", said.text);
    assert_eq!(names(&server.root().join("to")), ["a", "old.o"]);
    let mut gone: Vec<(String, u32, Status)> = said.named();
    gone.retain(|(_, action, _)| *action == DELETED);
    gone.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = ["extra", "extra/deep", "extra/deep/x"].map(|path| (path.to_owned(), DELETED, Status::Ok));
    assert_eq!(gone, expected);
}

#[tokio::test]
async fn malformed_rules_are_refused_and_large_ones_cost_little() {
    let many = |rule: &str, bytes: usize| rule.repeat(bytes / rule.len()).into_bytes();
    let stars = format!("-{}\0", "*a".repeat(1000));
    let depth = format!("-{}x\0", "**/".repeat(500));
    for (name, rules, may_be_good) in [
        ("no sign", b"x\0".to_vec(), false),
        ("another sign", b"?x\0".to_vec(), false),
        ("no end", b"-x".to_vec(), false),
        ("no pattern", b"-\0".to_vec(), false),
        ("nothing at all", b"\0".to_vec(), false),
        ("the second one", b"-x\0+\0".to_vec(), false),
        ("a great many", many("-x\0", 250_000), true),
        ("many that fit anywhere", many("-**/*?*/x*y*z\0", 250_000), true),
        ("stars", many(&stars, 250_000), true),
        ("depth", many(&depth, 250_000), true),
        ("one of 250 KB", format!("-{}\0", "a*".repeat(125_000)).into_bytes(), true),
    ] {
        let name_of_evil = "a".repeat(255);
        let set_up = |root: &Path| {
            fs::create_dir_all(root.join("to/aaaa/b/c/d")).unwrap();
            fs::write(root.join("to/aaaa").join(&name_of_evil), "x").unwrap();
        };
        let request = TreePut { rules: rules.clone(), delete: true, max_delete: 0, ..tree_put("to") };
        let (server, said) = put_to(ALL, request, says([root()]), set_up).await;
        let refused = [Status::Invalid, Status::Limit].contains(&said.status);
        assert!(!said.fatal && (refused || may_be_good), "{name}: {:?} {}", said.status, said.text);
        assert!(said.text.len() < 5000, "{name}");
        let mut peer = RawPeer::logged_in(&server).await;
        let get = TreeGet { rules, ..tree_get("to") };
        peer.send_all(1, [get.into(), End { status: 19, message: String::new() }.into()]).await;
        let (_, end) = peer.answer(1).await;
        assert!(may_be_good || Status::from_wire(end.status) == Status::Invalid, "{name}: {}", end.message);
    }
}

#[tokio::test]
async fn names_are_bounded_and_safe() {
    let server = TestServer::start().await;
    fs::create_dir_all(server.root().join("to/a")).unwrap();
    for name in ["in", "out"] {
        fs::write(server.root().join("to/a").join(name), A).unwrap();
    }
    let mut peer = RawPeer::logged_in(&server).await;
    let get = TreeGet { names: true, ..tree_get("to") };
    let text = |bytes: &[u8]| Message::Names(bytes.to_vec().into());
    let mut op = 0;
    for bad in [&b"../x\0"[..], b"/etc\0", b"a/../b\0", b"a", b"a//b\0"] {
        op += 1;
        peer.send_all(op, [get.clone().into(), text(bad), text(b"")]).await;
        let end = peer.answer(op).await.1;
        assert_eq!(Status::from_wire(end.status), Status::Invalid, "{bad:?}: {}", end.message);
    }
    // Cut anywhere.
    op += 1;
    peer.send_all(op, [get.clone().into(), text(b"a/i"), text(b"n\0go"), text(b"ne\0"), text(b"")]).await;
    let mut listed = Vec::new();
    loop {
        match peer.next().await.unwrap().1 {
            Message::Node(node) => listed.push(node.name),
            Message::Walked(end) => break assert!(!end.complete, "one is not there"),
            Message::NodeResult(result) => assert_eq!((&result.path[..], result.status), (&b"gone"[..], 3)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(listed, [&b""[..], b"a", b"in"]);
    peer.send_all(op, [pass(3), End::default().into()]).await;
    assert_eq!(peer.answer(op).await.1.status, 0);

    // A flood ends the operation, not the session, and is dropped unread.
    op += 1;
    peer.send(op, get.clone()).await.unwrap();
    let flood = text(&b"abcdefg\0".repeat(8192));
    for _ in 0..300 {
        peer.send(op, flood.clone()).await.unwrap();
    }
    assert_eq!(Status::from_wire(peer.answer(op).await.1.status), Status::Limit);
    op += 1;
    peer.send_all(
        op,
        [get.into(), text(&b"a\0".repeat(32_000)), text(b""), End { status: 19, ..End::default() }.into()],
    )
    .await;
    peer.answer(op).await;
    assert_eq!(peer.status(op + 1, Stat::default()).await, Status::Ok);

    peer.send_all(op + 2, [tree_get("to").into(), text(b"a\0")]).await;
    assert_eq!(peer.farewell().await.unwrap().status, Status::Protocol as u32, "nobody asked for names");
}

/// Two at one destination at the same time: the second one is told.
#[tokio::test]
async fn one_put_at_a_time_works_on_a_directory() {
    let server = TestServer::start().await;
    let mut first = RawPeer::logged_in(&server).await;
    first.send_all(1, [tree_put("to").into(), root().into()]).await;
    first.send_all(1, [file(1, "a", A.len()).into()]).await;
    while !matches!(first.next().await, Some((1, Message::Accept(_)))) {}
    let mut second = RawPeer::logged_in(&server).await;
    assert_eq!(put(&mut second, 1, tree_put("to"), says([root()])).await.status, Status::Busy);
    assert_eq!(put(&mut second, 2, tree_put("other"), says([root()])).await.status, Status::Ok);
    first.send(1, Message::Cancel).await.unwrap();
    assert_eq!(Status::from_wire(first.answer(1).await.1.status), Status::Cancelled);
    assert_eq!(put(&mut second, 3, tree_put("to"), says([root()])).await.status, Status::Ok);
    assert!(names(&server.root().join("to")).is_empty());
}
