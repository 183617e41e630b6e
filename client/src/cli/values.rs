//! Values of options: durations, rates, digests.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;

/// How a transfer is proven and what it prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum DigestChoice {
    /// Proven block by block; prints the plain MD5, as md5sum does
    #[default]
    Md5,
    /// Proven block by block; prints the digest of the blocks (fastest)
    Md5Tree,
    /// SHA-256 of the whole file at both ends
    Sha256,
}

/// Digests that `sum` can print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum SumDigest {
    /// Lines that md5sum -c reads
    #[default]
    Md5,
    /// Lines that sha256sum -c reads
    Sha256,
}

/// When progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ProgressWhen {
    /// A bar on a terminal, elsewhere one line a minute
    #[default]
    Auto,
    /// A bar even where standard error is no terminal
    Always,
    /// Nothing
    Never,
}

/// A time limit; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(pub Option<Duration>);

/// Least rate in bytes a second. Below, blocks of 1 MiB take longer than servers wait for progress.
const LEAST_RATE: u64 = 64 << 10;

/// Bytes a second; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(pub Option<u64>);

/// `90`, `90s`, `5m`, `1h30m`, `500ms`; a plain number is seconds, 0 is no limit.
impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("'{text}' is no duration; write 90s, 5m or 1h30m, or 0 for no limit");
        let duration = match text.parse::<u32>() {
            Ok(seconds) => Duration::from_secs(seconds.into()),
            Err(_) => {
                let signed: jiff::SignedDuration = text.parse().map_err(|_| bad())?;
                Duration::try_from(signed).map_err(|_| bad())?
            }
        };
        Ok(Self((!duration.is_zero()).then_some(duration)))
    }
}

/// `10M`, `1.5G`, `500K` or bytes, in powers of 1024; 0 is no limit.
impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad =
            || format!("'{text}' is no rate; write bytes a second as 500K, 10M or 1.5G, or 0 for no limit");
        let (number, unit) = match text.char_indices().last() {
            Some((at, unit)) if unit.is_ascii_alphabetic() => (text.get(..at).unwrap_or_default(), unit),
            _ => (text, ' '),
        };
        let shift = match unit.to_ascii_uppercase() {
            ' ' => 0,
            'K' => 10,
            'M' => 20,
            'G' => 30,
            _ => return Err(bad()),
        };
        if !number.starts_with(|c: char| c.is_ascii_digit())
            || !number.chars().all(|c| c.is_ascii_digit() || c == '.')
        {
            return Err(bad());
        }
        let number: f64 = number.parse().map_err(|_| bad())?;
        let bytes = number * f64::from(1u32 << shift);
        if bytes > 1e15 {
            return Err(bad());
        }
        match bytes as u64 {
            0 if number == 0.0 => Ok(Self(None)),
            bytes if bytes < LEAST_RATE => Err(format!(
                "'{text}' is too slow: the least rate is 64K bytes a second, because a server waits for each \
                 block of 1 MiB no longer than a minute; 0 is no limit"
            )),
            bytes => Ok(Self(Some(bytes))),
        }
    }
}

/// A limit as it was typed, for help texts.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(limit) => write!(f, "{limit:?}"),
            None => f.write_str("none"),
        }
    }
}

macro_rules! from_configuration {
    ($($type:ty: $parse:expr;)*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let parse: fn(&str) -> Result<$type, String> = $parse;
                parse(&text).map_err(serde::de::Error::custom)
            }
        }
    )*};
}

from_configuration! {
    Limit: |text| text.parse();
    Rate: |text| text.parse();
    DigestChoice: |text| one_of(text);
    ProgressWhen: |text| one_of(text);
}

fn one_of<T: ValueEnum>(text: &str) -> Result<T, String> {
    T::from_str(text, false).map_err(|_| {
        let known = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        let known: Vec<String> = known.map(|value| value.get_name().to_owned()).collect();
        format!("unknown value '{text}' (known: {})", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in
            [("90", 90.0), ("90s", 90.0), ("1h30m", 5400.0), ("500ms", 0.5), ("2 min", 120.0)]
        {
            assert_eq!(text.parse::<Limit>().unwrap().0.unwrap().as_secs_f64(), seconds, "{text}");
        }
        assert_eq!("0".parse::<Limit>().unwrap(), Limit(None));
        assert_eq!("0s".parse::<Limit>().unwrap(), Limit(None));
        for text in ["", "-5", "-5s", "soon", "1.5", "5x"] {
            assert!(text.parse::<Limit>().is_err(), "{text}");
        }
    }

    #[test]
    fn rates_are_powers_of_1024() {
        for (text, rate) in
            [("10M", 10 << 20), ("500k", 500 << 10), ("1.5G", 3 << 29), ("64K", 1 << 16), ("65536", 1 << 16)]
        {
            assert_eq!(text.parse::<Rate>().unwrap(), Rate(Some(rate)), "{text}");
        }
        assert_eq!("0".parse::<Rate>().unwrap(), Rate(None));
        for text in ["7", "63.9K", "0.1", "65535"] {
            assert!(text.parse::<Rate>().unwrap_err().contains("64K"), "{text}");
        }
        for text in ["", "M", "-1M", "10X", "10MB", "1e9", "9999999999G", "inf", "1..2"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
