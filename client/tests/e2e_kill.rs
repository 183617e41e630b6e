//! Either end is killed in the middle, or told to stop: nothing half done is ever seen, and what was done is
//! not done again.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use common::{BLOCK, Ran, Running, Watch, World, md5, noise, staging_files, wait_until_unlocked};
use rustix::process::Signal;

/// More than both ends and the kernel between them hold in buffers, so that a get cannot be over in the
/// middle.
const GET_SIZE: usize = 24 * 1024 * 1024 + 12_345;
const GET_RATE: &str = "--bwlimit=8M";
/// A put is held back where it reads.
const PUT_SIZE: usize = 10 * 1024 * 1024 + 12_345;
const PUT_RATE: &str = "--bwlimit=4M";
/// Where the middle is.
const MIDDLE: u64 = 3 * BLOCK;

/// The partial file in a directory, and its length.
fn partial(dir: &Path) -> Option<(PathBuf, u64)> {
    let path = staging_files(dir).pop()?;
    let len = fs::metadata(&path).ok()?.len();
    Some((path, len))
}

/// Starts the client and waits until a good part more than before has been written into `dir`.
fn in_the_middle(world: &World, dir: &Path, args: &[&str]) -> Running {
    let len = || partial(dir).map_or(0, |(_, len)| len);
    let (watch, before) = (Watch::new(dir), len());
    let running = world.start(args);
    watch.until(|| len() >= before + MIDDLE);
    running
}

/// Asserts that the run arrived, and that it did not move again what was there.
#[track_caller]
fn resumed(ran: Ran, kept: u64, digest: &str) {
    let ran = ran.ok();
    let file = ran.event("file");
    let from = file["resumed_from"].as_u64().unwrap();
    assert!(from > 0 && from + BLOCK >= kept, "of {kept} bytes {from} were used\n{}", ran.shown());
    assert_eq!(file["digest"]["hex"], digest);
}

#[test]
fn a_get_survives_the_death_of_the_server() {
    let mut world = World::new();
    let data = noise(GET_SIZE, 1);
    world.serve("big", &data);
    world.keep("big", "old");
    let get = in_the_middle(&world, &world.local(""), &["get", "--json", GET_RATE, "nas:big", "big"]);
    world.server.kill();
    let (_, kept) = partial(&world.local("")).unwrap();
    assert_eq!(fs::read(world.local("big")).unwrap(), b"old");
    world.server.restart();
    let ran = get.finish();
    let retry = ran.event("retry");
    assert_eq!(retry["host"], "nas");
    assert!(!retry["message"].as_str().unwrap().contains("http"), "it is for people: {retry}");
    resumed(ran, kept, &md5(&data));
    assert!(fs::read(world.local("big")).unwrap() == data);
    world.nothing_is_staged();
}

#[test]
fn a_put_survives_the_death_of_the_server() {
    let mut world = World::new();
    let data = noise(PUT_SIZE, 2);
    world.keep("big", &data);
    world.serve("big", "old");
    let put = in_the_middle(&world, &world.remote(""), &["put", "--json", PUT_RATE, "big", "nas:big"]);
    world.server.kill();
    let (_, kept) = partial(&world.remote("")).unwrap();
    assert_eq!(fs::read(world.remote("big")).unwrap(), b"old");
    world.server.restart();
    let ran = put.finish();
    assert_eq!(ran.event("retry")["host"], "nas");
    resumed(ran, kept, &md5(&data));
    assert!(fs::read(world.remote("big")).unwrap() == data);
    world.nothing_is_staged();
}

#[test]
fn a_get_goes_on_after_the_death_of_the_client() {
    let world = World::new();
    let data = noise(GET_SIZE, 3);
    world.serve("big", &data);
    world.keep("big", "old");
    in_the_middle(&world, &world.local(""), &["get", GET_RATE, "nas:big"]).kill();
    let (_, kept) = partial(&world.local("")).unwrap();
    assert_eq!(fs::read(world.local("big")).unwrap(), b"old");
    resumed(world.ft(["get", "--json", "nas:big"]), kept, &md5(&data));
    assert!(fs::read(world.local("big")).unwrap() == data);
    world.nothing_is_staged();
}

#[test]
fn a_put_goes_on_after_the_death_of_the_client() {
    let world = World::new();
    let data = noise(PUT_SIZE, 4);
    world.keep("big", &data);
    in_the_middle(&world, &world.remote(""), &["put", PUT_RATE, "big", "nas:"]).kill();
    let (path, _) = partial(&world.remote("")).unwrap();
    wait_until_unlocked(&path);
    let (_, kept) = partial(&world.remote("")).unwrap();
    assert!(!world.remote("big").exists());
    resumed(world.ft(["put", "--json", "big", "nas:"]), kept, &md5(&data));
    assert!(fs::read(world.remote("big")).unwrap() == data);
    world.nothing_is_staged();
}

#[test]
fn a_get_into_a_pipe_goes_on_where_the_server_died() {
    let mut world = World::new();
    let data = noise(GET_SIZE, 5);
    world.serve("big", &data);
    let watch = Watch::new(&world.local(""));
    let out = fs::File::create(world.local("out")).unwrap();
    // The client writes as to a pipe; a file lets the test see how far it is.
    let mut command = world.command(["get", "--json", GET_RATE, "nas:big", "-"]);
    let get = Running::start_into(&mut command, out);
    watch.until(|| fs::metadata(world.local("out")).unwrap().len() >= MIDDLE);
    world.server.kill();
    world.server.restart();
    let told = get.finish().ok();
    assert!(told.err.contains("\"retry\""), "{}", told.shown());
    assert!(told.err.contains(&md5(&data)), "{}", told.shown());
    assert!(fs::read(world.local("out")).unwrap() == data);
}

