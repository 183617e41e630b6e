//! Hosts that fail, hang, refuse or die, and runs that are cut short: what the others did counts all the same.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::fs;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::process::Stdio;

use common::{BLOCK, Fleet, Kind, Ran, Watch, Watched, hosts, lines, noise, patience, pipe_without_reader};
use common::{Running, staging_files, states};
use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Host and state of each row of the table, in its order.
fn table(ran: &Ran) -> Vec<(&str, &str)> {
    let rows = ran.err.lines().skip_while(|line| !line.starts_with("host "));
    let rows = rows.skip(1).take_while(|line| !line.contains(" hosts ok") && !line.contains(" host ok"));
    rows.map(|line| {
        let (host, rest) = line.split_once(' ').unwrap();
        let rest = rest.trim_start();
        let state = ["not started", "ok", "failed", "deadline", "interrupted", "disabled"];
        (host, *state.iter().find(|state| rest.starts_with(**state)).unwrap())
    })
    .collect()
}

fn said_of_hosts(said: &str) -> usize {
    said.lines().filter(|line| line.starts_with("{\"type\":\"host\"")).count()
}

#[test]
fn each_failure_is_that_of_its_host_and_the_others_arrive() {
    let fleet = Fleet::of(&[
        ("closed", Kind::Closed),
        ("refusing", Kind::Refusing),
        ("web1", Kind::Process),
        ("changed", Kind::OtherKey),
        ("web2", Kind::Here),
    ]);
    let data = noise(1_300_000, 1);
    fs::write(fleet.local("file"), &data).unwrap();
    let ran = fleet.ft(["put", "--json", "--retry-file", "again", "-g", "all", "file", ":"]).exits(3);
    let events = ran.events();
    assert_eq!(states(&events), ["changed=failed", "closed=failed", "refusing=failed", "web1=ok", "web2=ok"]);
    let hosts = hosts(&events);
    let code = |name: &str| hosts[name]["exit"].as_u64().unwrap();
    assert_eq!((code("changed"), code("closed"), code("refusing")), (7, 5, 7));
    for name in ["changed", "closed", "refusing"] {
        assert!(!hosts[name]["error"].as_str().unwrap().is_empty());
        assert_eq!(hosts[name]["retry_safe"], true, "{name}");
        let errors = events.iter().filter(|event| event["type"] == "error" && event["host"] == name);
        assert_eq!(errors.count(), 1, "{name}");
    }
    for name in ["web1", "web2"] {
        assert!(fs::read(fleet.remote(name, "file")).unwrap() == data);
        assert_eq!(staging_files(&fleet.remote(name, "")), Vec::<std::path::PathBuf>::new());
    }
    assert_eq!(fs::read_to_string(fleet.local("again")).unwrap(), "closed\nrefusing\nchanged\n");
    let quiet = fleet.ft(["put", "-q", "-S", "-g", "all", "file", ":"]).exits(7).err;
    let mut said: Vec<&str> = quiet.lines().filter_map(|line| line.split(": ").next()).collect();
    said.sort_unstable();
    assert_eq!(said, ["changed", "closed", "refusing"], "{quiet}");
}

#[test]
fn a_host_that_hangs_delays_nobody() {
    let kinds = [("hung", Kind::Hung), ("stopped", Kind::Stopped)];
    let names: Vec<String> = (1..=6).map(|number| format!("web{number}")).collect();
    let healthy = names.iter().map(|name| (name.as_str(), Kind::Here));
    let fleet = Fleet::of(&kinds.into_iter().chain(healthy).collect::<Vec<_>>());
    // Two of three places are taken for good.
    let mut command = fleet.command(["exec", "--json", "-f", "3", "-g", "all", "--shell", "echo here"]);
    let mut exec = Watched::start(&mut command, &[]);
    exec.until(|_, said| said_of_hosts(said) == names.len());
    exec.signal(Signal::INT);
    let (ran, events) = exec.finish();
    let ran = ran.exits(130);
    let expected = ["hung=interrupted".to_owned(), "stopped=interrupted".to_owned()].into_iter();
    let expected: Vec<String> = expected.chain(names.iter().map(|name| format!("{name}=ok"))).collect();
    assert_eq!(states(&events), expected);
    let summary = ran.event("summary");
    assert_eq!(
        ["hosts", "hosts_ok", "hosts_failed", "exit"].map(|count| summary[count].clone()),
        [8, 6, 2, 130].map(Value::from)
    );
}

