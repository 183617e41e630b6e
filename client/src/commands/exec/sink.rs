//! Where the output of a command goes.
//!
//! Writing may block for as long as it likes: it happens on a thread, so that signs of life go on meanwhile, and
//! the process does not wait for that thread when it ends.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll, ready};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use tokio::io::AsyncWrite;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::output::is_broken_pipe;

type Write1 = Box<dyn FnMut(&[u8]) -> io::Result<()> + Send>;

/// A writer that is asked for one piece at a time; flushed when that has been written.
pub(super) struct Sink {
    state: State,
    /// The piece that is not being written.
    spare: Vec<u8>,
    broken: bool,
}

enum State {
    /// The thread starts with the first output.
    Idle(Option<Write1>),
    Running {
        pieces: mpsc::Sender<Vec<u8>>,
        written: UnboundedReceiver<io::Result<Vec<u8>>>,
        busy: bool,
    },
}

impl Sink {
    /// Output goes to this function, which may block.
    pub(super) fn new(write: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static) -> Self {
        Self { state: State::Idle(Some(Box::new(write))), spare: Vec::new(), broken: false }
    }

    /// Output goes to this descriptor as it is and at once; `seen` is told what it took.
    pub(super) fn raw(fd: &impl AsFd, seen: impl Fn(&[u8]) + Send + 'static) -> io::Result<Self> {
        let mut file = File::from(fd.as_fd().try_clone_to_owned()?);
        Ok(Self::new(move |bytes| write_all(&mut file, bytes).inspect(|()| seen(bytes))))
    }

    /// Whether the reader of the pipe has gone.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let State::Running { written, busy, .. } = &mut self.state else { return Poll::Ready(Ok(())) };
        if !*busy {
            return Poll::Ready(Ok(()));
        }
        let done = ready!(written.poll_recv(cx)).unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into()));
        *busy = false;
        self.broken |= done.as_ref().is_err_and(is_broken_pipe);
        Poll::Ready(done.map(|spare| self.spare = spare))
    }

    fn start(&mut self) -> io::Result<()> {
        let State::Idle(write) = &mut self.state else { return Ok(()) };
        let Some(mut write) = write.take() else { return Ok(()) };
        let (pieces, todo) = mpsc::channel::<Vec<u8>>();
        let (done, written) = unbounded_channel();
        thread::Builder::new().spawn(move || {
            for piece in todo {
                let result = write(&piece).map(|()| piece);
                if done.send(result).is_err() {
                    return;
                }
            }
        })?;
        self.state = State::Running { pieces, written, busy: false };
        Ok(())
    }
}

/// A descriptor that somebody else made non-blocking blocks all the same.
fn write_all(file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(file, PollFlags::OUT)], None)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl AsyncWrite for Sink {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_idle(cx))?;
        self.start()?;
        let mut piece = std::mem::take(&mut self.spare);
        piece.clear();
        piece.extend_from_slice(bytes);
        match &mut self.state {
            State::Running { pieces, busy, .. } if pieces.send(piece).is_ok() => *busy = true,
            _ => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_idle(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn flushed_means_written() {
        let (read, write) = io::pipe().unwrap();
        let mut sink = Sink::raw(&write, |_| {}).unwrap();
        drop(write);
        sink.write_all(b"abc").await.unwrap();
        sink.flush().await.unwrap();
        let mut bytes = [0; 8];
        assert_eq!(io::Read::read(&mut &read, &mut bytes).unwrap(), 3);
        drop(read);
        sink.write_all(b"x").await.unwrap();
        assert!(sink.flush().await.is_err());
        assert!(sink.is_broken());
    }

    #[tokio::test]
    async fn a_descriptor_that_does_not_block_takes_everything() {
        let (mut read, write) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&write, true).unwrap();
        let mut sink = Sink::raw(&write, |_| {}).unwrap();
        drop(write);
        let reading = thread::spawn(move || io::Read::read_to_end(&mut read, &mut Vec::new()).unwrap());
        sink.write_all(&vec![7; 1 << 20]).await.unwrap();
        sink.flush().await.unwrap();
        drop(sink);
        assert_eq!(reading.join().unwrap(), 1 << 20);
    }
}
