//! What a client can ask for: one file a verb.

mod change;
mod exec;
mod get;
mod list;
mod put;
mod sum;
mod tree;

use ft_protocol::wire::message::{
    Exec, Get, List, MakeDir, Put, Remove, Rename, Stat, Sum, TreeGet, TreePut,
};
use ft_protocol::wire::{Connection, Message};
use ft_protocol::{Error, Result, Status};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::digests::Digests;
use crate::process::Launcher;
use crate::session::Scope;

/// A request.
pub(crate) enum Verb {
    Get(Get),
    Put(Put),
    List(List),
    Stat(Stat),
    Sum(Sum),
    MakeDir(MakeDir),
    Remove(Remove),
    Rename(Rename),
    Exec(Exec),
    TreeGet(TreeGet),
    TreePut(TreePut),
}

impl Verb {
    /// The request in a message that begins an operation.
    pub(crate) fn from_request(message: Message) -> Result<Self> {
        Ok(match message {
            Message::Get(get) => Verb::Get(get),
            Message::Put(put) => Verb::Put(put),
            Message::List(list) => Verb::List(list),
            Message::Stat(stat) => Verb::Stat(stat),
            Message::Sum(sum) => Verb::Sum(sum),
            Message::MakeDir(make_dir) => Verb::MakeDir(make_dir),
            Message::Remove(remove) => Verb::Remove(remove),
            Message::Rename(rename) => Verb::Rename(rename),
            Message::Exec(exec) => Verb::Exec(exec),
            Message::TreeGet(get) => Verb::TreeGet(get),
            Message::TreePut(put) => Verb::TreePut(put),
            other => return Err(Error::protocol(format!("{} is no request", other.kind().name()))),
        })
    }

    /// Its name as users know it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Verb::Get(_) => "get",
            Verb::Put(_) => "put",
            Verb::List(_) => "ls",
            Verb::Stat(_) => "stat",
            Verb::Sum(_) => "sum",
            Verb::MakeDir(_) => "mkdir",
            Verb::Remove(_) => "rm",
            Verb::Rename(_) => "mv",
            Verb::Exec(_) => "exec",
            Verb::TreeGet(_) => "get -r",
            Verb::TreePut(_) => "put -r",
        }
    }

    /// The path that it is about, as it came; for logs.
    pub(crate) fn path(&self) -> &[u8] {
        match self {
            Verb::Get(get) => &get.path,
            Verb::Put(put) => &put.path,
            Verb::List(list) => &list.path,
            Verb::Stat(stat) => &stat.path,
            Verb::Sum(sum) => &sum.path,
            Verb::MakeDir(make_dir) => &make_dir.path,
            Verb::Remove(remove) => &remove.path,
            Verb::Rename(rename) => &rename.from,
            // What it runs is in the audit line.
            Verb::Exec(exec) => &exec.cwd,
            Verb::TreeGet(get) => &get.path,
            Verb::TreePut(put) => &put.path,
        }
    }
}

/// Told of a verb that the policy does not allow.
pub(crate) fn refused(scope: &Scope, verb: &Verb, why: &Error) {
    if let Verb::Exec(request) = verb {
        exec::refused(scope, request, why);
    }
}

/// Runs a verb that the policy allows. The caller ends the operation.
pub(crate) async fn run<S>(
    conn: &mut Connection<S>,
    op: u32,
    scope: &Scope,
    digests: &Digests,
    launcher: &Launcher,
    verb: Verb,
) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    match verb {
        Verb::Get(get) => get::run(conn, op, scope, digests, &get).await,
        Verb::Put(put) => put::run(conn, op, scope, put).await,
        Verb::List(list) => list::run(conn, op, scope, &list).await,
        Verb::Stat(stat) => list::stat(conn, op, scope, &stat).await,
        Verb::Sum(sum) => sum::run(conn, op, scope, digests, &sum).await,
        Verb::MakeDir(make_dir) => change::make_dir(conn, scope, &make_dir).await,
        Verb::Remove(remove) => change::remove(conn, scope, &remove).await,
        Verb::Rename(rename) => change::rename(conn, scope, &rename).await,
        Verb::Exec(exec) => exec::run(conn, op, scope, launcher, exec).await,
        Verb::TreeGet(get) => tree::get(conn, op, scope, get).await,
        Verb::TreePut(put) => tree::put(conn, op, scope, put).await,
    }
}

/// File-system work on a blocking thread that sends nothing, so that a long one is no stall of the client's.
async fn blocking<S, T>(conn: &Connection<S>, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T>
where
    T: Send + 'static,
{
    let busy = conn.tx.activity().busy();
    // It belongs to the connection, so that the session ends after it.
    let worked = conn.workers.spawn_blocking(move || {
        let _busy = busy;
        work()
    });
    worked.await.map_err(|error| crashed(&error))?
}

/// Work on a blocking thread that sends. It is told when the client cancels, and should look often.
async fn sending<S, T>(
    conn: &mut Connection<S>,
    op: u32,
    work: impl FnOnce(&CancellationToken) -> Result<T> + Send + 'static,
) -> Result<T>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
    T: Send + 'static,
{
    let stop = CancellationToken::new();
    // Also where this future is dropped.
    let _guard = stop.clone().drop_guard();
    let told = stop.clone();
    let mut worker = conn.workers.spawn_blocking(move || work(&told));
    tokio::select! {
        worked = &mut worker => return worked.map_err(|error| crashed(&error))?,
        message = conn.rx.next_in(op) => match message? {
            Message::Cancel | Message::End(_) => {}
            other => return Err(Error::protocol(format!("{} after the request", other.kind().name()))),
        },
    }
    stop.cancel();
    worker.await.map_err(|error| crashed(&error))??;
    Err(cancelled())
}

fn cancelled() -> Error {
    Error::local(Status::Cancelled, "cancelled")
}

fn crashed(error: &tokio::task::JoinError) -> Error {
    Error::local(Status::Failed, format!("internal error: {error}"))
}
