//! Commands and what becomes of them.

mod spec;

pub use spec::{Ended, Io, ProcessLimits, RunAs, Spec};
