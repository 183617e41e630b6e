//! All that descends from this process: found, signalled and reaped.
//!
//! A number may belong to another process as soon as its process is reaped. So a signal goes through a pidfd
//! (pidfd_open(2)), and only after the process behind it was seen to be the child of one of ours.

use std::collections::VecDeque;
use std::fs;
use std::io;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, getpid, kill_process_group, pidfd_open,
    pidfd_send_signal, waitid,
};

use super::spec::Ended;

/// The descendants of this process, with one child that is the command.
pub(super) struct Tree {
    /// `None`: reaped. Until then its zombie keeps the number of its process group.
    command: Option<Pid>,
    ended: Option<Ended>,
}

/// A process and the one that it was found under.
#[derive(Debug, Clone, Copy)]
struct Member {
    pid: Pid,
    parent: Pid,
}

impl Tree {
    /// Errors: this system does not tell which children a process has (CONFIG_PROC_CHILDREN of Linux).
    pub(super) fn check() -> io::Result<()> {
        fs::read_to_string(format!("/proc/self/task/{}/children", getpid())).map(drop)
    }

    pub(super) fn new(command: Pid) -> Self {
        Self { command: Some(command), ended: None }
    }

    /// How the command itself ended, if it has.
    pub(super) fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// Reaps what has ended, but not the command. Gives how many children are left, besides an ended command.
    pub(super) fn reap(&mut self) -> usize {
        let mut left = 0;
        for child in children(getpid()) {
            if Some(child) == self.command {
                if self.ended.is_none() {
                    self.ended = exited(child, WaitIdOptions::NOWAIT).as_ref().map(how);
                }
                left += usize::from(self.ended.is_none());
            } else if exited(child, WaitIdOptions::empty()).is_none() {
                left += 1;
            }
        }
        left
    }

    /// Reaps the command, which has ended. True: nothing at all is left.
    pub(super) fn bury(&mut self) -> bool {
        if let Some(command) = self.command.take() {
            let _ = exited(command, WaitIdOptions::empty());
        }
        // The list of children may miss some while others end (proc(5)); this does not.
        let any = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        matches!(waitid(WaitId::All, any), Err(rustix::io::Errno::CHILD))
    }

    /// Sends these signals, one after the other, to every descendant, ancestors first.
    pub(super) fn signal(&self, signals: &[Signal]) {
        walk(|member| send(member, signals));
    }

    /// Kills every descendant that can be found now. What a storm of forks brings forth meanwhile needs another call.
    pub(super) fn kill(&self) {
        if let Some(command) = self.command {
            // All of a group at once, which a fork in it cannot outrun.
            let _ = kill_process_group(command, Signal::KILL);
        }
        // What is stopped starts nothing more while its children are looked for.
        let mut found = Vec::new();
        walk(|member| {
            send(member, &[Signal::STOP]);
            found.push(member);
        });
        // Children first, so that each is still found under its parent.
        for member in found.into_iter().rev() {
            send(member, &[Signal::KILL]);
        }
    }
}

/// Meets every descendant of this process, parents before their children are looked for.
fn walk(mut meet: impl FnMut(Member)) {
    let mut parents = VecDeque::from([getpid()]);
    while let Some(parent) = parents.pop_front() {
        for pid in children(parent) {
            meet(Member { pid, parent });
            parents.push_back(pid);
        }
    }
}

/// One that is gone, or that has another parent by now, gets nothing; the next walk meets it where it is.
fn send(member: Member, signals: &[Signal]) {
    let Ok(process) = pidfd_open(member.pid, PidfdFlags::empty()) else { return };
    if parent(member.pid) == Some(member.parent) {
        for signal in signals {
            let _ = pidfd_send_signal(&process, *signal);
        }
    }
}

/// The children of all threads of a process; none where it is gone.
fn children(pid: Pid) -> Vec<Pid> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists =
        threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(number).collect::<Vec<_>>()).collect()
}

/// proc_pid_stat(5): `pid (name) state parent …`, where the name may hold anything.
fn parent(pid: Pid) -> Option<Pid> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    number(rest.split_whitespace().nth(1)?)
}

fn number(text: &str) -> Option<Pid> {
    text.parse().ok().and_then(Pid::from_raw)
}

/// The status of a child that has ended; it is reaped unless NOWAIT says otherwise.
fn exited(child: Pid, option: WaitIdOptions) -> Option<WaitIdStatus> {
    waitid(WaitId::Pid(child), WaitIdOptions::EXITED | WaitIdOptions::NOHANG | option).ok().flatten()
}

fn how(status: &WaitIdStatus) -> Ended {
    // A status has 8 bits, and signals end at 64.
    let byte = |value: i32| u8::try_from(value & 0xff).unwrap_or(u8::MAX);
    match status.terminating_signal() {
        Some(signal) => Ended::Signalled(byte(signal)),
        None => Ended::Exited(byte(status.exit_status().unwrap_or(-1))),
    }
}
