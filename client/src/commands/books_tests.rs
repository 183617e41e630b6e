use std::io::Write;
use std::path::Path;

use ft_protocol::fs::Mtime;
use ft_protocol::{Failure, RemotePath, Status};
use tempfile::TempDir;

use super::*;
use crate::output::OutputOptions;
use crate::receipts::{self, Receipt, Recorded};
use crate::testing::Buffer;

/// The books of a run into `copy`, what they say, and where their receipt is.
struct Scene {
    books: Books,
    err: Buffer,
    out: Buffer,
    dir: TempDir,
}

impl Scene {
    fn new(json: bool) -> Self {
        let (out, err) = (Buffer::default(), Buffer::default());
        let options = OutputOptions { json, ..Default::default() };
        let output = Output::with_writers(options, Box::new(out.clone()), Box::new(err.clone()));
        let dir = TempDir::new().unwrap();
        let recorder = Recorder::new(dir.path().join("receipts"), &[7; 16], "get", "nas");
        let books = Books::new(&output, "nas", "get", DigestChoice::Md5, Some(recorder));
        books.open().summary.tree = true;
        Self { books, err, out, dir }
    }

    fn item(&self, item: &Item) -> &Self {
        let place = Place {
            local: "/home/copy".into(),
            remote: RemotePath::from_wire(b"photos").unwrap(),
            shown: Vec::new(),
            dry_run: false,
        };
        self.books.open().item(&place, item);
        self
    }

    fn exit(&self, error_on_no_transfer: bool) -> Exit {
        self.books.open().finish(Duration::from_secs(1), error_on_no_transfer).unwrap()
    }

    fn recorded(&self) -> Vec<Recorded> {
        let Ok(path) = receipts::find(&self.dir.path().join("receipts"), "last".as_ref()) else {
            return Vec::new();
        };
        let mut receipt = Receipt::open(&path).unwrap();
        std::iter::from_fn(|| receipt.next_file().unwrap()).collect()
    }
}

fn item(path: &str, action: Action) -> Item {
    let hash = Hash::from_wire(&[0xab; 16]).unwrap();
    Item {
        path: RemotePath::from_wire(path.as_bytes()).unwrap(),
        kind: Kind::File,
        action,
        size: 5,
        mtime: Mtime { secs: 9, nanos: 0 },
        proof: (action != Action::Deleted).then_some(hash),
        whole: None,
        kept: 0,
        failure: None,
        here: false,
        grew: false,
    }
}

fn failed(path: &str, status: Status) -> Item {
    Item {
        failure: Some(Failure::new(status, "cannot be read")),
        proof: None,
        here: true,
        ..item(path, Action::Created)
    }
}

#[test]
fn names_of_a_tree_are_said_counted_and_recorded() {
    let scene = Scene::new(false);
    let dir = Item { kind: Kind::Dir, proof: None, ..item("d", Action::Created) };
    scene.item(&dir).item(&item("d/a", Action::Created)).item(&item("d/b", Action::Replaced));
    scene
        .item(&item("d/c", Action::Equal))
        .item(&item("d/m", Action::Meta))
        .item(&item("old", Action::Deleted));
    let fifo = Item { kind: Kind::Other, proof: None, ..item("fifo", Action::Skipped) };
    scene.item(&fifo);
    assert_eq!(scene.exit(true), Exit::Ok);
    let hex = "ab".repeat(16);
    assert_eq!(
        scene.err.text(),
        format!(
            "+ d/\n+ d/a: 5 B, md5 {hex} verified\n* d/b: 5 B, md5 {hex} verified\n* d/m: mode or time\n- old\n\
             fifo: skipped: is a device, FIFO or socket\n\
             2 files, 10 B in 1.0 s (10 B/s), all verified; 2 equal already, 1 deleted, 1 skipped\n"
        )
    );
    let recorded = scene.recorded();
    let places: Vec<(&Path, &str)> = recorded
        .iter()
        .map(|file| (file.local.as_deref().unwrap(), std::str::from_utf8(file.remote.as_bytes()).unwrap()))
        .collect();
    assert_eq!(
        places,
        ["a", "b", "c", "m"].map(|name| {
            let (local, remote) = (format!("/home/copy/d/{name}"), format!("photos/d/{name}"));
            (Path::new(Box::leak(local.into_boxed_str())), &*Box::leak(remote.into_boxed_str()))
        })
    );
    assert!(recorded.iter().all(|file| file.hex == hex && file.mtime == Some(Mtime { secs: 9, nanos: 0 })));
}

