//! Runs of directories that are cut off in the middle, at either end: nothing is half, what was reported is there and
//! does not travel again, and the same command ends equal. `FT_SOAK=1` runs 200 rounds of each, `FT_SEED=N` repeats.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::{BLOCK, Watched, World, is_soak, noise, staging_beneath, staging_files};
use ft_protocol::path::is_staging_name;
use ft_tests::seed::Seed;
use ft_tests::tree;
use rustix::process::Signal;
use serde_json::Value;

type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

/// A command that copies `src` to `copy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Put,
    Get,
    SyncTo,
    SyncFrom,
}

const WAYS: [Way; 4] = [Way::Put, Way::Get, Way::SyncTo, Way::SyncFrom];

impl Way {
    fn args(self) -> &'static [&'static str] {
        match self {
            Way::Put => &["put", "--json", "-r", "src", "nas:copy"],
            Way::Get => &["get", "--json", "-r", "nas:src", "copy"],
            Way::SyncTo => &["sync", "--json", "src", "nas:copy"],
            Way::SyncFrom => &["sync", "--json", "nas:src", "copy"],
        }
    }

    fn is_to_server(self) -> bool {
        matches!(self, Way::Put | Way::SyncTo)
    }

    fn source(self, world: &World) -> PathBuf {
        if self.is_to_server() { world.local("src") } else { world.remote("src") }
    }

    fn target(self, world: &World) -> PathBuf {
        if self.is_to_server() { world.remote("copy") } else { world.local("copy") }
    }
}

/// Directories of the tree.
const DIRS: [&str; 5] = ["", "a", "a/b", "c", "e"];

/// Makes the tree, or changes it: two files of three are other ones in each generation.
fn grow(top: &Path, generation: u64) {
    for (number, dir) in DIRS.iter().enumerate() {
        let dir = top.join(dir);
        fs::create_dir_all(&dir).unwrap();
        for file in 0..24 {
            let seed = (number as u64) << 32 | file << 16;
            let (path, len) = (dir.join(format!("f{file:02}")), (seed >> 16) % 8 * 1731);
            if file % 3 > 0 || generation == 0 {
                fs::write(path, noise(len as usize + (generation % 2) as usize, seed + generation)).unwrap();
            }
        }
    }
    for (name, len) in [("b-large", 3 * BLOCK / 2), ("e/z-large", 2 * BLOCK + 77)] {
        fs::write(top.join(name), noise(len as usize, len + generation)).unwrap();
    }
    fs::create_dir_all(top.join("empty")).unwrap();
    let _ = symlink("a/b", top.join("link"));
}

/// Names and contents, without what is unfinished.
fn contents(top: &Path) -> Contents {
    let is_visible =
        |path: &[u8]| !is_staging_name(path.rsplit(|byte| *byte == b'/').next().unwrap_or_default());
    tree::contents(top).into_iter().filter(|(path, _)| is_visible(path)).collect()
}

/// Asserts that every name is what it was or what it is to be, and that all that was reported is there.
#[track_caller]
fn nothing_is_half(target: &Path, old: &Contents, new: &Contents, events: &[Value]) {
    let now = contents(target);
    for (path, content) in &now {
        let whole = old.get(path) == Some(content) || new.get(path) == Some(content);
        assert!(whole, "{} is neither old nor new", String::from_utf8_lossy(path));
    }
    for path in reported(events) {
        assert!(now.get(path.as_bytes()) == new.get(path.as_bytes()), "{path} was reported and is not there");
    }
}

/// The files that were reported to have arrived, beneath the tree; each once.
#[track_caller]
fn reported(events: &[Value]) -> BTreeSet<String> {
    let files = events.iter().filter(|event| event["type"] == "file");
    let paths: Vec<&str> = files.map(|event| event["path"].as_str().unwrap()).collect();
    let once: BTreeSet<String> =
        paths.iter().map(|path| path.split_once('/').unwrap().1.to_owned()).collect();
    assert_eq!(once.len(), paths.len(), "a file is reported twice: {paths:?}");
    once
}

/// Runs the same command again: it ends equal, and moves nothing that was reported. Gives its events.
#[track_caller]
fn again(world: &World, way: Way, new: &Contents, before: &[Value]) -> Vec<Value> {
    let ran = world.ft(way.args()).ok();
    let events = ran.events();
    let twice: Vec<String> = reported(before).intersection(&reported(&events)).cloned().collect();
    assert!(twice.is_empty(), "finished, and moved again: {twice:?}");
    assert!(contents(&way.target(world)) == *new, "the copy is another one\n{}", ran.shown());
    events
}

