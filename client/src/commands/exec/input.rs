//! What a command reads: never a byte more than it is given.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll, ready};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Reads a descriptor that others may share, so it stays as it is (blocking), on a thread that reads only when it
/// is asked to. That thread ends when this is dropped, and leaves what nobody asked for to whoever reads next.
pub(super) struct Input {
    wanted: mpsc::Sender<usize>,
    read: UnboundedReceiver<io::Result<Vec<u8>>>,
    asked: bool,
    /// Read, and more than the reader had room for this time.
    rest: Vec<u8>,
    /// Its end wakes the thread.
    _alive: PipeWriter,
}

impl Input {
    pub(super) fn new(fd: &impl AsFd) -> io::Result<Self> {
        let fd = fd.as_fd().try_clone_to_owned()?;
        let (gone, alive) = io::pipe()?;
        let (wanted, requests) = mpsc::channel();
        let (answers, read) = unbounded_channel();
        thread::Builder::new().spawn(move || serve(&fd, &gone, &requests, &answers))?;
        Ok(Self { wanted, read, asked: false, rest: Vec::new(), _alive: alive })
    }
}

fn serve(
    fd: &OwnedFd,
    gone: &PipeReader,
    requests: &mpsc::Receiver<usize>,
    answers: &UnboundedSender<io::Result<Vec<u8>>>,
) {
    for most in requests {
        let answer = match read(fd, gone, most) {
            Ok(None) => return,
            Ok(Some(bytes)) => Ok(bytes),
            Err(error) => Err(error.into()),
        };
        if answers.send(answer).is_err() {
            return;
        }
    }
}

/// Waits for something to read, or for the end; `None` where nobody wants it any more.
fn read(fd: &OwnedFd, gone: &PipeReader, most: usize) -> rustix::io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; most];
    loop {
        let mut both = [PollFd::new(gone, PollFlags::IN), PollFd::new(fd, PollFlags::IN)];
        match poll(&mut both, None) {
            Ok(_) if both.first().is_some_and(|gone| !gone.revents().is_empty()) => return Ok(None),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error),
        }
        match rustix::io::read(fd, &mut bytes) {
            Ok(read) => {
                bytes.truncate(read);
                return Ok(Some(bytes));
            }
            // Somebody else was faster, and the descriptor does not block.
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

impl AsyncRead for Input {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            if !self.asked {
                self.asked = true;
                let _ = self.wanted.send(into.remaining());
            }
            let read = ready!(self.read.poll_recv(cx));
            self.asked = false;
            self.rest = read.unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into()))?;
        }
        let most = self.rest.len().min(into.remaining());
        into.put_slice(self.rest.get(..most).unwrap_or_default());
        self.rest.drain(..most);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn nothing_is_read_that_nobody_asked_for() {
        let (read, mut write) = io::pipe().unwrap();
        let mut input = Input::new(&read).unwrap();
        write.write_all(b"abcdef").unwrap();
        let mut two = [0; 2];
        input.read_exact(&mut two).await.unwrap();
        drop((input, write));
        assert_eq!((&two, io::read_to_string(read).unwrap().as_str()), (b"ab", "cdef"));
    }

    #[tokio::test]
    async fn it_waits_until_something_comes_and_knows_the_end() {
        let (read, mut write) = io::pipe().unwrap();
        let mut input = Input::new(&read).unwrap();
        let mut bytes = [0; 8];
        {
            let mut reading = std::pin::pin!(input.read(&mut bytes));
            tokio::select! {
                biased;
                _ = &mut reading => panic!("there is nothing yet"),
                () = tokio::task::yield_now() => {}
            }
            write.write_all(b"x").unwrap();
            assert_eq!(reading.await.unwrap(), 1);
        }
        drop(write);
        assert_eq!(input.read(&mut bytes).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn files_are_read_as_well() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"content").unwrap();
        io::Seek::rewind(&mut file).unwrap();
        let mut text = String::new();
        Input::new(&file).unwrap().read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "content");
    }
}
