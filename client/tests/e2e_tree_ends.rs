//! How runs of directories end where something is in the way: the code, what is said of each name, and what stays.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::{BLOCK, Ran, TinyDisk, Watch, Watched, World, lines, noise, patience, staging_beneath};
use ft_tests::tree::{contents, seen};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const TO_SERVER: [&str; 2] = ["src", "nas:copy"];
const FROM_SERVER: [&str; 2] = ["nas:src", "copy"];
const WAYS: [[&str; 2]; 2] = [TO_SERVER, FROM_SERVER];

/// Both ends have the directory `src`; each holds so many files `f…`, of some bytes.
fn sources(world: &World, files: usize) {
    for top in [world.local("src"), world.remote("src")] {
        fs::create_dir_all(top.join("d")).unwrap();
        for number in 0..files {
            let dir = if number % 2 == 0 { "" } else { "d" };
            fs::write(top.join(dir).join(format!("f{number}")), noise(9 * number, number as u64)).unwrap();
        }
    }
}

fn source(world: &World, way: [&str; 2]) -> PathBuf {
    if way == TO_SERVER { world.local("src") } else { world.remote("src") }
}

fn target(world: &World, way: [&str; 2]) -> PathBuf {
    if way == TO_SERVER { world.remote("copy") } else { world.local("copy") }
}

/// Puts a file where the copy goes that the source does not have.
fn extra(world: &World, way: [&str; 2]) -> PathBuf {
    let dir = target(world, way);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("extra"), "stays").unwrap();
    world.hand_over(&dir);
    dir.join("extra")
}

#[track_caller]
fn sync(world: &World, options: &[&str], way: [&str; 2]) -> Ran {
    world.ft(["sync"].iter().chain(options).chain(&way))
}

/// What is said to have failed: each name with its reason.
fn failures(ran: &Ran) -> Vec<(String, String)> {
    let lines = ran.err.lines().filter_map(|line| line.strip_prefix("! ")?.split_once(": "));
    lines.map(|(name, why)| (name.to_owned(), why.to_owned())).collect()
}

fn of<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["type"] == kind).collect()
}

fn paths(events: &[Value], kind: &str) -> Vec<String> {
    let mut paths: Vec<String> =
        of(events, kind).iter().map(|event| event["path"].as_str().unwrap().to_owned()).collect();
    paths.sort();
    paths
}

#[test]
fn a_full_disk_has_its_own_code_and_what_was_there_stays() {
    let world = World::new();
    let Some(disk) = TinyDisk::mount(&world.outside().join("tiny"), "size=1m") else { return };
    world.account_at("tiny", &disk.0);
    sources(&world, 8);
    for top in WAYS.map(|way| source(&world, way)) {
        fs::write(top.join("a"), noise(5000, 1)).unwrap();
        for number in 0..20 {
            fs::write(top.join(format!("d/g{number:02}")), noise(150_000, number)).unwrap();
        }
        // Larger than all of the disk, so never put in place on it.
        fs::write(top.join("z-large"), noise(5 << 20, 2)).unwrap();
    }
    let copy = disk.0.join("copy");
    for (from, to) in [("src", "tiny@nas:copy"), ("nas:src", copy.to_str().unwrap())] {
        disk.resize("size=1m");
        fs::create_dir(&copy).unwrap();
        fs::write(copy.join("a"), "old").unwrap();
        fs::write(copy.join("extra"), "stays").unwrap();
        let ran = world.ft(["sync", "--json", "--delete", from, to]).exits(12);
        let events = ran.events();
        assert!(of(&events, "error").iter().any(|error| error["code"] == 12), "{}", ran.shown());
        assert_eq!(ran.event("summary")["exit"], 12);
        assert_eq!(fs::read(copy.join("extra")).unwrap(), b"stays");
        let source = contents(&world.local("src"));
        for (path, content) in contents(&copy).into_iter().filter(|(path, _)| path != b"extra") {
            let old = path == b"a" && content == b"old";
            assert!(old || source[&path] == content, "{} is half", String::from_utf8_lossy(&path));
        }
        assert_eq!(staging_beneath(&copy), [] as [&Path; 0], "{}", ran.shown());
        world.ft(["sync", "-q", from, to]).exits(12).says("No space left");
        disk.resize("size=32m");
        world.ft(["sync", "--delete", from, to]).ok();
        assert!(contents(&copy) == source);
        fs::remove_dir_all(&copy).unwrap();
    }
}

