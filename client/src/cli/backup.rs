//! `--backup-dir`: where `sync` keeps what it replaces or deletes.

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use ft_protocol::RemotePath;

use super::sync::Direction;
use super::{Hosts, UsageError};
use crate::address::names_remote;

/// A directory on the side of the target, and outside of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupDir {
    /// On the server, never the root.
    Remote(RemotePath),
    /// Here.
    Local(PathBuf),
}

/// The two sides of a `sync`.
pub(super) struct Target<'a> {
    pub(super) direction: Direction,
    pub(super) local: &'a Path,
    pub(super) remote: &'a RemotePath,
}

impl BackupDir {
    /// Refuses what is, holds or lies beneath the target: a later run would delete the backups as something that the
    /// source does not have.
    pub(super) fn plan(dir: &OsStr, target: &Target<'_>, hosts: &mut Hosts) -> Result<Self, UsageError> {
        if dir.is_empty() {
            return Err(UsageError::new("--backup-dir needs the name of a directory"));
        }
        if target.direction == Direction::FromServer {
            if hosts.names_host(dir) {
                return Err(UsageError::new("--backup-dir is on the side of DST, which is local here"));
            }
            let local = hosts.local(dir);
            let (here, there) = (resolved(&local), resolved(target.local));
            outside(dir, there.starts_with(&here), here.starts_with(&there))?;
            return Ok(BackupDir::Local(local));
        }
        let remote =
            if names_remote(dir) { hosts.beside_local(dir)? } else { hosts.remote(dir)? }.literal()?;
        outside(dir, target.remote.starts_with(&remote), remote.starts_with(target.remote))?;
        Ok(BackupDir::Remote(remote))
    }
}

fn outside(dir: &OsStr, holds: bool, beneath: bool) -> Result<(), UsageError> {
    let shown = dir.display();
    match (holds, beneath) {
        (true, _) => Err(UsageError::new(format!(
            "--backup-dir '{shown}' is the directory that becomes equal to another one, or holds it; choose another"
        ))),
        (false, true) => Err(UsageError::new(format!(
            "--backup-dir '{shown}' lies beneath the directory that becomes equal to another one, and a later run \
             would delete it; choose another"
        ))),
        (false, false) => Ok(()),
    }
}

/// A path without links and `..`, as far as it exists; what is missing of it will be made as it is written.
fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut missing: Vec<OsString> = Vec::new();
    let mut above = absolute.components();
    let mut real = loop {
        match (above.as_path().canonicalize(), above.next_back()) {
            (Ok(real), _) => break real,
            (Err(_), Some(part)) => missing.push(part.as_os_str().to_owned()),
            (Err(_), None) => break PathBuf::from("/"),
        }
    };
    for part in Path::new(&missing.into_iter().rev().collect::<PathBuf>()).components() {
        match part {
            Component::ParentDir => drop(real.pop()),
            Component::Normal(name) => real.push(name),
            _ => {}
        }
    }
    real
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_and_missing_names_do_not_hide_where_a_directory_is() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("copy/d")).unwrap();
        symlink("copy/d", top.join("link")).unwrap();
        for (typed, real) in [
            ("copy/d/../x", "copy/x"),
            ("link/old", "copy/d/old"),
            ("link/../old", "copy/old"),
            ("none/../copy/./d/", "copy/d"),
            ("none/a/../b", "none/b"),
        ] {
            assert_eq!(resolved(&top.join(typed)), top.join(real), "{typed}");
        }
        assert_eq!(resolved(Path::new("/")), Path::new("/"));
    }
}
