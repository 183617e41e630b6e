//! What 'check' and 'fingerprint' find, and what they leave alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod admin;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use admin::Place;

#[test]
fn check_finds_every_error_and_its_line() {
    let place = Place::new();
    place.ok("user add alice --key key.pub");
    place.ok("invite bob --address h");
    fs::write(place.path("good.toml"), format!("root = '{}'\n", place.path("data").display())).unwrap();
    let out = place.ok("check --config good.toml");
    for line in ["configuration good.toml", "key SHA256:", "accounts: 1 of 1", "invites: 1 of 1"] {
        assert!(out.contains(line), "{out}");
    }

    let account = place.path("state/accounts/alice.toml");
    let text = fs::read_to_string(&account).unwrap();
    fs::write(&account, format!("{text}adminn = true\n")).unwrap();
    let invite = place.path("state/invites").read_dir().unwrap().next().unwrap().unwrap().path();
    fs::write(&invite, "user = 'bob'\nforever = true\n").unwrap();
    fs::copy(&account, place.path("state/accounts/Bad Name.toml")).unwrap();
    fs::write(place.path("bad.toml"), "\nlogin_timeout = 'soon'\n").unwrap();
    let (code, _, err) = place.run("check --config bad.toml");
    assert_eq!(code, 2);
    let line = text.lines().count() + 1;
    for expected in [
        format!("accounts/alice.toml:{line}: "),
        "adminn".to_owned(),
        format!("{}:2: ", invite.file_name().unwrap().display()),
        "Bad Name.toml: ".to_owned(),
        "bad.toml:2: ".to_owned(),
        "check: 4 found wrong".to_owned(),
    ] {
        assert!(err.contains(&expected), "{expected} in {err}");
    }
}

#[test]
fn check_makes_nothing() {
    let place = Place::new();
    place.ok("check");
    assert!(!place.path("state").exists());
}

#[test]
fn a_fingerprint_is_printed_of_a_key_that_is_there_and_makes_none() {
    let place = Place::new();
    let typed = format!("no server key in {} yet", place.path("typo").display());
    place.refused("fingerprint --state typo", 4, &typed);
    place.refused("fingerprint", 4, "`ftserver serve` or `ftserver invite` makes one");
    assert!(!place.path("typo").exists() && !place.path("state").exists());
    // Accounts may be there before the key.
    place.ok("user add alice --key key.pub");
    place.refused("fingerprint", 4, "--state DIR");
    assert!(!place.path("state/server.key").exists());
    place.ok("invite bob --address h");
    assert!(place.ok("fingerprint").starts_with("SHA256:"));
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let place = Place::new();
    place.ok("invite bob --address h");
    let key = place.path("state/server.key");
    assert_eq!(key.metadata().unwrap().mode() & 0o7777, 0o600);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    for line in ["fingerprint", "invite alice --address h", "serve --root data"] {
        place.refused(line, 2, "chmod 600");
    }
    assert_eq!(place.run("check").0, 2);
}
