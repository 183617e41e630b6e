//! `exec` on many hosts: which ones, whose output is whose, and the code that a script sees.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::fs;

use common::{Fleet, Ran, hosts, noise, states};
use ft_protocol::Status;
use ft_protocol::wire::Message;
use ft_protocol::wire::message::End;
use ft_tests::hostile::Action;
use serde_json::Value;

/// Lines as a person sees them, in an order that does not depend on who was faster.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// The row of a host in the table, as words.
#[track_caller]
fn row<'a>(ran: &'a Ran, host: &str) -> Vec<&'a str> {
    let rows = ran.err.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut rows = rows.filter(|words| words.first() == Some(&host));
    rows.next().unwrap_or_else(|| panic!("{host} is not in the table\n{}", ran.shown()))
}

/// What a host wrote to a stream.
fn written(events: &[Value], host: &str, stream: &str) -> String {
    let outputs = events.iter().filter(|event| event["type"] == "output");
    let outputs = outputs.filter(|event| event["host"] == host && event["stream"] == stream);
    outputs.map(|event| event["data"].as_str().unwrap()).collect()
}

/// Gives each host a file of this name with its own number in it, from 1.
fn number(fleet: &Fleet, file: &str) {
    for (number, name) in fleet.names().iter().enumerate() {
        fs::write(fleet.remote(name, file), (number + 1).to_string()).unwrap();
    }
}

#[test]
fn each_line_stands_behind_the_name_of_its_host_and_on_its_own_stream() {
    let fleet = Fleet::in_process(3);
    number(&fleet, "n");
    let ran = fleet.ft(["exec", "-H", "web[001-003]", "--shell", "echo out $(cat n); echo err >&2"]).ok();
    assert_eq!(sorted(&ran.text()), ["web001: out 1", "web002: out 2", "web003: out 3"]);
    let (said, table): (Vec<&str>, Vec<&str>) = sorted(&ran.err).into_iter().partition(|l| l.contains(": "));
    assert_eq!(said, ["web001: err", "web002: err", "web003: err"]);
    assert_eq!(table.len(), 5, "{}", ran.err);
    assert_eq!(row(&ran, "web002")[1..3], ["ok", "0"]);
    assert!(ran.err.contains("\n3 of 3 hosts ok, in "), "{}", ran.err);

    let quiet = fleet.ft(["exec", "-q", "-g", "all", "cat", "n"]).ok();
    assert_eq!((quiet.text().len(), quiet.err.as_str()), ("web001: 1\n".len() * 3, ""));
}

#[test]
fn programs_are_told_everything_once() {
    let fleet = Fleet::in_process(2);
    number(&fleet, "n");
    let line = "printf 'out %s\\n' $(cat n); printf err >&2; exit $(cat n)";
    let ran = fleet.ft(["exec", "--json", "-g", "all", "--shell", line]).exits(3);
    assert_eq!(ran.err, "");
    let events = ran.events();
    assert_eq!((&events[0]["type"], &events[0]["hosts"]), (&"start".into(), &2.into()));
    assert_eq!(events.last().unwrap()["type"], "summary");
    for (name, number) in [("web001", 1), ("web002", 2)] {
        assert_eq!(written(&events, name, "stdout"), format!("out {number}\n"));
        assert_eq!(written(&events, name, "stderr"), "err");
        let host = &hosts(&events)[name];
        assert_eq!((&host["state"], &host["status"]), (&"failed".into(), &number.into()));
        assert_eq!((&host["exit"], &host["bytes"]), (&number.into(), &9.into()));
        assert!(host["run"].is_string() && host["seconds"].is_number() && host["signal"].is_null(), "{host}");
        let exits = events.iter().filter(|event| event["type"] == "exit" && event["host"] == name);
        assert_eq!(exits.map(|exit| exit["status"].clone()).collect::<Vec<_>>(), [Value::from(number)]);
    }
    let summary = ran.event("summary");
    let counts = ["hosts", "hosts_ok", "hosts_failed", "bytes", "exit"].map(|name| summary[name].clone());
    assert_eq!(counts, [2, 0, 2, 18, 3].map(Value::from));
}

