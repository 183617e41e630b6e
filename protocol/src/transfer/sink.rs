//! Where a received file goes: a staged file, or a stream.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::name::Namer;
use crate::digest::{Algorithm, Hash};
use crate::error::{Error, Result, Status};
use crate::fs::{CommitOptions, Staged, is_zero};
use crate::wire::BLOCK_LEN;

/// Where a received file goes.
pub enum Sink {
    /// A file beneath a held directory.
    File {
        /// Staging file in the directory of the target.
        staged: Staged,
        /// Final name in that directory.
        name: Vec<u8>,
        /// How it gets its final name; `len` is set by the transfer.
        commit: CommitOptions,
        /// What stands under the final name, where this run may have put it there already.
        standing: Option<File>,
    },
    /// A stream that takes each block only after its proof.
    Stream(StreamOut),
}

/// A stream and what it has taken. Outlives a lost connection: a clone goes into the next attempt, which goes
/// on after the last block taken.
#[derive(Clone)]
pub struct StreamOut(Arc<Mutex<Taken>>);

struct Taken {
    out: Box<dyn Write + Send>,
    digests: Vec<Hash>,
    namer: Option<Namer>,
}

impl StreamOut {
    /// A stream that has taken nothing yet. `whole`: compute the plain digest of `algorithm` as well.
    pub fn new(out: Box<dyn Write + Send>, algorithm: Algorithm, whole: bool) -> Result<Self> {
        let namer = if whole { Some(Namer::spawn(algorithm)?) } else { None };
        Ok(Self(Arc::new(Mutex::new(Taken { out, digests: Vec::new(), namer }))))
    }

    /// Whether anything was written.
    pub fn has_begun(&self) -> bool {
        !self.taken().digests.is_empty()
    }

    pub(super) fn digests(&self) -> Vec<Hash> {
        self.taken().digests.clone()
    }

    pub(super) fn write(&self, block: u64, digest: Hash, data: Bytes) -> Result<()> {
        let mut taken = self.taken();
        let earlier = usize::try_from(block).ok().and_then(|block| taken.digests.get(block));
        if earlier == Some(&digest) {
            return Ok(());
        }
        if block != taken.digests.len() as u64 {
            return Err(Error::local(
                Status::Changed,
                "the file changed after its beginning was written out",
            ));
        }
        taken.out.write_all(&data).map_err(|error| Error::io("write the output", &error))?;
        taken.digests.push(digest);
        if let Some(namer) = &mut taken.namer {
            namer.offer(block, data);
        }
        Ok(())
    }

    pub(super) fn finish(&self) -> Result<Option<Hash>> {
        let mut taken = self.taken();
        taken.out.flush().map_err(|error| Error::io("write the output", &error))?;
        taken.namer.take().map(Namer::finish).transpose()
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes one block of a file. A block of zeros in fresh territory is left out: a hole reads as zeros.
pub(super) fn write_block(file: &File, fresh_from: u64, block: u64, data: &[u8]) -> Result<()> {
    let start = block * BLOCK_LEN as u64;
    if start >= fresh_from && data.len() == BLOCK_LEN && is_zero(data) {
        return Ok(());
    }
    file.write_all_at(data, start).map_err(|error| Error::io("write", &error))
}

/// Copies one block between files and gives it back for comparison.
pub(super) fn copy_block(from: &File, to: &File, block: u64, len: usize) -> Result<Vec<u8>> {
    let start = block * BLOCK_LEN as u64;
    let mut data = vec![0; len];
    let mut copy = || -> io::Result<()> {
        from.read_exact_at(&mut data, start)?;
        to.write_all_at(&data, start)
    };
    copy().map_err(|error| Error::io("copy what is there already", &error))?;
    Ok(data)
}
