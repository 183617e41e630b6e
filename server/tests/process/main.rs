//! Commands under their supervisor: real processes, looked at from outside.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod end;
mod inner;
mod limits;
mod start;
mod support;
mod terminal;
