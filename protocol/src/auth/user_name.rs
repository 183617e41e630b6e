//! The one rule for names of users.

use crate::display::Escaped;

/// Longest name of a user in bytes.
pub const MAX_USER_NAME: usize = 64;

/// The text cannot be the name of a user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "bad user name '{}': use 1 to 64 of a-z, 0-9, '.', '_' and '-', not starting with '.' or '-'",
    Escaped::from(.0.as_str())
)]
pub struct BadUserName(String);

/// Checks the name of a user: 1 to 64 of `[a-z0-9._-]`, not starting with `.` or `-`, so that it is safe as
/// a file name, as an argument and on a terminal.
pub fn check_user_name(name: &str) -> Result<(), BadUserName> {
    let plain = name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'));
    if plain && (1..=MAX_USER_NAME).contains(&name.len()) && !name.starts_with(['.', '-']) {
        return Ok(());
    }
    Err(BadUserName(name.chars().take(80).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_safe_as_file_and_argument() {
        for good in ["a", "backup-01", "x.y_z", &"a".repeat(64)] {
            assert!(check_user_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", ".a", "-a", "A", "a/b", "a b", "a\n", "ü", "a\0", &"a".repeat(65)] {
            assert!(check_user_name(bad).is_err(), "{bad:?}");
        }
    }
}