#[test]
fn unreadable_files_are_named_once_with_their_reason_and_the_rest_arrives() {
    let world = World::without_root();
    sources(&world, 200);
    for way in WAYS {
        let source = source(&world, way);
        for name in ["f42", "d/f57"] {
            fs::set_permissions(source.join(name), Permissions::from_mode(0o000)).unwrap();
        }
        let kept = extra(&world, way);
        let ran = sync(&world, &["--json", "--delete"], way).exits(3);
        let (events, summary) = (ran.events(), ran.event("summary"));
        let base = way[1].strip_prefix("nas:").or(way[0].strip_prefix("nas:")).unwrap();
        assert_eq!(paths(&events, "error"), [format!("{base}/d/f57"), format!("{base}/f42")]);
        for error in of(&events, "error") {
            assert!(error["message"].as_str().unwrap().contains("Permission denied"), "{error}");
            assert_eq!(error["code"], 7, "{error}");
        }
        assert_eq!(
            (&summary["files"], &summary["failed"], &summary["exit"]),
            (&198.into(), &2.into(), &3.into())
        );
        let arrived = contents(&target(&world, way));
        assert_eq!(arrived.len(), 198 + 1 + 1, "with a directory, and what is kept");
        assert!(kept.exists(), "nothing is deleted after a failure");
        let ran = sync(&world, &["--delete"], way).says("nothing was deleted");
        let said = failures(&ran);
        let names: Vec<&str> = said.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["d/f57", "f42"], "{}", ran.shown());
        assert!(said.iter().all(|(_, why)| why.contains("Permission denied")), "{}", ran.shown());
        assert!(kept.exists());
    }
}

#[test]
fn a_directory_that_cannot_be_listed_is_a_failure_and_nothing_is_deleted() {
    let world = World::without_root();
    sources(&world, 20);
    for way in WAYS {
        sync(&world, &[], way).ok();
        let kept = extra(&world, way);
        let closed = source(&world, way).join("d");
        fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
        let ran = sync(&world, &["--delete"], way);
        fs::set_permissions(&closed, Permissions::from_mode(0o755)).unwrap();
        let ran = ran.exits(3).says("nothing was deleted");
        assert_eq!(
            failures(&ran).iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["d"],
            "{}",
            ran.shown()
        );
        assert!(kept.exists() && target(&world, way).join("d/f1").exists(), "{}", ran.shown());
        sync(&world, &["--delete"], way).ok();
        assert!(!kept.exists());
    }
}

#[test]
fn a_source_that_is_gone_deletes_nothing() {
    let world = World::new();
    sources(&world, 4);
    for way in WAYS {
        sync(&world, &[], way).ok();
        let before = contents(&target(&world, way));
        fs::rename(source(&world, way), world.outside().join("away")).unwrap();
        let ran = sync(&world, &["--delete", "--json"], way).exits(4);
        assert_eq!(ran.event("error")["code"], 4);
        assert!(contents(&target(&world, way)) == before);
        fs::rename(world.outside().join("away"), source(&world, way)).unwrap();
    }
}

#[test]
fn a_source_that_vanishes_under_way_deletes_nothing() {
    let world = World::new();
    for way in WAYS {
        let (source, kept) = (source(&world, way), extra(&world, way));
        fs::create_dir_all(&source).unwrap();
        for number in 0..40 {
            fs::write(source.join(format!("f{number:02}")), noise(BLOCK as usize, number)).unwrap();
        }
        let dirs = [target(&world, way)];
        let mut run = world.command(["sync", "--json", "--delete", "--bwlimit=8M"].iter().chain(&way));
        let mut run = Watched::start(&mut run, &dirs);
        run.moment(5);
        fs::remove_dir_all(&source).unwrap();
        let (ran, events) = run.finish();
        assert!(matches!(ran.status.code(), Some(3 | 4)), "{}", ran.shown());
        assert_eq!(of(&events, "error").len() + of(&events, "file").len(), 40, "{}", ran.shown());
        assert!(kept.exists(), "{}", ran.shown());
    }
}

