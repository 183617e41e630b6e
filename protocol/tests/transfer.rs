//! Both halves of a transfer over an in-memory stream.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ft_protocol::digest::{Algorithm, Whole};
use ft_protocol::fs::{CommitOptions, Links, ModeRule, Root, Staged};
use ft_protocol::transfer::{
    FileInfo, Meter, ReceiveJob, Received, SendJob, Sent, Sink, Source, StreamOut, receive, send,
};
use ft_protocol::wire::message::{Block, FileResult};
use ft_protocol::wire::{BLOCK_LEN, Connection, Message};
use ft_protocol::{RemotePath, Result, Status};
use tokio::io::DuplexStream;

const OP: u32 = 1;

fn pattern(len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

fn pair(room: usize) -> (Connection<DuplexStream>, Connection<DuplexStream>) {
    let (a, b) = tokio::io::duplex(room);
    let (mut a, mut b) = (Connection::new(a), Connection::new(b));
    a.rx.logged_in();
    b.rx.logged_in();
    (a, b)
}

fn file_source(dir: &Path, name: &str) -> Source {
    let root = Root::open(dir).unwrap();
    let (file, meta) =
        root.open_file(&RemotePath::from_wire(name.as_bytes()).unwrap(), Links::Follow).unwrap();
    Source::File { file, meta }
}

fn job(source: Source, algorithm: Algorithm) -> SendJob {
    SendJob { source, algorithm, whole: true, known: None, meter: Arc::default(), rate: None, shared: None }
}

fn file_sink(dir: &Path, key: Option<[u8; 16]>) -> Sink {
    let dir = Root::open(dir).unwrap().dir(&RemotePath::root(), Links::Refuse).unwrap();
    let staged = match key {
        Some(key) => Staged::partial(&dir, key).unwrap(),
        None => Staged::temp(&dir).unwrap(),
    };
    let commit = CommitOptions { len: 0, replace: true, mtime: None, mode: ModeRule::Default(0o644) };
    Sink::File { staged, name: b"copy".to_vec(), commit, standing: None }
}

async fn take(conn: &mut Connection<DuplexStream>, sink: Sink, algorithm: Algorithm) -> Result<Received> {
    let Message::File(file) = conn.rx.next_in(OP).await? else { panic!("FILE was due") };
    let info = FileInfo::from_wire(&file)?;
    let meter = Arc::new(Meter::default());
    let job = ReceiveJob { info, sink, algorithm, whole: true, known: None, meter, rate: None };
    let received = receive(conn, OP, job).await?;
    conn.tx.send(OP, FileResult { file: 0, digest: received.proof.to_vec(), path: vec![] }).await?;
    Ok(received)
}

async fn take_and_close(
    mut conn: Connection<DuplexStream>,
    sink: Sink,
    algorithm: Algorithm,
) -> Result<Received> {
    let received = take(&mut conn, sink, algorithm).await;
    // Not waited for: the last words are on their way while the peer still reads them.
    tokio::spawn(conn.close(Duration::from_secs(5)));
    received
}

async fn move_file(job: SendJob, sink: Sink, room: usize) -> (Result<Sent>, Result<Received>) {
    let (mut a, b) = pair(room);
    let algorithm = job.algorithm;
    let receiver = tokio::spawn(take_and_close(b, sink, algorithm));
    let sent = send(&mut a, OP, job).await;
    drop(a);
    (sent, receiver.await.unwrap())
}

fn name_of(data: &[u8], algorithm: Algorithm) -> String {
    let mut whole = Whole::new(algorithm);
    whole.update(data);
    whole.finish().to_string()
}

#[tokio::test]
async fn every_awkward_size_arrives_with_its_digest() {
    for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
        for len in [0, 1, 32767, 32768, 32769, BLOCK_LEN - 1, BLOCK_LEN, BLOCK_LEN + 1, 3 * BLOCK_LEN + 5] {
            let dir = tempfile::tempdir().unwrap();
            let data = pattern(len);
            fs::write(dir.path().join("source"), &data).unwrap();
            let job = job(file_source(dir.path(), "source"), algorithm);
            let (sent, received) = move_file(job, file_sink(dir.path(), None), 5000).await;
            let (sent, received) = (sent.unwrap(), received.unwrap());
            assert_eq!(fs::read(dir.path().join("copy")).unwrap(), data, "{len}");
            assert_eq!(sent.proof, received.proof);
            assert_eq!(sent.whole.unwrap().to_string(), name_of(&data, algorithm), "{len} {algorithm:?}");
            assert_eq!(received.whole, sent.whole);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no staging file is left");
        }
    }
}

