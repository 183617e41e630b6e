//! SUM: the digest of a file, read from the disk or remembered.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use ft_protocol::digest::{Algorithm, Hash, Lanes, Root as Proof, Whole, blocks_of};
use ft_protocol::fs::{Links, Meta};
use ft_protocol::wire::message::{Digest, Sum};
use ft_protocol::wire::{BLOCK_LEN, Connection, Sender};
use ft_protocol::{Error, RemotePath, Result, Status};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::{blocking, cancelled, sending};
use crate::digests::Digests;
use crate::session::Scope;

/// While a long file is read, an answer without a digest says how far we are.
const REPORT: Duration = Duration::from_secs(1);

pub(super) async fn run<S>(
    conn: &mut Connection<S>,
    op: u32,
    scope: &Scope,
    digests: &Digests,
    sum: &Sum,
) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let path = RemotePath::from_wire(&sum.path)?;
    let algorithm = Algorithm::from_wire(sum.digest)?;
    let (root, tx) = (scope.root.clone(), conn.tx.clone());
    let (file, meta) = blocking(conn, move || root.open_file(&path, Links::Follow)).await?;
    let known = if algorithm == Algorithm::Md5 { digests.known(&meta) } else { None };
    let (digest, earlier) = match known {
        Some(known) if !sum.fresh => (known, None),
        known => {
            let read = move |stop: &CancellationToken| {
                let digest = digest(&file, meta.size, algorithm, &tx, op, stop)?;
                if !Meta::of(&file)?.unchanged_since(&meta) {
                    return Err(Error::local(Status::Changed, "the file changed while it was read"));
                }
                Ok(digest)
            };
            let digest = sending(conn, op, read).await?;
            if algorithm == Algorithm::Md5 && known.is_none() {
                digests.remember(&meta, digest);
            }
            (digest, known.filter(|known| *known != digest))
        }
    };
    let earlier = earlier.map(|hash| hash.to_vec()).unwrap_or_default();
    conn.tx.send(op, Digest { digest: digest.to_vec(), size: meta.size, earlier }).await
}

fn digest(
    file: &File,
    size: u64,
    algorithm: Algorithm,
    tx: &Sender,
    op: u32,
    stop: &CancellationToken,
) -> Result<Hash> {
    let lanes = Lanes::default();
    let (mut whole, mut proof) = (Whole::new(algorithm), Proof::new(algorithm));
    let (mut buffer, mut reported) = (vec![0; BLOCK_LEN], Instant::now());
    let blocks = blocks_of(size);
    for number in 0..blocks {
        let start = number * BLOCK_LEN as u64;
        let len = (size - start).min(BLOCK_LEN as u64) as usize;
        let block = buffer.get_mut(..len).unwrap_or_default();
        tx.activity().moved();
        file.read_exact_at(block, start).map_err(|error| Error::io("read the file", &error))?;
        match algorithm {
            Algorithm::Md5Tree => proof.add(&algorithm.block(&lanes, block, blocks == 1)),
            Algorithm::Md5 | Algorithm::Sha256 => whole.update(block),
        }
        if reported.elapsed() >= REPORT {
            reported = Instant::now();
            tx.blocking_send(op, Digest { size: start, ..Digest::default() })?;
        } else if tx.is_closed() || stop.is_cancelled() {
            return Err(cancelled());
        }
    }
    Ok(match algorithm {
        Algorithm::Md5Tree => proof.finish(),
        Algorithm::Md5 | Algorithm::Sha256 => whole.finish(),
    })
}
