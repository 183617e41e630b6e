//! A server that lies about a tree: its client reports an error that names the entry, nothing lands outside the
//! destination, and nothing waits for ever.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, reason = "not every test needs all of it")]
mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::lies::{BRIEF, PATIENCE};
use common::{builder, names, remote};
use ft_protocol::Status;
use ft_protocol::tree::{Action as Done, Item};
use ft_protocol::wire::Message;
use ft_protocol::wire::message::{Node, NodeResult, Piece, Walked};
use ft_tests::content::{pattern, proof};
use ft_tests::hostile::{Action, HostileServer};
use ft_tests::peer::frame;
use ft_tests::tree_lies::{
    A, B, Lie, large_content, lies_of_a_list, lies_of_a_receiver, lies_of_content, three_files,
};
use ft_tests::tree_wire::{
    Teller, dir, file, given_up, large, link, pack, packed, piece, root, says, walked,
};
use ftclient::client::{Result, TreeOptions};
use tempfile::TempDir;
use tokio::task::{JoinSet, LocalSet};

/// A destination with things of its own, beside what must stay as it is.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Self { dir };
        fs::create_dir(place.to()).unwrap();
        fs::create_dir(place.outside()).unwrap();
        fs::write(place.outside().join("canary"), "sings").unwrap();
        fs::write(place.dir.path().join("x"), "not yours").unwrap();
        place
    }

    /// The destination.
    fn to(&self) -> PathBuf {
        self.dir.path().join("to")
    }

    /// A directory beside it.
    fn outside(&self) -> PathBuf {
        self.dir.path().join("outside")
    }

    /// Everything outside of the destination stands as it stood.
    fn assert_untouched(&self, name: &str) {
        assert_eq!(names(self.dir.path()), ["outside", "to", "x"], "{name}");
        assert_eq!(names(&self.outside()), ["canary"], "{name}");
        assert_eq!(fs::read(self.outside().join("canary")).unwrap(), b"sings", "{name}");
        assert_eq!(fs::read(self.dir.path().join("x")).unwrap(), b"not yours", "{name}");
    }
}

/// What came of a get, with all that was told on the way.
struct Came {
    outcome: Result<ft_protocol::tree::TreeDone>,
    items: Vec<Item>,
    teller: Teller,
}

impl Came {
    /// The failures by their paths.
    fn failures(&self) -> BTreeMap<String, (Status, bool)> {
        let failed = self.items.iter().filter_map(|item| Some((item, item.failure.as_ref()?)));
        failed.map(|(item, failure)| (item.path.to_string(), (failure.status, item.here))).collect()
    }

    /// What was done, by path.
    fn done(&self) -> BTreeMap<String, Done> {
        let done = self.items.iter().filter(|item| item.failure.is_none());
        done.map(|item| (item.path.to_string(), item.action)).collect()
    }
}

/// A get from a server of which this is all that it says.
async fn get(teller: Teller, to: &Path, patience: Duration, mut options: TreeOptions) -> Came {
    let teller = Arc::new(Mutex::new(teller));
    let told = Arc::clone(&teller);
    let server = HostileServer::start(move |op, message| told.lock().unwrap().act(op, &message)).await;
    let mut client = builder(server.address(), server.fingerprint(), patience).build().unwrap();
    let items: Arc<Mutex<Vec<Item>>> = Arc::default();
    let seen = Arc::clone(&items);
    options.on_item = Arc::new(move |item| seen.lock().unwrap().push(item.clone()));
    let outcome = client.get_tree(&remote("tree"), to, None, &options).await;
    let (items, teller) = (items.lock().unwrap().clone(), teller.lock().unwrap().clone());
    Came { outcome, items, teller }
}

async fn get_plain(teller: Teller, to: &Path) -> Came {
    get(teller, to, PATIENCE, TreeOptions::default()).await
}

