//! TREE_GET and TREE_PUT: a directory with all that is in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ft_protocol::auth::Rights;
use ft_protocol::digest::Algorithm;
use ft_protocol::fs::{DirLock, Filter, Kind, Links, MAX_NAMES_BYTES, Names, Root};
use ft_protocol::tree::{Backup, Place, ReceiveTree, SendTree, TreeMeter, Unheard, receive_tree, send_tree};
use ft_protocol::wire::message::{TreeGet, TreePut};
use ft_protocol::wire::{Connection, Message};
use ft_protocol::{Error, RemotePath, Result, Status};
use tokio::io::{AsyncRead, AsyncWrite};

use super::blocking;
use crate::policy;
use crate::session::Scope;

/// How long a run waits for another one on the same destination.
const GHOST: Duration = Duration::from_secs(3);
/// Time between two tries.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Sends a tree.
pub(super) async fn get<S>(conn: &mut Connection<S>, op: u32, scope: &Scope, get: TreeGet) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let names = if get.names { Some(names(conn, op).await?) } else { None };
    let path = RemotePath::from_wire(&get.path)?;
    let filter = Filter::from_wire(&get.rules)?;
    let root = scope.root.clone();
    let job = SendTree {
        root: blocking(conn, move || root.beneath(&path, Links::Follow)).await?,
        filter,
        names,
        algorithm: Algorithm::from_wire(get.digest)?,
        whole: false,
        hashes: get.hashes,
        dry_run: get.dry_run,
        rate: None,
        meter: Arc::new(TreeMeter::default()),
        unheard: Unheard::default(),
        on_item: Arc::new(|_| {}),
        shared: None,
    };
    send_tree(conn, op, job).await.map(drop)
}

/// What follows the request where not everything is wanted.
async fn names<S>(conn: &mut Connection<S>, op: u32) -> Result<Names>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let mut bytes = Vec::new();
    loop {
        match conn.rx.next_in(op).await? {
            Message::Names(more) if more.is_empty() => return Names::from_wire(&bytes),
            Message::Names(more) => {
                bytes.extend_from_slice(&more);
                if bytes.len() > MAX_NAMES_BYTES {
                    let what = format!("a list of paths of more than {} bytes; split it up", MAX_NAMES_BYTES);
                    return Err(Error::local(Status::Limit, what));
                }
            }
            Message::Cancel => return Err(super::cancelled()),
            other => return Err(Error::protocol(format!("{} instead of NAMES", other.kind().name()))),
        }
    }
}

/// Receives a tree.
pub(super) async fn put<S>(conn: &mut Connection<S>, op: u32, scope: &Scope, put: TreePut) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let path = RemotePath::from_wire(&put.path)?;
    let algorithm = Algorithm::from_wire(put.digest)?;
    let filter = Filter::from_wire(&put.rules)?;
    let (root, rights, request) = (scope.root.clone(), scope.rights, put.clone());
    let account = format!("{}\0{path}", scope.user);
    let place = blocking(conn, move || prepare(&root, rights, &path, &request)).await?;
    let job = ReceiveTree {
        place: Box::new(move || Ok(place)),
        account,
        rights,
        algorithm,
        whole: false,
        preserve: put.preserve,
        times: put.times,
        no_clobber: put.no_clobber,
        resume: !put.fresh,
        quick: put.quick,
        delete: put.delete.then_some(put.max_delete),
        dry_run: put.dry_run,
        filter,
        rate: None,
        report: true,
        meter: Arc::new(TreeMeter::default()),
        on_item: Arc::new(|_| {}),
    };
    receive_tree(conn, op, job).await.map(drop)
}

/// Opens or makes the place where a tree goes.
fn prepare(root: &Root, rights: Rights, path: &RemotePath, put: &TreePut) -> Result<Place> {
    // What would be removed is a listing of what is there.
    if put.dry_run && put.delete && !rights.contains(Rights::READ) {
        return Err(lacks("read", "a dry run of a deletion"));
    }
    let exists = match root.stat(path, Links::Refuse) {
        Ok(meta) if meta.kind == Kind::Dir => true,
        Ok(_) => {
            let message = format!("'{path}' exists and is no directory");
            return Err(Error::local(Status::NotDirectory, message));
        }
        Err(error) if error.status() == Status::NotFound => false,
        Err(error) => return Err(error),
    };
    if !exists {
        policy::may_place(false, rights, path)?;
        let above = path.split_last().map(|(parent, _)| parent).unwrap_or_default();
        match root.stat(&above, Links::Refuse) {
            Err(error) if error.status() == Status::NotFound && !put.parents => {
                let message = format!("directory '{above}' does not exist; --mkdirs makes missing ones");
                return Err(Error::local(Status::NotFound, message));
            }
            Err(error) if error.status() != Status::NotFound => return Err(error),
            _ => {}
        }
        if put.dry_run {
            return Ok(Place::default());
        }
        make_private(root, path)?;
    }
    let tree = root.beneath(path, Links::Refuse)?;
    let lock = if put.dry_run { None } else { Some(Arc::new(lock(&tree, path)?)) };
    let backup = if put.backup.is_empty() { None } else { backup(root, rights, path, put)? };
    Ok(Place { root: Some(tree), made: !exists, backup, lock })
}

/// Makes what becomes the copy. It gets its mode as soon as that is known.
fn make_private(root: &Root, path: &RemotePath) -> Result<()> {
    let Some((above, name)) = path.split_last() else { return Ok(()) };
    if !above.is_root() {
        root.make_dir(&above, true)?;
    }
    let above = root.dir(&above, Links::Refuse)?;
    above.make_dir_with(name, 0o700)?;
    above.sync()
}

/// The session of a client that was killed ends when its end is noticed here, and what it was writing is put away.
/// Whoever starts that client again at once is not to be told of itself.
fn lock(tree: &Root, path: &RemotePath) -> Result<DirLock> {
    let dir = tree.dir(&RemotePath::root(), Links::Refuse)?;
    let end = Instant::now() + GHOST;
    loop {
        match dir.lock() {
            Err(error) if error.status() == Status::Busy => {
                if Instant::now() >= end {
                    let message = format!("another run works on '{path}'; wait for it or stop it");
                    return Err(Error::local(Status::Busy, message));
                }
                std::thread::sleep(LOOK_AGAIN);
            }
            locked => return locked,
        }
    }
}

fn backup(root: &Root, rights: Rights, path: &RemotePath, put: &TreePut) -> Result<Option<Backup>> {
    if !rights.contains(Rights::WRITE) {
        return Err(lacks("create and overwrite", "a directory for backups"));
    }
    let backup = RemotePath::from_wire(&put.backup)?;
    if path.starts_with(&backup) {
        let message = format!("the directory for backups '{backup}' is or holds '{path}'; name another one");
        return Err(Error::local(Status::Invalid, message));
    }
    match root.beneath(&backup, Links::Refuse) {
        Ok(_) => {}
        // It is made when there is something to keep.
        Err(error) if error.status() == Status::NotFound => policy::may_place(false, rights, &backup)?,
        Err(error) => return Err(error),
    }
    let (root, within) = (root.clone(), backup.beneath(path));
    let open = move || {
        root.make_dir(&backup, true)?;
        root.beneath(&backup, Links::Refuse)
    };
    Ok(Some(Backup::new(open, within)))
}

fn lacks(right: &str, what: &str) -> Error {
    Error::local(
        Status::Denied,
        format!("{what} needs the right {right}, which the account lacks; ask the server's operator"),
    )
}
