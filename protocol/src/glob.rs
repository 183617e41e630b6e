//! Glob patterns of one path component, over bytes: `*`, `?`, `[…]`. Remote operands and filters of trees are made
//! of these.
//!
//! Names are bytes and need not be UTF-8. The globset crate takes patterns as UTF-8 only, so it cannot name such a
//! file; it reads `{a,b}`, which gitignore does not have; and it compiles to automata whose memory the pattern
//! decides, which here may come from a peer. A match takes no memory and at most pattern × name in time.

use std::fmt;

use crate::error::{Error, Result, Status};

/// Before which bytes a backslash is an escape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escapes {
    /// Before those that mean something ([`is_special`]); elsewhere it is a backslash.
    Special,
    /// Before any, as in gitignore; a pattern cannot end in one.
    Any,
}

/// A pattern that is held against one name. `*` is any run of bytes, `?` one character (where the name is not UTF-8
/// one byte), `[a-z]` one byte of a set, `[!a]` or `[^a]` one outside it, `[[:digit:]]` an ASCII class.
///
/// A leading dot is nothing special here.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    tokens: Box<[Token]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Byte(u8),
    Any,
    Run,
    // Boxed, so that a long pattern of single bytes stays small.
    Set(Box<Set>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Set {
    negated: bool,
    ranges: Vec<(u8, u8)>,
}

/// True for the characters that mean something in a pattern.
pub fn is_special(byte: u8) -> bool {
    matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\')
}

impl Pattern {
    /// Parses one component.
    ///
    /// # Errors
    /// [`Status::Invalid`] for a `[` without its `]`, an unknown class, and a last backslash that escapes nothing.
    pub fn new(text: &[u8], escapes: Escapes) -> Result<Pattern> {
        let mut tokens = Vec::new();
        let mut rest = text;
        while let [first, tail @ ..] = rest {
            rest = tail;
            tokens.push(match (first, tail) {
                (b'\\', [next, after @ ..]) if escapes.escape(*next) => {
                    rest = after;
                    Token::Byte(*next)
                }
                (b'\\', []) if escapes == Escapes::Any => {
                    return Err(refused("a backslash at the end; write \\\\ where the name ends in one"));
                }
                (b'*', _) if tokens.last() == Some(&Token::Run) => continue,
                (b'*', _) => Token::Run,
                (b'?', _) => Token::Any,
                (b'[', _) => {
                    let (set, after) = Set::parse(tail, escapes)?;
                    rest = after;
                    Token::Set(Box::new(set))
                }
                _ => Token::Byte(*first),
            });
        }
        Ok(Pattern { tokens: tokens.into() })
    }

    /// The only name that this pattern fits, where it holds no `*`, `?` or `[`.
    pub fn literal(&self) -> Option<Vec<u8>> {
        let byte = |token: &Token| if let Token::Byte(byte) = token { Some(*byte) } else { None };
        self.tokens.iter().map(byte).collect()
    }

    /// True where the pattern begins with this byte itself.
    pub fn starts_with(&self, byte: u8) -> bool {
        self.tokens.first() == Some(&Token::Byte(byte))
    }

    /// True where the whole of `name` fits. Time is bounded by pattern length × name length.
    pub fn matches(&self, name: &[u8]) -> bool {
        let (mut tokens, mut rest) = (&*self.tokens, name);
        // Where to go on when the last `*` must take one byte more.
        let mut retry: Option<(&[Token], &[u8])> = None;
        loop {
            match tokens {
                [Token::Run] => return true,
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

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.tokens.iter()).finish()
    }
}

impl Escapes {
    fn escape(self, byte: u8) -> bool {
        self == Escapes::Any || is_special(byte)
    }
}

impl Token {
    /// What is left of `rest` after this token; `None` where it does not fit.
    fn take<'a>(&self, rest: &'a [u8]) -> Option<&'a [u8]> {
        let (first, tail) = rest.split_first()?;
        match self {
            Token::Byte(byte) => (byte == first).then_some(tail),
            Token::Any => rest.get(first_char_len(rest)..),
            Token::Set(set) => set.has(*first).then_some(tail),
            Token::Run => None,
        }
    }
}

impl Set {
    /// Parses what follows a `[`, up to and including its `]`; a `]` that comes first is a member.
    fn parse(inside: &[u8], escapes: Escapes) -> Result<(Set, &[u8])> {
        let (negated, mut rest) = match inside {
            [b'!' | b'^', rest @ ..] => (true, rest),
            _ => (false, inside),
        };
        let mut set = Set { negated, ranges: Vec::new() };
        loop {
            rest = match rest {
                [] => {
                    return Err(refused("a '[' without its ']'; write \\[ where the name holds a bracket"));
                }
                [b']', after @ ..] if !set.ranges.is_empty() => return Ok((set, after)),
                [b'[', b':', after @ ..] => set.add_class(after)?,
                _ => set.add_range(rest, escapes),
            };
        }
    }

