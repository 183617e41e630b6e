//! One command on one session.

use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use ft_protocol::exec::{Allowance, Credit, Stream, WINDOW};
use ft_protocol::wire::frame::STREAM_CAP;
use ft_protocol::wire::message::{Credit as Grant, End, Exec, Exit, Resize};
use ft_protocol::wire::{Message, Sender};
use ft_protocol::{Error, Failure, Result, Status};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, SimplexStream, WriteHalf, simplex,
};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::session::{Phase, Session};
use super::{Control, Ended, Finished, Size, Streams};

/// How long a server may take to end a command that was cancelled; it kills what is left after 5 s.
const CANCELLED: Duration = Duration::from_secs(15);
/// How long the server may take to read our last word about it.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long a command may stand still.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Until it runs.
    pub(super) start: Option<Duration>,
    /// From then on.
    pub(super) silence: Option<Duration>,
}

/// Sends the request and stays until the command has ended and its output has been passed on.
///
/// The receiving half never waits for a writer: what came lies in buffers that hold what credit allows, and ones
/// that pass it on grant new credit. So whatever stands still here, signs of life are read and sent.
pub(super) async fn run<I, O, E>(
    session: &mut Session,
    request: Exec,
    limits: Limits,
    streams: &mut Streams<I, O, E>,
    control: &mut Control,
) -> Result<Finished>
where
    I: AsyncRead + Unpin,
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
{
    let tty = request.tty;
    session.command = Phase::Asked;
    control.asked.store(true, Ordering::Relaxed);
    let op = session.request(request).await?;
    let wire = Wire { tx: session.conn.tx.clone(), op, ended: AtomicBool::new(false) };
    let wire = &wire;
    let (started, credit) = (CancellationToken::new(), Credit::default());
    let ((stdout, out), (stderr, err)) = (stream(Stream::Stdout), stream(Stream::Stderr));

    let cancel = control.cancel.clone();
    let receiving = async {
        let mut command = Receiving { stdout, stderr, tty, exit: None, started: false };
        let end = loop {
            match session.conn.rx.next_in(op).await? {
                Message::End(end) => break end,
                Message::Started if !command.started => {
                    command.started = true;
                    session.command = Phase::Started;
                    if let Some(call) = control.on_started.take() {
                        call().map_err(|error| Error::io("prepare for the command", &error))?;
                    }
                    started.cancel();
                }
                message => command.take(message, &credit).await?,
            }
        };
        session.open = None;
        if command.is_known() {
            session.command = Phase::None;
        }
        command.finish(end).await
    };
    let passing = async {
        let both = (out.pass_on(&mut streams.stdout, wire), err.pass_on(&mut streams.stderr, wire));
        tokio::try_join!(both.0, both.1).map(drop)
    };
    let feeding = async {
        started.cancelled().await;
        if let Some(stdin) = &mut streams.stdin {
            wire.feed(stdin, &credit, tty).await?;
        }
        pending::<Result<()>>().await
    };
    let obeying = async {
        tokio::select! {
            result = wire.cancel(&cancel) => result,
            result = wire.resize(&started, control.size.as_mut().filter(|_| tty)) => result,
        }
    };
    tokio::pin!(receiving, passing);
    let finished = tokio::select! {
        biased;
        finished = &mut receiving => finished,
        Err(error) = &mut passing => return Err(error),
        Err(error) = feeding => return Err(error),
        Err(error) = obeying => return Err(error),
        Err(error) = wire.stands_still(limits, &started) => return Err(error),
    };
    let finished = finished?;
    wire.ended.store(true, Ordering::Relaxed);
    // The command has ended, whether or not the server takes this.
    let _ = timeout(FAREWELL, wire.tx.send(op, End::default())).await;
    tokio::select! {
        passed = passing => passed?,
        () = cancel.cancelled() => {}
    }
    Ok(finished)
}

/// The way to the server.
struct Wire {
    tx: Sender,
    op: u32,
    ended: AtomicBool,
}

impl Wire {
    /// Sends input as the server has room for it, until it ends.
    async fn feed(&self, input: &mut (impl AsyncRead + Unpin), credit: &Credit, tty: bool) -> Result<()> {
        loop {
            let room = credit.take(STREAM_CAP as usize).await;
            let mut chunk = BytesMut::with_capacity(room);
            let read = (&mut *input).take(room as u64).read_buf(&mut chunk).await;
            let read = read.map_err(|error| Error::io("read the input of the command", &error))?;
            credit.settle(room, read);
            if read == 0 && tty {
                return Ok(());
            }
            self.tx.send(self.op, Message::Stdin(chunk.freeze())).await?;
            if read == 0 {
                return Ok(());
            }
        }
    }

    /// Sends CANCEL when told to; an error where the server does not obey.
    async fn cancel(&self, told: &CancellationToken) -> Result<()> {
        told.cancelled().await;
        let _ = timeout(CANCELLED, async {
            let _ = self.tx.send(self.op, Message::Cancel).await;
            pending::<()>().await;
        })
        .await;
        let message = format!("the server did not end the command in {} s", CANCELLED.as_secs());
        Err(Error::local(Status::TimedOut, message))
    }

