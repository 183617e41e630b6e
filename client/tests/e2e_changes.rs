//! Files that change while they are read: never silently something that never was.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use common::{BLOCK, Running, Watch, World, md5, noise, staging_files};

/// Longer than what both ends and the kernel between them hold in buffers: when the client has its first
/// blocks, the server has not read the last ones.
const GET_SIZE: u64 = 48 * BLOCK;
/// A put is held back where it reads.
const PUT_SIZE: u64 = 8 * BLOCK;

/// A file of which a copy is under way.
struct Moving {
    source: File,
    size: u64,
    path: PathBuf,
    copy: PathBuf,
    running: Running,
}

/// Waits until the beginning has arrived.
fn moving(world: &World, verb: &str) -> Moving {
    let (path, copy, size, args) = match verb {
        "get" => (world.remote("data"), world.local("data"), GET_SIZE, ["--bwlimit=24M", "nas:data", "."]),
        _ => (world.local("data"), world.remote("data"), PUT_SIZE, ["--bwlimit=4M", "data", "nas:"]),
    };
    fs::write(&path, noise(BLOCK as usize, 1)).unwrap();
    let source = File::options().write(true).open(&path).unwrap();
    source.set_len(size).unwrap();
    let dir = copy.parent().unwrap();
    let watch = Watch::new(dir);
    let running = world.start([verb].iter().chain(&args));
    let len = |path: PathBuf| fs::metadata(path).map_or(0, |meta| meta.len());
    watch.until(|| staging_files(dir).pop().is_some_and(|path| len(path) >= BLOCK));
    Moving { source, size, path, copy, running }
}

const BOTH: [&str; 2] = ["get", "put"];

#[test]
fn a_file_that_grows_is_delivered_as_it_was_declared() {
    for verb in BOTH {
        let world = World::new();
        let Moving { mut source, size, path, copy, running } = moving(&world, verb);
        source.seek(SeekFrom::End(0)).unwrap();
        source.write_all(b"one more line\n").unwrap();
        running.finish().ok().says("grew while it was read");
        let now = fs::read(path).unwrap();
        assert!(fs::read(copy).unwrap() == now[..size as usize], "{verb}");
        world.nothing_is_staged();
    }
}

#[test]
fn a_file_that_is_rewritten_is_never_silently_mixed() {
    for verb in BOTH {
        let world = World::new();
        let Moving { source, size, path, copy, running } = moving(&world, verb);
        // The beginning has been read, the end has not.
        source.write_all_at(b"new", 0).unwrap();
        source.write_all_at(b"new", size - 3).unwrap();
        // One change is one retry.
        let now = fs::read(path).unwrap();
        running.finish().ok().says(&md5(&now));
        assert!(fs::read(copy).unwrap() == now, "{verb}");
        world.nothing_is_staged();
    }
}

#[test]
fn a_file_that_shrinks_is_read_again() {
    for verb in BOTH {
        let world = World::new();
        let Moving { source, path, copy, running, .. } = moving(&world, verb);
        source.set_len(9).unwrap();
        running.finish().ok();
        assert_eq!(fs::read(copy).unwrap(), fs::read(path).unwrap(), "{verb}");
        world.nothing_is_staged();
    }
}

#[test]
fn a_file_that_is_replaced_arrives_as_one_of_both() {
    for verb in BOTH {
        let world = World::new();
        let Moving { path, copy, running, .. } = moving(&world, verb);
        let new = path.with_extension("new");
        fs::write(&new, "new").unwrap();
        let old = fs::read(&path).unwrap();
        fs::rename(&new, &path).unwrap();
        running.finish().ok();
        let arrived = fs::read(copy).unwrap();
        assert!(arrived == b"new" || arrived == old, "{verb}");
    }
}
