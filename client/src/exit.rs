//! Exit codes of the client, and how those of several files become one.

use ft_protocol::Status;
use ft_protocol::exit;

/// What the process ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// All done and verified.
    Ok = exit::OK,
    /// Any other failure, or an unknown outcome.
    Failure = exit::FAILURE,
    /// Usage or configuration.
    Usage = exit::USAGE,
    /// Some files failed.
    Partial = exit::PARTIAL,
    /// Not found.
    NotFound = 4,
    /// Network or temporary: a retry is safe and may help.
    Temporary = 5,
    /// Digest mismatch, or could not be verified.
    Mismatch = 6,
    /// Authentication, server key, or a missing right.
    Denied = 7,
    /// Refused by a server limit.
    Limit = 8,
    /// Nothing to do, with `--error-on-no-transfer`.
    Nothing = exit::NOTHING_TO_DO,
    /// The deadline passed.
    Deadline = exit::DEADLINE,
    /// Locked or busy.
    Busy = 11,
    /// Disk full.
    DiskFull = 12,
    /// Protocol versions do not fit.
    Version = 13,
}

impl Exit {
    /// Every one.
    pub const ALL: [Exit; 14] = [
        Exit::Ok,
        Exit::Failure,
        Exit::Usage,
        Exit::Partial,
        Exit::NotFound,
        Exit::Temporary,
        Exit::Mismatch,
        Exit::Denied,
        Exit::Limit,
        Exit::Nothing,
        Exit::Deadline,
        Exit::Busy,
        Exit::DiskFull,
        Exit::Version,
    ];

    /// The number.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// True for success.
    pub fn is_ok(self) -> bool {
        self == Exit::Ok
    }

    /// True where the same command may be run again without any danger and may then succeed.
    pub fn is_temporary(self) -> bool {
        matches!(self, Exit::Temporary | Exit::Busy)
    }
}

impl From<Status> for Exit {
    fn from(status: Status) -> Self {
        let code = exit::exit_code(status);
        Exit::ALL.into_iter().find(|exit| exit.code() == code).unwrap_or(Exit::Failure)
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// The outcomes of a run's files, and what they make together.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    done: u64,
    failed: u64,
    /// The code that all failures so far share.
    common: Option<Exit>,
    mixed: bool,
    ended: Option<Exit>,
}

impl Tally {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A file arrived and was verified.
    pub fn done(&mut self) {
        self.done += 1;
    }

    /// A file failed, and the job went on.
    pub fn failed(&mut self, exit: Exit) {
        self.failed += 1;
        self.mixed |= self.common.is_some_and(|common| common != exit);
        self.common = Some(exit);
    }

    /// The job ended early; what ended it keeps its code, the first one counts.
    pub fn ended(&mut self, exit: Exit) {
        self.ended.get_or_insert(exit);
    }

    /// Files that arrived.
    pub fn files_done(&self) -> u64 {
        self.done
    }

    /// Files that failed.
    pub fn files_failed(&self) -> u64 {
        self.failed
    }

    /// The code of the whole run.
    pub fn exit(&self) -> Exit {
        match (self.ended, self.common) {
            (Some(exit), _) => exit,
            (None, None) => Exit::Ok,
            (None, Some(exit)) if self.done == 0 && !self.mixed => exit,
            (None, Some(_)) => Exit::Partial,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(done: u64, failed: &[Exit], ended: Option<Exit>) -> Exit {
        let mut tally = Tally::new();
        (0..done).for_each(|_| tally.done());
        failed.iter().for_each(|exit| tally.failed(*exit));
        ended.into_iter().for_each(|exit| tally.ended(exit));
        tally.exit()
    }

    #[test]
    fn several_files_make_one_code() {
        use Exit::*;
        assert_eq!(tally(0, &[], None), Ok);
        assert_eq!(tally(0, &[Mismatch], None), Mismatch, "one file has its own code");
        assert_eq!(tally(0, &[NotFound, NotFound], None), NotFound, "all failed alike");
        assert_eq!(tally(1, &[NotFound], None), Partial);
        assert_eq!(tally(0, &[NotFound, Mismatch, NotFound], None), Partial);
        assert_eq!(tally(5, &[NotFound], Some(DiskFull)), DiskFull, "what ends the job keeps its code");
    }

    #[test]
    fn every_status_has_a_code_of_this_table() {
        for status in Status::ALL {
            assert_eq!(Exit::from(*status).code(), exit::exit_code(*status), "{status:?}");
        }
        assert_eq!(Exit::from(Status::AuthFailed), Exit::Denied);
    }
}
