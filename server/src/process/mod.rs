//! Commands and what becomes of them.
//!
//! A command has two processes of ours before it, both this same program started anew, with one thread and no
//! tokio:
//!
//! ```text
//! server ── lifeline ── supervisor ── second stage, which becomes the command ── whatever it starts
//!    └───────────────── control ──────────┘
//! ```
//!
//! - [`Launcher`] (`launcher`) starts the supervisor and sends the second stage its order (`order`).
//! - `stage` takes the order, gives up what the command shall not have, and executes the program.
//! - `supervisor` is the ancestor of all that the command leaves behind (PR_SET_CHILD_SUBREAPER of prctl(2)); when
//!   the command has ended, or the lifeline has, it ends the rest (`tree`): SIGTERM, 5 s, SIGKILL.
//!
//! No descriptor of the command is held by the supervisor, and no descriptor of the server by the command.
//!
//! What remains: a command with the server's own user may kill its supervisor (not one with a [`RunAs`]); then
//! [`Supervisor::ended`] is an error and its children live on. A process that the supervisor may not signal (one
//! that became root through a set-user-ID program, where that was allowed) lives on as well; the log tells.

mod launcher;
mod order;
mod running;
mod spec;
mod stage;
mod streams;
mod supervisor;
mod tree;

use std::process::ExitCode;

use nix::sys::signal::SigSet;

pub use launcher::Launcher;
pub use running::{Running, Supervisor};
pub use spec::{Ended, Io, ProcessLimits, RunAs, Spec};
pub use streams::{Input, Output};

/// First argument of a supervisor, of a supervisor of a terminal, and of a second stage.
const SUPERVISE: &str = "__supervise";
const SUPERVISE_TERMINAL: &str = "__supervise-terminal";
const BECOME: &str = "__become";

/// To be called in `main` before anything else: where this process was started as a supervisor or as a second
/// stage, does that. `None`: an ordinary start. Either way no signal is blocked from then on.
pub fn become_helper() -> Option<ExitCode> {
    // Blocked signals are inherited, past execve(2) and std's `Command`. With SIGCHLD among them no command would be
    // seen to end; with SIGTERM, neither the server nor a command would take notice of one.
    let _ = SigSet::empty().thread_set_mask();
    let word = std::env::args_os().nth(1)?;
    // By hand, on a terminal, these words are as unknown as any other.
    let by_us = rustix::net::sockopt::socket_type(rustix::stdio::stdin()).is_ok();
    match word.to_str()? {
        SUPERVISE if by_us => Some(supervisor::run(false)),
        SUPERVISE_TERMINAL if by_us => Some(supervisor::run(true)),
        BECOME if by_us => Some(stage::run()),
        _ => None,
    }
}
