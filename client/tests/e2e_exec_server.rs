//! `exec` with a real server.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{World, build_supervisor, noise, patience, run};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// `mira` may run anything, `anna` nothing.
fn world() -> World {
    build_supervisor();
    let world = World::new();
    world.account("mira", "read,exec,shell");
    world
}

fn exec(world: &World, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let fixed = ["exec", "-l", "mira"].map(OsString::from);
    world.command(fixed.into_iter().chain(args.into_iter().map(|arg| arg.as_ref().to_owned())))
}

#[test]
fn a_command_runs_and_its_streams_and_status_come_back() {
    let world = world();
    let ran = run(&mut exec(&world, ["--shell", "echo out; echo err >&2; exit 7"]), b"").exits(7);
    assert_eq!((ran.text().as_str(), ran.err.as_str()), ("out\n", "err\n"));
    run(&mut exec(&world, ["--shell", "kill -9 $$"]), b"").exits(137);
    let ran = run(&mut exec(&world, ["--", "printf", "%s|", "a b", "", "$HOME", "*"]), b"").ok();
    assert_eq!(ran.text(), "a b||$HOME|*|");
    run(&mut exec(&world, ["no-such-program"]), b"").exits(255).says("no-such-program");
    let ran = world.ft(["exec", "true"]).exits(255);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
}

#[test]
fn much_input_and_output_pass_through_unchanged() {
    let world = world();
    let data = noise(8 << 20, 1);
    assert!(run(&mut exec(&world, ["--stdin", "-", "cat"]), &data).ok().out == data);
    world.serve("big", noise(64 << 20, 2));
    assert!(run(&mut exec(&world, ["cat", "big"]), b"").ok().out == noise(64 << 20, 2));
    // What is not read is not waited for.
    run(&mut exec(&world, ["--stdin", "-", "true"]), &data).ok();
    run(&mut exec(&world, ["--stdin", "/dev/zero", "head", "-c", "5"]), b"").ok();
}

#[test]
fn a_pipe_is_read_without_being_asked_for_and_a_file_is_not() {
    let world = world();
    assert_eq!(run(&mut exec(&world, ["cat"]), b"piped").ok().text(), "piped");
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"lines of a loop").unwrap();
    file.rewind().unwrap();
    let out = exec(&world, ["cat"]).stdin(file.try_clone().unwrap()).output().unwrap();
    assert!(out.status.success() && out.stdout.is_empty());
    assert_eq!(file.stream_position().unwrap(), 0);
}

#[test]
fn both_streams_filled_at_once_never_deadlock() {
    const SIZE: usize = 5_000_000;
    let world = world();
    let line = format!("head -c {SIZE} /dev/zero >&2 & head -c {SIZE} /dev/zero; wait");
    for stdout_first in [true, false] {
        let mut command = exec(&world, ["--shell", &line]);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let mut bytes = vec![1; SIZE];
        let (first, second): (&mut dyn Read, &mut dyn Read) =
            if stdout_first { (&mut out, &mut err) } else { (&mut err, &mut out) };
        for stream in [first, second] {
            stream.read_exact(&mut bytes).unwrap();
            assert!(bytes.iter().all(|byte| *byte == 0));
        }
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn any_words_arrive_as_they_are() {
    let world = world();
    let words = prop::collection::vec(prop::collection::vec(1u8.., 0..40), 1..9);
    let config = Config { cases: 20, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&words, |words| {
        let argv = words.iter().map(|word| OsStr::from_bytes(word));
        let fixed = ["--", "printf", "%s\\0"].map(OsStr::new);
        let ran = run(&mut exec(&world, fixed.into_iter().chain(argv)), b"").ok();
        let expected = words.iter().flat_map(|word| word.iter().copied().chain([0])).collect::<Vec<u8>>();
        prop_assert_eq!(OsString::from_vec(ran.out), OsString::from_vec(expected));
        Ok(())
    });
    result.unwrap();
}

#[test]
fn a_client_that_goes_takes_the_command_and_all_that_it_started_along() {
    let world = world();
    for signal in [Signal::KILL, Signal::INT] {
        let line = "setsid sh -c 'echo $$; exec sleep 1000' & sleep 1000";
        let mut command = exec(&world, ["--shell", line]);
        let mut client = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut pid = String::new();
        BufReader::new(client.stdout.take().unwrap()).read_line(&mut pid).unwrap();
        let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        kill_process(Pid::from_child(&client), signal).unwrap();
        let status = client.wait().unwrap();
        assert!(signal == Signal::KILL || status.code() == Some(130), "{status}");
        let wait = Timespec { tv_sec: patience().as_secs().try_into().unwrap(), tv_nsec: 0 };
        let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&wait)).unwrap();
        assert_eq!(ended, 1, "it lives on after {signal:?}");
    }
    // Each is in the log when it has ended, and how.
    let audited = || {
        let log = world.server.logged();
        log.lines().filter(|line| line.contains("audit: command") && line.contains("signal=15")).count()
    };
    let end = Instant::now() + patience();
    while audited() < 2 {
        assert!(Instant::now() < end, "{}", world.server.logged());
        std::thread::sleep(Duration::from_millis(20));
    }
}
