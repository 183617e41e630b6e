//! The ft protocol: framing, messages, handshake, digests and verified transfer.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!("ft runs on Linux on x86_64 and aarch64");

pub mod auth;
pub mod digest;
pub mod display;
pub mod error;
pub mod exec;
pub mod exit;
pub mod fs;
pub mod glob;
pub mod path;
pub mod transfer;
pub mod tree;
pub mod wire;

pub use error::{Error, Failure, Result, Status};
pub use path::RemotePath;
