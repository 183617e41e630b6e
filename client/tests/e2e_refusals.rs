//! What must not work, and the exit code and words with which it does not.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::Path;

use common::{Ran, World};
use rustix::fs::{CWD, FileType, Mode, mknodat};

/// Forgets what the configuration says of the server's key.
fn unpinned(world: &World) {
    world.configure(&format!("[hosts.nas]\naddress = '{}'\nuser = 'anna'\n", world.server.address));
}

#[test]
fn an_unknown_key_is_refused_without_a_terminal() {
    let world = World::new();
    unpinned(&world);
    let ran = world.ft(["ls", "nas:"]).exits(7);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.shown());
    let advice = format!("ftclient trust nas --fingerprint {}", world.server.fingerprint);
    let ran = ran.says(&advice).says("--accept-new");
    assert!(!world.config_dir().join("known_hosts").exists(), "{}", ran.shown());
    // The advice works, and is remembered.
    world.ft(["trust", "nas", "--fingerprint", &world.server.fingerprint]).ok();
    world.ft(["ls", "nas:"]).ok();
    world.ft(["trust", "nas", "--forget"]).ok();
    world.ft(["ls", "nas:"]).exits(7);
    world.ft(["ls", "--accept-new", "nas:"]).ok();
    world.ft(["ls", "nas:"]).ok();
}

#[test]
fn a_changed_key_is_a_hard_stop() {
    let world = World::new();
    unpinned(&world);
    let other = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    world.ft(["trust", "nas", "--fingerprint", other]).ok();
    for args in [
        &["ls", "nas:"][..],
        &["ls", "--accept-new", "nas:"],
        &["ls", "--fingerprint", &world.server.fingerprint, "nas:"],
    ] {
        let ran = world.ft(args).exits(7).says("HAS CHANGED").says(other).says("nothing was sent");
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.shown());
    }
    world.ft(["ls", "--fingerprint", other, "nas:"]).exits(7);
    let ran = world.ft(["get", "--json", "nas:a"]).exits(7);
    assert_eq!(ran.event("error")["code"], 7);
}

/// Pins the server to this key in the configuration, as a user does.
fn pinned(world: &World, key: &str) {
    world.ft(["hosts", "add", "nas", "--fingerprint", key]).ok();
}

const OTHER: &str = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Writes down a key of the server as a run of before did.
fn known(world: &World, key: &str, how: &str) {
    let line = format!("{} {key} how={how} 2026-01-31\n", world.server.address);
    fs::write(world.config_dir().join("known_hosts"), line).unwrap();
}

#[test]
fn what_only_repeats_a_pin_follows_it_after_the_server_was_installed_anew() {
    let world = World::new();
    let key = world.server.fingerprint.clone();
    let known_hosts = || fs::read_to_string(world.config_dir().join("known_hosts")).unwrap();
    known(&world, OTHER, "fingerprint");
    world.ft(["ls", "nas:"]).ok();
    assert!(known_hosts().contains(&key) && !known_hosts().contains(OTHER), "{}", known_hosts());
    // The same where the pin is typed, and where it is to be trusted from now on.
    known(&world, OTHER, "fingerprint");
    unpinned(&world);
    world.ft(["ls", "nas:"]).exits(7).says("HAS CHANGED");
    world.ft(["ls", "--fingerprint", &key, "nas:"]).ok();
    known(&world, OTHER, "fingerprint");
    world.ft(["trust", "nas", "--fingerprint", &key]).ok().says("is trusted");
    assert!(known_hosts().contains(&format!("{key} how=trust ")), "{}", known_hosts());
    // What somebody vouched for stands, with the way out.
    for how in ["prompt", "accept-new", "trust", "join"] {
        known(&world, OTHER, how);
        for args in [&["ls", "--fingerprint", &key, "nas:"][..], &["trust", "nas", "--fingerprint", &key]] {
            world.ft(args).exits(7).says("HAS CHANGED").says("ftclient trust nas --forget");
        }
        assert!(known_hosts().contains(OTHER));
    }
    // Given to 'trust', a key is vouched for also where a pin has written it down.
    known(&world, &key, "fingerprint");
    world.ft(["trust", "nas", "--fingerprint", &key]).ok();
    assert!(known_hosts().contains("how=trust"), "{}", known_hosts());
    world.ft(["trust", "nas", "--fingerprint", &key]).ok().says("trusted already");
}

