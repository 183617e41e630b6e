//! Login: both halves side by side, and the rights that it grants.

mod fingerprint;
mod join;
pub mod proof;
mod rights;
pub mod tls;
mod user_name;

pub use fingerprint::{BadFingerprint, Fingerprint};
pub use join::{JoinError, JoinString};
pub use proof::{Binding, login_failed};
pub use rights::Rights;
pub use user_name::{BadUserName, MAX_USER_NAME, check_user_name};
