//! Files through `ftclient` and a server of their own: every size, pipes, digests, names and metadata.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Running, World, hex, md5, noise};

const SIZES: [usize; 8] =
    [0, 1, 32 * 1024 - 1, 32 * 1024, 32 * 1024 + 1, 1024 * 1024 - 1, 1024 * 1024, 1024 * 1024 + 1];

#[test]
fn every_size_travels_both_ways_and_prints_what_md5sum_prints() {
    let world = World::new();
    for size in SIZES {
        let (data, name) = (noise(size, size as u64), size.to_string());
        let digest = md5(&data);
        world.keep("up", &data);
        world.ft(["put", "up", &format!("nas:{name}")]).ok().says(&format!("md5 {digest} verified"));
        assert!(fs::read(world.remote(&name)).unwrap() == data, "put of {size} bytes");
        let got = world.ft(["get", "--json", &format!("nas:{name}"), "down"]).ok();
        let file = got.event("file");
        assert_eq!(file["digest"]["alg"], "md5");
        assert_eq!(file["digest"]["hex"], digest.as_str(), "{size}");
        assert_eq!((&file["bytes"], &file["verified"]), (&size.into(), &true.into()));
        assert!(fs::read(world.local("down")).unwrap() == data, "get of {size} bytes");
    }
    world.nothing_is_staged();
}

#[test]
fn pipes_carry_any_bytes() {
    let world = World::new();
    for size in [0, 5, 1024 * 1024, 3 * 1024 * 1024 + 7] {
        let data = noise(size, 3);
        world.ft_with(["put", "-", "nas:piped"], &data).ok().says(&md5(&data));
        assert!(fs::read(world.remote("piped")).unwrap() == data, "put of {size} bytes");
        let got = world.ft(["get", "nas:piped", "-"]).ok().says(&md5(&data));
        assert!(got.out == data, "get of {size} bytes");
        let got = world.ft(["get", "--json", "nas:piped", "-"]).ok();
        assert!(got.out == data, "get --json of {size} bytes");
        let told = common::events(&got.err);
        assert!(told.iter().any(|event| event["digest"]["hex"] == md5(&data).as_str()), "{told:?}");
    }
    world.nothing_is_staged();
}

#[test]
fn a_put_from_a_pipe_needs_a_name() {
    let world = World::new();
    fs::create_dir(world.remote("dir")).unwrap();
    world.ft_with(["put", "-", "nas:"], b"x").exits(2);
    world.ft_with(["put", "-", "nas:dir"], b"x").exits(1).says("needs the name of a file");
}

#[test]
fn digests_are_printed_as_their_programs_do() {
    let world = World::new();
    let data = noise(2 * 1024 * 1024 + 1, 4);
    world.serve("three", &data);
    world.serve("one", b"small");
    let leaves = |block: &[u8]| -> Vec<u8> {
        let leaves = block.chunks(32 * 1024).flat_map(|leaf| unhex(&md5(leaf)));
        unhex(&md5(&leaves.collect::<Vec<u8>>()))
    };
    let blocks: Vec<u8> = data.chunks(1024 * 1024).flat_map(leaves).collect();
    world
        .ft(["get", "--digest", "md5-tree", "nas:three", "a"])
        .ok()
        .says(&format!("md5-tree {}-3 verified", md5(&blocks)));
    world
        .ft(["get", "--digest", "md5-tree", "nas:one", "b"])
        .ok()
        .says(&format!("md5-tree {} verified", md5(b"small")));
    let sha256 = hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &data).as_ref());
    let said = format!("sha256 {sha256} verified");
    world.ft(["get", "--digest", "sha256", "nas:three", "c"]).ok().says(&said);
    world.ft(["put", "--digest", "sha256", "c", "nas:d"]).ok().says(&said);
    assert!(fs::read(world.remote("d")).unwrap() == data);
}

fn unhex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

#[test]
fn preserve_keeps_mode_and_time_and_the_default_does_not() {
    let world = World::new();
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    for (path, args) in [
        (world.remote("get"), ["get", "-p", "nas:get", "get"]),
        (world.local("put"), ["put", "-p", "put", "nas:put"]),
    ] {
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4751)).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        world.ft(args).ok();
    }
    for copy in [world.local("get"), world.remote("put")] {
        let meta = fs::metadata(&copy).unwrap();
        assert_eq!(meta.mode() & 0o7777, 0o751, "no setuid bit travels");
        assert_eq!(meta.modified().unwrap(), time);
    }
    world.ft(["get", "nas:get", "plain"]).ok();
    let meta = fs::metadata(world.local("plain")).unwrap();
    assert_eq!(meta.mode() & 0o7022, 0, "the umask holds");
    assert!(meta.modified().unwrap() > time);
}

