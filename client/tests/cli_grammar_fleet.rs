//! The command line of many hosts: what makes a run one, and what goes with it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use ftclient::cli::{FleetPlan, Invocation, Serial, Stop, parse};

fn run(line: &str) -> Result<Invocation, Stop> {
    parse(std::iter::once("ftclient").chain(line.split_whitespace()).map(OsString::from))
}

fn good(line: &str) -> Invocation {
    run(line).unwrap_or_else(|stop| panic!("{line}: {stop:?}"))
}

fn fleet(line: &str) -> FleetPlan {
    good(line).fleet.unwrap_or_else(|| panic!("{line}: one host"))
}

#[track_caller]
fn refused(line: &str, says: &str) {
    let Err(Stop::Usage { message, .. }) = run(line) else { panic!("accepted: {line}") };
    assert!(message.contains(says), "{line}: {message}");
}

#[test]
fn a_plain_host_is_one_and_everything_else_is_many() {
    for line in [
        "exec -H nas ls",
        "exec ls",
        "get nas:a",
        "put a nas:",
        "put -f 3 a nas:",
        "exec -S -H anna@nas:9 ls",
    ] {
        assert_eq!(good(line).fleet, None, "{line}");
    }
    for line in [
        "exec -H nas, ls",
        "exec -H a,b ls",
        "exec -H web[1-3] ls",
        "exec -H web[1] ls",
        "exec -H @hosts ls",
        "exec -g web ls",
        "exec --tags blue ls",
        "-g web exec ls",
        "put -g web a :",
        "get -H a,b :x",
        "sync -g web a :b",
        "trust -g web",
    ] {
        assert!(good(line).fleet.is_some(), "{line}");
    }
}

#[test]
fn what_is_typed_is_what_is_meant() {
    let plan = fleet(
        "exec -H a,b[1-2] -g web,db -x b1,@out --tags red,blue -f 9 --host-deadline 90s --serial 25% --fail-fast -b -S --retry-file again ls -g",
    );
    let selection = &plan.selection;
    assert_eq!(selection.hosts.as_ref().unwrap().to_string(), "a,b[1-2]");
    assert_eq!(selection.exclude.as_ref().unwrap().to_string(), "b1,@out");
    assert_eq!((selection.groups.join(" "), selection.tags.join(" ")), ("web db".into(), "red blue".into()));
    assert_eq!((plan.fanout, plan.host_deadline), (9, Some(Duration::from_secs(90))));
    assert_eq!((plan.serial, plan.retry_file), (Some(Serial::Percent(25)), Some(PathBuf::from("again"))));
    assert!(plan.fail_fast && plan.gather && plan.max_status);
    let plain = fleet("exec -H a,b ls");
    assert_eq!((plain.fanout, plain.serial, plain.host_deadline), (32, None, None));
    assert!(!plain.fail_fast && !plain.gather && !plain.max_status && plain.retry_file.is_none());
    assert_eq!(fleet("ls --serial 3 -g web :").serial, Some(Serial::Hosts(3)));
}

#[test]
fn what_is_for_many_is_refused_on_one() {
    for option in ["-b", "--serial 2", "--fail-fast", "--host-deadline 1m", "--retry-file again", "-x web1"] {
        let word = option.split(' ').next().unwrap();
        let says = format!("{word} is for several hosts");
        refused(&format!("exec -H nas {option} ls"), &says);
        refused(&format!("put {option} a nas:"), &says);
        refused(&format!("exec {option} ls"), &says);
        assert!(good(&format!("exec -H nas, {option} ls")).fleet.is_some());
    }
}

#[test]
fn what_takes_one_host_is_refused_on_many() {
    for hosts in ["-H a,b", "-H a,", "-H web[1-2]", "-g web", "--tags blue"] {
        for line in ["get :x -", "exec --tty top", "check --receipt last", "shell", "join"] {
            let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
            refused(&format!("{verb} {hosts} {rest}"), "one host");
        }
    }
    refused("trust -g web --fingerprint SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "one host");
    refused("exec -g web -b --json ls", "-b gathers text");
    refused("get -g web nas:x", ":path");
    refused("put -H a,b x nas:", "exclude each other");
}

#[test]
fn numbers_are_numbers_of_hosts() {
    for bad in
        ["-f 0", "-f x", "-f -1", "--serial 0", "--serial 0%", "--serial 101%", "--serial x", "-H a,,b"]
    {
        assert!(run(&format!("exec {bad} -g web ls")).is_err(), "{bad}");
    }
}
