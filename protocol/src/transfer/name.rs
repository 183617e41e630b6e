//! The plain digest of a whole file, computed on a thread of its own beside the transfer.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use crate::digest::{Algorithm, Hash, Whole};
use crate::error::{Error, Result};
use crate::wire::BLOCK_LEN;

/// Blocks that may wait for the thread.
const QUEUE: usize = 2;

/// Takes blocks in the order of the file; what was left out (kept from earlier, or landed out of order) it
/// reads back from the file itself.
pub(crate) struct Namer {
    next: u64,
    work: SyncSender<Work>,
    thread: JoinHandle<io::Result<Hash>>,
}

enum Work {
    Bytes(Bytes),
    Range { file: File, start: u64, len: u64 },
}

impl Namer {
    pub(crate) fn spawn(algorithm: Algorithm) -> Result<Self> {
        let (work, queue) = sync_channel::<Work>(QUEUE);
        let thread = std::thread::Builder::new()
            .name("ft-name".into())
            .spawn(move || {
                let mut whole = Whole::new(algorithm);
                for work in queue {
                    match work {
                        Work::Bytes(bytes) => whole.update(&bytes),
                        Work::Range { file, start, len } => read_into(&mut whole, &file, start, len)?,
                    }
                }
                Ok(whole.finish())
            })
            .map_err(|error| Error::io("start the hashing thread", &error))?;
        Ok(Self { next: 0, work, thread })
    }

    /// Adds block `block` if it is the next in order; otherwise it will be read back.
    pub(crate) fn offer(&mut self, block: u64, data: Bytes) {
        if block == self.next {
            self.next += 1;
            // A failed send means a failed read earlier, which `finish` reports.
            let _ = self.work.send(Work::Bytes(data));
        }
    }

    /// Reads blocks up to `until` (exclusive) back from `file` of `size` bytes where they were left out.
    pub(crate) fn catch_up(&mut self, file: &File, until: u64, size: u64) -> Result<()> {
        if self.next < until {
            let file = file.try_clone().map_err(|error| Error::io("share the file", &error))?;
            let start = self.next * BLOCK_LEN as u64;
            let len = (until * BLOCK_LEN as u64).min(size).saturating_sub(start);
            let _ = self.work.send(Work::Range { file, start, len });
            self.next = until;
        }
        Ok(())
    }

    /// As [`Namer::finish`], calling `beat` now and then while it takes long.
    pub(crate) fn finish_while(self, mut beat: impl FnMut() -> Result<()>) -> Result<Hash> {
        let Self { next, work, thread } = self;
        drop(work);
        let mut pause = Duration::from_millis(1);
        while !thread.is_finished() {
            beat()?;
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(200));
        }
        let (work, _) = sync_channel(1);
        Self { next, work, thread }.finish()
    }

    pub(crate) fn finish(self) -> Result<Hash> {
        drop(self.work);
        match self.thread.join() {
            Ok(hash) => hash.map_err(|error| Error::io("read the file back", &error)),
            Err(_) => Err(Error::local(crate::Status::Failed, "internal error: the hashing thread crashed")),
        }
    }
}

fn read_into(whole: &mut Whole, file: &File, mut start: u64, mut len: u64) -> io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    while len > 0 {
        let want = (buffer.len() as u64).min(len) as usize;
        let Some(room) = buffer.get_mut(..want) else { break };
        file.read_exact_at(room, start)?;
        whole.update(room);
        start += want as u64;
        len -= want as u64;
    }
    Ok(())
}