#[test]
fn deadlines_end_a_host_and_the_whole() {
    let fleet = Fleet::of(&[("hung", Kind::Hung), ("stopped", Kind::Stopped), ("web1", Kind::Process)]);
    fs::write(fleet.local("file"), "x").unwrap();
    let args = ["put", "--host-deadline", "1s", "-H", "hung,stopped", "file", ":", "--retry-file", "again"];
    let ran = fleet.ft(args.iter().chain(&["--json"])).exits(3);
    assert_eq!(states(&ran.events()), ["hung=deadline", "stopped=deadline"]);
    let late = &hosts(&ran.events())["hung"];
    assert_eq!((&late["exit"], &late["retry_safe"]), (&10.into(), &true.into()));
    assert_eq!(fs::read_to_string(fleet.local("again")).unwrap(), "hung\nstopped\n");
    fleet.ft(args.iter().chain(&["-S"])).exits(10).says("the deadline of 1s for each host passed");
    // Each has a deadline of its own: the second one begins when that of the first has passed.
    let ran = fleet.ft(args.iter().chain(&["-f", "1"])).exits(3);
    assert_eq!(table(&ran), [("hung", "deadline"), ("stopped", "deadline")]);

    let ran = fleet.ft(["put", "--deadline", "1s", "-f", "1", "-H", "hung,web1", "file", ":"]).exits(3);
    assert_eq!(table(&ran), [("hung", "deadline"), ("web1", "not started")]);
    assert!(ran.err.contains("0 of 2 hosts ok, 2 not"), "{}", ran.err);
    assert!(!fleet.remote("web1", "file").exists());
    // What was not asked for has not run.
    let ran = fleet.ft(["exec", "-S", "--json", "--host-deadline", "1s", "-H", "hung,", "true"]).exits(255);
    assert_eq!(hosts(&ran.events())["hung"]["retry_safe"], true);
}

#[test]
fn a_command_that_was_cut_short_is_not_to_be_run_again_unseen() {
    let fleet = Fleet::of(&[("hung", Kind::Hung), ("web1", Kind::Here)]);
    let mut command = fleet.command(["exec", "--json", "-g", "all", "--shell", "echo here; exec sleep 1000"]);
    let mut exec = Watched::start(&mut command, &[]);
    exec.until(|_, said| said.contains("\"type\":\"output\""));
    fleet.connected("hung");
    exec.signal(Signal::INT);
    let (ran, events) = exec.finish();
    ran.exits(130);
    let ended = hosts(&events);
    assert_eq!((&ended["hung"]["retry_safe"], &ended["hung"]["bytes"]), (&true.into(), &0.into()));
    assert_eq!((&ended["web1"]["retry_safe"], &ended["web1"]["bytes"]), (&false.into(), &5.into()));
}

#[test]
fn ctrl_c_says_which_had_finished() {
    let kinds = [("web1", Kind::Here), ("hung", Kind::Hung), ("web2", Kind::Here), ("hung2", Kind::Hung)];
    let fleet = Fleet::of(&kinds);
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let args = ["exec", "-f", "1", "-g", "all", "--retry-file", "again", "-x", "hung2", "echo", "here"];
        let exec = fleet.start(args);
        fleet.connected("hung");
        exec.signal(signal);
        let ran = exec.finish().exits(code);
        assert_eq!(ran.text(), "web1: here\n");
        assert_eq!(table(&ran), [("web1", "ok"), ("hung", "interrupted"), ("web2", "not started")]);
        assert_eq!(fs::read_to_string(fleet.local("again")).unwrap(), "hung\nweb2\n");
    }
    // What was gathered so far is shown.
    let exec = fleet.start(["exec", "-b", "-f", "1", "-H", "web1,hung", "echo", "here"]);
    fleet.connected("hung");
    exec.signal(Signal::INT);
    let ran = exec.finish().exits(130);
    assert_eq!(ran.text(), "---------------\nweb1\n---------------\nhere\n");
}

#[test]
fn a_reader_that_has_gone_ends_all_at_once() {
    let fleet = Fleet::of(&[("hung", Kind::Hung), ("web1", Kind::Here), ("web2", Kind::Here)]);
    let ends = |args: &[&str]| {
        let mut command = fleet.command(args.iter().chain(&["--shell", "while echo y; do :; done"]));
        Running::start_into(&mut command, pipe_without_reader()).finish().exits(141)
    };
    ends(&["exec", "-q", "-g", "all", "--retry-file", "again"]);
    assert_eq!(fs::read_to_string(fleet.local("again")).unwrap(), "hung\nweb1\nweb2\n");
    ends(&["exec", "--json", "-g", "all"]);
    let mut command = fleet.command(["exec", "-b", "-H", "web[1-2]", "echo", "y"]);
    Running::start_into(&mut command, pipe_without_reader()).finish().exits(141);
    let mut command = fleet.command(["ls", "-g", "all", ":"]);
    fs::write(fleet.remote("web1", "file"), "x").unwrap();
    Running::start_into(&mut command, pipe_without_reader()).finish().exits(141);
}

