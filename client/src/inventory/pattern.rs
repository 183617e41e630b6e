//! Patterns that stand for several names: `web[01-20]`, `web[1,3-5]`, `rack[1-2]node[01-20]`.

use std::fmt;
use std::str::FromStr;

use ft_protocol::display::Escaped;

use crate::address::{self, AddressError, HostSpec};

/// Most hosts that one pattern may stand for.
pub const MAX_HOSTS: usize = 10_000;
/// Most digits of a number in brackets: what always fits a `u64`.
pub(super) const MAX_DIGITS: usize = 18;

/// A pattern, with user and port around it as a host has them: `anna@web[01-20]:99`. It stands for at least one and
/// at most [`MAX_HOSTS`] hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    text: String,
    user: Option<String>,
    parts: Vec<Part>,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Numbers(Vec<Range>),
}

/// Numbers of a pair of brackets, both bounds included, padded with zeros to `width`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    first: u64,
    last: u64,
    width: usize,
}

/// True where the text can only be a pattern: it has a bracket, and none that holds a `:` (an IPv6 address).
pub(super) fn is_pattern(text: &str) -> bool {
    let Some((_, rest)) = text.split_once('[') else { return false };
    !rest.split(']').next().unwrap_or_default().contains(':')
}

impl FromStr for HostPattern {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let bad = |what: &str| AddressError(format!("cannot read '{}': {what}", Escaped::from(text)));
        let (user, rest) = address::split_user(text);
        if let Some(user) = user {
            address::check_user(user)?;
        }
        let after = rest.rfind(']').map_or(0, |at| at + 1);
        let (names, port) = match rest.get(after..).unwrap_or_default().split_once(':') {
            Some((tail, port)) => {
                let end = after + tail.len();
                (rest.get(..end).unwrap_or_default(), Some(address::parse_port(text, port)?))
            }
            None => (rest, None),
        };
        let parts = parse_parts(names).map_err(|what| bad(&what))?;
        // What is good for the longest name is good for all of them.
        address::check_host(&longest(&parts))?;
        let hosts = parts.iter().fold(1u64, |hosts, part| hosts.saturating_mul(part.len()));
        if hosts > MAX_HOSTS as u64 {
            return Err(bad(&format!("it stands for more than {MAX_HOSTS} hosts")));
        }
        Ok(Self { text: text.to_owned(), user: user.map(str::to_owned), parts, port })
    }
}

/// As it was typed.
impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped::from(self.text.as_str()).fmt(f)
    }
}

impl HostPattern {
    /// The hosts that it stands for; the last number changes fastest.
    pub fn expand(&self) -> Vec<HostSpec> {
        let host = |host| HostSpec { user: self.user.clone(), host, port: self.port };
        self.names().into_iter().map(host).collect()
    }

    /// Their names alone.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names = vec![String::new()];
        for part in &self.parts {
            match part {
                Part::Text(text) => names.iter_mut().for_each(|name| name.push_str(text)),
                Part::Numbers(ranges) => {
                    let numbers = || ranges.iter().flat_map(|range| range.numbers());
                    names = names
                        .iter()
                        .flat_map(|name| numbers().map(move |number| format!("{name}{number}")))
                        .collect();
                }
            }
        }
        names
    }

    /// True where it is of names alone, with neither user nor port.
    pub(super) fn is_plain(&self) -> bool {
        self.user.is_none() && self.port.is_none()
    }
}

impl Part {
    fn len(&self) -> u64 {
        match self {
            Part::Text(_) => 1,
            // The ranges are as many as somebody types: their sum may be more than a number holds.
            Part::Numbers(ranges) => ranges.iter().fold(0, |sum: u64, range| sum.saturating_add(range.len())),
        }
    }
}

impl Range {
    fn len(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    fn numbers(self) -> impl Iterator<Item = String> {
        (self.first..=self.last).map(move |number| format!("{number:0width$}", width = self.width))
    }
}

fn longest(parts: &[Part]) -> String {
    let longest = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Numbers(ranges) => {
            let digits = ranges.iter().map(|range| range.width.max(range.last.to_string().len())).max();
            "0".repeat(digits.unwrap_or_default())
        }
    };
    parts.iter().map(longest).collect()
}

