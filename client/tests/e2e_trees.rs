//! Directories at the command line: where they land, what is said, and the code that a script sees.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::{World, md5, noise};
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::Value;

/// A directory with files, a link, and directories that are empty.
fn plant(top: &Path) {
    fs::create_dir_all(top.join("d/empty")).unwrap();
    for (name, content) in [("a.txt", "one"), ("d/b.txt", "two"), ("d/c.tmp", "three")] {
        fs::write(top.join(name), content).unwrap();
    }
    symlink("a.txt", top.join("link")).unwrap();
}

/// Every name beneath, with what is there.
fn contents(top: &Path) -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    let mut open = vec![top.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let what = match (meta.is_dir(), meta.is_symlink()) {
                (true, _) => "directory".to_owned(),
                (_, true) => format!("link {}", fs::read_link(&path).unwrap().display()),
                _ => md5(&fs::read(&path).unwrap()),
            };
            all.push((path.strip_prefix(top).unwrap().to_owned(), what));
            if meta.is_dir() {
                open.push(path);
            }
        }
    }
    all.sort();
    all
}

#[track_caller]
fn same(one: &Path, other: &Path) {
    assert_eq!(contents(one), contents(other));
}

/// The names of itemised lines, with their signs, in order.
fn items(err: &str) -> Vec<String> {
    let is_item = |line: &&str| ["+ ", "* ", "- ", "! "].iter().any(|sign| line.starts_with(sign));
    err.lines().filter(is_item).map(|line| line.split(": ").next().unwrap().to_owned()).collect()
}

#[test]
fn a_directory_goes_there_and_back_and_a_second_time_changes_nothing() {
    let world = World::new();
    plant(&world.local("src"));
    let ran = world.ft(["put", "-r", "src", "nas:copy"]).ok();
    assert_eq!(items(&ran.err), ["+ a.txt", "+ d/", "+ d/b.txt", "+ d/c.tmp", "+ d/empty/", "+ link"]);
    assert!(ran.err.contains(&format!("+ a.txt: 3 B, md5 {} verified\n", md5(b"one"))), "{}", ran.err);
    assert!(ran.err.contains("\n3 files, 11 B in "), "{}", ran.err);
    same(&world.local("src"), &world.remote("copy"));
    let again = world.ft(["put", "-r", "src", "nas:copy"]).ok();
    assert_eq!((items(&again.err), again.err.contains("3 equal already")), (vec![], true), "{}", again.err);
    assert_eq!(world.ft(["get", "-r", "-q", "nas:copy", "back"]).ok().err, "");
    same(&world.local("src"), &world.local("back"));
    assert_eq!(world.ft(["get", "-r", "--error-on-no-transfer", "nas:copy", "back"]).exits(9).text(), "");
    world.nothing_is_staged();
}

#[test]
fn a_copy_goes_into_what_can_only_be_a_directory_and_becomes_anything_else() {
    let world = World::new();
    plant(&world.local("src"));
    fs::create_dir_all(world.remote("there")).unwrap();
    world.ft(["put", "-r", "src", "nas:there"]).ok();
    assert!(world.remote("there/a.txt").exists(), "it becomes the copy although it exists");
    let into = world.ft(["put", "-r", "src/", "nas:there/"]).ok();
    assert!(world.remote("there/src/a.txt").exists() && items(&into.err).contains(&"+ src/a.txt".to_owned()));
    world.keep("single", "1");
    world.ft(["put", "-r", "src", "single", "nas:there/d"]).ok();
    assert!(world.remote("there/d/src/a.txt").exists() && world.remote("there/d/single").exists());
    world.ft(["put", "-r", "src/.", "nas:there/empty/", "--mkdirs"]).ok();
    assert!(world.remote("there/empty/a.txt").exists(), "the contents of '.', as with cp");

    fs::create_dir(world.local("into")).unwrap();
    world.ft(["get", "-r", "nas:there/s*", "into"]).ok();
    assert!(world.local("into/src/a.txt").exists(), "what a pattern names goes into the target");
    world.ft(["get", "-r", "nas:there/s*", "missing"]).exits(2).says("pattern");
    world.ft(["get", "-r", "-t", "into", "nas:there/d", "nas:there/a.txt"]).ok();
    assert!(world.local("into/d/b.txt").exists() && world.local("into/a.txt").exists());
    world.ft(["get", "-r", "nas:there/d/single", "one"]).ok();
    assert_eq!(fs::read(world.local("one")).unwrap(), b"1");
    world.ft(["get", "-r", "nas:", "all"]).ok();
    same(&world.remote(""), &world.local("all"));
}

