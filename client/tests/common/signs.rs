//! A run that is watched while it goes on: what it says, and what happens in directories meanwhile.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};
use rustix::process::Signal;
use serde_json::Value;

use super::{Ran, Running, events, patience};

/// A sign of life.
enum Sign {
    Changed,
    Said(String),
    /// Its standard output is closed.
    Ended,
}

/// A run with `--json` that is watched.
pub(crate) struct Watched {
    running: Running,
    signs: Receiver<Sign>,
    said: String,
    /// Signs so far.
    seen: usize,
    ended: bool,
}

impl Watched {
    /// Starts it, and watches these directories, which exist.
    pub(crate) fn start(command: &mut Command, dirs: &[PathBuf]) -> Self {
        let (send, signs) = channel();
        // Before anything can happen in them.
        watch(dirs.iter().map(PathBuf::as_path), send.clone());
        let (reader, writer) = std::io::pipe().unwrap();
        let running = Running::start_into(command, writer);
        thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                let _ = send.send(Sign::Said(line));
            }
            send.send(Sign::Ended)
        });
        Self { running, signs, said: String::new(), seen: 0, ended: false }
    }

    /// Waits until so many signs of life were seen, or until it has ended.
    #[track_caller]
    pub(crate) fn moment(&mut self, signs: usize) {
        self.until(|seen, _| seen >= signs);
    }

    /// Waits until this holds for the number of signs and the lines that were said, or until it has ended.
    #[track_caller]
    pub(crate) fn until(&mut self, mut holds: impl FnMut(usize, &str) -> bool) {
        let end = Instant::now() + patience();
        while !self.ended && !holds(self.seen, &self.said) {
            let left = end.saturating_duration_since(Instant::now());
            let sign = self.signs.recv_timeout(left);
            match sign
                .unwrap_or_else(|_| panic!("what was waited for did not happen; it said\n{}", self.said))
            {
                Sign::Changed => {}
                Sign::Said(line) => {
                    self.said += &line;
                    self.said.push('\n');
                }
                Sign::Ended => self.ended = true,
            }
            self.seen += 1;
        }
    }

    /// Sends a signal. It must not have ended.
    pub(crate) fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Signs of life so far.
    pub(crate) fn seen(&self) -> usize {
        self.seen
    }

    /// SIGKILL. All that it has said; a line that was not finished is not said.
    #[track_caller]
    pub(crate) fn kill(mut self) -> Vec<Value> {
        self.running.signal(Signal::KILL);
        self.until(|_, _| false);
        self.running.stop();
        events(&self.said)
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> (Ran, Vec<Value>) {
        self.until(|_, _| false);
        let mut ran = self.running.finish();
        ran.out = self.said.into_bytes();
        let events = ran.events();
        (ran, events)
    }
}

fn watch<'a>(dirs: impl Iterator<Item = &'a Path>, send: Sender<Sign>) {
    let inotify: OwnedFd = init(CreateFlags::CLOEXEC).unwrap();
    let what = WatchFlags::CREATE | WatchFlags::MODIFY | WatchFlags::MOVE | WatchFlags::DELETE;
    for dir in dirs {
        add_watch(&inotify, dir, what).unwrap();
    }
    thread::spawn(move || {
        let inotify = File::from(inotify);
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(&inotify, &mut buffer);
        while events.next().is_ok() && send.send(Sign::Changed).is_ok() {}
    });
}