    /// Takes one member or one range from the front.
    fn add_range<'a>(&mut self, rest: &'a [u8], escapes: Escapes) -> &'a [u8] {
        let (low, after) = member(rest, escapes);
        match after {
            [b'-', high @ ..] if !matches!(high, [] | [b']', ..]) => {
                let (high, after) = member(high, escapes);
                self.ranges.push((low, high));
                after
            }
            _ => {
                self.ranges.push((low, low));
                after
            }
        }
    }

    /// Takes a POSIX class such as `digit:]`; the bytes of the C locale.
    fn add_class<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8]> {
        let end = rest.windows(2).position(|pair| pair == b":]");
        let name = end.and_then(|end| rest.get(..end)).unwrap_or(rest);
        let ranges: &[(u8, u8)] = match name {
            b"alnum" => &[(b'0', b'9'), (b'A', b'Z'), (b'a', b'z')],
            b"alpha" => &[(b'A', b'Z'), (b'a', b'z')],
            b"blank" => &[(b' ', b' '), (b'\t', b'\t')],
            b"cntrl" => &[(0, 0x1f), (0x7f, 0x7f)],
            b"digit" => &[(b'0', b'9')],
            b"graph" => &[(0x21, 0x7e)],
            b"lower" => &[(b'a', b'z')],
            b"print" => &[(0x20, 0x7e)],
            b"punct" => &[(0x21, 0x2f), (0x3a, 0x40), (0x5b, 0x60), (0x7b, 0x7e)],
            b"space" => &[(b' ', b' '), (b'\t', b'\r')],
            b"upper" => &[(b'A', b'Z')],
            b"xdigit" => &[(b'0', b'9'), (b'A', b'F'), (b'a', b'f')],
            _ => {
                return Err(refused(
                    "an unknown class in '[[:…:]]'; [[:digit:]] is one, [[:alpha:]] another",
                ));
            }
        };
        self.ranges.extend_from_slice(ranges);
        Ok(end.and_then(|end| rest.get(end + 2..)).unwrap_or_default())
    }

    fn has(&self, byte: u8) -> bool {
        self.ranges.iter().any(|(low, high)| (low..=high).contains(&&byte)) != self.negated
    }
}

/// The first byte of a set's inside, and what follows it. Never called with nothing left.
fn member(rest: &[u8], escapes: Escapes) -> (u8, &[u8]) {
    match rest {
        [b'\\', one, after @ ..] if escapes.escape(*one) => (*one, after),
        [one, after @ ..] => (*one, after),
        [] => (0, rest),
    }
}

/// Length of the first UTF-8 character, or 1 where the bytes are not UTF-8.
fn first_char_len(bytes: &[u8]) -> usize {
    let head = bytes.get(..4).unwrap_or(bytes);
    let valid = head.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
    valid.map_or(1, char::len_utf8)
}

fn refused(what: &str) -> Error {
    Error::local(Status::Invalid, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fits(pattern: &[u8], name: &[u8]) -> bool {
        Pattern::new(pattern, Escapes::Any).unwrap().matches(name)
    }

    #[test]
    fn a_backslash_escapes_what_it_may() {
        let special = Pattern::new(br"a\x\*\", Escapes::Special).unwrap();
        let any = Pattern::new(br"a\x\*", Escapes::Any).unwrap();
        assert_eq!(special.literal().unwrap(), br"a\x*\");
        assert_eq!(any.literal().unwrap(), b"ax*");
        assert!(Pattern::new(br"a\", Escapes::Any).is_err(), "it escapes nothing");
    }

    #[test]
    fn a_hostile_pattern_costs_little_and_must_be_closed() {
        assert!(!fits(&b"*a".repeat(60), &[b'a'; 59]));
        assert!(!fits(&b"[^a]*".repeat(20_000), &[b'b'; 255]));
        for open in [&b"["[..], b"[!", b"[]", b"[a-", b"[[:", b"[[:digit:]", b"[\\", b"[a-\\"] {
            assert!(Pattern::new(open, Escapes::Any).is_err(), "{}", open.escape_ascii());
        }
    }

    /// The definition, which takes for ever on hostile input.
    fn by_definition(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], _) => name.is_empty(),
            ([b'*', rest @ ..], _) => (0..=name.len()).any(|taken| by_definition(rest, &name[taken..])),
            ([_, ..], []) => false,
            ([b'?', rest @ ..], [_, left @ ..]) => by_definition(rest, left),
            ([byte, rest @ ..], [first, left @ ..]) => byte == first && by_definition(rest, left),
        }
    }

    proptest! {
        #[test]
        fn patterns_fit_by_definition(pattern in "[ab*?]{0,8}", name in "[abc]{0,10}") {
            let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
            prop_assert_eq!(fits(pattern, name), by_definition(pattern, name));
        }

        #[test]
        fn whatever_parses_ends(pattern: Vec<u8>, name: Vec<u8>) {
            for escapes in [Escapes::Any, Escapes::Special] {
                if let Ok(pattern) = Pattern::new(&pattern, escapes) {
                    let fits = pattern.matches(&name);
                    prop_assert!(pattern.literal().is_none_or(|literal| (literal == name) == fits));
                }
            }
        }
    }
}
