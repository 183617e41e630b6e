//! Many names written as few patterns, as clush does: `web[01-03],db1`.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::pattern::{MAX_DIGITS, MAX_HOSTS, is_pattern};
use crate::address::HostSpec;

/// Names as one line: those that differ in one number become a pattern, in the place of the first of them. Numbers
/// padded with zeros go together only where they are of one width, so that the patterns stand for exactly these
/// names, each once.
pub fn fold(names: &[String]) -> String {
    folded(names).join(",")
}

/// The same, word by word.
pub(crate) fn folded(names: &[String]) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut left: Vec<Name<'_>> =
        names.iter().filter(|name| seen.insert(name.as_str())).enumerate().map(Name::new).collect();
    let mut words: Vec<(usize, String)> = Vec::new();
    let most = left.iter().map(|name| name.numbers.len()).max().unwrap_or_default();
    // The last number that varies is the one that changes, so those at the end are tried first.
    for from_end in 0..most {
        left = fold_number(left, from_end, &mut words);
    }
    words.extend(left.into_iter().map(|name| (name.place, name.text.to_owned())));
    words.sort_by_key(|(place, _)| *place);
    words.into_iter().map(|(_, word)| word).collect()
}

struct Name<'a> {
    place: usize,
    text: &'a str,
    /// Where the numbers of its host are, first to last.
    numbers: Vec<Range<usize>>,
}

/// Names that are equal but for one number.
#[derive(PartialEq, Eq, Hash, Clone, Copy)]
struct Shape<'a> {
    before: &'a str,
    after: &'a str,
    /// Width of numbers with leading zeros; `None` for those without.
    padded: Option<usize>,
}

impl<'a> Name<'a> {
    fn new((place, text): (usize, &'a String)) -> Self {
        Self { place, text, numbers: numbers(text) }
    }

    /// The text before, in and after its number.
    fn split(&self, from_end: usize) -> Option<(&'a str, &'a str, &'a str)> {
        let number = self.numbers.iter().rev().nth(from_end)?;
        let digits = self.text.get(number.clone())?;
        Some((self.text.get(..number.start)?, digits, self.text.get(number.end..)?))
    }
}

/// Folds what varies in this number; returns what is left.
fn fold_number<'a>(names: Vec<Name<'a>>, from_end: usize, words: &mut Vec<(usize, String)>) -> Vec<Name<'a>> {
    // 10 goes with 08 and 09 where there are such, and else with 9.
    let padded: HashSet<(&str, &str, usize)> = names
        .iter()
        .filter_map(|name| name.split(from_end))
        .filter(|(_, digits, _)| digits.len() > 1 && digits.starts_with('0'))
        .map(|(before, digits, after)| (before, after, digits.len()))
        .collect();
    let shape = |name: &Name<'a>| {
        let (before, digits, after) = name.split(from_end)?;
        let width = Some(digits.len()).filter(|width| padded.contains(&(before, after, *width)));
        Some(Shape { before, after, padded: width })
    };
    let mut alike: HashMap<Shape<'a>, Vec<(u64, usize)>> = HashMap::new();
    for name in &names {
        let number = name.split(from_end).and_then(|(_, digits, _)| digits.parse().ok());
        if let (Some(shape), Some(number)) = (shape(name), number) {
            alike.entry(shape).or_default().push((number, name.place));
        }
    }
    alike.retain(|_, members| members.len() > 1);
    for (shape, members) in &mut alike {
        members.sort_unstable();
        for members in members.chunks(MAX_HOSTS) {
            let place = members.iter().map(|(_, place)| *place).min().unwrap_or_default();
            words.push((place, shape.word(members)));
        }
    }
    names.into_iter().filter(|name| shape(name).is_none_or(|shape| !alike.contains_key(&shape))).collect()
}

