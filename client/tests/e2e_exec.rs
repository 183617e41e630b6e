//! `exec` against a server that does what the test says.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::fs::{self, File};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};

use common::{Ran, Running, Watch, World, noise, pipe_without_reader, run};
use ft_protocol::Status;
use ft_protocol::wire::Message;
use ft_protocol::wire::message::{Credit, End, Exec, Exit};
use ft_tests::hostile::{Action, HostileServer, welcome};
use rustix::process::Signal;
use tokio::runtime::Runtime;

/// A server with a script for `exec`, and what it was told.
struct Fake {
    world: World,
    server: HostileServer,
    heard: Receiver<Message>,
    _runtime: Runtime,
}

impl Fake {
    /// Answers like this; `None` leaves a message without an answer.
    fn new(mut answer: impl FnMut(&Message) -> Vec<Message> + Send + 'static) -> Self {
        Self::acting(move |message| {
            answer(message).into_iter().map(|message| Action::Send(1, message)).collect()
        })
    }

    fn acting(act: impl FnMut(&Message) -> Vec<Action> + Send + 'static) -> Self {
        Self::greeting(welcome(), act)
    }

    /// Answers a login like this.
    fn greeting(
        greeting: Vec<Action>,
        mut act: impl FnMut(&Message) -> Vec<Action> + Send + 'static,
    ) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (tell, heard) = channel();
        let server = runtime.block_on(HostileServer::start_with(greeting, move |_, message| {
            let actions = act(&message);
            let _ = tell.send(message);
            actions
        }));
        Self { world: World::new(), server, heard, _runtime: runtime }
    }

    /// `ftclient exec`.
    fn command(&self, args: &[&str]) -> Command {
        let (address, fingerprint) =
            (self.server.address().to_string(), self.server.fingerprint().to_string());
        let fixed = ["exec", "-l", "anna", "--retries", "2", "-H", &address, "--fingerprint", &fingerprint];
        self.world.command(fixed.iter().chain(args))
    }

    #[track_caller]
    fn exec(&self, args: &[&str]) -> Ran {
        run(&mut self.command(args), b"")
    }

    /// The request that came.
    fn request(&self) -> Exec {
        match self.heard.try_recv().unwrap() {
            Message::Exec(exec) => exec,
            other => panic!("{other:?}"),
        }
    }
}

/// Answers EXEC with these, between STARTED and END.
fn running(messages: Vec<Message>, end: End) -> impl FnMut(&Message) -> Vec<Message> {
    move |message| match message {
        Message::Exec(_) => {
            let mut all = vec![Message::Started];
            all.extend(messages.iter().cloned());
            all.push(end.clone().into());
            all
        }
        _ => vec![],
    }
}

fn exit(status: u32, signal: u32) -> Message {
    Exit { status, signal }.into()
}

fn end(status: Status, message: &str) -> End {
    End { status: status as u32, message: message.into() }
}

fn stdout(bytes: &[u8]) -> Message {
    Message::Stdout(bytes.to_vec().into())
}

#[test]
fn the_status_is_that_of_the_command() {
    for (status, signal, code) in [(0, 0, 0), (1, 0, 1), (2, 0, 2), (255, 0, 255), (0, 9, 137), (0, 15, 143)]
    {
        let fake = Fake::new(running(vec![exit(status, signal)], End::default()));
        let ran = fake.exec(&["--json", "true"]).exits(code);
        let told = ran.event("exit");
        assert_eq!(told["status"].as_u64(), (signal == 0).then_some(status.into()));
        assert_eq!(told["signal"].as_u64(), (signal != 0).then_some(signal.into()));
        assert_eq!(ran.event("summary")["exit"], code);
    }
}

#[test]
fn the_streams_arrive_apart_byte_for_byte() {
    let all: Vec<u8> = (0..=255).collect();
    let messages = vec![stdout(&all), Message::Stderr(all.clone().into()), stdout(b"\n\x1b[2J"), exit(0, 0)];
    let fake = Fake::new(running(messages, End::default()));
    let (out, err) =
        (File::create(fake.world.local("out")).unwrap(), File::create(fake.world.local("err")).unwrap());
    let status = fake.command(&["cat"]).stdout(out).stderr(err).status().unwrap();
    assert!(status.success());
    assert_eq!(fs::read(fake.world.local("out")).unwrap(), [&all[..], b"\n\x1b[2J"].concat());
    assert_eq!(fs::read(fake.world.local("err")).unwrap(), all);

    let events = fake.exec(&["--json", "cat"]).ok().events();
    let outputs: Vec<_> = events.iter().filter(|event| event["type"] == "output").collect();
    assert!(outputs.iter().all(|event| event["data"].is_string() != event["data_b64"].is_string()));
    assert!(outputs.iter().any(|event| event["stream"] == "stderr"));
}