#[tokio::test]
async fn a_pipe_of_any_length_arrives() {
    for len in [0, 1, BLOCK_LEN - 1, BLOCK_LEN, BLOCK_LEN + 1, 2 * BLOCK_LEN] {
        let dir = tempfile::tempdir().unwrap();
        let data = pattern(len);
        let source = Source::Stream(Box::new(Cursor::new(data.clone())));
        let (sent, received) =
            move_file(job(source, Algorithm::Md5), file_sink(dir.path(), None), 1 << 16).await;
        assert_eq!(sent.unwrap().whole.unwrap().to_string(), name_of(&data, Algorithm::Md5), "{len}");
        assert_eq!(received.unwrap().size, len as u64);
        assert_eq!(fs::read(dir.path().join("copy")).unwrap(), data);
    }
}

#[tokio::test]
async fn a_partial_is_verified_and_only_what_differs_travels() {
    let dir = tempfile::tempdir().unwrap();
    let data = pattern(5 * BLOCK_LEN + 77);
    fs::write(dir.path().join("source"), &data).unwrap();
    let key = [3; 16];
    let Sink::File { staged, .. } = file_sink(dir.path(), Some(key)) else { unreachable!() };
    let mut damaged = data[..3 * BLOCK_LEN + 500].to_vec();
    damaged[BLOCK_LEN + 9] ^= 1;
    staged.file().write_all_at(&damaged, 0).unwrap();
    drop(staged);
    let job = job(file_source(dir.path(), "source"), Algorithm::Md5);
    let meter = Arc::clone(&job.meter);
    let (sent, received) = move_file(job, file_sink(dir.path(), Some(key)), 1 << 16).await;
    assert_eq!(received.unwrap().kept, 2 * BLOCK_LEN as u64, "blocks 0 and 2");
    assert_eq!(sent.unwrap().whole.unwrap().to_string(), name_of(&data, Algorithm::Md5));
    assert_eq!(meter.kept(), 2 * BLOCK_LEN as u64);
    assert_eq!(meter.done(), data.len() as u64);
    assert_eq!(fs::read(dir.path().join("copy")).unwrap(), data);
}

#[tokio::test]
async fn a_hole_stays_a_hole() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let source = fs::File::create(dir.path().join("source")).unwrap();
    source.set_len(8 * BLOCK_LEN as u64).unwrap();
    source.write_all_at(b"x", 3 * BLOCK_LEN as u64).unwrap();
    let job = job(file_source(dir.path(), "source"), Algorithm::Md5);
    let (_, received) = move_file(job, file_sink(dir.path(), None), 1 << 20).await;
    received.unwrap();
    let copy = fs::metadata(dir.path().join("copy")).unwrap();
    assert_eq!(copy.len(), 8 * BLOCK_LEN as u64);
    assert!(copy.blocks() * 512 <= 2 * BLOCK_LEN as u64, "{}", copy.blocks());
}

