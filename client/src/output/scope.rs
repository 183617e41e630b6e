//! One of many hosts: every line about it begins with its name, and what its run comes to is kept for the table.

use std::io::{self, Write};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ft_protocol::display::Escaped;

use super::gather::Gather;
use super::{Output, Summary, Tallied};
use crate::client::Ended;

/// Longest line that is passed on whole, in bytes; a longer one is parted.
const MAX_LINE: usize = 64 << 10;

/// Where the output of a command comes from and goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// As in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// What is known of a host when its run has ended, or was cut short.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Number of the run, by which the server and the receipt know it.
    pub run: Option<[u8; 16]>,
    /// What was transferred.
    pub summary: Summary,
    /// What was compared.
    pub tallied: Option<Tallied>,
    /// How a command ended.
    pub ended: Option<Ended>,
    /// The first failure, in words.
    pub error: Option<String>,
    /// How many more there were.
    pub more_errors: u64,
    /// Why it was tried again, where it was.
    pub trouble: Option<String>,
    /// Doing it again can do no harm.
    pub retry_safe: bool,
}

/// Nothing was done, so doing it does no harm.
impl Default for Record {
    fn default() -> Self {
        Self {
            run: None,
            summary: Summary::default(),
            tallied: None,
            ended: None,
            error: None,
            more_errors: 0,
            trouble: None,
            retry_safe: true,
        }
    }
}

impl Record {
    pub(super) fn failed(&mut self, words: &str, retry_safe: bool) {
        self.retry_safe &= retry_safe;
        match self.error {
            Some(_) => self.more_errors += 1,
            None => self.error = Some(words.to_owned()),
        }
    }
}

pub(super) struct Scope {
    pub(super) name: String,
    record: Mutex<Record>,
    stdout: Mutex<Lines>,
    stderr: Mutex<Lines>,
    /// Standard output and standard error are kept until all hosts have ended.
    gather: Option<(Gather, usize)>,
    /// What must not be done twice was asked for.
    asked: Arc<AtomicBool>,
}

impl Scope {
    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output {
    /// The same streams for one of many hosts; `gather` keeps its output under this number.
    pub fn of_host(&self, name: &str, gather: Option<(Gather, usize)>) -> Self {
        let scope = Scope {
            name: name.to_owned(),
            record: Mutex::default(),
            stdout: Mutex::default(),
            stderr: Mutex::default(),
            gather,
            asked: Arc::default(),
        };
        Self { streams: Arc::clone(&self.streams), scope: Some(Arc::new(scope)) }
    }

    /// What was said about this host; nothing where there is only one.
    pub fn record(&self) -> Record {
        self.scope.as_ref().map(|scope| scope.record().clone()).unwrap_or_default()
    }

    /// To be set when something is asked for that must not be done twice.
    pub fn once(&self) -> Arc<AtomicBool> {
        self.scope.as_ref().map(|scope| Arc::clone(&scope.asked)).unwrap_or_default()
    }

    /// So many bytes of a command's output were passed on.
    pub fn passed(&self, bytes: usize) {
        if let Some(scope) = &self.scope {
            scope.record().summary.bytes += bytes as u64;
        }
    }

    /// A piece of the output of this host's command: whole lines of it are passed on, each with the name.
    pub fn piece(&self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let Some(scope) = &self.scope else { return self.write(self.sink(stream), bytes) };
        if self.options().json {
            return self.command_output(&scope.name, stream.word(), bytes);
        }
        if let Some((gather, number)) = &scope.gather {
            return gather.take(*number, stream, bytes);
        }
        let mut text = Vec::new();
        self.lines(scope, stream).take(Some(&scope.name), bytes, &mut text);
        if text.is_empty() { Ok(()) } else { self.write(self.sink(stream), &text) }
    }

    /// This host has no more output: an unfinished line is passed on.
    pub fn pieces_end(&self) -> io::Result<()> {
        let Some(scope) = &self.scope else { return Ok(()) };
        for stream in [Stream::Stdout, Stream::Stderr] {
            let mut text = Vec::new();
            self.lines(scope, stream).end(Some(&scope.name), &mut text);
            if !text.is_empty() {
                self.write(self.sink(stream), &text)?;
            }
        }
        Ok(())
    }

    fn lines<'a>(&self, scope: &'a Scope, stream: Stream) -> MutexGuard<'a, Lines> {
        let lines = match stream {
            Stream::Stdout => &scope.stdout,
            Stream::Stderr => &scope.stderr,
        };
        lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of a stream that is no whole line yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    kept: Vec<u8>,
    /// What no line may begin with.
    reserved: Option<&'static str>,
}

