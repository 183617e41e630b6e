//! What both ends of an EXEC share: how lists travel, and the credit that bounds each stream.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Semaphore;

use crate::error::{Error, Result, Status};

/// Credit with which each stream begins, in bytes. Credit and what is on the way are never more together.
pub const WINDOW: u32 = 256 * 1024;

/// One of the three streams of a command, with its number in CREDIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Stream {
    /// Standard input, from the client.
    Stdin = 0,
    /// Standard output, from the server.
    Stdout = 1,
    /// Standard error, from the server.
    Stderr = 2,
}

impl Stream {
    /// The stream with this number; any other is fatal.
    pub fn from_wire(number: u32) -> Result<Self> {
        match number {
            0 => Ok(Stream::Stdin),
            1 => Ok(Stream::Stdout),
            2 => Ok(Stream::Stderr),
            _ => Err(Error::protocol("CREDIT for an unknown stream")),
        }
    }
}

/// The sending end of a stream: how much may be sent.
#[derive(Debug)]
pub struct Credit {
    left: Semaphore,
    /// Sent, and not granted anew.
    sent: AtomicU32,
}

impl Default for Credit {
    fn default() -> Self {
        Self { left: Semaphore::new(WINDOW as usize), sent: AtomicU32::new(0) }
    }
}

impl Credit {
    /// Takes between 1 and `most` bytes of credit; waits while there is none. For one sender at a time, which tells
    /// with [`Credit::settle`] what it sent.
    pub async fn take(&self, most: usize) -> usize {
        // It is never closed, so an error cannot come.
        if let Ok(permit) = self.left.acquire().await {
            permit.forget();
        }
        let more = self.left.available_permits().min(most.saturating_sub(1));
        match self.left.try_acquire_many(u32::try_from(more).unwrap_or(0)) {
            Ok(permit) => {
                permit.forget();
                more + 1
            }
            Err(_) => 1,
        }
    }

    /// Of the bytes that [`Credit::take`] gave, so many are sent now; the others come back. Before they are sent:
    /// the peer's answer may be quick.
    pub fn settle(&self, taken: usize, sent: usize) {
        self.sent.fetch_add(u32::try_from(sent).unwrap_or(WINDOW), Ordering::Relaxed);
        self.left.add_permits(taken.saturating_sub(sent));
    }

    /// The peer granted more. Fatal: nothing, or more than was sent.
    pub fn granted(&self, bytes: u32) -> Result<()> {
        let sent = self.sent.load(Ordering::Relaxed);
        if bytes == 0 || bytes > sent {
            return Err(Error::protocol("CREDIT of nothing, or for more than was sent"));
        }
        self.sent.fetch_sub(bytes, Ordering::Relaxed);
        self.left.add_permits(bytes as usize);
        Ok(())
    }
}

/// The receiving end of a stream: what may still come, and what has to be granted.
#[derive(Debug)]
pub struct Allowance {
    left: u32,
    passed: u32,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { left: WINDOW, passed: 0 }
    }
}

impl Allowance {
    /// A body of this many bytes came. Fatal: beyond the credit.
    pub fn arrived(&mut self, bytes: usize) -> Result<()> {
        let left = u32::try_from(bytes).ok().and_then(|bytes| self.left.checked_sub(bytes));
        self.left = left.ok_or_else(|| Error::protocol("more than the credit of a stream"))?;
        Ok(())
    }

    /// This many bytes were passed on; gives what is to be granted now, if anything. Half a window is granted at
    /// once, so that CREDITs are few.
    pub fn passed_on(&mut self, bytes: usize) -> Option<u32> {
        self.passed = self.passed.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        if self.passed < WINDOW / 2 {
            return None;
        }
        self.left += self.passed;
        Some(std::mem::take(&mut self.passed))
    }
}

/// Joins arguments (or variables) as they travel: each followed by a zero byte. Errors: one holds a zero byte.
pub fn join<I: AsRef<[u8]>>(items: impl IntoIterator<Item = I>) -> Result<Vec<u8>> {
    let mut joined = Vec::new();
    for item in items {
        if item.as_ref().contains(&0) {
            return Err(Error::local(Status::Invalid, "an argument cannot hold a zero byte"));
        }
        joined.extend_from_slice(item.as_ref());
        joined.push(0);
    }
    Ok(joined)
}

/// Takes apart what [`join`] made. Errors: the last one does not end.
pub fn split(joined: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut items: Vec<Vec<u8>> = joined.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    match items.pop() {
        Some(rest) if rest.is_empty() => Ok(items),
        _ => Err(Error::protocol("a list whose last item does not end")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[tokio::test]
    async fn a_sender_waits_at_the_end_of_its_credit() {
        let credit = Credit::default();
        let mut taken = 0;
        while taken < WINDOW as usize {
            let now = credit.take(64 * 1024).await;
            credit.settle(now, now);
            taken += now;
        }
        assert_eq!(taken, WINDOW as usize);
        let mut more = std::pin::pin!(credit.take(10));
        assert!(futures_now(more.as_mut()).await.is_none(), "nothing is left");
        credit.granted(4).unwrap();
        assert_eq!(more.await, 4);
    }

    async fn futures_now<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = &mut future => Some(output),
            () = std::future::ready(()) => None,
        }
    }

    #[tokio::test]
    async fn credit_beyond_the_window_or_of_nothing_is_fatal() {
        let credit = Credit::default();
        assert!(credit.granted(1).is_err());
        assert_eq!(credit.take(1000).await, 1000);
        assert!(credit.granted(1).is_err(), "taken is not sent");
        credit.settle(1000, 100);
        assert!(credit.granted(0).is_err());
        assert!(credit.granted(101).is_err());
        assert!(credit.granted(u32::MAX).is_err());
        credit.granted(100).unwrap();
    }

    #[test]
    fn more_than_the_credit_is_fatal_until_it_is_granted() {
        let mut allowance = Allowance::default();
        allowance.arrived(WINDOW as usize).unwrap();
        assert!(allowance.arrived(1).is_err());
        assert_eq!(allowance.passed_on(WINDOW as usize / 2 - 1), None);
        assert_eq!(allowance.passed_on(1), Some(WINDOW / 2));
        allowance.arrived(WINDOW as usize / 2).unwrap();
        assert!(allowance.arrived(1).is_err());
    }

    proptest! {
        #[test]
        fn lists_come_back_as_they_went(items in proptest::collection::vec(proptest::collection::vec(1u8.., 0..9), 0..9)) {
            prop_assert_eq!(split(&join(&items).unwrap()).unwrap(), items);
        }
    }

    #[test]
    fn a_list_that_breaks_off_is_refused() {
        assert!(split(b"a").is_err());
        assert!(split(b"a\0b").is_err());
        assert!(join([b"a\0b"]).is_err());
    }
}
