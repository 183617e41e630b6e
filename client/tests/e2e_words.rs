//! What the client says where it gets nowhere: what happened, once, in words and without numbers of the system.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};

use common::World;

#[test]
fn a_server_that_is_not_there_is_named_once() {
    let world = World::new();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let host = format!("ft://anna@127.0.0.1:{port}");
    for (verb, path) in [("ls", ""), ("get", "a")] {
        let ran = world.ft([verb, "--retries", "0", &format!("{host}/{path}")]).exits(5);
        let line = format!(
            "ftclient: 127.0.0.1:{port}{}: connection lost: Connection refused\n",
            match path {
                "" => String::new(),
                path => format!(":{path}"),
            }
        );
        assert_eq!(ran.err, line);
    }
    let ran = world.ft(["trust", "--retries", "0", &format!("127.0.0.1:{port}")]).exits(5);
    assert_eq!(ran.err, format!("ftclient: 127.0.0.1:{port}: connection lost: Connection refused\n"));
}

#[test]
fn a_command_that_cannot_be_started_is_all_that_is_said() {
    let world = World::new();
    for args in [&["ls", "--via", "no-such-program x"][..], &["get", "--via", "no-such-program x", "x:a"]] {
        let ran = world.ft(args).exits(1);
        assert_eq!(ran.err, "ftclient: cannot start 'no-such-program': No such file or directory\n");
    }
}

#[test]
fn a_deadline_is_named_as_it_was_given() {
    let world = World::new();
    let silent = ["ls", "--via", "sleep 1000", "--deadline", "10ms"];
    assert_eq!(world.ft(silent).exits(10).err, "ftclient: the deadline of 10ms passed\n");
}

#[test]
fn known_hosts_that_cannot_be_understood_are_a_mistake_of_configuration() {
    let world = World::new();
    fs::write(world.config_dir().join("known_hosts"), "garbage\n").unwrap();
    world.ft(["ls", "nas:"]).exits(2).says("known_hosts:1: ").says("correct or remove the line");
    world.ft(["get", "nas:a"]).exits(2).says("known_hosts:1: ");
}

#[test]
fn a_file_that_is_missing_is_missing_in_words() {
    let world = World::new();
    for option in ["-i", "--config"] {
        let ran = world.ft(["ls", option, "none", "nas:"]).says("none: No such file or directory");
        assert!(!ran.err.contains("os error"), "{}", ran.shown());
    }
}
