//! Lists of hosts as `-H` and `-x` take them.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ft_protocol::display::Escaped;

use super::pattern::{HostPattern, is_pattern};
use crate::address::{AddressError, HostSpec};
use crate::config::ConfigError;

/// Longest `@FILE`, in bytes.
const MAX_FILE: u64 = 16 << 20;

/// `web1,anna@db[1-3]:99,@FILE`: hosts, patterns and files of such, in the order typed; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostList {
    terms: Vec<Term>,
    /// A comma was typed: these are many hosts, however few they are.
    commas: bool,
}

/// One word of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    /// A host.
    Host(HostSpec),
    /// Several.
    Pattern(HostPattern),
    /// `@FILE`: a host or a pattern a line. It is read when hosts are selected.
    File(PathBuf),
}

/// What a word of a list, or a line of its files, stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) hosts: Vec<HostSpec>,
}

impl FromStr for HostList {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let words = split(text);
        let commas = words.len() > 1;
        // A list of one host ends in a comma.
        let words = match words.split_last() {
            Some((&"", words)) if commas => words,
            _ => words.as_slice(),
        };
        let terms = words.iter().map(|word| word.trim().parse()).collect::<Result<_, _>>()?;
        Ok(Self { terms, commas })
    }
}

impl fmt::Display for HostList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.terms.iter().map(Term::to_string).collect();
        f.write_str(&words.join(","))?;
        f.write_str(if self.commas && words.len() == 1 { "," } else { "" })
    }
}

impl HostList {
    /// The one host that a plain word names; `None` for a list, a pattern or a file.
    pub fn single(&self) -> Option<&HostSpec> {
        match self.terms.as_slice() {
            [Term::Host(host)] if !self.commas => Some(host),
            _ => None,
        }
    }

    /// All words of several lists; `None` where there are none.
    pub(crate) fn joined(lists: impl IntoIterator<Item = Self>) -> Option<Self> {
        let terms: Vec<Term> = lists.into_iter().flat_map(|list| list.terms).collect();
        (!terms.is_empty()).then_some(Self { terms, commas: true })
    }

    /// The words.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// Every host that it names, as often as it does; reads its files.
    pub fn expand(&self) -> Result<Vec<HostSpec>, ConfigError> {
        Ok(self.words()?.into_iter().flat_map(|word| word.hosts).collect())
    }

    /// The same, word by word and line by line.
    pub(super) fn words(&self) -> Result<Vec<Word>, ConfigError> {
        let mut words = Vec::new();
        for term in &self.terms {
            match term {
                Term::File(path) => words.extend(read(path)?),
                term => words.push(term.word()),
            }
        }
        Ok(words)
    }
}

/// A list of this one host.
impl From<HostSpec> for HostList {
    fn from(host: HostSpec) -> Self {
        Self { terms: vec![Term::Host(host)], commas: false }
    }
}

impl FromStr for Term {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.strip_prefix('@') {
            _ if text.is_empty() => Err(AddressError("a host is missing; a comma stands between two".into())),
            Some("" | "-") => Err(AddressError("'@' is followed by the name of a file: @FILE".into())),
            Some(path) => Ok(Term::File(path.into())),
            None if is_pattern(text) => text.parse().map(Term::Pattern),
            None => text.parse().map(Term::Host),
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Term::Host(host) => host.fmt(f),
            Term::Pattern(pattern) => pattern.fmt(f),
            Term::File(path) => write!(f, "@{}", Escaped::new(path.as_os_str().as_encoded_bytes())),
        }
    }
}

impl Term {
    fn word(&self) -> Word {
        let hosts = match self {
            Term::Host(host) => vec![host.clone()],
            Term::Pattern(pattern) => pattern.expand(),
            Term::File(_) => Vec::new(),
        };
        Word { text: self.to_string(), hosts }
    }
}

/// Splits at commas outside of brackets.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0usize;
    text.split(|c| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .collect()
}

fn read(path: &Path) -> Result<Vec<Word>, ConfigError> {
    let io = |error| ConfigError::Io { path: path.to_owned(), error };
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text)).map_err(io)?;
    if read as u64 == MAX_FILE {
        return Err(io(io::Error::other("too long to be a list of hosts")));
    }
    let mut words = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let bad = |what: String| ConfigError::Syntax { path: path.to_owned(), line: index + 1, what };
        let term = match split(line).as_slice() {
            [word] => word.parse().map_err(|error: AddressError| bad(error.0))?,
            _ => return Err(bad("one host or pattern a line, without commas".into())),
        };
        match term {
            Term::File(_) => return Err(bad("a file of hosts names no other files".into())),
            term => words.push(term.word()),
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> HostList {
        text.parse().unwrap()
    }

    fn names(list: &HostList) -> Vec<String> {
        list.expand().unwrap().iter().map(HostSpec::to_string).collect()
    }

    #[test]
    fn words_are_hosts_patterns_and_files() {
        assert_eq!(
            names(&list("web[1,3],anna@db1:9,[::1]:5,::2")),
            ["web1", "web3", "anna@db1:9", "[::1]:5", "[::2]"]
        );
        assert_eq!(list("@some/file").terms(), [Term::File("some/file".into())]);
        for text in ["a", "a,", "a,b[1-2]", "@f", "u@[::1]:9,x"] {
            assert_eq!(list(text).to_string(), text);
            assert_eq!(list(&list(text).to_string()), list(text));
        }
    }

    #[test]
    fn only_a_plain_word_is_a_single_host() {
        assert_eq!(list("anna@nas:9").single().unwrap().to_string(), "anna@nas:9");
        assert_eq!(list("[::1]").single().unwrap().host, "::1");
        for text in ["a,", "a,a", "a[1]", "@f"] {
            assert_eq!(list(text).single(), None, "{text}");
        }
    }

    #[test]
    fn bad_words_are_refused() {
        for (text, says) in [
            ("", "a host is missing"),
            (",", "a host is missing"),
            ("a,,b", "a host is missing"),
            ("a,,", "a host is missing"),
            ("@", "@FILE"),
            ("@-", "@FILE"),
            ("a b", "letters, digits"),
            ("a[1-", "without its ']'"),
            ("..", "dots"),
        ] {
            let error = text.parse::<HostList>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_file_holds_a_word_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        let from = |text: &str| {
            std::fs::write(&path, text).unwrap();
            list(&format!("x,@{}", path.display())).expand()
        };
        let found = from("# all of them\n\n web[1-2] \r\nanna@db1:9 # old\n").unwrap();
        assert_eq!(
            found.iter().map(HostSpec::to_string).collect::<Vec<_>>(),
            ["x", "web1", "web2", "anna@db1:9"]
        );
        for (text, says) in
            [("a\nb c\n", ":2: bad host"), ("a,b\n", ":1: one host"), ("\n@x\n", ":2: a file of hosts")]
        {
            let error = from(text).unwrap_err().to_string();
            assert!(error.contains(&format!("{}{says}", path.display())), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        let error = list(&format!("@{}", path.display())).expand().unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
}