fn parse_parts(mut rest: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    while let Some((text, tail)) = rest.split_once('[') {
        let (inner, tail) = tail.split_once(']').ok_or("a '[' without its ']'")?;
        if !text.is_empty() {
            parts.push(Part::Text(text.to_owned()));
        }
        parts.push(Part::Numbers(inner.split(',').map(parse_range).collect::<Result<_, _>>()?));
        rest = tail;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(parts)
}

fn parse_range(text: &str) -> Result<Range, String> {
    let number = |digits: &str| match digits.parse::<u64>() {
        Ok(number) if digits.len() <= MAX_DIGITS && digits.bytes().all(|b| b.is_ascii_digit()) => Ok(number),
        _ => Err(format!(
            "'[{text}]': brackets hold numbers and ranges of at most {MAX_DIGITS} digits, as in web[01-20] and web[1,3-5]"
        )),
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = Range { first: number(first)?, last: number(last)?, width: first.len() };
    if range.last < range.first {
        return Err(format!("'[{text}]': the range ends before it begins"));
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Vec<String> {
        let pattern: HostPattern = text.parse().unwrap();
        pattern.expand().iter().map(HostSpec::to_string).collect()
    }

    #[test]
    fn numbers_are_padded_as_typed_and_the_last_one_changes_fastest() {
        assert_eq!(expand("web[01-03]"), ["web01", "web02", "web03"]);
        assert_eq!(expand("web[1,3-5]"), ["web1", "web3", "web4", "web5"]);
        assert_eq!(expand("web[8-10]"), ["web8", "web9", "web10"]);
        assert_eq!(expand("web[08-10]"), ["web08", "web09", "web10"]);
        assert_eq!(expand("r[1-2]n[01-02]x"), ["r1n01x", "r1n02x", "r2n01x", "r2n02x"]);
        assert_eq!(expand("anna@web[1-2].example:99"), ["anna@web1.example:99", "anna@web2.example:99"]);
        assert_eq!(expand("10.0.0.[7-8]"), ["10.0.0.7", "10.0.0.8"]);
        assert_eq!(expand("web[5]"), ["web5"]);
    }

    #[test]
    fn what_is_no_pattern_is_refused_and_says_why() {
        for (text, says) in [
            ("web[", "without its ']'"),
            ("web[1-2", "without its ']'"),
            ("web[]", "numbers and ranges"),
            ("web[1,]", "numbers and ranges"),
            ("web[a-b]", "numbers and ranges"),
            ("web[+1-2]", "numbers and ranges"),
            ("web[1-2-3]", "numbers and ranges"),
            ("web[1234567890123456789]", "18 digits"),
            ("web[5-3]", "ends before it begins"),
            ("web[1-2]]", "letters, digits"),
            ("we b[1-2]", "letters, digits"),
            ("-web[1-2]", "starts with '-'"),
            ("@web[1-2]", "user name"),
            ("web[1-2]:0", "port"),
        ] {
            let error = text.parse::<HostPattern>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn too_many_hosts_are_refused_before_anything_is_made() {
        assert_eq!(expand("n[1-10000]").len(), MAX_HOSTS);
        for text in ["n[0-10000]", "n[1-999999999999999999]", "a[1-101]b[1-100]"] {
            let error = text.parse::<HostPattern>().unwrap_err().to_string();
            assert!(error.contains("more than 10000 hosts"), "{text}: {error}");
        }
        let ranges = "0-999999999999999999,".repeat(18);
        for text in [format!("a[{ranges}0-446744073709551615]"), format!("a[{ranges}0-446744073709551616]")] {
            assert!(text.parse::<HostPattern>().unwrap_err().to_string().contains("more than 10000 hosts"));
        }
        let long = format!("{}[1-10]", "a".repeat(252));
        assert!(long.parse::<HostPattern>().unwrap_err().to_string().contains("253 bytes"));
    }

    #[test]
    fn an_ipv6_address_is_no_pattern() {
        assert!(!is_pattern("[::1]") && !is_pattern("anna@[2001:db8::1]:99") && !is_pattern("web1:99"));
        assert!(is_pattern("web[1-2]:99") && is_pattern("[1-2]web") && is_pattern("web["));
    }
}