#[test]
fn two_runs_onto_one_destination_are_one_too_many() {
    let world = World::new();
    for way in WAYS {
        let (source, target) = (source(&world, way), target(&world, way));
        fs::create_dir_all(&source).unwrap();
        fs::create_dir_all(&target).unwrap();
        fs::write(source.join("big"), noise(3 * BLOCK as usize, 1)).unwrap();
        let mut first = world.command(["sync", "--json"].iter().chain(&way));
        let mut first = Watched::start(&mut first, std::slice::from_ref(&target));
        first.moment(2);
        // However slow this machine is, it holds its lock.
        first.signal(Signal::STOP);
        let error = sync(&world, &["--json"], way).exits(11).event("error");
        assert_eq!((&error["code"], &error["retry_safe"]), (&11.into(), &true.into()));
        sync(&world, &["--delete"], way).exits(11).says("another run works on");
        sync(&world, &["-n"], way).ok();
        first.signal(Signal::CONT);
        first.finish().0.ok();
        assert!(contents(&target) == contents(&source));
        sync(&world, &[], way).ok();
    }
}

#[test]
fn a_deadline_ends_the_run_and_the_next_one_finishes_it() {
    let world = World::new();
    sources(&world, 10);
    for way in WAYS {
        let source = source(&world, way);
        fs::write(source.join("big"), noise(12 * BLOCK as usize, 4)).unwrap();
        let ran = sync(&world, &["--json", "--deadline", "1500ms", "--bwlimit", "1M"], way).exits(10);
        assert_eq!(ran.event("error")["code"], 10);
        assert!(!target(&world, way).join("big").exists());
        sync(&world, &[], way).ok();
        assert!(contents(&target(&world, way)) == contents(&source));
    }
}

#[test]
fn nothing_to_do_is_a_failure_only_where_that_was_asked_for() {
    let world = World::new();
    sources(&world, 4);
    for way in WAYS {
        sync(&world, &["--error-on-no-transfer"], way).ok();
        sync(&world, &["--error-on-no-transfer"], way).exits(9);
        sync(&world, &[], way).ok();
        fs::write(source(&world, way).join("f0"), "another one").unwrap();
        sync(&world, &["--error-on-no-transfer"], way).ok();
    }
}

#[test]
fn an_append_only_account_adds_files_and_changes_none() {
    let world = World::new();
    sources(&world, 6);
    world.account("logger", "read,create");
    let way = ["src", "logger@nas:copy"];
    sync(&world, &[], way).ok();
    fs::write(world.local("src/f0"), "another one").unwrap();
    fs::write(world.local("src/d/f1"), noise(2 * BLOCK as usize, 1)).unwrap();
    let alone = sync(&world, &[], way).exits(3);
    let names: Vec<String> = failures(&alone).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["d/f1", "f0"], "{}", alone.shown());
    fs::write(world.local("src/new"), "new").unwrap();
    let ran = sync(&world, &["--json"], way).exits(3);
    let events = ran.events();
    assert_eq!(
        (paths(&events, "error"), paths(&events, "file")),
        (vec!["copy/d/f1".into(), "copy/f0".into()], vec!["copy/new".into()])
    );
    for error in of(&events, "error") {
        assert_eq!(error["code"], 7);
        assert!(error["message"].as_str().unwrap().contains("'overwrite'"), "{error}");
    }
    assert_eq!(fs::read(world.remote("copy/f0")).unwrap(), b"");
    assert_eq!(fs::read(world.remote("copy/d/f1")).unwrap(), noise(9, 1));
    assert_eq!(fs::read(world.remote("copy/new")).unwrap(), b"new");
    fs::create_dir(world.local("two")).unwrap();
    fs::write(world.local("two/f0"), "another one").unwrap();
    world.ft(["put", "-r", "two", "logger@nas:copy"]).exits(7).says("! f0: nas: ");
    assert_eq!(staging_beneath(&world.remote("")), [] as [&Path; 0]);
}

#[test]
fn more_than_may_be_deleted_is_a_limit_and_deletes_nothing() {
    let world = World::new();
    sources(&world, 4);
    for way in WAYS {
        let kept = extra(&world, way);
        fs::create_dir(kept.with_file_name("more")).unwrap();
        let ran = sync(&world, &["--json", "--delete", "--max-delete", "1"], way).exits(8);
        let events = ran.events();
        assert_eq!(of(&events, "file").len(), 4, "{}", ran.shown());
        assert_eq!((of(&events, "error").len(), &ran.event("error")["code"]), (1, &8.into()));
        assert!(kept.exists() && kept.with_file_name("more").exists() && kept.with_file_name("f0").exists());
        sync(&world, &["-n", "--delete", "--max-delete", "1"], way).exits(8);
        sync(&world, &["--delete", "--max-delete", "2"], way).ok();
        assert!(contents(&target(&world, way)) == contents(&source(&world, way)));
    }
}

