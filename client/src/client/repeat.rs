//! How often an operation is asked for, and what its errors mean.

use std::sync::Arc;

use ft_protocol::transfer::Meter;

use super::session::{Phase, Session};
use super::{Builder, Client, ClientError, Result};
use crate::retry::Backoff;

/// Something to ask of a server, as often as it takes.
///
/// A trait: Rust cannot say yet of an `AsyncFnMut` that its futures are [`Send`].
pub(super) trait Operation {
    /// What comes of it.
    type Done;

    /// Asks for it on this session; `number` counts the attempts from 0.
    fn attempt(
        &mut self,
        session: &mut Session,
        number: u32,
    ) -> impl Future<Output = ft_protocol::Result<Self::Done>> + Send;
}

/// Whether an operation may be sent again where its outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Yes.
    Safe,
    /// No. It is asked for once the login is done.
    Never,
    /// Only where nothing was started. It is asked for together with the login.
    Command,
}

impl Client {
    /// Runs one operation, on a new connection where there is none, and again where that may help and does no
    /// harm.
    pub(super) async fn repeat<O: Operation>(
        &mut self,
        repeat: Repeat,
        meter: Option<Arc<Meter>>,
        mut operation: O,
    ) -> Result<O::Done> {
        let mut pauses = Backoff::new(self.builder.retries);
        let (mut attempt, mut best) = (0, 0);
        loop {
            let error = match self.once(repeat, attempt, &mut operation).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if error.is_refused_login() && self.candidate + 1 < self.builder.account.login.len() {
                self.candidate += 1;
                continue;
            }
            // A transfer that gets somewhere between two failures may fail as often as it likes.
            let reached = meter.as_ref().map_or(0, |meter| meter.done());
            if reached > best {
                best = reached;
                pauses.reset(self.builder.retries);
            }
            if !error.may_help_to_retry() {
                return Err(error);
            }
            let Some(pause) = pauses.next() else { return Err(error) };
            attempt += 1;
            (self.builder.on_retry)(attempt, pause, &error);
            tokio::time::sleep(pause).await;
        }
    }

    async fn once<O: Operation>(
        &mut self,
        repeat: Repeat,
        attempt: u32,
        operation: &mut O,
    ) -> Result<O::Done> {
        self.settle().await;
        // It stays where it is, so that it outlives this operation where that is dropped.
        let session = match &mut self.session {
            Some(session) => session,
            None => {
                let Builder { account, timeout, .. } = &self.builder;
                let opened = Session::open(account, *timeout, &self.run, self.candidate).await?;
                self.session.insert(opened)
            }
        };
        let activity = session.conn.tx.activity().clone();
        let mut asked = false;
        let working = async {
            if repeat == Repeat::Never {
                // Nothing was asked for yet, so everything up to here may be tried again.
                session.conn.rx.welcome().await?;
            }
            asked = true;
            operation.attempt(session, attempt).await
        };
        let done = match self.builder.timeout {
            // A command has limits of its own.
            Some(limit) if repeat != Repeat::Command => activity.watch(limit, working).await,
            _ => working.await,
        };
        match done {
            Ok(done) => {
                if session.conn.rx.is_welcome() {
                    self.rights = Some(session.conn.rx.rights());
                }
                Ok(done)
            }
            Err(error) => {
                let (welcome, command) = (session.conn.rx.is_welcome(), session.command);
                if !session.survives(&error) {
                    self.abandon().await;
                }
                // Also where it has ended, and not all of its output could be passed on.
                let ran = command == Phase::Started || (repeat == Repeat::Command && command == Phase::None);
                if ran && matches!(error, ft_protocol::Error::Local(_)) {
                    return Err(ClientError::Interrupted(error));
                }
                // What was sent behind a login that failed is not looked at.
                let refused = !welcome && matches!(error, ft_protocol::Error::Remote(_));
                let error = ClientError::after(error, welcome);
                let unknown = match command {
                    Phase::None => repeat == Repeat::Never && asked && error.may_help_to_retry(),
                    Phase::Asked | Phase::Started => !refused,
                };
                Err(if unknown { ClientError::OutcomeUnknown(Box::new(error)) } else { error })
            }
        }
    }
}
