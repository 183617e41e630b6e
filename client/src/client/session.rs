//! One connection to a server, on which the login may still be under way.

use std::time::Duration;

use ft_protocol::wire::message::{End, Hello};
use ft_protocol::wire::{Connection, Message};
use ft_protocol::{Error, Status};
use tokio::process::Child;
use tokio::time::timeout;

use super::dial::{Stream, dial};
use super::{Account, Result};

/// Name and version of this program, for the server's log.
const SOFTWARE: &str = concat!("ftclient/", env!("CARGO_PKG_VERSION"));
/// How long a cancelled operation may take to end: longer than the five seconds that a remote command is given.
const SETTLING: Duration = Duration::from_secs(8);
/// How long a session may take to close.
const FAREWELL: Duration = Duration::from_secs(2);

/// How far a command is. It ends with its connection, and must not be asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is none.
    None,
    /// The request is on its way, or was lost on it.
    Asked,
    /// It runs.
    Started,
}

pub(super) struct Session {
    pub(super) conn: Connection<Box<dyn Stream>>,
    /// A command that was asked for and has not ended.
    pub(super) command: Phase,
    last: u32,
    /// The operation that neither end has ended.
    pub(super) open: Option<u32>,
    _child: Option<Child>,
}

impl Session {
    /// Connects, and queues HELLO and the login: they travel together with the first request.
    pub(super) async fn open(
        account: &Account,
        timeout: Option<Duration>,
        run: &[u8; 16],
        candidate: usize,
    ) -> Result<Self> {
        let dialed = dial(&account.address, &account.trust, timeout).await?;
        let attempt = match dialed.binding {
            Some(binding) => {
                Some(account.login.attempt(candidate, &account.user, binding, dialed.trusted).await?)
            }
            None => None,
        };
        let mut conn = Connection::new(dialed.stream);
        conn.rx.expect_welcome();
        let hello = Hello { software: SOFTWARE.to_owned(), run: run.to_vec(), ..Hello::default() };
        conn.tx.send(0, hello).await?;
        if let Some(attempt) = attempt {
            conn.tx.send(0, attempt).await?;
        }
        Ok(Self { conn, command: Phase::None, last: 0, open: None, _child: dialed.child })
    }

    /// A session over this stream, logged in already.
    #[cfg(test)]
    pub(super) fn over(stream: impl Stream + 'static) -> Self {
        let mut conn = Connection::new(Box::new(stream) as Box<dyn Stream>);
        conn.rx.logged_in();
        Self { conn, command: Phase::None, last: 0, open: None, _child: None }
    }

    /// Begins an operation.
    pub(super) async fn request(&mut self, request: impl Into<Message>) -> ft_protocol::Result<u32> {
        let op = self.last + 1;
        self.conn.tx.send(op, request).await?;
        self.last = op;
        self.open = Some(op);
        Ok(op)
    }

    /// The next answer of an operation; `None` at its successful end.
    pub(super) async fn answer(&mut self, op: u32) -> ft_protocol::Result<Option<Message>> {
        let message = self.conn.rx.next_in(op).await?;
        self.conn.tx.activity().moved();
        match message {
            Message::End(end) => {
                self.open = None;
                if end.status == Status::Ok as u32 { Ok(None) } else { Err(end.premature()) }
            }
            message => Ok(Some(message)),
        }
    }

    /// Our one END of an operation.
    pub(super) async fn end<T>(
        &mut self,
        op: u32,
        outcome: &ft_protocol::Result<T>,
    ) -> ft_protocol::Result<()> {
        let end = match outcome {
            Ok(_) => End::default(),
            Err(error) => error.failure().into(),
        };
        self.conn.tx.send(op, end).await?;
        self.open = None;
        Ok(())
    }

    /// Reads signs of life until the session ends, and says why it did. May be dropped at any time.
    pub(super) async fn idle(&mut self) -> Error {
        // What still comes of ended operations is dropped on the way.
        match self.conn.rx.next_in(self.last + 1).await {
            Ok(message) => Error::protocol(format!("{} outside of its place", message.kind().name())),
            Err(error) => error,
        }
    }

    /// Why a session where [`Session::settle`] failed cannot go on.
    pub(super) fn unsettled() -> Error {
        Error::local(Status::TimedOut, "what was cancelled did not end")
    }

    /// Cancels what an operation that was dropped left under way. False where the session cannot go on.
    pub(super) async fn settle(&mut self) -> bool {
        let Some(op) = self.open else { return true };
        let settled = async {
            self.conn.tx.send(op, Message::Cancel).await?;
            while !matches!(self.conn.rx.next_in(op).await?, Message::End(_)) {}
            let cancelled: ft_protocol::Result<()> = Err(Error::local(Status::Cancelled, "cancelled"));
            self.end(op, &cancelled).await?;
            // Its blocking half may still hold a lock that the next operation needs.
            self.conn.workers.close();
            self.conn.workers.wait().await;
            self.conn.workers.reopen();
            Ok::<(), Error>(())
        };
        matches!(timeout(SETTLING, settled).await, Ok(Ok(())))
    }

    /// Whether the session can go on after this error of an operation.
    pub(super) fn survives(&self, error: &Error) -> bool {
        let broken = matches!(error, Error::Connection(_) | Error::Protocol(_) | Error::Version { .. });
        // These two also end whole sessions, and after a time-out answers may still be on their way.
        let ended = matches!(error.status(), Status::TimedOut | Status::Unavailable);
        let idle = self.command == Phase::None;
        idle && self.conn.rx.is_welcome() && !self.conn.tx.is_closed() && !broken && !ended
    }

    /// Drops the connection, and waits until nothing of it holds a lock any more.
    pub(super) async fn abandon(self) {
        self.conn.abort();
        let workers = self.conn.workers.clone();
        drop(self);
        workers.close();
        let _ = timeout(FAREWELL, workers.wait()).await;
    }

    pub(super) async fn close(self) {
        self.conn.close(FAREWELL).await;
    }
}
