//! Bytes to messages and back: [`frame`] is the size header, [`message`] what it carries, [`connection`]
//! sends and receives with limits and deadlines, [`buffer`] holds blocks,
//! [`activity`] tells progress from mere life,
//! [`read_ahead`] buffers what TLS reads.

pub mod activity;
pub mod buffer;
pub mod connection;
pub mod frame;
pub mod message;
pub mod read_ahead;

pub use activity::Activity;
pub use buffer::{Block, Quota};
pub use connection::{Connection, Receiver, Sender};
pub use frame::{BLOCK_LEN, Kind};
pub use message::Message;
pub use read_ahead::ReadAhead;
