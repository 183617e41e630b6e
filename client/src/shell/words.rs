//! Splits a line of the shell into words as sh(1) does, and quotes names for such a line.
//!
//! `'…'`, `"…"`, `\` and `$'…'` (bash(1), QUOTING: `\n`, `\t`, `\xHH` and the like, so any name can be typed)
//! are understood. There are no variables, no `;`, no pipes. Patterns are left to whoever reads the word.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;

use ft_protocol::display::Escaped;

use crate::glob;

/// One word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// Its text, without the quotes.
    pub(crate) plain: OsString,
    /// The same with a backslash before each character that a pattern would read and quotes protected.
    pub(crate) pattern: Vec<u8>,
    /// It begins with a `~` that no quotes protected.
    pub(crate) tilde: bool,
}

/// The word at the end of a line that is still being typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partial {
    /// Everything before its last `/`, with that.
    pub(crate) dir: Vec<u8>,
    /// See [`Word::tilde`].
    pub(crate) tilde: bool,
    /// The rest.
    pub(crate) name: Vec<u8>,
    /// Where in the line the rest begins.
    pub(crate) start: usize,
    /// The quotes that are open there.
    pub(crate) quote: Quote,
}

/// Quotes that are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quote {
    /// None.
    None,
    /// `'`
    Single,
    /// `"`
    Double,
    /// `$'`
    Dollar,
}

/// The words of a line. Errors: what is missing at its end.
pub(crate) fn split(line: &[u8]) -> Result<Vec<Word>, &'static str> {
    let scanned = scan(line);
    match (scanned.missing, scanned.quote) {
        (true, _) => Err("the line ends in a backslash"),
        (_, Quote::None) => Ok(scanned.words.iter().map(|word| Word::of(&word.bytes)).collect()),
        (_, Quote::Single | Quote::Dollar) => Err("the line has a ' without its partner"),
        (_, Quote::Double) => Err("the line has a \" without its partner"),
    }
}

/// The complete words of an unfinished line, and the one at its end.
pub(crate) fn unfinished(line: &[u8]) -> (Vec<Word>, Partial) {
    let mut scanned = scan(line);
    let last = if scanned.within { scanned.words.pop() } else { None };
    let last = last.unwrap_or(Scanned { start: line.len(), bytes: Vec::new() });
    let slash = last.bytes.iter().rposition(|byte| byte.value == b'/');
    let (dir, name) = last.bytes.split_at(slash.map_or(0, |at| at + 1));
    let partial = Partial {
        dir: dir.iter().map(|byte| byte.value).collect(),
        tilde: last.bytes.first().is_some_and(Byte::is_tilde),
        name: name.iter().map(|byte| byte.value).collect(),
        // Quotes that open right behind the slash belong to the name.
        start: dir.last().map_or(last.start, |byte| byte.end),
        quote: dir.last().map_or(Quote::None, |byte| byte.quote),
    };
    (scanned.words.iter().map(|word| Word::of(&word.bytes)).collect(), partial)
}

/// A name so that [`split`] reads it as it is, where `open` quotes are open. `whole`: nothing of the word follows,
/// so the quotes are closed.
pub(crate) fn quote(name: &[u8], open: Quote, whole: bool) -> String {
    let printable = std::str::from_utf8(name).ok().filter(|text| Escaped::new(name).to_string() == **text);
    let Some(text) = printable else {
        let before = match open {
            Quote::None => "$'",
            Quote::Single => "'$'",
            Quote::Double => "\"$'",
            Quote::Dollar => "",
        };
        return format!("{before}{}'", dollar(name));
    };
    let close = |quote: &'static str| if whole { quote } else { "" };
    match open {
        Quote::None => text.chars().fold(String::new(), |mut quoted, c| {
            if is_plain(c) {
                quoted.push(c)
            } else {
                quoted.extend(['\\', c])
            }
            quoted
        }),
        Quote::Single => text.replace('\'', "'\\''") + close("'"),
        Quote::Double => text.replace('\\', "\\\\").replace('"', "\\\"") + close("\""),
        Quote::Dollar => dollar(name) + close("'"),
    }
}

/// Letters of all scripts need no backslash.
fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || "/._-+,:=@%".contains(c) || !(c.is_ascii() || c.is_whitespace())
}

fn dollar(name: &[u8]) -> String {
    name.iter().fold(String::new(), |mut quoted, byte| {
        match byte {
            b'\'' | b'\\' => quoted.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => quoted.push(char::from(*byte)),
            _ => quoted += &format!("\\x{byte:02x}"),
        }
        quoted
    })
}

