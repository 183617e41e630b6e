//! The size header: the one rule on which everything rests.
//!
//! TCP is a byte stream, so two messages can arrive glued together or cut anywhere. Every message is
//! therefore preceded by its size and its kind, and nothing is read past it:
//!
//! ```text
//! +------------------+----------+---------------------+----------------+
//! | body length, u32 | kind, u8 | operation, u32      | body           |
//! +------------------+----------+---------------------+----------------+
//!   big endian                    big endian, 0 = the session itself
//! ```

use bytes::{BufMut, BytesMut};

use crate::error::{Error, Result};

/// Bytes of the size header.
pub const HEADER_LEN: usize = 9;
/// Bytes of one block of file content, and the largest DATA body.
pub const BLOCK_LEN: usize = 1 << 20;
/// Largest body of a control message after login.
pub const CONTROL_CAP: u32 = 16 * 1024;
/// Largest body of any message before login.
pub const LOGIN_CAP: u32 = 8 * 1024;
/// Largest HAVE body: 2,048 SHA-256 digests.
pub const HAVE_CAP: u32 = 64 * 1024;
/// Largest EXEC body: the arguments of a command.
pub const EXEC_CAP: u32 = 256 * 1024;
/// Largest STDIN, STDOUT, STDERR and NAMES body.
pub const STREAM_CAP: u32 = 64 * 1024;
/// Largest TREE_GET and TREE_PUT body: the patterns of a tree.
pub const TREE_CAP: u32 = 256 * 1024;

/// First bytes on every connection, in both directions: a magic and the version, big endian.
pub const PREFACE_MAGIC: [u8; 6] = *b"ft\r\n\x1a\n";
/// Bytes of the preface.
pub const PREFACE_LEN: usize = 8;
/// The protocol version that this crate speaks.
pub const VERSION: u16 = 1;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        /// Kind of a message.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Kind { $($(#[$doc])* $name = $code,)* }

        impl Kind {
            /// Every kind, in the order of its number.
            pub const ALL: &'static [Kind] = &[$(Kind::$name,)*];

            /// The kind with this number; an unknown one is fatal.
            pub fn from_wire(code: u8) -> Result<Self> {
                match code {
                    $($code => Ok(Kind::$name),)*
                    _ => Err(Error::protocol(format!("unknown message kind {code}"))),
                }
            }

            /// Name of its message in ft.proto.
            pub fn name(self) -> &'static str {
                match self { $(Kind::$name => stringify!($name),)* }
            }
        }
    };
}

kinds! {
    /// First message of each side.
    Hello = 1;
    /// Login by ssh ed25519 key.
    AuthKey = 2;
    /// Login by password.
    AuthPassword = 3;
    /// Enrolment of a key by a one-time secret.
    AuthInvite = 4;
    /// Login accepted.
    Welcome = 5;
    /// Sign of life; empty.
    Alive = 6;
    /// The one end of an operation, from each side.
    End = 7;
    /// Asks the other side to end the operation; empty.
    Cancel = 8;

    /// Request: send a file.
    Get = 16;
    /// Request: receive a file.
    Put = 17;
    /// Request: entries of a directory.
    List = 18;
    /// Request: metadata of one name.
    Stat = 19;
    /// Request: digest of a file.
    Sum = 20;
    /// Request: make a directory.
    MakeDir = 21;
    /// Request: remove a file or directory.
    Remove = 22;
    /// Request: rename.
    Rename = 23;
    /// Request: run a command.
    Exec = 24;
    /// Request: send a directory with all that is in it.
    TreeGet = 25;
    /// Request: receive a directory with all that is in it.
    TreePut = 26;

    /// One directory entry, or the answer to STAT.
    Entry = 32;
    /// Answer to SUM.
    Digest = 33;
    /// The command of EXEC runs; empty.
    Started = 34;
    /// How the command of EXEC ended.
    Exit = 35;

    /// Metadata of a file that is to be sent.
    File = 48;
    /// The receiver wants the file, and says what it has of it.
    Accept = 49;
    /// Raw block digests of what the receiver has.
    Have = 50;
    /// Position and digest of the DATA that follows at once.
    Block = 51;
    /// Raw bytes of one block.
    Data = 52;
    /// Blocks that the receiver has already.
    Keep = 53;
    /// Everything was sent; digest of the whole.
    Done = 54;
    /// A block arrived damaged: send it again.
    Again = 55;
    /// The receiver has the file, verified and durable.
    FileResult = 56;
    /// Metadata of one name of a tree.
    Node = 57;
    /// Every NODE was sent.
    Walked = 58;
    /// Size and digest of one file within the PACK that follows.
    Piece = 59;
    /// Raw bytes of the files of the PIECEs before it.
    Pack = 60;
    /// Nodes that need nothing more.
    Pass = 61;
    /// What became of a node; from the sender: that it gave it up.
    NodeResult = 62;
    /// Raw paths that a tree is limited to, each followed by a zero byte; empty: no more.
    Names = 63;

    /// Raw bytes for the command's standard input; empty: its end.
    Stdin = 64;
    /// Raw bytes of the command's standard output, or of its terminal.
    Stdout = 65;
    /// Raw bytes of the command's standard error.
    Stderr = 66;
    /// The reader of a stream has room for more.
    Credit = 67;
    /// The client's terminal has another size.
    Resize = 68;
}

