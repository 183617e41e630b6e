//! Remote globs: `*`, `?` and `[…]`, over bytes, one path component at a time.

use ft_protocol::path::check_name;
use ft_protocol::{Error, RemotePath, Status};

use crate::address::RemoteOperand;

/// One component of a remote pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GlobComponent {
    /// A name to follow as it is.
    Literal(Vec<u8>),
    /// A pattern to hold against the names of a directory.
    Pattern(Pattern),
}

/// A parsed pattern. `*` is any run of bytes, `?` one character, `[a-z]` one byte of a set, `[!a]` one byte
/// outside it. As in a shell, a name that starts with a dot is matched only by a pattern that does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    tokens: Vec<Token>,
    typed: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Byte(u8),
    Any,
    Run,
    Set { negated: bool, ranges: Vec<(u8, u8)> },
}

/// True for the characters that a backslash may precede.
pub(crate) fn is_special(byte: u8) -> bool {
    matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\')
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
    let tokens = tokens(part)?;
    let literal: Option<Vec<u8>> =
        tokens.iter().map(|token| if let Token::Byte(byte) = token { Some(*byte) } else { None }).collect();
    let Some(name) = literal else {
        return Ok(GlobComponent::Pattern(Pattern { tokens, typed: part.to_vec() }));
    };
    check_name(&name)?;
    Ok(GlobComponent::Literal(name))
}

fn tokens(part: &[u8]) -> Result<Vec<Token>, Error> {
    let mut tokens = Vec::new();
    let mut rest = part;
    while let [first, tail @ ..] = rest {
        rest = tail;
        tokens.push(match (first, tail) {
            (b'\\', [next, after @ ..]) if is_special(*next) => {
                rest = after;
                Token::Byte(*next)
            }
            (b'*', _) if tokens.last() == Some(&Token::Run) => continue,
            (b'*', _) => Token::Run,
            (b'?', _) => Token::Any,
            (b'[', _) => {
                let (set, after) = set(tail)?;
                rest = after;
                set
            }
            _ => Token::Byte(*first),
        });
    }
    Ok(tokens)
}

/// Parses what follows a `[`, up to and including its `]`; a `]` that comes first is a member.
fn set(inside: &[u8]) -> Result<(Token, &[u8]), Error> {
    let (negated, mut rest) = match inside {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, inside),
    };
    let mut ranges = Vec::new();
    loop {
        rest = match rest {
            [] => {
                return Err(Error::local(
                    Status::Invalid,
                    "a '[' without its ']'; write \\[ where the name holds a bracket",
                ));
            }
            [b']', after @ ..] if !ranges.is_empty() => return Ok((Token::Set { negated, ranges }, after)),
            [low, b'-', high, after @ ..] if *high != b']' => {
                ranges.push((*low, *high));
                after
            }
            [b'\\', one, after @ ..] if is_special(*one) => {
                ranges.push((*one, *one));
                after
            }
            [one, after @ ..] => {
                ranges.push((*one, *one));
                after
            }
        };
    }
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
        if name.first() == Some(&b'.') && self.tokens.first() != Some(&Token::Byte(b'.')) {
            return false;
        }
        let (mut tokens, mut rest) = (self.tokens.as_slice(), name);
        // Where to go on when the last `*` must take one byte more.
        let mut retry: Option<(&[Token], &[u8])> = None;
        loop {
            match tokens {
                [Token::Run, after @ ..] => {
                    retry = Some((after, rest));
                    tokens = after;
                    continue;
                }
                [] if rest.is_empty() => return true,
                [token, after @ ..] => {
                    if let Some(left) = token.take(rest) {
                        (tokens, rest) = (after, left);
                        continue;
                    }
                }
                [] => {}
            }
            match retry {
                Some((after, [_, shorter @ ..])) => {
                    retry = Some((after, shorter));
                    (tokens, rest) = (after, shorter);
                }
                _ => return false,
            }
        }
    }
}

impl Token {
    /// What is left of `rest` after this token; `None` where it does not fit.
    fn take<'a>(&self, rest: &'a [u8]) -> Option<&'a [u8]> {
        let (first, tail) = rest.split_first()?;
        match self {
            Token::Byte(byte) => (byte == first).then_some(tail),
            Token::Any => rest.get(first_char_len(rest)..),
            Token::Set { negated, ranges } => {
                let inside = ranges.iter().any(|(low, high)| (low..=high).contains(&first));
                (inside != *negated).then_some(tail)
            }
            Token::Run => None,
        }
    }
}

/// Length of the first UTF-8 character, or 1 where the bytes are not UTF-8.
fn first_char_len(bytes: &[u8]) -> usize {
    let head = bytes.get(..4).unwrap_or(bytes);
    let valid = head.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
    valid.map_or(1, char::len_utf8)
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