#[test]
fn a_replaced_file_keeps_its_mode() {
    let world = World::new();
    world.serve("a", "old");
    fs::set_permissions(world.remote("a"), fs::Permissions::from_mode(0o640)).unwrap();
    world.keep("a", "new");
    fs::set_permissions(world.local("a"), fs::Permissions::from_mode(0o755)).unwrap();
    world.ft(["put", "a", "nas:a"]).ok();
    assert_eq!(fs::read(world.remote("a")).unwrap(), b"new");
    assert_eq!(fs::metadata(world.remote("a")).unwrap().mode() & 0o7777, 0o640);
}

#[test]
fn no_clobber_skips_without_a_failure() {
    let world = World::new();
    world.serve("a", "theirs");
    world.keep("a", "ours");
    for (verb, from, to) in [("get", "nas:a", "a"), ("put", "a", "nas:a")] {
        let ran = world.ft([verb, "--no-clobber", "--json", from, to]).ok();
        assert_eq!(ran.event("skipped")["path"], "a");
        let summary = ran.event("summary");
        assert_eq!((&summary["skipped"], &summary["failed"]), (&1.into(), &0.into()));
        world.ft([verb, "--no-clobber", "--error-on-no-transfer", from, to]).exits(9);
    }
    assert_eq!(fs::read(world.remote("a")).unwrap(), b"theirs");
    assert_eq!(fs::read(world.local("a")).unwrap(), b"ours");
    world.ft(["get", "--no-clobber", "--error-on-no-transfer", "nas:a", "new"]).ok();
    assert_eq!(fs::read(world.local("new")).unwrap(), b"theirs");
    world.nothing_is_staged();
}

#[test]
fn several_files_arrive_though_one_is_missing() {
    let world = World::new();
    fs::create_dir(world.local("into")).unwrap();
    for name in ["a", "b"] {
        world.serve(name, name);
    }
    let ran = world.ft(["get", "--json", "-t", "into", "nas:a", "nas:missing", "nas:b"]).exits(3);
    let error = ran.event("error");
    assert_eq!((&error["path"], &error["code"]), (&"missing".into(), &4.into()));
    let summary = ran.event("summary");
    assert_eq!((&summary["files"], &summary["failed"], &summary["exit"]), (&2.into(), &1.into(), &3.into()));
    for name in ["a", "b"] {
        assert_eq!(fs::read(world.local("into").join(name)).unwrap(), name.as_bytes());
    }
    world.ft(["put", "--mkdirs", "into/a", "into/missing", "into/b", "nas:x/y"]).exits(3).says("missing");
    assert_eq!(fs::read(world.remote("x/y/b")).unwrap(), b"b");
    world.ft(["get", "-t", "into", "nas:no", "nas:neither"]).exits(4);
    world.ft(["get", "nas:missing", "new"]).exits(4).says("missing");
    assert!(!world.local("new").exists());
}

#[test]
fn the_last_operand_is_a_directory_as_with_cp() {
    let world = World::new();
    fs::create_dir(world.local("d")).unwrap();
    fs::create_dir(world.remote("d")).unwrap();
    world.serve("a", "1");
    world.serve("b", "2");
    world.ft(["get", "nas:a", "d"]).ok();
    world.ft(["get", "nas:a", "nas:b", "d"]).ok();
    world.ft(["get", "nas:*", "d/"]).exits(3);
    assert_eq!(fs::read(world.local("d/b")).unwrap(), b"2");
    world.ft(["get", "nas:a", "nas:b", "nodir"]).exits(4);
    world.ft(["get", "nas:[ab]", "nodir"]).exits(2).says("need a directory");
    world.ft(["put", "d/a", "nas:d"]).ok();
    world.ft(["put", "d/a", "nas:d/"]).ok();
    world.ft(["put", "-t", "nas:d", "d/a", "d/b"]).ok();
    assert_eq!(fs::read(world.remote("d/b")).unwrap(), b"2");
    world.ft(["put", "d/a", "nas:new/"]).exits(1).says("--mkdirs");
    world.ft(["put", "d/a", "nas:new/dir/file"]).exits(4).says("--mkdirs");
    world.ft(["put", "--mkdirs", "d/a", "nas:new/dir/file"]).ok();
    assert_eq!(fs::read(world.remote("new/dir/file")).unwrap(), b"1");
    world.ft(["get", "nas:a"]).ok();
    assert_eq!(fs::read(world.local("a")).unwrap(), b"1");
}

#[test]
fn two_files_of_one_name_do_not_replace_each_other() {
    let world = World::new();
    for (dir, content) in [("x", "first"), ("y", "second")] {
        for side in [world.remote(dir), world.local(dir)] {
            fs::create_dir(&side).unwrap();
            fs::write(side.join("a"), content).unwrap();
        }
    }
    world.ft(["get", "nas:x/a", "nas:y/a", "."]).exits(3).says("y/a: another file of this name");
    assert_eq!(fs::read(world.local("a")).unwrap(), b"first");
    world.ft(["put", "x/a", "y/a", "nas:"]).exits(3).says("y/a: another file of this name");
    assert_eq!(fs::read(world.remote("a")).unwrap(), b"first");
    // The same file twice is no conflict.
    let ran = world.ft(["get", "--json", "nas:x/*", "nas:x/a", "."]).ok();
    assert_eq!(ran.event("summary")["files"], 1);
    world.ft(["put", "x/a", "x/a", "nas:"]).ok();
}

