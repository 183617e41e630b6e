//! TOML read strictly: what cannot be understood is an error with file and line, and nothing is guessed.

use std::ops::Range;
use std::path::{Path, PathBuf};

use ft_protocol::auth::Rights;
use ft_protocol::display::Escaped;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::state::shown;

/// A file that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {}", shown(.path), Escaped::from(.message.as_str()))]
pub struct Malformed {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

/// Reads `text`, which `path` holds. Unknown keys are errors where `T` denies them. An error in a list names
/// the line where the list begins.
pub(crate) fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, Malformed> {
    toml::from_str(text)
        .map_err(|error| Malformed::at(path, text, error.span().unwrap_or_default(), error.message()))
}

impl Malformed {
    /// An error about these bytes of `text`, which `path` holds.
    pub(crate) fn at(path: &Path, text: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        let before = text.as_bytes().get(..span.start).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

/// A path that begins at `/`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "PathBuf", into = "PathBuf")]
pub(crate) struct AbsolutePath(pub(crate) PathBuf);

impl TryFrom<PathBuf> for AbsolutePath {
    type Error = String;

    fn try_from(path: PathBuf) -> Result<Self, String> {
        if path.is_absolute() { Ok(Self(path)) } else { Err(format!("'{}' is not absolute", shown(&path))) }
    }
}

impl From<AbsolutePath> for PathBuf {
    fn from(path: AbsolutePath) -> Self {
        path.0
    }
}

/// Rights as a list of their names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Vec<String>", into = "Vec<&'static str>")]
pub(crate) struct RightNames(pub(crate) Rights);

impl TryFrom<Vec<String>> for RightNames {
    type Error = String;

    fn try_from(names: Vec<String>) -> Result<Self, String> {
        names.iter().try_fold(Rights::NONE, |rights, name| Ok(rights.union(name.parse()?))).map(Self)
    }
}

impl From<RightNames> for Vec<&'static str> {
    fn from(rights: RightNames) -> Self {
        rights.0.names().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[allow(dead_code, reason = "only its parsing matters")]
        allow: RightNames,
        #[allow(dead_code, reason = "only its parsing matters")]
        root: Option<AbsolutePath>,
    }

    #[test]
    fn an_error_names_its_line() {
        let cases = [
            ("allow = []\nextra = 1\n", 2, "extra"),
            ("\nallow = [\n  'read',\n  'admin',\n]\n", 2, "unknown right 'admin'"),
            ("allow = []\n\nroot = 'srv'", 3, "not absolute"),
            ("allow = []\nroot = '/a'\nroot = '/b'", 3, "duplicate"),
            ("root = '/a'", 1, "allow"),
        ];
        for (text, line, message) in cases {
            let error = parse::<Sample>(Path::new("/x/a.toml"), text).unwrap_err();
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(error.to_string().starts_with(&format!("/x/a.toml:{line}: ")), "{error}");
            assert!(error.message.contains(message), "{error}");
        }
    }
}
