//! MAKE_DIR, REMOVE, RENAME: changes to names.

use ft_protocol::auth::Rights;
use ft_protocol::fs::{Kind, Links};
use ft_protocol::wire::Connection;
use ft_protocol::wire::message::{MakeDir, Remove, Rename};
use ft_protocol::{Error, RemotePath, Result, Status};

use super::blocking;
use crate::policy;
use crate::session::Scope;

pub(super) async fn make_dir<S>(conn: &Connection<S>, scope: &Scope, request: &MakeDir) -> Result<()> {
    let path = RemotePath::from_wire(&request.path)?;
    let (root, parents) = (scope.root.clone(), request.parents);
    blocking(conn, move || {
        if !root.make_dir(&path, parents)? && !parents {
            return Err(Error::local(Status::Exists, format!("'{path}' exists")));
        }
        Ok(())
    })
    .await
}

pub(super) async fn remove<S>(conn: &Connection<S>, scope: &Scope, request: &Remove) -> Result<()> {
    let path = RemotePath::from_wire(&request.path)?;
    let (root, recursive) = (scope.root.clone(), request.recursive);
    blocking(conn, move || root.remove(&path, recursive).map(|_| ())).await
}

/// As mv: into an existing directory, otherwise to the new name.
pub(super) async fn rename<S>(conn: &Connection<S>, scope: &Scope, request: &Rename) -> Result<()> {
    let from = RemotePath::from_wire(&request.from)?;
    let to = RemotePath::from_wire(&request.to)?;
    let (root, rights, no_clobber) = (scope.root.clone(), scope.rights, request.no_clobber);
    blocking(conn, move || {
        let found = |path: &RemotePath| match root.stat(path, Links::Refuse) {
            Ok(meta) => Ok(Some(meta)),
            Err(error) if error.status() == Status::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let to = match (found(&to)?, from.file_name()) {
            (Some(meta), Some(name)) if meta.kind == Kind::Dir => to.join(name)?,
            _ => to,
        };
        let exists = found(&to)?.is_some();
        if !(exists && no_clobber) {
            policy::may_place(exists, rights, &to)?;
        }
        root.rename(&from, &to, rights.contains(Rights::OVERWRITE) && !no_clobber)
    })
    .await
}