#[test]
fn a_dry_run_names_what_the_run_names_and_does_nothing() {
    let world = World::new();
    plant(&world.local("src"));
    plant(&world.remote("copy"));
    fs::write(world.local("src/a.txt"), "another one").unwrap();
    fs::write(world.local("src/new"), "new").unwrap();
    fs::remove_file(world.local("src/d/b.txt")).unwrap();
    // The times of what is equal are those of the source from here on.
    world.ft(["sync", "--exclude", "/a.txt", "--exclude", "/new", "src", "nas:copy"]).ok();
    let before = contents(&world.remote("copy"));
    let dry = world.ft(["sync", "-n", "--delete", "src", "nas:copy"]).ok();
    assert_eq!(contents(&world.remote("copy")), before);
    assert_eq!(items(&dry.err), ["* a.txt", "+ new", "- d/b.txt"]);
    assert!(dry.err.contains("would transfer 2 files"), "{}", dry.err);
    let single = world.ft(["get", "-r", "-n", "nas:copy/link", "nas:copy/d", "."]).ok();
    assert_eq!(items(&single.err), ["+ copy/link", "+ d/b.txt", "+ d/c.tmp", "+ d/empty/"]);
    assert!(!world.local("d").exists() && !world.local("link").exists());
    let ran = world.ft(["sync", "--delete", "src", "nas:copy"]).ok();
    assert_eq!(items(&ran.err), items(&dry.err));
    same(&world.local("src"), &world.remote("copy"));
}

#[test]
fn sync_copies_what_differs_both_ways_and_deletes_only_where_told() {
    let world = World::new();
    plant(&world.remote("origin"));
    assert_eq!(items(&world.ft(["sync", ":origin", "copy"]).ok().err).len(), 6);
    let again = world.ft(["sync", "nas:origin/", "copy/"]).ok();
    assert_eq!(again.err.trim_end(), "0 files; 3 equal already");
    fs::remove_dir_all(world.remote("origin/d")).unwrap();
    world.ft(["sync", ":origin", "copy"]).ok();
    assert!(world.local("copy/d/b.txt").exists());
    world.ft(["sync", "--delete", "--max-delete", "1", ":origin", "copy"]).exits(8);
    assert!(world.local("copy/d/b.txt").exists());
    let ran = world.ft(["sync", "--delete", "--backup-dir", "old", ":origin", "copy"]).ok();
    assert!(ran.err.contains("deleted"), "{}", ran.err);
    same(&world.remote("origin"), &world.local("copy"));
    assert_eq!(fs::read(world.local("old/d/b.txt")).unwrap(), b"two");
}

#[test]
fn only_what_was_chosen_takes_part() {
    let world = World::new();
    plant(&world.local("src"));
    world
        .ft(["put", "-r", "--include", "c.tmp", "--exclude", "*.tmp", "--exclude", "/a.txt", "src", "nas:1"])
        .ok();
    assert!(world.remote("1/d/c.tmp").exists() && !world.remote("1/a.txt").exists());
    world.keep("patterns", "# none of these\n*.tmp\nlink\n");
    world.ft(["sync", "--exclude-from", "patterns", "src", "nas:2"]).ok();
    assert!(world.remote("2/d/b.txt").exists() && !world.remote("2/d/c.tmp").exists());
    assert!(world.remote("2/link").symlink_metadata().is_err());
    world.ft_with(["get", "-r", "--files-from", "-", "nas:1", "3"], b"d/b.txt\n").ok();
    assert_eq!(contents(&world.local("3")).len(), 2, "the directory, and the file in it");
    let ran = world.ft_with(["get", "-r", "--files-from", "-", "nas:1", "3"], b"d/b.txt\nd/none\n").exits(3);
    assert_eq!(items(&ran.err), ["! d/none"]);
    world.ft(["sync", "--exclude", "a[", "src", "nas:4"]).exits(2);
    world.ft(["sync", "--files-from", "nosuch", "src", "nas:4"]).exits(2).says("nosuch");
}

#[test]
fn what_cannot_be_put_in_place_is_named_once_and_the_rest_arrives() {
    let world = World::new();
    plant(&world.local("src"));
    plant(&world.remote("copy"));
    // A FIFO stands where a file is to go, and is not replaced.
    fs::remove_file(world.remote("copy/a.txt")).unwrap();
    mkfifoat(CWD, world.remote("copy/a.txt"), Mode::RWXU).unwrap();
    let ran = world.ft(["sync", "--checksum", "--delete", "-q", "src", "nas:copy"]).exits(3);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    assert!(ran.err.starts_with("! a.txt: nas: "), "{}", ran.err);
    let json = world.ft(["sync", "--json", "--checksum", "--delete", "src", "nas:copy"]).exits(3);
    let error = json.event("error");
    assert_eq!((&error["path"], &error["host"]), (&"copy/a.txt".into(), &"nas".into()));
    assert_eq!((&json.event("summary")["failed"], &json.event("summary")["exit"]), (&1.into(), &3.into()));
    world.ft(["sync", "--delete", "--checksum", "src", "nas:copy"]).exits(3).says("nothing was deleted");
}