#[test]
fn the_request_holds_what_was_typed_and_nothing_else() {
    let fake = Fake::new(running(vec![exit(0, 0)], End::default()));
    fake.exec(&["ls", "-l", "a b", "", "--json"]).ok();
    let plain = fake.request();
    assert_eq!(plain, Exec { argv: b"ls\0-l\0a b\0\0--json\0".to_vec(), ..Exec::default() });

    while fake.heard.try_recv().is_ok() {}
    let args =
        ["--cwd", "/a//b", "--env", "A=b=c", "--env", "HERE", "--stdin", "/dev/null", "--shell", "x | y"];
    run(fake.command(&args).env("HERE", "value"), b"").ok();
    let exec = fake.request();
    assert_eq!((exec.argv, exec.shell, exec.stdin), (b"x | y\0".to_vec(), true, true));
    assert_eq!((exec.env, exec.cwd, exec.tty), (b"A=b=c\0HERE=value\0".to_vec(), b"a/b".to_vec(), false));
}

#[test]
fn the_request_goes_with_the_login() {
    let mut answer = running(vec![stdout(b"here"), exit(0, 0)], End::default());
    let fake = Fake::greeting(Vec::new(), move |message| {
        let answers = answer(message);
        // A client that waited for any answer before it asks would wait for ever.
        let greeting = if answers.is_empty() { Vec::new() } else { welcome() };
        greeting.into_iter().chain(answers.into_iter().map(|message| Action::Send(1, message))).collect()
    });
    assert_eq!(fake.exec(&["true"]).ok().text(), "here");
}

#[test]
fn a_login_that_is_refused_runs_nothing() {
    let fake =
        Fake::greeting(vec![Action::Send(0, end(Status::AuthFailed, "login failed").into())], |_| vec![]);
    let error = fake.exec(&["--json", "true"]).exits(255).event("error");
    assert_eq!((&error["code"], &error["retry_safe"]), (&7.into(), &true.into()));
}

#[test]
fn a_loop_that_reads_lines_of_a_file_keeps_them() {
    let fake = Fake::new(running(vec![stdout(b"x"), exit(0, 0)], End::default()));
    fake.world.keep("lines", b"1\n2\n3\n");
    let exec = fake.command(&["true"]);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "lines=$1; shift; while read line; do \"$@\"; done < \"$lines\"", "sh"])
        .arg(fake.world.local("lines"))
        .arg(exec.get_program())
        .args(exec.get_args());
    shell.env("HOME", fake.world.home());
    let ran = run(&mut shell, b"").ok();
    assert_eq!(ran.text(), "xxx");
}

#[test]
fn input_arrives_as_the_server_has_room_for_it() {
    let data = noise(3_000_000, 1);
    let fake = Fake::new(move |message| match message {
        Message::Exec(_) => vec![Message::Started],
        Message::Stdin(bytes) if bytes.is_empty() => vec![exit(0, 0), End::default().into()],
        Message::Stdin(bytes) => vec![Credit { stream: 0, bytes: bytes.len().try_into().unwrap() }.into()],
        _ => vec![],
    });
    fake.world.keep("file", &data);
    for args in [["--stdin", "-", "cat"], ["--stdin", "file", "cat"]] {
        run(&mut fake.command(&args), if args[1] == "-" { &data } else { b"" }).ok();
        let mut arrived = Vec::new();
        for message in fake.heard.try_iter() {
            if let Message::Stdin(bytes) = message {
                arrived.extend_from_slice(&bytes);
            }
        }
        assert!(arrived == data);
    }
}

#[test]
fn a_refusal_is_one_line_and_255() {
    let refusal = end(Status::Denied, "the account may not run \x1b[31mthis\u{9b}2J\nneither");
    let fake = Fake::new(move |message| match message {
        Message::Exec(_) => vec![refusal.clone().into()],
        _ => vec![],
    });
    let ran = fake.exec(&["rm"]).exits(255).says("may not run");
    assert!(ran.out.is_empty());
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    assert!(!ran.err.contains(['\x1b', '\u{9b}']), "{:?}", ran.err);
    let ran = fake.exec(&["--json", "rm"]).exits(255);
    let error = ran.event("error");
    assert_eq!((&error["code"], &error["retry_safe"]), (&7.into(), &true.into()));
    assert_eq!(ran.event("summary")["exit"], 255);
}

