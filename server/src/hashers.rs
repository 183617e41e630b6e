//! The threads on which passwords are hashed: few, so that logins cannot take all memory and cores, and always
//! the same ones, so that the memory of a hash is used again.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use ft_protocol::{Error, Result, Status};
use tokio::sync::oneshot;

/// Hashes computed at once; each takes 19 MiB and a core for a while.
const THREADS: usize = 2;

type Job = Box<dyn FnOnce() + Send>;

/// A queue of hashes to compute. The threads end when it is dropped.
pub(crate) struct Hashers(Mutex<Sender<Job>>);

impl Hashers {
    pub(crate) fn start() -> Result<Self> {
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..THREADS {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new()
                .name("ft-hash".into())
                .spawn(move || work(&queue))
                .map_err(|error| Error::io("start a thread for passwords", &error))?;
        }
        Ok(Self(Mutex::new(jobs)))
    }

    /// Runs `job` in its turn; not at all where nobody waits for it any more by then.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, done) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Where nobody waits any more there is nothing to hash.
            if !answer.is_closed() {
                let _ = answer.send(job());
            }
        });
        let queued = self.0.lock().unwrap_or_else(PoisonError::into_inner).send(job);
        let gone = || Error::local(Status::Failed, "internal error: the threads for passwords are gone");
        queued.map_err(|_| gone())?;
        done.await.unwrap_or_else(|_| Err(gone()))
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}
