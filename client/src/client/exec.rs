//! Commands on the server.
//!
//! A command is sent once. Where the connection breaks after that and the server did not say that nothing was
//! started, the outcome is unknown. However a call ends, the command ends with it at the latest: dropping its
//! future closes the connection, and the server ends whatever ran on it.

mod run;

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ft_protocol::exec::join;
use ft_protocol::wire::Message;
use ft_protocol::wire::frame::{EXEC_CAP, HEADER_LEN};
use ft_protocol::wire::message::Exec;
use ft_protocol::wire::sender::encode;
use ft_protocol::{Error, Failure, RemotePath, Status};
use tokio::io::{AsyncRead, AsyncWrite, Empty};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::repeat::{Operation, Repeat};
use super::session::{Phase, Session};
use super::{Client, Result};

/// What is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// A program and its arguments, which no shell looks at.
    Argv(Vec<OsString>),
    /// A line for the shell of the account that the command runs as.
    Shell(OsString),
}

/// A terminal that a command is given. On Linux its size is that of `TIOCGWINSZ` (ioctl_tty(2)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminal {
    /// Its kind, as `TERM` names it.
    pub term: OsString,
    /// Its size.
    pub size: Size,
}

/// Size of a terminal in characters; 0: unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Height.
    pub rows: u16,
    /// Width.
    pub columns: u16,
}

/// A command, and what it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What is to run.
    pub program: Program,
    /// Variables for its environment: name and value.
    pub env: Vec<(OsString, OsString)>,
    /// Its working directory.
    pub cwd: RemotePath,
    /// A terminal for its three streams, instead of pipes.
    pub terminal: Option<Terminal>,
    /// It is ended where it neither writes nor reads for so long. What waits for a writer at this end does not
    /// count.
    pub timeout: Option<Duration>,
}

impl Command {
    /// A program and its arguments, in the root of the account, with nothing else.
    pub fn new<W: Into<OsString>>(argv: impl IntoIterator<Item = W>) -> Self {
        Self::of(Program::Argv(argv.into_iter().map(Into::into).collect()))
    }

    /// A line for a shell, in the root of the account, with nothing else.
    pub fn shell(line: impl Into<OsString>) -> Self {
        Self::of(Program::Shell(line.into()))
    }

    fn of(program: Program) -> Self {
        Self { program, env: Vec::new(), cwd: RemotePath::root(), terminal: None, timeout: None }
    }
}

/// The streams of a command at this end. `&mut` of a reader or writer will do as well.
#[derive(Debug)]
pub struct Streams<I, O, E> {
    /// What the command reads; without it that is /dev/null. Never asked for more than the server has room for,
    /// nor before the command runs.
    pub stdin: Option<I>,
    /// Takes standard output; all output where there is a terminal.
    pub stdout: O,
    /// Takes standard error.
    pub stderr: E,
}

impl<O, E> Streams<Empty, O, E> {
    /// Output goes to these two; there is no input.
    pub fn new(stdout: O, stderr: E) -> Self {
        Self { stdin: None, stdout, stderr }
    }

    /// Input comes from here.
    pub fn stdin<I>(self, stdin: I) -> Streams<I, O, E> {
        Streams { stdin: Some(stdin), stdout: self.stdout, stderr: self.stderr }
    }
}

/// Called when the command runs, before any of its output. Where it fails, the command is ended.
pub type OnStarted = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// What the caller may do to a command while it runs, and hears of it.
#[derive(Default)]
pub struct Control {
    /// Cancelled, it ends the command and everything that it started, at the latest after 5 s. The call goes on
    /// until the server says so, and the session lives on.
    pub cancel: CancellationToken,
    /// The size of its terminal from now on, whenever it changes.
    pub size: Option<watch::Receiver<Size>>,
    /// See [`OnStarted`].
    pub on_started: Option<OnStarted>,
    /// Set when the command is asked for: from then on it may run, or have run.
    pub asked: Arc<AtomicBool>,
}

/// How a command ended that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// What became of its process.
    pub ended: Ended,
    /// Why the server ended it, where it did: [`Status::Limit`], [`Status::Cancelled`]. A server that stops ends the
    /// session as well: [`super::ClientError::OutcomeUnknown`].
    pub stopped: Option<Failure>,
}