#[test]
fn the_code_is_0_or_3_or_the_largest_where_that_is_asked_for() {
    let fleet = Fleet::in_process(3);
    fs::write(fleet.remote("web001", "end"), "true").unwrap();
    fs::write(fleet.remote("web002", "end"), "exit 7").unwrap();
    fs::write(fleet.remote("web003", "end"), "kill -9 $$").unwrap();
    let exec = |hosts: &str, more: &[&str]| {
        let fixed = ["exec", "-H", hosts];
        fleet.ft(fixed.iter().chain(more).chain(&["--shell", ". ./end"]))
    };
    exec("web001,", &[]).ok();
    exec("web001,", &["-S"]).ok();
    let ran = exec("web[001-003]", &[]).exits(3);
    assert_eq!(row(&ran, "web001")[1..3], ["ok", "0"]);
    assert_eq!(row(&ran, "web002")[1..3], ["failed", "7"]);
    assert_eq!(row(&ran, "web003")[1..4], ["failed", "signal", "9"]);
    assert!(ran.err.contains("1 of 3 hosts ok, 2 not"), "{}", ran.err);
    exec("web[001-002]", &["-S"]).exits(7);
    let events = exec("web[001-003]", &["-S", "--json"]).exits(137).events();
    let killed = &hosts(&events)["web003"];
    assert_eq!((&killed["signal"], &killed["exit"]), (&9.into(), &137.into()));
    assert!(killed["status"].is_null());
    // What is no status of a command is 255.
    let ran = fleet.ft(["exec", "-S", "--json", "-g", "all", "no-such-program"]).exits(255);
    let failed = &hosts(&ran.events())["web001"];
    assert!(failed["status"].is_null() && failed["error"].as_str().unwrap().contains("no-such-program"));
}

#[test]
fn a_host_cannot_speak_for_another_one() {
    const FORGED: &str = "printf 'x\\rweb002: ok\\n\\033[2Aweb002: ok\\n\\342\\200\\256\\377\\302\\233'";
    let fleet = Fleet::in_process(1);
    let lines = "x\\x0dweb002: ok\n\\x1b[2Aweb002: ok\n\\u{202e}\\xff\\u{9b}\n";
    let live = fleet.ft(["exec", "-H", "web001,", "--shell", FORGED]).ok().text();
    let named: String = lines.lines().map(|line| format!("web001: {line}\n")).collect();
    assert_eq!(live, named);
    let line = format!("{FORGED} >&2");
    let stderr = fleet.ft(["exec", "-q", "-H", "web001,", "--shell", &line]).ok();
    assert_eq!((stderr.err, stderr.out), (named, Vec::new()));
    let gathered = fleet.ft(["exec", "-b", "-H", "web001,", "--shell", FORGED]).ok().text();
    let rule = "---------------";
    assert_eq!(gathered, format!("{rule}\nweb001\n{rule}\n{lines}"));
}

#[test]
fn a_line_without_end_arrives_whole_and_behind_its_name() {
    const SIZE: usize = 1 << 20;
    let fleet = Fleet::in_process(2);
    let line = format!("head -c {SIZE} /dev/zero | tr '\\0' x");
    let ran = fleet.ft(["exec", "-g", "all", "--shell", &line]).ok();
    let (mut sent, text) = ([0, 0], ran.text());
    for line in text.lines() {
        let host = ["web001: ", "web002: "].iter().position(|name| line.starts_with(name)).unwrap();
        assert!(line[8..].bytes().all(|byte| byte == b'x'));
        sent[host] += line.len() - 8;
    }
    assert_eq!(sent, [SIZE, SIZE]);
    let gathered = fleet.ft(["exec", "-b", "-g", "all", "--shell", &line]).ok().text();
    assert!(gathered.starts_with("---------------\nweb[001-002] (2)\n---------------\n"));
    assert_eq!(gathered.bytes().filter(|byte| *byte == b'x').count(), SIZE);
}

