//! `ftclient shell` at a real terminal.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::{BLOCK, Terminal, Watch, World, md5, noise, staging_files};
use rustix::process::Signal;

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const TAB: &str = "\t";
const UP: &str = "\x1b[A";

/// A shell whose first prompt stands there.
fn shell(world: &World) -> Terminal {
    let mut terminal = Terminal::start(&world.command(["shell", "nas"]));
    terminal.ready();
    terminal
}

/// Logins that the server has seen.
fn logins(world: &World) -> usize {
    let log = fs::read_to_string(world.outside().join("state.log")).unwrap();
    log.lines().filter(|line| line.contains(" login ")).count()
}

#[test]
fn tab_completes_commands_and_names_of_both_sides() {
    let world = World::new();
    fs::create_dir(world.remote("my dir")).unwrap();
    world.serve("my dir/the file.txt", "remote");
    world.keep("local file.bin", "local");
    let mut shell = shell(&world);
    shell.press(["ge", TAB, "my", TAB].concat());
    shell.shows(r"anna@nas:/> get my\ dir/");
    shell.press([TAB, "\r"].concat());
    shell.sees("the file.txt: 6 B");
    assert_eq!(fs::read(world.local("the file.txt")).unwrap(), b"remote");

    shell.press(["put lo", TAB, "m", TAB, "\r"].concat());
    shell.sees("local file.bin: 5 B");
    assert_eq!(fs::read(world.remote("my dir/local file.bin")).unwrap(), b"local");

    fs::create_dir(world.local("down here")).unwrap();
    shell.press(["get 'my dir/the f", TAB, "do", TAB, "\r"].concat());
    shell.until("two files", |screen| {
        screen.iter().filter(|row| row.contains("the file.txt: 6 B")).count() == 2
    });
    assert_eq!(fs::read(world.local("down here/the file.txt")).unwrap(), b"remote");
    shell.ready();
    shell.press(CTRL_D);
    assert!(shell.ends().success());
}

#[test]
fn several_names_are_listed_escaped_and_a_hostile_one_can_be_got() {
    let world = World::new();
    world.serve("x\x1b]0;owned\x07y", "one");
    world.serve("x two", "two");
    let mut shell = shell(&world);
    shell.press(["get x", TAB, TAB].concat());
    shell.sees(r"x\x1b]0;owned\x07y");
    shell.sees("x two");
    shell.press(CTRL_C);
    shell.shows("anna@nas:/>");
    shell.press(["get $'x\\x1b", TAB, "\r"].concat());
    shell.sees(r"x\x1b]0;owned\x07y: 3 B");
    assert_eq!(fs::read(world.local("x\x1b]0;owned\x07y")).unwrap(), b"one");
    assert_eq!(shell.run("ls"), [r"x\x1b]0;owned\x07y", "x two"]);
}

#[test]
fn lines_are_remembered_in_a_private_file() {
    let world = World::new();
    let mut first = shell(&world);
    first.run("pwd");
    first.run(" lpwd");
    assert_eq!(first.run("history"), ["    1  pwd", "    2  history"]);
    first.press("quit\r");
    assert!(first.ends().success());
    let history = world.home().join(".local/state/ftclient/history");
    assert_eq!(fs::metadata(&history).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&history).unwrap();
    assert!(text.contains("pwd") && !text.contains("lpwd"), "{text}");

    let mut second = shell(&world);
    second.press([UP, UP, UP].concat());
    second.shows("anna@nas:/> pwd");
}

#[test]
fn directories_of_both_sides_are_changed_and_never_left() {
    let world = World::new();
    fs::create_dir_all(world.remote("a/b")).unwrap();
    world.serve("a/file", "");
    fs::create_dir(world.local("sub")).unwrap();
    let mut shell = shell(&world);
    assert_eq!(shell.run("pwd"), ["/"]);
    shell.run("cd a/b");
    shell.shows("anna@nas:/a/b>");
    assert_eq!(shell.run("ls ../.."), ["a"]);
    assert_eq!(shell.run("cd ../file"), ["ftclient: nas:a/file: is not a directory"]);
    shell.run("cd ../../../..");
    shell.shows("anna@nas:/>");
    assert_eq!(shell.run("cd nowhere").len(), 1);
    shell.shows("anna@nas:/>");
    let work = world.local("").canonicalize().unwrap();
    shell.run("lcd sub");
    assert_eq!(shell.run("lpwd"), [work.join("sub").to_str().unwrap()]);
    assert_eq!(shell.run("!pwd"), [work.join("sub").to_str().unwrap()]);
    shell.run("lcd ..");
    assert_eq!(shell.run("lpwd"), [work.to_str().unwrap()]);
}

