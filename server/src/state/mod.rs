//! The state directory: server key, accounts, invites, and the address last listened on.
//!
//! ```text
//! server.key         private key, PKCS#8 PEM
//! listen             the address that `serve` bound last, one line
//! lock               held while anything here is changed
//! accounts/NAME.toml
//! invites/ID.toml
//! ```

mod store;

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use etcetera::base_strategy::{BaseStrategy, Xdg};
use ft_protocol::display::Escaped;
use ft_protocol::{Error, Status};
use zeroize::Zeroizing;

const LISTEN: &str = "listen";
const LOCK: &str = "lock";
/// Largest file that is read from the state directory, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// What can go wrong with the state directory itself.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Others could read or change what must be private.
    #[error("{} has mode {mode:04o}, others could {danger} it: run `chmod {fix} {}`", shown(.path), shown(.path))]
    Exposed {
        /// What is exposed.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What others could do: `read` or `change`.
        danger: &'static str,
        /// What to give to chmod.
        fix: &'static str,
    },
    /// It belongs to somebody else.
    #[error(
        "{} belongs to user id {owner}, which could not read what user id {ours} makes in it: run this as that \
         user, such as `sudo -u '#{owner}' ftserver …`",
        shown(.path)
    )]
    Foreign {
        /// The state directory.
        path: PathBuf,
        /// User id of its owner.
        owner: u32,
        /// User id that this process has.
        ours: u32,
    },
    /// A file is far larger than anything that belongs there.
    #[error("{} is larger than 1 MiB: it cannot be what belongs there", shown(.0))]
    TooLarge(PathBuf),
    /// There is no place for a default.
    #[error("no home directory to keep state in: give --state DIR")]
    NoHome,
    /// The system refused.
    #[error(transparent)]
    System(#[from] Error),
}

impl StateError {
    pub(crate) fn io(doing: &str, path: &Path, error: &io::Error) -> Self {
        StateError::System(Error::io(format_args!("{doing} {}", path.display()), error))
    }
}

/// A path as it may be shown.
pub(crate) fn shown(path: &Path) -> Escaped<'_> {
    Escaped::new(path.as_os_str().as_bytes())
}

