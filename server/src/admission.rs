//! Connections that have not logged in yet: few in total, few from one source, the oldest gives way.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Who waits for login, oldest first.
#[derive(Debug)]
pub(crate) struct Admission {
    waiting: Mutex<Waiting>,
    total: usize,
    per_source: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    queue: VecDeque<(u64, IpAddr, CancellationToken)>,
}

impl Admission {
    pub(crate) fn new(total: usize, per_source: usize) -> Arc<Self> {
        Arc::new(Self { waiting: Mutex::default(), total, per_source })
    }

    /// Lets a connection in. At a cap the oldest that waits is told to go: of the same source where that is at
    /// its cap or has any, else of all.
    pub(crate) fn enter(self: &Arc<Self>, source: IpAddr) -> Applicant {
        let mut waiting = self.waiting();
        let from_source = waiting.queue.iter().filter(|(_, ip, _)| *ip == source).count();
        if from_source >= self.per_source || (waiting.queue.len() >= self.total && from_source > 0) {
            evict(&mut waiting.queue, |ip| *ip == source);
        } else if waiting.queue.len() >= self.total {
            evict(&mut waiting.queue, |_| true);
        }
        let gone = CancellationToken::new();
        let number = waiting.next;
        waiting.next += 1;
        waiting.queue.push_back((number, source, gone.clone()));
        Applicant { admission: Arc::clone(self), number, gone }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn evict(queue: &mut VecDeque<(u64, IpAddr, CancellationToken)>, whose: impl Fn(&IpAddr) -> bool) {
    if let Some(at) = queue.iter().position(|(_, ip, _)| whose(ip))
        && let Some((_, _, gone)) = queue.remove(at)
    {
        gone.cancel();
    }
}

/// A connection that waits for login; leaves the queue when dropped.
#[derive(Debug)]
pub(crate) struct Applicant {
    admission: Arc<Admission>,
    number: u64,
    /// Cancelled where it has to give way.
    pub(crate) gone: CancellationToken,
}

impl Drop for Applicant {
    fn drop(&mut self) {
        self.admission.waiting().queue.retain(|(number, _, _)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_crowd_from_one_source_pushes_out_only_its_own() {
        let admission = Admission::new(10, 3);
        let other = admission.enter(ip(9));
        let crowd: Vec<_> = (0..20).map(|_| admission.enter(ip(1))).collect();
        assert_eq!(crowd.iter().filter(|applicant| !applicant.gone.is_cancelled()).count(), 3);
        assert!(!crowd[19].gone.is_cancelled(), "the newest stays");
        assert!(!other.gone.is_cancelled());
    }

    #[test]
    fn a_full_house_lets_the_newest_in_and_leaving_makes_room() {
        let admission = Admission::new(4, 3);
        let mut all: Vec<_> = (0..5).map(|last| admission.enter(ip(last))).collect();
        assert!(all[0].gone.is_cancelled() && !all[4].gone.is_cancelled());
        all.clear();
        assert!(admission.waiting().queue.is_empty());
    }
}
