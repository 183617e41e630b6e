//! What happens where a shared digest is wrong, as of a file that was written to without another time (mmap(2)).

use std::fs;
use std::path::Path;

use super::name::Named;
use super::*;
use crate::auth::Rights;
use crate::digest::Whole;
use crate::error::{Result, Status};
use crate::fs::{CommitOptions, Filter, Links, ModeRule, Root, Staged};
use crate::path::RemotePath;
use crate::transfer::{FileInfo, ReceiveJob, SendJob, Sent, Sink, Source, receive, send};
use crate::tree::{Action, Item, Place, ReceiveTree, SendTree, TreeMeter, Unheard, receive_tree, send_tree};
use crate::wire::message::{End, FileResult};
use crate::wire::{BLOCK_LEN, Connection, Message};
use tokio::io::DuplexStream;

const OP: u32 = 1;

fn pair() -> (Connection<DuplexStream>, Connection<DuplexStream>) {
    let (a, b) = tokio::io::duplex(1 << 16);
    let (mut a, mut b) = (Connection::new(a), Connection::new(b));
    a.rx.logged_in();
    b.rx.logged_in();
    (a, b)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

fn key(path: &Path, algorithm: Algorithm) -> FileKey {
    FileKey::new(&Meta::of(&fs::File::open(path).unwrap()).unwrap(), algorithm)
}

/// Shares another digest for block `number` than it has.
fn poison(store: &SharedDigests, path: &Path, number: u64) {
    store.block(&key(path, Algorithm::Md5), number, None, || Lanes::default().plain(b"something else"));
}

/// Shares the digests of all blocks of `old`, and its name, for a file that has other content by now.
fn outdate(store: &SharedDigests, path: &Path, old: &[u8], algorithm: Algorithm) {
    let key = key(path, algorithm);
    let mut proof = crate::digest::Root::new(algorithm);
    for (number, block) in (0..).zip(old.chunks(BLOCK_LEN)) {
        let digest = algorithm.block(&Lanes::default(), block, old.len() <= BLOCK_LEN);
        store.block(&key, number, None, || digest);
        proof.add(&digest);
    }
    store.keep_named(&key, Named { name: name_of(old, algorithm), proof: proof.finish() });
}

fn name_of(data: &[u8], algorithm: Algorithm) -> Hash {
    let mut name = Whole::new(algorithm);
    name.update(data);
    name.finish()
}

async fn send_one(
    source: &Path,
    to: &Path,
    shared: &Arc<SharedDigests>,
    algorithm: Algorithm,
) -> Result<Sent> {
    let (mut a, mut b) = pair();
    let dir = Root::open(to).unwrap().dir(&RemotePath::root(), Links::Refuse).unwrap();
    let receiver = tokio::spawn(async move {
        let Message::File(file) = b.rx.next_in(OP).await.unwrap() else { panic!("FILE was due") };
        let commit = CommitOptions { len: 0, replace: true, mtime: None, mode: ModeRule::Default(0o644) };
        let staged = Staged::temp(&dir).unwrap();
        let standing = dir.open_file(b"copy").ok().map(|(file, _)| file);
        let job = ReceiveJob {
            info: FileInfo::from_wire(&file).unwrap(),
            sink: Sink::File { staged, name: b"copy".to_vec(), commit, standing },
            algorithm,
            whole: true,
            known: None,
            meter: Arc::default(),
            rate: None,
        };
        let digest = receive(&mut b, OP, job).await.ok()?.proof.to_vec();
        b.tx.send(OP, FileResult { file: 0, digest, path: vec![] }).await.unwrap();
        Some(b)
    });
    let file = fs::File::open(source).unwrap();
    let meta = Meta::of(&file).unwrap();
    let job = SendJob {
        source: Source::File { file, meta },
        algorithm,
        whole: true,
        known: None,
        meter: Arc::default(),
        rate: None,
        shared: Some(Arc::clone(shared)),
    };
    let sent = send(&mut a, OP, job).await;
    drop(a);
    drop(receiver.await.unwrap());
    sent
}

#[tokio::test]
async fn a_wrong_digest_is_found_out_and_the_second_attempt_succeeds() {
    for (len, number) in [(9, 0), (BLOCK_LEN + 1, 0), (BLOCK_LEN + 1, 1), (7 * BLOCK_LEN, 3)] {
        let dir = tempfile::tempdir().unwrap();
        let (source, to) = (dir.path().join("source"), dir.path().join("to"));
        let data = pattern(len);
        fs::write(&source, &data).unwrap();
        fs::create_dir(&to).unwrap();
        let shared = Arc::new(SharedDigests::default());
        poison(&shared, &source, number);
        let error = send_one(&source, &to, &shared, Algorithm::Md5).await.unwrap_err();
        assert_eq!(error.status(), Status::Changed, "{len} {number}");
        assert_eq!(fs::read_dir(&to).unwrap().count(), 0, "{len} {number}");
        let sent = send_one(&source, &to, &shared, Algorithm::Md5).await.unwrap();
        assert_eq!(sent.whole, Some(Lanes::default().plain(&data)));
        assert!(fs::read(to.join("copy")).unwrap() == data);
    }
}

async fn send_all(source: &Path, to: &Path, shared: &Arc<SharedDigests>, dry_run: bool) -> Vec<Item> {
    let (mut a, mut b) = pair();
    let root = Root::open(to).unwrap();
    let receiver = tokio::spawn(async move {
        let job = ReceiveTree {
            place: Box::new(move || Ok(Place { root: Some(root), ..Place::default() })),
            account: "ann".into(),
            rights: Rights::READ.union(Rights::WRITE).union(Rights::DELETE),
            algorithm: Algorithm::Md5,
            whole: false,
            preserve: false,
            times: true,
            no_clobber: false,
            resume: false,
            quick: false,
            delete: None,
            dry_run,
            filter: Filter::default(),
            rate: None,
            report: true,
            meter: Arc::new(TreeMeter::default()),
            on_item: Arc::new(|_| {}),
        };
        receive_tree(&mut b, OP, job).await.unwrap();
        b.tx.send(OP, End { status: Status::Ok as u32, ..End::default() }).await.unwrap();
        b
    });
    let items = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&items);
    let job = SendTree {
        root: Root::open(source).unwrap(),
        filter: Filter::default(),
        names: None,
        algorithm: Algorithm::Md5,
        whole: true,
        hashes: false,
        dry_run,
        rate: None,
        meter: Arc::new(TreeMeter::default()),
        unheard: Unheard::default(),
        on_item: Arc::new(move |item| told.lock().unwrap().push(item.clone())),
        shared: Some(Arc::clone(shared)),
    };
    send_tree(&mut a, OP, job).await.unwrap();
    drop(a);
    drop(receiver.await.unwrap());
    let mut items = items.lock().unwrap();
    std::mem::take(&mut *items)
}

