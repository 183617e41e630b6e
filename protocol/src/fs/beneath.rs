//! Opening a path beneath a held descriptor: openat2(2) where the kernel has it, otherwise one component at a
//! time without following links.

use std::fmt::Display;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use super::failed;
use crate::error::{Error, Result, Status};
use crate::path::RemotePath;

/// What happens to symbolic links in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// Followed as long as they stay beneath the root; for paths that a read request names.
    Follow,
    /// Refused; for writes and tree walks.
    Refuse,
}

/// How paths are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walker {
    /// openat2(2), Linux ≥ 5.6.
    Openat2,
    /// Component by component with `O_NOFOLLOW`. Refuses links even where they may be followed: without the
    /// kernel's help there is no race-free way to see that they stay beneath.
    Components,
}

/// Flags that hold a directory without any right to it.
pub(super) const HOLD: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Flags that open a directory for listing and fsync(2).
pub(super) const READ_DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Flags that open a file for reading without waiting for a FIFO's writer or becoming a terminal's owner.
pub(super) const READ_FILE: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// openat2 gives EAGAIN where a rename elsewhere made it unsure about a `..` in a link.
const MAX_RETRIES: u32 = 128;

impl Walker {
    /// The best that this kernel offers beneath `base`. A container's seccomp filter may answer EPERM.
    pub(super) fn probe(base: BorrowedFd<'_>) -> Walker {
        match openat2(base, ".", HOLD, Mode::empty(), resolve(Links::Refuse)) {
            Ok(_) => Walker::Openat2,
            Err(_) => Walker::Components,
        }
    }

    /// Opens `path` beneath `base`.
    ///
    /// With `O_PATH | O_NOFOLLOW` a link in last place is opened itself, whatever `links` says.
    pub(super) fn open(
        self,
        base: BorrowedFd<'_>,
        path: &RemotePath,
        flags: OFlags,
        links: Links,
    ) -> Result<OwnedFd> {
        let opened = match self {
            Walker::Openat2 => open_at_once(base, path, flags, links),
            Walker::Components => open_stepwise(base, path, flags),
        };
        opened.map_err(|errno| match (errno, links, self) {
            (Errno::LOOP, Links::Follow, Walker::Components) => denied(
                path,
                "is or passes through a symbolic link, which needs Linux 5.6 to be followed safely; \
                 name its target",
            ),
            (Errno::LOOP, Links::Follow, Walker::Openat2) => {
                denied(path, "passes through too many or magic symbolic links")
            }
            _ => explain(path, errno),
        })
    }
}

/// The error of an open that follows no link.
pub(super) fn explain(shown: impl Display, errno: Errno) -> Error {
    match errno {
        Errno::XDEV => denied(shown, "leaves the root through a symbolic link"),
        Errno::LOOP => {
            denied(shown, "is or passes through a symbolic link, which is not followed here; name its target")
        }
        Errno::AGAIN => Error::local(
            Status::Busy,
            format!("'{shown}' is in use, or directories are being renamed all the time; try again"),
        ),
        Errno::NXIO | Errno::NODEV => not_regular(shown),
        _ => failed("open", shown, errno),
    }
}

fn denied(shown: impl Display, what: &str) -> Error {
    Error::local(Status::Denied, format!("'{shown}' {what}"))
}

/// The error for a FIFO, device or socket where a file was expected.
pub(super) fn not_regular(shown: impl Display) -> Error {
    Error::local(
        Status::NotRegular,
        format!("'{shown}' is a FIFO, device or socket; only regular files are transferred"),
    )
}

/// True where `name` in `dir` is a symbolic link.
pub(super) fn is_link(dir: BorrowedFd<'_>, name: &[u8]) -> bool {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

/// Opens one name of a held directory without following it; ELOOP for links, with `O_DIRECTORY` too.
pub(super) fn open_name(dir: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    openat(dir, name, flags | OFlags::NOFOLLOW, Mode::empty()).map_err(|errno| match errno {
        Errno::NOTDIR if is_link(dir, name) => Errno::LOOP,
        other => other,
    })
}

fn resolve(links: Links) -> ResolveFlags {
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match links {
        Links::Follow => beneath,
        Links::Refuse => beneath | ResolveFlags::NO_SYMLINKS,
    }
}

fn open_at_once(
    base: BorrowedFd<'_>,
    path: &RemotePath,
    flags: OFlags,
    links: Links,
) -> Result<OwnedFd, Errno> {
    for _ in 0..MAX_RETRIES {
        match openat2(base, path.as_os_str(), flags, Mode::empty(), resolve(links)) {
            Err(Errno::AGAIN | Errno::INTR) => std::thread::yield_now(),
            done => return done,
        }
    }
    Err(Errno::AGAIN)
}

fn open_stepwise(base: BorrowedFd<'_>, path: &RemotePath, flags: OFlags) -> Result<OwnedFd, Errno> {
    let Some((parents, last)) = path.split_last() else {
        return openat(base, ".", flags, Mode::empty());
    };
    let mut held: Option<OwnedFd> = None;
    for name in parents.components() {
        let at = held.as_ref().map_or(base, AsFd::as_fd);
        held = Some(open_name(at, name, HOLD)?);
    }
    let at = held.as_ref().map_or(base, AsFd::as_fd);
    let opened = open_name(at, last, flags)?;
    // O_PATH with O_NOFOLLOW opens a link itself, which is an answer only to those who asked for it.
    if flags.contains(OFlags::PATH) && !flags.contains(OFlags::NOFOLLOW) {
        let stat = rustix::fs::fstat(&opened)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            return Err(Errno::LOOP);
        }
    }
    Ok(opened)
}
