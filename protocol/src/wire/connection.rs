//! Sends and receives messages over any byte stream, with caps, sign of life and a deadline for silence.
//!
//! Reading and writing are independent: a task of its own writes what [`Sender`]s queue and sends ALIVE when
//! it has nothing else, so neither a slow disk nor a slow reader at this end makes the peer think it dead.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, BufReader, ReadHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::activity::Activity;
use super::buffer::{Block, Quota};
use super::frame::{self, HEADER_LEN, Header, Kind, PREFACE_LEN};
use super::message::Message;
use super::sender::{QUEUE, Sender, write_queue};
use crate::auth::Rights;
use crate::error::{Error, Result};

/// A peer from which no byte comes for this long, while we read, is gone.
pub const SILENCE: Duration = Duration::from_secs(45);
/// Headers and small messages are read through a buffer of so many bytes; content goes past it. Every idle
/// connection has one.
const READ_BUFFER: usize = 1 << 10;
/// Signs of life that may come at once before they count as a flood.
const ALIVE_BURST: u64 = 64;

/// Both directions of one connection.
pub struct Connection<S> {
    /// Messages from the peer.
    pub rx: Receiver<ReadHalf<S>>,
    /// Messages to the peer.
    pub tx: Sender,
    /// Blocking tasks of this connection's operations. They end soon after the connection does; who must know
    /// that they ended (their locks are free then) waits for this.
    pub workers: TaskTracker,
    writer: AbortOnDropHandle<io::Result<()>>,
}

impl<S: AsyncRead + AsyncWrite + Send + 'static> Connection<S> {
    /// Takes over a byte stream and starts the writer on the current tokio runtime. Our preface travels with the
    /// first message.
    pub fn new(stream: S) -> Self {
        let (read, write) = tokio::io::split(stream);
        let (tx, queue) = mpsc::channel(QUEUE);
        let activity = Activity::default();
        let writer = AbortOnDropHandle::new(tokio::spawn(write_queue(write, queue, activity.clone())));
        Self {
            rx: Receiver::new(read, activity.clone()),
            tx: Sender::new(tx, activity),
            workers: TaskTracker::new(),
            writer,
        }
    }

    /// Stops the writer at once: whatever waits to send fails from now on.
    pub fn abort(&self) {
        self.writer.abort();
    }

    /// Sends everything queued, closes the sending direction, and waits at most `limit` for that.
    pub async fn close(self, limit: Duration) {
        let Self { mut rx, tx, writer, workers: _ } = self;
        drop(tx);
        let _ = timeout(limit, async {
            // Bytes that we leave unread would turn our last words into a reset (RFC 1122, 4.2.2.13). Where there
            // were no last words the peer has not been told to close, so there is nothing to wait for.
            if matches!(writer.await, Ok(Ok(()))) {
                rx.discard().await;
            }
        })
        .await;
    }
}

/// Reads messages. [`Receiver::next`] may be dropped at any await point and called again: what was read of a
/// frame stays here.
pub struct Receiver<R> {
    io: BufReader<R>,
    header: [u8; HEADER_LEN],
    filled: usize,
    body: Option<Body>,
    logged_in: bool,
    greeted: bool,
    answer: Answer,
    rights: Rights,
    ended: bool,
    quota: Quota,
    activity: Activity,
    alive_seen: u64,
    since: Instant,
}

/// What a client that sends its first request together with its login still has to read before the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    NotAwaited,
    Hello,
    Welcome,
}

enum Body {
    Control { header: Header, bytes: Vec<u8>, filled: usize },
    Data { header: Header, block: Option<Block>, filled: usize },
}

impl<R: AsyncRead + Unpin> Receiver<R> {
    fn new(io: R, activity: Activity) -> Self {
        Self {
            io: BufReader::with_capacity(READ_BUFFER, io),
            header: [0; HEADER_LEN],
            filled: 0,
            body: None,
            logged_in: false,
            greeted: false,
            answer: Answer::NotAwaited,
            rights: Rights::NONE,
            ended: false,
            quota: Quota::default(),
            activity,
            alive_seen: 0,
            since: Instant::now(),
        }
    }

    /// From now on the caps after login apply.
    pub fn logged_in(&mut self) {
        self.logged_in = true;
    }

    /// Client: HELLO and WELCOME are still to come; [`Receiver::next`] reads them before anything else.
    pub fn expect_welcome(&mut self) {
        self.answer = Answer::Hello;
    }

    /// Client: whether WELCOME has come.
    pub fn is_welcome(&self) -> bool {
        self.answer == Answer::NotAwaited
    }

    /// Client: the rights that WELCOME granted.
    pub fn rights(&self) -> Rights {
        self.rights
    }

    /// Whether the peer ended the session in the middle of an operation.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// The next message of operation `op`. Messages of ended operations are dropped, those of future ones are
    /// fatal, and the end of the session is [`Error::Remote`].
    pub async fn next_in(&mut self, op: u32) -> Result<Message> {
        loop {
            let (of, message) = self.next().await?;
            match message {
                Message::End(end) if of == 0 => {
                    self.ended = true;
                    return Err(end.of_session());
                }
                message if of == op => return Ok(message),
                message if of == 0 => {
                    return Err(Error::protocol(format!("{} outside of its place", message.kind().name())));
                }
                _ if of < op => {}
                _ => return Err(Error::protocol(format!("operation {of} has not begun"))),
            }
        }
    }