#[tokio::test]
async fn a_wrong_digest_in_a_tree_makes_no_wrong_file() {
    let dir = tempfile::tempdir().unwrap();
    let (source, to) = (dir.path().join("source"), dir.path().join("to"));
    fs::create_dir(&source).unwrap();
    fs::create_dir(&to).unwrap();
    let large = pattern(3 * BLOCK_LEN + 1);
    for (name, data) in [("a", &b"small"[..]), ("b", b"other"), ("large", &large)] {
        fs::write(source.join(name), data).unwrap();
    }
    let shared = Arc::new(SharedDigests::default());
    poison(&shared, &source.join("b"), 0);
    poison(&shared, &source.join("large"), 2);
    let items = send_all(&source, &to, &shared, false).await;
    let failed: Vec<_> = items
        .iter()
        .filter_map(|item| Some((item.path.to_string(), item.failure.as_ref()?.status)))
        .collect();
    assert_eq!(failed, [("large".to_string(), Status::Changed)], "a small one is sent whole at once");
    assert_eq!(fs::read(to.join("b")).unwrap(), b"other");
    let b = items.iter().find(|item| item.path.to_string() == "b").unwrap();
    assert_eq!(b.whole, Some(Lanes::default().plain(b"other")));
    assert!(!to.join("large").exists());
    let items = send_all(&source, &to, &shared, false).await;
    assert!(items.iter().all(|item| item.failure.is_none()), "{items:?}");
    assert!(fs::read(to.join("large")).unwrap() == large);
}

