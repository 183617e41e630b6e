//! The second stage: a process that gives up what the command shall not have, and becomes the command.
//!
//! It has one thread, so what the kernel keeps for each thread (identity, capabilities) is the process's.

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::fs::{Gid, Mode, Uid};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit, umask};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::order::{self, Descriptors, Order};
use super::spec::{ProcessLimits, RunAs};

/// Said when everything but the limits and the program itself is in place. Followed by the end of file: started;
/// by a [`Refusal`]: not.
pub(super) const READY: u8 = b'R';

/// What a stage does, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Step {
    Order = 1,
    Terminal,
    User,
    Directory,
    Privileges,
    Limits,
    Execute,
}

/// Why there is no command.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) step: Step,
    pub(super) error: io::Error,
}

impl Refusal {
    fn at(step: Step) -> impl FnOnce(io::Error) -> Self {
        move |error| Self { step, error }
    }

    fn encode(&self) -> [u8; 5] {
        let [a, b, c, d] =
            self.error.raw_os_error().unwrap_or(rustix::io::Errno::IO.raw_os_error()).to_le_bytes();
        [self.step as u8, a, b, c, d]
    }

    /// Takes apart what the stage sent.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (step, errno) = bytes.split_first()?;
        let steps = [
            Step::Order,
            Step::Terminal,
            Step::User,
            Step::Directory,
            Step::Privileges,
            Step::Limits,
            Step::Execute,
        ];
        let step = steps.into_iter().find(|known| *known as u8 == *step)?;
        Some(Self { step, error: io::Error::from_raw_os_error(i32::from_le_bytes(errno.try_into().ok()?)) })
    }
}

/// Becomes the command; returns only where that fails.
pub(super) fn run() -> ExitCode {
    // Close-on-exec, so its end of file tells the server that the program runs.
    let Ok(control) = rustix::stdio::stdin().try_clone_to_owned() else { return ExitCode::FAILURE };
    let mut control = UnixStream::from(control);
    let refusal = become_command(&mut control);
    let _ = control.write_all(&refusal.encode());
    ExitCode::FAILURE
}

fn become_command(control: &mut UnixStream) -> Refusal {
    match prepare(control) {
        Err(refusal) => refusal,
        Ok((mut command, limits)) => {
            let _ = control.write_all(&[READY]);
            // Last, because they bind this process as well.
            if let Err(error) = limit(&limits) {
                return Refusal { step: Step::Limits, error };
            }
            Refusal { step: Step::Execute, error: command.exec() }
        }
    }
}

fn prepare(control: &mut UnixStream) -> Result<(Command, ProcessLimits), Refusal> {
    let (order, descriptors) = order::receive(control.as_fd()).map_err(Refusal::at(Step::Order))?;
    let Order { argv, env, terminal, new_privileges, run_as, limits } = order;
    take_streams(&descriptors, terminal).map_err(Refusal::at(Step::Terminal))?;
    // Whoever started the server may have left it descriptors and ignored signals; neither is for the command.
    close_fds::set_fds_cloexec(3, &[]);
    stop_ignoring_signals();
    umask(Mode::WGRP | Mode::WOTH);
    if let Some(user) = run_as {
        become_user(&user).map_err(Refusal::at(Step::User))?;
    }
    // As the command's user, who must be allowed in.
    rustix::process::fchdir(&descriptors.cwd)
        .map_err(io::Error::from)
        .map_err(Refusal::at(Step::Directory))?;
    if !new_privileges {
        rustix::thread::set_no_new_privs(true)
            .map_err(io::Error::from)
            .map_err(Refusal::at(Step::Privileges))?;
    }
    let mut words = argv.into_iter();
    let mut command = Command::new(words.next().unwrap_or_default());
    // std looks for the program in the PATH of the new environment.
    command.args(words).env_clear().envs(env);
    Ok((command, limits))
}

/// A session of its own, with the terminal where there is one, and the three streams.
fn take_streams(descriptors: &Descriptors, terminal: bool) -> io::Result<()> {
    rustix::process::setsid()?;
    if terminal {
        rustix::process::ioctl_tiocsctty(&descriptors.stdin)?;
    }
    rustix::stdio::dup2_stdin(&descriptors.stdin)?;
    rustix::stdio::dup2_stdout(&descriptors.stdout)?;
    rustix::stdio::dup2_stderr(&descriptors.stderr)?;
    Ok(())
}

/// A signal with a handler gets its default action back when a program is executed, one that is ignored does not;
/// `nohup ftserver` or `ftserver &` in a script would reach every command. SIGPIPE is std's.
fn stop_ignoring_signals() {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    // Those that no handler can be for, or that signal-hook refuses; nobody ignores these.
    let never = [Signal::KILL, Signal::STOP, Signal::ILL, Signal::FPE, Signal::SEGV, Signal::PIPE]
        .map(Signal::as_raw);
    let ignored = (1..=64).filter(|signal| mask & (1u64 << (signal - 1)) != 0 && !never.contains(signal));
    for signal in ignored {
        // glibc keeps 32 and 33 to itself.
        let _ = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)));
    }
}

/// Takes on another identity for good. Errors: this process may not, or could go back.
fn become_user(user: &RunAs) -> io::Result<()> {
    if is_already(user)? {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    // The user last: it takes away the right to change the groups.
    rustix::thread::set_thread_groups(&groups)?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    if uid.is_root() {
        return Ok(());
    }
    // A server that is not root but has CAP_SETUID would pass it on (capabilities(7), "Effect of user ID changes").
    rustix::thread::clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: none, permitted: none, inheritable: none },
    )?;
    if rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).is_ok() {
        return Err(io::Error::from(rustix::io::Errno::PERM));
    }
    Ok(())
}

fn is_already(user: &RunAs) -> io::Result<bool> {
    use rustix::process::{getegid, geteuid, getgid, getgroups, getuid};
    let sorted = |mut ids: Vec<u32>| {
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    let uids = [getuid(), geteuid()].iter().all(|uid| uid.as_raw() == user.uid);
    let gids = [getgid(), getegid()].iter().all(|gid| gid.as_raw() == user.gid);
    let groups = sorted(getgroups()?.iter().map(|gid| gid.as_raw()).collect());
    Ok(uids && gids && groups == sorted(user.groups.clone()))
}

fn limit(limits: &ProcessLimits) -> io::Result<()> {
    let all = [
        (Resource::Core, Some(0), 0),
        (Resource::Nproc, limits.processes, 0),
        (Resource::Fsize, limits.file_size, 0),
        (Resource::Nofile, limits.open_files, 0),
        // A second between SIGXCPU, which says what happened, and SIGKILL.
        (Resource::Cpu, limits.cpu_seconds, 1),
        (Resource::As, limits.memory, 0),
    ];
    for (resource, value, more) in all {
        if let Some(value) = value {
            // Never above what the server itself may have.
            let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
            let current = Some(value.min(most));
            setrlimit(resource, Rlimit { current, maximum: Some(value.saturating_add(more).min(most)) })?;
        }
    }
    Ok(())
}