/// What became of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this status.
    Status(u8),
    /// This signal ended it, as Linux numbers them.
    Signal(u8),
}

impl Ended {
    /// The status by which shells name it: 128 + N for a signal.
    pub fn code(self) -> u8 {
        match self {
            Ended::Status(status) => status,
            Ended::Signal(signal) => signal.saturating_add(128),
        }
    }
}

impl Client {
    /// Runs a command to its end; its output is passed on as it comes, and a writer that stands still stops the
    /// command and nothing else: not more than 256 KiB of each stream wait for it here.
    ///
    /// The request travels with the login, so the command starts after three round trips on a new connection.
    /// Errors: nothing was started (everything but the following); [`super::ClientError::Interrupted`], it was
    /// started and then ended, as one of its streams here failed or [`Command::timeout`] passed;
    /// [`super::ClientError::OutcomeUnknown`].
    pub async fn exec<I, O, E>(
        &mut self,
        command: &Command,
        mut streams: Streams<I, O, E>,
        mut control: Control,
    ) -> Result<Finished>
    where
        I: AsyncRead + Unpin + Send,
        O: AsyncWrite + Unpin + Send,
        E: AsyncWrite + Unpin + Send,
    {
        let cwd = self.builder.origin.outward(&command.cwd)?;
        let request = request(command, &cwd, streams.stdin.is_some())?;
        let limits = run::Limits { start: self.builder.timeout, silence: command.timeout };
        let hang_up = HangUp(self);
        let execution = Execution { request, limits, streams: &mut streams, control: &mut control };
        hang_up.0.repeat(Repeat::Command, None, execution).await
    }
}

struct Execution<'a, I, O, E> {
    request: Exec,
    limits: run::Limits,
    streams: &'a mut Streams<I, O, E>,
    control: &'a mut Control,
}

impl<I, O, E> Operation for Execution<'_, I, O, E>
where
    I: AsyncRead + Unpin + Send,
    O: AsyncWrite + Unpin + Send,
    E: AsyncWrite + Unpin + Send,
{
    type Done = Finished;

    async fn attempt(&mut self, session: &mut Session, _: u32) -> ft_protocol::Result<Finished> {
        run::run(session, self.request.clone(), self.limits, self.streams, self.control).await
    }
}

/// Where the call is dropped, the connection goes with the command.
struct HangUp<'a>(&'a mut Client);

impl Drop for HangUp<'_> {
    fn drop(&mut self) {
        self.0.session.take_if(|session| session.command != Phase::None);
    }
}

/// The request for a command in this directory of the account. Errors: it cannot be sent.
fn request(command: &Command, cwd: &RemotePath, stdin: bool) -> ft_protocol::Result<Exec> {
    let invalid = |message: &str| Error::local(Status::Invalid, message);
    let (argv, shell) = match &command.program {
        Program::Argv(argv) if argv.is_empty() => return Err(invalid("there is no program to run")),
        Program::Argv(argv) => (join(argv.iter().map(|arg| arg.as_bytes()))?, false),
        Program::Shell(line) => (join([line.as_bytes()])?, true),
    };
    let variables = command.env.iter().map(|(name, value)| {
        if name.is_empty() || name.as_bytes().contains(&b'=') {
            return Err(invalid("the name of a variable is empty or holds a '='"));
        }
        Ok([name.as_bytes(), b"=", value.as_bytes()].concat())
    });
    let terminal = command.terminal.as_ref();
    let exec = Exec {
        argv,
        shell,
        // Whoever may have a terminal may type on it.
        stdin: stdin && terminal.is_none(),
        env: join(variables.collect::<ft_protocol::Result<Vec<_>>>()?)?,
        cwd: cwd.as_bytes().to_vec(),
        tty: terminal.is_some(),
        term: terminal.map(|terminal| terminal.term.as_bytes().to_vec()).unwrap_or_default(),
        rows: terminal.map_or(0, |terminal| terminal.size.rows.into()),
        columns: terminal.map_or(0, |terminal| terminal.size.columns.into()),
    };
    if encode(0, &Message::from(exec.clone())).len() > HEADER_LEN + EXEC_CAP as usize {
        return Err(invalid("the command is too long: its words and variables may have 256 KiB together"));
    }
    Ok(exec)
}

#[cfg(test)]
#[path = "exec_tests.rs"]
mod tests;
