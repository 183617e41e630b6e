//! Runs of a program, bounded in time.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::patience;

/// Lines of a stream, read by a thread of their own.
pub(crate) fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = channel();
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while matches!(stream.read_until(b'\n', &mut line), Ok(1..)) {
            // Reading goes on where nobody listens any more: the writer must not be stopped by that.
            let _ = send.send(String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned());
            line.clear();
        }
    });
    receive
}

fn all(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (send, receive) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let _ = send.send(bytes);
    });
    receive
}

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    what: String,
    pub(crate) status: ExitStatus,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

/// Runs a program to its end with this standard input.
#[track_caller]
pub(crate) fn run(command: &mut Command, input: &[u8]) -> Ran {
    let what = format!("{command:?}");
    // Whether a pipe without input is closed yet when the client looks at it is a matter of luck.
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_vec();
        // A program that does not read all of it may end before.
        thread::spawn(move || stdin.write_all(&input));
    }
    let (out, err) = (all(child.stdout.take().unwrap()), all(child.stderr.take().unwrap()));
    let (Ok(out), Ok(err)) = (out.recv_timeout(patience()), err.recv_timeout(patience())) else {
        let _ = child.kill();
        panic!("{what} does not end");
    };
    let err = String::from_utf8_lossy(&err).into_owned();
    Ran { what, status: child.wait().unwrap(), out, err }
}

impl Ran {
    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{}", self.shown());
        assert!(!self.err.contains("panicked"), "{}", self.shown());
        self
    }

    /// Asserts success.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.exits(0)
    }

    /// Asserts that standard error holds this.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.err.contains(text), "'{text}' is missing\n{}", self.shown());
        self
    }

    /// Standard output as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Standard output as events; each line must be one.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        events(&self.text())
    }

    /// The only event of this type.
    #[track_caller]
    pub(crate) fn event(&self, kind: &str) -> Value {
        only(&self.events(), kind)
    }

    pub(crate) fn shown(&self) -> String {
        let Self { what, status, err, .. } = self;
        format!("{what}\n{status}\n--- standard output\n{}\n--- standard error\n{err}", self.text())
    }
}

/// Each line of a text as an event.
#[track_caller]
pub(crate) fn events(text: &str) -> Vec<Value> {
    let event = |line| match serde_json::from_str::<Value>(line) {
        Ok(event) if event["type"].is_string() => event,
        other => panic!("'{line}' is no event: {other:?}"),
    };
    text.lines().map(event).collect()
}

#[track_caller]
fn only(events: &[Value], kind: &str) -> Value {
    let mut found = events.iter().filter(|event| event["type"] == kind);
    match (found.next(), found.next()) {
        (Some(event), None) => event.clone(),
        _ => panic!("not exactly one '{kind}' in {events:#?}"),
    }
}

/// A run under way. Killed when dropped.
pub(crate) struct Running {
    what: String,
    child: Child,
    out: Option<Receiver<Vec<u8>>>,
    err: Receiver<Vec<u8>>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()))
    }

    /// With this standard input.
    pub(crate) fn start_from(command: &mut Command, input: impl Into<Stdio>) -> Self {
        Self::spawn(command.stdin(input).stdout(Stdio::piped()))
    }

    /// With this standard output.
    pub(crate) fn start_into(command: &mut Command, output: impl Into<Stdio>) -> Self {
        Self::spawn(command.stdin(Stdio::null()).stdout(output))
    }

    fn spawn(command: &mut Command) -> Self {
        let what = format!("{command:?}");
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        // Or this process would keep its ends of the pipes open.
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let (out, err) = (child.stdout.take().map(all), all(child.stderr.take().unwrap()));
        Self { what, child, out, err }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// SIGKILL; returns when the process is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        assert_eq!(self.child.wait().unwrap().signal(), Some(Signal::KILL.as_raw()), "it ended before");
    }

    /// SIGKILL, also where it has ended already; returns when the process is gone.
    pub(crate) fn stop(self) {
        drop(self);
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Ran {
        let end = Instant::now() + patience();
        let left = || end.saturating_duration_since(Instant::now());
        let out = self.out.as_ref().map_or(Ok(Vec::new()), |out| out.recv_timeout(left()));
        let (Ok(out), Ok(err)) = (out, self.err.recv_timeout(left())) else {
            panic!("{} does not end", self.what);
        };
        let err = String::from_utf8_lossy(&err).into_owned();
        Ran { what: self.what.clone(), status: self.child.wait().unwrap(), out, err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
