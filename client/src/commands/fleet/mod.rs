//! One command on many hosts at once.
//!
//! Each host has a context of its own: its output stands behind its name, its progress is part of the whole, and
//! what its run comes to is kept for the table. What the commands do is the same as for one host.

mod hosts;
mod place;
mod results;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ft_protocol::transfer::SharedDigests;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::task::{JoinError, LocalSet, spawn_blocking};
use tokio::time::{Instant, interval, timeout_at};

use super::context::{Context, Keys, Spooled};
use super::{Failed, TIDY_UP, exec, terminal};
use crate::address::HostSpec;
use crate::cli::{CheckPlan, Direction, ExecPlan, FleetPlan, Input, LocalSource, Plan};
use crate::credentials::prompt_through;
use crate::exit::Exit;
use crate::inventory::{Selected, select};
use crate::output::{Gather, Output, State, reason};
use crate::progress::Board;
use hosts::Hosts;
use results::Results;

/// How often the progress of the whole is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Descriptors that a host under way may need: its connection, files at both sides of a copy, a receipt.
const DESCRIPTORS: u64 = 16;
/// Descriptors of the program itself.
const OWN_DESCRIPTORS: u64 = 64;

/// What all hosts of a run have in common.
struct Shared {
    plan: Plan,
    board: Board,
    keys: Keys,
    digests: Arc<SharedDigests>,
    gather: Option<Gather>,
    stdin: Option<Spooled>,
    host_deadline: Option<Duration>,
}

impl Shared {
    /// The code of a host is the status of a command.
    fn is_command(&self) -> bool {
        matches!(self.plan, Plan::Exec(_))
    }

    /// What our own failures are worth then.
    fn ours(&self) -> Option<u8> {
        self.is_command().then_some(exec::OURS)
    }
}

/// Runs a command on the chosen hosts, says what there is to say, and gives the exit code.
pub(super) async fn run(context: Context, plan: Plan, fleet: FleetPlan) -> Result<u8, Failed> {
    match on_all(context, plan, fleet).await {
        // Nobody reads our output any more.
        Err(failed) if failed.message.is_empty() => Ok(broken_pipe()),
        ended => ended,
    }
}

async fn on_all(context: Context, plan: Plan, fleet: FleetPlan) -> Result<u8, Failed> {
    // Later than anybody waits where the sum does not fit.
    let deadline =
        context.settings.deadline.and_then(|limit| Some((limit, Instant::now().checked_add(limit)?)));
    let selecting = select(&fleet.selection, &context.config, &context.paths, &context.connection);
    let Selected { hosts, disabled } = before(deadline, selecting).await??;
    if !disabled.is_empty() {
        let names = disabled.join(", ");
        context.output.insist(&format!("left out, because the configuration disables them: {names}"))?;
    }
    check_sources(&plan)?;
    let fanout = descriptors_for(fleet.fanout.min(hosts.len()), &context.output)?;
    let stdin = if reads_stdin(&plan) { Some(before(deadline, read_stdin()).await??) } else { None };
    let names: Vec<String> = hosts.iter().map(HostSpec::to_string).collect();
    let shared = Arc::new(Shared {
        plan,
        board: Board::new(&context.output, context.settings.progress, hosts.len()),
        keys: Keys::default(),
        digests: Arc::default(),
        gather: fleet.gather.then(|| Gather::new(names.clone())),
        stdin,
        host_deadline: fleet.host_deadline,
    });
    let results = begin(&context, &shared, names, &disabled, &fleet)?;
    let steps = fleet.serial.map_or(hosts.len(), |serial| serial.step(hosts.len()));
    let crew = Hosts { context: &context, shared: Arc::clone(&shared), results: results.clone(), fanout };
    let work = crew.run(&hosts, steps, fleet.serial.is_some(), fleet.fail_fast);
    let ended = match watched(&shared.board, work, deadline).await {
        Some(ended) => ended,
        None => {
            let limit = context.settings.deadline.unwrap_or_default();
            Ok(context.output.info(&format!("the deadline of {limit:?} passed"))?)
        }
    };
    shared.board.finish();
    context.current.ended();
    if ended.is_err() {
        results.abandon();
        return Ok(broken_pipe());
    }
    conclude(&shared, results, fleet.max_status, deadline).await
}

/// What is said first, and what is said where the run is asked how far it is, or cut short.
fn begin(
    context: &Context,
    shared: &Arc<Shared>,
    names: Vec<String>,
    disabled: &[String],
    fleet: &FleetPlan,
) -> Result<Results, Failed> {
    let mut run = [0; 16];
    getrandom::fill(&mut run)
        .map_err(|error| Failed::new(Exit::Failure, format!("no random numbers: {error}")))?;
    context.output.fleet_start(&run, names.len())?;
    let results = Results::new(&context.output, names, disabled, fleet.retry_file.clone(), shared.ours())?;
    let prompting = shared.board.clone();
    prompt_through(move |ask| {
        let _turn = terminal::turn();
        prompting.hidden_while(ask);
    });
    let (last_results, last_shared) = (results.clone(), Arc::clone(shared));
    context.current.begun(move |code| {
        last_shared.board.finish();
        // What cannot be said here has nobody left to be told.
        let _ = last_results.finish(last_shared.gather.as_ref(), State::Interrupted, code, |_| code);
    });
    let (board, output) = (shared.board.clone(), context.output.clone());
    context.current.begin(move || {
        let (words, event) = board.report();
        let _ = output.asked(&words, &event);
    });
    Ok(results)
}

