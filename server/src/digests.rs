//! Plain MD5s that this server computed itself, so that a disk that rots is found out.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ft_protocol::digest::Hash;
use ft_protocol::fs::{Meta, Mtime};

/// Files remembered.
const FILES: usize = 65_536;
/// A file changed more recently than this could change again within the resolution of its times.
const SETTLED: Duration = Duration::from_secs(3);

/// Digests by everything that says which file, and that it did not change.
#[derive(Debug, Default)]
pub(crate) struct Digests(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    known: HashMap<Key, Hash>,
    order: VecDeque<Key>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    dev: u64,
    ino: u64,
    size: u64,
    mtime: Mtime,
    ctime: Mtime,
}

impl Digests {
    /// What was computed of this file in this state.
    pub(crate) fn known(&self, meta: &Meta) -> Option<Hash> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).known.get(&key(meta)).copied()
    }

    /// Remembers what was computed now, unless the file changed just before.
    pub(crate) fn remember(&self, meta: &Meta, hash: Hash) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let settled = now.saturating_sub(SETTLED).as_secs() as i64;
        if meta.mtime.secs >= settled || meta.ctime.secs >= settled {
            return;
        }
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key(meta);
        if memory.known.insert(key, hash).is_none() {
            memory.order.push_back(key);
        }
        if memory.order.len() > FILES
            && let Some(oldest) = memory.order.pop_front()
        {
            memory.known.remove(&oldest);
        }
    }
}

fn key(meta: &Meta) -> Key {
    Key { dev: meta.dev, ino: meta.ino, size: meta.size, mtime: meta.mtime, ctime: meta.ctime }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ft_protocol::digest::sha256;
    use ft_protocol::fs::Kind;

    fn meta(ino: u64, secs: i64) -> Meta {
        let time = Mtime { secs, nanos: 0 };
        Meta {
            kind: Kind::File,
            size: 1,
            mtime: time,
            ctime: time,
            mode: 0,
            dev: 1,
            ino,
            nlink: 1,
            blocks: 1,
        }
    }

    #[test]
    fn a_changed_file_has_no_known_digest_and_a_fresh_one_gets_none() {
        let digests = Digests::default();
        digests.remember(&meta(1, 1000), sha256(b"x"));
        assert!(digests.known(&meta(1, 1000)).is_some());
        assert!(digests.known(&meta(1, 1001)).is_none());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        digests.remember(&meta(2, now), sha256(b"x"));
        assert!(digests.known(&meta(2, now)).is_none());
    }

    #[test]
    fn the_memory_is_bounded() {
        let digests = Digests::default();
        for ino in 0..FILES as u64 + 10 {
            digests.remember(&meta(ino, 1000), sha256(b"x"));
        }
        assert_eq!(digests.0.lock().unwrap().known.len(), FILES);
        assert!(digests.known(&meta(0, 1000)).is_none());
    }
}
