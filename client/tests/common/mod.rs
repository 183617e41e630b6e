//! A real server process and the real `ftclient`, in directories that are thrown away.

mod client;
mod disk;
mod fleet;
mod server;
mod signs;
mod terminal;
mod watch;
mod world;

pub(crate) use client::{Ran, Running, events, lines, run};
pub(crate) use disk::TinyDisk;
pub(crate) use fleet::{Fleet, Kind, hosts, states};
pub(crate) use server::{Server, build_supervisor};
pub(crate) use signs::Watched;
pub(crate) use terminal::Terminal;
pub(crate) use watch::{Watch, wait_until_unlocked};
pub(crate) use world::{World, pipe_without_reader, staging_beneath, staging_files};

use std::fmt::Write as _;
use std::time::Duration;

use md5::{Digest as _, Md5};

/// Longest wait for anything that must happen; only a test that fails waits so long. Soak tests move more.
pub(crate) fn patience() -> Duration {
    Duration::from_secs(if is_soak() { 3600 } else { 60 })
}

/// Whether the tests that take minutes are to run.
pub(crate) fn is_soak() -> bool {
    std::env::var_os("FT_SOAK").is_some_and(|value| value == "1")
}

/// Bytes of a block, the unit in which transfers go on.
pub(crate) const BLOCK: u64 = 1024 * 1024;

/// Bytes without any repetition that a misplaced block could hide in; the same for the same `seed`.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// What md5sum prints, by another implementation than the one under test.
pub(crate) fn md5(bytes: &[u8]) -> String {
    hex(&Md5::digest(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