#[test]
fn what_ends_the_job_keeps_its_code() {
    let world = World::new();
    plant(&world.local("src"));
    world.ft(["put", "-r", "src", "nas:x/y"]).exits(4).says("--mkdirs");
    world.ft(["put", "-r", "--mkdirs", "src", "nas:x/y"]).ok();
    world.ft(["get", "-r", "nas:none", "copy"]).exits(4);
    world.ft(["sync", "nosuch", "nas:x"]).exits(4);
    world.ft(["sync", "nas:x/y/a.txt", "copy"]).exits(1).says("sync makes directories equal");
    assert!(!world.local("copy").exists());
    // Of several sources the others go on.
    world.ft(["get", "-r", "nas:none", "nas:x", "."]).exits(3);
    assert!(world.local("x/y/a.txt").exists());
    world.account("reader", "read");
    world.ft(["put", "-r", "src", "reader@nas:new"]).exits(7);
    world.ft(["sync", "-l", "reader", "--delete", "src", ":x/y"]).exits(7);
}

#[test]
fn events_tell_all_that_lines_tell() {
    let world = World::new();
    plant(&world.local("src"));
    let events = world.ft(["put", "-r", "--json", "src", "nas:copy"]).ok().events();
    let of = |kind: &str| -> Vec<&Value> { events.iter().filter(|event| event["type"] == kind).collect() };
    let file = of("file").into_iter().find(|event| event["path"] == "copy/d/b.txt").unwrap();
    assert_eq!(
        (&file["action"], &file["change"], &file["bytes"]),
        (&"put".into(), &"created".into(), &3.into())
    );
    assert_eq!((&file["digest"]["hex"], &file["verified"]), (&md5(b"two").into(), &true.into()));
    let link = of("item").into_iter().find(|event| event["path"] == "copy/link").unwrap();
    assert_eq!(
        (&link["kind"], &link["change"], &link["dry_run"]),
        (&"symlink".into(), &"created".into(), &false.into())
    );
    let summary = of("summary")[0];
    for (field, value) in
        [("files", 3), ("verified", 3), ("equal", 0), ("deleted", 0), ("failed", 0), ("bytes", 11)]
    {
        assert_eq!(summary[field], value, "{field}");
    }
    fs::write(world.local("src/big"), noise(3 << 20, 1)).unwrap();
    let status = world.ft(["put", "-r", "--json", "src", "nas:copy"]).ok().events();
    let last = status.iter().rfind(|event| event["type"] == "status").unwrap();
    assert!(last["files_total"].is_null() || last["files_total"] == 4, "{last}");
}

#[test]
fn check_compares_two_trees_and_moves_nothing() {
    let world = World::new();
    plant(&world.local("src"));
    plant(&world.remote("copy"));
    let ran = world.ft(["check", "src", "nas:copy"]).ok();
    assert_eq!(ran.text(), "= a.txt\n= d/b.txt\n= d/c.tmp\n= link\n");
    assert!(ran.err.ends_with("4 equal\n"), "{}", ran.err);
    fs::write(world.local("src/a.txt"), "0ne").unwrap();
    fs::write(world.local("src/here"), "").unwrap();
    fs::write(world.remote("copy/there"), "").unwrap();
    let before = contents(&world.local("src"));
    let ran = world.ft(["check", "-q", "--exclude", "*.tmp", "src", "nas:copy"]).exits(1);
    assert_eq!((ran.text().as_str(), ran.err.as_str()), ("* a.txt\n+ here\n- there\n", ""));
    assert_eq!(contents(&world.local("src")), before);
    world.ft(["check", "none", "nas:copy"]).exits(4);
    world.ft(["check", "src", "nas:none"]).exits(4);
}

#[test]
fn a_receipt_of_a_tree_finds_a_file_that_rotted() {
    let world = World::new();
    plant(&world.local("src"));
    fs::write(world.local("src/d/big"), noise(2 << 20, 5)).unwrap();
    world.ft(["sync", "src", "nas:copy"]).ok();
    assert_eq!(world.ft(["check", "--receipt", "last"]).ok().text().lines().count(), 8);
    let path = world.remote("copy/d/big");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    let mut content = fs::read(&path).unwrap();
    content[1_500_000] ^= 1;
    fs::write(&path, content).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    let ran = world.ft(["check", "-q", "--receipt", "last"]).exits(1).says("damaged");
    assert_eq!(ran.text(), "* nas:copy/d/big\n");
}

#[test]
fn the_shell_has_them_too() {
    let world = World::new();
    plant(&world.local("src"));
    let script =
        b"mkdir x\ncd x\nput -r src\nsync src :../y\nsync :src 'my copy'\ncheck src src\nget -r src back\n";
    world.ft_with(["shell"], script).ok();
    for copy in [world.remote("x/src"), world.remote("y"), world.local("my copy"), world.local("back")] {
        same(&world.local("src"), &copy);
    }
    world.ft_with(["shell"], b"sync src nas:y\n").exits(2).says(":path");
    world.ft_with(["shell"], b"put -r --files-from - src\n").exits(2).says("standard input");
}