#[test]
fn a_server_that_lies_writes_no_other_line_and_moves_no_cursor() {
    let mut fleet = Fleet::in_process(1);
    fleet.hostile("evil", |op, message| match message {
        Message::Exec(_) => {
            let message = "no\x1b[2A\nweb001: ok\rweb001  ok  0\u{9b}2J".to_owned();
            vec![Action::Send(op, End { status: Status::Denied as u32, message }.into())]
        }
        _ => Vec::new(),
    });
    let ran = fleet.ft(["exec", "-g", "all", "true"]).exits(3);
    assert!(!ran.err.contains(['\x1b', '\r', '\u{9b}']), "{:?}", ran.err);
    let of_web = ran.err.lines().filter(|line| line.starts_with("web001"));
    assert_eq!(of_web.count(), 1, "{}", ran.err);
    assert_eq!(row(&ran, "evil")[1..3], ["failed", "255"]);
}

#[test]
fn equal_output_is_shown_once_for_all_that_gave_it() {
    let fleet = Fleet::in_process(4);
    for (name, word) in [("web001", "a"), ("web002", "b"), ("web003", "a"), ("web004", "a")] {
        fs::write(fleet.remote(name, "word"), word).unwrap();
    }
    let line = "cat word; echo; echo same >&2";
    let ran = fleet.ft(["exec", "-b", "-g", "all", "--shell", line]).ok();
    let rule = "---------------";
    let out = format!("{rule}\nweb[001,003-004] (3)\n{rule}\na\n{rule}\nweb002\n{rule}\nb\n");
    assert_eq!(ran.text(), out);
    assert!(ran.err.contains(&format!("{rule}\nweb[001-004] (4)\n{rule}\nsame\n")), "{}", ran.err);
    // What has no output has no heading.
    assert_eq!(fleet.ft(["exec", "-b", "-g", "all", "true"]).ok().text(), "");
    // Also that of other commands, also where a host failed.
    fs::remove_file(fleet.remote("web004", "word")).unwrap();
    let ran = fleet.ft(["sum", "-b", "-g", "all", ":word"]).exits(3);
    let sums = [common::md5(b"a"), common::md5(b"b")];
    let out = format!(
        "{rule}\nweb[001,003] (2)\n{rule}\n{}  word\n{rule}\nweb002\n{rule}\n{}  word\n",
        sums[0], sums[1]
    );
    assert_eq!(ran.text(), out);
}

#[test]
fn a_host_runs_once_however_often_it_is_named() {
    let mut fleet = Fleet::in_process(2);
    fleet.also("[groups.web]\nhosts = ['web[001-002]']\n[groups.first]\nhosts = ['web001']");
    let address = format!("ann@{}", fleet.address("web001"));
    let ran = |args: &[&str]| {
        let fixed = ["exec", "--json"];
        let all = fixed.iter().chain(args).chain(&["--shell", "echo . >> ran"]);
        let ran = fleet.ft(all).ok();
        let count = |name| fs::read(fleet.remote(name, "ran")).map_or(0, |text| text.len() / 2);
        let counts = (count("web001"), count("web002"));
        for name in ["web001", "web002"] {
            let _ = fs::remove_file(fleet.remote(name, "ran"));
        }
        assert_eq!(ran.event("summary")["hosts"], counts.0 + counts.1, "{}", ran.shown());
        counts
    };
    assert_eq!(ran(&["-H", "web001,web001"]), (1, 0));
    assert_eq!(ran(&["-H", &format!("web001,{address}")]), (1, 0));
    assert_eq!(ran(&["-H", "web001", "-g", "web,first"]), (1, 1));
    assert_eq!(ran(&["-g", "web,all"]), (1, 1));
    assert_eq!(ran(&["-g", "web", "-x", "first"]), (0, 1));
    assert_eq!(ran(&["-g", "all", "-x", "web002"]), (1, 0));
}

