//! EXEC: a command of the client's, its streams under credit, and its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ft_protocol::exec::{Allowance, Credit, Stream};
use ft_protocol::wire::frame::{HEADER_LEN, Header, Kind, STREAM_CAP};
use ft_protocol::wire::message::{self, Exec, Exit};
use ft_protocol::wire::{Connection, Message, Receiver, Sender};
use ft_protocol::{Error, Result, Status};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::blocking;
use crate::exec::{Plan, Who, audit};
use crate::process::{Ended, Input, Launcher, Output, Running};
use crate::session::Scope;

/// Where the command and all that it started are gone, and its output still does not end: how long it may be
/// silent. Somebody outside must have been handed the other end.
const LEFT_OPEN: Duration = Duration::from_secs(1);
/// A limit of time that never comes.
const FAR: Duration = Duration::from_secs(365 * 86400);

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
    let outcome = command(conn, op, scope, launcher, request, &mut record).await;
    record.outcome(&outcome);
    outcome
}

async fn command<S>(
    conn: &mut Connection<S>,
    op: u32,
    scope: &Scope,
    launcher: &Launcher,
    request: Exec,
    record: &mut Record,
) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (grant, root, user, source) =
        (Arc::clone(&scope.exec), scope.root.clone(), scope.user.clone(), scope.source);
    let plan = move || grant.plan(&request, &root, Who { user: &user, source });
    let Plan { spec, time_limit, output_limit } = blocking(conn, plan).await?;
    let Running { stdin, stdout, stderr, mut supervisor } = launcher.start(spec).await?;
    record.started = true;
    conn.tx.send(op, Message::Started).await?;

    let deadline = Instant::now() + time_limit.unwrap_or(FAR);
    let (gone, budget) = (CancellationToken::new(), Budget::new(output_limit, Arc::clone(&record.tally)));
    let (out_credit, err_credit) = (Credit::default(), Credit::default());
    let out =
        Pump { kind: Kind::Stdout, op, tx: &conn.tx, credit: &out_credit, budget: &budget, gone: &gone };
    let err = Pump { kind: Kind::Stderr, credit: &err_credit, ..out };
    let output = async {
        let (out, err) = tokio::join!(out.run(Some(stdout)), err.run(stderr));
        out.and(err)
    };
    tokio::pin!(output);
    let mut input = Feed::new(stdin, Arc::clone(&record.tally));
    let (mut drained, mut ended, mut cut, mut cancelled) = (false, None, None, false);
    let ended = loop {
        if let Some(ended) = ended
            // Who cancelled does not wait for output.
            && (drained || cancelled)
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
                    supervisor.resize(characters(size.rows), characters(size.columns))?;
                }
                Message::Cancel | Message::End(_) => {
                    // A limit that was passed before stays the reason.
                    cut = cut.or(Some(Cut::Cancelled));
                    cancelled = true;
                    supervisor.end();
                }
                other => return Err(Error::protocol(format!("{} for a command", other.kind().name()))),
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
                ended = Some(how?);
                gone.cancel();
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
    record.ended = Some(ended);
    let exit = match ended {
        Ended::Exited(status) => Exit { status: status.into(), signal: 0 },
        Ended::Signalled(signal) => Exit { status: 0, signal: signal.into() },
    };
    say(&mut conn.rx, &conn.tx, op, exit).await?;
    match cut {
        None => Ok(()),
        Some(Cut::Cancelled) => Err(super::cancelled()),
        Some(Cut::Time) => Err(over(format_args!("may run for {:?}", time_limit.unwrap_or_default()))),
        Some(Cut::Output) => Err(over(format_args!("may write {} bytes", output_limit.unwrap_or_default()))),
    }
}

/// Makes the audit line of a command that the account's rights do not allow.
pub(super) fn refused(scope: &Scope, request: &Exec, why: &Error) {
    Record::new(scope, request).why = Some(why.to_string());
}

/// Bytes that passed.
#[derive(Default)]
struct Tally {
    input: AtomicU64,
    output: AtomicU64,
}

/// What the audit line will say; logged when dropped, so also where the session is cut off.
struct Record {
    user: String,
    source: Option<SocketAddr>,
    argv: String,
    shell: bool,
    tty: bool,
    began: Instant,
    tally: Arc<Tally>,
    started: bool,
    ended: Option<Ended>,
    why: Option<String>,
}

impl Record {
    fn new(scope: &Scope, request: &Exec) -> Self {
        Self {
            user: scope.user.clone(),
            source: scope.source,
            argv: audit::shown(request),
            shell: request.shell,
            tty: request.tty,
            began: Instant::now(),
            tally: Arc::default(),
            started: false,
            ended: None,
            why: Some("the server ended the session".to_owned()),
        }
    }

    fn outcome(&mut self, outcome: &Result<()>) {
        self.why = outcome.as_ref().err().map(ToString::to_string);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        audit::Line {
            user: &self.user,
            source: self.source,
            argv: &self.argv,
            shell: self.shell,
            tty: self.tty,
            started: self.started,
            ended: self.ended,
            why: self.why.as_deref(),
            bytes_in: self.tally.input.load(Ordering::Relaxed),
            bytes_out: self.tally.output.load(Ordering::Relaxed),
            duration: self.began.elapsed(),
        }
        .log();
    }
}

