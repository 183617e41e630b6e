use std::fs;
use std::sync::mpsc::channel;
use std::thread;

use super::name::Named;
use super::*;
use crate::digest::Root;
use crate::error::{Error, Status};
use crate::wire::BLOCK_LEN;

const SIZE: usize = 5 * BLOCK_LEN + 7;

fn key(ino: u64) -> FileKey {
    let algorithm = Algorithm::Md5;
    FileKey { dev: 1, ino, size: 1 << 40, mtime: 1, ctime: 1, mtime_nanos: 1, ctime_nanos: 1, algorithm }
}

fn digest(number: u64) -> Hash {
    crate::digest::sha256(&number.to_be_bytes())
}

/// The proof of a whole file.
fn proof_of(data: &[u8]) -> Hash {
    let mut root = Root::new(Algorithm::Md5);
    let blocks = data.chunks(BLOCK_LEN);
    blocks
        .for_each(|block| root.add(&Algorithm::Md5.block(&Lanes::default(), block, data.len() <= BLOCK_LEN)));
    root.finish()
}

fn small(file: Option<FileKey>, content: &[u8]) -> Small<'_> {
    Small { file, content, had: None }
}

/// A file, its key and what is due of it.
fn source(dir: &std::path::Path, len: usize) -> (fs::File, FileKey, Named) {
    let data: Vec<u8> = (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(dir.join("source"), &data).unwrap();
    let file = fs::File::open(dir.join("source")).unwrap();
    let key = FileKey::new(&Meta::of(&file).unwrap(), Algorithm::Md5);
    (file, key, Named { name: Lanes::default().plain(&data), proof: proof_of(&data) })
}

#[test]
fn a_block_is_hashed_by_the_first_and_taken_by_the_others() {
    let store = SharedDigests::default();
    assert_eq!(store.block(&key(1), 7, None, || digest(7)), digest(7));
    assert_eq!(store.block(&key(1), 7, None, || panic!("known")), digest(7));
    assert_eq!(store.block(&key(1), 8, None, || digest(8)), digest(8), "another block");
    for other in [
        key(2),
        FileKey { size: 5, ..key(1) },
        FileKey { dev: 2, ..key(1) },
        FileKey { mtime: 2, ..key(1) },
        FileKey { ctime: 2, ..key(1) },
        FileKey { mtime_nanos: 2, ..key(1) },
        FileKey { ctime_nanos: 2, ..key(1) },
        FileKey { algorithm: Algorithm::Sha256, ..key(1) },
    ] {
        assert_eq!(store.block(&other, 7, None, || digest(9)), digest(9), "{other:?}");
    }
}

#[test]
fn another_takes_over_from_one_who_fails_while_it_hashes() {
    let store = Arc::new(SharedDigests::default());
    let (begun, has_begun) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let failing = Arc::clone(&store);
    let first = thread::spawn(move || {
        failing.block(&key(1), 0, None, || {
            begun.send(()).unwrap();
            may_go_on.recv().unwrap();
            std::panic::resume_unwind(Box::new("gone"))
        })
    });
    has_begun.recv().unwrap();
    let others: Vec<_> = (0..4)
        .map(|_| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                store.block(&key(1), 0, None, || {
                    store.count(1);
                    digest(0)
                })
            })
        })
        .collect();
    go_on.send(()).unwrap();
    assert!(first.join().is_err());
    assert!(others.into_iter().all(|other| other.join().unwrap() == digest(0)));
    assert_eq!(store.hashed(), 1, "by one of them");
}

