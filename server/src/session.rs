//! One session: login, then one operation after the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ft_protocol::auth::Rights;
use ft_protocol::display::Escaped;
use ft_protocol::fs::Root;
use ft_protocol::wire::message::{End, Welcome};
use ft_protocol::wire::{Connection, Message};
use ft_protocol::{Error, Failure, Result, Status};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::digests::Digests;
use crate::exec::Grant;
use crate::login::{self, Candidate, Login};
use crate::policy;
use crate::process::Launcher;
use crate::registry::Entered;
use crate::server::Server;
use crate::verbs::{self, Verb};

/// How long the peer may take to read our last words.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long the peer of a session that was killed may take to read them.
const KILLED: Duration = Duration::from_millis(200);
/// How long the blocking half of an operation may take to see that it was given up.
const GIVING_UP: Duration = Duration::from_secs(1);

/// The two ways in which a server ends its sessions.
pub(crate) struct Stop {
    /// No further operation begins.
    pub(crate) drain: CancellationToken,
    /// The running operation ends too.
    pub(crate) kill: CancellationToken,
}

/// What a session may see and do.
pub(crate) struct Scope {
    /// The account's name; part of the name of partial files.
    pub(crate) user: String,
    /// Everything that it can see.
    pub(crate) root: Root,
    /// What it may do.
    pub(crate) rights: Rights,
    /// Which commands it may run, where it may run any.
    pub(crate) exec: Arc<Grant>,
    /// Where the client is; `None` behind ssh.
    pub(crate) source: Option<SocketAddr>,
}

/// What ends a session that the peer did not end.
enum Ended {
    Stopped,
    Stalled,
    Failed(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Ended::Failed(error)
    }
}

/// Runs a session over TLS from HELLO to its end.
pub(crate) async fn run<S>(server: Arc<Server>, stream: S, candidate: Candidate, stop: Stop)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let mut conn = Connection::new(stream);
    let source = candidate.peer.ip();
    let entered = {
        let gone = candidate.applicant.gone.clone();
        let in_time = timeout_at(candidate.deadline, enter(&server, &mut conn, &candidate, &stop));
        match gone.run_until_cancelled(in_time).await {
            Some(Ok(entered)) => entered,
            Some(Err(_)) => Err(Error::local(Status::TimedOut, "no login in time")),
            // Closed without a word: its place among all connections is needed at once. Clients try again.
            None => {
                tracing::info!(%source, "gave way to newer connections before login");
                return;
            }
        }
    };
    drop(candidate);
    let (scope, entered) = match entered {
        Ok(entered) => entered,
        Err(error) => {
            tracing::info!(%source, %error, "no login");
            say_goodbye(conn, &error.failure()).await;
            return;
        }
    };
    let session = Session {
        scope,
        digests: &server.digests,
        launcher: &server.launcher,
        stall: server.limits.stall_timeout,
    };
    session.run_to_end(&mut conn, &stop).await;
    drop(entered);
    tracing::info!(%source, user = session.scope.user, "session ended");
    conn.close(if stop.kill.is_cancelled() { KILLED } else { FAREWELL }).await;
}

/// Runs a session whose peer needs no login: over standard input and output, started through ssh.
pub(crate) async fn run_trusted<S>(stream: S, scope: Scope, launcher: &Launcher, stall: Duration, stop: Stop)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let mut conn = Connection::new(stream);
    let digests = Digests::default();
    let welcome = Welcome { rights: scope.rights.bits() };
    let greeted = async {
        login::greet(&mut conn).await?;
        conn.tx.send(0, welcome).await
    };
    match greeted.await {
        Ok(()) => {
            conn.rx.logged_in();
            Session { scope, digests: &digests, launcher, stall }.run_to_end(&mut conn, &stop).await;
            conn.close(FAREWELL).await;
        }
        Err(error) => say_goodbye(conn, &error.failure()).await,
    }
}

async fn enter<S>(
    server: &Arc<Server>,
    conn: &mut Connection<S>,
    candidate: &Candidate,
    stop: &Stop,
) -> Result<(Scope, Entered)>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let Login { account, key, how } = login::login(server, conn, candidate).await?;
    let entered = server.registry.enter(key, stop.kill.clone()).await;
    let path = account.root.clone().unwrap_or_else(|| server.root.clone());
    let root = tokio::task::spawn_blocking(move || Root::open(&path)).await;
    let root = match root {
        Ok(Ok(root)) => root,
        failed => {
            tracing::error!(user = account.name, ?failed, "the root of the account cannot be opened");
            return Err(Error::local(
                Status::Failed,
                "the account's root directory is missing on the server",
            ));
        }
    };
    conn.tx.send(0, Welcome { rights: account.rights.bits() }).await?;
    conn.rx.logged_in();
    tracing::info!(source = %candidate.peer.ip(), user = account.name, how, "login");
    let exec = Arc::new(account.exec);
    let source = Some(candidate.peer);
    Ok((Scope { user: account.name, root, rights: account.rights, exec, source }, entered))
}