#[test]
fn files_are_moved_as_by_the_commands_of_their_own() {
    let world = World::new();
    let data = noise(3 * BLOCK as usize + 7, 1);
    world.keep("big", &data);
    for name in ["a.txt", "b.txt", "c.bin"] {
        world.keep(name, name);
    }
    let mut shell = shell(&world);
    shell.run("mkdir up");
    shell.run("cd up");
    let said = shell.run("put -p big");
    assert!(said.iter().any(|line| line.contains(&md5(&data)) && line.ends_with("verified")), "{said:?}");
    assert!(fs::read(world.remote("up/big")).unwrap() == data);
    shell.run("put *.txt /up");
    assert_eq!(shell.run("ls"), ["a.txt", "b.txt", "big"]);
    shell.run("mv big bigger");
    assert_eq!(shell.run("sum bigger"), [format!("{}  up/bigger", md5(&data))]);
    shell.run("get bigger '*.nothing' *.txt ../work-in-vain");
    shell.run("lcd ..");
    shell.run("!mkdir fresh");
    shell.run("get bigger ?.txt fresh");
    assert!(fs::read(world.outside().join("fresh/bigger")).unwrap() == data);
    assert_eq!(fs::read(world.outside().join("fresh/b.txt")).unwrap(), b"b.txt");
    shell.run("rm *");
    assert_eq!(shell.run("ls"), Vec::<String>::new());
    assert_eq!(logins(&world), 1, "all of it on one session");
}

#[test]
fn ctrl_c_ends_a_transfer_and_nothing_else() {
    let world = World::new();
    let data = noise(24 * BLOCK as usize, 2);
    world.serve("big", &data);
    world.keep("big-up", &data);
    let mut shell = shell(&world);
    for (line, dir) in
        [("get --bwlimit 4M big", world.local("")), ("put --bwlimit 4M big-up", world.remote(""))]
    {
        let watch = Watch::new(&dir);
        shell.begin(line);
        shell.sees("MiB/s");
        // More than a block, so that something is left to go on with.
        watch.until(|| {
            let staged = staging_files(&dir).pop().and_then(|path| fs::metadata(path).ok());
            staged.is_some_and(|meta| meta.len() > BLOCK)
        });
        shell.press(CTRL_C);
        let said = shell.prompted(line);
        assert!(said.iter().any(|line| line.contains("interrupted")), "{said:?}");
        assert_eq!(shell.run("stat big").len(), 5);
        let said = shell.run(&line.replace("--bwlimit 4M ", ""));
        assert!(
            said.iter().any(|line| line.contains("resumed at") && line.contains(&md5(&data))),
            "{said:?}"
        );
    }
    assert_eq!(logins(&world), 1, "the session went on");
    world.nothing_is_staged();
}

#[test]
fn ctrl_c_clears_the_line_and_ends_a_local_command() {
    let world = World::new();
    let mut shell = shell(&world);
    shell.press("rm precious");
    shell.shows("anna@nas:/> rm precious");
    shell.press(CTRL_C);
    shell.shows("anna@nas:/>");
    shell.begin("!echo started; exec sleep 1000");
    shell.sees("started");
    shell.until("the command", |screen| screen.last().is_some_and(|last| last == "started"));
    shell.press(CTRL_C);
    let said = shell.prompted("!sleep");
    assert!(said.iter().any(|line| line.contains("signal 2")), "{said:?}");
    shell.press(CTRL_D);
    assert_eq!(shell.ends().code(), Some(0));
}

#[test]
fn a_session_that_was_lost_is_made_again() {
    let mut world = World::new();
    world.serve("file", "content");
    let mut shell = shell(&world);
    shell.run("ls");
    world.server.kill();
    world.server.restart();
    let said = shell.run("rm file");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("nas: the session had ended") && said[0].contains("beginning another"),
        "{said:?}"
    );
    assert!(!world.remote("file").exists());
    assert_eq!(shell.run("ls"), Vec::<String>::new());
    assert_eq!(logins(&world), 2);
}

#[test]
fn a_server_that_stands_still_does_not_hold_the_prompt() {
    let world = World::new();
    let mut shell = shell(&world);
    world.server.signal(Signal::STOP);
    shell.press(["get a", TAB, "bc"].concat());
    shell.shows("anna@nas:/> get abc");
    shell.press(CTRL_C);
    shell.shows("anna@nas:/>");
    assert_eq!(shell.run("!echo here"), ["here"]);
    shell.press(CTRL_D);
    assert!(shell.ends().success());
    world.server.signal(Signal::CONT);
}

#[test]
fn the_terminal_is_put_back_where_the_shell_is_ended_within_a_line() {
    let world = World::new();
    let mut shell = shell(&world);
    shell.press("get some");
    shell.shows("anna@nas:/> get some");
    shell.signal(Signal::TERM);
    assert_eq!(shell.ends().code(), Some(143));
}

#[test]
fn help_speaks_of_the_prompt() {
    let world = World::new();
    let mut shell = shell(&world);
    let said = shell.run("help").join("\n");
    for word in ["get ", "lcd ", "history ", "quit ", "! "] {
        assert!(
            said.contains(&format!("\n  {word}")) || said.contains(&format!("  {word}")),
            "{word}\n{said}"
        );
    }
    let said = shell.run("help mkdir").join("\n");
    assert!(said.contains("Usage: mkdir [OPTIONS] <REMOTE>") && !said.contains("ftclient"), "{said}");
    let said = shell.run("nonsense").join("\n");
    assert!(said.contains("there is no command 'nonsense'"), "{said}");
    let said = shell.run("get 'a").join("\n");
    assert!(said.contains("without its partner"), "{said}");
}
