//! Exit codes that both programs share.

use crate::error::Status;

/// All done and verified.
pub const OK: u8 = 0;
/// Any failure without a code of its own; outcome unknown.
pub const FAILURE: u8 = 1;
/// Usage or configuration.
pub const USAGE: u8 = 2;
/// Some files failed.
pub const PARTIAL: u8 = 3;
/// Nothing to do, where that was asked to be an error.
pub const NOTHING: u8 = 9;
/// The deadline passed.
pub const DEADLINE: u8 = 10;

/// The exit code for the outcome of one operation.
pub fn exit_code(status: Status) -> u8 {
    match status {
        Status::Ok => OK,
        Status::NotFound => 4,
        Status::Unavailable | Status::TimedOut | Status::Changed => 5,
        Status::Mismatch => 6,
        Status::PermissionDenied | Status::Denied | Status::AuthFailed => 7,
        Status::Limit => 8,
        Status::Busy => 11,
        Status::DiskFull => 12,
        Status::Version => 13,
        _ => FAILURE,
    }
}
