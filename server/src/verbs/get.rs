//! GET: send a file.

use ft_protocol::digest::Algorithm;
use ft_protocol::fs::Links;
use ft_protocol::transfer::{Meter, SendJob, Source, send};
use ft_protocol::wire::Connection;
use ft_protocol::wire::message::Get;
use ft_protocol::{RemotePath, Result};
use tokio::io::{AsyncRead, AsyncWrite};

use super::blocking;
use crate::digests::Digests;
use crate::session::Scope;

pub(super) async fn run<S>(
    conn: &mut Connection<S>,
    op: u32,
    scope: &Scope,
    digests: &Digests,
    get: &Get,
) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let path = RemotePath::from_wire(&get.path)?;
    let algorithm = Algorithm::from_wire(get.digest)?;
    let root = scope.root.clone();
    let (file, meta) = blocking(conn, move || root.open_file(&path, Links::Follow)).await?;
    let known = if algorithm == Algorithm::Md5 { digests.known(&meta) } else { None };
    let meter = std::sync::Arc::new(Meter::default());
    let source = Source::File { file, meta };
    // The client computes the plain MD5 of what it wrote; the proof makes both copies equal.
    let job = SendJob { source, algorithm, whole: false, known, meter, rate: None, shared: None };
    send(conn, op, job).await?;
    Ok(())
}
