//! The server's side of a start.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream as Pair;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use ft_protocol::display::Escaped;
use ft_protocol::{Error, Result, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio_util::task::TaskTracker;

use super::order::{self, Descriptors};
use super::running::{Running, Supervisor};
use super::spec::{Io, Spec};
use super::stage::{READY, Refusal, Step};
use super::streams::{self, Streams};
use super::{SUPERVISE, SUPERVISE_TERMINAL};

/// Starts commands. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Launcher {
    program: Arc<PathBuf>,
    /// Follow commands whose client has gone to their end.
    followers: TaskTracker,
}

impl Launcher {
    /// `program`: one whose `main` begins with [`become_helper`](super::become_helper); a server's own is
    /// `/proc/self/exe`.
    pub fn new(program: PathBuf) -> Self {
        Self { program: Arc::new(program), followers: TaskTracker::new() }
    }

    /// Follows a command to its end though nobody waits for it. In the context of a runtime.
    pub(crate) fn follow(&self, end: impl Future<Output = ()> + Send + 'static) {
        self.followers.spawn(end);
    }

    /// Waits until nothing is left of commands whose clients have gone. For a server that stops: nothing may be
    /// started any more.
    pub(crate) async fn settled(&self) {
        self.followers.close();
        self.followers.wait().await;
    }

    /// Starts a command under a supervisor of its own and returns when it runs. Where this future is dropped
    /// before, nothing of it stays. Errors: nothing was started; the message is for the user.
    pub async fn start(&self, spec: Spec) -> Result<Running> {
        let system = |error| Error::io("start a command", &error);
        let order = order::encode(&spec)?;
        let streams = streams::open(spec.io, spec.run_as.as_ref()).map_err(system)?;
        let (lifeline, their_lifeline) = Pair::pair().map_err(system)?;
        let (control, their_control) = Pair::pair().map_err(system)?;
        let child = self.spawn(spec.io, their_lifeline.into(), their_control.into()).map_err(system)?;
        // Waits for the process whatever becomes of the command's owner, so that no zombie is left.
        let reaper = tokio::spawn(reap(child));

        let Streams { stdin, stdout, stderr, master, theirs: (their_stdin, their_stdout, their_stderr) } =
            streams;
        let Spec { argv, cwd, .. } = spec;
        let mut supervisor = Supervisor::new(adopt(lifeline).map_err(system)?, reaper, master);
        let descriptors =
            Descriptors { stdin: their_stdin, stdout: their_stdout, stderr: their_stderr, cwd: cwd.into() };
        let mut control = adopt(control).map_err(system)?;
        // Where this fails, the stage is gone, and the answer says why.
        let _ = hand_over(&mut control, &order, descriptors).await;
        let mut answer = Vec::with_capacity(16);
        let _ = control.read_to_end(&mut answer).await;
        match answer.split_first() {
            Some((&READY, [])) => Ok(Running { stdin, stdout, stderr, supervisor }),
            Some((&READY, refusal)) => Err(refused(&argv, refusal)),
            Some(_) => Err(refused(&argv, &answer)),
            None => Err(supervisor.failed().await),
        }
    }

    fn spawn(&self, io: Io, lifeline: OwnedFd, control: OwnedFd) -> io::Result<Child> {
        let terminal = matches!(io, Io::Terminal { .. });
        Command::new(self.program.as_path())
            .arg0("ftserver")
            .arg(if terminal { SUPERVISE_TERMINAL } else { SUPERVISE })
            .env_clear()
            .stdin(lifeline)
            .stdout(control)
            .stderr(Stdio::null())
            .spawn()
    }
}

async fn reap(mut child: Child) {
    let _ = child.wait().await;
}

fn adopt(socket: Pair) -> io::Result<UnixStream> {
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}

/// Sends everything; the command's ends of its streams are closed here afterwards.
async fn hand_over(control: &mut UnixStream, order: &[u8], descriptors: Descriptors) -> io::Result<()> {
    order::send_head(&*control, order.len(), &descriptors)?;
    drop(descriptors);
    control.write_all(order).await
}

/// What a user reads.
fn refused(argv: &[OsString], refusal: &[u8]) -> Error {
    let Some(Refusal { step, error }) = Refusal::decode(refusal) else {
        return Error::local(Status::Failed, "start a command: its first process ended early; try again");
    };
    let program = argv.first().map(|program| program.as_bytes()).unwrap_or_default();
    let shown = Escaped::new(program).brief();
    match step {
        Step::Order => Error::io("start a command: receive its order", &error),
        Step::Terminal => Error::io("start a command: give it a terminal", &error),
        Step::User => {
            Error::io("become the user of the account's commands, which takes a server that is root", &error)
        }
        Step::Directory => Error::io("enter the working directory", &error),
        Step::Privileges => Error::io("start a command: keep it from new privileges", &error),
        Step::Limits => Error::io("start a command: limit it", &error),
        Step::Execute if error.kind() == io::ErrorKind::NotFound && !program.contains(&b'/') => {
            let message =
                format!("{shown}: no such program in the PATH of the server's commands; give its full path");
            Error::local(Status::NotFound, message)
        }
        Step::Execute if error.kind() == io::ErrorKind::NotFound => Error::local(
            Status::NotFound,
            format!("{shown}: no such program, or not the interpreter that it names"),
        ),
        Step::Execute if error.kind() == io::ErrorKind::PermissionDenied => Error::local(
            Status::PermissionDenied,
            format!("{shown}: not a program that the server may execute"),
        ),
        Step::Execute if error.kind() == io::ErrorKind::ArgumentListTooLong => {
            let message =
                format!("{shown}: arguments and environment are longer than the system takes (E2BIG)");
            Error::local(Status::Invalid, message)
        }
        Step::Execute => Error::io(shown, &error),
    }
}
