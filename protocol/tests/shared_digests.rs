//! One file, sent to several receivers at the same time: hashed once, and none waits for another.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ft_protocol::digest::{Algorithm, Hash, Whole};
use ft_protocol::fs::{CommitOptions, Links, Meta, ModeRule, Root, Staged};
use ft_protocol::transfer::{
    FileInfo, ReceiveJob, Received, SendJob, Sent, SharedDigests, Sink, Source, receive, send,
};
use ft_protocol::wire::message::{Accept, FileResult};
use ft_protocol::wire::{BLOCK_LEN, Connection, Message};
use ft_protocol::{RemotePath, Result, Status};
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;

const OP: u32 = 1;
const HOSTS: usize = 5;
const SIZE: usize = 9 * BLOCK_LEN;
const ALGORITHMS: [Algorithm; 3] = [Algorithm::Md5, Algorithm::Md5Tree, Algorithm::Sha256];

/// A source and what its senders share.
struct Setup {
    dir: tempfile::TempDir,
    shared: Arc<SharedDigests>,
    algorithm: Algorithm,
}

impl Setup {
    fn new(algorithm: Algorithm, len: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("source"), pattern(len, 1)).unwrap();
        Self { dir, shared: Arc::default(), algorithm }
    }

    fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    fn job(&self) -> SendJob {
        let file = fs::File::open(self.source()).unwrap();
        let meta = Meta::of(&file).unwrap();
        SendJob {
            source: Source::File { file, meta },
            algorithm: self.algorithm,
            whole: self.algorithm != Algorithm::Md5Tree,
            known: None,
            meter: Arc::default(),
            rate: None,
            shared: Some(Arc::clone(&self.shared)),
        }
    }

    /// The directory of one receiver.
    fn host(&self, number: usize) -> PathBuf {
        let dir = self.dir.path().join(format!("host {number}"));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// Sends to a receiver that does as it should.
    fn start(&self, host: usize) -> JoinHandle<(Result<Sent>, Result<Received>)> {
        let (mut a, b) = pair();
        let receiver = tokio::spawn(take(b, self.host(host), self.algorithm));
        let job = self.job();
        tokio::spawn(async move {
            let sent = send(&mut a, OP, job).await;
            drop(a);
            (sent, receiver.await.unwrap())
        })
    }

    /// Checks that a host has what is at the source now, and that its digests say so.
    fn check(&self, host: usize, done: (Result<Sent>, Result<Received>)) {
        let (sent, received) = (done.0.unwrap(), done.1.unwrap());
        let data = fs::read(self.source()).unwrap();
        assert!(fs::read(self.host(host).join("copy")).unwrap() == data, "host {host}");
        assert_eq!(fs::read_dir(self.host(host)).unwrap().count(), 1, "no staging file is left");
        assert_eq!(sent.proof, received.proof);
        let named = self.algorithm != Algorithm::Md5Tree || data.len() <= BLOCK_LEN;
        assert_eq!(sent.whole, named.then(|| name_of(&data, self.algorithm)));
        assert_eq!(received.whole, sent.whole);
    }
}

fn pattern(len: usize, seed: u64) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15 + 2 * seed) >> 56) as u8).collect()
}

fn name_of(data: &[u8], algorithm: Algorithm) -> Hash {
    let mut whole = Whole::new(algorithm);
    whole.update(data);
    whole.finish()
}

fn pair() -> (Connection<DuplexStream>, Connection<DuplexStream>) {
    let (a, b) = tokio::io::duplex(1 << 16);
    let (mut a, mut b) = (Connection::new(a), Connection::new(b));
    a.rx.logged_in();
    b.rx.logged_in();
    (a, b)
}

fn sink(dir: &Path) -> Sink {
    let dir = Root::open(dir).unwrap().dir(&RemotePath::root(), Links::Refuse).unwrap();
    let commit = CommitOptions { len: 0, replace: true, mtime: None, mode: ModeRule::Default(0o644) };
    let standing = dir.open_file(b"copy").ok().map(|(file, _)| file);
    Sink::File { staged: Staged::temp(&dir).unwrap(), name: b"copy".to_vec(), commit, standing }
}

