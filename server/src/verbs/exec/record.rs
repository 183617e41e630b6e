//! The audit line of a command, and the hold on one that runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ft_protocol::Result;
use ft_protocol::wire::message::Exec;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use crate::exec::audit;
use crate::process::{Ended, Launcher, Supervisor};
use crate::session::Scope;

/// Far longer than a supervisor takes to end what can be ended.
const FOLLOWED: Duration = Duration::from_secs(30);

/// Bytes that passed.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) input: AtomicU64,
    pub(super) output: AtomicU64,
}

/// What the audit line will say; logged once, when dropped at the latest.
pub(super) struct Record {
    user: String,
    source: Option<SocketAddr>,
    argv: String,
    shell: bool,
    pub(super) tty: bool,
    began: Instant,
    pub(super) tally: Arc<Tally>,
    pub(super) started: bool,
    pub(super) ended: Option<Ended>,
    /// Why it was refused, or did not end by itself.
    pub(super) why: Option<String>,
    logged: bool,
}

impl Record {
    pub(super) fn new(scope: &Scope, request: &Exec) -> Self {
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
            why: Some("its session was ended".to_owned()),
            logged: false,
        }
    }

    pub(super) fn log(&mut self) {
        if std::mem::replace(&mut self.logged, true) {
            return;
        }
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

impl Drop for Record {
    fn drop(&mut self) {
        self.log();
    }
}

/// A command that runs. Dropped before its end, it is ended, and followed until nothing of it is left: only then
/// is there something to log.
pub(super) struct Held {
    /// Until it is dropped.
    command: Option<(Supervisor, Record)>,
    launcher: Launcher,
}

impl Held {
    pub(super) fn new(supervisor: Supervisor, record: Record, launcher: &Launcher) -> Self {
        Self { command: Some((supervisor, record)), launcher: launcher.clone() }
    }

    pub(super) fn parts(&mut self) -> Option<(&mut Supervisor, &mut Record)> {
        self.command.as_mut().map(|(supervisor, record)| (supervisor, record))
    }

    /// Notes why it did not end by itself.
    pub(super) fn outcome(&mut self, outcome: &Result<()>) {
        if let Some((_, record)) = &mut self.command {
            record.why = outcome.as_ref().err().map(ToString::to_string);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some((mut supervisor, record)) = self.command.take() else { return };
        if record.ended.is_some() {
            return;
        }
        supervisor.end();
        // Without a runtime the supervisor still does its work; only its report is missing from the line.
        if Handle::try_current().is_ok() {
            self.launcher.follow(async move {
                // The whole of it moves in, so that it is logged behind this and not now.
                let mut record = record;
                if let Ok(Ok(ended)) = timeout(FOLLOWED, supervisor.ended()).await {
                    record.ended = Some(ended);
                }
            });
        }
    }
}
