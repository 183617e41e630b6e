//! What single files have of directories: dry runs, advice, and the status that a signal asks for.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::fs;
use std::process::Stdio;
use std::time::Instant;

use common::{World, lines, noise, patience};
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn a_dry_run_says_what_a_get_would_do_and_does_nothing() {
    let world = World::new();
    world.serve("new", "12345");
    world.serve("old", "new content");
    world.keep("old", "old content");
    let ran = world.ft(["get", "-n", "nas:new", "nas:old", "."]).ok();
    assert_eq!(ran.err, "+ new: 5 B\n* old: 11 B\nwould transfer 2 files, 16 B\n");
    assert!(!world.local("new").exists());
    assert_eq!(fs::read(world.local("old")).unwrap(), b"old content");
    let ran = world.ft(["get", "-n", "-v", "--no-clobber", "nas:old", "nas:none", "."]).exits(4);
    assert!(ran.err.contains("old: skipped: exists already"), "{}", ran.err);
    let item = world.ft(["get", "-n", "--json", "nas:new"]).ok().event("item");
    assert_eq!(
        (&item["dry_run"], &item["change"], &item["bytes"]),
        (&true.into(), &"created".into(), &5.into())
    );
}

#[test]
fn a_dry_run_says_what_a_put_would_do_and_does_nothing() {
    let world = World::new();
    fs::create_dir(world.remote("d")).unwrap();
    world.keep("a", "12345");
    world.serve("d/b", "old");
    world.keep("b", "new");
    let ran = world.ft(["put", "-n", "a", "b", "nas:d"]).ok();
    assert_eq!(ran.err, "+ d/a: 5 B\n* d/b: 3 B\nwould transfer 2 files, 8 B\n");
    assert!(!world.remote("d/a").exists());
    assert_eq!(fs::read(world.remote("d/b")).unwrap(), b"old");
    assert!(
        world.ft(["put", "-n", "a", "nas:d"]).ok().err.starts_with("+ d/a: "),
        "into a directory that exists"
    );
    world.ft(["put", "-n", "none", "nas:d"]).exits(4);
}

#[test]
fn a_directory_without_r_is_an_error_that_says_so() {
    let world = World::new();
    fs::create_dir(world.remote("d")).unwrap();
    fs::create_dir(world.local("e")).unwrap();
    for args in
        [&["get", "nas:d"][..], &["get", "-n", "nas:d"], &["put", "e", "nas:"], &["put", "-n", "e", "nas:"]]
    {
        world.ft(args).exits(1).says("use -r");
    }
}

#[test]
fn sigusr1_says_how_far_the_transfer_is_even_when_quiet() {
    let world = World::new();
    world.serve("big", noise(16 << 20, 3));
    let mut command = world.command(["get", "-q", "--bwlimit", "1M", "nas:big"]);
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let said = lines(child.stderr.take().unwrap());
    let begun = Instant::now();
    let moving = || {
        let entries = fs::read_dir(world.local("")).unwrap();
        entries.map(|entry| entry.unwrap().metadata().map_or(0, |meta| meta.len())).sum::<u64>() > 0
    };
    while !moving() {
        assert!(begun.elapsed() < patience(), "nothing arrives");
        std::thread::yield_now();
    }
    // It is looked at ten times a second.
    let line = loop {
        kill_process(Pid::from_child(&child), Signal::USR1).unwrap();
        let line = said.recv_timeout(patience()).unwrap();
        if line != "nothing has moved yet" {
            break line;
        }
        assert!(begun.elapsed() < patience(), "nothing is said to move");
    };
    assert!(line.starts_with("big: ") && line.contains("/s"), "{line}");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
