//! A session between two operations.

use super::session::Session;
use super::{Client, ClientError};

impl Client {
    /// Waits for something else. The session's signs of life are read meanwhile, so a session that ends is noticed
    /// at once: also gives why, where it did. The next operation makes a new one.
    pub async fn idle<T>(&mut self, wait: impl Future<Output = T>) -> (T, Option<ClientError>) {
        let Some(session) = &mut self.session else { return (wait.await, None) };
        tokio::pin!(wait);
        let error = tokio::select! {
            biased;
            // A server that takes its time to cancel holds nobody up here.
            error = async { if session.settle().await { session.idle().await } else { Session::unsettled() } } => error,
            done = &mut wait => return (done, None),
        };
        let error = ClientError::after(error, session.conn.rx.is_welcome());
        self.abandon().await;
        (wait.await, Some(error))
    }

    /// Ends what an operation whose future was dropped left under way, within eight seconds. Where that cannot be
    /// done the connection is given up; the next operation makes another. Every operation begins with this.
    pub async fn settle(&mut self) {
        let goes_on = match &mut self.session {
            Some(session) if session.conn.tx.is_closed() => false,
            Some(session) => session.settle().await,
            None => return,
        };
        if !goes_on {
            self.abandon().await;
        }
    }

    /// Gives the connection up.
    pub async fn abandon(&mut self) {
        if let Some(session) = self.session.take() {
            session.abandon().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ft_protocol::wire::message::{End, Entry};
    use ft_protocol::wire::{Connection, Message};
    use ft_protocol::{RemotePath, Status};
    use tokio::io::{DuplexStream, duplex};
    use tokio::time::{Instant, sleep, timeout};

    use super::*;

    /// An end from which nothing comes for this long is taken for dead.
    const SILENCE: Duration = Duration::from_secs(45);

    /// A client that is logged in, and the other end of its connection.
    fn connected() -> (Client, Connection<DuplexStream>) {
        let (ours, theirs) = duplex(1 << 16);
        let mut client = Client::builder("localhost:1").unwrap().retries(0).build().unwrap();
        client.session = Some(Session::over(ours));
        let mut server = Connection::new(theirs);
        server.rx.logged_in();
        (client, server)
    }

    /// Answers STAT, and LIST only where it is cancelled, until the connection ends; gives the requests.
    async fn serve(mut conn: Connection<DuplexStream>) -> (Vec<Message>, String) {
        let mut seen = Vec::new();
        loop {
            let (op, message) = match conn.rx.next().await {
                Ok(next) => next,
                Err(error) => return (seen, error.to_string()),
            };
            let end = match &message {
                Message::Stat(_) => {
                    conn.tx.send(op, Entry { kind: 1, ..Entry::default() }).await.unwrap();
                    Some(End::default())
                }
                Message::Cancel => Some(End { status: Status::Cancelled as u32, ..End::default() }),
                _ => None,
            };
            if let Some(end) = end {
                conn.tx.send(op, end).await.unwrap();
            }
            seen.push(message);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_session_outlives_the_limit_for_silence() {
        let (mut client, conn) = connected();
        let server = tokio::spawn(serve(conn));
        let ((), lost) = client.idle(sleep(10 * SILENCE)).await;
        assert!(lost.is_none(), "{lost:?}");
        client.stat(&RemotePath::root()).await.unwrap();
        client.close().await;
        let (seen, end) = server.await.unwrap();
        assert!(matches!(seen.as_slice(), [Message::Stat(_), Message::End(_)]), "{seen:?}");
        assert!(end.contains("closed the connection"), "{end}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_ends_is_noticed_while_something_else_is_waited_for() {
        let (mut client, conn) = connected();
        let wait = async {
            conn.tx.send(0, End { status: Status::Unavailable as u32, ..End::default() }).await.unwrap();
            sleep(SILENCE).await;
            7
        };
        let (waited, lost) = client.idle(wait).await;
        assert_eq!(waited, 7);
        assert_eq!(lost.unwrap().status(), Status::Unavailable);
        assert!(client.session.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_operation_that_is_dropped_is_cancelled_and_the_session_goes_on() {
        let (mut client, conn) = connected();
        let server = tokio::spawn(serve(conn));
        for _ in 0..2 {
            assert!(timeout(Duration::from_secs(1), client.list(&RemotePath::root())).await.is_err());
            client.stat(&RemotePath::root()).await.unwrap();
        }
        client.close().await;
        let (seen, _) = server.await.unwrap();
        let kinds: Vec<&str> = seen.iter().map(|message| message.kind().name()).collect();
        let once = ["List", "Cancel", "End", "Stat", "End"];
        assert_eq!(kinds, [once, once].concat());
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_cancel_loses_the_session() {
        let (mut client, _conn) = connected();
        assert!(timeout(Duration::from_secs(1), client.list(&RemotePath::root())).await.is_err());
        let start = Instant::now();
        client.settle().await;
        assert!(client.session.is_none());
        assert!(start.elapsed() <= Duration::from_secs(11), "{:?}", start.elapsed());
    }
}