/// Where everything that the server keeps lives. The directory need not exist before something is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// The state directory at `path`, or `$XDG_STATE_HOME/ftserver` (XDG base directory specification).
    pub fn new(path: Option<&Path>) -> Result<Self, StateError> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => {
                Xdg::new().ok().and_then(|xdg| xdg.state_dir()).ok_or(StateError::NoHome)?.join("ftserver")
            }
        };
        let absolute = std::path::absolute(&path).map_err(|e| StateError::io("find", &path, &e))?;
        Ok(Self(absolute))
    }

    /// The directory, absolute.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the directory (mode 0700) where it is missing; refuses one that others can write or own.
    ///
    /// Root could write into anybody's, but would leave files that their server cannot read; and to hand
    /// them over would let that user steer root with links.
    pub fn ensure(&self) -> Result<(), StateError> {
        make_private(&self.0)?;
        self.refuse_exposed()?;
        let meta = self.0.metadata().map_err(|e| StateError::io("look at", &self.0, &e))?;
        let ours = rustix::process::geteuid().as_raw();
        if meta.uid() == ours {
            return Ok(());
        }
        Err(StateError::Foreign { path: self.0.clone(), owner: meta.uid(), ours })
    }

    /// Refuses a directory that others can write; one that does not exist is fine.
    pub fn refuse_exposed(&self) -> Result<(), StateError> {
        let meta = match self.0.metadata() {
            Ok(meta) => meta,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(StateError::io("look at", &self.0, &e)),
        };
        let mode = meta.mode() & 0o7777;
        if mode & 0o022 != 0 {
            return Err(StateError::Exposed { path: self.0.clone(), mode, danger: "change", fix: "700" });
        }
        Ok(())
    }

    /// Waits until nobody else changes the state, and keeps others from it until the guard goes. Makes the
    /// directory where it is missing.
    pub fn lock(&self) -> Result<StateLock, StateError> {
        self.ensure()?;
        let path = self.0.join(LOCK);
        let fail = |e: &io::Error| StateError::io("lock", &path, e);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(|e| fail(&e))?;
        file.lock().map_err(|e| fail(&e))?;
        Ok(StateLock { state: self.clone(), _file: file })
    }

    /// Writes down the address that `serve` is bound to, for `invite`.
    pub fn record_listen(&self, address: SocketAddr) -> Result<(), StateError> {
        self.lock()?.replace(Path::new(LISTEN), format!("{address}\n").as_bytes())
    }

    /// The address that `serve` was bound to last; `None` before its first start.
    pub fn listen(&self) -> Result<Option<SocketAddr>, StateError> {
        let Some(text) = self.read(Path::new(LISTEN))? else { return Ok(None) };
        match text.trim().parse() {
            Ok(address) => Ok(Some(address)),
            Err(_) => {
                let path = self.0.join(LISTEN);
                let message =
                    format!("{}:1: no address in it: remove it and start the server", path.display());
                Err(Error::local(Status::Invalid, message).into())
            }
        }
    }

    /// Reads a private file; `None` where there is none. Refused where others could read it as well.
    pub(crate) fn read(&self, name: &Path) -> Result<Option<Zeroizing<String>>, StateError> {
        let path = self.0.join(name);
        let fail = |e: io::Error| StateError::io("read", &path, &e);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(fail(e)),
        };
        let meta = file.metadata().map_err(fail)?;
        let mode = meta.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(StateError::Exposed { path, mode, danger: "read", fix: "600" });
        }
        if meta.len() > MAX_FILE {
            return Err(StateError::TooLarge(path));
        }
        // Room for all of it at once: a buffer that grows leaves copies of secrets behind.
        let room = usize::try_from(meta.len()).unwrap_or_default() + 1;
        let mut text = Zeroizing::new(String::with_capacity(room));
        file.take(MAX_FILE).read_to_string(&mut text).map_err(fail)?;
        Ok(Some(text))
    }

    /// Names of the files `*.toml` in a subdirectory, without the ending, sorted. Hidden files are left out.
    pub(crate) fn names(&self, directory: &str) -> Result<Vec<String>, StateError> {
        let path = self.0.join(directory);
        let fail = |e: io::Error| StateError::io("list", &path, &e);
        let entries = match path.read_dir() {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(fail(e)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(fail)?.file_name();
            let name = name.to_string_lossy();
            if let Some(name) = name.strip_suffix(".toml").filter(|name| !name.starts_with('.')) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

/// Makes a directory and its parents where they are missing, the directory with mode 0700.
fn make_private(path: &Path) -> Result<(), StateError> {
    let fail = |e: &io::Error| StateError::io("make", path, e);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|e| fail(&e))?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        // The umask may have taken bits from the owner too.
        Ok(()) => std::fs::set_permissions(path, Permissions::from_mode(0o700))
            .and_then(|()| store::sync_parent(path))
            .map_err(|e| fail(&e)),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(e) => Err(fail(&e)),
    }
}

/// The right to change the state, held by one process at a time; [`StateDir::lock`] makes it.
#[derive(Debug)]
pub struct StateLock {
    state: StateDir,
    _file: File,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_private_from_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(Some(&dir.path().join("a/state"))).unwrap();
        state.ensure().unwrap();
        assert_eq!(state.path().metadata().unwrap().mode() & 0o7777, 0o700);
    }

    #[test]
    fn a_directory_that_others_can_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o1777)).unwrap();
        let error = StateDir::new(Some(dir.path())).unwrap().ensure().unwrap_err();
        assert!(error.to_string().contains("chmod 700"), "{error}");
    }

    #[test]
    fn a_directory_of_somebody_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        if std::os::unix::fs::chown(dir.path(), Some(12345), None).is_err() {
            eprintln!("skipped: only root can give a directory away");
            return;
        }
        let error = StateDir::new(Some(dir.path())).unwrap().lock().unwrap_err();
        assert!(error.to_string().contains("sudo -u '#12345'"), "{error}");
    }

    #[test]
    fn the_address_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(Some(dir.path())).unwrap();
        assert_eq!(state.listen().unwrap(), None);
        let address = "[::1]:4711".parse().unwrap();
        state.record_listen(address).unwrap();
        assert_eq!(state.listen().unwrap(), Some(address));
    }
}
