//! Where the paths of a client begin.

use ft_protocol::{Error, RemotePath, Status};

/// A directory of the account, which the caller takes for the root. On the wire paths begin in the account's own.
#[derive(Debug, Clone, Default)]
pub(super) struct Origin(RemotePath);

impl Origin {
    pub(super) fn new(root: RemotePath) -> Self {
        Self(root)
    }

    /// The server's path for one of the caller's. Error: [`Status::Invalid`] where it is too long for the wire.
    pub(super) fn outward(&self, path: &RemotePath) -> ft_protocol::Result<RemotePath> {
        self.0.join_path(path)
    }

    /// As [`Origin::outward`], for a name that is to go away: to the caller this directory is what the account's root
    /// is to the server.
    pub(super) fn outward_name(&self, path: &RemotePath) -> ft_protocol::Result<RemotePath> {
        if path.is_root() && !self.0.is_root() {
            return Err(Error::local(Status::Invalid, "the root itself cannot be renamed or removed"));
        }
        self.outward(path)
    }

    /// The caller's path for one that the server named. Errors: [`Error::Protocol`].
    pub(super) fn inward(&self, path: &[u8]) -> ft_protocol::Result<RemotePath> {
        let path = RemotePath::from_wire(path).map_err(|error| Error::protocol(error.to_string()))?;
        path.beneath(&self.0).ok_or_else(|| {
            Error::protocol(format!("the answer names '{path}', which is not beneath '{}'", self.0))
        })
    }
}