/// Waits for all hosts while their progress is shown; `None` where the deadline passed before.
async fn watched<T>(
    board: &Board,
    work: impl Future<Output = T>,
    deadline: Option<(Duration, Instant)>,
) -> Option<T> {
    let looking = async {
        let mut tick = interval(LOOK);
        loop {
            tick.tick().await;
            board.look();
        }
    };
    let local = LocalSet::new();
    let all = local.run_until(async {
        tokio::select! {
            ended = work => ended,
            never = looking => never,
        }
    });
    match deadline {
        Some((_, end)) => timeout_at(end, all).await.ok(),
        None => Some(all.await),
    }
}

/// The last words, and the exit code.
async fn conclude(
    shared: &Arc<Shared>,
    results: Results,
    max_status: bool,
    deadline: Option<(Duration, Instant)>,
) -> Result<u8, Failed> {
    let (speaking, late) = (Arc::clone(shared), Exit::Deadline.code());
    let exit = move |results: &[_]| results::exit(results, max_status);
    // On a thread of its own: Ctrl-C ends the program also where the reader of the output stands still.
    let said = spawn_blocking(move || results.finish(speaking.gather.as_ref(), State::Deadline, late, exit));
    let code = match deadline {
        None => said.await,
        Some((_, end)) => match timeout_at(end.max(Instant::now() + TIDY_UP), said).await {
            Ok(code) => code,
            // Whoever let the deadline pass by reading nothing does not read this either.
            Err(_) if max_status => return Ok(shared.ours().unwrap_or(late)),
            Err(_) => return Ok(Exit::Partial.code()),
        },
    };
    Ok(code.map_err(internal)??)
}

fn internal(error: JoinError) -> Failed {
    Failed::new(Exit::Failure, format!("internal error: {error}"))
}

/// Waits for what must be there before anything begins.
async fn before<T>(
    deadline: Option<(Duration, Instant)>,
    work: impl Future<Output = T>,
) -> Result<T, Failed> {
    let Some((limit, end)) = deadline else { return Ok(work.await) };
    let late =
        |_| Failed::new(Exit::Deadline, format!("the deadline of {limit:?} passed before anything began"));
    timeout_at(end, work).await.map_err(late)
}

/// What is not here cannot go to any host: that is one failure, and not one of each.
fn check_sources(plan: &Plan) -> Result<(), Failed> {
    let sources: Vec<&Path> = match plan {
        Plan::Put(put) => put.sources.iter().filter_map(LocalSource::path).collect(),
        Plan::Sync(sync) if sync.direction == Direction::ToServer => vec![&sync.local],
        Plan::Check(CheckPlan::Trees { local, .. }) => vec![local],
        Plan::Exec(ExecPlan { input: Input::File(path), .. }) => vec![path],
        _ => Vec::new(),
    };
    let missing = sources.into_iter().find_map(|path| Some((path, path.symlink_metadata().err()?)));
    missing.map_or(Ok(()), |(path, error)| {
        let error = ft_protocol::Error::io(format_args!("open '{}'", path.display()), &error);
        Err(Failed::alone(error.status().into(), format!("{}; nothing was begun", reason(&error))))
    })
}

fn reads_stdin(plan: &Plan) -> bool {
    match plan {
        Plan::Exec(exec) => exec.input == Input::Stdin,
        Plan::Put(put) => put.sources.contains(&LocalSource::Stdin),
        _ => false,
    }
}

/// All of standard input, before anything begins: every host reads it at its own speed.
async fn read_stdin() -> Result<Spooled, Failed> {
    let failed = |what: &str, error: &std::io::Error| {
        let error = ft_protocol::Error::io(what, error);
        Failed::new(error.status().into(), reason(&error))
    };
    let read = spawn_blocking(move || {
        let read = || -> std::io::Result<Spooled> {
            let mut file = tempfile::tempfile()?;
            std::io::copy(&mut std::io::stdin().lock(), &mut file)?;
            Ok(Spooled::new(file))
        };
        read().map_err(|error| failed("keep standard input", &error))
    });
    read.await.map_err(internal)?
}

/// How many hosts there can be at the same time with the descriptors that this process may have.
fn descriptors_for(fanout: usize, output: &Output) -> std::io::Result<usize> {
    let needed = |fanout: u64| fanout.saturating_mul(DESCRIPTORS).saturating_add(OWN_DESCRIPTORS);
    let wanted = needed(fanout as u64);
    let limit = getrlimit(Resource::Nofile);
    let mut current = limit.current.unwrap_or(u64::MAX);
    if current < wanted {
        let most = limit.maximum.unwrap_or(u64::MAX).min(wanted);
        if setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum }).is_ok() {
            current = most;
        }
    }
    if current >= wanted {
        return Ok(fanout);
    }
    let fits = usize::try_from(current.saturating_sub(OWN_DESCRIPTORS) / DESCRIPTORS).unwrap_or(1).max(1);
    output.info(&format!(
        "{fits} hosts at a time instead of {fanout}: a process may open {current} files here (ulimit -n)"
    ))?;
    Ok(fits)
}

/// As of a program that SIGPIPE ended.
fn broken_pipe() -> u8 {
    u8::try_from(Signal::PIPE.as_raw()).unwrap_or(0).saturating_add(128)
}
