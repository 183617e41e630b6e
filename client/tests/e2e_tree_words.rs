//! What runs with directories say to scripts: their last words, whatever ends them, and the names in their events.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::fs;
use std::os::unix::fs::symlink;

use common::{BLOCK, Ran, Running, Watch, World, noise, staging_files};
use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::Signal;
use serde_json::Value;

/// The last event, which sums up a run that ended with this code.
#[track_caller]
fn last_words(ran: &Ran, code: i32) -> Value {
    let events = ran.events();
    let last = events.last().unwrap();
    assert_eq!((&last["type"], &last["exit"]), (&"summary".into(), &code.into()), "{events:#?}");
    assert_eq!(events.iter().filter(|event| event["type"] == "summary").count(), 1);
    last.clone()
}

/// The paths of all events of this type.
fn paths(ran: &Ran, kind: &str) -> Vec<String> {
    let events = ran.events().into_iter().filter(|event| event["type"] == kind);
    events.map(|event| event["path"].as_str().unwrap().to_owned()).collect()
}

/// Starts a get of a directory that takes seconds, and waits until content arrives.
fn getting(world: &World, dir: &str) -> Running {
    fs::create_dir_all(world.local(dir)).unwrap();
    let watch = Watch::new(&world.local(dir));
    let get = world.start(["get", "-r", "--json", "--bwlimit=4M", "nas:origin", dir]);
    watch.until(|| {
        let staged = staging_files(&world.local(dir)).pop();
        staged.is_some_and(|path| fs::metadata(path).is_ok_and(|meta| meta.len() >= BLOCK))
    });
    get
}

#[test]
fn a_run_that_is_cut_short_sums_itself_up() {
    let world = World::new();
    fs::create_dir(world.remote("origin")).unwrap();
    world.serve("origin/big", noise(24 << 20, 1));
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let get = getting(&world, &format!("copy{code}"));
        get.signal(signal);
        let summary = last_words(&get.finish().exits(code), code);
        assert_eq!((&summary["files"], &summary["failed"]), (&0.into(), &0.into()));
    }
    let ran = world.ft(["sync", "--json", "--bwlimit=64K", "--deadline=1s", ":origin", "late"]).exits(10);
    last_words(&ran, 10);
    assert_eq!(ran.event("error")["code"], 10);
}

#[test]
fn a_comparison_that_cannot_be_made_is_summed_up_too() {
    let world = World::new();
    fs::create_dir(world.local("src")).unwrap();
    world.configure("[hosts.nas]\naddress = '127.0.0.1:1'\nuser = 'anna'\n");
    last_words(&world.ft(["check", "--json", "--retries=0", "src", "nas:copy"]).exits(5), 5);
    last_words(&world.ft(["sync", "--json", "--retries=0", "src", "nas:copy"]).exits(5), 5);
}

#[test]
fn events_name_everything_by_its_path_on_the_server() {
    let world = World::new();
    fs::create_dir_all(world.local("src/d")).unwrap();
    for name in ["src/d/a", "src/b"] {
        world.keep(name, "one");
    }
    mkfifoat(CWD, world.local("src/fifo"), Mode::RWXU).unwrap();
    let put = world.ft(["put", "-r", "--json", "src", "nas:x/copy", "--mkdirs"]).ok();
    assert_eq!(paths(&put, "file"), ["x/copy/b", "x/copy/d/a"]);
    assert_eq!(
        (paths(&put, "item"), paths(&put, "skipped")),
        (vec!["x/copy/d".into()], vec!["x/copy/fifo".into()])
    );
    fs::create_dir(world.local("src/new")).unwrap();
    let check = world.ft(["check", "--json", "src", "nas:x/copy"]).exits(1);
    assert_eq!(paths(&check, "check"), ["x/copy/b", "x/copy/d/a", "x/copy/new"]);
    assert_eq!(paths(&check, "skipped"), ["x/copy/fifo"]);
    let quiet = world.ft(["check", "--json", "-q", "src", "nas:x/copy"]).exits(1);
    assert_eq!(paths(&quiet, "check"), ["x/copy/new"]);
    let text = world.ft(["check", "-q", "src", "nas:x/copy"]).exits(1);
    assert_eq!(text.text(), "+ new/\n");
}

#[test]
fn files_that_are_left_alone_are_counted_and_named_where_that_is_asked_for() {
    let world = World::new();
    fs::create_dir(world.local("src")).unwrap();
    for name in ["src/a", "src/b"] {
        world.keep(name, "one");
    }
    world.ft(["put", "-r", "src", "nas:copy"]).ok();
    for name in ["src/a", "src/b"] {
        world.keep(name, "another");
    }
    let ran = world.ft(["put", "-r", "--no-clobber", "src", "nas:copy"]).ok();
    assert_eq!(ran.err.trim_end(), "0 files; 2 skipped");
    let ran = world.ft(["put", "-r", "--no-clobber", "-v", "src", "nas:copy"]).ok();
    assert!(ran.err.contains("a: skipped: exists already\nb: skipped"), "{}", ran.err);
    let ran = world.ft(["put", "-r", "--no-clobber", "--json", "src", "nas:copy"]).ok();
    assert_eq!(paths(&ran, "skipped"), ["copy/a", "copy/b"]);
    let ran = world.ft(["get", "--no-clobber", "nas:copy/a", "nas:copy/b", "src"]).ok();
    assert_eq!(ran.err.trim_end(), "0 files; 2 skipped");
    let one = world.ft(["put", "-r", "--no-clobber", "src/a", "nas:copy"]).ok();
    assert_eq!(one.err.trim_end(), "copy/a: skipped: exists already".replace("copy/a", "src/a"));
}

#[test]
fn a_name_of_this_end_has_no_host_before_it() {
    let world = World::new();
    world.account("reader", "read");
    world.keep("a", "one");
    let ran = world.ft(["put", "a", "reader@nas:new"]).exits(7);
    assert!(ran.err.starts_with("ftclient: a: "), "{}", ran.err);
    fs::write(world.home().join(".local"), "").unwrap();
    world.ft(["put", "a", "nas:"]).ok().says("ftclient/receipts");
    world.ft(["get", "-r", "nas:", "none/copy"]).exits(4).says("make it first");
}

#[test]
fn a_link_that_a_pattern_names_is_followed_and_one_within_is_not() {
    let world = World::new();
    fs::create_dir_all(world.remote("real/d")).unwrap();
    world.serve("real/d/a", "one");
    symlink("real/d", world.remote("link")).unwrap();
    symlink("d", world.remote("real/within")).unwrap();
    fs::create_dir(world.local("here")).unwrap();
    world.ft(["get", "-r", "nas:*", "here"]).ok();
    assert!(
        world.local("here/link").symlink_metadata().unwrap().is_dir() && world.local("here/link/a").exists()
    );
    assert!(world.local("here/real/within").symlink_metadata().unwrap().is_symlink());
}

#[test]
fn the_shell_sums_up_each_command_that_does_not_come_to_its_end() {
    let world = World::new();
    fs::create_dir(world.local("src")).unwrap();
    let ran = world.ft_with(["shell", "--json"], b"-check src none\nput -r src copy\n").ok();
    let sums: Vec<Value> = ran.events().into_iter().filter(|event| event["type"] == "summary").collect();
    assert_eq!((sums.len(), &sums[0]["exit"], &sums[1]["exit"]), (2, &4.into(), &0.into()), "{sums:?}");
}
