//! Local names in a line of the shell: the home directory, patterns.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::words::Word;
use crate::address::RemoteOperand;
use crate::glob::{self, GlobComponent, Pattern};

/// The path that a word means; `~` and `~/…` are the home directory.
pub(crate) fn path(word: &Word) -> PathBuf {
    if word.tilde { at_home(&word.plain) } else { PathBuf::from(&word.plain) }
}

/// `~` and `~/…` beneath the home directory, anything else as it is.
pub(crate) fn at_home(plain: &OsStr) -> PathBuf {
    let rest = match plain.as_bytes() {
        [b'~'] => Some(&b""[..]),
        [b'~', b'/', rest @ ..] => Some(rest),
        _ => None,
    };
    match (rest, home()) {
        (Some(rest), Some(home)) => home.join(OsStr::from_bytes(rest)),
        _ => PathBuf::from(plain),
    }
}

/// The user's home directory.
pub(crate) fn home() -> Option<PathBuf> {
    use etcetera::BaseStrategy;
    etcetera::base_strategy::Xdg::new().ok().map(|base| base.home_dir().to_owned())
}

/// The paths that a word means where it is a pattern, in the order of their bytes. As in sh(1), a pattern without a
/// match means itself, and so does a file of that very name.
pub(crate) fn expand(word: &Word) -> Vec<OsString> {
    let path = path(word).into_os_string();
    let pattern = if word.tilde { path.as_bytes() } else { &word.pattern };
    let parts = pattern.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
    // What is no pattern, or a bad one, is a name.
    let Ok(steps) = parts.map(step).collect::<Result<Vec<_>, _>>() else { return vec![path] };
    let is_pattern = steps.iter().any(|step| matches!(step, Step::Pattern(_)));
    if !is_pattern || Path::new(&path).symlink_metadata().is_ok() {
        return vec![path];
    }
    let start = if pattern.first() == Some(&b'/') { "/" } else { "" };
    let mut found = vec![PathBuf::from(start)];
    for step in &steps {
        found = found.iter().flat_map(|dir| step.from(dir)).collect();
    }
    if found.is_empty() { vec![path] } else { found.into_iter().map(PathBuf::into_os_string).collect() }
}

/// One component of a local path.
enum Step {
    Name(Vec<u8>),
    Pattern(Pattern),
}

fn step(part: &[u8]) -> Result<Step, ft_protocol::Error> {
    if part == b"." || part == b".." {
        return Ok(Step::Name(part.to_vec()));
    }
    Ok(match glob::parse(part)? {
        RemoteOperand::Path(path) => Step::Name(path.as_bytes().to_vec()),
        RemoteOperand::Glob(components) => match components.into_iter().next() {
            Some(GlobComponent::Pattern(pattern)) => Step::Pattern(pattern),
            _ => Step::Name(part.to_vec()),
        },
    })
}

impl Step {
    fn from(&self, dir: &Path) -> Vec<PathBuf> {
        match self {
            Step::Name(name) => {
                let path = dir.join(OsStr::from_bytes(name));
                if path.symlink_metadata().is_ok() { vec![path] } else { Vec::new() }
            }
            Step::Pattern(pattern) => {
                let names = entries(dir).into_iter().map(|(name, _)| name);
                let names = names.filter(|name| pattern.matches(name));
                names.map(|name| dir.join(OsString::from_vec(name))).collect()
            }
        }
    }
}

/// The names in a directory, in the order of their bytes, and whether each is a directory; nothing where it cannot be
/// read.
pub(crate) fn entries(dir: &Path) -> Vec<(Vec<u8>, bool)> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let mut entries: Vec<_> =
        entries.map(|entry| (entry.file_name().into_vec(), entry.path().is_dir())).collect();
    entries.sort();
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::words::split;

    #[test]
    fn patterns_of_local_names_match_as_in_a_shell() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.txt", "a.txt", ".hidden.txt", "c[1]", "sub/d.txt", "sub/e.bin"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let root = dir.path().to_str().unwrap();
        let expanded = |pattern: &str| -> Vec<String> {
            let words = split(format!("{root}/{pattern}").as_bytes()).unwrap();
            let found = expand(&words[0]).into_iter().map(|path| path.into_string().unwrap());
            found.map(|path| path.strip_prefix(&format!("{root}/")).unwrap().to_owned()).collect()
        };
        assert_eq!(expanded("*.txt"), ["a.txt", "b.txt"]);
        assert_eq!(expanded("*/*.txt"), ["sub/d.txt"]);
        assert_eq!(expanded("sub/../?.txt"), ["sub/../a.txt", "sub/../b.txt"]);
        assert_eq!(expanded("c[1]"), ["c[1]"], "a file of that very name");
        assert_eq!(expanded("'*.txt'"), ["*.txt"], "quoted");
        assert_eq!(expanded("*.zip"), ["*.zip"], "no match");
    }
}