#[tokio::test]
async fn the_name_is_that_of_the_bytes_that_were_delivered() {
    for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
        let dir = tempfile::tempdir().unwrap();
        let (source, to) = (dir.path().join("source"), dir.path().join("to"));
        let data = pattern(3 * BLOCK_LEN + 1);
        fs::write(&source, &data).unwrap();
        fs::create_dir(&to).unwrap();
        let shared = Arc::new(SharedDigests::default());
        let [name, proof] = [b"name", b"root"].map(|of| crate::digest::sha256(of));
        shared.keep_named(&key(&source, algorithm), Named { name, proof });
        for _ in 0..2 {
            let sent = send_one(&source, &to, &shared, algorithm).await.unwrap();
            assert_eq!(sent.whole, Some(name_of(&data, algorithm)));
            assert!(fs::read(to.join("copy")).unwrap() == data);
        }
        assert_eq!(shared.named(), data.len() as u64, "the second one shares it again");
    }
}

#[tokio::test]
async fn no_block_is_kept_by_a_digest_of_what_the_source_was() {
    for algorithm in [Algorithm::Md5, Algorithm::Md5Tree, Algorithm::Sha256] {
        let dir = tempfile::tempdir().unwrap();
        let (source, to) = (dir.path().join("source"), dir.path().join("to"));
        let old = pattern(4 * BLOCK_LEN + 1);
        let mut data = old.clone();
        data[2 * BLOCK_LEN + 5] ^= 1;
        fs::write(&source, &data).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(to.join("copy"), &old).unwrap();
        let shared = Arc::new(SharedDigests::default());
        outdate(&shared, &source, &old, algorithm);
        let sent = send_one(&source, &to, &shared, algorithm).await.unwrap();
        assert!(fs::read(to.join("copy")).unwrap() == data, "{algorithm:?}");
        assert_eq!(sent.whole, Some(name_of(&data, algorithm)));
    }
}

#[tokio::test]
async fn no_file_of_a_tree_is_kept_by_a_digest_of_what_the_source_was() {
    let dir = tempfile::tempdir().unwrap();
    let (source, to) = (dir.path().join("source"), dir.path().join("to"));
    let old = pattern(3 * BLOCK_LEN + 1);
    let mut large = old.clone();
    large[BLOCK_LEN + 5] ^= 1;
    let shared = Arc::new(SharedDigests::default());
    for (name, data, old) in
        [("a", &b"same"[..], &b"same"[..]), ("b", b"new", b"old"), ("large", &large, &old)]
    {
        for (dir, content) in [(&source, data), (&to, old)] {
            fs::create_dir_all(dir).unwrap();
            fs::write(dir.join(name), content).unwrap();
        }
        outdate(&shared, &source.join(name), old, Algorithm::Md5);
    }
    for dry_run in [true, false] {
        let items = send_all(&source, &to, &shared, dry_run).await;
        assert!(items.iter().all(|item| item.failure.is_none()), "{items:?}");
        let told: Vec<_> = items.iter().map(|item| (item.path.to_string(), item.action)).collect();
        for (name, action) in [("a", Action::Equal), ("b", Action::Replaced), ("large", Action::Replaced)] {
            assert!(told.contains(&(name.to_string(), action)), "dry run: {dry_run}: {told:?}");
        }
        if !dry_run {
            let item = items.iter().find(|item| item.path.to_string() == "large").unwrap();
            assert_eq!(item.whole, Some(name_of(&large, Algorithm::Md5)));
        }
    }
    assert_eq!(fs::read(to.join("b")).unwrap(), b"new");
    assert!(fs::read(to.join("large")).unwrap() == large);
}
