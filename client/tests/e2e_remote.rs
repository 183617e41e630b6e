//! Housekeeping on the server, and joining one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::time::Duration;

use common::{World, md5};
use ft_protocol::auth::JoinString;
use ftserver::identity::Identity;
use ftserver::invites::{Invitation, Invites};

#[test]
fn sum_prints_what_md5sum_can_check() {
    let world = World::new();
    let names: [&[u8]; 5] = [b"a b", b"back\\slash", b"caf\xe9", b"line\nfeed", b"plain"];
    for name in names {
        world.serve(OsStr::from_bytes(name), name);
    }
    let sums = world.ft(["sum", "nas:*"]).ok().out;
    let mut checked = Vec::new();
    for line in sums.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let (escaped, line) = match line.strip_prefix(b"\\") {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let (digest, name) = (&line[..32], line[32..].strip_prefix(b"  ").unwrap());
        let name = if escaped { unescape(name) } else { name.to_vec() };
        let content = fs::read(world.remote(OsStr::from_bytes(&name))).unwrap();
        assert_eq!(digest, md5(&content).as_bytes());
        checked.push(name);
    }
    assert_eq!(checked, names);
    let sum = world.ft(["sum", "--json", "nas:plain"]).ok().event("file");
    assert_eq!((&sum["action"], &sum["digest"]["hex"]), (&"sum".into(), &md5(b"plain").into()));
    let long = world.ft(["sum", "--digest", "sha256", "nas:plain"]).ok().text();
    assert_eq!(long.split_once("  ").map(|(hex, name)| (hex.len(), name)), Some((64, "plain\n")));
    world.ft(["sum", "nas:plain", "nas:none"]).exits(3).says("none");
    world.ft(["sum", "nas:none"]).exits(4);
}

/// As md5sum does it.
fn unescape(name: &[u8]) -> Vec<u8> {
    let (mut plain, mut bytes) = (Vec::new(), name.iter());
    while let Some(byte) = bytes.next() {
        plain.push(match (byte, byte == &b'\\') {
            (_, true) => match bytes.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                other => *other.unwrap(),
            },
            (other, false) => *other,
        });
    }
    plain
}

#[test]
fn sum_sees_a_change_of_the_file() {
    let world = World::new();
    for content in ["one", "two"] {
        world.serve("a", content);
        assert_eq!(world.ft(["sum", "nas:a"]).ok().text(), format!("{}  a\n", md5(content.as_bytes())));
    }
}

#[test]
fn files_and_directories_are_made_moved_and_removed() {
    let world = World::new();
    world.ft(["mkdir", "nas:d"]).ok();
    world.ft(["mkdir", "nas:d"]).exits(1).says("exists");
    world.ft(["mkdir", "nas:x/y"]).exits(4);
    world.ft(["mkdir", "-p", "nas:x/y", "nas:d"]).ok();
    assert!(world.remote("x/y").is_dir());
    world.serve("a", "1");
    world.ft(["mv", "nas:a", "nas:d/"]).ok();
    assert_eq!(fs::read(world.remote("d/a")).unwrap(), b"1");
    world.ft(["mv", "nas:d", "nas:e"]).ok();
    world.ft(["mv", "nas:none", "nas:f"]).exits(4);
    world.ft(["rm", "nas:none"]).exits(4);
    world.ft(["rm", "nas:e"]).exits(1).says("use -r");
    assert!(world.remote("e/a").exists());
    world.ft(["rm", "-r", "nas:e", "nas:x"]).ok();
    assert_eq!(fs::read_dir(world.remote("")).unwrap().count(), 0);
}