/// A pipe that has room for a few lines, and its reader, who reads nothing more.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    ioctl_fionbio(&writer, true).unwrap();
    while writer.write(&[b'\n'; 4096]).is_ok() {}
    ioctl_fionbio(&writer, false).unwrap();
    reader.read_exact(&mut [0; 4096]).unwrap();
    (reader, writer)
}

/// Prints more than such a pipe takes, then leaves a sign.
const MUCH: &str = "head -c 9000 /dev/zero | tr '\\0' x; echo > ran";

#[test]
fn ctrl_c_works_while_the_reader_stands_still() {
    let fleet = Fleet::in_process(2);
    for option in ["-S", "-b", "--json"] {
        let watches = fleet.names().into_iter().map(|name| {
            let dir = fleet.remote(&name, "");
            let _ = fs::remove_file(dir.join("ran"));
            (Watch::new(&dir), dir.join("ran"))
        });
        let watches: Vec<_> = watches.collect();
        let (_reader, writer) = full_pipe();
        let args = ["exec", option, "-g", "all", "--retry-file", "again", "--shell", MUCH];
        let exec = Running::start_into(&mut fleet.command(args), writer);
        for (watch, ran) in watches {
            watch.until(|| ran.exists());
        }
        exec.signal(Signal::INT);
        exec.finish().exits(130);
        fs::remove_file(fleet.local("again")).unwrap();
    }
}

#[test]
fn the_deadline_passes_while_the_reader_stands_still() {
    let fleet = Fleet::in_process(2);
    for (option, code) in [("-b", 3), ("--json", 3), ("-S", 255)] {
        let (_reader, writer) = full_pipe();
        let args = ["exec", option, "-g", "all", "--deadline", "1s", "--shell", MUCH];
        Running::start_into(&mut fleet.command(args), writer).finish().exits(code);
    }
}

#[test]
fn what_failed_is_run_again_from_its_file() {
    let fleet = Fleet::in_process(4);
    let exec = |hosts: &[&str], line: &str| {
        let fixed = ["exec", "--retry-file", "again"];
        fleet.ft(fixed.iter().chain(hosts).chain(&["--shell", line]))
    };
    for name in ["web002", "web004"] {
        fs::write(fleet.remote(name, "broken"), "").unwrap();
    }
    exec(&["-g", "all"], "test ! -e broken").exits(3);
    let again = || fs::read_to_string(fleet.local("again")).unwrap();
    assert_eq!(again(), "web002\nweb004\n");
    fs::remove_file(fleet.remote("web004", "broken")).unwrap();
    let ran = exec(&["-H", "@again"], "test ! -e broken").exits(3);
    assert_eq!(table(&ran), [("web002", "failed"), ("web004", "ok")]);
    assert_eq!(again(), "web002\n");
    fs::remove_file(fleet.remote("web002", "broken")).unwrap();
    exec(&["-H", "@again"], "test ! -e broken").ok();
    assert_eq!(again(), "", "it is written where all is well, too");
    exec(&["-H", "@again"], "true").exits(2).says("there is no host in -H @again");
    // A file that cannot be written is found before anything begins.
    let ran = fleet.ft(["exec", "--retry-file", "no/such/dir", "-g", "all", "touch", "ran"]);
    ran.exits(2).says("no/such/dir");
    assert!(fleet.names().iter().all(|name| !fleet.remote(name, "ran").exists()));
}

#[test]
fn a_failure_ends_what_has_not_begun() {
    let fleet = Fleet::in_process(5);
    fs::write(fleet.remote("web002", "broken"), "").unwrap();
    let exec = |args: &[&str]| {
        let fixed = ["exec", "-g", "all"];
        fleet.ft(fixed.iter().chain(args).chain(&["--shell", "echo >> ran; test ! -e broken"]))
    };
    let ran_on = || {
        let ran: Vec<bool> = fleet.names().iter().map(|name| fleet.remote(name, "ran").exists()).collect();
        for name in fleet.names() {
            let _ = fs::remove_file(fleet.remote(&name, "ran"));
        }
        ran
    };
    let ran = exec(&["-f", "1", "--fail-fast"]).exits(3);
    assert_eq!(
        table(&ran),
        [
            ("web001", "ok"),
            ("web002", "failed"),
            ("web003", "not started"),
            ("web004", "not started"),
            ("web005", "not started")
        ]
    );
    assert_eq!(ran_on(), [true, true, false, false, false]);

    // Two at a time: the step comes to its end, and the next one does not begin.
    for step in ["50%", "2"] {
        let ran = exec(&["--serial", step, "--json"]).exits(3);
        assert_eq!(
            states(&ran.events()),
            ["web001=ok", "web002=failed", "web003=not_started", "web004=not_started", "web005=not_started"]
        );
        let waiting = &hosts(&ran.events())["web004"];
        assert_eq!((&waiting["retry_safe"], waiting["status"].is_null()), (&true.into(), true));
        assert_eq!(ran_on(), [true, true, false, false, false]);
    }
    exec(&["--serial", "3"]).exits(3);
    assert_eq!(ran_on(), [true, true, true, false, false]);
    exec(&[]).exits(3);
    assert_eq!(ran_on(), [true; 5]);
    fs::remove_file(fleet.remote("web002", "broken")).unwrap();
    exec(&["--serial", "40%", "--fail-fast"]).ok();
    assert_eq!(ran_on(), [true; 5]);
}

