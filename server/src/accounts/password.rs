//! Passwords: argon2id (RFC 9106), at one cost for everyone.

use std::fmt;

use argon2::password_hash::{self, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Longest password in bytes; longer ones would be a way to burn the server's time.
pub const MAX_PASSWORD: usize = 1024;

/// Memory in KiB, passes and lanes: the smallest that OWASP's password storage cheat sheet recommends.
const COST: (u32, u32, u32) = (19 * 1024, 2, 1);
/// Length of the hash in bytes.
const LENGTH: usize = 32;

/// What is verified where there is no password, so that this costs the same time. Nothing is done with the
/// outcome.
const DUMMY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGlzIGhlcmU$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Why there is no hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPassword {
    /// Nothing in it.
    #[error("the password is empty: give one of 1 to 1024 bytes")]
    Empty,
    /// Longer than [`MAX_PASSWORD`].
    #[error("the password is longer than 1024 bytes: give a shorter one")]
    TooLong,
    /// No random numbers, or no memory.
    #[error("the password could not be hashed: {0}")]
    Failed(String),
}

/// A hashed password in PHC string format: `$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH`.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct PasswordHash(String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

impl TryFrom<String> for PasswordHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        // Another cost would tell by its time whether an account exists, or eat the server's memory.
        if is_ours(&text) {
            return Ok(Self(text));
        }
        Err("not an argon2id hash of the cost that is used here: set it with `ftserver user passwd NAME`")
    }
}

impl From<PasswordHash> for String {
    fn from(hash: PasswordHash) -> Self {
        hash.0
    }
}

fn is_ours(text: &str) -> bool {
    let Ok(hash) = password_hash::PasswordHash::new(text) else { return false };
    let Ok(params) = Params::try_from(&hash) else { return false };
    hash.algorithm == Algorithm::Argon2id.ident()
        && hash.version == Some(Version::V0x13.into())
        && (params.m_cost(), params.t_cost(), params.p_cost()) == COST
        && hash.salt.is_some()
        && hash.hash.is_some_and(|output| output.len() == LENGTH)
}

fn hasher() -> Result<Argon2<'static>, password_hash::Error> {
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, Some(LENGTH))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Hashes a password of 1 to [`MAX_PASSWORD`] bytes with a fresh salt. Takes 19 MiB for some 20 ms.
pub fn hash_password(password: &[u8]) -> Result<PasswordHash, BadPassword> {
    match password.len() {
        0 => return Err(BadPassword::Empty),
        1..=MAX_PASSWORD => {}
        _ => return Err(BadPassword::TooLong),
    }
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|e| BadPassword::Failed(e.to_string()))?;
    SaltString::encode_b64(&salt)
        .and_then(|salt| Ok(hasher()?.hash_password(password, &salt)?.to_string()))
        .map(PasswordHash)
        .map_err(|e| BadPassword::Failed(e.to_string()))
}

/// True where `password` is the one that was hashed. Without a hash, or with a password that none can have,
/// the same work is done and the answer is false. Takes 19 MiB for some 20 ms.
pub fn verify_password(hash: Option<&PasswordHash>, password: &[u8]) -> bool {
    let possible = (1..=MAX_PASSWORD).contains(&password.len());
    let tried = Zeroizing::new(if possible { password.to_vec() } else { b"-".to_vec() });
    let text = hash.map_or(DUMMY, |hash| hash.0.as_str());
    let fits = password_hash::PasswordHash::new(text)
        .and_then(|known| hasher()?.verify_password(&tried, &known))
        .is_ok();
    fits && possible && hash.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_fits() {
        let hash = hash_password(b"correct horse").unwrap();
        assert!(verify_password(Some(&hash), b"correct horse"));
        for wrong in [&b"correct horsE"[..], b"correct horse\n", b"", b"-", &[b'x'; 1025]] {
            assert!(!verify_password(Some(&hash), wrong));
        }
        assert_ne!(hash, hash_password(b"correct horse").unwrap(), "the salt is fresh");
    }

    #[test]
    fn without_a_password_nothing_fits_at_equal_cost() {
        assert!(is_ours(DUMMY), "the dummy must cost what a hash costs");
        assert!(!verify_password(None, b"anything"));
    }

    #[test]
    fn a_password_has_1_to_1024_bytes() {
        assert_eq!(hash_password(b""), Err(BadPassword::Empty));
        assert_eq!(hash_password(&[b'x'; 1025]), Err(BadPassword::TooLong));
        assert!(verify_password(Some(&hash_password(&[b'x'; 1024]).unwrap()), &[b'x'; 1024]));
    }

    #[test]
    fn a_hash_of_another_cost_is_refused() {
        let good = hash_password(b"x").unwrap().0;
        assert!(PasswordHash::try_from(good.clone()).is_ok());
        for (from, to) in [("m=19456", "m=8"), ("t=2", "t=1"), ("argon2id", "argon2i"), ("v=19", "v=16")] {
            assert!(PasswordHash::try_from(good.replace(from, to)).is_err(), "{to}");
        }
        assert!(PasswordHash::try_from("secret".to_owned()).is_err());
    }

    #[test]
    fn debug_shows_no_hash() {
        assert_eq!(format!("{:?}", hash_password(b"x").unwrap()), "PasswordHash(…)");
    }
}
