//! What an END says.

use super::message::End;
use crate::error::{Error, Failure, Status};

/// Longest text of an END in bytes, so that it fits its frame whatever it quotes.
const MAX_TEXT: usize = 4096;

impl From<Failure> for End {
    fn from(mut failure: Failure) -> Self {
        let end = (0..=MAX_TEXT).rev().find(|at| failure.message.is_char_boundary(*at)).unwrap_or(0);
        failure.message.truncate(end);
        Self { status: failure.status as u32, message: failure.message }
    }
}

impl End {
    /// The error that an END is where the operation was not done yet.
    pub fn premature(self) -> Error {
        match Status::from_wire(self.status) {
            Status::Ok => Error::protocol("END before the operation was done"),
            status => Error::Remote(Failure::new(status, self.message)),
        }
    }

    /// The error that the end of the session is.
    pub fn of_session(self) -> Error {
        match Status::from_wire(self.status) {
            Status::Ok => Error::Remote(Failure::new(Status::Unavailable, "the peer ended the session")),
            status => Error::Remote(Failure::new(status, self.message)),
        }
    }
}
