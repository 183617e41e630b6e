//! What a client reports, and whether trying again is safe.

use ft_protocol::exit::exit_code;
use ft_protocol::{Error, Failure, Status};

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// This end, the server, or the connection between them.
    #[error(transparent)]
    Protocol(#[from] Error),
    /// The server did not let us in.
    #[error("{0}")]
    Login(Failure),
    /// The server's key is not trusted; nothing was sent.
    #[error("{0}")]
    Untrusted(String),
    /// A key or password cannot be used.
    #[error("{0}")]
    Credential(String),
    /// The command that should reach the server could not be started.
    #[error("{0}")]
    Via(String),
    /// The server's name has no address. That seldom changes while one waits.
    #[error("{0}")]
    NoSuchHost(String),
    /// The connection broke after a request that must not be sent twice.
    #[error("outcome unknown: {0}; look at the server before you run it again")]
    OutcomeUnknown(Box<ClientError>),
    /// A command was started, and this end could not stay with it.
    #[error("{0}; the connection was closed, which ends the command")]
    Interrupted(Error),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
}

impl ClientError {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        ClientError::Usage(message.into())
    }

    /// An error of a session that was, or was not yet, logged in.
    pub(super) fn after(error: Error, welcome: bool) -> Self {
        match error {
            Error::Remote(failure) if !welcome && failure.status == Status::AuthFailed => {
                ClientError::Login(failure)
            }
            error => ClientError::Protocol(error),
        }
    }

    /// The status that fits best.
    pub fn status(&self) -> Status {
        match self {
            ClientError::Protocol(error) | ClientError::Interrupted(error) => error.status(),
            ClientError::Login(failure) => failure.status,
            ClientError::Untrusted(_) | ClientError::Credential(_) => Status::AuthFailed,
            ClientError::Via(_) | ClientError::OutcomeUnknown(_) => Status::Failed,
            ClientError::NoSuchHost(_) => Status::Unavailable,
            ClientError::Usage(_) => Status::Invalid,
        }
    }

    /// The exit code that fits.
    pub fn exit_code(&self) -> u8 {
        match self {
            ClientError::Usage(_) => ft_protocol::exit::USAGE,
            other => exit_code(other.status()),
        }
    }

    /// Whether the same request may be made again without doing anything twice.
    pub fn is_retry_safe(&self) -> bool {
        !matches!(self, ClientError::OutcomeUnknown(_) | ClientError::Interrupted(_))
    }

    pub(super) fn is_refused_login(&self) -> bool {
        matches!(self, ClientError::Login(_) | ClientError::Credential(_))
    }

    /// Whether the same request may succeed later without any change.
    pub(super) fn may_help_to_retry(&self) -> bool {
        match self {
            ClientError::Protocol(Error::Connection(_)) => true,
            ClientError::Protocol(error) => error.status().is_temporary(),
            _ => false,
        }
    }
}
