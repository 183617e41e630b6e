//! Login: both halves side by side, and the rights that it grants.

mod fingerprint;
mod join;
mod rights;
mod user_name;

pub use fingerprint::{BadFingerprint, Fingerprint};
pub use join::{JoinError, JoinString};
pub use rights::Rights;
pub use user_name::{BadUserName, MAX_USER_NAME, check_user_name};
