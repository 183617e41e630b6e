//! A program on a terminal of its own, and what stands on its screen.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use pty_process::Size;
use pty_process::blocking::{Pts, Pty};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, tcgetattr};

use super::patience;

const ROWS: u16 = 30;
const COLUMNS: u16 = 120;
const CLEAR: &str = "\x0c";

/// A program that believes to have a person before it. Killed when dropped.
pub(crate) struct Terminal {
    pty: Arc<Pty>,
    pts: Pts,
    child: Child,
    output: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    modes: LocalModes,
}

impl Terminal {
    /// Starts it; nothing of the environment but what the command names comes along.
    pub(crate) fn start(command: &Command) -> Self {
        let (pty, pts) = pty_process::blocking::open().unwrap();
        pty.resize(Size::new(ROWS, COLUMNS)).unwrap();
        let modes = tcgetattr(&pts).unwrap().local_modes;
        let mut started = pty_process::blocking::Command::new(command.get_program())
            .args(command.get_args())
            .env_clear()
            .env("TERM", "xterm")
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .current_dir(command.get_current_dir().unwrap());
        let child = started.spawn_borrowed(&pts).unwrap();
        let pty = Arc::new(pty);
        let (send, output) = channel();
        let reader = Arc::clone(&pty);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = (&*reader).read(&mut buffer) {
                if send.send(buffer[..len].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { pty, pts, child, output, screen: vt100::Parser::new(ROWS, COLUMNS, 0), modes }
    }

    /// Presses keys.
    pub(crate) fn press(&self, keys: impl AsRef<[u8]>) {
        (&*self.pty).write_all(keys.as_ref()).unwrap();
    }

    /// What stands on the screen, without the blanks at the ends of its lines.
    pub(crate) fn screen(&self) -> Vec<String> {
        let mut rows: Vec<String> =
            self.screen.screen().rows(0, COLUMNS).map(|row| row.trim_end().to_owned()).collect();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }

    /// Waits until this holds for the screen.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&[String]) -> bool) {
        let end = Instant::now() + patience();
        while !holds(&self.screen()) {
            match self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.screen.process(&bytes),
                Err(_) => panic!("{what}: it does not come; on the screen is\n{}", self.screen().join("\n")),
            }
        }
    }

    /// Waits until this stands somewhere on the screen.
    #[track_caller]
    pub(crate) fn sees(&mut self, text: &str) {
        self.until(text, |screen| screen.iter().any(|row| row.contains(text)));
    }

    /// Waits until this stands in the last line of the screen.
    #[track_caller]
    pub(crate) fn shows(&mut self, line: &str) {
        self.until(line, |screen| screen.last().is_some_and(|last| last == line));
    }

    /// Runs a command of the shell, and gives what it printed. The prompt must stand there.
    #[track_caller]
    pub(crate) fn run(&mut self, line: &str) -> Vec<String> {
        self.begin(line);
        self.prompted(line)
    }

    /// Enters a line on an empty screen.
    #[track_caller]
    pub(crate) fn begin(&mut self, line: &str) {
        self.press(CLEAR);
        self.until("an empty line", |screen| matches!(screen, [only] if is_prompt(only)));
        self.press(format!("{line}\r"));
    }

    /// Waits for the prompt behind the line that [`Terminal::begin`] entered, and gives what stands between.
    #[track_caller]
    pub(crate) fn prompted(&mut self, line: &str) -> Vec<String> {
        let asked = format!("the prompt after '{line}'");
        self.until(&asked, |screen| screen.len() > 1 && screen.last().is_some_and(|last| is_prompt(last)));
        let screen = self.screen();
        screen[1..screen.len() - 1].to_vec()
    }

    /// Waits for the first prompt.
    #[track_caller]
    pub(crate) fn ready(&mut self) {
        self.until("the first prompt", |screen| screen.last().is_some_and(|last| is_prompt(last)));
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end, and asserts that the terminal is as it was.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> ExitStatus {
        let (send, ended) = channel();
        let pid = Pid::from_child(&self.child);
        thread::spawn(move || {
            use rustix::process::{WaitId, WaitIdOptions, waitid};
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
            send.send(())
        });
        if ended.recv_timeout(patience()).is_err() {
            panic!("it does not end; on the screen is\n{}", self.screen().join("\n"));
        }
        assert_eq!(
            tcgetattr(&self.pts).unwrap().local_modes,
            self.modes,
            "the terminal is left as it was found"
        );
        self.child.wait().unwrap()
    }
}

/// `anna@nas:/…> ` and nothing behind it.
fn is_prompt(line: &str) -> bool {
    line.contains(":/") && line.ends_with('>')
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
