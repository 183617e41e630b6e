//! What an account may do.

use std::fmt;
use std::str::FromStr;

/// A set of rights. Everything is denied unless it is in the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Rights(u32);

const NAMES: [(&str, Rights); 6] = [
    ("read", Rights::READ),
    ("create", Rights::CREATE),
    ("overwrite", Rights::OVERWRITE),
    ("delete", Rights::DELETE),
    ("exec", Rights::EXEC),
    ("shell", Rights::SHELL),
];

impl Rights {
    /// No right at all.
    pub const NONE: Rights = Rights(0);
    /// Read files, list directories.
    pub const READ: Rights = Rights(1);
    /// Make files and directories that did not exist.
    pub const CREATE: Rights = Rights(2);
    /// Replace files; change mode or time of what exists.
    pub const OVERWRITE: Rights = Rights(4);
    /// Remove files and directories.
    pub const DELETE: Rights = Rights(8);
    /// Run programs.
    pub const EXEC: Rights = Rights(16);
    /// Run shell command lines.
    pub const SHELL: Rights = Rights(32);
    /// `create` and `overwrite`.
    pub const WRITE: Rights = Rights(2 | 4);

    /// The set with these bits; bits without a meaning are dropped.
    pub const fn from_bits(bits: u32) -> Self {
        Rights(bits & 63)
    }

    /// The bits, as WELCOME carries them.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Both sets together.
    pub const fn union(self, other: Rights) -> Rights {
        Rights(self.0 | other.0)
    }

    /// True where every right of `other` is in this set.
    pub const fn contains(self, other: Rights) -> bool {
        self.0 & other.0 == other.0
    }

    /// True where at least one right of `other` is in this set.
    pub const fn intersects(self, other: Rights) -> bool {
        self.0 & other.0 != 0
    }

    /// Names of the single rights in this set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().filter(move |(_, right)| self.contains(*right)).map(|(name, _)| name)
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Rights::NONE {
            return f.write_str("none");
        }
        f.write_str(&self.names().collect::<Vec<_>>().join(","))
    }
}

/// A comma-separated list of `read,create,overwrite,delete,exec,shell`; `write` = create + overwrite.
impl FromStr for Rights {
    type Err = String;

    fn from_str(list: &str) -> Result<Self, String> {
        let mut rights = Rights::NONE;
        for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let right = match name {
                "write" => Rights::WRITE,
                _ => NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, right)| right).ok_or_else(
                    || format!("unknown right '{name}' (known: read, create, overwrite, write, delete, exec, shell)"),
                )?,
            };
            rights = rights.union(right);
        }
        Ok(rights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_round_trip() {
        let rights: Rights = "read, write".parse().unwrap();
        assert_eq!(rights.to_string(), "read,create,overwrite");
        assert_eq!(rights.to_string().parse::<Rights>().unwrap(), rights);
        assert!(!rights.contains(Rights::DELETE));
        assert!("read,admin".parse::<Rights>().is_err());
    }
}
