//! A process that puts the terminal right where this one is killed.
//!
//! It is this program again, in a session of its own: signals of the terminal do not reach it, and it may set the
//! terminal's mode although it is not in the foreground (the kernel stops only processes for which that is the
//! controlling terminal).

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::process::setsid;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// The first argument of a program that is to be a watcher. No command has such a name.
const WATCH: &str = "\u{1}watch-terminal";

/// A watcher at work. Dropped, it ends without doing anything.
pub(super) struct Watcher {
    child: Child,
    lifeline: Option<ChildStdin>,
}

impl Watcher {
    /// Starts one for this terminal, whose mode is as it should be. Returns when it has seen that.
    pub(super) fn start(terminal: File) -> io::Result<Self> {
        let mut child = Command::new("/proc/self/exe")
            .arg(WATCH)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(terminal)
            .spawn()?;
        let lifeline = child.stdin.take();
        let ready = child.stdout.take();
        let watcher = Self { child, lifeline };
        match ready.map(|mut ready| ready.read_exact(&mut [0])) {
            Some(Ok(())) => Ok(watcher),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(mut lifeline) = self.lifeline.take() {
            // A byte says that all is well; the end alone that we are no more.
            let _ = lifeline.write_all(b"\n");
        }
        let _ = self.child.wait();
    }
}

/// What the process of a watcher does. The terminal is its standard error; its standard input ends with the
/// process that started it, and a byte before that says that there is nothing to do.
pub(crate) fn watch() -> io::Result<()> {
    let terminal = io::stderr();
    let before = tcgetattr(&terminal)?;
    let mut raw = before.clone();
    raw.make_raw();
    setsid()?;
    io::stdout().write_all(b"\n")?;
    io::stdout().flush()?;
    if io::stdin().read(&mut [0])? == 0 && same(&tcgetattr(&terminal)?, &raw) {
        // Who set another mode meanwhile, such as the shell that gets the terminal back, knows better.
        tcsetattr(&terminal, OptionalActions::Now, &before)?;
    }
    Ok(())
}

fn same(one: &Termios, other: &Termios) -> bool {
    let modes = |mode: &Termios| (mode.input_modes, mode.output_modes, mode.local_modes);
    modes(one) == modes(other)
}

/// Whether this program was started to be a watcher.
pub(crate) fn is_asked_for(first: Option<&OsStr>) -> bool {
    first == Some(OsStr::new(WATCH))
}