impl Shape<'_> {
    /// `web[01-03,07]`; the numbers are sorted and different.
    fn word(&self, members: &[(u64, usize)]) -> String {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for (number, _) in members {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == *number => *last = *number,
                _ => runs.push((*number, *number)),
            }
        }
        let width = self.padded.unwrap_or_default();
        let run = |(first, last): &(u64, u64)| match first == last {
            true => format!("{first:0width$}"),
            false => format!("{first:0width$}-{last:0width$}"),
        };
        let inner: Vec<String> = runs.iter().map(run).collect();
        let (before, after) = (self.before, self.after);
        match inner.as_slice() {
            // One number that was cut off from the rest needs no brackets.
            [one] if members.len() == 1 => format!("{before}{one}{after}"),
            inner => format!("{before}[{}]{after}", inner.join(",")),
        }
    }
}

/// Where the numbers of a name are. Those of user, port and IPv6 addresses stay as they are, and so does what is no
/// name at all.
fn numbers(text: &str) -> Vec<Range<usize>> {
    let Ok(spec) = text.parse::<HostSpec>() else { return Vec::new() };
    if is_pattern(text) || spec.host.contains(':') {
        return Vec::new();
    }
    let start = text.rfind('@').map_or(0, |at| at + 1);
    let mut numbers: Vec<Range<usize>> = Vec::new();
    for (at, byte) in spec.host.bytes().enumerate().filter(|(_, byte)| byte.is_ascii_digit()) {
        let at = start + at;
        debug_assert_eq!(text.as_bytes().get(at), Some(&byte));
        match numbers.last_mut() {
            Some(number) if number.end == at => number.end += 1,
            _ => numbers.push(at..at + 1),
        }
    }
    numbers.retain(|number| number.len() <= MAX_DIGITS);
    numbers
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::HostList;
    use super::*;
    use proptest::prelude::*;

    fn folded(names: &[&str]) -> String {
        fold(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn names_that_differ_in_one_number_become_a_pattern() {
        for (names, expected) in [
            (&["web01", "web02", "web03", "db1"][..], "web[01-03],db1"),
            (&["db1", "web03", "web01", "web01"], "db1,web[01,03]"),
            (&["web9", "web10", "web11"], "web[9-11]"),
            (&["web08", "web09", "web10", "web1"], "web[08-10],web1"),
            (&["r1n1", "r1n2", "r2n1", "r2n2"], "r1n[1-2],r2n[1-2]"),
            (&["web1-eth0", "web2-eth0"], "web[1-2]-eth0"),
            (&["web1.x", "web2.x", "web2.y"], "web[1-2].x,web2.y"),
            (&["u2@web1:99", "u2@web2:99", "u3@web1:99"], "u2@web[1-2]:99,u3@web1:99"),
            (&["10.0.0.1", "10.0.0.2", "[::1]:5", "[::2]:5", "::3"], "10.0.0.[1-2],[::1]:5,[::2]:5,::3"),
            (&["web1:1", "web1:2"], "web1:1,web1:2"),
            (&["a"], "a"),
            (&[], ""),
        ] {
            assert_eq!(folded(names), expected);
        }
    }

    #[test]
    fn more_than_a_pattern_may_hold_become_several() {
        let names: Vec<String> = (0..MAX_HOSTS + 1).map(|number| format!("n{number}")).collect();
        assert_eq!(fold(&names), "n[0-9999],n10000");
    }

    proptest! {
        #[test]
        fn folding_loses_and_invents_nothing(
            names in proptest::collection::vec("([a-c]{1,2}@)?[a-b]{0,2}[0-9]{1,3}(-[0-2]{1,2})?(:[1-3])?", 0..60)
        ) {
            let line = fold(&names);
            let listed = match line.is_empty() {
                true => Vec::new(),
                false => line.parse::<HostList>().unwrap().expand().unwrap(),
            };
            let expanded: BTreeSet<String> = listed.iter().map(HostSpec::to_string).collect();
            prop_assert_eq!(listed.len(), expanded.len());
            prop_assert_eq!(expanded, names.into_iter().collect::<BTreeSet<_>>());
        }
    }
}