#[test]
fn a_limit_is_stated_behind_the_output() {
    let messages = vec![stdout(b"part\n"), exit(0, 15)];
    let fake = Fake::new(running(messages, end(Status::Limit, "more than 5 bytes of output")));
    let ran = fake.exec(&["yes"]).exits(255).says("more than 5 bytes of output");
    assert_eq!(ran.text(), "part\n");
    let ran = fake.exec(&["--json", "yes"]).exits(255);
    let error = ran.event("error");
    assert_eq!((&error["code"], &error["retry_safe"]), (&8.into(), &false.into()));
    assert_eq!(ran.event("exit")["signal"], 15);
}

#[test]
fn a_lost_connection_leaves_the_outcome_unknown_and_nothing_is_sent_twice() {
    for started in [false, true] {
        let fake = Fake::acting(move |message| match message {
            Message::Exec(_) if started => vec![Action::Send(1, Message::Started), Action::Close],
            _ => vec![Action::Close],
        });
        fake.exec(&["true"]).exits(255).says("outcome unknown");
        let ran = fake.exec(&["--json", "true"]).exits(255);
        assert_eq!(ran.event("error")["retry_safe"], false);
        let requests = fake.heard.try_iter().filter(|message| matches!(message, Message::Exec(_))).count();
        assert_eq!(requests, 2, "one for each run");
    }
}

#[test]
fn a_server_that_is_busy_is_asked_again() {
    let mut refused = false;
    let fake = Fake::acting(move |message| match message {
        Message::Exec(_) if !std::mem::replace(&mut refused, true) => {
            vec![Action::Send(1, end(Status::Unavailable, "stopping").into()), Action::Close]
        }
        Message::Exec(_) => {
            let answers = [Message::Started, exit(3, 0), End::default().into()];
            answers.into_iter().map(|message| Action::Send(1, message)).collect()
        }
        _ => vec![],
    });
    fake.exec(&["true"]).exits(3).says("trying again");
}

#[test]
fn a_closed_output_ends_the_command_without_a_word() {
    let fake = Fake::new(|message| match message {
        Message::Exec(_) => vec![Message::Started, stdout(b"y\n")],
        _ => vec![],
    });
    for args in [&["yes"][..], &["--json", "yes"]] {
        let ran = Running::start_into(&mut fake.command(args), pipe_without_reader()).finish().exits(141);
        assert_eq!(ran.err, "");
    }
}

#[test]
fn ctrl_c_ends_the_command() {
    let fake = Fake::new(|message| match message {
        Message::Exec(_) => vec![Message::Started, stdout(b"on\n")],
        _ => vec![],
    });
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let watch = Watch::new(&fake.world.local(""));
        let out = File::create(fake.world.local("out")).unwrap();
        let exec = Running::start_into(&mut fake.command(&["sleep", "1000"]), out);
        watch.until(|| fs::read(fake.world.local("out")).unwrap() == b"on\n");
        exec.signal(signal);
        exec.finish().exits(code);

        // A program that reads the events is told, too.
        let out = File::create(fake.world.local("out")).unwrap();
        let exec = Running::start_into(&mut fake.command(&["--json", "sleep", "1000"]), out);
        let text = || fs::read_to_string(fake.world.local("out")).unwrap();
        watch.until(|| text().contains("\"output\""));
        exec.signal(signal);
        exec.finish().exits(code);
        let last = common::events(&text()).pop().unwrap();
        let expected = (&"summary".into(), &code.into(), &3.into());
        assert_eq!((&last["type"], &last["exit"], &last["bytes"]), expected);
    }
}

#[test]
fn silence_and_the_deadline_end_it_where_that_was_asked_for() {
    let fake = Fake::new(|message| match message {
        Message::Exec(_) => vec![Message::Started],
        _ => vec![],
    });
    for (option, says, code) in [("--timeout", "no progress", 1), ("--deadline", "deadline", 10)] {
        fake.exec(&[option, "1s", "sleep", "1000"]).exits(255).says(says).says("end");
        let error = fake.exec(&["--json", option, "1s", "sleep", "1000"]).exits(255).event("error");
        assert_eq!((&error["code"], &error["retry_safe"]), (&code.into(), &false.into()));
    }
}

#[test]
fn what_is_wrong_here_is_said_before_anything_is_sent() {
    let fake = Fake::new(running(vec![exit(0, 0)], End::default()));
    fake.exec(&["--tty", "top"]).exits(2).says("--tty needs a terminal");
    fake.exec(&["--env", "NO_SUCH_VARIABLE", "env"]).exits(2).says("NO_SUCH_VARIABLE");
    fake.exec(&["--stdin", "missing", "cat"]).exits(255).says("missing: No such file");
    fake.world.configure("");
    fake.world.ft(["exec", "ls"]).exits(2).says("-H");
    assert!(fake.heard.try_recv().is_err());
}
