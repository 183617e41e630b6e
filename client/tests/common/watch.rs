//! Waiting for what happens to files, without polling.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use rustix::fs::{FlockOperation, flock};

use super::patience;

/// Wakes whenever something changes in a directory (inotify(7)).
pub(crate) struct Watch(Receiver<()>);

impl Watch {
    /// Begins to watch.
    pub(crate) fn new(dir: &Path) -> Self {
        let watch: OwnedFd = init(CreateFlags::CLOEXEC).unwrap();
        let what = WatchFlags::CREATE | WatchFlags::MODIFY | WatchFlags::MOVE | WatchFlags::DELETE;
        add_watch(&watch, dir, what).unwrap();
        let (send, receive) = channel();
        thread::spawn(move || {
            let mut events = File::from(watch);
            let mut buffer = [0; 4096];
            while matches!(events.read(&mut buffer), Ok(1..)) && send.send(()).is_ok() {}
        });
        Self(receive)
    }

    /// Waits until this holds; it is looked at after each change.
    #[track_caller]
    pub(crate) fn until(&self, mut holds: impl FnMut() -> bool) {
        let end = Instant::now() + patience();
        while !holds() {
            let woken = self.0.recv_timeout(end.saturating_duration_since(Instant::now()));
            assert!(woken.is_ok(), "what was waited for did not happen");
        }
    }
}

/// Waits until nobody holds the lock of a file.
#[track_caller]
pub(crate) fn wait_until_unlocked(path: &Path) {
    let file = File::open(path).unwrap();
    let (send, receive) = channel();
    thread::spawn(move || {
        flock(&file, FlockOperation::LockExclusive).unwrap();
        drop(file);
        send.send(())
    });
    receive.recv_timeout(patience()).unwrap();
}