/// A tree that was copied once; and about how many signs of life such a run gives.
fn copied(way: Way) -> (World, usize) {
    let world = World::new();
    grow(&way.source(&world), 0);
    grow(&way.target(&world), 0);
    grow(&way.source(&world), 1);
    let mut run = watched(&world, way, &[]);
    run.until(|_, _| false);
    let signs = run.seen();
    run.finish().0.ok();
    (world, signs)
}

fn watched(world: &World, way: Way, options: &[&str]) -> Watched {
    let target = way.target(world);
    let dirs: Vec<PathBuf> = DIRS.iter().map(|dir| target.join(dir)).collect();
    Watched::start(&mut world.command(way.args().iter().chain(options)), &dirs)
}

fn rounds(normal: u64) -> u64 {
    if is_soak() { 200 } else { normal }
}

#[test]
fn after_a_kill_of_the_client_at_any_moment_the_same_command_ends_equal() {
    let mut seed = Seed::fresh("client_killed");
    for way in WAYS {
        let (world, signs) = copied(way);
        for round in 0..rounds(3) {
            let old = contents(&way.target(&world));
            grow(&way.source(&world), 2 + round);
            let new = contents(&way.source(&world));
            let moment = seed.below(signs as u64) as usize;
            eprintln!("{way:?} {round}: {moment} of {signs}");
            let mut run = watched(&world, way, &[]);
            run.moment(moment);
            let events = run.kill();
            nothing_is_half(&way.target(&world), &old, &new, &events);
            again(&world, way, &new, &events);
        }
        if way.is_to_server() {
            assert_eq!(
                staging_beneath(&world.remote("")),
                [] as [PathBuf; 0],
                "the server puts away what is left"
            );
        }
    }
}

#[test]
fn after_a_kill_of_the_server_at_any_moment_the_run_goes_on_and_ends_equal() {
    let mut seed = Seed::fresh("server_killed");
    for way in [Way::SyncTo, Way::SyncFrom] {
        let (mut world, signs) = copied(way);
        for round in 0..rounds(2) {
            let old = contents(&way.target(&world));
            grow(&way.source(&world), 2 + round);
            let new = contents(&way.source(&world));
            let moment = seed.below(signs as u64) as usize;
            eprintln!("{way:?} {round}: {moment} of {signs}");
            let mut run = watched(&world, way, &[]);
            run.moment(moment);
            world.server.kill();
            nothing_is_half(&way.target(&world), &old, &new, &[]);
            world.server.restart();
            let (ran, events) = run.finish();
            let shown = ran.ok().shown();
            assert!(contents(&way.target(&world)) == new, "the copy is another one\n{shown}");
            // It reports every file that is another one, once, whatever it took.
            let changed = new.iter().filter(|(path, content)| old.get(*path) != Some(*content)).count();
            assert_eq!(reported(&events).len(), changed, "{shown}");
        }
        assert_eq!(staging_beneath(&world.local("")), [] as [PathBuf; 0]);
    }
}

#[test]
fn ctrl_c_at_any_moment_leaves_only_partial_large_files_which_the_next_run_uses() {
    let mut seed = Seed::fresh("interrupted");
    for way in WAYS {
        let (world, signs) = copied(way);
        for round in 0..rounds(2) {
            let old = contents(&way.target(&world));
            grow(&way.source(&world), 2 + round);
            let new = contents(&way.source(&world));
            let moment = seed.below(signs as u64) as usize;
            eprintln!("{way:?} {round}: {moment} of {signs}");
            let mut run = watched(&world, way, &[]);
            run.moment(moment);
            run.signal(Signal::INT);
            let (ran, events) = run.finish();
            // It may be over before the signal comes, or before anybody listens to it.
            let by_signal = std::os::unix::process::ExitStatusExt::signal(&ran.status);
            let expected = matches!(ran.status.code(), Some(0 | 130)) || by_signal == Some(2);
            assert!(expected, "{}", ran.shown());
            nothing_is_half(&way.target(&world), &old, &new, &events);
            let left = staging_beneath(&world.local(""));
            assert!(left.len() <= 2, "more than there are large files: {left:?}");
            again(&world, way, &new, &events);
        }
        assert_eq!(staging_beneath(&world.local("")), [] as [PathBuf; 0]);
        assert_eq!(staging_beneath(&world.remote("")), [] as [PathBuf; 0]);
    }
}

