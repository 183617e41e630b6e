//! What the tests of whole programs are made of. No fixed ports, no sleeps: everything listens on port 0 and
//! every wait is for an event.
//!
//! # Layout
//! - [`server`]: a real server in this process, on throw-away state and root
//! - [`peer`]: a client that can send anything, and knows how to log in
//! - [`content`]: files cut into the messages of a transfer
//! - [`proxy`]: a TCP proxy that damages, cuts and stalls, and counts round trips
//! - [`hostile`]: a server that says what a script tells it to
//! - [`seed`]: random numbers that can be had again
//! - [`tree`]: directories that tests make, and what is compared of them
//! - [`tree_wire`]: trees as messages, and a sender of them that says what it is told to
//! - [`tree_lies`]: what a sender or a receiver of a tree may do wrong
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "only tests use this crate, and a panic is how a test fails"
)]

pub mod content;
pub mod hostile;
pub mod peer;
mod pin;
pub mod proxy;
pub mod seed;
pub mod server;
pub mod tree;
pub mod tree_lies;
pub mod tree_wire;
