//! The sending direction: a queue, and the task that empties it into the stream.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::activity::Activity;
use super::frame;
use super::message::Message;
use crate::error::{Error, Result};

/// ALIVE is sent after this long without anything else to send.
pub const ALIVE_AFTER: Duration = Duration::from_secs(10);
/// Frames that wait for the writer. Small: each may hold a block.
pub(super) const QUEUE: usize = 3;
/// Small frames are joined up to this many bytes before they are written.
const JOIN: usize = 16 * 1024;

/// Queues messages for the writer. Cheap to clone; the connection ends when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Sender {
    queue: mpsc::Sender<Bytes>,
    activity: Activity,
}

impl Sender {
    pub(super) fn new(queue: mpsc::Sender<Bytes>, activity: Activity) -> Self {
        Self { queue, activity }
    }

    /// Queues one message; waits while the queue is full.
    pub async fn send(&self, op: u32, message: impl Into<Message>) -> Result<()> {
        self.send_bytes(encode(op, &message.into())).await
    }

    /// As [`Sender::send`] from a thread that may block.
    pub fn blocking_send(&self, op: u32, message: impl Into<Message>) -> Result<()> {
        self.blocking_send_bytes(encode(op, &message.into()))
    }

    /// Progress of this connection.
    pub fn activity(&self) -> &Activity {
        &self.activity
    }

    /// True once nothing can be sent any more.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Queues frames that are encoded already.
    pub async fn send_bytes(&self, frames: Bytes) -> Result<()> {
        self.queue.send(frames).await.map_err(|_| closed())
    }

    /// As [`Sender::send_bytes`] from a thread that may block.
    pub fn blocking_send_bytes(&self, frames: Bytes) -> Result<()> {
        self.queue.blocking_send(frames).map_err(|_| closed())
    }
}

/// The frame of one message.
pub fn encode(op: u32, message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(op, &mut out);
    out.freeze()
}

fn closed() -> Error {
    Error::Connection(io::Error::new(io::ErrorKind::BrokenPipe, "the connection is closed"))
}

pub(super) async fn write_queue<W: AsyncWrite>(
    mut write: WriteHalf<W>,
    mut queue: mpsc::Receiver<Bytes>,
    activity: Activity,
) -> io::Result<()> {
    let mut joined = BytesMut::from(&frame::preface()[..]);
    let mut next = None;
    loop {
        let frame = match next.take() {
            Some(frame) => Some(frame),
            None => match timeout(ALIVE_AFTER, queue.recv()).await {
                Ok(frame) => frame,
                Err(_) => {
                    Message::Alive.encode(0, &mut joined);
                    write.write_all(&joined).await?;
                    write.flush().await?;
                    joined.clear();
                    continue;
                }
            },
        };
        let Some(frame) = frame else { break };
        if joined.is_empty() && frame.len() > JOIN {
            write_counted(&mut write, &frame, &activity).await?;
        } else {
            joined.extend_from_slice(&frame);
            drop(frame);
            while joined.len() < JOIN && next.is_none() {
                match queue.try_recv() {
                    Ok(small) if small.len() <= JOIN => joined.extend_from_slice(&small),
                    Ok(large) => next = Some(large),
                    Err(_) => break,
                }
            }
            write_counted(&mut write, &joined, &activity).await?;
            joined.clear();
        }
        if next.is_none() && queue.is_empty() {
            write.flush().await?;
        }
    }
    write.shutdown().await
}

async fn write_counted<W: AsyncWrite + Unpin>(
    write: &mut W,
    bytes: &[u8],
    activity: &Activity,
) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let n = write.write(rest).await?;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        activity.moved();
        rest = rest.get(n..).unwrap_or_default();
    }
    Ok(())
}
