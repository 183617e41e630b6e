//! `exec` within `ftclient shell`, against a server that does what the test says.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::process::Command;
use std::sync::mpsc::{Receiver, channel};

use common::{Terminal, World, run};
use ft_protocol::Status;
use ft_protocol::wire::Message;
use ft_protocol::wire::message::{End, Entry, Exec, Exit};
use ft_tests::hostile::{Action, HostileServer};
use tokio::runtime::Runtime;

/// A server whose commands write their first word, and run until they are cancelled where that is `sleep`. The line
/// of `printf` does not end.
struct Fake {
    world: World,
    server: HostileServer,
    heard: Receiver<(u32, Message)>,
    _runtime: Runtime,
}

impl Fake {
    fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (tell, heard) = channel();
        let server = runtime.block_on(HostileServer::start(move |op, message| {
            let send = |messages: Vec<Message>| messages.into_iter().map(|m| Action::Send(op, m)).collect();
            let answer = match &message {
                Message::Exec(exec) => {
                    let word = exec.argv.split(|byte| *byte == 0).next().unwrap();
                    let said: &[u8] = if word == b"printf" { b" runs" } else { b" runs\n" };
                    let mut answer = vec![Message::Started, Message::Stdout([word, said].concat().into())];
                    if word != b"sleep" {
                        let status = u32::from(word == b"false");
                        answer.extend([Exit { status, signal: 0 }.into(), End::default().into()]);
                    }
                    answer
                }
                Message::Cancel => {
                    let end = End { status: Status::Cancelled as u32, message: "cancelled".into() };
                    vec![Exit { status: 0, signal: 15 }.into(), end.into()]
                }
                Message::Stat(_) => {
                    vec![Entry { kind: 2, ..Entry::default() }.into(), End::default().into()]
                }
                _ => vec![],
            };
            let _ = tell.send((op, message));
            send(answer)
        }));
        Self { world: World::new(), server, heard, _runtime: runtime }
    }

    fn command(&self, args: &[&str]) -> Command {
        let (address, fingerprint) =
            (self.server.address().to_string(), self.server.fingerprint().to_string());
        let fixed = ["shell", "-l", "anna", "--retries", "0", "-H", &address, "--fingerprint", &fingerprint];
        self.world.command(fixed.iter().chain(args))
    }

    /// The commands that were asked for, and the operations that they were.
    fn commands(&self) -> Vec<(u32, Exec)> {
        let execs = self.heard.try_iter().filter_map(|(op, message)| match message {
            Message::Exec(exec) => Some((op, exec)),
            _ => None,
        });
        execs.collect()
    }
}

#[test]
fn ctrl_c_ends_a_command_on_the_server_and_not_the_session() {
    let fake = Fake::new();
    let mut shell = Terminal::start(&fake.command(&[]));
    shell.ready();
    shell.begin("exec sleep 1000");
    shell.sees("sleep runs");
    shell.press("\x03");
    let said = shell.prompted("exec sleep");
    assert!(said.iter().any(|line| line.contains("cancelled")), "{said:?}");
    assert_eq!(shell.run("exec echo -n --json"), ["echo runs"]);
    shell.press("\x04");
    assert_eq!(shell.ends().code(), Some(0));
    // Operations are counted from 1 on each connection.
    let commands = fake.commands().into_iter().map(|(op, exec)| (op, exec.argv));
    let expected = [(1, b"sleep\x001000\0".to_vec()), (2, b"echo\0-n\0--json\0".to_vec())];
    assert_eq!(commands.collect::<Vec<_>>(), expected);
}

#[test]
fn a_line_that_does_not_end_is_not_cleared_by_the_prompt() {
    let fake = Fake::new();
    let mut shell = Terminal::start(&fake.command(&[]));
    shell.ready();
    assert_eq!(shell.run("exec printf"), ["printf runs"]);
    assert_eq!(shell.run("exec echo"), ["echo runs"]);
}

#[test]
fn a_script_runs_commands_that_do_not_read_it() {
    let fake = Fake::new();
    let script = b"exec 'two words' $'\\xff' ''\ncd sub\nexec --shell 'a | b'\nexec false\nexec never\n";
    let ran = run(&mut fake.command(&[]), script).exits(1).says("line 4: 'exec false' failed with code 1");
    assert_eq!(ran.text(), "two words runs\na | b runs\nfalse runs\n");
    let commands: Vec<Exec> = fake.commands().into_iter().map(|(_, exec)| exec).collect();
    assert_eq!(commands[0].argv, b"two words\0\xff\0\0");
    assert!(commands.iter().all(|exec| !exec.stdin && !exec.tty));
    assert!(commands[1].shell && commands[1].argv == b"a | b\0");
    assert_eq!((commands[0].cwd.as_slice(), commands[1].cwd.as_slice()), (&b""[..], &b"sub"[..]));
    assert_eq!(commands.len(), 3, "nothing after the failure");
    run(&mut fake.command(&[]), b"exec --stdin - cat\n").exits(2).says("carries the commands");
    run(&mut fake.command(&[]), b"exec --tty cat\n").exits(2).says("needs a terminal");
}
