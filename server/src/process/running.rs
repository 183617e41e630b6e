//! A command that runs, as the server sees it.

use std::io;

use ft_protocol::{Error, Result, Status};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::spec::Ended;
use super::streams::{Input, Master, Output};
use super::supervisor::{END, Outcome, REPORT_SIZE, Report};

/// A command that runs.
#[derive(Debug)]
pub struct Running {
    /// Its standard input: a pipe where there is to be input, or the terminal. Dropping a pipe is its end of file.
    pub stdin: Option<Input>,
    /// Its standard output, or everything of a terminal.
    pub stdout: Output,
    /// Its standard error; `None` for a terminal.
    pub stderr: Option<Output>,
    /// What ends it.
    pub supervisor: Supervisor,
}

/// The hold on a command. Dropping it ends the command with all that it started, as [`Supervisor::end`] does, and
/// so does the end of the server, however that comes about.
#[derive(Debug)]
pub struct Supervisor {
    /// Its end of file is what the supervisor lives for.
    lifeline: UnixStream,
    /// Ends when the supervisor process is gone.
    reaper: Option<JoinHandle<()>>,
    master: Option<Master>,
    report: Vec<u8>,
}

impl Supervisor {
    pub(super) fn new(lifeline: UnixStream, reaper: JoinHandle<()>, master: Option<Master>) -> Self {
        Self { lifeline, reaper: Some(reaper), master, report: Vec::with_capacity(REPORT_SIZE) }
    }

    /// Asks to end the command with all that it started: SIGTERM (and SIGHUP before, where it has a terminal: shells
    /// take no SIGTERM there), after 5 s SIGKILL. Does not wait; more than once is as good as once.
    pub fn end(&mut self) {
        // Where it cannot be written the supervisor is gone, which `ended` tells.
        let _ = self.lifeline.try_write(&[END]);
    }

    /// Waits until the command has ended and nothing of it is left; says how it ended itself. What it left running
    /// has 1 s to end, then SIGTERM, after 5 s SIGKILL. Cancel safe, and once it has returned it returns the same
    /// again. Errors: the supervisor was killed; something may be left.
    pub async fn ended(&mut self) -> Result<Ended> {
        let report = self.report().await?;
        if report.left > 0 {
            // It stays and tries on, so there is no point in waiting for it.
            tracing::warn!(processes = report.left, "a command left processes that cannot be ended");
        } else if let Some(reaper) = &mut self.reaper {
            let _ = reaper.await;
            self.reaper = None;
        }
        match report.outcome {
            Outcome::Ended(ended) => Ok(ended),
            Outcome::Failed(error) => Err(Error::io("start a command", &error)),
        }
    }

    /// New size of the terminal, in characters; its foreground programs get SIGWINCH. Nothing for pipes.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        let Some(master) = &self.master else { return Ok(()) };
        master.resize(rows, columns).map_err(|error| Error::io("resize the terminal", &error))
    }

    /// Why the command never came to be.
    pub(super) async fn failed(&mut self) -> Error {
        match self.ended().await {
            Err(error) => error,
            Ok(_) => Error::local(Status::Failed, "start a command: its first process was killed; try again"),
        }
    }

    async fn report(&mut self) -> Result<Report> {
        let vanished = || {
            let message = "the supervisor of the command was killed; processes of the command may be left";
            Error::local(Status::Failed, message)
        };
        while self.report.len() < REPORT_SIZE {
            match self.lifeline.read_buf(&mut self.report).await {
                Ok(0) => return Err(vanished()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(vanished()),
            }
        }
        Report::decode(&self.report).ok_or_else(vanished)
    }
}
