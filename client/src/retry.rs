//! How long to wait before a connection is tried again.

use std::time::Duration;

/// Shortest wait.
const MIN: Duration = Duration::from_secs(1);
/// Longest wait.
const MAX: Duration = Duration::from_secs(30);

/// Waits between attempts: each is drawn evenly from 1 s up to a bound that doubles from 2 s to 30 s, so that
/// many clients that lost the same server do not come back together.
#[derive(Debug, Clone)]
pub struct Backoff {
    left: u32,
    bound: Duration,
}

impl Backoff {
    /// At most `retries` waits.
    pub fn new(retries: u32) -> Self {
        Self { left: retries, bound: MIN * 2 }
    }

    /// Starts the bound anew and grants `retries` waits: call it where a retry made progress.
    pub fn reset(&mut self, retries: u32) {
        *self = Self::new(retries);
    }

    /// The next wait with a given draw out of 2^32.
    fn step(&mut self, draw: u32) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let span = self.bound.saturating_sub(MIN);
        self.bound = self.bound.saturating_mul(2).min(MAX);
        Some(MIN + span.mul_f64(f64::from(draw) / f64::from(u32::MAX)))
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        // Without randomness the longest wait is the polite one.
        self.step(getrandom::u32().unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_double_up_to_thirty_seconds() {
        let mut backoff = Backoff::new(6);
        let longest: Vec<u64> =
            std::iter::from_fn(|| backoff.step(u32::MAX)).map(|wait| wait.as_secs()).collect();
        assert_eq!(longest, [2, 4, 8, 16, 30, 30]);
        assert_eq!(Backoff::new(1).step(0), Some(MIN));
    }

    #[test]
    fn no_retries_means_no_waits() {
        assert_eq!(Backoff::new(0).next(), None);
        assert_eq!(Backoff::new(3).count(), 3);
    }

    #[test]
    fn every_wait_is_between_one_and_thirty_seconds() {
        assert!(Backoff::new(200).all(|wait| (MIN..=MAX).contains(&wait)));
    }
}