    /// Tells new sizes of the terminal.
    async fn resize(
        &self,
        started: &CancellationToken,
        sizes: Option<&mut watch::Receiver<Size>>,
    ) -> Result<()> {
        started.cancelled().await;
        if let Some(sizes) = sizes {
            while sizes.changed().await.is_ok() {
                let Size { rows, columns } = *sizes.borrow_and_update();
                let resize = Resize { rows: rows.into(), columns: columns.into() };
                self.tx.send(self.op, resize).await?;
            }
        }
        pending().await
    }

    /// An error once nothing has moved for too long.
    async fn stands_still(&self, limits: Limits, started: &CancellationToken) -> Result<()> {
        let activity = self.tx.activity();
        if let Some(limit) = limits.start {
            let starting = async {
                started.cancelled().await;
                Ok(())
            };
            activity.watch(limit, starting).await?;
        }
        started.cancelled().await;
        match limits.silence {
            Some(limit) => activity.watch(limit, pending()).await,
            None => pending().await,
        }
    }
}

/// The receiving half: what the server says about a command.
struct Receiving {
    stdout: Arrival,
    stderr: Arrival,
    tty: bool,
    exit: Option<Ended>,
    started: bool,
}

impl Receiving {
    /// One message between STARTED and END.
    async fn take(&mut self, message: Message, credit: &Credit) -> Result<()> {
        let running = self.started && self.exit.is_none();
        match message {
            Message::Stdout(bytes) if running => self.stdout.push(&bytes).await,
            Message::Stderr(bytes) if running && !self.tty => self.stderr.push(&bytes).await,
            Message::Exit(exit) if running => {
                self.exit = Some(ended(&exit)?);
                Ok(())
            }
            Message::Credit(grant) => match Stream::from_wire(grant.stream)? {
                Stream::Stdin => credit.granted(grant.bytes),
                _ => Err(Error::protocol("CREDIT for a stream that this end does not send")),
            },
            other => Err(Error::protocol(format!("{} out of its place in EXEC", other.kind().name()))),
        }
    }

    /// Whether the server has said all that there is to know.
    fn is_known(&self) -> bool {
        !self.started || self.exit.is_some()
    }

    /// The end: lets the writers come to theirs.
    async fn finish(mut self, end: End) -> Result<Finished> {
        self.stdout.end().await;
        self.stderr.end().await;
        let Some(ended) = self.exit else { return Err(end.premature()) };
        let stopped = match Status::from_wire(end.status) {
            Status::Ok => None,
            status => Some(Failure::new(status, end.message)),
        };
        Ok(Finished { ended, stopped })
    }
}

fn ended(exit: &Exit) -> Result<Ended> {
    match (u8::try_from(exit.status), u8::try_from(exit.signal)) {
        (Ok(status), Ok(0)) => Ok(Ended::Status(status)),
        (Ok(0), Ok(signal @ 1..=127)) => Ok(Ended::Signal(signal)),
        _ => Err(Error::protocol("EXIT with no possible status")),
    }
}

/// What is left to come of a stream; both halves count in it.
type Shared = Arc<Mutex<Allowance>>;

/// The end of an output stream at which it arrives. Has room for all that credit allows.
struct Arrival {
    buffer: WriteHalf<SimplexStream>,
    allowance: Shared,
}

/// The end from which it is passed on.
struct Departure {
    stream: Stream,
    buffer: ReadHalf<SimplexStream>,
    allowance: Shared,
}

fn stream(stream: Stream) -> (Arrival, Departure) {
    let (read, write) = simplex(WINDOW as usize);
    let allowance = Shared::default();
    let arrival = Arrival { buffer: write, allowance: Arc::clone(&allowance) };
    (arrival, Departure { stream, buffer: read, allowance })
}

impl Arrival {
    async fn push(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Err(Error::protocol("output without a byte"));
        }
        self.allowance.lock().unwrap_or_else(PoisonError::into_inner).arrived(bytes.len())?;
        self.buffer.write_all(bytes).await.map_err(|error| Error::io("keep output", &error))
    }

    async fn end(&mut self) {
        let _ = self.buffer.shutdown().await;
    }
}

impl Departure {
    /// Passes on what comes until it ends, and grants credit for what the writer took.
    async fn pass_on(mut self, writer: &mut (impl AsyncWrite + Unpin), wire: &Wire) -> Result<()> {
        let failed = |error: io::Error| Error::io("pass on the output of the command", &error);
        let mut chunk = BytesMut::with_capacity(STREAM_CAP as usize);
        loop {
            chunk.clear();
            let read = (&mut self.buffer).take(u64::from(STREAM_CAP)).read_buf(&mut chunk).await;
            let read = read.map_err(failed)?;
            if read == 0 {
                return Ok(());
            }
            // Waiting for whoever reads here is no silence of the command.
            let busy = wire.tx.activity().busy();
            writer.write_all(&chunk).await.map_err(failed)?;
            writer.flush().await.map_err(failed)?;
            drop(busy);
            let grant = self.allowance.lock().unwrap_or_else(PoisonError::into_inner).passed_on(read);
            if let Some(bytes) = grant.filter(|_| !wire.ended.load(Ordering::Relaxed)) {
                wire.tx.send(wire.op, Grant { stream: self.stream as u32, bytes }).await?;
            }
        }
    }
}
