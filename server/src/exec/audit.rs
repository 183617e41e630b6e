//! The audit line: one for each command that was asked for, refused ones included.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use ft_protocol::display::Escaped;
use ft_protocol::wire::message::Exec;

use crate::process::Ended;

/// Most bytes of a command that are shown; a request may have 256 KiB.
const MAX_SHOWN: usize = 16 * 1024;

/// What became of one command.
#[derive(Debug)]
pub struct Line<'a> {
    /// The account.
    pub user: &'a str,
    /// Where from; `None` behind ssh.
    pub source: Option<SocketAddr>,
    /// The command, as [`shown`] gives it.
    pub argv: &'a str,
    /// It was a command line for a shell.
    pub shell: bool,
    /// It was to have a terminal.
    pub tty: bool,
    /// It ran.
    pub started: bool,
    /// How it ended; `None` where nothing was started, or nobody was left to see it.
    pub ended: Option<Ended>,
    /// Why it was refused, failed to start, or was ended by the server; `None` where it ended by itself.
    pub why: Option<&'a str>,
    /// Bytes that went to its standard input.
    pub bytes_in: u64,
    /// Bytes of its output, both streams, that went to the client.
    pub bytes_out: u64,
    /// From the request to the end of it all.
    pub duration: Duration,
}

impl Line<'_> {
    /// Logs the line. Target `audit` passes whatever level is asked for; see `logging`.
    pub fn log(&self) {
        let source = self.source.map_or("stdio".to_owned(), |source| source.to_string());
        let (status, signal) = match self.ended {
            Some(Ended::Exited(status)) => (Some(status), None),
            Some(Ended::Signalled(signal)) => (None, Some(signal)),
            None => (None, None),
        };
        tracing::info!(
            target: crate::logging::AUDIT,
            user = self.user,
            source,
            argv = self.argv,
            shell = self.shell,
            tty = self.tty,
            started = self.started,
            status,
            signal,
            why = self.why,
            bytes_in = self.bytes_in,
            bytes_out = self.bytes_out,
            milliseconds = u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX),
            "audit: command"
        );
    }
}

/// The command of a request on one line. A word that a shell would change stands in `$'…'`, as bash writes it, so
/// that no two commands are shown alike. What is very long is cut, and its length told.
pub fn shown(request: &Exec) -> String {
    let list = request.argv.strip_suffix(&[0]).unwrap_or(&request.argv);
    if list.len() <= MAX_SHOWN {
        return words(list);
    }
    let start = list.get(..MAX_SHOWN).unwrap_or_default();
    format!("{} … ({} bytes in all)", words(start), request.argv.len())
}

fn words(list: &[u8]) -> String {
    list.split(|byte| *byte == 0).map(quoted).collect::<Vec<_>>().join(" ")
}

/// One word as it is, or in `$'…'` with `\\`, `\'` and the escapes of [`Escaped`].
pub(super) fn quoted(word: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(byte);
    if !word.is_empty() && word.iter().all(plain) {
        return String::from_utf8_lossy(word).into_owned();
    }
    let mut text = String::from("$'");
    for part in word.split_inclusive(|byte| matches!(byte, b'\\' | b'\'')) {
        let (ordinary, special) = match part.split_last() {
            Some((last @ (b'\\' | b'\''), rest)) => (rest, Some(*last)),
            _ => (part, None),
        };
        // Writing to a String cannot fail.
        let _ = write!(text, "{}", Escaped::new(ordinary));
        if let Some(byte) = special {
            text.push('\\');
            text.push(char::from(byte));
        }
    }
    text.push('\'');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use ft_protocol::exec;
    use proptest::prelude::*;

    fn of(argv: &[&[u8]]) -> String {
        shown(&Exec { argv: exec::join(argv).unwrap(), ..Exec::default() })
    }

    #[test]
    fn a_command_is_shown_so_that_its_words_stay_apart() {
        assert_eq!(of(&[b"/usr/bin/df", b"-h"]), "/usr/bin/df -h");
        assert_eq!(of(&[b"echo", b"a b", b"", b"it's \\x41"]), r"echo $'a b' $'' $'it\'s \\x41'");
        assert_eq!(of(&[b"a\nlevel=info", b"\x1b[2J\xff"]), r"$'a\x0alevel=info' $'\x1b[2J\xff'");
    }

    #[test]
    fn a_very_long_command_is_cut_and_says_so() {
        let shown = of(&[b"echo", &vec![b'a'; 200_000]]);
        assert!(shown.len() < MAX_SHOWN + 100 && shown.ends_with("aa … (200006 bytes in all)"));
    }

    proptest! {
        #[test]
        fn no_two_words_are_shown_alike(one in proptest::collection::vec(1u8.., 0..6), other in proptest::collection::vec(1u8.., 0..6)) {
            prop_assert_eq!(quoted(&one) == quoted(&other), one == other);
            prop_assert_eq!(Escaped::from(quoted(&one).as_str()).to_string(), quoted(&one));
        }
    }
}