/// Why a command did not end by itself.
#[derive(Clone, Copy)]
enum Cut {
    Cancelled,
    Time,
    Output,
}

fn over(limit: std::fmt::Arguments<'_>) -> Error {
    Error::local(Status::Limit, format!("the command was ended: the account's commands {limit}"))
}

/// Sizes beyond what a terminal can have are its largest.
fn characters(number: u32) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// Sends, and goes on reading, so that a client that is gone is noticed although nothing can be sent to it.
async fn say<R>(rx: &mut Receiver<R>, tx: &Sender, op: u32, message: impl Into<Message>) -> Result<()>
where
    R: AsyncRead + Unpin,
{
    let sent = tx.send(op, message);
    tokio::pin!(sent);
    loop {
        tokio::select! {
            biased;
            sent = &mut sent => return sent,
            message = rx.next_in(op) => drop(message?),
        }
    }
}

/// Carries one stream of the command to the client.
#[derive(Clone, Copy)]
struct Pump<'a> {
    kind: Kind,
    op: u32,
    tx: &'a Sender,
    credit: &'a Credit,
    budget: &'a Budget,
    /// The command and all that it started have ended.
    gone: &'a CancellationToken,
}

impl Pump<'_> {
    async fn run(self, from: Option<Output>) -> Result<()> {
        let Some(mut from) = from else { return Ok(()) };
        while !self.budget.is_spent() {
            let room = self.credit.take(STREAM_CAP as usize).await;
            let mut frame = BytesMut::with_capacity(HEADER_LEN + room);
            frame.put_bytes(0, HEADER_LEN);
            let read = tokio::select! {
                biased;
                read = async { from.read_buf(&mut (&mut frame).limit(room)).await } => read.unwrap_or(0),
                () = self.left_open() => 0,
            };
            let passed = self.budget.take(read);
            self.credit.settle(room, passed);
            if read == 0 {
                break;
            }
            frame.truncate(HEADER_LEN + passed);
            let mut header = BytesMut::with_capacity(HEADER_LEN);
            Header { len: u32::try_from(passed).unwrap_or(0), kind: self.kind, op: self.op }
                .encode(&mut header);
            if let Some(place) = frame.get_mut(..HEADER_LEN) {
                place.copy_from_slice(&header);
            }
            if passed > 0 {
                self.tx.send_bytes(frame.freeze()).await?;
            }
        }
        Ok(())
    }

    async fn left_open(&self) {
        self.gone.cancelled().await;
        sleep(LEFT_OPEN).await;
    }
}

/// What the command may still write, standard output and error together.
struct Budget {
    limit: u64,
    tally: Arc<Tally>,
    spent: CancellationToken,
}

impl Budget {
    fn new(limit: Option<u64>, tally: Arc<Tally>) -> Self {
        Self { limit: limit.unwrap_or(u64::MAX), tally, spent: CancellationToken::new() }
    }

    /// How many of these bytes may pass. Spent is it only by more than the limit.
    fn take(&self, bytes: usize) -> usize {
        let before = self.tally.output.load(Ordering::Relaxed);
        let passed = (bytes as u64).min(self.limit.saturating_sub(before));
        self.tally.output.store(before + passed, Ordering::Relaxed);
        if passed < bytes as u64 {
            self.spent.cancel();
        }
        usize::try_from(passed).unwrap_or(0)
    }

    fn is_spent(&self) -> bool {
        self.spent.is_cancelled()
    }

    async fn spent(&self) {
        self.spent.cancelled().await;
    }
}

/// Carries the client's input to the command. What nobody reads any more is dropped.
struct Feed {
    to: Option<Input>,
    waiting: BytesMut,
    allowance: Allowance,
    /// The client may send; after its end it may not.
    open: bool,
    /// To be granted to the client.
    grant: u32,
    tally: Arc<Tally>,
}

impl Feed {
    fn new(to: Option<Input>, tally: Arc<Tally>) -> Self {
        let open = to.is_some();
        Self { to, waiting: BytesMut::new(), allowance: Allowance::default(), open, grant: 0, tally }
    }

    fn arrived(&mut self, bytes: Bytes) -> Result<()> {
        if !self.open {
            return Err(Error::protocol("STDIN that was not announced, or after its end"));
        }
        self.open = !bytes.is_empty();
        self.allowance.arrived(bytes.len())?;
        if self.to.is_some() {
            self.waiting.extend_from_slice(&bytes);
        } else {
            self.passed_on(bytes.len());
        }
        Ok(())
    }

    /// Writes some of what waits. Never ends where there is nothing to do; may be dropped at any time.
    async fn feed(&mut self) {
        let Some(to) = self.to.as_mut().filter(|_| !self.waiting.is_empty() || !self.open) else {
            return std::future::pending().await;
        };
        if self.waiting.is_empty() {
            self.to = None;
            return;
        }
        match to.write(&self.waiting).await {
            Ok(written @ 1..) => {
                self.waiting.advance(written);
                self.tally.input.fetch_add(written as u64, Ordering::Relaxed);
                self.passed_on(written);
            }
            _ => {
                self.to = None;
                let dropped = std::mem::take(&mut self.waiting).len();
                self.passed_on(dropped);
            }
        }
    }

    fn passed_on(&mut self, bytes: usize) {
        self.grant += self.allowance.passed_on(bytes).unwrap_or(0);
    }
}
