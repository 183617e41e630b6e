//! Growing pauses for sources that guess passwords (as OpenSSH's PerSourcePenalties).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Wrong guesses that cost nothing but themselves.
const FREE: u32 = 5;
/// Longest pause.
const LONGEST: Duration = Duration::from_secs(600);
/// Sources remembered; beyond it the one whose pause ends first is forgotten.
const SOURCES: usize = 4096;

/// Wrong guesses of each source.
#[derive(Debug, Default)]
pub(crate) struct Penalties(Mutex<HashMap<IpAddr, Penalty>>);

#[derive(Debug, Clone, Copy)]
struct Penalty {
    guesses: u32,
    until: Instant,
}

impl Penalties {
    /// How long this source must still wait before its next guess is looked at.
    pub(crate) fn pause(&self, source: IpAddr) -> Option<Duration> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = table.get(&block_of(source))?.until.checked_duration_since(Instant::now())?;
        (!rest.is_zero()).then_some(rest)
    }

    /// The source guessed wrong: from the sixth time on the pause doubles.
    pub(crate) fn punish(&self, source: IpAddr) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if table.len() >= SOURCES && !table.contains_key(&block_of(source)) {
            table.retain(|_, penalty| penalty.until + LONGEST > now);
            if table.len() >= SOURCES
                && let Some(first) = table.iter().min_by_key(|(_, penalty)| penalty.until).map(|(ip, _)| *ip)
            {
                table.remove(&first);
            }
        }
        let penalty = table.entry(block_of(source)).or_insert(Penalty { guesses: 0, until: now });
        if penalty.until + LONGEST < now {
            penalty.guesses = 0;
        }
        penalty.guesses = penalty.guesses.saturating_add(1);
        let doublings = penalty.guesses.saturating_sub(FREE).min(10);
        let pause =
            if doublings == 0 { Duration::ZERO } else { Duration::from_secs(1 << doublings).min(LONGEST) };
        penalty.until = now + pause;
    }
}

/// An IPv6 source is its /64: one machine has that many addresses to itself.
fn block_of(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn guesses_in_an_hour_stay_few() {
        let penalties = Penalties::default();
        let source = IpAddr::from([192, 0, 2, 1]);
        let end = Instant::now() + Duration::from_secs(3600);
        let mut guesses = 0;
        while Instant::now() < end {
            if let Some(pause) = penalties.pause(source) {
                tokio::time::advance(pause).await;
                continue;
            }
            penalties.punish(source);
            guesses += 1;
        }
        assert!(guesses < 25, "{guesses}");
        assert!(penalties.pause(IpAddr::from([192, 0, 2, 2])).is_none(), "others are untouched");
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded_and_a_v6_network_is_one_source() {
        let penalties = Penalties::default();
        for n in 0..2 * SOURCES as u32 {
            penalties.punish(IpAddr::from(n.to_be_bytes()));
        }
        assert!(penalties.0.lock().unwrap().len() <= SOURCES);
        for n in 0..20u16 {
            penalties.punish(IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, n]));
        }
        assert!(penalties.pause(IpAddr::from([0x2001, 0xdb8, 0, 1, 9, 9, 9, 9])).is_some());
    }
}