struct Session<'a> {
    scope: Scope,
    digests: &'a Digests,
    launcher: &'a Launcher,
    stall: Duration,
}

impl Session<'_> {
    /// Runs operations until the session ends, says why it does, and returns when nothing of it runs any more
    /// and its locks are free.
    async fn run_to_end<S>(&self, conn: &mut Connection<S>, stop: &Stop)
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let why = match self.operations(conn, stop).await {
            Ok(()) | Err(Ended::Failed(Error::Connection(_))) => None,
            Err(Ended::Stalled) => {
                tracing::warn!(user = self.scope.user, "the client stalled; its session ends");
                None
            }
            // Cut off in the middle of something that may not be able to end as long as the client does not read.
            Err(Ended::Stopped) if !conn.workers.is_empty() => None,
            Err(Ended::Stopped) => Some(Failure::new(Status::Unavailable, "the server ended the session")),
            Err(Ended::Failed(error)) => {
                tracing::warn!(user = self.scope.user, %error, "session failed");
                Some(error.failure())
            }
        };
        conn.workers.close();
        let orderly = match why {
            Some(why) => {
                let said = async {
                    conn.tx.send(0, End::from(why)).await.is_ok() && {
                        conn.workers.wait().await;
                        true
                    }
                };
                timeout(FAREWELL, said).await.unwrap_or(false)
            }
            None => false,
        };
        if !orderly {
            conn.abort();
        }
        conn.workers.wait().await;
    }

    async fn operations<S>(&self, conn: &mut Connection<S>, stop: &Stop) -> Result<(), Ended>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let mut last = 0;
        loop {
            let (op, message) = tokio::select! {
                biased;
                () = stop.kill.cancelled() => return Err(Ended::Stopped),
                () = stop.drain.cancelled() => return Err(Ended::Stopped),
                message = conn.rx.next() => match message {
                    Err(Error::Connection(_)) => return Ok(()),
                    message => message?,
                },
            };
            if op <= last {
                if op == 0 && !matches!(message, Message::End(_)) {
                    return Err(Error::protocol(format!("{} after login", message.kind().name())).into());
                }
                if op == 0 {
                    return Ok(());
                }
                continue;
            }
            last = op;
            let verb = Verb::from_request(message)?;
            let outcome = tokio::select! {
                biased;
                () = stop.kill.cancelled() => return Err(Ended::Stopped),
                outcome = self.operation(conn, op, verb) => outcome,
            };
            let end = match outcome {
                Ok(()) => End::default(),
                Err(error @ (Error::Connection(_) | Error::Protocol(_))) => return Err(error.into()),
                Err(_) if conn.rx.is_ended() => return Ok(()),
                // Where its blocking half cannot end, nothing may follow on this connection.
                Err(Error::Local(failure)) if failure.status == Status::TimedOut => {
                    if !ends_soon(&conn.workers).await {
                        return Err(Ended::Stalled);
                    }
                    failure.into()
                }
                Err(error) => error.failure().into(),
            };
            tokio::select! {
                biased;
                () = stop.kill.cancelled() => return Err(Ended::Stopped),
                sent = timeout(self.stall, conn.tx.send(op, end)) => sent.map_err(|_| Ended::Stalled)??,
            }
        }
    }

    async fn operation<S>(&self, conn: &mut Connection<S>, op: u32, verb: Verb) -> Result<()>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (name, path) = (verb.name(), Escaped::new(verb.path()).to_string());
        let outcome = match policy::authorize(&verb, self.scope.rights) {
            Ok(()) => {
                let activity = conn.tx.activity().clone();
                activity
                    .watch(self.stall, verbs::run(conn, op, &self.scope, self.digests, self.launcher, verb))
                    .await
            }
            Err(error) => {
                verbs::refused(&self.scope, &verb, &error);
                Err(error)
            }
        };
        match &outcome {
            Ok(()) => tracing::info!(user = self.scope.user, verb = name, path, "done"),
            Err(error) => tracing::info!(user = self.scope.user, verb = name, path, %error, "failed"),
        }
        outcome
    }
}

/// Whether the blocking half of an operation that was given up comes to its end.
async fn ends_soon(workers: &TaskTracker) -> bool {
    workers.close();
    let ended = timeout(GIVING_UP, workers.wait()).await.is_ok();
    workers.reopen();
    ended
}

async fn say_goodbye<S>(conn: Connection<S>, why: &Failure)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let end = End::from(why.clone());
    let _ = timeout(FAREWELL, conn.tx.send(0, end)).await;
    conn.close(FAREWELL).await;
}
