use std::fs;
use std::sync::{Arc, Mutex};

use crate::auth::Rights;
use crate::digest::Algorithm;
use crate::error::Status;
use crate::fs::{Filter, Root};
use crate::transfer::Abandon;
use crate::tree::{Action, Backup, Item, Place, ReceiveTree, TreeMeter, receive_tree};
use crate::wire::Connection;
use crate::wire::message::{Node, Walked};

const OP: u32 = 1;

#[tokio::test]
async fn what_was_removed_before_a_run_was_cut_short_is_told_and_nothing_else_is() {
    let place = tempfile::tempdir().unwrap();
    let (copy, kept) = (place.path().join("copy"), place.path().join("kept"));
    for dir in [&copy, &kept, &copy.join("d")] {
        fs::create_dir(dir).unwrap();
    }
    for name in ["x", "y"] {
        fs::write(copy.join(name), "x").unwrap();
    }
    let (mut a, mut b) = {
        let (a, b) = tokio::io::duplex(1 << 16);
        (Connection::new(a), Connection::new(b))
    };
    a.rx.logged_in();
    b.rx.logged_in();
    let meter = Arc::new(TreeMeter::default());
    let bytes = meter.bytes();
    let backup = Backup::new(
        // Asked for when the first name is removed: from then on nobody waits for the rest.
        move || {
            drop(Abandon(Arc::clone(&bytes)));
            Root::open(&kept)
        },
        None,
    );
    let tree = Place { root: Some(Root::open(&copy).unwrap()), backup: Some(backup), ..Place::default() };
    let told = Arc::new(Mutex::new(Vec::new()));
    let items = Arc::clone(&told);
    let job = ReceiveTree {
        place: Box::new(move || Ok(tree)),
        account: "ann".into(),
        rights: Rights::READ.union(Rights::WRITE).union(Rights::DELETE),
        algorithm: Algorithm::Md5,
        whole: false,
        preserve: false,
        times: true,
        no_clobber: false,
        resume: false,
        quick: true,
        delete: Some(u64::MAX),
        dry_run: false,
        filter: Filter::default(),
        rate: None,
        report: false,
        meter,
        on_item: Arc::new(move |item: &Item| items.lock().unwrap().push(item.clone())),
    };
    // A link takes the place of the directory, after all that is removed.
    let link = Node { depth: 1, name: b"d".into(), kind: 3, target: b"x".into(), ..Node::default() };
    for node in [Node { kind: 2, mode: 0o755, ..Node::default() }, link] {
        a.tx.send(OP, node).await.unwrap();
    }
    a.tx.send(OP, Walked { complete: true }).await.unwrap();
    let error = receive_tree(&mut b, OP, job).await.unwrap_err();
    assert_eq!(error.status(), Status::Cancelled);
    let told = told.lock().unwrap();
    let told: Vec<_> =
        told.iter().map(|item| (item.action, item.path.to_string(), item.failure.clone())).collect();
    let gone = |name: &str| (Action::Deleted, name.to_string(), None);
    assert_eq!(told, [gone("d"), gone("x")]);
    assert!(!copy.join("x").exists() && copy.join("y").exists(), "it stops there");
}
