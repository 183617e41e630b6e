//! LIST and STAT: what is there.

use bytes::BytesMut;
use ft_protocol::fs::{Kind, Links, Meta, Root};
use ft_protocol::wire::message::{Entry, List, Stat};
use ft_protocol::wire::{Connection, Message};
use ft_protocol::{RemotePath, Result};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{blocking, cancelled, sending};
use crate::session::Scope;

/// Entries are sent in pieces of about this many bytes.
const PIECE: usize = 32 * 1024;

pub(super) async fn run<S>(conn: &mut Connection<S>, op: u32, scope: &Scope, list: &List) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let path = RemotePath::from_wire(&list.path)?;
    let (root, tx) = (scope.root.clone(), conn.tx.clone());
    sending(conn, op, move |stop| {
        let dir = root.dir(&path, Links::Follow)?;
        let mut piece = BytesMut::new();
        for entry in dir.list()? {
            let target = match entry.meta.kind {
                Kind::Symlink => dir.read_link(&entry.name).unwrap_or_default(),
                _ => Vec::new(),
            };
            Message::from(describe(entry.name, &entry.meta, target)).encode(op, &mut piece);
            if stop.is_cancelled() {
                return Err(cancelled());
            }
            if piece.len() >= PIECE {
                tx.blocking_send_bytes(piece.split().freeze())?;
            }
        }
        tx.blocking_send_bytes(piece.freeze())
    })
    .await
}

pub(super) async fn stat<S>(conn: &mut Connection<S>, op: u32, scope: &Scope, stat: &Stat) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let path = RemotePath::from_wire(&stat.path)?;
    let links = if stat.no_follow { Links::Refuse } else { Links::Follow };
    let root = scope.root.clone();
    let entry = blocking(conn, move || look(&root, &path, links)).await?;
    conn.tx.send(op, entry).await
}

fn look(root: &Root, path: &RemotePath, links: Links) -> Result<Entry> {
    let meta = root.stat(path, links)?;
    let target = match meta.kind {
        Kind::Symlink => root.read_link(path, Links::Follow).unwrap_or_default(),
        _ => Vec::new(),
    };
    Ok(describe(Vec::new(), &meta, target))
}

fn describe(name: Vec<u8>, meta: &Meta, target: Vec<u8>) -> Entry {
    let kind = match meta.kind {
        Kind::File => 1,
        Kind::Dir => 2,
        Kind::Symlink => 3,
        Kind::Other => 4,
    };
    Entry {
        name,
        kind,
        size: meta.size,
        mtime: meta.mtime.secs,
        mtime_nanos: meta.mtime.nanos,
        mode: meta.mode,
        target,
    }
}