/// In the middle for certain: files were reported, and a large one is under way. More of it is left than buffers hold.
fn in_the_middle(world: &World, way: Way) -> Watched {
    let (len, rate) = if way.is_to_server() { (10, "--bwlimit=4M") } else { (24, "--bwlimit=8M") };
    grow(&way.source(world), 0);
    // Of a get that is held back where it receives, files are put in place with the first one that follows a second
    // later, so there is another large one before.
    fs::write(way.source(world).join("b-large"), noise(if way.is_to_server() { 2 } else { 10 } << 20, 6))
        .unwrap();
    fs::write(way.source(world).join("e/z-large"), noise(len << 20, 5)).unwrap();
    let target = way.target(world);
    for dir in DIRS {
        fs::create_dir_all(target.join(dir)).unwrap();
    }
    let mut run = watched(world, way, &[rate]);
    run.until(|_, said| said.contains("\"file\"") && under_way(&target) >= 3 * BLOCK);
    run
}

/// Bytes of the large file that have arrived.
fn under_way(target: &Path) -> u64 {
    let lens =
        staging_files(&target.join("e")).into_iter().map(|path| path.metadata().map_or(0, |meta| meta.len()));
    lens.max().unwrap_or(0)
}

/// Asserts that of the large file only what is missing travelled.
#[track_caller]
fn went_on(events: &[Value], kept: u64) {
    let is_large = |event: &&Value| event["path"].as_str().is_some_and(|path| path.ends_with("z-large"));
    let large = events.iter().find(is_large).unwrap();
    let from = large["resumed_from"].as_u64().unwrap();
    assert!(from > 0 && from + BLOCK >= kept, "of {kept} bytes {from} were used: {large}");
}

#[test]
fn a_killed_client_leaves_finished_files_and_goes_on_in_the_large_one() {
    for way in [Way::SyncTo, Way::Get] {
        let world = World::new();
        let run = in_the_middle(&world, way);
        let (target, new) = (way.target(&world), contents(&way.source(&world)));
        let events = run.kill();
        let kept = under_way(&target);
        assert!(!reported(&events).is_empty() && !target.join("e/z-large").exists());
        nothing_is_half(&target, &Contents::new(), &new, &events);
        // What of the receipt was still in memory is lost; a line that was cut off does no harm.
        let checked = world.ft(["check", "--receipt", "last"]).ok().text();
        assert!(
            checked.lines().count() > 0 && checked.lines().all(|line| line.starts_with("= ")),
            "{checked}"
        );
        went_on(&again(&world, way, &new, &events), kept);
    }
}

#[test]
fn ctrl_c_in_the_middle_ends_with_130_and_the_receipt_holds_what_was_reported() {
    for way in [Way::Put, Way::SyncFrom] {
        let world = World::new();
        let run = in_the_middle(&world, way);
        let (target, new) = (way.target(&world), contents(&way.source(&world)));
        run.signal(Signal::INT);
        let (ran, events) = run.finish();
        let shown = ran.exits(130).shown();
        nothing_is_half(&target, &Contents::new(), &new, &events);
        let recorded = world.ft(["check", "--receipt", "last", "--sums"]).ok().text();
        assert_eq!(recorded.lines().count(), reported(&events).len(), "{recorded}\n{shown}");
        for path in reported(&events) {
            assert!(recorded.lines().any(|line| line.ends_with(&path)), "{path} has no receipt");
        }
        let kept = under_way(&target);
        went_on(&again(&world, way, &new, &events), kept);
        assert_eq!(staging_beneath(&world.outside().join("work")), [] as [PathBuf; 0]);
        assert_eq!(staging_beneath(&world.remote("")), [] as [PathBuf; 0]);
    }
}

#[test]
fn a_run_goes_on_where_the_server_died_in_the_middle() {
    for way in [Way::Put, Way::SyncFrom] {
        let mut world = World::new();
        let run = in_the_middle(&world, way);
        let (target, new) = (way.target(&world), contents(&way.source(&world)));
        world.server.kill();
        let kept = under_way(&target);
        nothing_is_half(&target, &Contents::new(), &new, &[]);
        assert!(!target.join("e/z-large").exists());
        world.server.restart();
        let (ran, events) = run.finish();
        let ran = ran.ok();
        assert_eq!(ran.event("retry")["host"], "nas");
        assert!(contents(&target) == new, "{}", ran.shown());
        assert_eq!(reported(&events).len() as u64, ran.event("summary")["files"], "{}", ran.shown());
        went_on(&events, kept);
    }
}
