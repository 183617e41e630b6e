//! The one way in which bytes from a peer or a file system reach a terminal or a log.

use std::fmt::{self, Write as _};

/// Shows bytes on one line: valid UTF-8 as it is, everything that could move a cursor, start an escape
/// sequence, break a line or turn the writing direction as `\xNN` or `\u{NNNN}`.
///
/// ```
/// use ft_protocol::display::Escaped;
/// assert_eq!(Escaped::new(b"a\x1b[2J\xffb").to_string(), r"a\x1b[2J\xffb");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(&'a [u8]);

/// The beginning of what [`Escaped`] shows, and how long all of it is.
#[derive(Debug, Clone, Copy)]
pub struct Brief<'a>(Escaped<'a>);

/// Most bytes that [`Brief`] shows.
const BRIEF: usize = 1024;

impl<'a> Escaped<'a> {
    /// Wraps bytes for display.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// For what a peer may make as long as it likes: at most 1024 bytes are shown, so that one request cannot fill a
    /// log.
    pub fn brief(self) -> Brief<'a> {
        Brief(self)
    }
}

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Escaped(bytes) = self.0;
        match bytes.get(..BRIEF) {
            Some(start) if bytes.len() > BRIEF => {
                write!(f, "{} … ({} bytes in all)", Escaped(start), bytes.len())
            }
            _ => self.0.fmt(f),
        }
    }
}

impl<'a> From<&'a str> for Escaped<'a> {
    fn from(text: &'a str) -> Self {
        Self(text.as_bytes())
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if !is_unsafe(c) {
                    f.write_char(c)?;
                } else if (c as u32) < 0x80 {
                    write!(f, "\\x{:02x}", c as u32)?;
                } else {
                    write!(f, "\\u{{{:x}}}", c as u32)?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// C0, DEL, C1, line and paragraph separators, and the bidirectional controls (Unicode TR 36).
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_stays_one_line() {
        let hostile = "a\nb\r\u{9b}31m\u{202e}gpj.exe\u{2028}\u{7f}".as_bytes();
        let shown = Escaped::new(hostile).to_string();
        assert!(!shown.chars().any(is_unsafe), "{shown:?}");
        assert_eq!(shown, r"a\x0ab\x0d\u{9b}31m\u{202e}gpj.exe\u{2028}\x7f");
    }

    #[test]
    fn what_is_very_long_is_cut_and_says_so() {
        let brief = |length| Escaped::new(&vec![b'\n'; length]).brief().to_string();
        assert_eq!(brief(1024), r"\x0a".repeat(1024));
        assert_eq!(brief(1025), format!("{} … (1025 bytes in all)", r"\x0a".repeat(1024)));
    }

    #[test]
    fn ordinary_names_are_untouched() {
        assert_eq!(Escaped::new("Übung \\ 日本.iso".as_bytes()).to_string(), "Übung \\ 日本.iso");
    }
}