#[test]
fn a_partial_that_was_damaged_is_mended() {
    let world = World::new();
    let data = noise(GET_SIZE, 12);
    world.serve("big", &data);
    in_the_middle(&world, &world.local(""), &["get", GET_RATE, "nas:big"]).kill();
    let (path, _) = partial(&world.local("")).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(b"damage", BLOCK + 5).unwrap();
    // Longer than the whole file.
    file.write_all_at(b"more", data.len() as u64 + 7 * BLOCK).unwrap();
    resumed(world.ft(["get", "--json", "nas:big"]), BLOCK, &md5(&data));
    assert!(fs::read(world.local("big")).unwrap() == data);
    world.nothing_is_staged();
}

#[test]
fn without_resume_everything_is_sent_again() {
    let world = World::new();
    let data = noise(GET_SIZE, 6);
    world.serve("big", &data);
    in_the_middle(&world, &world.local(""), &["get", GET_RATE, "nas:big"]).kill();
    let ran = world.ft(["get", "--json", "--no-resume", "nas:big"]).ok();
    assert_eq!(ran.event("file")["resumed_from"], 0);
    assert!(fs::read(world.local("big")).unwrap() == data);
}

#[test]
fn a_source_that_changed_meanwhile_starts_over() {
    let world = World::new();
    world.serve("big", noise(GET_SIZE, 7));
    in_the_middle(&world, &world.local(""), &["get", GET_RATE, "nas:big"]).kill();
    let data = noise(GET_SIZE, 8);
    world.serve("big", &data);
    let ran = world.ft(["get", "--json", "nas:big"]).ok();
    assert_eq!(ran.event("file")["digest"]["hex"], md5(&data).as_str());
    assert!(fs::read(world.local("big")).unwrap() == data);
}

#[test]
fn a_signal_leaves_a_partial_that_the_next_run_uses() {
    let world = World::new();
    let data = noise(GET_SIZE, 9);
    world.serve("big", &data);
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let get = in_the_middle(&world, &world.local(""), &["get", GET_RATE, "nas:big"]);
        get.signal(signal);
        get.finish().exits(code);
        assert!(!world.local("big").exists());
        assert!(partial(&world.local("")).is_some_and(|(_, len)| len >= MIDDLE));
    }
    let (_, kept) = partial(&world.local("")).unwrap();
    resumed(world.ft(["get", "--json", "nas:big"]), kept, &md5(&data));
    world.nothing_is_staged();
}

#[test]
fn a_put_that_is_stopped_leaves_the_old_file() {
    let world = World::new();
    world.keep("big", noise(PUT_SIZE, 10));
    world.serve("big", "old");
    let put = in_the_middle(&world, &world.remote(""), &["put", PUT_RATE, "big", "nas:big"]);
    put.signal(Signal::INT);
    put.finish().exits(130);
    assert_eq!(fs::read(world.remote("big")).unwrap(), b"old");
}

#[test]
fn a_pipe_is_never_sent_twice() {
    let mut world = World::new();
    let watch = Watch::new(&world.remote(""));
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut command = world.command(["put", "--json", "-", "nas:piped"]);
    let put = Running::start_from(&mut command, reader);
    std::io::Write::write_all(&mut writer, &noise(3 * BLOCK as usize, 11)).unwrap();
    watch.until(|| partial(&world.remote("")).is_some_and(|(_, len)| len >= BLOCK));
    world.server.kill();
    world.server.restart();
    drop(writer);
    let ran = put.finish().exits(1);
    let error = ran.event("error");
    assert_eq!(error["retry_safe"], false);
    assert!(error["message"].as_str().unwrap().contains("outcome unknown"), "{error}");
    assert!(!world.remote("piped").exists());
}

/// Kills at many moments, from the first trace of a file to after its commit: the name holds one or the other
/// content, and the next run succeeds.
#[test]
fn after_a_kill_at_any_moment_the_file_is_the_old_or_the_new_one() {
    let mut world = World::new();
    let dir = world.remote("");
    let mut old = b"old".to_vec();
    world.serve("file", &old);
    for moment in 0..12 {
        let new = noise(2 * BLOCK as usize + moment, moment as u64);
        world.keep("file", &new);
        let watch = Watch::new(&dir);
        let put = world.start(["put", "--retries", "0", "file", "nas:"]);
        // Blocks, metadata and the rename each change the directory.
        let mut changes = 0;
        watch.until(|| {
            changes += 1;
            changes > moment || fs::read(dir.join("file")).unwrap() == new
        });
        if moment % 2 == 0 {
            world.server.kill();
            let ran = put.finish();
            world.server.restart();
            if ran.status.success() {
                assert!(fs::read(dir.join("file")).unwrap() == new, "what was reported is there");
            }
        } else {
            drop(put);
        }
        let now = fs::read(dir.join("file")).unwrap();
        assert!(now == old || now == new, "moment {moment}");
        world.ft(["put", "file", "nas:"]).ok();
        assert!(fs::read(dir.join("file")).unwrap() == new, "moment {moment}");
        old = new;
    }
}
