//! EXEC: a command of the client's, its streams under credit, and its end.

mod record;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use ft_protocol::exec::{Credit, Stream};
use ft_protocol::wire::frame::Kind;
use ft_protocol::wire::message::{self, Exec, Exit};
use ft_protocol::wire::{Connection, Message, Receiver, Sender};
use ft_protocol::{Error, Result, Status};
use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{cancelled, crashed};
use crate::exec::{Plan, Who};
use crate::process::{Ended, Launcher, Output, Running};
use crate::session::Scope;
use record::{Held, Record};
use streams::{Budget, Feed, Pump};

/// A limit of time that never comes.
const FAR: Duration = Duration::from_secs(365 * 86400);
/// A command that has ended is in the log at the latest after so long, however slowly its output is read.
const LOGGED_AFTER: Duration = Duration::from_secs(60);

pub(super) async fn run<S>(
    conn: &mut Connection<S>,
    op: u32,
    scope: &Scope,
    launcher: &Launcher,
    request: Exec,
) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    // A command may be silent, and its client busy, for as long as it likes.
    let _busy = conn.tx.activity().busy();
    let mut record = Record::new(scope, &request);
    let mut input = Feed::new(&request, Arc::clone(&record.tally));
    let begun = match begin(conn, op, scope, launcher, request, &mut input).await {
        Ok(begun) => begun,
        Err(error) => {
            record.why = Some(error.to_string());
            return Err(error);
        }
    };
    record.started = true;
    let Begun { running: Running { stdin, stdout, stderr, supervisor }, limits } = begun;
    input.connect(stdin);
    let mut held = Held::new(supervisor, record, launcher);
    let outcome = attend(conn, op, &mut held, input, (stdout, stderr), &limits).await;
    held.outcome(&outcome);
    outcome
}

/// Makes the audit line of a command that the account's rights do not allow.
pub(super) fn refused(scope: &Scope, request: &Exec, why: &Error) {
    Record::new(scope, request).why = Some(why.to_string());
}

struct Begun {
    running: Running,
    limits: Limits,
}

/// What ends a command, and is told to its client.
struct Limits {
    time: Option<Duration>,
    /// Bytes of standard output and error together.
    output: Option<u64>,
    cpu_seconds: Option<u64>,
    /// Bytes of one file.
    file_size: Option<u64>,
}

/// Decides and starts. The client is read meanwhile: a program on a dead network file system may take for ever,
/// and whoever asked for it may go.
async fn begin<S>(
    conn: &mut Connection<S>,
    op: u32,
    scope: &Scope,
    launcher: &Launcher,
    request: Exec,
    input: &mut Feed,
) -> Result<Begun>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (grant, root, user, source) =
        (Arc::clone(&scope.exec), scope.root.clone(), scope.user.clone(), scope.source);
    let tty = request.tty;
    let planning =
        conn.workers.spawn_blocking(move || grant.plan(&request, &root, Who { user: &user, source }));
    let starting = async {
        let Plan { spec, time_limit, output_limit } = planning.await.map_err(|error| crashed(&error))??;
        let limits = Limits {
            time: time_limit,
            output: output_limit,
            cpu_seconds: spec.limits.cpu_seconds,
            file_size: spec.limits.file_size,
        };
        Ok(Begun { running: launcher.start(spec).await?, limits })
    };
    tokio::pin!(starting);
    let mut resized = None;
    let begun = loop {
        tokio::select! {
            biased;
            begun = &mut starting => break begun?,
            message = conn.rx.next_in(op) => match message? {
                Message::Stdin(bytes) => input.arrived(bytes)?,
                Message::Resize(size) if tty => resized = Some(characters(&size)?),
                Message::Cancel | Message::End(_) => return Err(cancelled()),
                other => return Err(out_of_place(&other)),
            },
        }
    };
    if let Some((rows, columns)) = resized {
        begun.running.supervisor.resize(rows, columns)?;
    }
    Ok(begun)
}

