//! Login: both halves side by side, and the rights that it grants.

mod rights;

pub use rights::Rights;
