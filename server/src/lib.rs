//! The ft server.
//!
//! # Layout
//! - [`cli`], [`admin`]: the command line, and everything it does but serving
//! - [`config`]: flags, environment and file brought together
//! - [`state`], [`identity`], [`accounts`], [`invites`], [`roots`]: what is kept between runs
//! - [`exec`]: which commands an account may run, and how; [`process`]: running them
//! - [`logging`]: where log lines go
//! - [`serve`]: from options to a running server; [`server`]: what its sessions share
//! - [`listener`] → `admission`, `tls` → `session` → `login` → `policy` → `verbs`: the way of a request
//! - [`process`]: how a command runs, and how nothing of it stays behind
//!
//! ```no_run
//! # async fn example(options: ftserver::config::ServeOptions) -> Result<(), Box<dyn std::error::Error>> {
//! use tokio_util::sync::CancellationToken;
//! let server = ftserver::server::Server::new(&options)?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let stop = CancellationToken::new();
//! tokio::spawn(ftserver::listener::serve(listener, server, stop.clone(), CancellationToken::new()));
//! # Ok(()) }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod accounts;
pub mod admin;
mod admission;
pub mod cli;
pub mod config;
mod digests;
pub mod exec;
mod hashers;
pub mod identity;
pub mod invites;
pub mod listener;
pub mod logging;
mod login;
mod memory;
mod penalties;
mod policy;
pub mod process;
mod registry;
pub mod roots;
pub mod serve;
pub mod server;
mod session;
pub mod state;
mod tls;
mod toml_file;
mod verbs;