/// A sender that damages a block `times` times before it sends it whole.
async fn damaging_sender(
    conn: &mut Connection<DuplexStream>,
    data: &[u8],
    bad: u64,
    mut times: u32,
) -> Message {
    use ft_protocol::digest::{Lanes, Root};
    use ft_protocol::wire::message::{Done, File};
    let lanes = Lanes::default();
    let size = data.len() as u64;
    conn.tx.send(OP, File { size, mode: 0o644, ..File::default() }).await.unwrap();
    let Message::Accept(_) = conn.rx.next_in(OP).await.unwrap() else { panic!("ACCEPT was due") };
    let blocks: Vec<&[u8]> = data.chunks(BLOCK_LEN).collect();
    let mut root = Root::new(Algorithm::Md5);
    let mut queue: Vec<u64> = (0..blocks.len() as u64).rev().collect();
    let mut done = false;
    loop {
        let Some(number) = queue.pop() else {
            if !done {
                done = true;
                let digest = root.clone().finish().to_vec();
                conn.tx.send(OP, Done { size, digest, ..Done::default() }).await.unwrap();
            }
            match conn.rx.next_in(OP).await {
                Ok(Message::Again(again)) => queue.push(again.block),
                Ok(other) => return other,
                Err(_) => return Message::Cancel,
            }
            continue;
        };
        let digest = Algorithm::Md5.block(&lanes, blocks[number as usize], false);
        if !done && root.blocks() == number {
            root.add(&digest);
        }
        let mut body = blocks[number as usize].to_vec();
        if number == bad && times > 0 {
            times -= 1;
            body[100] ^= 4;
        }
        let last = number + 1 == blocks.len() as u64;
        let block = Block { file: 0, block: number, digest: digest.to_vec(), last };
        conn.tx.send(OP, block).await.unwrap();
        conn.tx.send(OP, Message::Data(body.into())).await.unwrap();
    }
}

#[tokio::test]
async fn a_damaged_block_alone_is_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let data = pattern(4 * BLOCK_LEN);
    let (mut a, b) = pair(1 << 16);
    let sink = file_sink(dir.path(), None);
    let receiver = tokio::spawn(take_and_close(b, sink, Algorithm::Md5));
    let answer = damaging_sender(&mut a, &data, 1, 2).await;
    assert!(matches!(answer, Message::FileResult(_)), "{answer:?}");
    let received = receiver.await.unwrap().unwrap();
    assert_eq!(received.whole.unwrap().to_string(), name_of(&data, Algorithm::Md5));
    assert_eq!(fs::read(dir.path().join("copy")).unwrap(), data);
}

#[tokio::test]
async fn a_block_that_is_always_damaged_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = pattern(4 * BLOCK_LEN);
    let (mut a, mut b) = pair(1 << 16);
    let sink = file_sink(dir.path(), Some([9; 16]));
    let receiver =
        tokio::spawn(async move { take(&mut b, sink, Algorithm::Md5).await.map_err(|e| e.status()) });
    let sender = tokio::spawn(async move { damaging_sender(&mut a, &data, 1, u32::MAX).await });
    assert_eq!(receiver.await.unwrap().unwrap_err(), Status::Mismatch);
    sender.abort();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "neither a file nor a partial");
}

#[tokio::test]
async fn a_stream_takes_blocks_in_order_even_when_one_was_damaged() {
    use std::io::Write;
    use std::sync::Mutex;
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);
    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let data = pattern(6 * BLOCK_LEN + 1);
    let shared = Shared::default();
    let stream = StreamOut::new(Box::new(shared.clone()), Algorithm::Md5, true).unwrap();
    let (mut a, mut b) = pair(1 << 16);
    let receiver = tokio::spawn(async move { take(&mut b, Sink::Stream(stream), Algorithm::Md5).await });
    damaging_sender(&mut a, &data, 2, 1).await;
    let received = receiver.await.unwrap().unwrap();
    assert_eq!(*shared.0.lock().unwrap(), data);
    assert_eq!(received.whole.unwrap().to_string(), name_of(&data, Algorithm::Md5));
}