#[test]
fn a_directory_for_backups_keeps_what_is_replaced_or_deleted() {
    let world = World::new();
    sources(&world, 6);
    for (way, backup, kept) in
        [(TO_SERVER, "nas:old", world.remote("old")), (FROM_SERVER, "old", world.local("old"))]
    {
        let (source, target) = (source(&world, way), target(&world, way));
        fs::write(source.join("d/large"), noise(2 * BLOCK as usize, 1)).unwrap();
        symlink("f0", source.join("link")).unwrap();
        sync(&world, &[], way).ok();
        fs::create_dir(target.join("gone")).unwrap();
        fs::write(target.join("gone/inner"), "deleted").unwrap();
        fs::write(source.join("d/large"), noise(2 * BLOCK as usize, 2)).unwrap();
        fs::write(source.join("f2"), "another one").unwrap();
        fs::remove_file(source.join("link")).unwrap();
        symlink("f2", source.join("link")).unwrap();
        sync(&world, &["--delete", "--backup-dir", backup], way).ok();
        assert!(contents(&target) == contents(&source));
        let kept = contents(&kept);
        let names: Vec<String> = kept.keys().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        assert_eq!(names, ["d", "d/large", "f2", "gone", "gone/inner", "link"]);
        assert!(kept[&b"d/large"[..]] == noise(2 * BLOCK as usize, 1) && kept[&b"f2"[..]] == noise(18, 2));
        assert_eq!(
            (kept[&b"gone/inner"[..]].as_slice(), kept[&b"link"[..]].as_slice()),
            (&b"deleted"[..], &b"f0"[..])
        );
    }
}

#[test]
fn sigusr1_says_how_far_the_directory_is_even_when_quiet() {
    let world = World::new();
    for way in WAYS {
        let source = source(&world, way);
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join("big"), noise(16 * BLOCK as usize, 3)).unwrap();
        let target = target(&world, way);
        let watch = Watch::new(target.parent().unwrap());
        let mut command = world.command(["sync", "-q", "--bwlimit", "1M"].iter().chain(&way));
        let (reader, writer) = std::io::pipe().unwrap();
        command.stdin(Stdio::null()).stderr(writer);
        let mut child = command.spawn().unwrap();
        drop(command);
        let said = lines(reader);
        let ask = |signal| kill_process(Pid::from_child(&child), signal).unwrap();
        // Before its first directory it may not listen to signals yet.
        watch.until(|| target.exists());
        let line = loop {
            ask(Signal::USR1);
            let line = said.recv_timeout(patience()).unwrap();
            if line != "nothing has moved yet" {
                break line;
            }
        };
        assert!(line.contains("big") && line.contains("16.0 MiB"), "{line}");
        ask(Signal::INT);
        assert_eq!(child.wait().unwrap().code(), Some(130));
    }
}

#[test]
fn a_listed_name_that_is_missing_is_named_once() {
    let world = World::new();
    sources(&world, 6);
    for way in WAYS {
        let listed = ["--json", "--files-from", "-"];
        let run = |names: &[u8]| world.ft_with(["sync"].iter().chain(&listed).chain(&way), names);
        let ran = run(b"f0\nnone\nd/none\nf2\n").exits(3);
        let base = way[1].strip_prefix("nas:").or(way[0].strip_prefix("nas:")).unwrap();
        assert_eq!(paths(&ran.events(), "error"), [format!("{base}/d/none"), format!("{base}/none")]);
        assert_eq!(paths(&ran.events(), "file"), [format!("{base}/f0"), format!("{base}/f2")]);
        assert_eq!(run(b"none\n").exits(4).event("error")["code"], 4);
    }
}

#[test]
fn links_in_circles_and_out_of_the_tree_are_copied_as_links() {
    let world = World::new();
    sources(&world, 2);
    for way in WAYS {
        let source = source(&world, way);
        for (name, to) in
            [("self", "self"), ("here", "."), ("d/up", ".."), ("x", "y"), ("y", "x"), ("out", "/etc/passwd")]
        {
            symlink(to, source.join(name)).unwrap();
        }
        let ran = sync(&world, &["--delete"], way).ok();
        assert!(contents(&target(&world, way)) == contents(&source), "{}", ran.shown());
        let links =
            seen(&target(&world, way)).into_values().filter(|seen| seen.mode & 0o170_000 == 0o120_000);
        assert_eq!(links.count(), 6);
        sync(&world, &["--delete", "--error-on-no-transfer"], way).exits(9);
    }
}