async fn take(mut b: Connection<DuplexStream>, dir: PathBuf, algorithm: Algorithm) -> Result<Received> {
    let taken = async {
        let Message::File(file) = b.rx.next_in(OP).await? else { panic!("FILE was due") };
        let (info, whole) = (FileInfo::from_wire(&file)?, algorithm != Algorithm::Md5Tree);
        let job = ReceiveJob {
            info,
            sink: sink(&dir),
            algorithm,
            whole,
            known: None,
            meter: Arc::default(),
            rate: None,
        };
        let received = receive(&mut b, OP, job).await?;
        b.tx.send(OP, FileResult { file: 0, digest: received.proof.to_vec(), path: vec![] }).await?;
        Ok(received)
    };
    let taken = taken.await;
    // Not waited for: the last words are on their way while the peer still reads them.
    tokio::spawn(b.close(Duration::from_secs(5)));
    taken
}

#[tokio::test]
async fn a_file_for_many_is_hashed_once() {
    for algorithm in ALGORITHMS {
        for len in [0, 1, BLOCK_LEN, BLOCK_LEN + 1, SIZE] {
            let setup = Setup::new(algorithm, len);
            let running: Vec<_> = (0..HOSTS).map(|host| setup.start(host)).collect();
            for (host, running) in running.into_iter().enumerate() {
                setup.check(host, running.await.unwrap());
            }
            assert_eq!(setup.shared.hashed(), len as u64, "{algorithm:?}");
            let named = algorithm != Algorithm::Md5Tree && len > BLOCK_LEN;
            assert_eq!(setup.shared.named(), if named { len as u64 } else { 0 }, "{algorithm:?}");
        }
    }
}

#[tokio::test]
async fn what_a_receiver_has_is_told_by_what_each_sender_has_hashed() {
    for algorithm in ALGORITHMS {
        let setup = Setup::new(algorithm, SIZE);
        for host in 0..HOSTS {
            let mut data = pattern(SIZE, 1);
            data[host * BLOCK_LEN] ^= 1;
            fs::write(setup.host(host).join("copy"), &data).unwrap();
        }
        let running: Vec<_> = (0..HOSTS).map(|host| setup.start(host)).collect();
        for (host, running) in running.into_iter().enumerate() {
            let done = running.await.unwrap();
            assert_eq!(done.1.as_ref().unwrap().kept, (SIZE - BLOCK_LEN) as u64, "all but one block");
            setup.check(host, done);
        }
        // Of what is sent, each block at most once more.
        let kept = (HOSTS * (SIZE - BLOCK_LEN)) as u64;
        let hashed = setup.shared.hashed();
        assert!((kept..=kept + (HOSTS * BLOCK_LEN) as u64).contains(&hashed), "{algorithm:?}: {hashed}");
        let named = algorithm != Algorithm::Md5Tree;
        assert_eq!(setup.shared.named(), if named { SIZE as u64 } else { 0 }, "{algorithm:?}");
    }
}

/// Sends to a receiver that takes the first block and then nothing more.
async fn stuck(setup: &Setup) -> (JoinHandle<Result<Sent>>, Connection<DuplexStream>) {
    let (mut a, mut b) = pair();
    let job = setup.job();
    let sender = tokio::spawn(async move { send(&mut a, OP, job).await });
    let Message::File(_) = b.rx.next_in(OP).await.unwrap() else { panic!("FILE was due") };
    b.tx.send(OP, Accept { file: 0, have: 0 }).await.unwrap();
    let Message::Block(_) = b.rx.next_in(OP).await.unwrap() else { panic!("BLOCK was due") };
    (sender, b)
}

#[tokio::test]
async fn a_receiver_that_stands_still_delays_no_other() {
    for algorithm in ALGORITHMS {
        let setup = Setup::new(algorithm, SIZE);
        let (sender, _still) = stuck(&setup).await;
        let running: Vec<_> = (0..HOSTS).map(|host| setup.start(host)).collect();
        for (host, running) in running.into_iter().enumerate() {
            setup.check(host, running.await.unwrap());
        }
        assert!(!sender.is_finished());
        assert_eq!(setup.shared.hashed(), SIZE as u64, "{algorithm:?}");
        sender.abort();
    }
}

