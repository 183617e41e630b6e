//! `ftclient shell` with its commands from a pipe.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::fs;

use common::{World, events, md5};

#[test]
fn a_script_is_carried_out_line_by_line() {
    let world = World::new();
    world.keep("a b.txt", "content");
    let script = b"# a comment\n\nmkdir new\n  cd new\nput 'a b.txt'\npwd\nls\nget a\\ b.txt back\n!test -f back\nsum *";
    let ran = world.ft_with(["shell", "nas"], script).ok();
    assert_eq!(ran.text(), format!("/new\na b.txt\n{}  new/a b.txt\n", md5(b"content")));
    assert_eq!(fs::read(world.local("back")).unwrap(), b"content");
    let habits = world.ft_with(["shell", "nas"], b"?\nls -l new").ok();
    assert!(habits.err.contains("lcd") || habits.text().contains("lcd"), "help");
    assert!(habits.text().contains("rw") && habits.text().contains("a b.txt"), "{}", habits.text());
    assert!(!ran.err.contains('>'), "there is no prompt: {}", ran.err);
    assert!(!world.home().join(".local/state/ftclient/history").exists());
}

#[test]
fn the_first_failure_ends_it_with_its_line_and_its_code() {
    let world = World::new();
    for (script, code, line) in [
        ("mkdir a\n\nget missing\nmkdir b\n", 4, "line 3: 'get missing' failed with code"),
        ("mkdir a/b/c\n", 4, "line 1: "),
        ("ls\nnonsense\nmkdir b\n", 2, "line 2: 'nonsense' failed with code"),
        ("ls 'x\nmkdir b\n", 2, "line 1: "),
        ("cd missing\nmkdir b\n", 4, "line 1: "),
        ("lcd missing\nmkdir b\n", 4, "line 1: "),
        ("!exit 33\nmkdir b\n", 33, "line 1: "),
        // What is wrong at this end is not said to be the server's.
        ("put missing\nmkdir b\n", 4, "ftclient: missing: "),
        ("ls\nput -\nmkdir b", 2, "line 2: "),
    ] {
        world.ft_with(["shell"], script.as_bytes()).exits(code).says(line);
        assert!(!world.remote("b").exists(), "{script}");
        let _ = fs::remove_dir(world.remote("a"));
    }
    let ran = world.ft_with(["shell"], b"-get missing\n- rm missing\nmkdir b\nquit\nmkdir c\n").ok();
    assert!(ran.err.contains("missing") && world.remote("b").exists() && !world.remote("c").exists());
}

#[test]
fn what_cannot_log_in_does_nothing() {
    let world = World::new();
    world.ft_with(["shell", "-l", "nobody"], b"!touch here\n").exits(7);
    assert!(!world.local("here").exists());
    world.ft_with(["shell", "-H", "nas", "nas"], b"").exits(2).says("exclude each other");
}

#[test]
fn json_has_the_events_of_each_command_and_nothing_else() {
    let world = World::new();
    world.serve("file", "content");
    let ran =
        world.ft_with(["shell", "--json"], b"pwd\n!echo text\nls\nget file\nhelp\nget missing\n").exits(4);
    let kinds: Vec<String> =
        events(&ran.text()).iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect();
    let of_get = ["start", "file", "summary"];
    assert_eq!(kinds[0], "entry");
    assert!(of_get.iter().all(|kind| kinds.iter().any(|other| other == kind)), "{kinds:?}");
    let last = ran.events().pop().unwrap();
    assert_eq!((last["type"].as_str().unwrap(), last["code"].as_u64().unwrap()), ("error", 4));
    assert!(last["message"].as_str().unwrap().starts_with("line 6: "), "{last}");
}
