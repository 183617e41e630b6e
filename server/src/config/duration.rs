//! Durations as people write them.

use std::time::Duration;

use ft_protocol::display::Escaped;
use serde::{Deserialize, Serialize};

/// Longest duration that is accepted: a year.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// The text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad duration '{}': give a number with a unit, such as 500ms, 20s, 5m, 1h or 7d, up to a year", Escaped::from(.0.as_str()))]
pub struct BadDuration(String);

/// Reads a duration such as `20s` or `1h30m`: whole numbers, each with one of the units ms, s, m, h, d. Zero
/// and more than a year are refused.
pub fn parse_duration(text: &str) -> Result<Duration, BadDuration> {
    sum(text)
        .filter(|total| !total.is_zero() && *total <= LONGEST)
        .ok_or_else(|| BadDuration(text.chars().take(80).collect()))
}

/// A duration as [`parse_duration`] reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct DurationText(pub(crate) Duration);

impl TryFrom<String> for DurationText {
    type Error = BadDuration;

    fn try_from(text: String) -> Result<Self, BadDuration> {
        parse_duration(&text).map(Self)
    }
}

impl From<DurationText> for String {
    fn from(DurationText(duration): DurationText) -> Self {
        match (duration.subsec_millis(), duration.as_secs()) {
            (0, seconds) if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
            (0, seconds) if seconds % 60 == 0 => format!("{}m", seconds / 60),
            (0, seconds) => format!("{seconds}s"),
            _ => format!("{}ms", duration.as_millis()),
        }
    }
}

fn sum(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let (digits, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let count: u64 = digits.parse().ok()?;
        let part = match unit {
            "ms" => Duration::from_millis(count),
            "s" => Duration::from_secs(count),
            "m" => Duration::from_secs(count.checked_mul(60)?),
            "h" => Duration::from_secs(count.checked_mul(3600)?),
            "d" => Duration::from_secs(count.checked_mul(24 * 3600)?),
            _ => return None,
        };
        total = total.checked_add(part)?;
        rest = after;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        let cases = [("500ms", 500), ("20s", 20_000), ("1h30m", 5_400_000), ("7d", 604_800_000)];
        for (text, millis) in cases {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
            let written = String::from(DurationText(Duration::from_millis(millis)));
            assert_eq!(parse_duration(&written), Ok(Duration::from_millis(millis)), "{written}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "0s", "5", "s", "-1s", "1.5h", "1 h", "1w", "400d", "99999999999999999999s", "1h5", "١s"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration(&format!("{}d", u64::MAX)).is_err());
    }
}
