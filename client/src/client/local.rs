//! Single files at this end.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ft_protocol::fs::{CommitOptions, Dir, Kind, Links, Meta, ModeRule, Root, Staged};
use ft_protocol::transfer::{FileInfo, Sink};
use ft_protocol::wire::BLOCK_LEN;
use ft_protocol::{Error, RemotePath, Status};

use super::{Result, TransferOptions};

/// Partial files that nobody came back for are removed after this long.
const ABANDONED: Duration = Duration::from_secs(7 * 24 * 3600);

/// A name in a local directory that is held open.
#[derive(Debug, Clone)]
pub struct LocalFile {
    dir: Dir,
    name: Vec<u8>,
    shown: PathBuf,
}

impl LocalFile {
    /// The file `name` in directory `dir`, which is resolved as the user's shell would. The name may be any
    /// that a file can have; it never leads out of the directory.
    pub fn new(dir: &Path, name: &[u8]) -> Result<Self> {
        ft_protocol::path::check_name(name)?;
        let held = Root::open(dir)?.dir(&RemotePath::root(), Links::Follow)?;
        Ok(Self { dir: held, name: name.to_vec(), shown: dir.join(OsStr::from_bytes(name)) })
    }

    /// Whether something stands under the name.
    pub fn exists(&self) -> Result<bool> {
        Ok(self.dir.lookup(&self.name)?.is_some())
    }

    /// Takes the remote file `path` of this account, or goes on with what an earlier run left of it.
    pub(super) fn sink(
        &self,
        account: &str,
        path: &RemotePath,
        options: &TransferOptions,
        info: &FileInfo,
    ) -> ft_protocol::Result<Sink> {
        self.stage(account, path, options, info).map_err(|error| {
            let failure = error.failure();
            Error::local(failure.status, format!("'{}': {}", shown(&self.shown), failure.message))
        })
    }

    fn stage(
        &self,
        account: &str,
        path: &RemotePath,
        options: &TransferOptions,
        info: &FileInfo,
    ) -> ft_protocol::Result<Sink> {
        let standing = self.dir.lookup(&self.name)?;
        match standing.map(|meta| meta.kind) {
            Some(Kind::Dir) => return Err(Error::local(Status::IsDirectory, "is a directory")),
            Some(Kind::Other) => {
                return Err(Error::local(
                    Status::NotRegular,
                    "is a device, FIFO or socket and is not replaced",
                ));
            }
            Some(Kind::File | Kind::Symlink) if options.no_clobber => {
                return Err(Error::local(Status::Exists, "exists and was not to be replaced"));
            }
            _ => {}
        }
        self.dir.sweep_staging(ABANDONED);
        let resumable = options.resume && info.size.is_some_and(|size| size > BLOCK_LEN as u64);
        let staged = if resumable {
            Staged::partial(&self.dir, info.partial_key(account, path))?
        } else {
            Staged::temp(&self.dir)?
        };
        let commit = CommitOptions {
            len: 0,
            replace: !options.no_clobber,
            mtime: options.preserve.then_some(info.mtime),
            mode: if options.preserve { ModeRule::Preserve(info.mode) } else { ModeRule::Default(info.mode) },
        };
        Ok(Sink::File { staged, name: self.name.clone(), commit, standing: None })
    }
}

/// Regular files only: opening a FIFO would wait for its other end.
pub(super) fn open_source(path: &Path) -> ft_protocol::Result<(File, Meta)> {
    let failed = |error: &std::io::Error| Error::io(format_args!("open '{}'", shown(path)), error);
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
    let fd =
        rustix::fs::open(path, flags, rustix::fs::Mode::empty()).map_err(|errno| failed(&errno.into()))?;
    let file = File::from(fd);
    let meta = Meta::of(&file)?;
    match meta.kind {
        Kind::File => Ok((file, meta)),
        Kind::Dir => Err(Error::local(Status::IsDirectory, format!("'{}' is a directory", shown(path)))),
        Kind::Symlink | Kind::Other => Err(Error::local(
            Status::NotRegular,
            format!("'{}' is no regular file; send a pipe with 'put - NAME'", shown(path)),
        )),
    }
}

pub(super) fn shown(path: &Path) -> String {
    ft_protocol::display::Escaped::new(path.as_os_str().as_bytes()).to_string()
}

pub(super) fn internal(error: &tokio::task::JoinError) -> Error {
    Error::local(Status::Failed, format!("internal error: {error}"))
}