#[test]
fn a_key_that_is_not_the_pin_is_told_with_the_place_of_the_pin() {
    let world = World::new();
    let key = world.server.fingerprint.clone();
    pinned(&world, OTHER);
    let place = format!("(host 'nas' in {})", world.config_dir().join("config.toml").display());
    let advice = format!("'ftclient hosts add nas --fingerprint {key}'");
    for args in [&["ls", "nas:"][..], &["trust", "nas"], &["trust", "nas", "--fingerprint", &key]] {
        let ran = world.ft(args).exits(7).says(&place).says(OTHER).says(&advice);
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.shown());
    }
    assert!(!world.config_dir().join("known_hosts").exists());
    // The advice works.
    pinned(&world, &key);
    world.ft(["ls", "nas:"]).ok();
    world
        .ft(["ls", "--fingerprint", OTHER, "nas:"])
        .exits(7)
        .says("as --fingerprint (or FTCLIENT_FINGERPRINT) says");
}

fn with_password(world: &World, user: &str, password: &str) -> Ran {
    let file = world.local(format!("{user}.password"));
    fs::write(&file, format!("{password}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    world.ft(["ls", "-l", user, "--password-file", file.to_str().unwrap(), "nas:"])
}

#[test]
fn a_wrong_password_and_an_unknown_user_read_the_same() {
    let world = World::new();
    world.serve("visible", "");
    world.account_with_password("peter", b"correct horse");
    assert_eq!(with_password(&world, "peter", "correct horse").ok().text(), "visible\n");
    let wrong = with_password(&world, "peter", "battery staple").exits(7);
    let unknown = with_password(&world, "nobody", "battery staple").exits(7);
    assert_eq!(wrong.err.replace("peter", "USER"), unknown.err.replace("nobody", "USER"));
    assert!(!wrong.err.contains("battery"), "{}", wrong.err);
    // Keys: an account that does not exist, and one that knows another key.
    let ran = world.ft(["ls", "-l", "nobody", "nas:"]).exits(7);
    assert_eq!(
        ran.err.replace("nobody", "USER"),
        world.ft(["ls", "-l", "peter", "nas:"]).err.replace("peter", "USER")
    );
}

#[test]
fn a_password_is_not_sent_to_a_server_that_nobody_confirmed() {
    let world = World::new();
    world.account_with_password("peter", b"secret");
    unpinned(&world);
    fs::remove_dir_all(world.home().join(".ssh")).unwrap();
    world.ft(["ls", "--accept-new", "-l", "peter", "nas:"]).exits(7);
    with_password(&world, "peter", "secret").exits(7).says("ftclient trust");
}

#[test]
fn a_password_file_that_others_can_read_is_refused() {
    let world = World::new();
    world.account_with_password("peter", b"secret");
    world.keep("open", "secret\n");
    fs::set_permissions(world.local("open"), fs::Permissions::from_mode(0o644)).unwrap();
    world.ft(["ls", "-l", "peter", "--password-file", "open", "nas:"]).exits(7).says("chmod");
}

#[test]
fn a_key_that_was_found_and_not_used_is_named() {
    let world = World::new();
    let key = world.home().join(".ssh/id_ed25519");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    world.ft(["ls", "nas:"]).exits(7).says("id_ed25519").says("chmod 600");
    fs::write(&key, "garbage").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    world.ft(["ls", "nas:"]).exits(7).says("id_ed25519");
    fs::remove_file(&key).unwrap();
    world.ft(["ls", "nas:"]).exits(7).says("ftclient join");
}

#[test]
fn a_right_that_is_missing_denies() {
    let world = World::new();
    world.serve("a", "old");
    world.keep("a", "new");
    world.account("reader", "read");
    world.account("logger", "read,create");
    world.account("dropbox", "create");
    world.ft(["get", "reader@nas:a", "b"]).ok();
    for target in ["reader@nas:new", "reader@nas:a"] {
        world.ft(["put", "a", target]).exits(7).says("lacks the right");
    }
    world.ft(["put", "a", "logger@nas:new"]).ok();
    for target in ["logger@nas:a", "logger@nas:new"] {
        world.ft(["put", "a", target]).exits(7).says("overwrite");
    }
    world.ft_with(["put", "-", "logger@nas:a"], b"x").exits(7).says("overwrite");
    world.ft(["get", "dropbox@nas:a", "c"]).exits(7).says("read");
    world.ft(["ls", "dropbox@nas:"]).exits(7);
    world.ft(["rm", "nas:new"]).ok();
    world.ft(["rm", "logger@nas:a"]).exits(7).says("delete");
    world.ft(["mv", "logger@nas:a", "logger@nas:b"]).exits(7);
    world.ft(["mkdir", "reader@nas:d"]).exits(7);
    assert_eq!(fs::read(world.remote("a")).unwrap(), b"old");
    assert_eq!(fs::read_dir(world.remote("")).unwrap().count(), 1);
    assert!(!world.local("c").exists());
}

#[test]
fn names_that_climb_or_are_empty_are_usage_errors() {
    let world = World::new();
    fs::write(world.outside().join("canary"), "alive").unwrap();
    world.keep("a", "new");
    let long = format!("nas:{}", "n".repeat(300));
    for name in ["nas:../canary", "nas:x/../../canary", "nas:..", "nas:/../canary", "", "nas:", &long] {
        for args in [&["get", name, "b"][..], &["rm", name], &["mv", name, "nas:b"], &["mkdir", name]] {
            let ran = world.ft(args).exits(2);
            assert!(!ran.err.is_empty(), "{}", ran.shown());
        }
    }
    for name in ["nas:../canary", "nas:x/../../canary", "nas:..", &long] {
        world.ft(["put", "a", name]).exits(2);
        world.ft(["ls", name]).exits(2);
        world.ft(["sum", name]).exits(2);
    }
    world.ft(["put", "", "nas:x"]).exits(2);
    assert_eq!(fs::read(world.outside().join("canary")).unwrap(), b"alive");
    assert_eq!(fs::read_dir(world.remote("")).unwrap().count(), 0);
}

#[test]
fn a_leading_slash_is_the_root_of_the_account() {
    let world = World::new();
    world.serve("a", "1");
    world.ft(["get", "nas:/a", "b"]).ok();
    world.ft(["put", "b", "nas:///c//"]).exits(1);
    world.ft(["put", "b", "nas:///./c"]).ok();
    assert_eq!(fs::read(world.remote("c")).unwrap(), b"1");
    world.ft(["get", "nas:/etc/passwd", "d"]).exits(4);
}

#[test]
fn links_that_leave_the_root_are_refused() {
    let world = World::new();
    let secret = world.outside().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("canary"), "alive").unwrap();
    symlink(secret.join("canary"), world.remote("file")).unwrap();
    symlink("../secret", world.remote("dir")).unwrap();
    symlink("inside", world.remote("fine")).unwrap();
    world.serve("inside", "1");
    world.keep("a", "overwritten");
    for args in [
        &["get", "nas:file", "b"][..],
        &["get", "nas:dir/canary", "b"],
        &["sum", "nas:file"],
        &["sum", "nas:dir/canary"],
        &["ls", "nas:dir"],
        &["put", "a", "nas:dir/canary"],
        &["put", "a", "nas:dir/new"],
        &["put", "--mkdirs", "a", "nas:dir/x/new"],
        &["rm", "nas:dir/canary"],
        &["mv", "nas:dir/canary", "nas:c"],
        &["mv", "nas:inside", "nas:dir/c"],
        &["mkdir", "nas:dir/new"],
    ] {
        let ran = world.ft(args);
        assert!(matches!(ran.status.code(), Some(1 | 7)), "{}", ran.shown());
        assert!(ran.out.is_empty() && !ran.err.contains("alive"), "{}", ran.shown());
        assert_eq!(fs::read_dir(&secret).unwrap().count(), 1, "{}", ran.shown());
    }
    // A put onto a link replaces the link.
    world.ft(["put", "a", "nas:file"]).ok();
    assert!(world.remote("file").symlink_metadata().unwrap().is_file());
    world.ft(["rm", "-r", "nas:dir"]).ok();
    assert_eq!(fs::read(secret.join("canary")).unwrap(), b"alive");
    world.ft(["get", "nas:fine", "b"]).ok();
    assert_eq!(fs::read(world.local("b")).unwrap(), b"1");
}

fn make_fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

#[test]
fn what_is_no_file_is_neither_read_nor_replaced() {
    let world = World::new();
    world.serve("a", "1");
    world.keep("a", "1");
    let mut special = vec!["fifo"];
    for place in [world.remote(""), world.local("")] {
        make_fifo(&place.join("fifo"));
        let (null, zero) = (rustix::fs::makedev(1, 3), Mode::RUSR | Mode::WUSR);
        if mknodat(CWD, place.join("device"), FileType::CharacterDevice, zero, null).is_err() {
            eprintln!("SKIPPED the device: only root can make one");
        } else if special.len() == 1 {
            special.push("device");
        }
        fs::create_dir(place.join("dir")).unwrap();
    }
    for name in special {
        let remote = format!("nas:{name}");
        world.ft(["get", &remote, "b"]).exits(1).says("only regular files");
        world.ft(["sum", &remote]).exits(1);
        world.ft(["put", name, "nas:b"]).exits(1).says("regular file");
        world.ft(["get", "nas:a", name]).exits(1).says("not replaced");
        world.ft(["put", "a", &remote]).exits(1).says("not replaced");
        for place in [world.remote(""), world.local("")] {
            assert!(!place.join(name).symlink_metadata().unwrap().is_file());
        }
    }
    assert!(world.local("fifo").symlink_metadata().unwrap().file_type().is_fifo());
    world.ft(["get", "nas:dir", "b"]).exits(1).says("is a directory");
    world.ft(["put", "dir", "nas:b"]).exits(1).says("is a directory");
    fs::create_dir(world.local("dir/a")).unwrap();
    world.ft(["get", "nas:a", "dir"]).exits(1).says("is a directory");
    assert!(!world.local("b").exists() && !world.remote("b").exists());
    world.nothing_is_staged();
}

#[test]
fn staging_names_are_nobodys() {
    let world = World::new();
    let name = format!(".ft-{}", "a".repeat(26));
    world.serve(&name, "unfinished");
    world.keep("a", "1");
    assert_eq!(world.ft(["ls", "nas:"]).ok().text(), "");
    let remote = format!("nas:{name}");
    for args in [&["get", &remote, "b"][..], &["put", "a", &remote], &["rm", &remote], &["sum", &remote]] {
        world.ft(args).exits(2);
    }
    assert_eq!(fs::read(world.remote(&name)).unwrap(), b"unfinished");
}

#[test]
fn usage_errors_are_events_where_events_were_asked_for() {
    let world = World::new();
    for args in [
        &["--json", "get"][..],
        &["get", "--json", "--no-such", "a"],
        &["--json", "fly"],
        &["put", "--json", "-", "nas:"],
    ] {
        let ran = world.ft(args).exits(2);
        assert_eq!(ran.event("error")["code"], 2, "{}", ran.shown());
        assert_eq!(ran.err, "");
    }
    world.ft(["get"]).exits(2).says("REMOTE");
}

#[test]
fn a_configuration_that_cannot_be_understood_refuses_to_start() {
    let world = World::new();
    world.configure("default_host = 'nas'\nretires = 5\n");
    let said = format!("{}:2: ", world.config_dir().join("config.toml").display());
    world.ft(["ls"]).exits(2).says(&said).says("retires");
    let ran = world.ft(["ls", "--json"]).exits(2);
    assert_eq!(ran.event("error")["code"], 2);
    world.ft(["ls", "--config", "none.toml"]).exits(2).says("none.toml");
}