#[test]
fn small_files_are_hashed_once_also_where_two_wait_for_each_other() {
    let store = Arc::new(SharedDigests::default());
    let data: Vec<Vec<u8>> = (0..200_u8).map(|i| vec![i; 100 + usize::from(i)]).collect();
    let total: usize = data.iter().map(Vec::len).sum();
    let due: Vec<Hash> = data.iter().map(|data| Lanes::default().plain(data)).collect();
    thread::scope(|scope| {
        for backwards in [false, true, false, true] {
            let (store, data, due) = (&store, &data, &due);
            scope.spawn(move || {
                let mut pieces: Vec<Small<'_>> = (0..)
                    .zip(data)
                    .map(|(ino, data)| small(Some(FileKey { size: data.len() as u64, ..key(ino) }), data))
                    .collect();
                if backwards {
                    pieces.reverse();
                }
                // Twice the same file, as by two names of it.
                pieces.push(pieces[3]);
                let mut digests = store.pieces(Algorithm::Md5, &Lanes::default(), &pieces);
                assert_eq!(digests.pop(), digests.get(3).copied());
                if backwards {
                    digests.reverse();
                }
                assert_eq!(digests, *due);
            });
        }
    });
    assert_eq!(store.hashed(), total as u64);
    let unshared = store.pieces(Algorithm::Md5, &Lanes::default(), &[small(None, &data[0])]);
    assert_eq!((unshared[0], store.hashed()), (due[0], (total + data[0].len()) as u64));
}

#[test]
fn a_digest_that_does_not_hold_is_forgotten_with_all_of_its_file() {
    let store = SharedDigests::default();
    for number in 0..3 {
        store.block(&key(1), number, None, || digest(number));
        store.block(&key(2), number, None, || digest(number));
    }
    assert!(store.agrees(&key(1), 1, &digest(1)));
    assert!(store.agrees(&key(1), 99, &digest(1)), "nothing is shared that could differ");
    assert!(!store.agrees(&key(1), 1, &digest(5)));
    assert_eq!(store.block(&key(1), 2, None, || digest(6)), digest(6));
    assert_eq!(store.block(&key(2), 2, None, || panic!("of another file")), digest(2));
}

#[test]
fn digests_of_any_number_of_blocks_keep_to_the_limit() {
    let store = SharedDigests::default();
    // A sender that is far ahead of another one in a file of 200 GiB.
    let (blocks, lag) = (200_000, 10_000);
    let mut again = 0;
    for number in 0..blocks {
        store.block(&key(1), number, None, || digest(0));
        if let Some(behind) = number.checked_sub(lag) {
            store.block(&key(1), behind, None, || {
                again += 1;
                digest(0)
            });
        }
        if number % 1000 == 0 {
            assert!(store.memory() <= SharedDigests::MAX_MEMORY, "{number}: {}", store.memory());
        }
    }
    assert!(store.memory() <= SharedDigests::MAX_MEMORY, "{}", store.memory());
    assert!(again < blocks / 20, "{again} blocks were hashed again");
    for ino in 0..blocks {
        store.block(&key(ino + 2), 0, None, || digest(0));
    }
    // What many senders hash at the same time has its place too.
    let pieces: Vec<_> = (0..30_000).map(|ino| small(Some(key(1_000_000 + ino)), b"x")).collect();
    store.pieces(Algorithm::Md5, &Lanes::default(), &pieces);
    assert!(store.memory() <= SharedDigests::MAX_MEMORY, "{}", store.memory());
}

#[test]
fn what_the_receiver_has_is_equal_only_by_the_bytes_at_hand() {
    let store = SharedDigests::default();
    let had = digest(7);
    assert_eq!(store.block(&key(1), 7, Some(had.as_bytes()), || had), had, "hashed here");
    assert_eq!(store.block(&key(1), 7, Some(digest(8).as_bytes()), || panic!("known")), had, "it differs");
    assert_eq!(store.block(&key(1), 7, Some(had.as_bytes()), || had), had);
    assert_eq!(store.block(&key(1), 7, None, || panic!("known")), had, "what holds is not forgotten");
    assert_eq!(store.block(&key(1), 7, Some(had.as_bytes()), || digest(9)), digest(9), "it changed");
    assert_eq!(store.block(&key(1), 7, None, || digest(9)), digest(9), "the old one is forgotten");
}