impl Lines {
    /// Lines that begin with `reserved` are moved by a blank.
    pub(super) fn beneath(reserved: &'static str) -> Self {
        Self { kept: Vec::new(), reserved: Some(reserved) }
    }

    /// Passes on the lines that `bytes` ends.
    pub(super) fn take(&mut self, name: Option<&str>, bytes: &[u8], into: &mut Vec<u8>) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            for part in part.chunks(MAX_LINE) {
                if self.kept.len() + part.len() > MAX_LINE {
                    self.end(name, into);
                }
                self.kept.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                self.end(name, into);
            }
        }
    }

    /// Passes on what is left.
    pub(super) fn end(&mut self, name: Option<&str>, into: &mut Vec<u8>) {
        if !self.kept.is_empty() {
            if self.reserved.is_some_and(|reserved| self.kept.starts_with(reserved.as_bytes())) {
                into.push(b' ');
            }
            push_line(name, &self.kept, into);
            self.kept.clear();
        }
    }
}

/// `name: line` and a line feed. What could end the line, move the cursor or colour what comes after it is escaped, so
/// that no host can speak for another one. Tabulators stay.
fn push_line(name: Option<&str>, line: &[u8], into: &mut Vec<u8>) {
    if let Some(name) = name {
        into.extend_from_slice(name.as_bytes());
        into.extend_from_slice(b": ");
    }
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    for (number, part) in line.split(|byte| *byte == b'\t').enumerate() {
        if number > 0 {
            into.push(b'\t');
        }
        // Writing to memory does not fail.
        let _ = write!(into, "{}", Escaped::new(part));
    }
    into.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pieces: &[&[u8]]) -> String {
        let (mut lines, mut text) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.take(Some("web1"), piece, &mut text);
        }
        lines.end(Some("web1"), &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn every_line_begins_with_the_name_however_it_is_cut() {
        assert_eq!(all(&[b"a\nb", b"c\n", b"\nd"]), "web1: a\nweb1: bc\nweb1: \nweb1: d\n");
        assert_eq!(all(&[b""]), "");
    }

    #[test]
    fn a_host_cannot_speak_for_another_or_move_the_cursor() {
        let text = all(&[b"x\rweb2: ok\n\x1b[2Aweb2: ok\n\x08\x7f\xffa\tb\r\n\xe2\x80\xae"]);
        assert_eq!(
            text,
            "web1: x\\x0dweb2: ok\nweb1: \\x1b[2Aweb2: ok\nweb1: \\x08\\x7f\\xffa\tb\nweb1: \\u{202e}\n"
        );
        assert!(text.lines().all(|line| line.starts_with("web1: ")));
    }

    #[test]
    fn a_line_without_end_is_parted_and_never_kept_whole() {
        let (mut lines, mut text) = (Lines::default(), Vec::new());
        for _ in 0..100 {
            lines.take(Some("web1"), &[b'x'; 10_000], &mut text);
            assert!(lines.kept.len() <= MAX_LINE);
        }
        lines.end(Some("web1"), &mut text);
        assert_eq!(text.iter().filter(|byte| **byte == b'x').count(), 1_000_000);
        assert!(text.split(|byte| *byte == b'\n').all(|line| line.len() <= MAX_LINE + b"web1: ".len()));
    }
}
