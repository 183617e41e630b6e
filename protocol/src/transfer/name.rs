//! The plain digest of a whole file, computed on a thread of its own beside the transfer.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use super::outlet::Outlet;
use super::shared::SharedName;
use super::{FileKey, changed};
use crate::digest::{Algorithm, Hash, Root, Whole, blocks_of};
use crate::error::{Error, Result};
use crate::wire::{Activity, BLOCK_LEN};

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
    Range { file: File, start: u64, len: u64, activity: Activity },
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
                        Work::Range { file, start, len, activity } => {
                            read_into(&mut whole, &file, start, len, &activity)?;
                        }
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

    /// Reads blocks up to `until` (exclusive) back from `file` of `size` bytes where they were left out. That may take
    /// long, and whoever offers more meanwhile waits for it, so it is seen as progress of `activity`.
    pub(crate) fn catch_up(&mut self, file: &File, until: u64, size: u64, activity: &Activity) -> Result<()> {
        if self.next < until {
            let file = file.try_clone().map_err(|error| Error::io("share the file", &error))?;
            let start = self.next * BLOCK_LEN as u64;
            let len = (until * BLOCK_LEN as u64).min(size).saturating_sub(start);
            let _ = self.work.send(Work::Range { file, start, len, activity: activity.clone() });
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

/// The plain digest of a file that is sent: of the bytes that pass by, or the one that all its senders share.
pub(crate) enum SourceNamer {
    Own(Namer),
    Shared(SharedName),
}

impl SourceNamer {
    pub(crate) fn own(algorithm: Algorithm) -> Result<Self> {
        Namer::spawn(algorithm).map(Self::Own)
    }

    /// `key`: where digests of `file` are shared.
    pub(crate) fn begin(out: &Outlet, key: Option<&FileKey>, file: &File) -> Result<Self> {
        match (&out.shared, key) {
            (Some(shared), Some(key)) => shared.name(file, key).map(Self::Shared),
            _ => Self::own(out.algorithm),
        }
    }

    /// Block `block` was sent; they come in order. Waits where the digest is far behind.
    pub(crate) fn offer(&mut self, out: &Outlet, block: u64, data: Bytes) -> Result<()> {
        match self {
            Self::Own(namer) => {
                namer.offer(block, data);
                Ok(())
            }
            Self::Shared(name) => name.keep_pace(block * BLOCK_LEN as u64, || out.still_wanted()),
        }
    }

    /// The digest. `source` is the file and how many bytes of it were sent, `proof` the proof of these.
    pub(crate) fn finish(self, out: &Outlet, source: Option<(&File, u64)>, proof: &Hash) -> Result<Hash> {
        match self {
            Self::Own(namer) => namer.finish(),
            Self::Shared(name) => match (name.finish(proof, || out.still_wanted())?, source) {
                (Some(name), _) => Ok(name),
                (None, Some((file, size))) => name_alone(out, file, size, proof),
                (None, None) => Err(changed()),
            },
        }
    }
}

/// Where the shared digest cannot be had, or is of other content: reads once more what was sent, and makes sure that it
/// is that.
fn name_alone(out: &Outlet, file: &File, size: u64, proof: &Hash) -> Result<Hash> {
    let blocks = blocks_of(size);
    let (mut root, mut whole) = (Root::new(out.algorithm), Whole::new(out.algorithm));
    for number in 0..blocks {
        out.still_wanted()?;
        let block = out.read_block(file, number, size)?;
        root.add(&out.digest(block.content(), blocks == 1));
        whole.update(block.content());
    }
    if root.finish() == *proof { Ok(whole.finish()) } else { Err(changed()) }
}

fn read_into(
    whole: &mut Whole,
    file: &File,
    mut start: u64,
    mut len: u64,
    activity: &Activity,
) -> io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    while len > 0 {
        let want = (buffer.len() as u64).min(len) as usize;
        let Some(room) = buffer.get_mut(..want) else { break };
        file.read_exact_at(room, start)?;
        whole.update(room);
        activity.moved();
        start += want as u64;
        len -= want as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_back_is_progress_all_along() {
        let data: Vec<u8> = (0..3 * BLOCK_LEN).map(|i| (i % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, &data).unwrap();
        let activity = Activity::default();
        let mut namer = Namer::spawn(Algorithm::Md5).unwrap();
        namer.catch_up(&file, 3, data.len() as u64, &activity).unwrap();
        let named = namer.finish().unwrap();
        assert_eq!(named, crate::digest::Lanes::default().plain(&data));
        assert!(activity.moves() >= 3, "{} for three blocks", activity.moves());
    }
}
