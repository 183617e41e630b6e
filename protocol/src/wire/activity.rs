//! Whether a connection gets anywhere: signs of life do not count, so a peer cannot lengthen our timers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use crate::error::{Error, Result, Status};

/// Counts progress of one connection: bytes of messages read and written, blocks hashed. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Activity(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    moved: AtomicU64,
    busy: AtomicU32,
}

impl Activity {
    /// Something moved.
    pub fn moved(&self) {
        self.0.moved.fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn moves(&self) -> u64 {
        self.0.moved.load(Ordering::Relaxed)
    }

    /// This end is at work where no progress can be seen (fsync); counts as progress while the guard lives.
    pub fn busy(&self) -> Busy {
        self.0.busy.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }

    /// Runs `work`; [`Status::TimedOut`] once nothing has moved for `limit`.
    pub async fn watch<T>(&self, limit: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
        const LOOKS: u32 = 8;
        tokio::pin!(work);
        let (mut seen, mut idle) = (self.0.moved.load(Ordering::Relaxed), 0);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = sleep(limit / LOOKS) => {}
            }
            let now = self.0.moved.load(Ordering::Relaxed);
            idle = if now != seen || self.0.busy.load(Ordering::Relaxed) > 0 { 0 } else { idle + 1 };
            seen = now;
            if idle >= LOOKS {
                let message = format!("no progress for {} s", limit.as_secs());
                return Err(Error::local(Status::TimedOut, message));
            }
        }
    }
}

/// See [`Activity::busy`].
#[derive(Debug)]
pub struct Busy(Activity);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::time::Instant;

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn standing_still_ends_moving_and_working_go_on() {
        let start = Instant::now();
        let error = Activity::default().watch(LIMIT, pending::<Result<()>>()).await.unwrap_err();
        assert_eq!(error.status(), Status::TimedOut);
        assert!((60..=68).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());

        let activity = Activity::default();
        let slow = async {
            for _ in 0..20 {
                sleep(Duration::from_secs(50)).await;
                activity.moved();
            }
            let busy = activity.busy();
            sleep(Duration::from_secs(500)).await;
            drop(busy);
            Ok(7)
        };
        assert_eq!(activity.watch(LIMIT, slow).await.unwrap(), 7);
    }
}