impl Word {
    fn of(bytes: &[Byte]) -> Self {
        let mut pattern = Vec::new();
        for byte in bytes {
            if byte.quoted && glob::is_special(byte.value) {
                pattern.push(b'\\');
            }
            pattern.push(byte.value);
        }
        Self {
            plain: OsString::from_vec(bytes.iter().map(|byte| byte.value).collect()),
            pattern,
            tilde: bytes.first().is_some_and(Byte::is_tilde),
        }
    }

    /// A word that nothing protects.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.plain == OsStr::new(text)
    }
}

/// A byte of a word.
struct Byte {
    value: u8,
    quoted: bool,
    /// Where in the line it ends.
    end: usize,
    /// The quotes that are open behind it.
    quote: Quote,
}

impl Byte {
    fn is_tilde(&self) -> bool {
        self.value == b'~' && !self.quoted
    }
}

struct Scanned {
    start: usize,
    bytes: Vec<Byte>,
}

struct Scan {
    words: Vec<Scanned>,
    /// The line ends within its last word.
    within: bool,
    quote: Quote,
    /// A backslash is the last character.
    missing: bool,
}

fn scan(line: &[u8]) -> Scan {
    let mut scan = Scan { words: Vec::new(), within: false, quote: Quote::None, missing: false };
    let mut at = 0;
    while let Some(byte) = line.get(at).copied() {
        let next = line.get(at + 1).copied();
        let start = at;
        at += 1;
        let mut quoted = true;
        let value = match (scan.quote, byte) {
            (Quote::None, b' ' | b'\t' | b'\r' | b'\n') => {
                scan.within = false;
                continue;
            }
            (Quote::None, b'\'') => {
                scan.open(start, Quote::Single);
                continue;
            }
            (Quote::None, b'"') => {
                scan.open(start, Quote::Double);
                continue;
            }
            (Quote::None, b'$') if next == Some(b'\'') => {
                at += 1;
                scan.open(start, Quote::Dollar);
                continue;
            }
            (Quote::Single | Quote::Dollar, b'\'') | (Quote::Double, b'"') => {
                scan.quote = Quote::None;
                continue;
            }
            (Quote::None | Quote::Dollar, b'\\') if next.is_none() => {
                scan.open(start, scan.quote);
                scan.missing = true;
                continue;
            }
            (Quote::Dollar, b'\\') => {
                let (value, len) = escape(line.get(at..).unwrap_or_default());
                at += len;
                value
            }
            (Quote::Double, b'\\') if !matches!(next, Some(b'"' | b'\\' | b'$' | b'`')) => b'\\',
            (Quote::None | Quote::Double, b'\\') => {
                at += 1;
                next.unwrap_or(b'\\')
            }
            (quote, byte) => {
                quoted = quote != Quote::None;
                byte
            }
        };
        let quote = scan.quote;
        scan.open(start, quote);
        if let Some(word) = scan.words.last_mut() {
            word.bytes.push(Byte { value, quoted, end: at, quote });
        }
    }
    scan
}

impl Scan {
    /// Goes on with a word, or begins one.
    fn open(&mut self, start: usize, quote: Quote) {
        if !self.within {
            self.words.push(Scanned { start, bytes: Vec::new() });
        }
        self.within = true;
        self.quote = quote;
    }
}

/// What an escape within `$'…'` means, and how long it is behind its backslash.
fn escape(rest: &[u8]) -> (u8, usize) {
    let number = |from: usize, most: usize, radix: u32| {
        let digits = rest.iter().skip(from).take(most).map_while(|digit| char::from(*digit).to_digit(radix));
        digits.fold((0_u32, from), |(value, len), digit| (value * radix + digit, len + 1))
    };
    let (value, len) = match rest.first() {
        Some(b'n') => (0x0a, 1),
        Some(b't') => (0x09, 1),
        Some(b'r') => (0x0d, 1),
        Some(b'e' | b'E') => (0x1b, 1),
        Some(b'a') => (0x07, 1),
        Some(b'b') => (0x08, 1),
        Some(b'f') => (0x0c, 1),
        Some(b'v') => (0x0b, 1),
        Some(b'0'..=b'7') => number(0, 3, 8),
        Some(b'x') if rest.get(1).is_some_and(u8::is_ascii_hexdigit) => number(1, 2, 16),
        Some(b'\\' | b'\'' | b'"' | b'?') => (rest.first().copied().map_or(0, u32::from), 1),
        // As bash does: not an escape.
        _ => (u32::from(b'\\'), 0),
    };
    (u8::try_from(value & 0xff).unwrap_or_default(), len)
}

#[cfg(test)]
#[path = "words_tests.rs"]
mod tests;
