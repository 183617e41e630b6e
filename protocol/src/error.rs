//! One error type, one wire [`Status`], and the one place where an operating-system error becomes one.

use std::borrow::Cow;
use std::fmt;
use std::io;

use crate::display::Escaped;

/// Result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Outcome of an operation or of one file in it, as `END` and `FILE_RESULT` carry it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u32)]
        pub enum Status { $($(#[$doc])* $name = $code,)* }

        impl Status {
            /// Every status with its number; the table in PROTOCOL.md is tested against it.
            pub const ALL: &'static [Status] = &[$(Status::$name,)*];

            /// The status with this number on the wire; unknown numbers read as [`Status::Failed`].
            pub fn from_wire(code: u32) -> Self {
                match code { $($code => Status::$name,)* _ => Status::Failed }
            }

            /// What happened, in words for a person.
            pub fn text(self) -> &'static str {
                match self { $(Status::$name => $text,)* }
            }
        }
    };
}

statuses! {
    /// Done and verified.
    Ok = 0, "done";
    /// Any failure without a status of its own.
    Failed = 1, "failed";
    /// The request makes no sense; the message says why.
    Invalid = 2, "invalid request";
    /// No such file or directory.
    NotFound = 3, "not found";
    /// The target exists and was not to be replaced.
    Exists = 4, "already exists";
    /// A component that must be a directory is not.
    NotDirectory = 5, "not a directory";
    /// A directory stands where a file was expected.
    IsDirectory = 6, "is a directory";
    /// A directory that must be empty is not.
    NotEmpty = 7, "directory not empty";
    /// Neither a regular file nor a directory: FIFO, device, socket or symbolic link.
    NotRegular = 8, "not a regular file";
    /// The operating system refused access.
    PermissionDenied = 9, "permission denied by the operating system";
    /// The account lacks a right.
    Denied = 10, "the account lacks a right";
    /// Login failed. Never says which part was wrong.
    AuthFailed = 11, "login failed";
    /// A limit of the peer was reached.
    Limit = 12, "refused by a limit";
    /// Locked, or in use by another run.
    Busy = 13, "locked or in use";
    /// No space, no quota or no inodes left.
    DiskFull = 14, "no space left on the disk";
    /// Digests differ, or could not be compared.
    Mismatch = 15, "digest mismatch";
    /// The source changed while it was read.
    Changed = 16, "the file changed while it was read";
    /// Temporarily unavailable: shutting down or overloaded. A retry is safe.
    Unavailable = 17, "temporarily unavailable";
    /// No progress within the time allowed.
    TimedOut = 18, "no progress in the time allowed";
    /// Ended on request of the other side.
    Cancelled = 19, "cancelled";
    /// The peer broke the protocol.
    Protocol = 20, "protocol violation";
    /// No common protocol version.
    Version = 21, "protocol versions do not fit";
    /// The peer knows the request but cannot do it.
    Unsupported = 22, "not supported";
    /// The file is larger than the file system or a process limit allows.
    FileTooLarge = 23, "file too large";
}

impl Status {
    /// True where the same request may succeed later without any change (EX_TEMPFAIL of sysexits.h).
    pub fn is_temporary(self) -> bool {
        matches!(self, Status::Unavailable | Status::TimedOut)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// A status with one line that says what happened and, where it helps, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure.
    pub status: Status,
    /// One line; from a peer it is shown escaped.
    pub message: String,
}

impl Failure {
    /// A failure with a message.
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            return f.write_str(self.status.text());
        }
        write!(f, "{}", Escaped::new(self.message.as_bytes()))
    }
}

/// Everything that can go wrong; each variant says who is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This end could not do its part.
    #[error("{0}")]
    Local(Failure),
    /// The other end reported a failure.
    #[error("{0}")]
    Remote(Failure),
    /// The connection broke or fell silent. A reconnect may help.
    #[error("connection lost: {0}")]
    Connection(#[source] io::Error),
    /// The other end broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    Protocol(Cow<'static, str>),
    /// No common version.
    #[error(
        "protocol versions do not fit: this end speaks {ours}, the peer speaks {theirs}; install matching releases"
    )]
    Version {
        /// Version of this end.
        ours: u16,
        /// Version of the peer.
        theirs: u16,
    },
}

