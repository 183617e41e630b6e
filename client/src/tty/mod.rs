//! A terminal in raw mode, and the way back from there.

pub(crate) mod escape;
mod watcher;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

pub(crate) use watcher::{is_asked_for, watch};

use crate::client::Size;
use watcher::Watcher;

/// What a program that could not clean up may have left behind: colours, a hidden cursor, bracketed paste, reports
/// of the mouse, the alternate screen, application keys (ctlseqs of xterm). Nothing in it moves the cursor.
const RESET: &[u8] =
    b"\x1b[0m\x1b[?25h\x1b[?2004l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1047l\x1b[?1l\x1b>";

/// The terminal at standard input. Cheap to clone; the mode that it had comes back with [`Tty::restore`], and
/// at the latest when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Tty(Arc<Inner>);

struct Inner {
    terminal: OwnedFd,
    raw: Mutex<Option<Raw>>,
    /// The last byte that was written to standard output.
    last: Arc<AtomicU8>,
}

impl Tty {
    /// The terminal at standard input; `None` where there is none. `last` is to hold the last byte that was
    /// written to standard output.
    pub(crate) fn at_stdin(last: Arc<AtomicU8>) -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let terminal = stdin.as_fd().try_clone_to_owned()?;
        Ok(Some(Self(Arc::new(Inner { terminal, raw: Mutex::new(None), last }))))
    }

    /// Its size.
    pub(crate) fn size(&self) -> Size {
        let size = tcgetwinsize(&self.0.terminal);
        size.map_or(Size { rows: 0, columns: 0 }, |size| Size { rows: size.ws_row, columns: size.ws_col })
    }

    /// From now on every key is a byte of input, and nothing is echoed.
    pub(crate) fn make_raw(&self) -> io::Result<()> {
        let raw = Raw::enter(self.0.terminal.try_clone()?)?;
        *self.0.raw.lock().unwrap_or_else(PoisonError::into_inner) = Some(raw);
        Ok(())
    }

    /// Back to the mode that it had, and to the beginning of a line. `broken`: nobody cleaned up at the other
    /// side.
    pub(crate) fn restore(&self, broken: bool) {
        self.0.restore(broken);
    }
}

impl Inner {
    fn restore(&self, broken: bool) {
        let raw = self.raw.lock().unwrap_or_else(PoisonError::into_inner).take();
        if raw.is_some() {
            drop(raw);
            // A terminal that takes nothing is as tidy as it will get.
            let _ = tidy(self.last.load(Ordering::Relaxed), broken);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.restore(true);
    }
}

/// Takes the cursor to the beginning of a line, where `last` left it elsewhere. Does not wait.
fn tidy(last: u8, broken: bool) -> io::Result<()> {
    let mut out = io::stdout();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    if !out.is_terminal() || poll(&mut [PollFd::new(&out, PollFlags::OUT)], Some(&now))? == 0 {
        return Ok(());
    }
    let knows_escapes = std::env::var_os("TERM").is_some_and(|term| term != "dumb");
    if broken && knows_escapes {
        out.write_all(RESET)?;
    }
    if !matches!(last, b'\n' | b'\r') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Raw mode for as long as it lives.
struct Raw {
    terminal: OwnedFd,
    before: Termios,
    /// Puts things right where this process cannot.
    _watcher: Option<Watcher>,
}

impl Raw {
    fn enter(terminal: OwnedFd) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        // Without one only SIGKILL leaves the terminal raw, which is no reason to give up.
        let watcher = Watcher::start(File::from(terminal.try_clone()?)).ok();
        let mut raw = before.clone();
        raw.make_raw();
        // Not after what is still to be written: a terminal that is stopped would hold us here.
        tcsetattr(&terminal, OptionalActions::Now, &raw)?;
        Ok(Self { terminal, before, _watcher: watcher })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}
