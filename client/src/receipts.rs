//! Receipts: what each run put in place, so that it can be looked at again later.
//!
//! A receipt is a file of JSON lines in `$XDG_STATE_HOME/ftclient/receipts`, mode 0600 in a directory of mode 0700,
//! named after the time and the number of its run. The first line says which run it was and where its files are;
//! then there is a line for each file, written as it concludes. Nothing of a receipt is ever removed by the client.
//!
//! # Layout
//! - `line`: the lines of the file
//! - `write`: one run writes ([`Recorder`])
//! - `read`: finding receipts and reading them ([`find`], [`Receipt`])

mod line;
mod read;
mod write;

use std::path::PathBuf;

use etcetera::BaseStrategy;

pub use read::{Receipt, ReceiptError, Recorded, find};
pub use write::{Concluded, Recorder};

/// Where receipts are kept; `None` where nothing tells.
pub fn directory() -> Option<PathBuf> {
    Some(etcetera::base_strategy::Xdg::new().ok()?.state_dir()?.join("ftclient/receipts"))
}

/// How their names end.
const SUFFIX: &str = ".jsonl";

#[cfg(test)]
mod tests;
