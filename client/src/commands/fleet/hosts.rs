//! Begins with one host after the other, as many at the same time as may be.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::{Id, JoinSet, spawn_blocking};
use tokio::time::timeout;

use super::super::context::{Context, Current, Member};
use super::super::{Failed, exec, setup, work};
use super::results::Results;
use super::{Shared, place};
use crate::address::HostSpec;
use crate::cli::Plan;
use crate::exit::Exit;
use crate::output::State;

/// Nobody reads our output any more, so nothing that is left matters.
pub(super) struct Unread;

pub(super) struct Hosts<'a> {
    pub(super) context: &'a Context,
    pub(super) shared: Arc<Shared>,
    pub(super) results: Results,
    pub(super) fanout: usize,
}

impl Hosts<'_> {
    /// Runs all of them, `step` after each other; the next step begins where none failed, or `serial` is not asked for.
    pub(super) async fn run(
        &self,
        hosts: &[HostSpec],
        step: usize,
        serial: bool,
        fail_fast: bool,
    ) -> Result<(), Unread> {
        let mut running = Running::default();
        let mut failed = false;
        let mut waiting = hosts.iter().enumerate();
        loop {
            let mut left = step;
            while left > 0 && !(fail_fast && failed) {
                if running.tasks.len() >= self.fanout {
                    failed |= self.next(&mut running).await?;
                    continue;
                }
                let Some((number, host)) = waiting.next() else { break };
                self.begin(&mut running, number, host);
                left -= 1;
            }
            while !running.tasks.is_empty() {
                failed |= self.next(&mut running).await?;
            }
            if left > 0 || (serial && failed) {
                return Ok(());
            }
        }
    }

    fn begin(&self, running: &mut Running, number: usize, host: &HostSpec) {
        let name = host.to_string();
        let gather = self.shared.gather.clone().map(|gather| (gather, number));
        let output = self.context.output.of_host(&name, gather);
        let member = Member {
            board: self.shared.board.clone(),
            progress: self.shared.board.host(&name),
            keys: self.shared.keys.clone(),
            digests: Arc::clone(&self.shared.digests),
            stdin: self.shared.stdin.clone(),
        };
        let current = Current::default();
        self.results.began(number, &output, &current);
        let mut context = Context {
            host: Some(host.clone()),
            output,
            current,
            member: Some(member),
            ..self.context.clone()
        };
        context.settings.deadline = None;
        let shared = Arc::clone(&self.shared);
        let task = running.tasks.spawn_local(async move { one(&name, &context, &shared).await });
        running.numbers.insert(task.id(), number);
    }

    /// Waits for one to end, and says whether it failed.
    async fn next(&self, running: &mut Running) -> Result<bool, Unread> {
        let Some(joined) = running.tasks.join_next_with_id().await else { return Ok(false) };
        let (id, ended) = match joined {
            Ok((id, ended)) => (id, ended),
            // It has said so on standard error.
            Err(error) => {
                let exit = if self.shared.is_command() { exec::OURS } else { Exit::Failure.code() };
                (error.id(), Ended { state: State::Failed, exit, unread: false })
            }
        };
        let ok = ended.state == State::Ok;
        if let Some(number) = running.numbers.remove(&id) {
            let (results, Ended { state, exit, .. }) = (self.results.clone(), ended);
            // On a thread of its own, as with all that is said here: a reader may stand still.
            let _ = spawn_blocking(move || results.ended(number, state, exit)).await;
        }
        self.shared.board.ended(ok);
        if ended.unread { Err(Unread) } else { Ok(!ok) }
    }
}

/// Hosts that are under way.
#[derive(Default)]
struct Running {
    tasks: JoinSet<Ended>,
    numbers: HashMap<Id, usize>,
}

/// How a host ended.
#[derive(Clone, Copy)]
struct Ended {
    state: State,
    exit: u8,
    unread: bool,
}

/// One host, from its beginning to its end.
async fn one(name: &str, context: &Context, shared: &Shared) -> Ended {
    let working = perform(name, context, &shared.plan);
    let done = match shared.host_deadline {
        Some(limit) => match timeout(limit, working).await {
            Ok(done) => done,
            Err(_) => {
                let mut message = format!("the deadline of {limit:?} for each host passed");
                if let Some(trouble) = context.output.record().trouble {
                    message += &format!("; before that: {trouble}");
                }
                let retry_safe = !context.output.once().load(Ordering::Relaxed);
                Err(Failed { retry_safe, ..Failed::new(Exit::Deadline, message) })
            }
        },
        None => working.await,
    };
    let failed = match done {
        Ok(exit) => {
            let state = if exit == 0 { State::Ok } else { State::Failed };
            return Ended { state, exit, unread: false };
        }
        Err(failed) => failed,
    };
    // What was said already has no words any more; where nothing was said, nobody is there to hear it.
    let unread = failed.message.is_empty() && context.output.record().error.is_none();
    let code = failed.exit;
    let output = context.output.clone();
    let _ = spawn_blocking(move || failed.report(&output, None, None)).await;
    // The time that this may take is limited there.
    context.current.cut_short(code.code()).await;
    let state = if code == Exit::Deadline { State::Deadline } else { State::Failed };
    let exit = if shared.is_command() && code != Exit::Usage { exec::OURS } else { code.code() };
    Ended { state, exit, unread }
}

async fn perform(name: &str, context: &Context, plan: &Plan) -> Result<u8, Failed> {
    if let Plan::Exec(plan) = plan {
        return exec::fleet::run(context, plan).await;
    }
    match plan {
        Plan::Trust(plan) => return setup::trust(context, plan.clone()).await.map(Exit::code),
        Plan::Hosts(_) => return super::super::hosts::ping(context).await.map(Exit::code),
        _ => {}
    }
    if matches!(plan, Plan::Rm(_) | Plan::Mv(_)) {
        context.output.once().store(true, Ordering::Relaxed);
    }
    let (plan, _made) = place::of_host(plan.clone(), name)?;
    let mut server = context.server().await?;
    let exit = work(context, &mut server, plan).await?;
    server.client.close().await;
    Ok(exit.code())
}
