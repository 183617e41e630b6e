//! `exec`: this process stands in for one on the server.

pub(super) mod fleet;
mod input;
mod sink;

use std::ffi::OsString;
use std::fs::File;
use std::future::pending;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Instant;

use ft_protocol::Error;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::process::Signal;
use tokio::io::AsyncRead;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::context::{Context, Server};
use super::{Failed, TIDY_UP};
use crate::cli::{ExecPlan, Input as From};
use crate::client::{Command, Control, Finished, OnStarted, Size, Streams, Terminal};
use crate::exit::Exit;
use crate::output::{Output, Summary, reason};
use crate::tty::Tty;
use crate::tty::escape::Escapes;
use input::Input;
use sink::Sink;

/// What every failure but that of the command itself ends with, as with ssh(1).
pub(super) const OURS: u8 = 255;

/// What is known about the output of a command.
struct Seen {
    bytes: AtomicU64,
    /// The last byte that a terminal got.
    last: Arc<AtomicU8>,
}

/// Runs a command on a connection of its own, says what there is to say, and gives the exit code.
pub(super) async fn run(context: &Context, plan: ExecPlan) -> u8 {
    stand_in(context, None, plan, CancellationToken::new()).await
}

/// As [`run`], on this connection; `cancel` ends the command and nothing else.
pub(super) async fn run_on(
    context: &Context,
    server: &mut Server,
    plan: ExecPlan,
    cancel: CancellationToken,
) -> u8 {
    stand_in(context, Some(server), plan, cancel).await
}

async fn stand_in(
    context: &Context,
    server: Option<&mut Server>,
    plan: ExecPlan,
    cancel: CancellationToken,
) -> u8 {
    let (begun, seen) = (Instant::now(), Arc::new(Seen::new()));
    // A prompt begins by clearing its line. What has a terminal of its own was seen to when that was put right.
    let at_prompt = server.is_some() && !matches!(plan.input, From::Terminal) && io::stdout().is_terminal();
    let mut host = None;
    let (last_output, last_seen) = (context.output.clone(), Arc::clone(&seen));
    context.current.begun(move |code| {
        let bytes = last_seen.bytes.load(Ordering::Relaxed);
        let summary = Summary { bytes, elapsed: begun.elapsed(), ..Summary::default() };
        // What cannot be said here has nobody left to be told.
        let _ = last_output.command_summary(&summary, code);
    });
    let (code, failed) = match work(context, server, &plan, cancel, &seen, &mut host).await {
        Ok(code) => (code, None),
        // Nobody reads our output any more.
        Err(failed) if failed.message.is_empty() => (by_signal(Signal::PIPE), None),
        Err(failed) if failed.exit == Exit::Usage => (failed.exit.code(), Some(failed)),
        Err(failed) => (OURS, Some(failed)),
    };
    context.current.ended();
    let output = context.output.clone();
    let said = tokio::task::spawn_blocking(move || {
        if at_prompt && seen.last.load(Ordering::Relaxed) != b'\n' {
            let _ = io::stdout().write_all(b"\n");
        }
        if let Some(failed) = failed {
            failed.report(&output, host.as_deref(), None);
        }
        let bytes = seen.bytes.load(Ordering::Relaxed);
        let summary = Summary { bytes, elapsed: begun.elapsed(), ..Summary::default() };
        // There is nowhere left to complain to.
        let _ = output.command_summary(&summary, code);
    });
    // Whoever let the deadline pass by reading nothing will not read this either.
    let _ = timeout(TIDY_UP, said).await;
    code
}

fn by_signal(signal: Signal) -> u8 {
    u8::try_from(signal.as_raw()).unwrap_or(0).saturating_add(128)
}

async fn work(
    context: &Context,
    server: Option<&mut Server>,
    plan: &ExecPlan,
    cancel: CancellationToken,
    seen: &Arc<Seen>,
    host: &mut Option<String>,
) -> Result<u8, Failed> {
    let name = match &server {
        Some(server) => server.name.clone(),
        None => context.endpoint()?.name,
    };
    let name = host.insert(name);
    let tty = match plan.input {
        From::Terminal => Some(terminal(seen)?),
        _ => None,
    };
    let command = command(context, plan, tty.as_ref())?;
    let left = CancellationToken::new();
    let stdin = input(&plan.input, &left)?;
    let (mut stdout, mut stderr) = sinks(&context.output, name, seen)?;

    let running = async {
        let mut own = None;
        let Server { client, .. } = match server {
            Some(server) => server,
            None => own.insert(context.server().await?),
        };
        context.output.start(client.run())?;
        let (resized, size) = watch::channel(Size { rows: 0, columns: 0 });
        let raw = tty.clone().map(|tty| -> OnStarted { Box::new(move || tty.make_raw()) });
        let control = Control { size: Some(size), on_started: raw, cancel, ..Control::default() };
        let streams = Streams { stdin, stdout: &mut stdout, stderr: &mut stderr };
        let finished = tokio::select! {
            finished = client.exec(&command, streams, control) => finished?,
            () = follow(tty.as_ref(), &resized) => return Err(Failed::new(Exit::Failure, "internal error")),
        };
        if let Some(own) = own {
            own.client.close().await;
        }
        Ok(finished)
    };
    let leaving = async {
        left.cancelled().await;
        ended_by_us(Exit::Failure, "left with '~.'")
    };
    let late = async {
        let Some(limit) = context.settings.deadline else { return pending().await };
        sleep(limit).await;
        ended_by_us(Exit::Deadline, &format!("the deadline of {limit:?} passed"))
    };
    let done = tokio::select! {
        done = running => done,
        failed = leaving => Err(failed),
        failed = late => Err(failed),
    };
    if let Some(tty) = tty {
        tty.restore(done.is_err());
    }
    if stdout.is_broken() || stderr.is_broken() {
        return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
    }
    conclude(context, name, done?)
}

