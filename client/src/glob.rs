//! Remote globs: `*`, `?` and `[…]`, over bytes, one path component at a time.

pub(crate) use ft_protocol::glob::is_special;
use ft_protocol::glob::{self, Escapes};
use ft_protocol::path::check_name;
use ft_protocol::{Error, RemotePath};

use crate::address::RemoteOperand;

/// One component of a remote pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GlobComponent {
    /// A name to follow as it is.
    Literal(Vec<u8>),
    /// A pattern to hold against the names of a directory.
    Pattern(Pattern),
}

/// A parsed pattern ([`ft_protocol::glob`]). As in a shell, a name that starts with a dot is matched only by a pattern
/// that does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    parsed: glob::Pattern,
    typed: Vec<u8>,
}

/// A path as a pattern that means only itself.
pub(crate) fn escaped(path: &[u8]) -> Vec<u8> {
    path.iter().flat_map(|byte| is_special(*byte).then_some(b'\\').into_iter().chain([*byte])).collect()
}

/// Reads typed bytes as one path, or as a pattern where a `*`, `?` or `[` is not escaped.
pub(crate) fn parse(typed: &[u8]) -> Result<RemoteOperand, Error> {
    let mut components = Vec::new();
    for part in typed.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".") {
        components.push(component(part)?);
    }
    if components.iter().any(|part| matches!(part, GlobComponent::Pattern(_))) {
        return Ok(RemoteOperand::Glob(components));
    }
    let names = components.iter().filter_map(|part| match part {
        GlobComponent::Literal(name) => Some(name.as_slice()),
        GlobComponent::Pattern(_) => None,
    });
    Ok(RemoteOperand::Path(RemotePath::from_wire(&names.collect::<Vec<_>>().join(&b'/'))?))
}

fn component(part: &[u8]) -> Result<GlobComponent, Error> {
    let parsed = glob::Pattern::new(part, Escapes::Special)?;
    let Some(name) = parsed.literal() else {
        return Ok(GlobComponent::Pattern(Pattern { parsed, typed: part.to_vec() }));
    };
    check_name(&name)?;
    Ok(GlobComponent::Literal(name))
}

impl GlobComponent {
    /// True where this component names `name`.
    pub fn matches(&self, name: &[u8]) -> bool {
        match self {
            GlobComponent::Literal(literal) => literal == name,
            GlobComponent::Pattern(pattern) => pattern.matches(name),
        }
    }
}

/// A pattern as it was typed, for messages.
pub(crate) fn shown(components: &[GlobComponent]) -> Vec<u8> {
    let parts = components.iter().map(|component| match component {
        GlobComponent::Literal(name) => name.as_slice(),
        GlobComponent::Pattern(pattern) => pattern.typed.as_slice(),
    });
    parts.collect::<Vec<_>>().join(&b'/')
}

impl Pattern {
    /// True where the whole of `name` fits. Time is bounded by pattern length × name length.
    pub fn matches(&self, name: &[u8]) -> bool {
        (name.first() != Some(&b'.') || self.parsed.starts_with(b'.')) && self.parsed.matches(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, name: &[u8]) -> bool {
        match parse(pattern.as_bytes()).unwrap() {
            RemoteOperand::Glob(parts) => parts[0].matches(name),
            RemoteOperand::Path(path) => path.as_bytes() == name,
        }
    }

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*.iso", "a.iso", true),
            ("*.iso", "a.iso.part", false),
            ("*.iso", ".a.iso", false),
            (".*", ".a", true),
            ("a*b*c", "aXbXbc", true),
            ("a*b*c", "aXbX", false),
            ("?", "ü", true),
            ("??", "ü", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]a]", "]", true),
            ("[a-]", "-", true),
            (r"\*", "*", true),
            (r"\*", "a", false),
            (r"a\b", r"a\b", true),
            (r"*\[1\]", "x[1]", true),
        ] {
            assert_eq!(fits(pattern, name.as_bytes()), expected, "{pattern} {name}");
        }
        assert!(fits("a?", b"a\xff"));
    }

    #[test]
    fn a_pattern_cannot_climb_and_must_be_closed() {
        assert!(parse(b"../*").is_err());
        assert!(parse(b"*/../a").is_err());
        assert!(parse(b"a[b").is_err());
    }

    #[test]
    fn a_hostile_name_costs_little() {
        let pattern = "*a".repeat(60);
        let name = vec![b'a'; 59];
        assert!(!fits(&pattern, &name));
    }
}
