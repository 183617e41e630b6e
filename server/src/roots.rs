//! Directories that are served: they exist, are absolute, and never touch the state directory.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ft_protocol::{Error, Status};

use crate::state::{StateDir, shown};

/// Why a directory cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The root and the state directory overlap.
    #[error(
        "{} cannot be served: it {how} the state directory {}, where the server's key and the accounts are; \
         serve another directory, or move the state with --state",
        shown(.root), shown(.state)
    )]
    OverState {
        /// The directory that was to be served.
        root: PathBuf,
        /// The state directory.
        state: PathBuf,
        /// `contains` or `lies within`.
        how: &'static str,
    },
    /// Not a directory, or not to be reached.
    #[error(transparent)]
    System(#[from] Error),
}

/// The canonical path of a directory that may be served: it exists, and [`refuse_root_over_state`] agrees.
pub fn canonical_root(root: &Path, state: &StateDir) -> Result<PathBuf, RootError> {
    let canonical = canonical_directory(root)?;
    refuse_root_over_state(&canonical, state)?;
    Ok(canonical)
}

/// The canonical path of a directory that exists.
pub(crate) fn canonical_directory(path: &Path) -> Result<PathBuf, RootError> {
    let fail = |e: &io::Error| Error::io(format_args!("root {}", path.display()), e);
    let canonical = path.canonicalize().map_err(|e| fail(&e))?;
    if !canonical.is_dir() {
        let message = format!("root {}: not a directory", path.display());
        return Err(Error::local(Status::NotDirectory, message).into());
    }
    Ok(canonical)
}

/// Refuses a root that contains the state directory or lies within it; whoever could write there could make
/// themselves any account. The state directory need not exist yet.
pub fn refuse_root_over_state(root: &Path, state: &StateDir) -> Result<(), RootError> {
    let fail = |path: &Path, e: io::Error| Error::io(format_args!("look at {}", path.display()), &e);
    let root = root.canonicalize().map_err(|e| fail(root, e))?;
    let existing = existing_ancestor(state.path()).map_err(|e| fail(state.path(), e))?;
    let over = |how| RootError::OverState { root: root.clone(), state: state.path().to_owned(), how };
    // By device and inode, because a bind mount gives one directory a second path.
    if is_at_or_above(&root, &existing).map_err(|e| fail(&existing, e))? {
        return Err(over("contains"));
    }
    if state.path().exists() && is_at_or_above(&existing, &root).map_err(|e| fail(&root, e))? {
        return Err(over("lies within"));
    }
    Ok(())
}

/// The canonical path of the nearest ancestor (or the path itself) that exists.
fn existing_ancestor(path: &Path) -> io::Result<PathBuf> {
    for ancestor in path.ancestors() {
        match ancestor.canonicalize() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// True where `upper` is `lower` or one of the directories above it; both canonical.
fn is_at_or_above(upper: &Path, lower: &Path) -> io::Result<bool> {
    let upper = upper.metadata()?;
    for ancestor in lower.ancestors() {
        let meta = ancestor.metadata()?;
        if (meta.dev(), meta.ino()) == (upper.dev(), upper.ino()) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(root: &str, state: &str) -> Result<PathBuf, RootError> {
        let dir = tempfile::tempdir().unwrap();
        for name in ["data/inner", "state/accounts"] {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        std::os::unix::fs::symlink(dir.path(), dir.path().join("data/up")).unwrap();
        let state = StateDir::new(Some(&dir.path().join(state))).unwrap();
        canonical_root(&dir.path().join(root), &state)
    }

    #[test]
    fn a_root_beside_the_state_is_served() {
        assert!(verdict("data", "state").unwrap().is_absolute());
        assert!(verdict("data/inner", "not/made/yet").is_ok());
    }

    #[test]
    fn a_root_never_touches_the_state() {
        let cases = [
            (".", "state"),
            ("state", "state"),
            ("state/accounts", "state"),
            ("data", "data/not/made/yet"),
            ("data/up", "state"),
            ("data/inner/../..", "data/up/state"),
        ];
        for (root, state) in cases {
            let verdict = verdict(root, state);
            assert!(matches!(verdict, Err(RootError::OverState { .. })), "{root} {state}: {verdict:?}");
        }
    }

    #[test]
    fn a_root_is_a_directory_that_exists() {
        assert!(matches!(verdict("nowhere", "state"), Err(RootError::System(_))));
    }
}
