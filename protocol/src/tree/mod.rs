//! Sends and receives directories with all that is in them, as one pipelined operation.

use crate::error::{Error, Result};

/// What became of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Action {
    /// Its content was compared and is equal.
    Equal = 0,
    /// It is new.
    Created = 1,
    /// Something of its name was replaced.
    Replaced = 2,
    /// Only its mode or time was changed.
    Meta = 3,
    /// The source does not have it, and it was removed.
    Deleted = 4,
    /// It exists and was not to be replaced.
    Skipped = 5,
}

impl Action {
    /// The action with this number on the wire.
    pub fn from_wire(code: u32) -> Result<Self> {
        Ok(match code {
            0 => Action::Equal,
            1 => Action::Created,
            2 => Action::Replaced,
            3 => Action::Meta,
            4 => Action::Deleted,
            5 => Action::Skipped,
            _ => return Err(Error::protocol(format!("unknown action {code}"))),
        })
    }
}