impl Kind {
    /// Largest body of this kind in bytes; checked before anything is allocated.
    pub const fn cap(self, logged_in: bool) -> u32 {
        let cap = match self {
            Kind::Alive | Kind::Cancel | Kind::Started => 0,
            Kind::Data | Kind::Pack => BLOCK_LEN as u32,
            Kind::Have => HAVE_CAP,
            Kind::Exec => EXEC_CAP,
            Kind::TreeGet | Kind::TreePut => TREE_CAP,
            Kind::Stdin | Kind::Stdout | Kind::Stderr | Kind::Names => STREAM_CAP,
            _ => CONTROL_CAP,
        };
        if !logged_in && cap > LOGIN_CAP { LOGIN_CAP } else { cap }
    }
}

/// A decoded size header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the body.
    pub len: u32,
    /// Kind of the message.
    pub kind: Kind,
    /// Operation; 0 is the session itself.
    pub op: u32,
}

impl Header {
    /// Reads a header and checks its size against the cap of its kind.
    pub fn decode(bytes: &[u8; HEADER_LEN], logged_in: bool) -> Result<Self> {
        let [l0, l1, l2, l3, kind, o0, o1, o2, o3] = *bytes;
        let len = u32::from_be_bytes([l0, l1, l2, l3]);
        let kind = Kind::from_wire(kind)?;
        let cap = kind.cap(logged_in);
        if len > cap {
            return Err(Error::protocol(format!("{} of {len} bytes exceeds its cap of {cap}", kind.name())));
        }
        Ok(Self { len, kind, op: u32::from_be_bytes([o0, o1, o2, o3]) })
    }

    /// Writes the header.
    pub fn encode(self, out: &mut BytesMut) {
        out.put_u32(self.len);
        out.put_u8(self.kind as u8);
        out.put_u32(self.op);
    }
}

/// The preface of this version.
pub fn preface() -> [u8; PREFACE_LEN] {
    let [m0, m1, m2, m3, m4, m5] = PREFACE_MAGIC;
    let [v0, v1] = VERSION.to_be_bytes();
    [m0, m1, m2, m3, m4, m5, v0, v1]
}

/// Checks the peer's preface; another version is [`Error::Version`], anything else is no ft at all.
pub fn check_preface(bytes: &[u8; PREFACE_LEN]) -> Result<()> {
    let [m0, m1, m2, m3, m4, m5, v0, v1] = *bytes;
    if [m0, m1, m2, m3, m4, m5] != PREFACE_MAGIC {
        return Err(Error::protocol("the peer does not speak ft"));
    }
    match u16::from_be_bytes([v0, v1]) {
        VERSION => Ok(()),
        theirs => Err(Error::Version { ours: VERSION, theirs }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Status;

    #[test]
    fn a_size_beyond_the_cap_is_refused_before_the_body() {
        for kind in Kind::ALL {
            for logged_in in [false, true] {
                let cap = kind.cap(logged_in);
                let mut bytes = BytesMut::new();
                Header { len: cap, kind: *kind, op: 7 }.encode(&mut bytes);
                let fits: [u8; HEADER_LEN] = bytes[..].try_into().unwrap();
                assert!(Header::decode(&fits, logged_in).is_ok());
                let mut over = fits;
                over[..4].copy_from_slice(&(cap + 1).to_be_bytes());
                assert!(Header::decode(&over, logged_in).is_err(), "{kind:?}");
            }
        }
    }

    #[test]
    fn before_login_nothing_larger_than_8_kib_is_read() {
        assert!(Kind::ALL.iter().all(|kind| kind.cap(false) <= 8192));
    }

    #[test]
    fn another_version_names_both() {
        let mut bytes = preface();
        assert!(check_preface(&bytes).is_ok());
        bytes[7] = 9;
        let error = check_preface(&bytes).unwrap_err();
        assert_eq!(error.status(), Status::Version);
        assert!(error.to_string().contains('1') && error.to_string().contains('9'), "{error}");
    }
}
