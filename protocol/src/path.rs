//! [`RemotePath`]: only a safe relative path can exist.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use crate::display::Escaped;
use crate::error::{Error, Result, Status};

/// Longest path on the wire in bytes, separators included (PATH_MAX of Linux).
pub const MAX_PATH: usize = 4096;
/// Longest component in bytes (NAME_MAX of Linux).
pub const MAX_NAME: usize = 255;
/// Most components of a path.
pub const MAX_DEPTH: usize = 1024;
/// First bytes of every staging name.
pub const STAGING_PREFIX: &[u8] = b".ft-";
/// Length of the base32 part of a staging name: 128 bits.
const STAGING_DIGITS: usize = 26;

/// A path beneath an account's root: zero or more components, none of them empty, `.`, `..`, longer than
/// 255 bytes, or holding `/` or NUL; none of them a staging name. The root itself has zero components.
///
/// Nothing is repaired: bytes that do not meet these rules are refused, so a value of this type needs no
/// further check before it is opened beneath a directory handle.
#[derive(Clone, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct RemotePath(Vec<u8>);

impl RemotePath {
    /// The root of the account.
    pub fn root() -> Self {
        Self::default()
    }

    /// Parses the wire form: components joined by single `/`, no leading or trailing one; empty = root.
    pub fn from_wire(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MAX_PATH {
            return Err(refused("path longer than 4096 bytes", bytes));
        }
        if bytes.is_empty() {
            return Ok(Self::root());
        }
        let mut depth = 0;
        for name in bytes.split(|b| *b == b'/') {
            check_name(name)?;
            depth += 1;
        }
        if depth > MAX_DEPTH {
            return Err(refused("path deeper than 1024 components", bytes));
        }
        Ok(Self(bytes.to_vec()))
    }

    /// Parses what a person typed: leading, trailing and repeated `/` and `.` components are dropped,
    /// everything else as [`RemotePath::from_wire`].
    pub fn from_typed(bytes: &[u8]) -> Result<Self> {
        let parts: Vec<&[u8]> =
            bytes.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
        Self::from_wire(&parts.join(&b'/'))
    }

    /// The wire form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path for `*at()` calls on a directory handle; the root is `.`.
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(if self.0.is_empty() { b"." } else { &self.0 })
    }

    /// True for the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The components, outermost first.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|name| !name.is_empty())
    }

    /// Parent and last component; `None` for the root.
    pub fn split_last(&self) -> Option<(RemotePath, &[u8])> {
        if self.is_root() {
            return None;
        }
        match self.0.iter().rposition(|b| *b == b'/') {
            Some(at) => Some((Self(self.0.get(..at)?.to_vec()), self.0.get(at + 1..)?)),
            None => Some((Self::root(), &self.0)),
        }
    }

    /// Last component; `None` for the root.
    pub fn file_name(&self) -> Option<&[u8]> {
        self.components().last()
    }

    /// True where `above` is this path, or a directory above it.
    pub fn starts_with(&self, above: &RemotePath) -> bool {
        let rest = self.0.strip_prefix(above.0.as_slice());
        above.is_root() || rest.is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
    }

    /// What is left of this path beneath `above`; `None` where it is not beneath it.
    pub fn beneath(&self, above: &RemotePath) -> Option<RemotePath> {
        if !self.starts_with(above) {
            return None;
        }
        let rest = self.0.get(above.0.len()..)?;
        Some(Self(rest.strip_prefix(b"/").unwrap_or(rest).to_vec()))
    }

    /// This path with one more component.
    pub fn join(&self, name: &[u8]) -> Result<Self> {
        check_name(name)?;
        let mut bytes = self.0.clone();
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        Self::from_wire(&bytes)
    }

    /// The other path beneath this one: what [`RemotePath::beneath`] takes off. Error: [`Status::Invalid`] where both
    /// together are too long or too deep.
    pub fn join_path(&self, other: &RemotePath) -> Result<Self> {
        if self.is_root() || other.is_root() {
            return Ok(if self.is_root() { other } else { self }.clone());
        }
        Self::from_wire(&[self.as_bytes(), other.as_bytes()].join(&b'/'))
    }
}

impl fmt::Display for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str("/");
        }
        Escaped::new(&self.0).fmt(f)
    }
}

impl fmt::Debug for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemotePath({self})")
    }
}

