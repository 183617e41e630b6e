//! Questions to a person.

use std::io::{self, BufRead, IsTerminal, Write};

/// Whether somebody is there to be asked: both standard input and standard error are a terminal.
pub(super) fn is_attended() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
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
