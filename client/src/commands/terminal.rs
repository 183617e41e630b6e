//! Questions to a person, and their terminal.

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Whether somebody is there to be asked: both standard input and standard error are a terminal.
pub(super) fn is_attended() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

static ASKING: Mutex<()> = Mutex::new(());

/// The turn to ask: one question at a time, however many hosts have one.
pub(super) fn turn() -> MutexGuard<'static, ()> {
    ASKING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks; everything but `y` and `yes` is no.
pub(super) fn confirm(question: &str) -> bool {
    let answer = ask(question).unwrap_or_default();
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// Asks for a line.
pub(super) fn ask(question: &str) -> io::Result<String> {
    let mut err = io::stderr();
    err.write_all(question.as_bytes())?;
    err.flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line)
}

/// The modes of standard input, where it is a terminal.
pub(super) struct Modes(Option<Termios>);

impl Modes {
    pub(super) fn of_stdin() -> Self {
        Self(tcgetattr(io::stdin()).ok())
    }

    /// Undoes what a prompt for a secret left that was cut off. Nothing where the terminal echoes: a program in the
    /// background that sets the modes of its terminal is stopped (tcsetattr(3)).
    pub(super) fn restore_echo(&self) {
        let echoes = |modes: &Termios| modes.local_modes.contains(LocalModes::ECHO);
        let lost = tcgetattr(io::stdin()).is_ok_and(|now| !echoes(&now));
        if let Some(modes) = self.0.as_ref().filter(|modes| lost && echoes(modes)) {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, modes);
        }
    }
}

/// Puts the terminal back as it was, however the shell ends.
pub(super) struct TerminalGuard {
    modes: Option<Termios>,
    editing: bool,
}

impl TerminalGuard {
    /// Remembers the modes of standard input.
    pub(super) fn new() -> Self {
        Self { modes: tcgetattr(io::stdin()).ok(), editing: false }
    }

    /// A line is being edited, or is not any more.
    pub(super) fn editing(&mut self, editing: bool) {
        self.editing = editing;
    }

    /// Undoes what a command may have left.
    pub(super) fn restore(&self) {
        if let Some(modes) = &self.modes {
            // Not after what is still to be written: a terminal that is stopped would hold us here.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, modes);
        }
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        self.restore();
        if self.editing {
            // The editor asked for bracketed paste (xterm's control sequences), and is cut off in its line.
            let _ = io::stderr().write_all(b"\x1b[?2004l\r\n");
        }
    }
}