/// From STARTED to EXIT. One task reads, feeds, carries output and waits, so nothing stops anything else.
async fn attend<S>(
    conn: &mut Connection<S>,
    op: u32,
    held: &mut Held,
    mut input: Feed,
    (stdout, stderr): (Output, Option<Output>),
    limits: &Limits,
) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let Some((supervisor, record)) = held.parts() else { return Ok(()) };
    say(&mut conn.rx, &conn.tx, op, Message::Started, &mut input).await?;
    let deadline = Instant::now() + limits.time.unwrap_or(FAR);
    let (gone, budget) = (CancellationToken::new(), Budget::new(limits.output, Arc::clone(&record.tally)));
    let (out_credit, err_credit) = (Credit::default(), Credit::default());
    let out =
        Pump { kind: Kind::Stdout, op, tx: &conn.tx, credit: &out_credit, budget: &budget, gone: &gone };
    let err = Pump { kind: Kind::Stderr, credit: &err_credit, ..out };
    let output = async {
        let (out, err) = tokio::join!(out.run(Some(stdout)), err.run(stderr));
        out.and(err)
    };
    tokio::pin!(output);
    let (mut drained, mut ended, mut cut, mut gave_up) = (false, None, None, false);
    let mut log_at = Instant::now() + FAR;
    let ended = loop {
        if let Some(ended) = ended
            // Who cancelled does not wait for output.
            && (drained || gave_up)
        {
            break ended;
        }
        let grant = input.grant;
        tokio::select! {
            message = conn.rx.next_in(op) => match message? {
                Message::Stdin(bytes) => input.arrived(bytes)?,
                Message::Credit(credit) => match Stream::from_wire(credit.stream)? {
                    Stream::Stdout => out_credit.granted(credit.bytes)?,
                    Stream::Stderr => err_credit.granted(credit.bytes)?,
                    Stream::Stdin => return Err(Error::protocol("CREDIT for what the client itself sends")),
                },
                Message::Resize(size) if record.tty => {
                    let (rows, columns) = characters(&size)?;
                    supervisor.resize(rows, columns)?;
                }
                Message::Cancel | Message::End(_) => {
                    // A limit that was passed before stays the reason.
                    cut = cut.or(Some(Cut::Cancelled));
                    gave_up = true;
                    supervisor.end();
                }
                other => return Err(out_of_place(&other)),
            },
            sent = conn.tx.send(op, message::Credit { stream: Stream::Stdin as u32, bytes: grant }), if grant > 0 => {
                sent?;
                input.grant = 0;
            }
            () = input.feed() => {}
            done = &mut output, if !drained => {
                done?;
                drained = true;
            }
            how = supervisor.ended(), if ended.is_none() => {
                let how = how?;
                ended = Some(how);
                record.ended = ended;
                cut = cut.or(Cut::by_kernel(how, limits));
                log_at = Instant::now() + LOGGED_AFTER;
                gone.cancel();
            }
            () = sleep_until(log_at) => {
                log_at = Instant::now() + FAR;
                record.why = cut.map(|cut: Cut| cut.reason(limits).to_string());
                record.log();
            }
            () = sleep_until(deadline), if cut.is_none() && ended.is_none() => {
                cut = Some(Cut::Time);
                supervisor.end();
            }
            () = budget.spent(), if cut.is_none() => {
                cut = Some(Cut::Output);
                supervisor.end();
            }
        }
    };
    let exit = match ended {
        Ended::Exited(status) => Exit { status: status.into(), signal: 0 },
        Ended::Signalled(signal) => Exit { status: 0, signal: signal.into() },
    };
    say(&mut conn.rx, &conn.tx, op, exit, &mut input).await?;
    cut.map_or(Ok(()), |cut| Err(cut.reason(limits)))
}

/// Why a command did not end by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    Cancelled,
    Time,
    Output,
    Cpu,
    FileSize,
}

impl Cut {
    /// The limit for which the kernel ended it (setrlimit(2)), as its signal tells.
    fn by_kernel(ended: Ended, limits: &Limits) -> Option<Self> {
        let Ended::Signalled(signal) = ended else { return None };
        match i32::from(signal) {
            number if number == Signal::XCPU.as_raw() => limits.cpu_seconds.map(|_| Cut::Cpu),
            number if number == Signal::XFSZ.as_raw() => limits.file_size.map(|_| Cut::FileSize),
            _ => None,
        }
    }

    fn reason(self, limits: &Limits) -> Error {
        let may = match self {
            Cut::Cancelled => return cancelled(),
            Cut::Time => format!("run for {:?}", limits.time.unwrap_or_default()),
            Cut::Output => format!("write {} bytes", limits.output.unwrap_or_default()),
            Cut::Cpu => format!("use {} s of processor time", limits.cpu_seconds.unwrap_or_default()),
            Cut::FileSize => {
                format!("write files of {} bytes at most", limits.file_size.unwrap_or_default())
            }
        };
        let message = format!("the command was ended: the account's commands may {may}");
        Error::local(Status::Limit, message)
    }
}

fn characters(size: &message::Resize) -> Result<(u16, u16)> {
    match (u16::try_from(size.rows), u16::try_from(size.columns)) {
        (Ok(rows), Ok(columns)) => Ok((rows, columns)),
        _ => Err(Error::protocol("RESIZE to more than a terminal can have")),
    }
}

fn out_of_place(message: &Message) -> Error {
    Error::protocol(format!("{} for a command", message.kind().name()))
}

/// Sends, and goes on reading, so that a client that is gone is noticed although nothing can be sent to it.
/// Input is kept; anything else that comes here is of no consequence any more, or not yet possible.
async fn say<R>(
    rx: &mut Receiver<R>,
    tx: &Sender,
    op: u32,
    message: impl Into<Message>,
    input: &mut Feed,
) -> Result<()>
where
    R: AsyncRead + Unpin,
{
    let sent = tx.send(op, message);
    tokio::pin!(sent);
    loop {
        tokio::select! {
            biased;
            sent = &mut sent => return sent,
            message = rx.next_in(op) => if let Message::Stdin(bytes) = message? {
                input.arrived(bytes)?;
            },
        }
    }
}
