//! The client of ft: verified, encrypted, resumable file transfer.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod address;
pub mod cli;
pub mod client;
pub mod commands;
pub mod config;
pub mod config_edit;
pub mod credentials;
pub mod endpoint;
pub mod exit;
mod files;
pub mod glob;
pub mod inventory;
pub mod known_hosts;
pub mod output;
pub mod progress;
pub mod receipts;
pub mod retry;
mod shell;
#[cfg(test)]
mod testing;
mod tty;
pub mod words;

pub use client::{CheckOptions, Client, ClientError, TransferOptions, TreeOptions};
