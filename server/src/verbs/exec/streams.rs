//! The streams of a command: its output to the client, the client's input to it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ft_protocol::exec::{Allowance, Credit};
use ft_protocol::wire::Sender;
use ft_protocol::wire::frame::{HEADER_LEN, Header, Kind, STREAM_CAP};
use ft_protocol::wire::message::Exec;
use ft_protocol::{Error, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::record::Tally;
use crate::process::{Input, Output};

/// Where the command and all that it started are gone, and its output still does not end, somebody outside was
/// handed the other end: how long it may be silent,
const LEFT_OPEN: Duration = Duration::from_secs(1);
/// and how much of it is read. What the command itself wrote is in the pipe, which holds no more (pipe(7)).
const LEFT_BEHIND: usize = 1 << 20;
/// Room for output of a command that says little.
const SMALL: usize = 4096;

/// Carries one stream of the command to the client.
#[derive(Clone, Copy)]
pub(super) struct Pump<'a> {
    pub(super) kind: Kind,
    pub(super) op: u32,
    pub(super) tx: &'a Sender,
    pub(super) credit: &'a Credit,
    pub(super) budget: &'a Budget,
    /// The command and all that it started have ended.
    pub(super) gone: &'a CancellationToken,
}

impl Pump<'_> {
    pub(super) async fn run(self, from: Option<Output>) -> Result<()> {
        let Some(mut from) = from else { return Ok(()) };
        let (mut size, mut left) = (SMALL, LEFT_BEHIND);
        while !self.budget.is_spent() && left > 0 {
            let room = self.credit.take(size).await;
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
            if self.gone.is_cancelled() {
                left = left.saturating_sub(read);
            }
            size = if read == size { STREAM_CAP as usize } else { read.max(SMALL) };
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
pub(super) struct Budget {
    limit: u64,
    tally: Arc<Tally>,
    spent: CancellationToken,
}

impl Budget {
    pub(super) fn new(limit: Option<u64>, tally: Arc<Tally>) -> Self {
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

    pub(super) async fn spent(&self) {
        self.spent.cancelled().await;
    }
}

/// Carries the client's input to the command. What nobody reads any more is dropped.
pub(super) struct Feed {
    to: Target,
    tty: bool,
    waiting: BytesMut,
    allowance: Allowance,
    /// The client may send; after its end it may not.
    open: bool,
    /// To be granted to the client.
    pub(super) grant: u32,
    tally: Arc<Tally>,
}

enum Target {
    /// The command does not run yet.
    Awaited,
    Open(Input),
    Closed,
}

impl Feed {
    pub(super) fn new(request: &Exec, tally: Arc<Tally>) -> Self {
        Self {
            to: Target::Awaited,
            tty: request.tty,
            waiting: BytesMut::new(),
            allowance: Allowance::default(),
            open: request.stdin || request.tty,
            grant: 0,
            tally,
        }
    }

    /// The command runs.
    pub(super) fn connect(&mut self, to: Option<Input>) {
        self.to = to.map_or(Target::Closed, Target::Open);
    }

    pub(super) fn arrived(&mut self, bytes: Bytes) -> Result<()> {
        if !self.open {
            return Err(Error::protocol("STDIN that was not announced, or after its end"));
        }
        if bytes.is_empty() && self.tty {
            return Err(Error::protocol("an end of STDIN for a terminal"));
        }
        self.open = !bytes.is_empty();
        self.allowance.arrived(bytes.len())?;
        match self.to {
            Target::Closed => self.passed_on(bytes.len()),
            Target::Awaited | Target::Open(_) => self.waiting.extend_from_slice(&bytes),
        }
        Ok(())
    }

    /// Writes some of what waits. Never ends where there is nothing to do; may be dropped at any time.
    pub(super) async fn feed(&mut self) {
        let to = match &mut self.to {
            Target::Open(to) if !self.waiting.is_empty() => to,
            Target::Open(_) if !self.open => {
                self.to = Target::Closed;
                return;
            }
            _ => return std::future::pending().await,
        };
        match to.write(&self.waiting).await {
            Ok(written @ 1..) => {
                self.waiting.advance(written);
                self.tally.input.fetch_add(written as u64, Ordering::Relaxed);
                self.passed_on(written);
            }
            _ => {
                self.to = Target::Closed;
                let dropped = std::mem::take(&mut self.waiting).len();
                self.passed_on(dropped);
            }
        }
    }

    fn passed_on(&mut self, bytes: usize) {
        self.grant += self.allowance.passed_on(bytes).unwrap_or(0);
    }
}
