use std::fs;
use std::sync::mpsc::channel;
use std::thread;

use super::*;
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

/// A file, its key and its plain MD5.
fn source(dir: &std::path::Path, store: &SharedDigests) -> (fs::File, FileKey, Hash) {
    let data: Vec<u8> = (0..SIZE as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(dir.join("source"), &data).unwrap();
    let file = fs::File::open(dir.join("source")).unwrap();
    let key = store.key(&Meta::of(&file).unwrap(), Algorithm::Md5).unwrap();
    (file, key, Lanes::default().plain(&data))
}

#[test]
fn a_block_is_hashed_by_the_first_and_taken_by_the_others() {
    let store = SharedDigests::default();
    assert_eq!(store.block(&key(1), 7, || digest(7)), digest(7));
    assert_eq!(store.block(&key(1), 7, || panic!("known")), digest(7));
    assert_eq!(store.block(&key(1), 8, || digest(8)), digest(8), "another block");
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
        assert_eq!(store.block(&other, 7, || digest(9)), digest(9), "{other:?}");
    }
}

#[test]
fn another_takes_over_from_one_who_fails_while_it_hashes() {
    let store = Arc::new(SharedDigests::default());
    let (begun, has_begun) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let failing = Arc::clone(&store);
    let first = thread::spawn(move || {
        failing.block(&key(1), 0, || {
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
                store.block(&key(1), 0, || {
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
                let mut pieces: Vec<(Option<FileKey>, &[u8])> = (0..)
                    .zip(data)
                    .map(|(ino, data)| (Some(FileKey { size: data.len() as u64, ..key(ino) }), &data[..]))
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
    let unshared = store.pieces(Algorithm::Md5, &Lanes::default(), &[(None, &data[0])]);
    assert_eq!((unshared[0], store.hashed()), (due[0], (total + data[0].len()) as u64));
}

#[test]
fn a_digest_that_does_not_hold_is_forgotten_with_all_of_its_file() {
    let store = SharedDigests::default();
    for number in 0..3 {
        store.block(&key(1), number, || digest(number));
        store.block(&key(2), number, || digest(number));
    }
    assert!(store.agrees(&key(1), 1, &digest(1)));
    assert!(store.agrees(&key(1), 99, &digest(1)), "nothing is shared that could differ");
    assert!(!store.agrees(&key(1), 1, &digest(5)));
    assert_eq!(store.block(&key(1), 2, || digest(6)), digest(6));
    assert_eq!(store.block(&key(2), 2, || panic!("of another file")), digest(2));
}

#[test]
fn digests_of_any_number_of_blocks_keep_to_the_limit() {
    let store = SharedDigests::default();
    // A sender that is far ahead of another one in a file of 200 GiB.
    let (blocks, lag) = (200_000, 10_000);
    let mut again = 0;
    for number in 0..blocks {
        store.block(&key(1), number, || digest(0));
        if let Some(behind) = number.checked_sub(lag) {
            store.block(&key(1), behind, || {
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
        store.block(&key(ino + 2), 0, || digest(0));
    }
    // What many senders hash at the same time has its place too.
    let pieces: Vec<_> = (0..30_000).map(|ino| (Some(key(1_000_000 + ino)), &b"x"[..])).collect();
    store.pieces(Algorithm::Md5, &Lanes::default(), &pieces);
    assert!(store.memory() <= SharedDigests::MAX_MEMORY, "{}", store.memory());
}

#[test]
fn a_file_that_may_change_without_another_time_is_not_shared() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let at = |time: Duration, nanos| Mtime { secs: time.as_secs() as i64, nanos };
    assert!(!has_settled(at(now, 0)), "a clock of whole seconds");
    assert!(has_settled(at(now - Duration::from_secs(5), 0)));
    assert!(!has_settled(at(now + Duration::from_secs(60), 1)), "the future");
    assert!(has_settled(Mtime { secs: -5, nanos: 0 }));
    assert!(has_settled(at(now, now.subsec_nanos().max(1))), "waited for");
    let changed = Mtime { secs: i64::MAX, nanos: 999_999_999 };
    assert!(!has_settled(changed));
}

#[test]
fn a_name_is_computed_by_one_thread_for_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SharedDigests::default());
    let (file, key, due) = source(dir.path(), &store);
    let names: Vec<SharedName> = (0..5).map(|_| store.name(&file, &key).unwrap()).collect();
    for name in names {
        name.keep_pace(SIZE as u64, || Ok(())).unwrap();
        assert_eq!(name.finish(|| Ok(())).unwrap(), Some(due));
    }
    let later = store.name(&file, &key).unwrap();
    assert_eq!(later.finish(|| Ok(())).unwrap(), Some(due));
    assert_eq!(store.named(), SIZE as u64);
}

#[test]
fn a_name_that_nobody_wants_any_more_is_not_finished() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SharedDigests::default());
    let file = fs::File::create_new(dir.path().join("endless")).unwrap();
    file.set_len(1 << 42).unwrap();
    let file = fs::File::open(dir.path().join("endless")).unwrap();
    let key = store.key(&Meta::of(&file).unwrap(), Algorithm::Md5).unwrap();
    let (one, other) = (store.name(&file, &key).unwrap(), store.name(&file, &key).unwrap());
    drop(one);
    other.keep_pace(64 << 20, || Ok(())).unwrap();
    assert!(
        other.finish(|| Err(Error::local(Status::Cancelled, "gone"))).is_err(),
        "one who is dropped does not wait"
    );
    drop(other);
    while !store.naming.lock().unwrap().is_empty() {
        thread::yield_now();
    }
}

#[test]
fn the_name_of_a_file_that_changed_or_cannot_be_read_is_nobodys() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SharedDigests::default());
    let (file, key, _) = source(dir.path(), &store);
    fs::OpenOptions::new()
        .append(true)
        .open(dir.path().join("source"))
        .unwrap()
        .set_len(SIZE as u64 + 1)
        .unwrap();
    let name = store.name(&file, &key).unwrap();
    assert_eq!(name.finish(|| Ok(())).unwrap(), None, "it grew");
    fs::File::create(dir.path().join("source")).unwrap();
    let name = store.name(&file, &key).unwrap();
    assert_eq!(name.finish(|| Ok(())).unwrap(), None, "it shrank");
    assert!(store.naming.lock().unwrap().is_empty());
}