#[test]
fn listings_show_what_is_there() {
    let world = World::new();
    fs::create_dir(world.remote("dir")).unwrap();
    world.serve("dir/inner", "");
    world.serve("file", "12345");
    symlink("file", world.remote("link")).unwrap();
    assert_eq!(world.ft(["ls"]).ok().text(), "dir\nfile\nlink\n");
    assert_eq!(world.ft(["ls", "nas:dir"]).ok().text(), "inner\n");
    assert_eq!(world.ft(["ls", "nas:file"]).ok().text(), "file\n");
    world.ft(["ls", "nas:none"]).exits(4).says("none");
    world.ft(["ls", "nas:none", "nas:dir"]).exits(3);
    let long = world.ft(["ls", "--long", "nas:"]).ok().text();
    let starts: Vec<char> = long.lines().filter_map(|line| line.chars().next()).collect();
    assert_eq!(starts, ['d', '-', 'l']);
    let entries = world.ft(["ls", "--json", "nas:"]).ok().events();
    let found: Vec<_> =
        entries.iter().map(|entry| (entry["path"].as_str(), entry["kind"].as_str())).collect();
    let expected =
        [("dir", "directory"), ("file", "file"), ("link", "symlink")].map(|(a, b)| (Some(a), Some(b)));
    assert_eq!(found, expected);
    assert_eq!(entries[1]["bytes"], 5);
    let stat = world.ft(["stat", "--json", "nas:file"]).ok().event("entry");
    assert_eq!((&stat["path"], &stat["bytes"]), (&"file".into(), &5.into()));
    assert!(world.ft(["stat", "nas:file"]).ok().text().contains("size: 5"));
    world.ft(["stat", "nas:none"]).exits(4);
}

#[test]
fn patterns_mean_remote_files() {
    let world = World::new();
    for name in ["a1.iso", "a2.iso", "b.iso", "b.txt", ".hidden.iso"] {
        world.serve(name, name);
    }
    fs::create_dir(world.remote("sub")).unwrap();
    world.serve("sub/a3.iso", "3");
    fs::create_dir(world.local("into")).unwrap();
    world.ft(["get", "nas:a?.iso", "nas:*/a*.iso", "into"]).ok();
    let mut got: Vec<_> =
        fs::read_dir(world.local("into")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    got.sort();
    assert_eq!(got, ["a1.iso", "a2.iso", "a3.iso"]);
    assert_eq!(world.ft(["ls", "nas:[!a]*.iso"]).ok().text(), "b.iso\n");
    for verb in [&["get", "nas:*.none", "into"][..], &["ls", "nas:*.none"]] {
        let ran = world.ft(verb).exits(4);
        assert_eq!(ran.err.lines().next(), Some("ftclient: nas:*.none: the pattern matches nothing"));
    }
    world.ft(["get", "nas:*.none", "nas:b.txt", "into"]).exits(3);
    world.ft(["rm", "nas:*.iso"]).ok();
    assert_eq!(world.ft(["ls", "nas:"]).ok().text(), ".hidden.iso\nb.txt\nsub\n");
}

/// What `ftserver invite` prints.
fn invite(world: &World, user: &str) -> String {
    let invitation =
        Invitation { user: user.to_owned(), rights: None, root: None, lifetime: Duration::from_secs(600) };
    let invite = Invites::new(&world.state()).create(&invitation).unwrap();
    let fingerprint = Identity::load(&world.state()).unwrap().unwrap().fingerprint();
    JoinString::new(world.server.address.to_string(), fingerprint, user, *invite.secret).unwrap().to_string()
}

#[test]
fn an_invite_lets_a_new_client_in_once() {
    let world = World::new();
    world.serve("a", "1");
    fs::remove_dir_all(world.home()).unwrap();
    fs::create_dir(world.home()).unwrap();
    let line = invite(&world, "berta");
    world.ft_with(["join", "--name", "office"], format!("{line}\n").as_bytes()).ok().says("berta");
    // Now the default host, with a key of its own, without any other option.
    world.ft(["get", "a"]).ok();
    assert_eq!(fs::read(world.local("a")).unwrap(), b"1");
    world.ft(["ls", "office:"]).ok();
    fs::remove_dir_all(world.home()).unwrap();
    fs::create_dir(world.home()).unwrap();
    world.ft_with(["join"], line.as_bytes()).exits(7);
    assert!(!world.config_dir().join("config.toml").exists(), "nothing was joined");
    world.ft_with(["join"], b"ft-join-1.damaged").exits(2).says("join string");
    world.ft_with(["join"], b"").exits(2);
}

#[test]
fn a_key_of_its_own_is_made_once() {
    let world = World::new();
    let first = world.ft(["key"]).ok().text();
    assert!(first.starts_with("ssh-ed25519 "), "{first}");
    assert_eq!(world.ft(["key"]).ok().text(), first);
}