#[test]
fn tags_and_a_file_of_hosts_select() {
    let mut fleet = Fleet::in_process(3);
    fleet.set("web002", "tags = ['blue']");
    fleet.set("web003", "tags = ['red', 'blue']");
    fs::write(fleet.local("list"), "# both\nweb001\nweb[002-003] # odd\n").unwrap();
    let run = |args: &[&str]| {
        let ran = fleet.ft(["exec", "--json"].iter().chain(args).chain(&["true"])).ok();
        hosts(&ran.events()).into_keys().collect::<Vec<_>>()
    };
    assert_eq!(run(&["--tags", "blue"]), ["web002", "web003"]);
    assert_eq!(run(&["-H", "@list", "--tags", "red"]), ["web003"]);
    assert_eq!(run(&["-H", "@list", "-x", "web002"]), ["web001", "web003"]);
    let ran =
        fleet.command(["exec", "--json", "true"]).env("FTCLIENT_HOSTS", "web001,web003").output().unwrap();
    assert_eq!(states(&common::events(&String::from_utf8(ran.stdout).unwrap())), ["web001=ok", "web003=ok"]);
}

#[test]
fn a_disabled_host_is_named_and_left_out() {
    let mut fleet = Fleet::in_process(2);
    fleet.set("web001", "enabled = false");
    let ran = fleet.ft(["exec", "-g", "all", "--shell", "echo here >> ran"]).ok();
    assert!(ran.err.contains("disables them: web001\n") && ran.err.contains("1 of 1 host ok"), "{}", ran.err);
    assert!(!fleet.remote("web001", "ran").exists());
    let events = fleet.ft(["exec", "--json", "-g", "all", "true"]).ok().events();
    assert_eq!(states(&events), ["web001=disabled", "web002=ok"]);
    let disabled = &hosts(&events)["web001"];
    assert_eq!((&disabled["retry_safe"], &disabled["exit"]), (&true.into(), &Value::Null), "nothing ran");
    assert_eq!((&events[0]["hosts"], &events.last().unwrap()["hosts"]), (&1.into(), &1.into()));
    fleet.set("web002", "enabled = false");
    fleet.ft(["exec", "-g", "all", "true"]).exits(2).says("all hosts of the selection are disabled");
}

#[test]
fn what_is_mistyped_is_found_before_anything_begins() {
    let mut fleet = Fleet::in_process(2);
    fleet.also("[groups.web]\nhosts = ['web[001-002]']\n[groups.none]\nhosts = []");
    for (args, says) in [
        (["-H", "web001,wbe002"], "did you mean 'web002'"),
        (["-g", "wbe"], "did you mean 'web'"),
        (["--tags", "blue"], "no host has the tag 'blue'"),
        (["-g", "none"], "there is no host in -g none"),
        (["-H", "web001,web[2-1]"], "web[2-1]"),
        (["-H", "@missing"], "missing"),
    ] {
        let fixed = ["exec", "--shell", "echo here >> ran"];
        let ran = fleet.ft(fixed.iter().chain(&args)).exits(2).says(says);
        assert!(ran.out.is_empty(), "{}", ran.shown());
    }
    fleet.ft(["exec", "-g", "web", "-x", "wbe001", "--shell", "echo > ran"]).exits(2).says("'web001'");
    fleet.ft(["exec", "-g", "web", "-x", "web", "--shell", "echo > ran"]).exits(2).says("nothing is left");
    for name in fleet.names() {
        assert!(!fleet.remote(&name, "ran").exists(), "{name}");
    }
}

#[test]
fn every_host_gets_all_of_standard_input() {
    let fleet = Fleet::in_process(3);
    let data = noise(2_500_000, 1);
    let ran = fleet.ft_with(["exec", "-g", "all", "-f", "2", "--stdin", "-", "--shell", "cat > got"], &data);
    ran.ok();
    fs::write(fleet.local("file"), &data).unwrap();
    fleet.ft(["exec", "-g", "all", "--stdin", "file", "--shell", "cat > file"]).ok();
    for name in fleet.names() {
        assert!(fs::read(fleet.remote(&name, "got")).unwrap() == data, "{name}");
        assert!(fs::read(fleet.remote(&name, "file")).unwrap() == data, "{name}");
    }
}
