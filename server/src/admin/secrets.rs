//! Keys and passwords from files, standard input and the terminal.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ft_protocol::{Error, Status};
use ssh_key::PublicKey;
use zeroize::Zeroizing;

use super::CommandError;
use crate::accounts::{MAX_PASSWORD, parse_public_keys};
use crate::state::shown;

/// Largest file of keys in bytes.
const MAX_KEYS: usize = 64 * 1024;

/// The public keys in a file, or on standard input for `-`.
pub(super) fn read_keys(path: &Path) -> Result<Vec<PublicKey>, CommandError> {
    let bytes = read(path, MAX_KEYS, |_| Ok(()))?;
    let text = String::from_utf8_lossy(&bytes);
    parse_public_keys(&text).map_err(|e| CommandError::Usage(format!("{}: {e}", shown(path))))
}

/// The password in a file that only its owner can read, or on standard input for `-`. One line end is
/// dropped.
pub(super) fn read_password(path: &Path) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    // One byte for the line end, one to notice that there is more.
    let mut bytes = read(path, MAX_PASSWORD + 2, refuse_exposed)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok(bytes)
}

/// A new password: asked for twice where standard input is a terminal, else read from it.
pub(super) fn new_password(name: &str) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    if !io::stdin().is_terminal() {
        return read_password(Path::new("-"));
    }
    let ask = |prompt: String| {
        let answer = rpassword::prompt_password(prompt).map_err(|e| failed("read the password", &e))?;
        Ok::<_, CommandError>(Zeroizing::new(answer.into_bytes()))
    };
    let first = ask(format!("New password of {name}: "))?;
    if first != ask("The same again: ".to_owned())? {
        return Err(CommandError::Usage("the two passwords differ: nothing was changed".to_owned()));
    }
    Ok(first)
}

/// Reads at most `limit` bytes. More than that is an error for keys, and too long for a password anyway.
fn read(
    path: &Path,
    limit: usize,
    accept: impl Fn(&File) -> Result<(), CommandError>,
) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        let file = File::open(path).map_err(|e| failed(&path.display().to_string(), &e))?;
        accept(&file).map_err(|e| CommandError::Usage(format!("{}: {e}", shown(path))))?;
        Box::new(file)
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit));
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    source.take(limit).read_to_end(&mut bytes).map_err(|e| failed(&path.display().to_string(), &e))?;
    Ok(bytes)
}

/// Refuses a file that others can read; a pipe is no file.
fn refuse_exposed(file: &File) -> Result<(), CommandError> {
    let meta = file.metadata().map_err(|e| failed("look at it", &e))?;
    if meta.is_file() && meta.mode() & 0o077 != 0 {
        let mode = meta.mode() & 0o7777;
        return Err(CommandError::Usage(format!(
            "mode {mode:04o} lets others read the password: run chmod 600 on it"
        )));
    }
    Ok(())
}

fn failed(doing: &str, error: &io::Error) -> CommandError {
    let error = Error::io(doing, error);
    match error.status() {
        // A closed input is no network that may come back.
        Status::Unavailable => CommandError::Usage(error.to_string()),
        _ => CommandError::Input(error),
    }
}
