//! What a command reads: never a byte more than it is given.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, Interest, ReadBuf};

/// Reads a descriptor that others may share, so it stays as it is (blocking): it is read only where there is
/// something, and no thread is left behind that waits for more.
pub(super) enum Input {
    /// A pipe, terminal or socket.
    Stream(AsyncFd<OwnedFd>),
    /// A file, which epoll(7) does not know.
    File(tokio::fs::File),
}

impl Input {
    pub(super) fn new(fd: &impl AsFd) -> io::Result<Self> {
        let fd = fd.as_fd().try_clone_to_owned()?;
        let plain = fd.try_clone()?;
        match AsyncFd::with_interest(fd, Interest::READABLE) {
            Ok(fd) => Ok(Input::Stream(fd)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Ok(Input::File(std::fs::File::from(plain).into()))
            }
            Err(error) => Err(error),
        }
    }
}

impl AsyncRead for Input {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Input::File(file) => Pin::new(file).poll_read(cx, into),
            Input::Stream(fd) => loop {
                let mut ready = ready!(fd.poll_read_ready(cx))?;
                if !is_readable(fd.get_ref())? {
                    ready.clear_ready();
                    continue;
                }
                match rustix::io::read(fd.get_ref(), into.initialize_unfilled()) {
                    Ok(read) => {
                        into.advance(read);
                        return Poll::Ready(Ok(()));
                    }
                    Err(Errno::AGAIN) => ready.clear_ready(),
                    Err(Errno::INTR) => {}
                    Err(error) => return Poll::Ready(Err(error.into())),
                }
            },
        }
    }
}

/// Whether a read returns at once, with something or with the end.
fn is_readable(fd: &OwnedFd) -> io::Result<bool> {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&now)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
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
        drop(input);
        drop(write);
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
