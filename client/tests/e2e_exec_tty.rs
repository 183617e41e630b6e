//! `exec --tty` on a real pseudo-terminal, in a session with a shell as people have it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use common::{World, patience};
use ft_protocol::wire::Message;
use ft_protocol::wire::message::{End, Exit, Resize};
use ft_tests::hostile::{Action, HostileServer};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use tokio::runtime::Runtime;

/// What the shell of the session does: `$OUT` ends when the client and all that it started are gone.
const SESSION: &str = "sh -c 'echo pid $$; exec \"$@\"' sh \"$@\" 9>\"$OUT\"; echo code $?; read line";

/// A terminal with a shell on it, which runs `ftclient exec --tty`.
struct Session {
    master: File,
    shell: Child,
    shown: Receiver<Vec<u8>>,
    text: String,
    /// Ends with the client.
    gone: Receiver<()>,
    heard: Receiver<Message>,
    _server: HostileServer,
    _world: World,
    _runtime: Runtime,
}

impl Session {
    fn start(mut act: impl FnMut(&Message) -> Vec<Action> + Send + 'static) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (tell, heard) = channel();
        let server = runtime.block_on(HostileServer::start(move |_, message| {
            let actions = act(&message);
            let _ = tell.send(message);
            actions
        }));
        let world = World::new();
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        resize(&master, 24, 80);
        let terminal = ptsname(&master, Vec::new()).unwrap();
        let terminal = File::options().read(true).write(true).open(terminal.to_str().unwrap()).unwrap();
        let out = world.local("gone");
        assert!(Command::new("mkfifo").arg(&out).status().unwrap().success());

        let (address, fingerprint) = (server.address().to_string(), server.fingerprint().to_string());
        let client = world.command([
            "exec",
            "-l",
            "anna",
            "-H",
            &address,
            "--fingerprint",
            &fingerprint,
            "--tty",
            "top",
        ]);
        let mut shell = Command::new("setsid");
        shell.args(["--ctty", "sh", "-c", SESSION, "sh"]).arg(client.get_program()).args(client.get_args());
        shell
            .env("HOME", world.home())
            .env("TERM", "xterm-test")
            .env("OUT", &out)
            .current_dir(world.local(""));
        shell.stdin(terminal.try_clone().unwrap()).stdout(terminal.try_clone().unwrap()).stderr(terminal);
        let shell = shell.spawn().unwrap();

        let (tell_gone, gone) = channel();
        thread::spawn(move || {
            let _ = File::open(out).unwrap().read_to_end(&mut Vec::new());
            tell_gone.send(())
        });
        let (show, shown) = channel();
        let master = File::from(master);
        let mut screen = master.try_clone().unwrap();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = screen.read(&mut bytes) {
                let _ = show.send(bytes[..n].to_vec());
            }
        });
        Self {
            master,
            shell,
            shown,
            text: String::new(),
            gone,
            heard,
            _server: server,
            _world: world,
            _runtime: runtime,
        }
    }

    /// Waits until this has been shown.
    #[track_caller]
    fn until(&mut self, text: &str) {
        let end = Instant::now() + patience();
        while !self.text.contains(text) {
            match self.shown.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.text += &String::from_utf8_lossy(&bytes),
                Err(_) => panic!("'{text}' is not shown:\n{}", self.text),
            }
        }
    }

    fn pid(&mut self) -> Pid {
        self.until("pid ");
        self.until("\n");
        let rest = self.text.split("pid ").nth(1).unwrap();
        Pid::from_raw(rest.lines().next().unwrap().trim().parse().unwrap()).unwrap()
    }

    fn heard(&self) -> Message {
        self.heard.recv_timeout(patience()).unwrap()
    }

    fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.master).unwrap().local_modes;
        assert_eq!(modes.contains(LocalModes::ECHO), modes.contains(LocalModes::ICANON));
        !modes.contains(LocalModes::ECHO)
    }

    /// Waits until client and watcher are gone, and the shell goes on with this status.
    #[track_caller]
    fn ends(&mut self, code: u8) {
        self.gone.recv_timeout(patience()).unwrap();
        assert!(!self.is_raw(), "{}", self.text);
        self.until(&format!("\ncode {code}"));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

fn resize(terminal: &impl std::os::fd::AsFd, rows: u16, columns: u16) {
    tcsetwinsize(terminal, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
}

fn send(messages: impl IntoIterator<Item = Message>) -> Vec<Action> {
    messages.into_iter().map(|message| Action::Send(1, message)).collect()
}

fn output(text: &str) -> Message {
    Message::Stdout(text.as_bytes().to_vec().into())
}

/// A program that writes `ready` and answers each key; `q` ends it.
fn program(message: &Message) -> Vec<Action> {
    match message {
        Message::Exec(_) => send([Message::Started, output("ready")]),
        Message::Stdin(keys) if keys[..] == b"q"[..] => {
            send([output("bye"), Exit { status: 4, signal: 0 }.into(), End::default().into()])
        }
        Message::Stdin(keys) if keys[..] == b"x"[..] => vec![Action::Close],
        Message::Stdin(keys) => send([output(&format!("{keys:?}"))]),
        _ => vec![],
    }
}

#[test]
fn keys_travel_as_bytes_sizes_follow_and_the_mode_comes_back() {
    let mut session = Session::start(program);
    session.until("ready");
    assert!(session.is_raw());
    let Message::Exec(exec) = session.heard() else { panic!("EXEC comes first") };
    assert_eq!((exec.tty, exec.rows, exec.columns, &exec.term[..]), (true, 24, 80, &b"xterm-test"[..]));
    // Ctrl-C, Ctrl-D, Ctrl-Z.
    session.master.write_all(b"\x03\x04\x1a").unwrap();
    let mut keys = Vec::new();
    while keys.len() < 3 {
        let Message::Stdin(bytes) = session.heard() else { panic!("only keys were sent") };
        keys.extend_from_slice(&bytes);
    }
    assert_eq!(keys, b"\x03\x04\x1a");
    resize(&session.master, 50, 132);
    assert_eq!(session.heard(), Message::from(Resize { rows: 50, columns: 132 }));
    session.master.write_all(b"q").unwrap();
    session.ends(4);
    assert!(
        session.text.contains("bye\r\ncode"),
        "the cursor is at the beginning of a line: {}",
        session.text
    );
}

#[test]
fn the_mode_comes_back_when_the_server_is_lost() {
    let mut session = Session::start(program);
    session.until("ready");
    session.master.write_all(b"x").unwrap();
    session.ends(255);
    assert!(session.text.contains("\r\nftclient: "), "{}", session.text);
    assert!(session.text.contains("outcome unknown"), "{}", session.text);
}

#[test]
fn the_mode_comes_back_when_the_client_is_killed() {
    for (signal, code) in [(Signal::KILL, 137), (Signal::TERM, 143), (Signal::HUP, 129), (Signal::ABORT, 134)]
    {
        let mut session = Session::start(program);
        let pid = session.pid();
        session.until("ready");
        assert!(session.is_raw());
        kill_process(pid, signal).unwrap();
        session.ends(code);
    }
}

#[test]
fn tilde_dot_leaves_a_server_that_hangs() {
    let mut session = Session::start(|message| match message {
        Message::Exec(_) => send([Message::Started, output("ready")]),
        _ => vec![Action::Stall],
    });
    session.until("ready");
    session.master.write_all(b"a~.\r~.").unwrap();
    session.ends(255);
    assert!(session.text.contains("left with '~.'"), "{}", session.text);
}