/// What is wrong with the way in which the client met this lie.
async fn refused(lie: Lie) -> std::result::Result<(), String> {
    let (name, place) = (lie.name, Place::new());
    let came = get_plain(lie.teller, &place.to()).await;
    place.assert_untouched(&name);
    // What is there is complete, whatever came after it.
    for (file, content) in [("a", A), ("b", B)] {
        let there = fs::read(place.to().join(file)).ok();
        assert!(there.is_none_or(|there| there == content), "{name}: {file}");
    }
    assert!(!place.to().join("large").exists(), "{name}");
    let Err(error) = came.outcome else { return Err(format!("{name}: a success")) };
    let text = error.to_string();
    assert!(!text.contains(['\u{1b}', '\n', '\0']) && text.len() < 10_000, "{name}: {text:?}");
    if error.status() != Status::Protocol {
        return Err(format!("{name}: {text}"));
    }
    let found = text.contains(&lie.names);
    if found { Ok(()) } else { Err(format!("{name}: {text:?} does not name {:?}", lie.names)) }
}

async fn assert_refused(lies: Vec<Lie>) {
    let mut wrong = Vec::new();
    for lie in lies {
        wrong.extend(refused(lie).await.err());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn no_list_leads_outside() {
    assert_refused(lies_of_a_list()).await;
}

#[tokio::test]
async fn no_content_is_taken_that_was_not_asked_for() {
    assert_refused(lies_of_content()).await;
}

/// Links of the destination that lead outside are not followed, and neither are those that the server made.
#[tokio::test]
async fn nothing_is_written_through_a_link() {
    let place = Place::new();
    symlink("../outside", place.to().join("out")).unwrap();
    symlink("../outside/canary", place.to().join("bird")).unwrap();
    let teller = says([root(), file(1, "bird", A.len()), dir(1, "out"), file(2, "canary", B.len())])
        .with(2, packed(&[(2, A)]))
        .with(4, packed(&[(4, B)]));
    let came = get_plain(teller, &place.to()).await;
    place.assert_untouched("links that stood there");
    came.outcome.unwrap();
    assert!(!place.to().join("bird").is_symlink() && fs::read(place.to().join("bird")).unwrap() == A);

    let planted = Teller::says([root().into(), link(1, "planted", "../outside").into(), walked()]);
    get_plain(planted, &place.to()).await.outcome.unwrap();
    assert!(place.to().join("planted").is_symlink());
    let listing = [root(), dir(1, "planted"), file(2, "canary", B.len())];
    let teller =
        Teller::says(listing.into_iter().map(Message::from).chain([walked()])).with(3, packed(&[(3, B)]));
    let came = get_plain(teller, &place.to()).await;
    place.assert_untouched("a link of the server");
    drop(came.outcome);
}

#[tokio::test]
async fn bits_beyond_the_permissions_are_dropped() {
    let place = Place::new();
    let odd = Node { mode: 0o7777, ..file(1, "odd", A.len()) };
    let inside = Node { mode: u32::MAX, ..dir(1, "sub") };
    let teller =
        Teller::says([root().into(), odd.into(), inside.into(), walked()]).with(2, packed(&[(2, A)]));
    let options = TreeOptions { preserve: true, times: true, ..TreeOptions::default() };
    let came = get(teller, &place.to(), PATIENCE, options).await;
    came.outcome.unwrap();
    for name in ["odd", "sub"] {
        let mode = fs::metadata(place.to().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o777, "{name}: {mode:o}");
    }
}

/// The digest is wrong, again and again: the file fails, the others arrive.
#[tokio::test]
async fn a_small_file_that_stays_damaged_fails_alone() {
    for digest in [proof(B).to_vec(), b"short".to_vec(), Vec::new(), vec![7; 32]] {
        let place = Place::new();
        let wrong = || vec![Message::from(Piece { digest: digest.clone(), ..piece(2, A) }), pack(A)];
        let teller = says([root(), file(1, "a", A.len()), file(1, "b", B.len())])
            .with(3, [wrong(), packed(&[(3, B)])].concat())
            .again(2, wrong());
        let came = get_plain(teller, &place.to()).await;
        assert_eq!(came.outcome.as_ref().unwrap().failed, 1);
        assert_eq!(came.teller.asked_again, 3);
        assert_eq!(came.failures(), BTreeMap::from([("a".into(), (Status::Mismatch, true))]));
        assert_eq!(names(&place.to()), ["b"]);
    }
}

#[tokio::test]
async fn a_file_that_was_damaged_once_arrives() {
    let place = Place::new();
    let large_bytes = large_content();
    let mut damaged = large(4, &large_bytes);
    if let Message::Data(data) = &mut damaged[3] {
        *data = pattern(data.len()).into_iter().map(|byte| byte ^ 1).collect::<Vec<u8>>().into();
    }
    let again = damaged[2..3].iter().cloned().chain(large(4, &large_bytes)[3..4].iter().cloned()).collect();
    let wrong = vec![Message::from(piece(2, A)), pack(b"abd")];
    let teller = Teller::says(three_files())
        .with(4, [wrong, packed(&[(3, B)]), damaged].concat())
        .again(2, packed(&[(2, A)]))
        .again(4, again);
    let came = get_plain(teller, &place.to()).await;
    assert_eq!((came.outcome.unwrap().failed, came.teller.asked_again), (0, 2));
    assert_eq!(fs::read(place.to().join("a")).unwrap(), A);
    assert!(fs::read(place.to().join("large")).unwrap() == large_bytes);
}

#[tokio::test]
async fn what_the_server_gives_up_is_named_and_the_rest_arrives() {
    let place = Place::new();
    let special = NodeResult { path: b"fifo".to_vec(), kind: 4, action: 5, ..NodeResult::default() };
    let dark =
        NodeResult { path: b"dark".to_vec(), kind: 2, status: 9, message: "no".into(), ..special.clone() };
    let listing = vec![
        root().into(),
        file(1, "a", A.len()).into(),
        file(1, "b", B.len()).into(),
        dir(1, "dark").into(),
        dark.into(),
        special.into(),
        file(1, "large", large_content().len()).into(),
        Walked { complete: false }.into(),
    ];
    let mut broken: Vec<Message> = large(5, &large_content())[..2].to_vec();
    broken.push(given_up(5, Status::Changed as u32).into());
    let content = [vec![given_up(2, Status::NotFound as u32).into()], packed(&[(3, B)]), broken].concat();
    fs::write(place.to().join("extra"), "stays").unwrap();
    fs::write(place.to().join("fifo"), "stays").unwrap();
    let options = TreeOptions { delete: Some(u64::MAX), ..TreeOptions::default() };
    let came = get(Teller::says(listing).with(5, content), &place.to(), PATIENCE, options).await;
    let failed = came.failures();
    assert_eq!(failed.get("a"), Some(&(Status::NotFound, false)), "{:?}", came.outcome);
    assert_eq!(failed.get("dark"), Some(&(Status::PermissionDenied, false)));
    assert_eq!(failed.get("large"), Some(&(Status::Changed, false)));
    assert_eq!(came.done().get("fifo"), Some(&Done::Skipped));
    let there = names(&place.to());
    let there: Vec<&str> =
        there.iter().map(String::as_str).filter(|name| !name.starts_with(".ft-")).collect();
    assert_eq!(there, ["b", "dark", "extra", "fifo"], "nothing is removed after a failure");
}

/// The source has a FIFO where this side has a file: it is not missing there, so it is not removed here.
#[tokio::test]
async fn what_is_something_else_at_the_source_is_not_removed() {
    let place = Place::new();
    for name in ["a", "fifo", "z"] {
        fs::write(place.to().join(name), "old").unwrap();
    }
    let special = NodeResult { path: b"fifo".to_vec(), kind: 4, action: 5, ..NodeResult::default() };
    let teller = Teller::says([root().into(), special.into(), walked()]);
    let options = TreeOptions { delete: Some(u64::MAX), ..TreeOptions::default() };
    let came = get(teller, &place.to(), PATIENCE, options).await;
    came.outcome.unwrap();
    assert_eq!(names(&place.to()), ["fifo"]);
}

#[tokio::test]
async fn a_size_that_no_file_has_is_refused_or_fails() {
    for size in [u64::MAX, i64::MAX as u64, 1 << 62] {
        let place = Place::new();
        let node = Node { size, ..file(1, "vast", 0) };
        let block = ft_protocol::wire::message::Block {
            file: 2,
            digest: vec![7; 16],
            last: true,
            ..Default::default()
        };
        let teller = Teller::says([root().into(), node.into(), walked()])
            .with(2, vec![block.into(), Message::Data(A.into())]);
        let came = get(teller, &place.to(), PATIENCE, TreeOptions::default()).await;
        let failed = came.outcome.as_ref().map_or(1, |done| done.failed);
        assert_eq!(failed, 1, "{size}");
        place.assert_untouched("a vast file");
        assert!(!place.to().join("vast").exists());
    }
}

/// Silence and a close, wherever they come.
#[tokio::test]
async fn nothing_waits_for_ever_and_no_part_of_a_file_stays_under_its_name() {
    let large_bytes = large_content();
    let all = [packed(&[(2, A), (3, B)]), large(4, &large_bytes)].concat();
    let listing = three_files();
    let mut tellers: Vec<Teller> =
        (0..=listing.len()).map(|n| Teller::says(listing[..n].iter().cloned())).collect();
    tellers.extend((0..all.len()).map(|n| Teller::says(listing.clone()).with(4, all[..n].to_vec())));
    // All at the same time: silence takes a second.
    let (here, mut running) = (LocalSet::new(), JoinSet::new());
    for (n, teller) in tellers.into_iter().enumerate() {
        let met = async move {
            for (closes, patience, expected) in
                [(false, BRIEF, Status::TimedOut), (true, PATIENCE, Status::Unavailable)]
            {
                let (place, teller) = (Place::new(), Teller { closes, ..teller.clone() });
                let came = get(teller, &place.to(), patience, TreeOptions::default()).await;
                assert_eq!(came.outcome.unwrap_err().status(), expected, "after {n}");
                assert!(!place.to().join("large").exists(), "after {n}");
                place.assert_untouched("silence or a close");
            }
        };
        running.spawn_local_on(met, &here);
    }
    here.await;
    assert!(running.join_all().await.len() > 10);
}

/// One directory with more entries than any may have; nothing is made of it.
#[tokio::test]
async fn a_directory_of_more_than_a_million_entries_is_refused() {
    if std::env::var_os("FT_SOAK").is_none() {
        return;
    }
    let place = Place::new();
    let listing: Vec<u8> = frame(1, root())
        .into_iter()
        .chain([frame(1, dir(1, "crowded"))].concat())
        .chain((0..=1_000_000).flat_map(|n| frame(1, dir(2, format!("{n:07}")))))
        .collect();
    let mut actions = Some(vec![Action::Raw(listing)]);
    let server = HostileServer::start(move |_, _| actions.take().unwrap_or_default()).await;
    let mut client = builder(server.address(), server.fingerprint(), PATIENCE).build().unwrap();
    let options = TreeOptions { dry_run: true, quick: true, ..TreeOptions::default() };
    let error = client.get_tree(&remote("tree"), &place.to(), None, &options).await.unwrap_err();
    assert_eq!(error.status(), Status::Protocol, "{error}");
    assert!(error.to_string().contains("crowded"), "{error}");
    assert!(names(&place.to()).is_empty());
}

/// A receiver that lies gets no put done, and learns nothing but what was sent.
#[tokio::test]
async fn no_receiver_makes_a_put_of_a_tree_succeed() {
    let place = tempfile::tempdir().unwrap();
    let from = place.path().join("from");
    fs::create_dir(&from).unwrap();
    fs::write(from.join("a"), A).unwrap();
    fs::write(from.join("b"), B).unwrap();
    fs::write(from.join("large"), large_content()).unwrap();
    let before = fs::metadata(from.join("a")).unwrap().mtime();
    let mut wrong = Vec::new();
    for (name, lie) in lies_of_a_receiver() {
        let mut lie = Some(lie);
        let server = HostileServer::start(move |op, message| match message {
            // Everything was listed by then.
            Message::Walked(_) => {
                lie.take().into_iter().flatten().map(|message| Action::Send(op, message)).collect()
            }
            _ => Vec::new(),
        })
        .await;
        let mut client = builder(server.address(), server.fingerprint(), PATIENCE).build().unwrap();
        let put = client.put_tree(&from, &remote("to"), None, &TreeOptions::default()).await;
        let error = put.expect_err(name);
        assert!(!error.to_string().contains(['\u{1b}', '\n']), "{name}");
        if error.status() != Status::Protocol {
            wrong.push(format!("{name}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(fs::metadata(from.join("a")).unwrap().mtime(), before);
    assert_eq!(names(&from), ["a", "b", "large"]);
}
