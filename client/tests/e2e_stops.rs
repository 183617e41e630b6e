//! Servers that stop, stand still or let nobody in any more, while the client is at work.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use common::{BLOCK, Running, Watch, World, noise, staging_files};
use ftserver::invites::Invites;
use rustix::process::Signal;

/// More than buffers hold, so that a get that is held back cannot be over soon.
const SIZE: usize = 24 * 1024 * 1024;
const SLOWLY: &str = "--bwlimit=8M";

/// Starts a get and waits until its first block has been written.
fn getting(world: &World, args: &[&str]) -> Running {
    world.serve("big", noise(SIZE, 1));
    let dir = world.local("");
    let watch = Watch::new(&dir);
    let get = world.start(["get", SLOWLY, "nas:big"].iter().chain(args));
    watch.until(|| {
        staging_files(&dir).pop().is_some_and(|path| fs::metadata(path).is_ok_and(|meta| meta.len() >= BLOCK))
    });
    get
}

#[test]
fn a_server_that_is_told_to_stop_finishes_what_it_does() {
    let mut world = World::new();
    let get = getting(&world, &[]);
    world.server.signal(Signal::TERM);
    get.finish().ok();
    assert!(fs::read(world.local("big")).unwrap() == noise(SIZE, 1));
    assert!(world.server.wait().success());
}

#[test]
fn an_account_that_is_removed_loses_its_session() {
    let world = World::new();
    let get = getting(&world, &["--json"]);
    Invites::new(&world.state()).remove_user("anna").unwrap();
    let ran = get.finish().exits(7);
    assert_eq!(ran.event("error")["code"], 7);
    assert!(!world.local("big").exists());
}

#[test]
fn a_server_that_stands_still_is_given_up_in_time() {
    let world = World::new();
    let get = getting(&world, &["--timeout", "3s", "--retries", "0"]);
    world.server.signal(Signal::STOP);
    get.finish().exits(5).says("no progress for 3 s");
    world.server.signal(Signal::CONT);
    assert!(!world.local("big").exists());
    world.ft(["get", "nas:big"]).ok();
    world.nothing_is_staged();
}

#[test]
fn a_peer_that_never_answers_is_given_up_in_time() {
    let world = World::new();
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("ft://{}/", silent.local_addr().unwrap());
    let start = Instant::now();
    world.ft(["ls", "--retries", "0", "--timeout", "1s", "-l", "anna", &url]).exits(5);
    // Far below the 30 s that a connection may take where nobody asked for less.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn a_rate_limit_is_not_mistaken_for_a_peer_that_stands_still() {
    let world = World::new();
    let data = noise(BLOCK as usize + 1, 2);
    world.serve("slow", &data);
    for args in [["get", "nas:slow", "slow"], ["put", "slow", "nas:copy"]] {
        let options = ["--bwlimit", "384K", "--timeout", "2s", "--retries", "0"];
        world.ft(args.iter().chain(&options)).ok();
    }
    assert!(fs::read(world.remote("copy")).unwrap() == data);
}

#[test]
fn ctrl_c_works_while_the_client_waits_to_try_again() {
    let mut world = World::new();
    world.server.kill();
    let watch = Watch::new(&world.local(""));
    let out = File::create(world.local("out")).unwrap();
    let get = Running::start_into(&mut world.command(["get", "--json", "nas:big"]), out);
    watch.until(|| fs::read_to_string(world.local("out")).unwrap().contains("\"retry\""));
    get.signal(Signal::INT);
    get.finish().exits(130);
}
