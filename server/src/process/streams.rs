//! The server's ends of a command's standard streams. None of them takes a thread while the command is silent.
//!
//! A terminal's are tokio's pipe ends too: they read and write any descriptor that can be polled.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;

use super::spec::{Io, RunAs};

/// What is written here, the command reads. End of file for it: a shutdown or a drop. A terminal takes only the
/// character that means it (Ctrl-D), or is hung up once [`Input`], [`Output`] and `Supervisor` are all dropped.
#[derive(Debug)]
pub struct Input {
    /// `None`: it was shut down.
    to: Option<pipe::Sender>,
    is_terminal: bool,
}

/// What the command wrote. A terminal that the last program closed is at its end of file.
#[derive(Debug)]
pub struct Output(pipe::Receiver);

/// The side of a pseudo-terminal where the person would sit (pty(7)).
#[derive(Debug)]
pub(super) struct Master(OwnedFd);

/// Both sides of the streams.
pub(super) struct Streams {
    pub(super) stdin: Option<Input>,
    pub(super) stdout: Output,
    pub(super) stderr: Option<Output>,
    pub(super) master: Option<Master>,
    /// The command's sides: standard input, output, error.
    pub(super) theirs: (OwnedFd, OwnedFd, OwnedFd),
}

/// Opens the streams. A terminal belongs to the command's user.
pub(super) fn open(io: Io, run_as: Option<&RunAs>) -> io::Result<Streams> {
    match io {
        Io::Pipes { stdin } => open_pipes(stdin),
        Io::Terminal { rows, columns } => open_terminal(rows, columns, run_as),
    }
}

fn open_pipes(with_input: bool) -> io::Result<Streams> {
    let output = || -> io::Result<(Output, OwnedFd)> {
        let (ours, theirs) = io::pipe()?;
        Ok((Output(pipe::Receiver::from_owned_fd(ours.into())?), theirs.into()))
    };
    let (stdin, their_stdin) = if with_input {
        let (theirs, ours) = io::pipe()?;
        let to = Some(pipe::Sender::from_owned_fd(ours.into())?);
        (Some(Input { to, is_terminal: false }), theirs.into())
    } else {
        (None, File::open("/dev/null")?.into())
    };
    let (stdout, their_stdout) = output()?;
    let (stderr, their_stderr) = output()?;
    let theirs = (their_stdin, their_stdout, their_stderr);
    Ok(Streams { stdin, stdout, stderr: Some(stderr), master: None, theirs })
}

fn open_terminal(rows: u16, columns: u16, run_as: Option<&RunAs>) -> io::Result<Streams> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    unlockpt(&master)?;
    // By descriptor: the name could be one of another mount of devpts.
    let theirs = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    if let Some(user) = run_as {
        // As login(1) does. Without the right to, the user is the server's own, whose it is anyway.
        let _ = rustix::fs::fchown(&theirs, Some(rustix::fs::Uid::from_raw(user.uid)), None);
    }
    rustix::io::ioctl_fionbio(&master, true)?;
    let to = Some(pipe::Sender::from_owned_fd_unchecked(master.try_clone()?)?);
    let stdout = Output(pipe::Receiver::from_owned_fd_unchecked(master.try_clone()?)?);
    let master = Master(master);
    master.resize(rows, columns)?;
    Ok(Streams {
        stdin: Some(Input { to, is_terminal: true }),
        stdout,
        stderr: None,
        master: Some(master),
        theirs: (theirs.try_clone()?, theirs.try_clone()?, theirs),
    })
}

impl Master {
    /// Size in characters; programs are told by SIGWINCH.
    pub(super) fn resize(&self, rows: u16, columns: u16) -> io::Result<()> {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(self.0.as_fd(), size)?)
    }
}

impl AsyncRead for Output {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.0).poll_read(cx, buf) {
            // Of a terminal that no program has open any more.
            Poll::Ready(Err(error)) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }
}

impl AsyncWrite for Input {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.to {
            Some(to) => Pin::new(to).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_terminal {
            self.to = None;
        }
        Poll::Ready(Ok(()))
    }
}
