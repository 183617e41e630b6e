//! Where a directory goes at this end: made, locked, and with a place for what is replaced.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ft_protocol::fs::{Links, Root};
use ft_protocol::tree::{Backup, Place};
use ft_protocol::{Error, RemotePath, Status};

use super::trees::TreeOptions;

/// Opens or makes the destination, and keeps other runs away from it.
pub(super) fn hold(to: &Path, backup: Option<&Path>, options: &TreeOptions) -> ft_protocol::Result<Place> {
    let shown = || super::local::shown(to);
    let mut made = false;
    match to.metadata() {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => {
            return Err(Error::local(
                Status::NotDirectory,
                format!("'{}' exists here and is no directory", shown()),
            ));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if options.dry_run {
                return Ok(Place::default());
            }
            make_dir(to, options.parents)?;
            made = true;
        }
        Err(error) => return Err(Error::io(format_args!("open '{}'", shown()), &error)),
    }
    let tree = Root::open(to)?;
    let backup = backup.map(|backup| keep_in(backup, to)).transpose()?;
    if options.dry_run {
        return Ok(Place { root: Some(tree), made, backup, lock: None });
    }
    let lock =
        tree.dir(&RemotePath::root(), Links::Refuse)?.lock().map_err(|error| match error.status() {
            Status::Busy => Error::local(
                Status::Busy,
                format!("another run works on '{}'; wait for it or stop it", shown()),
            ),
            _ => error,
        })?;
    Ok(Place { root: Some(tree), made, backup, lock: Some(Arc::new(lock)) })
}

/// The directory survives a power cut: so does its name in the one above.
fn make_dir(path: &Path, parents: bool) -> ft_protocol::Result<()> {
    let failed = |error: &std::io::Error| {
        let shown = super::local::shown(path);
        match error.kind() {
            std::io::ErrorKind::NotFound => {
                let message = format!(
                    "the directory above '{shown}' does not exist; make it first (sync does with --mkdirs)"
                );
                Error::local(Status::NotFound, message)
            }
            _ => Error::io(format_args!("make directory '{shown}'"), error),
        }
    };
    let above = path.parent().filter(|above| parents && !above.as_os_str().is_empty());
    above.map_or(Ok(()), std::fs::create_dir_all).map_err(|error| failed(&error))?;
    // It gets its mode as soon as that is known.
    std::fs::DirBuilder::new().mode(0o700).create(path).map_err(|error| failed(&error))?;
    let above: PathBuf = path.components().as_path().parent().map(Path::to_owned).unwrap_or_default();
    Root::open(&above)?.dir(&RemotePath::root(), Links::Refuse)?.sync()
}

/// Compared as the paths are, so that nothing is made before there is something to be kept.
fn keep_in(backup: &Path, to: &Path) -> ft_protocol::Result<Backup> {
    let failed = |path: &Path, error: &std::io::Error| {
        Error::io(format_args!("open the directory for backups '{}'", super::local::shown(path)), error)
    };
    let real = |path: &Path| real_path(path).map_err(|error| failed(path, &error));
    let (real_backup, real_to) = (real(backup)?, real(to)?);
    if real_to.starts_with(&real_backup) {
        return Err(Error::local(
            Status::Invalid,
            format!(
                "the directory for backups '{}' is or holds the destination; name another one",
                super::local::shown(backup)
            ),
        ));
    }
    let within = match real_backup.strip_prefix(&real_to) {
        Ok(rest) => Some(RemotePath::from_wire(rest.as_os_str().as_encoded_bytes())?),
        Err(_) => None,
    };
    let backup = backup.to_owned();
    let open = move || {
        std::fs::create_dir_all(&backup).map_err(|error| failed(&backup, &error))?;
        Root::open(&backup)
    };
    Ok(Backup::new(open, within))
}

/// The path without links, as far as it exists.
fn real_path(path: &Path) -> std::io::Result<PathBuf> {
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Err(error), Some(parent), Some(name)) if error.kind() == std::io::ErrorKind::NotFound => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            Ok(real_path(parent)?.join(name))
        }
        (real, _, _) => real,
    }
}
