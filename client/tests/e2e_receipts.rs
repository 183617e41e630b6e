//! Receipts: what each run put in place, and whether it is still what it was.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::{World, md5, noise};
use serde_json::Value;

fn receipts(world: &World) -> Vec<PathBuf> {
    let directory = world.home().join(".local/state/ftclient/receipts");
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn lines(world: &World) -> Vec<Value> {
    let text = fs::read_to_string(receipts(world).last().unwrap()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Where the client runs, as it names it.
fn work(world: &World, name: &str) -> String {
    world.local(name).display().to_string()
}

#[test]
fn every_run_that_put_something_in_place_leaves_a_receipt() {
    let world = World::new();
    world.serve("a", "one");
    let start = world.ft(["get", "--json", "nas:a"]).ok().event("start");
    let path = receipts(&world).pop().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(path.to_str().unwrap().ends_with(&format!("{}.jsonl", start["run"].as_str().unwrap())));
    let lines = lines(&world);
    assert_eq!((&lines[0]["type"], &lines[0]["action"]), (&"run".into(), &"get".into()));
    assert_eq!((&lines[0]["run"], &lines[0]["host"]), (&start["run"], &"nas".into()));
    assert_eq!(
        (&lines[0]["local"], &lines[0]["remote"]),
        (&work(&world, "").trim_end_matches('/').into(), &"".into())
    );
    assert_eq!(
        (&lines[1]["path"], &lines[1]["size"], &lines[1]["verified"]),
        (&"a".into(), &3.into(), &true.into())
    );
    assert_eq!(lines[1]["digest"], serde_json::json!({"alg": "md5", "hex": md5(b"one")}));
    world.keep("b", "two");
    world.ft(["put", "b", "nas:c"]).ok();
    world.ft(["get", "nas:none"]).exits(4);
    world.ft(["get", "-n", "nas:a"]).ok();
    assert_eq!(receipts(&world).len(), 2, "a failure and a dry run leave none");
}

#[test]
fn bit_rot_is_found_on_either_side() {
    let world = World::new();
    let content = noise(3 << 20, 1);
    world.serve("a", &content);
    world.serve("b", "two");
    world.ft(["get", "-p", "nas:a", "nas:b", "."]).ok();
    let (a, b) = (work(&world, "a"), work(&world, "b"));
    let all = world.ft(["check", "--receipt", "last"]).ok();
    assert_eq!(all.text(), format!("= {a}\n= nas:a\n= {b}\n= nas:b\n"));
    assert!(all.err.ends_with("4 equal\n"), "{}", all.err);

    // A bit that falls over changes neither size nor time.
    let time = fs::metadata(world.local("a")).unwrap().modified().unwrap();
    let mut rotten = content.clone();
    rotten[1 << 20] ^= 1;
    world.keep("a", &rotten);
    fs::File::options().write(true).open(world.local("a")).unwrap().set_modified(time).unwrap();
    let local = world.ft(["check", "--receipt", "last", "--local"]).exits(1).says("damaged");
    assert_eq!(local.text(), format!("* {a}\n= {b}\n"));
    assert_eq!(world.ft(["check", "--receipt", "last", "--remote"]).ok().text(), "= nas:a\n= nas:b\n");

    fs::remove_file(world.remote("a")).unwrap();
    world.serve("b", "2");
    let remote = world.ft(["check", "-q", "--receipt", "last", "--remote"]).exits(1);
    assert_eq!((remote.text().as_str(), remote.err.as_str()), ("- nas:a\n* nas:b\n", ""));
    let json = world.ft(["check", "--json", "--receipt", "last", "--remote"]).exits(1);
    let found: Vec<Value> = json.events().into_iter().filter(|event| event["type"] == "check").collect();
    assert_eq!((&found[0]["result"], &found[0]["side"]), (&"missing".into(), &"remote".into()));
    assert_eq!((&json.event("summary")["differ"], &json.event("summary")["exit"]), (&1.into(), &1.into()));

    fs::remove_file(world.local("b")).unwrap();
    fs::create_dir(world.local("b")).unwrap();
    world.ft(["check", "--receipt", "last", "--local"]).exits(3).says("no regular file");
}

#[test]
fn the_local_side_needs_no_server() {
    let mut world = World::new();
    world.serve("a", "one");
    world.ft(["get", "nas:a"]).ok();
    world.server.kill();
    world.ft(["check", "--receipt", "last", "--local"]).ok();
    world.ft(["check", "--receipt", "last", "--sums"]).ok();
    world.ft(["check", "--receipt", "last", "--remote", "--retries", "0"]).exits(5);
}

#[test]
fn a_receipt_is_found_by_its_run_and_names_its_own_host() {
    let world = World::new();
    world.serve("a", "one");
    let first = world.ft(["get", "--json", "nas:a"]).ok().event("start")["run"].as_str().unwrap().to_owned();
    world.serve("b", "two");
    world.ft(["get", "nas:b"]).ok();
    // Another default host changes nothing: the receipt knows where it came from.
    let mut check = world.command(["check", "--receipt", &first[..12], "--remote"]);
    let ran = common::run(check.env("FTCLIENT_HOSTS", "127.0.0.1:1"), b"").ok();
    assert_eq!(ran.text(), "= nas:a\n");
    world.ft(["check", "--receipt", "0000nosuch"]).exits(4).says("'last'");
    let path = receipts(&world).remove(0);
    world.ft(["check".as_ref(), "--receipt".as_ref(), path.as_os_str(), "--local".as_ref()]).ok();
    fs::write(world.local("other.jsonl"), "{}\n").unwrap();
    world.ft(["check", "--receipt", "other.jsonl"]).exits(2).says("no receipt");
}

#[test]
fn sums_are_what_md5sum_checks() {
    let world = World::new();
    for (name, content) in [("a b", "one"), ("back\\slash", "two"), ("line\nfeed", "three")] {
        world.serve(name, content);
    }
    world.ft(["get", "nas:*"]).ok();
    let sums = world.ft(["check", "--receipt", "last", "--md5sums"]).ok();
    fs::write(world.local("MD5SUMS"), &sums.out).unwrap();
    let md5sum = || {
        let mut command = Command::new("md5sum");
        command.args(["--check", "--quiet", "MD5SUMS"]).current_dir(world.local("")).stdout(Stdio::null());
        command.stderr(Stdio::null()).status().unwrap().success()
    };
    assert!(md5sum());
    world.keep("a b", "0ne");
    assert!(!md5sum());
    let remote = world.ft(["check", "--receipt", "last", "--sums", "--remote"]).ok().text();
    assert!(remote.starts_with(&format!("{}  a b\n", md5(b"one"))), "{remote}");
    let content = noise(2 << 20, 2);
    world.serve("big", &content);
    world.ft(["get", "--digest", "md5-tree", "nas:big"]).ok();
    world.ft(["check", "--receipt", "last", "--sums"]).exits(3).says("left out");
    world.ft(["check", "--receipt", "last"]).ok();
}

#[test]
fn a_stream_has_a_receipt_of_its_remote_side() {
    let world = World::new();
    world.ft_with(["put", "-", "nas:db.sql"], b"dump").ok();
    assert_eq!(lines(&world)[0]["local"], Value::Null);
    assert_eq!(world.ft(["check", "--receipt", "last"]).ok().text(), "= nas:db.sql\n");
}

#[test]
fn where_no_receipt_can_be_written_the_transfer_succeeds_all_the_same() {
    let world = World::new();
    world.serve("a", "one");
    fs::create_dir_all(world.home().join(".local")).unwrap();
    fs::write(world.home().join(".local/state"), "in the way").unwrap();
    world.ft(["get", "nas:a"]).ok().says("warning: there is no receipt of this run");
    assert_eq!(fs::read(world.local("a")).unwrap(), b"one");
}

#[test]
fn one_file_is_compared_without_moving_it() {
    let world = World::new();
    world.serve("a", "one");
    world.keep("a", "one");
    assert_eq!(world.ft(["check", "a", "nas:a"]).ok().text(), "= a\n");
    world.keep("a", "two");
    assert_eq!(world.ft(["check", "a", "nas:a"]).exits(1).text(), "* a\n");
    assert_eq!(world.ft(["check", "a", "nas:none"]).exits(1).text(), "+ none\n");
}
