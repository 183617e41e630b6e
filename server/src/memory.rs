//! What connections leave behind goes back to the system.
//!
//! malloc keeps what was freed below anything that lives on, be it a few bytes that a thread has set aside for
//! itself: after a crowd that is nearly all of what the crowd took. malloc_trim(3) gives such pages back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::server::Server;

/// How often it is looked at, so how often memory is given back at most.
const PERIOD: Duration = Duration::from_secs(1);
/// Ends of connections that are worth it while others are connected.
const MANY: usize = 32;

/// Counts connections that ended since memory was last given back.
#[derive(Debug, Default)]
pub(crate) struct Leavings(AtomicUsize);

/// Held by a connection.
pub(crate) struct Leaving<'a>(&'a Leavings);

impl Leavings {
    /// Counts a connection when it ends.
    pub(crate) fn at_end(&self) -> Leaving<'_> {
        Leaving(self)
    }

    /// Whether it is worth it now; if so, counting begins anew.
    fn are_worth_it(&self, anybody_connected: bool) -> bool {
        let ended = self.0.load(Ordering::Relaxed);
        let worth_it = ended >= MANY || (ended > 0 && !anybody_connected);
        if worth_it {
            self.0.fetch_sub(ended, Ordering::Relaxed);
        }
        worth_it
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Gives memory back after connections, until `stop`.
pub(crate) async fn watch(server: Arc<Server>, stop: CancellationToken) {
    let mut tick = interval(PERIOD);
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        let anybody = server.connections.available_permits() < server.limits.max_connections.get();
        if server.leavings.are_worth_it(anybody) {
            // It walks all free memory, so not on a thread that serves. Where it fails nothing is lost.
            let _ = tokio::task::spawn_blocking(trim).await;
        }
    }
}

#[cfg(target_env = "gnu")]
fn trim() {
    // SAFETY: takes a number and may be called at any time by any thread (malloc_trim(3): MT-Safe).
    #[allow(unsafe_code, reason = "no crate offers it, and nothing else gives back what lies between")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other C libraries give memory back by themselves, or not at all.
#[cfg(not(target_env = "gnu"))]
fn trim() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_that_ended_are_worth_it_and_few_when_nobody_is_left() {
        let leavings = Leavings::default();
        assert!(!leavings.are_worth_it(false), "nobody came");
        drop(leavings.at_end());
        assert!(!leavings.are_worth_it(true));
        assert!(leavings.are_worth_it(false));
        assert!(!leavings.are_worth_it(false), "once");
        (0..MANY).for_each(|_| drop(leavings.at_end()));
        assert!(leavings.are_worth_it(true));
    }
}
