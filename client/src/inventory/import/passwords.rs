//! Passwords of imported hosts, each in a file of its own.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
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
}

struct Before {
    path: PathBuf,
    /// `None` where there was no such file.
    contents: Option<Zeroizing<Vec<u8>>>,
}

impl Passwords {
    pub(super) fn beside(config: &Path) -> Self {
        let base = config.parent().unwrap_or(Path::new("")).to_owned();
        Self { base, written: Vec::new(), made_directory: false }
    }

    /// Writes the password of a host. Returns the file as the configuration names it.
    pub(super) fn write(&mut self, name: &str, password: &str) -> Result<PathBuf, ConfigError> {
        let named = file_of(name);
        let path = self.base.join(&named);
        let contents = Zeroizing::new(format!("{password}\n"));
        let failed = |error| ConfigError::Io { path: path.clone(), error };
        self.make_directory().map_err(failed)?;
        let before = match fs::read(&path) {
            Ok(before) => Some(Zeroizing::new(before)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        match before {
            Some(_) => files::replace(&path, 0o600, contents.as_bytes()),
            None => files::create(&path, contents.as_bytes()),
        }
        .map_err(failed)?;
        self.written.push(Before { path, contents: before });
        Ok(named)
    }

    /// Everything else is done.
    pub(super) fn keep(mut self) {
        self.written.clear();
        self.made_directory = false;
    }

    fn make_directory(&mut self) -> io::Result<()> {
        match fs::DirBuilder::new().mode(0o700).create(self.base.join(DIRECTORY)) {
            Ok(()) => self.made_directory = true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        Ok(())
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
