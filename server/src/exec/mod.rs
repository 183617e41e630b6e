//! Which commands an account may run, and what they run with.
//!
//! - `grant`: the `[exec]` table of an account file ([`Grant`]); `commands`, `variables`: the lists in it
//! - `plan`: from a request to what is started, or why nothing is
//! - `environment`, `account`: what the command finds around it, and whose rights it has
//! - `audit`: the log line of each command
//!
//! Whether the account has the right `exec` or `shell` at all is decided before, by `policy`.

mod account;
pub mod audit;
mod commands;
mod environment;
mod grant;
mod plan;
mod variables;

#[cfg(test)]
mod tests;

pub(crate) use account::check as check_user;
pub use grant::Grant;
pub use plan::{Plan, Who};
