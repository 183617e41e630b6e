//! Files and directories on many hosts: to all of them, from each into a directory of its own, compared and listed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use common::{Fleet, Kind, Watched, hosts, md5, noise, staging_beneath, states};
use rustix::process::Signal;
use serde_json::Value;

/// The files beneath, with what is in them.
fn files(top: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(top).unwrap().map(|entry| entry.unwrap()) {
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            let beneath = files(&entry.path()).into_iter();
            found.extend(beneath.map(|(path, text)| (format!("{name}/{path}"), text)));
        } else {
            found.push((name, fs::read_to_string(entry.path()).unwrap()));
        }
    }
    found.sort();
    found
}

fn listed(files: &[(String, String)]) -> Vec<(&str, &str)> {
    files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect()
}

/// Puts a file on every host; `@` in its content becomes the host's name.
fn serve(fleet: &Fleet, path: &str, content: &str) {
    for name in fleet.names() {
        let path = fleet.remote(&name, path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content.replace('@', &name)).unwrap();
    }
}

fn keep(fleet: &Fleet, path: &str, content: impl AsRef<[u8]>) {
    let path = fleet.local(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_file_arrives_on_all_and_is_verified_on_each() {
    let fleet = Fleet::in_process(3);
    let data = noise(1_500_000, 1);
    keep(&fleet, "file", &data);
    let ran = fleet.ft(["put", "--json", "-g", "all", "file", ":a/b"]).exits(3);
    assert_eq!(states(&ran.events()), ["web001=failed", "web002=failed", "web003=failed"]);
    let ran = fleet.ft(["put", "--json", "--mkdirs", "-g", "all", "file", ":a/b"]).ok();
    let events = ran.events();
    for (name, host) in hosts(&events) {
        assert!(fs::read(fleet.remote(&name, "a/b")).unwrap() == data);
        let counts = ["files", "verified", "failed", "bytes"].map(|count| host[count].clone());
        assert_eq!(counts, [1, 1, 0, data.len()].map(Value::from));
        let files = events.iter().filter(|event| event["type"] == "file" && event["host"] == name.as_str());
        let digests: Vec<&Value> = files.map(|file| &file["digest"]["hex"]).collect();
        assert_eq!(digests, [&Value::from(md5(&data))]);
    }
    let summary = ran.event("summary");
    let counts = ["files", "verified", "bytes", "hosts_ok"].map(|count| summary[count].clone());
    assert_eq!(counts, [3, 3, 3 * data.len(), 3].map(Value::from));
    let said = fleet.ft(["put", "-g", "all", "file", ":"]).ok().err;
    for name in fleet.names() {
        assert!(said.contains(&format!("\n{name}: file: 1.4 MiB in ")) || said.starts_with(&name), "{said}");
    }
}

#[test]
fn a_tree_and_standard_input_arrive_on_all() {
    let fleet = Fleet::in_process(3);
    keep(&fleet, "src/a", "one");
    keep(&fleet, "src/d/b", "two");
    fleet.ft(["put", "-r", "-g", "all", "-f", "2", "src", ":copy"]).ok();
    let data = noise(1_200_000, 2);
    fleet.ft_with(["put", "-g", "all", "-f", "2", "-", ":piped"], &data).ok();
    for name in fleet.names() {
        assert_eq!(listed(&files(&fleet.remote(&name, "copy"))), [("a", "one"), ("d/b", "two")]);
        assert!(fs::read(fleet.remote(&name, "piped")).unwrap() == data);
    }
    let again = fleet.ft(["put", "--json", "-r", "-g", "all", "src", ":copy"]).ok();
    assert_eq!(again.event("summary")["bytes"], 0);
}

#[test]
fn what_is_got_stands_in_a_directory_of_its_host() {
    let fleet = Fleet::in_process(2);
    serve(&fleet, "log/a.txt", "a of @");
    serve(&fleet, "log/b.txt", "b of @");
    serve(&fleet, "log/c.tmp", "c of @");
    fleet.ft(["get", "-g", "all", ":log/a.txt", "one"]).ok();
    fleet.ft(["get", "-g", "all", ":log/a.txt"]).ok();
    let a = [("web001/a.txt", "a of web001"), ("web002/a.txt", "a of web002")];
    assert_eq!(listed(&files(&fleet.local("one"))), a);
    let here = files(&fleet.local(""));
    assert_eq!(listed(&here)[2..], a);

    fleet.ft(["get", "-g", "all", ":log/*.txt", "some/deep"]).ok();
    let both =
        |name: &str| ["a", "b"].map(|file| (format!("{name}/{file}.txt"), format!("{file} of {name}")));
    assert_eq!(files(&fleet.local("some/deep")), [both("web001"), both("web002")].concat());

    for _ in 0..2 {
        fleet.ft(["get", "-r", "-g", "all", ":log", "tree"]).ok();
        let tree = files(&fleet.local("tree"));
        let names: Vec<&str> = tree.iter().map(|(path, _)| path.as_str()).collect();
        let expected = ["a.txt", "b.txt", "c.tmp"].map(|file| format!("web001/{file}"));
        assert_eq!((&names[..3], tree.len()), (&expected.each_ref().map(String::as_str)[..], 6));
    }

    // What is not there leaves no directory behind, and a dry run none at all.
    fs::remove_file(fleet.remote("web002", "log/b.txt")).unwrap();
    fleet.ft(["get", "-g", "all", ":log/b.txt", "b"]).exits(3);
    assert!(fleet.local("b/web001/b.txt").exists() && !fleet.local("b/web002").exists());
    for args in [&["get", "-n"][..], &["get", "-r", "-n"], &["get", "-r", "-n", "-t", "dry"], &["sync", "-n"]]
    {
        let source = if args.contains(&"-r") || args[0] == "sync" { ":log" } else { ":log/a.txt" };
        let target = if args.contains(&"-t") { &[][..] } else { &["dry"] };
        let ran = fleet.ft(args.iter().chain(&["-g", "all", source]).chain(target)).ok();
        assert_eq!(
            ran.err.matches("log/a.txt: 11 B").count() + ran.err.matches("+ a.txt: 11 B").count(),
            2,
            "{}",
            ran.err
        );
        assert!(!fleet.local("dry").exists(), "{args:?}");
    }
}

#[test]
fn sync_makes_all_equal_and_fetches_each_into_its_own_directory() {
    let fleet = Fleet::in_process(2);
    keep(&fleet, "src/a", "one");
    serve(&fleet, "dst/old", "old of @");
    fleet.ft(["sync", "--delete", "-g", "all", "src", ":dst"]).ok();
    for name in fleet.names() {
        assert_eq!(listed(&files(&fleet.remote(&name, "dst"))), [("a", "one")]);
    }
    fleet.ft(["sync", "-g", "all", ":dst", "all"]).ok();
    assert_eq!(listed(&files(&fleet.local("all"))), [("web001/a", "one"), ("web002/a", "one")]);

    // What is deleted or replaced here is that of the same host, and so is what is kept of it.
    serve(&fleet, "dst/a", "new of @");
    for name in fleet.names() {
        keep(&fleet, &format!("all/{name}/gone"), &name);
    }
    keep(&fleet, "all/else", "stays");
    fleet.ft(["sync", "--delete", "--backup-dir", "kept", "-g", "all", ":dst", "all"]).ok();
    assert_eq!(
        listed(&files(&fleet.local("all"))),
        [("else", "stays"), ("web001/a", "new of web001"), ("web002/a", "new of web002")]
    );
    let kept = files(&fleet.local("kept"));
    assert_eq!(
        listed(&kept),
        [("web001/a", "one"), ("web001/gone", "web001"), ("web002/a", "one"), ("web002/gone", "web002")]
    );
    let again = fleet.ft(["sync", "--json", "--delete", "-g", "all", ":dst", "all"]).ok();
    assert_eq!(again.event("summary")["bytes"], 0);
    for name in fleet.names() {
        assert_eq!(staging_beneath(&fleet.remote(&name, "")), staging_beneath(&fleet.local("all")));
    }
}

#[test]
fn the_other_commands_speak_of_each_host() {
    let fleet = Fleet::in_process(2);
    serve(&fleet, "d/a", "same");
    serve(&fleet, "d/b", "of @");
    let lines = |args: &[&str]| {
        let text = fleet.ft(args.iter().chain(&["-g", "all"])).ok().text();
        sorted(&text).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(&["ls", ":d"]), ["web001: a", "web001: b", "web002: a", "web002: b"]);
    let sum = |name: &str, text: &str| format!("{name}: {}  d/b", md5(text.as_bytes()));
    assert_eq!(lines(&["sum", ":d/b"]), [sum("web001", "of web001"), sum("web002", "of web002")]);
    assert_eq!(lines(&["stat", ":d/a"]).iter().filter(|line| line.ends_with("kind: file")).count(), 2);
    lines(&["mkdir", ":e"]);
    lines(&["mv", ":d/b", ":e/b"]);
    lines(&["rm", ":d/a"]);
    assert_eq!(lines(&["ls", ":d"]), Vec::<String>::new());
    assert!(fleet.names().iter().all(|name| fleet.remote(name, "e/b").exists()));

    keep(&fleet, "e/b", "of web002");
    let ran = fleet.ft(["check", "-g", "all", "e", ":e"]).exits(3);
    assert_eq!(sorted(&ran.text()), ["web001: * b", "web002: = b"]);
    let events = fleet.ft(["check", "-S", "--json", "-g", "all", "e", ":e"]).exits(1).events();
    assert_eq!(states(&events), ["web001=failed", "web002=ok"]);
    let found = &hosts(&events);
    assert_eq!((&found["web001"]["verified"], &found["web002"]["verified"]), (&0.into(), &1.into()));
}

#[test]
fn paths_begin_where_the_configuration_says() {
    let mut fleet = Fleet::in_process(2);
    fleet.set("web002", "root = 'deep/er'");
    serve(&fleet, "name", "top of @");
    serve(&fleet, "deep/er/name", "depth of @");
    keep(&fleet, "file", "new");
    fleet.ft(["get", "-g", "all", ":name", "."]).ok();
    fleet.ft(["put", "-g", "all", "file", ":"]).ok();
    assert_eq!(
        listed(&files(&fleet.local(""))),
        [("file", "new"), ("web001/name", "top of web001"), ("web002/name", "depth of web002")]
    );
    let there = |name, path| fleet.remote(name, path).exists();
    assert_eq!((there("web001", "file"), there("web002", "deep/er/file")), (true, true));
    assert!(!there("web002", "file") && !there("web001", "deep/er/file"));
}

#[test]
fn each_host_has_a_receipt_of_its_own() {
    let fleet = Fleet::in_process(3);
    keep(&fleet, "file", "content");
    let events = fleet.ft(["put", "--json", "-g", "all", "file", ":"]).ok().events();
    let directory = fleet.home().join(".local/state/ftclient/receipts");
    let text = |path| fs::read_to_string(path).unwrap();
    let receipts = fs::read_dir(directory).unwrap().map(|entry| text(entry.unwrap().path()));
    let told: BTreeSet<(String, String)> = receipts
        .map(|receipt| {
            let lines: Vec<Value> = receipt.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!((lines.len(), &lines[1]["digest"]["hex"]), (2, &Value::from(md5(b"content"))));
            let word = |name: &str| lines[0][name].as_str().unwrap().to_owned();
            (word("host"), word("run"))
        })
        .collect();
    let runs = hosts(&events).into_iter();
    let runs = runs.map(|(name, host)| (name, host["run"].as_str().unwrap().to_owned()));
    assert_eq!(told, runs.collect());
    let run = &told.iter().find(|(host, _)| host == "web002").unwrap().1;
    fleet.ft(["check", "--receipt", run]).ok();
    fs::write(fleet.remote("web002", "file"), "rotten!").unwrap();
    assert!(fleet.ft(["check", "--receipt", run]).exits(1).text().contains("* web002:file\n"));
}

/// Runs a put to one host after the other; between them the source changes.
#[track_caller]
fn put_while(old: &[u8], new: &[u8], change: impl FnOnce(&Path)) {
    let mut fleet = Fleet::of(&[("web1", Kind::Process), ("web2", Kind::Stopped)]);
    keep(&fleet, "file", old);
    let mut command = fleet.command(["put", "--json", "-f", "1", "-g", "all", "file", ":"]);
    let mut put = Watched::start(&mut command, &[]);
    put.until(|_, said| said.contains("\"type\":\"host\""));
    change(&fleet.local("file"));
    fleet.server("web2").signal(Signal::CONT);
    let (ran, events) = put.finish();
    ran.ok();
    assert_eq!(states(&events), ["web1=ok", "web2=ok"]);
    assert!(fs::read(fleet.remote("web1", "file")).unwrap() == old);
    assert!(fs::read(fleet.remote("web2", "file")).unwrap() == new);
    let files = events.iter().filter(|event| event["type"] == "file");
    let digests: Vec<&Value> = files.map(|file| &file["digest"]["hex"]).collect();
    assert_eq!(digests, [md5(old), md5(new)].map(Value::from).each_ref());
}

#[test]
fn a_source_that_changes_between_hosts_arrives_whole_on_each() {
    let (old, new) = (noise(3 << 20, 1), noise((3 << 20) + 7, 2));
    put_while(&old, &new, |path| fs::write(path, &new).unwrap());
    // What was known of it must not be taken for what it is now, though its size and time say so.
    let new = noise(old.len(), 3);
    put_while(&old, &new, |path| {
        let file = File::options().write(true).open(path).unwrap();
        let time = file.metadata().unwrap().modified().unwrap();
        file.write_all_at(&new, 0).unwrap();
        file.set_modified(time).unwrap();
    });
}
