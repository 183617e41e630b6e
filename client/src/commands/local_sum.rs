//! Digests of local files.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use ft_protocol::digest::{Algorithm, Lanes, Root, Whole};
use ft_protocol::fs::{Kind, Meta};
use ft_protocol::wire::BLOCK_LEN;
use ft_protocol::{Error, Result, Status};
use rustix::fs::{Mode, OFlags};
use tokio::sync::oneshot;

/// The digest of a local file as it is printed: `hex`, or `hex-N` for a tree of N blocks.
pub(super) struct Sum {
    pub(super) printed: String,
    pub(super) meta: Meta,
}

/// Reads a regular file to its end, on a thread that nobody waits for when the run is cut short.
pub(super) async fn of(path: &Path, algorithm: Algorithm) -> Result<Sum> {
    let (send, receive) = oneshot::channel();
    let path = path.to_owned();
    std::thread::spawn(move || send.send(read(&path, algorithm)));
    let ended = |_| Err(Error::local(Status::Failed, "internal error: the reader of the file ended"));
    receive.await.unwrap_or_else(ended)
}

fn read(path: &Path, algorithm: Algorithm) -> Result<Sum> {
    // A FIFO would wait for its other end.
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::io("open it", &errno.into()))?;
    let mut file = File::from(fd);
    let meta = Meta::of(&file)?;
    if meta.kind != Kind::File {
        return Err(Error::local(Status::NotRegular, "is no regular file"));
    }
    let lanes = Lanes::default();
    let (mut whole, mut root) = (Whole::new(algorithm), Root::new(algorithm));
    let mut buffer = vec![0; BLOCK_LEN];
    loop {
        let block = fill(&mut file, &mut buffer).map_err(|error| Error::io("read it", &error))?;
        if block.is_empty() {
            break;
        }
        match algorithm {
            Algorithm::Md5Tree => root.add(&algorithm.block(&lanes, block, meta.size <= BLOCK_LEN as u64)),
            Algorithm::Md5 | Algorithm::Sha256 => whole.update(block),
        }
    }
    if !Meta::of(&file)?.unchanged_since(&meta) {
        return Err(Error::local(Status::Changed, "it changed while it was read"));
    }
    let printed = match (algorithm, root.blocks()) {
        (Algorithm::Md5Tree, blocks @ 2..) => format!("{}-{blocks}", root.finish()),
        (Algorithm::Md5Tree, _) => root.finish().to_string(),
        (Algorithm::Md5 | Algorithm::Sha256, _) => whole.finish().to_string(),
    };
    Ok(Sum { printed, meta })
}

/// The next block; shorter than the buffer only at the end of the file.
fn fill<'a>(file: &mut File, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(buffer.get(..filled).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn digests_are_printed_as_those_of_a_transfer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let sum = async |content: &[u8], algorithm| {
            std::fs::write(&path, content).unwrap();
            of(&path, algorithm).await.unwrap().printed
        };
        assert_eq!(sum(b"hello", Algorithm::Md5).await, "5d41402abc4b2a76b9719d911017c592");
        assert_eq!(sum(b"hello", Algorithm::Md5Tree).await, "5d41402abc4b2a76b9719d911017c592");
        assert_eq!(sum(b"", Algorithm::Md5Tree).await, "d41d8cd98f00b204e9800998ecf8427e");
        assert!(sum(b"hello", Algorithm::Sha256).await.starts_with("2cf24dba5fb0a30e"));
        let two_blocks = vec![7; BLOCK_LEN + 1];
        assert!(sum(&two_blocks, Algorithm::Md5Tree).await.ends_with("-2"));
    }

    #[tokio::test]
    async fn what_is_no_file_is_an_error_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::RWXU).unwrap();
        for (path, status) in [
            (fifo.as_path(), Status::NotRegular),
            (dir.path(), Status::NotRegular),
            (&dir.path().join("none"), Status::NotFound),
        ] {
            assert_eq!(of(path, Algorithm::Md5).await.err().unwrap().status(), status);
        }
    }
}