impl Error {
    /// A failure of this end.
    pub fn local(status: Status, message: impl Into<String>) -> Self {
        Error::Local(Failure::new(status, message))
    }

    /// An operating-system error of this end, with what was being done (`"open a/b"`).
    pub fn io(doing: impl fmt::Display, error: &io::Error) -> Self {
        Error::local(status_of(error), format!("{doing}: {}", reason(error)))
    }

    /// A violation by the peer.
    pub fn protocol(what: impl Into<Cow<'static, str>>) -> Self {
        Error::Protocol(what.into())
    }

    /// The status that this error has on the wire.
    pub fn status(&self) -> Status {
        match self {
            Error::Local(f) | Error::Remote(f) => f.status,
            Error::Connection(e) if e.kind() == io::ErrorKind::TimedOut => Status::TimedOut,
            Error::Connection(_) => Status::Unavailable,
            Error::Protocol(_) => Status::Protocol,
            Error::Version { .. } => Status::Version,
        }
    }

    /// The error as a status and one line, for the wire.
    pub fn failure(&self) -> Failure {
        match self {
            Error::Local(f) | Error::Remote(f) => f.clone(),
            other => Failure::new(other.status(), other.to_string()),
        }
    }
}

/// The one function that turns an operating-system error into a [`Status`].
pub fn status_of(error: &io::Error) -> Status {
    use rustix::io::Errno;
    if let Some(errno) = error.raw_os_error().map(Errno::from_raw_os_error) {
        match errno {
            Errno::NOENT => return Status::NotFound,
            Errno::EXIST => return Status::Exists,
            Errno::NOTDIR => return Status::NotDirectory,
            Errno::ISDIR => return Status::IsDirectory,
            Errno::NOTEMPTY => return Status::NotEmpty,
            Errno::ACCESS | Errno::PERM | Errno::ROFS => return Status::PermissionDenied,
            Errno::NOSPC | Errno::DQUOT => return Status::DiskFull,
            Errno::FBIG => return Status::FileTooLarge,
            Errno::MFILE | Errno::NFILE | Errno::NOMEM => return Status::Unavailable,
            Errno::TXTBSY | Errno::BUSY | Errno::AGAIN => return Status::Busy,
            Errno::NAMETOOLONG | Errno::INVAL => return Status::Invalid,
            Errno::XDEV | Errno::LOOP => return Status::Denied,
            Errno::NXIO | Errno::NODEV => return Status::NotRegular,
            _ => {}
        }
    }
    match error.kind() {
        io::ErrorKind::NotFound => Status::NotFound,
        io::ErrorKind::PermissionDenied => Status::PermissionDenied,
        io::ErrorKind::AlreadyExists => Status::Exists,
        io::ErrorKind::TimedOut => Status::TimedOut,
        io::ErrorKind::StorageFull => Status::DiskFull,
        _ => Status::Failed,
    }
}

/// The system's own words without Rust's " (os error N)".
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(at) => text.get(..at).unwrap_or(&text).to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_the_wire() {
        for status in Status::ALL {
            assert_eq!(Status::from_wire(*status as u32), *status);
        }
        assert_eq!(Status::from_wire(9999), Status::Failed);
    }

    #[test]
    fn a_system_error_says_what_was_done_and_why() {
        let error = Error::io("open a/b", &io::Error::from_raw_os_error(2));
        assert_eq!(error.to_string(), "open a/b: No such file or directory");
        assert_eq!(error.status(), Status::NotFound);
    }

    #[test]
    fn a_full_disk_has_a_status_of_its_own() {
        for errno in [28, 122] {
            assert_eq!(status_of(&io::Error::from_raw_os_error(errno)), Status::DiskFull);
        }
    }
}