    /// Client: reads until WELCOME has come. Errors: the login failed ([`Error::Remote`]), or as in
    /// [`Receiver::next`].
    pub async fn welcome(&mut self) -> Result<()> {
        while !self.is_welcome() {
            match self.step().await? {
                Some((0, Message::End(end))) => return Err(end.of_session()),
                Some((_, other)) => {
                    return Err(Error::protocol(format!("{} before WELCOME", other.kind().name())));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// The next message and its operation. The first call reads the peer's preface as well. Signs of life are
    /// swallowed. Errors: [`Error::Connection`] at the end of the stream or after 45 s of silence,
    /// [`Error::Protocol`] for anything that is not exactly a message, [`Error::Version`].
    pub async fn next(&mut self) -> Result<(u32, Message)> {
        loop {
            if let Some(message) = self.step().await? {
                return Ok(message);
            }
        }
    }

    /// One frame; `None` where it was for us.
    async fn step(&mut self) -> Result<Option<(u32, Message)>> {
        if !self.greeted {
            self.read_preface().await?;
        }
        let (op, message) = self.next_frame().await?;
        match (self.answer, &message) {
            (_, Message::Alive) => {
                self.alive_seen += 1;
                let seconds = self.since.elapsed().as_secs();
                if op != 0 {
                    return Err(Error::protocol("ALIVE belongs to the session"));
                }
                if self.alive_seen > ALIVE_BURST + seconds {
                    return Err(Error::protocol("a flood of ALIVE"));
                }
                Ok(None)
            }
            (Answer::Hello, Message::Hello(_)) if op == 0 => {
                self.answer = Answer::Welcome;
                Ok(None)
            }
            (Answer::Welcome, Message::Welcome(welcome)) if op == 0 => {
                self.rights = Rights::from_bits(welcome.rights);
                self.answer = Answer::NotAwaited;
                self.logged_in();
                Ok(None)
            }
            (Answer::NotAwaited, _) => Ok(Some((op, message))),
            (_, Message::End(_)) if op == 0 => Ok(Some((op, message))),
            _ => Err(Error::protocol(format!("{} before WELCOME", message.kind().name()))),
        }
    }

    async fn read_preface(&mut self) -> Result<()> {
        let mut bytes = [0; PREFACE_LEN];
        while self.filled < PREFACE_LEN {
            // The preface is shorter than the header, whose buffer it shares until it is complete.
            let room = self.header.get_mut(self.filled..PREFACE_LEN).unwrap_or_default();
            self.filled += read_some(&mut self.io, room).await?;
        }
        bytes.copy_from_slice(self.header.get(..PREFACE_LEN).unwrap_or(&[0; PREFACE_LEN]));
        frame::check_preface(&bytes)?;
        self.filled = 0;
        self.greeted = true;
        Ok(())
    }

    async fn next_frame(&mut self) -> Result<(u32, Message)> {
        if self.body.is_none() {
            while self.filled < HEADER_LEN {
                let room = self.header.get_mut(self.filled..).unwrap_or_default();
                self.filled += read_some(&mut self.io, room).await?;
            }
            let header = Header::decode(&self.header, self.logged_in)?;
            self.body = Some(match header.kind {
                Kind::Data | Kind::Pack => Body::Data { header, block: None, filled: 0 },
                _ => Body::Control { header, bytes: Vec::new(), filled: 0 },
            });
        }
        match &mut self.body {
            Some(Body::Control { header, bytes, filled }) => {
                bytes.resize(header.len as usize, 0);
                fill(&mut self.io, bytes, filled, &self.activity).await?;
            }
            Some(Body::Data { header, block, filled }) => {
                if block.is_none() {
                    *block = Some(self.quota.block(header.len as usize).await);
                }
                if let Some(block) = block {
                    fill(&mut self.io, block.content_mut(), filled, &self.activity).await?;
                }
            }
            None => {}
        }
        self.filled = 0;
        match self.body.take() {
            Some(Body::Control { header, bytes, .. }) => {
                Ok((header.op, Message::decode(header.kind, Bytes::from(bytes))?))
            }
            Some(Body::Data { header, block: Some(block), .. }) => {
                Ok((header.op, Message::decode(header.kind, block.into_bytes())?))
            }
            _ => Err(Error::protocol("a frame without a body")),
        }
    }

    /// Reads and forgets until the peer closes.
    async fn discard(&mut self) {
        let mut sink = [0; 4096];
        while matches!(read_some(&mut self.io, &mut sink).await, Ok(1..)) {}
    }
}

async fn fill<R: AsyncRead + Unpin>(
    io: &mut R,
    bytes: &mut [u8],
    filled: &mut usize,
    activity: &Activity,
) -> Result<()> {
    while let Some(room) = bytes.get_mut(*filled..).filter(|room| !room.is_empty()) {
        *filled += read_some(io, room).await?;
        activity.moved();
    }
    Ok(())
}

async fn read_some<R: AsyncRead + Unpin>(io: &mut R, room: &mut [u8]) -> Result<usize> {
    match timeout(SILENCE, io.read(room)).await {
        Ok(Ok(0)) => Err(ended()),
        Ok(Ok(n)) => Ok(n),
        // TLS without a close_notify: what it says is for programmers.
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(ended()),
        Ok(Err(error)) => Err(Error::Connection(error)),
        Err(_) => Err(Error::Connection(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("nothing came from the peer for {} s", SILENCE.as_secs()),
        ))),
    }
}

fn ended() -> Error {
    Error::Connection(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed the connection"))
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