/// Checks one component against the rules of [`RemotePath`].
pub fn check_name(name: &[u8]) -> Result<()> {
    let what = match name {
        [] => "empty name",
        b"." | b".." => "'.' and '..' are not allowed",
        _ if name.len() > MAX_NAME => "name longer than 255 bytes",
        _ if name.contains(&0) => "name holds a NUL byte",
        _ if name.contains(&b'/') => "name holds a '/'",
        _ if is_staging_name(name) => "names of the form .ft-<26 characters> are reserved",
        _ => return Ok(()),
    };
    Err(refused(what, name))
}

/// True for names that staging files have: `.ft-` and 26 characters of lower-case base32.
pub fn is_staging_name(name: &[u8]) -> bool {
    name.strip_prefix(STAGING_PREFIX).is_some_and(|digits| {
        digits.len() == STAGING_DIGITS && digits.iter().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'))
    })
}

/// The staging name made of 128 bits.
pub fn staging_name(bits: [u8; 16]) -> String {
    let mut name = String::from_utf8_lossy(STAGING_PREFIX).into_owned();
    name.push_str(&data_encoding::BASE32_NOPAD.encode(&bits).to_ascii_lowercase());
    name
}

fn refused(what: &str, bytes: &[u8]) -> Error {
    let shown = bytes.get(..64).unwrap_or(bytes);
    let more = if shown.len() < bytes.len() { "…" } else { "" };
    Error::local(Status::Invalid, format!("bad path '{}{more}': {what}", Escaped::new(shown)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_paths_are_refused_not_repaired() {
        let long = [b'a'; 256];
        let deep = vec![b"a".as_slice(); 1025].join(&b'/');
        let staging = staging_name([7; 16]).into_bytes();
        let cases: [&[u8]; 16] = [
            b"..", b".", b"/", b"//", b"/a", b"a/", b"a//b", b"a/./b", b"a/../b", b"../a", b"a/..", b"\0",
            b"a\0b", &long, &deep, &staging,
        ];
        for bytes in cases {
            let error = RemotePath::from_wire(bytes).unwrap_err();
            assert_eq!(error.status(), Status::Invalid, "{}", Escaped::new(bytes));
        }
    }

    #[test]
    fn a_typed_path_is_tidied_but_never_climbs() {
        for (typed, wire) in [("/a//b/", "a/b"), ("./a/./b", "a/b"), ("/", ""), ("", ""), (".", "")] {
            assert_eq!(RemotePath::from_typed(typed.as_bytes()).unwrap().as_bytes(), wire.as_bytes());
        }
        assert!(RemotePath::from_typed(b"a/../b").is_err());
    }

    #[test]
    fn a_path_lies_beneath_whole_components_only() {
        let path = |path: &str| RemotePath::from_wire(path.as_bytes()).unwrap();
        assert!(path("a/b").starts_with(&path("a")) && path("a").starts_with(&path("a")));
        assert!(path("a").starts_with(&path("")) && !path("ab").starts_with(&path("a")));
        assert!(!path("a").starts_with(&path("a/b")));
    }

    #[test]
    fn a_path_beneath_another_comes_off_it_again() {
        let path = |path: &str| RemotePath::from_wire(path.as_bytes()).unwrap();
        for (above, below, joined) in
            [("a/b", "c/d", "a/b/c/d"), ("", "c", "c"), ("a", "", "a"), ("", "", "")]
        {
            assert_eq!(path(above).join_path(&path(below)).unwrap(), path(joined));
            assert_eq!(path(joined).beneath(&path(above)).unwrap(), path(below));
        }
        let (long, deep) = (path(&vec!["a".repeat(255); 16].join("/")), path(&vec!["a"; 1024].join("/")));
        for (above, below) in [(&long, "a"), (&deep, "a")] {
            assert_eq!(above.join_path(&path(below)).unwrap_err().status(), Status::Invalid);
        }
        assert_eq!(path("ab/c").beneath(&path("a")), None);
    }

    #[test]
    fn only_exact_staging_names_are_reserved() {
        assert!(is_staging_name(staging_name([0xff; 16]).as_bytes()));
        assert!(!is_staging_name(b".ft-notes"));
        assert!(RemotePath::from_wire(b".ft-notes").is_ok());
    }

    proptest! {
        #[test]
        fn whatever_parses_stays_beneath_its_root(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(path) = RemotePath::from_wire(&bytes) {
                prop_assert_eq!(path.as_bytes(), &bytes[..]);
                for name in path.components() {
                    prop_assert!(name != b"." && name != b".." && !name.is_empty() && !name.contains(&0));
                }
                prop_assert!(!path.as_bytes().starts_with(b"/"));
            }
        }
    }
}
