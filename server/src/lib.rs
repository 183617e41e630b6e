//! The ft server.
//!
//! # Layout
//! - [`cli`], [`admin`]: the command line, and everything it does but serving
//! - [`config`]: flags, environment and file brought together
//! - [`state`], [`identity`], [`accounts`], [`invites`], [`roots`]: what is kept between runs
//! - [`logging`]: where log lines go
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod accounts;
pub mod admin;
pub mod cli;
pub mod config;
pub mod identity;
pub mod invites;
pub mod logging;
pub mod roots;
pub mod serve;
pub mod state;
mod toml_file;