/// What is said about a command that ran, and the exit code.
fn conclude(context: &Context, host: &str, finished: Finished) -> Result<u8, Failed> {
    context.output.command_ended(host, finished.ended)?;
    match finished.stopped {
        None => Ok(finished.ended.code()),
        // Its status is that of a command that was not allowed to end by itself.
        Some(failure) => {
            Err(Failed { retry_safe: false, ..Failed::new(failure.status.into(), reason(&failure)) })
        }
    }
}

fn ended_by_us(exit: Exit, why: &str) -> Failed {
    let message = format!("{why}; if the command ran, it was ended");
    Failed { retry_safe: false, ..Failed::new(exit, message) }
}

fn terminal(seen: &Seen) -> Result<Tty, Failed> {
    let missing = "--tty needs a terminal at standard input; leave it out where the program needs none";
    let found = Tty::at_stdin(Arc::clone(&seen.last)).map_err(|error| local("use the terminal", &error))?;
    found.ok_or_else(|| Failed::new(Exit::Usage, missing))
}

fn command(context: &Context, plan: &ExecPlan, tty: Option<&Tty>) -> Result<Command, Failed> {
    let value = |(name, value): &(OsString, Option<OsString>)| {
        let value = value.clone().or_else(|| std::env::var_os(name)).ok_or_else(|| {
            let message =
                format!("--env {}: there is no such variable here; write NAME=VALUE", name.display());
            Failed::new(Exit::Usage, message)
        })?;
        Ok((name.clone(), value))
    };
    Ok(Command {
        program: plan.program.clone(),
        env: plan.env.iter().map(value).collect::<Result<_, Failed>>()?,
        cwd: plan.cwd.clone(),
        terminal: tty.map(|tty| Terminal {
            term: std::env::var_os("TERM").unwrap_or_else(|| "dumb".into()),
            size: tty.size(),
        }),
        timeout: context.settings.command_timeout,
    })
}

type Reader = Box<dyn AsyncRead + Unpin + Send>;

/// What the command is to read; `left` is cancelled where the user leaves instead.
fn input(from: &From, left: &CancellationToken) -> Result<Option<Reader>, Failed> {
    let stdin = || Input::new(&io::stdin()).map_err(|error| local("read standard input", &error));
    Ok(Some(match from {
        From::None => return Ok(None),
        From::Pipe if !is_open_pipe(&io::stdin()) => return Ok(None),
        From::Pipe | From::Stdin => Box::new(stdin()?),
        From::Terminal => Box::new(Escapes::new(stdin()?, left.clone())),
        From::File(path) => {
            let opened = File::open(path).and_then(|file| Input::new(&file));
            Box::new(opened.map_err(|error| local(&format!("read {}", path.display()), &error))?)
        }
    }))
}

/// Whether something may still come through a pipe. cron(8) hands its programs one that is closed already.
fn is_open_pipe(fd: &impl AsFd) -> bool {
    let is_pipe = fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut polled = [PollFd::new(fd, PollFlags::IN)];
    is_pipe && poll(&mut polled, Some(&now)).is_ok() && polled.iter().all(|fd| fd.revents() != PollFlags::HUP)
}

fn local(doing: &str, error: &io::Error) -> Failed {
    let error = Error::io(doing, error);
    Failed::new(error.status().into(), error.to_string())
}

/// Where standard output and standard error go: through, or into events.
fn sinks(output: &Output, host: &str, seen: &Arc<Seen>) -> Result<(Sink, Sink), Failed> {
    if !output.options().json {
        let count = |terminal| {
            let seen = Arc::clone(seen);
            move |bytes: &[u8]| seen.count(terminal, bytes)
        };
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let counted = (count(stdout.is_terminal()), count(stderr.is_terminal()));
        return Ok((Sink::raw(&stdout, counted.0)?, Sink::raw(&stderr, counted.1)?));
    }
    let events = |stream: &'static str| {
        let (output, host, seen) = (output.clone(), host.to_owned(), Arc::clone(seen));
        Sink::new(move |bytes| {
            seen.count(false, bytes);
            output.command_output(&host, stream, bytes)
        })
    };
    Ok((events("stdout"), events("stderr")))
}

impl Seen {
    fn new() -> Self {
        Self { bytes: AtomicU64::new(0), last: Arc::new(AtomicU8::new(b'\n')) }
    }

    fn count(&self, terminal: bool, bytes: &[u8]) {
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if let Some(last) = bytes.last().filter(|_| terminal) {
            self.last.store(*last, Ordering::Relaxed);
        }
    }
}

/// Tells each new size of the terminal; never ends.
async fn follow(tty: Option<&Tty>, resized: &watch::Sender<Size>) {
    if let (Some(tty), Ok(mut changed)) = (tty, signal(SignalKind::window_change())) {
        while changed.recv().await.is_some() {
            resized.send_replace(tty.size());
        }
    }
    pending().await
}
