//! Bytes to messages and back: [`frame`] is the size header, [`message`] what it carries, [`connection`]
//! receives with limits and deadlines, [`sender`] sends, [`buffer`] holds blocks,
//! [`activity`] tells progress from mere life,
//! [`read_ahead`] buffers what TLS reads.

pub mod activity;
pub mod buffer;
pub mod connection;
mod end;
pub mod frame;
pub mod message;
mod messages;
pub mod read_ahead;
pub mod sender;

pub use activity::Activity;
pub use buffer::{Block, Quota};
pub use connection::{Connection, Receiver};
pub use frame::{BLOCK_LEN, Kind};
pub use message::Message;
pub use read_ahead::ReadAhead;
pub use sender::Sender;