#[test]
fn of_several_at_once_one_complete_version_wins() {
    let world = World::new();
    let versions: Vec<Vec<u8>> = (0..5).map(|n| noise(2 * 1024 * 1024 + n, n as u64)).collect();
    for (number, version) in versions.iter().enumerate() {
        world.keep(number.to_string(), version);
    }
    // How many of the runs say that their file arrived; none of them fails.
    let arrived = |running: Vec<Running>| {
        let files = running.into_iter().map(|run| run.finish().ok().event("summary")["files"].clone());
        files.filter(|files| *files == 1).count()
    };
    let numbers = || (0..versions.len()).map(|number| number.to_string());
    let put = numbers().map(|name| world.start(["put", "--json", &name, "nas:same"])).collect();
    assert_eq!(arrived(put), versions.len());
    assert!(versions.contains(&fs::read(world.remote("same")).unwrap()));
    let get = numbers().map(|_| world.start(["get", "--json", "nas:same"])).collect();
    assert_eq!(arrived(get), versions.len());
    assert!(versions.contains(&fs::read(world.local("same")).unwrap()));
    let put = numbers().map(|name| world.start(["put", "--json", "--no-clobber", &name, "nas:once"]));
    assert_eq!(arrived(put.collect()), 1);
    let get = numbers().map(|_| world.start(["get", "--json", "--no-clobber", "nas:once"]));
    assert_eq!(arrived(get.collect()), 1);
    world.nothing_is_staged();
}

#[test]
fn odd_names_keep_their_bytes() {
    let world = World::new();
    let longest = [b'n'; 255];
    let names: [&[u8]; 8] = [
        b"caf\xe9 \xff.bin",
        b"line\nfeed\r",
        b"-rf",
        b"back\\slash",
        b"\x1b[2J\xc2\x9b *?",
        b".ft-notes",
        "\u{202e}txt.exe".as_bytes(),
        &longest,
    ];
    for name in names {
        let escaped: Vec<u8> = name
            .iter()
            .flat_map(|byte| if b"\\[*?".contains(byte) { vec![b'\\', *byte] } else { vec![*byte] })
            .collect();
        let operand = |prefix: &[u8], name: &[u8]| OsStr::from_bytes(&[prefix, name].concat()).to_owned();
        let (remote, local) = (operand(b"nas:", &escaped), operand(b"./", name));
        let name = OsStr::from_bytes(name);
        world.keep(name, name.as_bytes());
        let put = world.ft([OsStr::new("put"), &local, OsStr::new("nas:")]).ok();
        assert_eq!(put.err.lines().count(), 1, "one line stays one line: {}", put.shown());
        assert!(!put.err.contains('\u{1b}'));
        assert_eq!(fs::read(world.remote(name)).unwrap(), name.as_bytes());
        fs::remove_file(world.local(name)).unwrap();
        let got = world.ft([OsStr::new("get"), OsStr::new("--json"), &remote]).ok();
        assert_eq!(fs::read(world.local(name)).unwrap(), name.as_bytes());
        let file = got.event("file");
        match name.to_str() {
            Some(name) => assert_eq!((&file["path"], &file["path_b64"]), (&name.into(), &().into())),
            None => assert_eq!(file["path_b64"], STANDARD.encode(name.as_bytes())),
        }
        world.ft([OsStr::new("rm"), &remote]).ok();
    }
    assert_eq!(fs::read_dir(world.remote("")).unwrap().count(), 0);
}

#[test]
fn events_are_well_formed_and_a_quiet_run_says_nothing() {
    let world = World::new();
    world.serve("a", noise(3 * 1024 * 1024, 1));
    let ran = world.ft(["get", "--json", "nas:a", "b"]).ok();
    assert_eq!(ran.err, "");
    let events = ran.events();
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!((kinds.first(), kinds.last()), (Some(&"start"), Some(&"summary")));
    assert!(kinds.iter().all(|kind| ["start", "status", "file", "summary"].contains(kind)), "{kinds:?}");
    assert_eq!(events[0]["v"], 1);
    assert_eq!(events[0]["run"].as_str().map(str::len), Some(32));
    assert!(events[0]["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    for args in [["put", "-q", "b", "nas:c"], ["get", "-q", "nas:c", "d"]] {
        let ran = world.ft(args).ok();
        assert_eq!((ran.text(), ran.err.as_str()), (String::new(), ""));
    }
    world.ft(["get", "-q", "nas:none", "e"]).exits(4).says("none");
}
