//! Many hosts: how they are written, grouped and selected.
//!
//! # Layout
//! - `pattern`: `web[01-20]`, and `fold`, the way back
//! - `list`: what `-H` and `-x` take
//! - `groups`: `[groups.NAME]` of the configuration
//! - `select`: which hosts a command line means
//! - `lookup`: whether a name that the configuration does not know is one of DNS
//! - `nearest`: what somebody who mistyped a name may have meant
//! - `ini` and `import`: the older form of an inventory

mod fold;
pub(crate) mod groups;
pub(crate) mod import;
mod ini;
mod list;
mod lookup;
mod nearest;
mod pattern;
mod select;

pub use fold::fold;
pub(crate) use fold::folded;
pub use list::{HostList, Term};
pub use lookup::check_name;
pub(crate) use nearest::did_you_mean;
pub use nearest::{nearest, nearest_hosts};
pub use pattern::{HostPattern, MAX_HOSTS};
pub(crate) use select::chosen;
pub use select::{Selected, Selection, select};
