//! Files larger than 32 bits can count. Only with FT_SOAK=1.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use common::{World, hex, is_soak};
use md5::{Digest as _, Md5};

const GIB: u64 = 1 << 30;

#[test]
fn large_sparse_files_travel_both_ways() {
    if !is_soak() {
        eprintln!("SKIPPED: FT_SOAK=1 runs it");
        return;
    }
    for size in [GIB, 4 * GIB + 1] {
        let world = World::new();
        let source = File::create(world.local("up")).unwrap();
        source.set_len(size).unwrap();
        for at in [0, size / 2 - 3, size - 8] {
            source.write_all_at(b"not zero", at).unwrap();
        }
        let digest = md5_of(&world.local("up"));
        world.ft(["put", "up", "nas:copy"]).ok().says(&format!("md5 {digest} verified"));
        world.ft(["get", "nas:copy", "down"]).ok().says(&format!("md5 {digest} verified"));
        for copy in [world.remote("copy"), world.local("down")] {
            assert_eq!(md5_of(&copy), digest);
            assert!(copy.metadata().unwrap().blocks() * 512 < size / 10, "sparse regions stay sparse");
        }
        world.nothing_is_staged();
    }
}

fn md5_of(path: &Path) -> String {
    let mut file = BufReader::new(File::open(path).unwrap());
    let (mut md5, mut buffer) = (Md5::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => return hex(&md5.finalize()),
            n => md5.update(&buffer[..n]),
        }
    }
}