#[test]
fn a_server_that_dies_midway_takes_nobody_along() {
    let mut fleet = Fleet::of(&[("web1", Kind::Process), ("victim", Kind::Process), ("web2", Kind::Process)]);
    let data = noise(8 << 20, 1);
    fs::write(fleet.local("file"), &data).unwrap();
    let dir = fleet.remote("victim", "");
    let watch = Watch::new(&dir);
    let put = fleet.start(["put", "--json", "--bwlimit", "4M", "-g", "all", "file", ":"]);
    watch.until(|| {
        let partial = staging_files(&dir).pop();
        partial.is_some_and(|path| fs::metadata(path).is_ok_and(|meta| meta.len() >= BLOCK))
    });
    fleet.server("victim").kill();
    let ran = put.finish().exits(3);
    assert_eq!(states(&ran.events()), ["victim=failed", "web1=ok", "web2=ok"]);
    assert_eq!(hosts(&ran.events())["victim"]["exit"], 5);
    assert!(!dir.join("file").exists());
    for name in ["web1", "web2"] {
        assert!(fs::read(fleet.remote(name, "file")).unwrap() == data);
    }
    fleet.server("victim").restart();
    fleet.ft(["put", "-g", "all", "file", ":"]).ok();
    assert!(fs::read(dir.join("file")).unwrap() == data);
}

#[test]
fn sigusr1_asks_how_far_it_is() {
    let fleet = Fleet::of(&[("web1", Kind::Here), ("closed", Kind::Closed), ("hung", Kind::Hung)]);
    let mut command = fleet.command(["exec", "--json", "-f", "1", "-g", "all", "true"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = command.spawn().unwrap();
    let mut out = client.stdout.take().unwrap();
    let said = lines(client.stderr.take().unwrap());
    fleet.connected("hung");
    let pid = Pid::from_child(&client);
    kill_process(pid, Signal::USR1).unwrap();
    loop {
        let line = said.recv_timeout(patience()).unwrap();
        if line.contains(" hosts") {
            assert!(line.starts_with("2/3 hosts, 1 failed"), "{line}");
            break;
        }
    }
    kill_process(pid, Signal::INT).unwrap();
    out.read_to_string(&mut String::new()).unwrap();
    assert_eq!(client.wait().unwrap().code(), Some(130));
}

#[test]
fn what_is_missing_here_is_one_failure_and_nothing_begins() {
    let fleet = Fleet::in_process(2);
    fs::write(fleet.local("there"), "x").unwrap();
    for args in [["put", "there", "missing"], ["sync", "missing", ":copy"], ["check", "missing", ":copy"]] {
        let ran =
            fleet.ft(args.iter().copied().chain(["-g", "all"]).chain((args[0] == "put").then_some(":")));
        let said = ran.exits(4).says("missing").says("nothing was begun").err;
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert!(fleet.names().iter().all(|name| !fleet.remote(name, "there").exists()));
}

#[test]
fn standard_input_that_is_kept_has_no_name() {
    let fleet = Fleet::in_process(2);
    let kept = fleet.local("kept");
    fs::create_dir(&kept).unwrap();
    let mut command = fleet.command(["put", "-g", "all", "-", ":file"]);
    let (input, mut output) = std::io::pipe().unwrap();
    let put = Running::start_from(command.env("TMPDIR", &kept), input);
    // More than a pipe holds, so it has begun to read when this returns.
    std::io::Write::write_all(&mut output, &noise(1 << 20, 3)).unwrap();
    assert_eq!(fs::read_dir(&kept).unwrap().count(), 0);
    drop(output);
    put.finish().ok();
    for name in fleet.names() {
        assert!(fs::read(fleet.remote(&name, "file")).unwrap() == noise(1 << 20, 3));
    }
}

#[test]
fn a_link_in_the_place_of_the_file_of_failed_hosts_stays_one() {
    let fleet = Fleet::in_process(1);
    std::os::unix::fs::symlink("target", fleet.local("again")).unwrap();
    fleet.ft(["exec", "-g", "all", "--retry-file", "again", "false"]).exits(3);
    assert!(fleet.local("again").is_symlink());
    assert_eq!(fs::read_to_string(fleet.local("target")).unwrap(), "web001\n");
}