#[test]
fn failures_of_single_names_are_partial_or_their_common_code() {
    let scene = Scene::new(false);
    scene.item(&failed("a", Status::PermissionDenied)).item(&item("b", Action::Created));
    assert_eq!(scene.exit(false), Exit::Partial);
    assert!(scene.err.text().starts_with("! a: cannot be read\n"), "{}", scene.err.text());
    assert!(scene.err.text().contains("; 1 failed"));

    let scene = Scene::new(false);
    scene.item(&failed("a", Status::NotFound)).item(&failed("b", Status::NotFound));
    assert_eq!(scene.exit(false), Exit::NotFound, "all failed alike");

    let scene = Scene::new(false);
    scene.item(&item("a", Action::Created)).item(&failed("b", Status::DiskFull));
    assert_eq!(scene.exit(false), Exit::DiskFull, "it ends the job, whatever arrived");
}

#[test]
fn what_arrived_and_was_not_compared_is_a_failure() {
    let scene = Scene::new(false);
    scene.item(&Item { proof: None, ..item("a", Action::Created) });
    assert_eq!(scene.exit(false), Exit::Mismatch);
    assert!(scene.recorded().is_empty());
}

#[test]
fn nothing_to_do_is_an_error_only_where_it_was_asked_to_be() {
    let scene = Scene::new(false);
    scene.item(&item("a", Action::Equal));
    assert_eq!((scene.exit(false), scene.exit(true)), (Exit::Ok, Exit::Nothing));
    let scene = Scene::new(false);
    scene.item(&item("a", Action::Deleted));
    assert_eq!(scene.exit(true), Exit::Ok);
}

#[test]
fn a_failed_name_is_an_error_event_with_its_remote_path() {
    let scene = Scene::new(true);
    scene.item(&failed("d/a", Status::PermissionDenied));
    let event: serde_json::Value = serde_json::from_str(scene.out.text().lines().next().unwrap()).unwrap();
    assert_eq!((&event["type"], &event["path"]), (&"error".into(), &"photos/d/a".into()));
    assert_eq!((&event["code"], &event["retry_safe"]), (&7.into(), &true.into()));
}

#[test]
fn a_receipt_that_cannot_be_written_is_warned_of_once_and_no_failure() {
    let scene = Scene::new(false);
    std::fs::write(scene.dir.path().join("receipts"), "in the way").unwrap();
    scene.item(&item("a", Action::Created)).item(&item("b", Action::Created));
    assert_eq!(scene.exit(false), Exit::Ok);
    assert_eq!(scene.err.text().matches("warning: there is no receipt of this run").count(), 1);
}

#[test]
fn where_nobody_listens_any_more_the_books_are_mute() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let output = Output::with_writers(OutputOptions::default(), Box::new(Closed), Box::new(Closed));
    let scene =
        Scene { books: Books::new(&output, "nas", "get", DigestChoice::Md5, None), ..Scene::new(false) };
    assert!(!scene.books.is_mute());
    scene.item(&item("a", Action::Created));
    assert!(scene.books.is_mute());
    assert!(scene.books.open().unsaid().is_err());
}

#[test]
fn digests_are_printed_under_the_name_that_they_have_elsewhere() {
    let hash = Hash::from_wire(&[1; 16]).unwrap();
    let hex = "01".repeat(16);
    let name = |choice, size, whole| printed(choice, size, &hash, whole).0;
    assert_eq!(name(DigestChoice::Md5, 5, None), "md5", "one block is proven by its plain MD5");
    assert_eq!(name(DigestChoice::Md5, 2 << 20, Some(&hash)), "md5");
    assert_eq!(printed(DigestChoice::Md5Tree, 2 << 20, &hash, None), ("md5-tree", format!("{hex}-2")));
    assert_eq!(printed(DigestChoice::Md5Tree, 5, &hash, None), ("md5-tree", hex));
}