#[tokio::test]
async fn a_lost_connection_keeps_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let data = pattern(6 * BLOCK_LEN);
    fs::write(dir.path().join("source"), &data).unwrap();
    let key = [5; 16];
    let (mut a, mut b) = pair(1 << 16);
    let job_one = job(file_source(dir.path(), "source"), Algorithm::Md5);
    let sink = file_sink(dir.path(), Some(key));
    let meter = Arc::new(Meter::default());
    let watched = Arc::clone(&meter);
    let receiver = tokio::spawn(async move {
        let Message::File(file) = b.rx.next_in(OP).await.unwrap() else { panic!() };
        let info = FileInfo::from_wire(&file).unwrap();
        let job =
            ReceiveJob { info, sink, algorithm: Algorithm::Md5, whole: true, known: None, meter, rate: None };
        receive(&mut b, OP, job).await.map(|_| ())
    });
    let sender = tokio::spawn(async move { send(&mut a, OP, job_one).await.map(|_| ()) });
    while watched.done() < 2 * BLOCK_LEN as u64 {
        tokio::task::yield_now().await;
    }
    sender.abort();
    assert!(receiver.await.unwrap().is_err() || watched.done() == data.len() as u64);
    let (_, received) = move_file(
        job(file_source(dir.path(), "source"), Algorithm::Md5),
        file_sink(dir.path(), Some(key)),
        1 << 16,
    )
    .await;
    let received = received.unwrap();
    assert!(
        received.kept >= 2 * BLOCK_LEN as u64 || watched.done() == data.len() as u64,
        "{}",
        received.kept
    );
    assert_eq!(fs::read(dir.path().join("copy")).unwrap(), data);
}

/// Sends `blocks` (number, last, content) and DONE as a sender that does not keep to the rules, and gives the
/// receiver's verdict and what is in its directory.
async fn lying_sender(size: Option<u64>, blocks: &[(u64, bool, &[u8])], done_size: u64) -> (Status, usize) {
    use ft_protocol::digest::{Lanes, Root};
    use ft_protocol::wire::message::{Done, File};
    let dir = tempfile::tempdir().unwrap();
    let (a, mut b) = pair(1 << 22);
    let sink = file_sink(dir.path(), None);
    let file = File { size: size.unwrap_or(0), unsized_: size.is_none(), mode: 0o644, ..File::default() };
    a.tx.send(OP, file).await.unwrap();
    let receiver = tokio::spawn(async move { take(&mut b, sink, Algorithm::Md5).await });
    let mut root = Root::new(Algorithm::Md5);
    for (number, last, data) in blocks {
        let digest = Algorithm::Md5.block(&Lanes::default(), data, *number == 0 && *last);
        root.add(&digest);
        let block = Block { file: 0, block: *number, digest: digest.to_vec(), last: *last };
        let _ = a.tx.send(OP, block).await;
        let _ = a.tx.send(OP, Message::Data(data.to_vec().into())).await;
    }
    let done = Done { size: done_size, digest: root.finish().to_vec(), ..Done::default() };
    let _ = a.tx.send(OP, done).await;
    let verdict = receiver.await.unwrap().map_or_else(|error| error.status(), |_| Status::Ok);
    (verdict, fs::read_dir(dir.path()).unwrap().count())
}

#[tokio::test]
async fn a_sender_that_lies_about_sizes_and_ends_leaves_nothing() {
    let full = pattern(BLOCK_LEN);
    assert_eq!(lying_sender(None, &[(0, true, b"abc")], 3).await, (Status::Ok, 1), "an honest one");
    for (what, size, blocks, done) in [
        ("DONE longer than the pipe", None, vec![(0, true, &b"abc"[..])], 500_000),
        ("DONE shorter than the pipe", None, vec![(0, true, &b"abc"[..])], 1),
        (
            "a block after the last",
            None,
            vec![(0, true, &b"abc"[..]), (1, true, b"def")],
            BLOCK_LEN as u64 + 3,
        ),
        ("a short block that is not the last", None, vec![(0, false, &b"abc"[..]), (1, true, b"def")], 6),
        ("a single block not called the last", Some(3), vec![(0, false, &b"abc"[..])], 3),
        ("a block longer than the file", Some(3), vec![(0, true, &b"abcd"[..])], 3),
        (
            "two blocks for one",
            Some(BLOCK_LEN as u64),
            vec![(0, true, &full[..]), (1, true, b"x")],
            BLOCK_LEN as u64,
        ),
        ("DONE of another size", Some(3), vec![(0, true, &b"abc"[..])], 4),
        ("an empty block", None, vec![(0, true, &b""[..])], 0),
    ] {
        assert_eq!(lying_sender(size, &blocks, done).await, (Status::Protocol, 0), "{what}");
    }
}
