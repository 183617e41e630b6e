//! Amounts of bytes as people write them.

use ft_protocol::display::Escaped;
use serde::{Deserialize, Serialize};

/// Units in bytes, the largest first.
const UNITS: [(char, u64); 4] = [('T', 1 << 40), ('G', 1 << 30), ('M', 1 << 20), ('K', 1 << 10)];

/// The text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad size '{}': give bytes as a whole number, or with a unit, such as 64K, 100M or 2G", Escaped::from(.0.as_str()))]
pub(crate) struct BadSize(String);

/// Bytes, more than none. Written as a whole number with or without K, M, G or T, powers of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct SizeText(pub(crate) u64);

impl TryFrom<String> for SizeText {
    type Error = BadSize;

    fn try_from(text: String) -> Result<Self, BadSize> {
        size(&text)
            .filter(|bytes| *bytes > 0)
            .map(Self)
            .ok_or_else(|| BadSize(text.chars().take(80).collect()))
    }
}

fn size(text: &str) -> Option<u64> {
    let with_unit = UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(*name)?, *unit)));
    let (digits, unit) = with_unit.unwrap_or((text, 1));
    // parse() would take a sign.
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse::<u64>().ok().filter(|_| plain)?.checked_mul(unit)
}

impl From<SizeText> for String {
    fn from(SizeText(bytes): SizeText) -> Self {
        match UNITS.iter().find(|(_, unit)| bytes % unit == 0) {
            Some((name, unit)) => format!("{}{name}", bytes / unit),
            None => bytes.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_come_back_as_they_went() {
        for (text, bytes) in [("1", 1), ("1023", 1023), ("64K", 65_536), ("100M", 100 << 20), ("3T", 3 << 40)]
        {
            let size = SizeText::try_from(text.to_owned()).unwrap();
            assert_eq!((size.0, String::from(size).as_str()), (bytes, text));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "0", "0G", "M", "-1", "+1", "1.5G", "1 M", "1MB", "1m", "99999999T", "٣"] {
            assert!(SizeText::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
