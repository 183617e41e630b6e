//! The names of one directory, sorted, in as little memory as they need.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::fs::RawDir;

use super::failed;
use crate::error::{Error, Result, Status};
use crate::path::{RemotePath, is_staging_name};

/// What one getdents64(2) call fills.
const BUFFER: usize = 32 * 1024;

/// Names in strictly increasing byte order, without `.`, `..` and staging files.
#[derive(Debug)]
pub(super) struct Listing {
    /// All names, one after the other.
    text: Vec<u8>,
    /// Where each begins, and its length.
    spans: Vec<(u32, u16)>,
    next: usize,
}

impl Listing {
    /// Reads a directory that was just opened; more names than `cap` are refused. `buffer` is kept between calls.
    pub(super) fn read(fd: &OwnedFd, path: &RemotePath, cap: usize, buffer: &mut Vec<u8>) -> Result<Listing> {
        fail::fail_point!("fs::list", path.file_name() == Some(b"unreadable"), |_| {
            Err(failed("list", path, rustix::io::Errno::ACCESS))
        });
        let mut listing = Listing { text: Vec::new(), spans: Vec::new(), next: 0 };
        buffer.clear();
        buffer.reserve(BUFFER);
        let room: &mut [MaybeUninit<u8>] = buffer.spare_capacity_mut();
        let mut entries = RawDir::new(fd, room);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(|errno| failed("list", path, errno))?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." || is_staging_name(name) {
                continue;
            }
            if listing.spans.len() == cap || listing.add(name).is_none() {
                return Err(Error::local(
                    Status::Limit,
                    format!("'{path}' has more than {cap} entries; name a part of it or split it up"),
                ));
            }
        }
        listing.sort();
        Ok(listing)
    }

    /// The next name.
    pub(super) fn peek(&self) -> Option<&[u8]> {
        self.spans.get(self.next).map(|span| name_at(&self.text, *span))
    }

    /// Goes on to the one after it.
    pub(super) fn advance(&mut self) {
        self.next += 1;
    }

    /// `None` where the numbers of a span do not suffice, which takes 4 GiB of names.
    fn add(&mut self, name: &[u8]) -> Option<()> {
        let span = (u32::try_from(self.text.len()).ok()?, u16::try_from(name.len()).ok()?);
        self.text.extend_from_slice(name);
        self.spans.push(span);
        Some(())
    }

    fn sort(&mut self) {
        let text = &self.text;
        self.spans.sort_unstable_by(|one, other| name_at(text, *one).cmp(name_at(text, *other)));
        // getdents(2) may show an entry twice that was renamed while it ran.
        self.spans.dedup_by(|one, other| name_at(text, *one) == name_at(text, *other));
    }
}

fn name_at(text: &[u8], (start, length): (u32, u16)) -> &[u8] {
    let start = start as usize;
    text.get(start..start + usize::from(length)).unwrap_or_default()
}