#[test]
fn a_small_file_that_the_receiver_has_is_equal_only_by_the_bytes_at_hand() {
    let store = SharedDigests::default();
    let hash = |pieces: &[Small<'_>]| store.pieces(Algorithm::Md5, &Lanes::default(), pieces);
    let old = hash(&[small(Some(key(1)), b"old"), small(Some(key(2)), b"same")]);
    let now = [
        Small { had: Some(old[0]), ..small(Some(key(1)), b"new") },
        Small { had: Some(old[1]), ..small(Some(key(2)), b"same") },
    ];
    assert_eq!(hash(&now), [Lanes::default().plain(b"new"), old[1]]);
    let before = store.hashed();
    assert_eq!(hash(&[small(Some(key(1)), b"new")]), [Lanes::default().plain(b"new")], "forgotten");
    assert_eq!(hash(&[small(Some(key(2)), b"same")]), [old[1]]);
    assert_eq!(store.hashed() - before, 3, "what holds is not forgotten");
}

#[test]
fn a_name_is_computed_by_one_thread_for_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SharedDigests::default());
    let (file, key, due) = source(dir.path(), SIZE);
    let names: Vec<SharedName> = (0..5).map(|_| store.name(&file, &key).unwrap()).collect();
    for name in names {
        name.keep_pace(SIZE as u64, || Ok(())).unwrap();
        assert_eq!(name.finish(&due.proof, || Ok(())).unwrap(), Some(due.name));
    }
    let later = store.name(&file, &key).unwrap();
    assert_eq!(later.finish(&due.proof, || Ok(())).unwrap(), Some(due.name));
    assert_eq!(store.named(), SIZE as u64);
}

#[test]
fn a_name_that_nobody_wants_any_more_is_not_finished() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SharedDigests::default());
    let file = fs::File::create_new(dir.path().join("endless")).unwrap();
    file.set_len(1 << 42).unwrap();
    let file = fs::File::open(dir.path().join("endless")).unwrap();
    let key = FileKey::new(&Meta::of(&file).unwrap(), Algorithm::Md5);
    let (one, other) = (store.name(&file, &key).unwrap(), store.name(&file, &key).unwrap());
    drop(one);
    other.keep_pace(64 << 20, || Ok(())).unwrap();
    assert!(
        other.finish(&digest(0), || Err(Error::local(Status::Cancelled, "gone"))).is_err(),
        "one who is dropped does not wait"
    );
    drop(other);
    while !store.naming.lock().unwrap().is_empty() {
        thread::yield_now();
    }
}

#[test]
fn the_name_of_other_content_is_not_taken_and_forgotten() {
    for len in [SIZE, 9] {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(SharedDigests::default());
        let (file, key, due) = source(dir.path(), len);
        let before = store.name(&file, &key).unwrap();
        assert_eq!(before.finish(&due.proof, || Ok(())).unwrap(), Some(due.name), "{len}");
        assert_eq!(before.finish(&digest(0), || Ok(())).unwrap(), None, "{len}");
        let again = store.name(&file, &key).unwrap();
        assert_eq!(again.finish(&due.proof, || Ok(())).unwrap(), Some(due.name), "{len}");
        assert_eq!(store.named(), 2 * len as u64, "computed anew");
        let known = store.name(&file, &key).unwrap();
        assert_eq!(known.finish(&digest(0), || Ok(())).unwrap(), None, "{len}");
    }
}

#[test]
fn a_file_that_only_grew_is_named_and_one_that_cannot_be_read_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SharedDigests::default());
    let (file, key, due) = source(dir.path(), SIZE);
    fs::OpenOptions::new()
        .append(true)
        .open(dir.path().join("source"))
        .unwrap()
        .set_len(SIZE as u64 + 1)
        .unwrap();
    let name = store.name(&file, &key).unwrap();
    assert_eq!(name.finish(&due.proof, || Ok(())).unwrap(), Some(due.name));
    store.forget(&key);
    fs::File::create(dir.path().join("source")).unwrap();
    let name = store.name(&file, &key).unwrap();
    assert_eq!(name.finish(&due.proof, || Ok(())).unwrap(), None, "it shrank");
    assert!(store.naming.lock().unwrap().is_empty());
}
