//! Login: both halves side by side, and the rights that it grants.

mod fingerprint;
pub mod proof;
mod rights;
pub mod tls;

pub use fingerprint::{BadFingerprint, Fingerprint};
pub use proof::{Binding, login_failed};
pub use rights::Rights;
