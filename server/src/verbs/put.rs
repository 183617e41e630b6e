//! PUT: receive a file.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use ft_protocol::auth::Rights;
use ft_protocol::digest::Algorithm;
use ft_protocol::fs::{CommitOptions, Dir, Kind, Links, ModeRule, Root, Staged};
use ft_protocol::transfer::{FileInfo, Meter, ReceiveJob, Sink, receive};
use ft_protocol::wire::message::{FileResult, Put};
use ft_protocol::wire::{Connection, Message};
use ft_protocol::{Error, RemotePath, Result, Status};
use tokio::io::{AsyncRead, AsyncWrite};

use super::blocking;
use crate::policy;
use crate::session::Scope;

/// Partial files that nobody came back for are removed after this long.
const ABANDONED: Duration = Duration::from_secs(7 * 24 * 3600);

pub(super) async fn run<S>(conn: &mut Connection<S>, op: u32, scope: &Scope, put: Put) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let Message::File(file) = conn.rx.next_in(op).await? else {
        return Err(Error::protocol("FILE was due after PUT"));
    };
    let info = FileInfo::from_wire(&file)?;
    let algorithm = Algorithm::from_wire(put.digest)?;
    let (root, user, rights) = (scope.root.clone(), scope.user.clone(), scope.rights);
    let (sink, path) = blocking(conn, move || prepare(&root, &user, rights, &put, &info)).await?;
    let meter = Arc::new(Meter::default());
    let job = ReceiveJob { info, sink, algorithm, whole: false, known: None, meter, rate: None };
    let received = receive(conn, op, job).await?;
    let result = FileResult { file: 0, digest: received.proof.to_vec(), path: path.as_bytes().to_vec() };
    conn.tx.send(op, result).await
}

/// Decides where the file goes and whether it may, before any content is read.
fn prepare(
    root: &Root,
    user: &str,
    rights: Rights,
    put: &Put,
    info: &FileInfo,
) -> Result<(Sink, RemotePath)> {
    let (dir, path, name) = place(root, rights, put)?;
    let standing = dir.lookup(&name)?;
    match standing.map(|meta| meta.kind) {
        Some(Kind::Dir) => return Err(Error::local(Status::IsDirectory, format!("'{path}' is a directory"))),
        Some(Kind::Other) => {
            let message = format!("'{path}' is a device, FIFO or socket and is not replaced");
            return Err(Error::local(Status::NotRegular, message));
        }
        Some(Kind::File | Kind::Symlink) | None => {}
    }
    let may = match standing {
        Some(_) if put.no_clobber => {
            Err(Error::local(Status::Exists, format!("'{path}' exists and was not to be replaced")))
        }
        _ => policy::may_place(standing.is_some(), rights, &path),
    };
    // The answer to an earlier attempt of this run may have been lost after it had succeeded.
    let candidate = match standing {
        Some(meta) if put.again && meta.kind == Kind::File && info.size == Some(meta.size) => {
            open(&dir, &name)
        }
        _ => None,
    };
    if let Err(error) = may
        && candidate.is_none()
    {
        return Err(error);
    }
    dir.sweep_staging(ABANDONED);
    let resumable = !put.fresh && info.size.is_some_and(|size| size > ft_protocol::wire::BLOCK_LEN as u64);
    let staged = match resumable {
        true => Staged::partial(&dir, info.partial_key(user, &path))?,
        false => Staged::temp(&dir)?,
    };
    let commit = CommitOptions {
        len: 0,
        replace: rights.contains(Rights::OVERWRITE) && !put.no_clobber,
        mtime: put.preserve.then_some(info.mtime),
        mode: if put.preserve { ModeRule::Preserve(info.mode) } else { ModeRule::Default(info.mode) },
    };
    Ok((Sink::File { staged, name, commit, standing: candidate }, path))
}

/// cp's rule: into an existing directory under the source's name, otherwise under the name given.
fn place(root: &Root, rights: Rights, put: &Put) -> Result<(Dir, RemotePath, Vec<u8>)> {
    let target = RemotePath::from_wire(&put.path)?;
    if put.parents {
        let directory =
            if put.into { Some(target.clone()) } else { target.split_last().map(|(parent, _)| parent) };
        if let Some(directory) = directory.filter(|directory| !directory.is_root()) {
            match root.stat(&directory, Links::Refuse) {
                Err(error) if error.status() == Status::NotFound => {
                    policy::may_place(false, rights, &directory)?;
                    root.make_dir(&directory, true)?;
                }
                _ => {}
            }
        }
    }
    let is_dir = match root.stat(&target, Links::Refuse) {
        // cp would follow it; a write here never does, and replacing it is hardly what is wanted.
        Ok(meta) if meta.kind == Kind::Symlink && leads_to_directory(root, &target) => {
            let message = format!("'{target}' is a symbolic link to a directory; name the directory itself");
            return Err(Error::local(Status::IsDirectory, message));
        }
        Ok(meta) => meta.kind == Kind::Dir,
        Err(error) if error.status() == Status::NotFound => false,
        Err(error) => return Err(error),
    };
    let path = match (is_dir, put.into) {
        (true, _) if put.name.is_empty() => {
            let message = format!("'{target}' is a directory; a pipe needs the name of a file");
            return Err(Error::local(Status::IsDirectory, message));
        }
        (true, _) => target.join(&put.name)?,
        (false, true) => {
            let message = format!("'{target}' is no directory; --mkdirs makes missing ones");
            return Err(Error::local(Status::NotDirectory, message));
        }
        (false, false) => target,
    };
    let Some((parent, name)) = path.split_last() else {
        return Err(Error::local(Status::IsDirectory, "the root is a directory"));
    };
    let dir = root.dir(&parent, Links::Refuse).map_err(|error| match error.status() {
        Status::NotFound => {
            let message = format!("directory '{parent}' does not exist; --mkdirs makes missing ones");
            Error::local(Status::NotFound, message)
        }
        _ => error,
    })?;
    let name = name.to_vec();
    Ok((dir, path, name))
}

fn leads_to_directory(root: &Root, path: &RemotePath) -> bool {
    root.stat(path, Links::Follow).is_ok_and(|meta| meta.kind == Kind::Dir)
}

fn open(dir: &Dir, name: &[u8]) -> Option<File> {
    dir.open_file(name).ok().map(|(file, _)| file)
}
