//! What a command is started with.

use std::ffi::OsString;
use std::fs::File;

/// Everything that decides how one command runs. Nothing else of the server reaches it.
#[derive(Debug)]
pub struct Spec {
    /// Program and arguments, at least the program. One without a `/` is looked for in the `PATH` of [`Spec::env`].
    pub argv: Vec<OsString>,
    /// Its whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Its working directory, open.
    pub cwd: File,
    /// What its standard streams are.
    pub io: Io,
    /// Whose rights it has; `None`: those of the server.
    pub run_as: Option<RunAs>,
    /// Bounds that the kernel holds it to.
    pub limits: ProcessLimits,
    /// Whether it may gain rights by executing set-user-ID programs (PR_SET_NO_NEW_PRIVS of prctl(2) unset).
    pub new_privileges: bool,
}

/// The standard streams of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Io {
    /// Pipes for standard output and standard error; standard input is one as well, or /dev/null.
    Pipes {
        /// Whether there is input.
        stdin: bool,
    },
    /// One pseudo-terminal for all three, which controls the command's session.
    Terminal {
        /// Characters; 0: unknown.
        rows: u16,
        /// Characters; 0: unknown.
        columns: u16,
    },
}

/// A user of the operating system (credentials(7)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunAs {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// Bounds as setrlimit(2) knows them; `None`: that of the server. Core dumps are always off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessLimits {
    /// Processes of its user (RLIMIT_NPROC), those that run already included.
    pub processes: Option<u64>,
    /// Bytes of address space of each process (RLIMIT_AS).
    pub memory: Option<u64>,
    /// Seconds of processor time of each process (RLIMIT_CPU).
    pub cpu_seconds: Option<u64>,
    /// Bytes of the largest file that it may write (RLIMIT_FSIZE).
    pub file_size: Option<u64>,
    /// Open descriptors of each process (RLIMIT_NOFILE).
    pub open_files: Option<u64>,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this status.
    Exited(u8),
    /// By this signal.
    Signalled(u8),
}