#[tokio::test]
async fn a_sender_that_is_dropped_leaves_nobody_waiting() {
    for algorithm in ALGORITHMS {
        let setup = Setup::new(algorithm, SIZE);
        let (sender, b) = stuck(&setup).await;
        let running: Vec<_> = (0..HOSTS).map(|host| setup.start(host)).collect();
        sender.abort();
        drop(b);
        for (host, running) in running.into_iter().enumerate() {
            setup.check(host, running.await.unwrap());
        }
        assert_eq!(setup.shared.hashed(), SIZE as u64, "{algorithm:?}");
    }
}

#[tokio::test]
async fn a_file_that_changes_meanwhile_is_sent_whole_at_the_second_attempt() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 4] = [
        ("touched", |path| {
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        }),
        ("replaced", |path| {
            fs::write(path.with_extension("new"), pattern(SIZE, 2)).unwrap();
            fs::rename(path.with_extension("new"), path).unwrap();
        }),
        ("written to", |path| {
            let file = fs::File::options().write(true).open(path).unwrap();
            file.write_all_at(b"other content", 5 * BLOCK_LEN as u64 + 3).unwrap();
        }),
        ("shortened", |path| {
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_len(SIZE as u64 - 1).unwrap();
        }),
    ];
    for algorithm in ALGORITHMS {
        for (what, change) in changes {
            let setup = Setup::new(algorithm, SIZE);
            // Everything is shared when the second sender begins.
            setup.check(0, setup.start(0).await.unwrap());
            let (mut a, mut b) = pair();
            let job = setup.job();
            let sender = tokio::spawn(async move { send(&mut a, OP, job).await });
            let Message::File(file) = b.rx.next_in(OP).await.unwrap() else { panic!("FILE was due") };
            change(&setup.source());
            let info = FileInfo::from_wire(&file).unwrap();
            let host = setup.host(1);
            let receiver = tokio::spawn(async move {
                let meter = Arc::default();
                let (sink, known) = (sink(&host), None);
                let job = ReceiveJob { info, sink, algorithm, whole: false, known, meter, rate: None };
                receive(&mut b, OP, job).await.map(drop)
            });
            let status = sender.await.unwrap().unwrap_err().status();
            assert_eq!(status, Status::Changed, "{what} {algorithm:?}");
            assert!(receiver.await.unwrap().is_err(), "{what}");
            assert_eq!(fs::read_dir(setup.host(1)).unwrap().count(), 0, "{what}");

            let before = setup.shared.hashed();
            let running: Vec<_> = (1..HOSTS).map(|host| setup.start(host)).collect();
            for (host, running) in running.into_iter().enumerate() {
                setup.check(host + 1, running.await.unwrap());
            }
            let len = fs::metadata(setup.source()).unwrap().len();
            assert_eq!(setup.shared.hashed() - before, len, "{what}: hashed once more");
        }
    }
}

#[tokio::test]
async fn a_file_that_only_grew_arrives_with_the_name_of_what_was_sent() {
    for algorithm in ALGORITHMS {
        let setup = Setup::new(algorithm, SIZE);
        let (mut a, mut b) = pair();
        let job = setup.job();
        let sender = tokio::spawn(async move { send(&mut a, OP, job).await });
        let Message::File(file) = b.rx.next_in(OP).await.unwrap() else { panic!("FILE was due") };
        let mut log = fs::File::options().append(true).open(setup.source()).unwrap();
        std::io::Write::write_all(&mut log, b"one more line").unwrap();
        let host = setup.host(0);
        let info = FileInfo::from_wire(&file).unwrap();
        let receiver = tokio::spawn(async move {
            let (sink, known, meter) = (sink(&host), None, Arc::default());
            let job = ReceiveJob { info, sink, algorithm, whole: false, known, meter, rate: None };
            let received = receive(&mut b, OP, job).await.unwrap();
            b.tx.send(OP, FileResult { file: 0, digest: received.proof.to_vec(), path: vec![] })
                .await
                .unwrap();
            b
        });
        let sent = sender.await.unwrap().unwrap();
        drop(receiver.await.unwrap());
        let data = pattern(SIZE, 1);
        assert!(sent.grew);
        let named = algorithm != Algorithm::Md5Tree;
        assert_eq!(sent.whole, named.then(|| name_of(&data, algorithm)));
        assert!(fs::read(setup.host(0).join("copy")).unwrap() == data);
    }
}
