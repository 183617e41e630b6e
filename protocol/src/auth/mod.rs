//! Login: both halves side by side, and the rights that it grants.

mod fingerprint;
mod rights;

pub use fingerprint::Fingerprint;
pub use rights::Rights;
