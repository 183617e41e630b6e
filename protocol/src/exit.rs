//! Exit codes, the same for both programs.

use crate::error::Status;

/// All done and verified.
pub const OK: u8 = 0;
/// Any failure without a code of its own.
pub const FAILURE: u8 = 1;
/// Wrong usage or configuration.
pub const USAGE: u8 = 2;
/// Some files or hosts failed.
pub const PARTIAL: u8 = 3;
/// No such file, host or account.
pub const NOT_FOUND: u8 = 4;
/// Network or temporary: a retry is safe and may help.
pub const TEMPORARY: u8 = 5;
/// Digests differ, or could not be compared.
pub const MISMATCH: u8 = 6;
/// Authentication, server key, or a right that the account lacks.
pub const DENIED: u8 = 7;
/// Refused by a limit of the server.
pub const LIMIT: u8 = 8;
/// Nothing to do, where that was asked to be an error.
pub const NOTHING_TO_DO: u8 = 9;
/// The deadline of the whole run passed.
pub const DEADLINE: u8 = 10;
/// Locked or busy.
pub const LOCKED: u8 = 11;
/// Disk full.
pub const DISK_FULL: u8 = 12;
/// Protocol versions do not fit.
pub const VERSION: u8 = 13;

/// The exit code of a run that ended with this status.
pub fn exit_code(status: Status) -> u8 {
    match status {
        Status::Ok => OK,
        Status::NotFound => NOT_FOUND,
        Status::Unavailable | Status::TimedOut | Status::Changed => TEMPORARY,
        Status::Mismatch => MISMATCH,
        Status::PermissionDenied | Status::Denied | Status::AuthFailed => DENIED,
        Status::Limit => LIMIT,
        Status::Busy => LOCKED,
        Status::DiskFull => DISK_FULL,
        Status::Version => VERSION,
        Status::Failed
        | Status::Invalid
        | Status::Exists
        | Status::NotDirectory
        | Status::IsDirectory
        | Status::NotEmpty
        | Status::NotRegular
        | Status::Cancelled
        | Status::Protocol
        | Status::Unsupported
        | Status::FileTooLarge => FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_success_exits_with_zero() {
        for status in Status::ALL {
            assert_eq!(exit_code(*status) == OK, *status == Status::Ok, "{status}");
        }
    }
}
