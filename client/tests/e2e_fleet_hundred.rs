//! A hundred hosts, and what the client needs for them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::fs;
use std::process::{Command, Stdio};

use common::{Fleet, events, hosts, lines, noise, patience};
use serde_json::Value;

const HOSTS: usize = 100;
/// Hosts at a time.
const FANOUT: usize = 8;
/// Most that the client may ever have in memory.
const MEMORY: u64 = 64 << 20;
/// Most sockets of the client: one for each host under way, and as many again that it has not closed yet.
const SOCKETS: usize = 2 * FANOUT;

/// What a run said, and the most that it was seen to use.
struct Seen {
    events: Vec<Value>,
    memory: u64,
    sockets: usize,
}

/// Runs the client; after each of its lines it is looked at.
fn watched(mut command: Command) -> Seen {
    let mut client = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let process = format!("/proc/{}", client.id());
    let said = lines(client.stdout.take().unwrap());
    let (mut text, mut memory, mut sockets) = (String::new(), 0, 0);
    while let Ok(line) = said.recv_timeout(patience()) {
        text += &line;
        text.push('\n');
        // It may have ended meanwhile, and what it has closed is gone.
        let status = fs::read_to_string(format!("{process}/status")).unwrap_or_default();
        memory = status.lines().filter_map(peak).fold(memory, u64::max);
        let open = fs::read_dir(format!("{process}/fd")).into_iter().flatten();
        let links = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let count = links.filter(|link| link.to_string_lossy().starts_with("socket:")).count();
        sockets = sockets.max(count);
    }
    let events = events(&text);
    assert_eq!(events.last().unwrap()["type"], "summary", "it does not end");
    assert_eq!(client.wait().unwrap().code(), Some(0), "{text}");
    Seen { events, memory, sockets }
}

/// Bytes of the line that tells the most memory a process had.
fn peak(line: &str) -> Option<u64> {
    let kib = line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?;
    Some(kib.parse::<u64>().unwrap() << 10)
}

impl Seen {
    #[track_caller]
    fn all_ok(&self) {
        let hosts = hosts(&self.events);
        assert_eq!(hosts.len(), HOSTS);
        assert!(hosts.values().all(|host| host["state"] == "ok"), "{hosts:#?}");
        let summary = self.events.last().unwrap();
        assert_eq!(
            ["hosts", "hosts_ok", "hosts_failed"].map(|n| summary[n].clone()),
            [HOSTS, HOSTS, 0].map(Value::from)
        );
        assert!(self.memory > 0 && self.memory < MEMORY, "{} bytes", self.memory);
        // Signals come through a pair of them.
        assert!(self.sockets > 0 && self.sockets <= SOCKETS + 2, "{} sockets", self.sockets);
    }
}

#[test]
fn a_command_runs_on_a_hundred_and_a_file_arrives_on_each() {
    let fleet = Fleet::in_process(HOSTS);
    for name in fleet.names() {
        fs::write(fleet.remote(&name, "name"), &name).unwrap();
    }
    let fanout = FANOUT.to_string();
    let seen = watched(fleet.command(["exec", "--json", "-f", &fanout, "-g", "all", "cat", "name"]));
    seen.all_ok();
    let outputs = seen.events.iter().filter(|event| event["type"] == "output");
    let mut count = 0;
    for output in outputs {
        assert_eq!(output["data"], output["host"]);
        count += 1;
    }
    assert_eq!(count, HOSTS);

    let data = noise(1 << 20, 1);
    fs::write(fleet.local("file"), &data).unwrap();
    let seen = watched(fleet.command(["put", "--json", "-f", &fanout, "-H", "web[001-100]", "file", ":"]));
    seen.all_ok();
    let summary = seen.events.last().unwrap();
    assert_eq!([&summary["files"], &summary["verified"]], [HOSTS, HOSTS].map(Value::from).each_ref());
    for name in fleet.names() {
        assert!(fs::read(fleet.remote(&name, "file")).unwrap() == data, "{name}");
    }
}
