//! Passwords of imported hosts, each in a file of its own.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::config::ConfigError;
use crate::files;

/// Beside the configuration.
const DIRECTORY: &str = "passwords";

/// Where the password of a host goes, beside the configuration.
pub(super) fn file_of(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// The files written so far. Dropped before they are to be kept, they are as they were before.
#[must_use]
pub(super) struct Passwords {
    base: PathBuf,
    written: Vec<Before>,
    made_directory: bool,
    closed_directory: bool,
}

struct Before {
    path: PathBuf,
    /// `None` where there was no such file.
    contents: Option<Zeroizing<Vec<u8>>>,
}

impl Passwords {
    pub(super) fn beside(config: &Path) -> Self {
        let base = config.parent().unwrap_or(Path::new("")).to_owned();
        Self { base, written: Vec::new(), made_directory: false, closed_directory: false }
    }

    /// Writes the password of a host. Returns the file as the configuration names it.
    pub(super) fn write(&mut self, name: &str, password: &str) -> Result<PathBuf, ConfigError> {
        let named = file_of(name);
        let path = self.base.join(&named);
        let contents = Zeroizing::new(format!("{password}\n"));
        let failed = |error| ConfigError::Io { path: path.clone(), error };
        self.make_directory().map_err(failed)?;
        let before = read_regular(&path).map_err(failed)?;
        match before {
            Some(_) => files::replace(&path, 0o600, contents.as_bytes()),
            None => files::create(&path, contents.as_bytes()),
        }
        .map_err(failed)?;
        self.written.push(Before { path, contents: before });
        Ok(named)
    }

    /// Everything else is done. Returns the directory where others could enter it until now.
    pub(super) fn keep(mut self) -> Option<PathBuf> {
        self.written.clear();
        self.made_directory = false;
        self.closed_directory.then(|| self.base.join(DIRECTORY))
    }

    fn make_directory(&mut self) -> io::Result<()> {
        let directory = self.base.join(DIRECTORY);
        match fs::DirBuilder::new().mode(0o700).create(&directory) {
            Ok(()) => self.made_directory = true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let found = fs::metadata(&directory)?;
                if found.is_dir() && found.permissions().mode() & 0o077 != 0 {
                    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))?;
                    self.closed_directory = true;
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// The contents of a file, where there is one. Anything else is not opened: a pipe would be waited for.
fn read_regular(path: &Path) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => fs::read(path).map(|contents| Some(Zeroizing::new(contents))),
        Ok(_) => Err(io::Error::other("it is no regular file; move it out of the way")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Drop for Passwords {
    fn drop(&mut self) {
        // What cannot be undone is no worse than what made this necessary.
        for Before { path, contents } in self.written.drain(..) {
            let _ = match contents {
                Some(contents) => files::replace(&path, 0o600, &contents),
                None => fs::remove_file(&path),
            };
        }
        if self.made_directory {
            let _ = fs::remove_dir(self.base.join(DIRECTORY));
        }
    }
}
