//! Control messages (Protocol Buffers; `ft.proto` is normative) and [`Message`], the sum of them all.
//!
//! prost alone is lenient: unknown fields vanish and a field may come twice. So a message that does not
//! re-encode to exactly its input is refused, which also refuses trailing bytes; and no message has a
//! repeated field, so decoding never allocates more than a small multiple of its input.

use bytes::{Bytes, BytesMut};
use prost::Message as _;

use super::frame::{HEADER_LEN, Header, Kind};
use super::messages::messages;
use crate::error::{Error, Result};

messages! {
    /// First message of each side.
    Hello {
        /// Name and version of the program, for logs.
        "1" software: String = string;
        /// Feature bits; 0 in version 1.
        "2" features: u64 = uint64;
        /// Client: 16 random bytes of this run. Server: empty.
        "3" run: Vec<u8> = bytes;
        /// Client: number of this connection within the run.
        "4" slot: u32 = uint32;
    }
    /// Login by an ssh ed25519 key.
    AuthKey {
        /// Account.
        "1" user: Vec<u8> = bytes;
        /// Public key, RFC 4253 section 6.6 blob.
        "2" key: Vec<u8> = bytes;
        /// SSHSIG blob (PROTOCOL.sshsig of OpenSSH, without armour) over the login binding.
        "3" signature: Vec<u8> = bytes;
    }
    /// Login by password.
    AuthPassword {
        /// Account.
        "1" user: Vec<u8> = bytes;
        /// Password, at most 1,024 bytes.
        "2" password: Vec<u8> = bytes;
    }
    /// Enrols the key in the account of an invite, then logs in.
    AuthInvite {
        /// Account named in the join string.
        "1" user: Vec<u8> = bytes;
        /// 32 bytes, valid once.
        "2" secret: Vec<u8> = bytes;
        /// Public key to enrol.
        "3" key: Vec<u8> = bytes;
        /// As in AUTH_KEY: proof of possession.
        "4" signature: Vec<u8> = bytes;
    }
    /// Login accepted.
    Welcome {
        /// Bits of [`crate::auth::Rights`].
        "1" rights: u32 = uint32;
    }
    /// The one end of an operation; on operation 0 the end of the session.
    End {
        /// [`crate::Status`].
        "1" status: u32 = uint32;
        /// One line for a person.
        "2" message: String = string;
    }
    /// Request: send a file.
    Get {
        /// File, beneath the root.
        "1" path: Vec<u8> = bytes;
        /// [`crate::digest::Algorithm`].
        "2" digest: u32 = uint32;
    }
    /// Request: receive a file. FILE follows at once.
    Put {
        /// Destination: a directory, or the file's new name.
        "1" path: Vec<u8> = bytes;
        /// Base name of the source, for a destination that is a directory; empty for a pipe.
        "2" name: Vec<u8> = bytes;
        /// [`crate::digest::Algorithm`].
        "3" digest: u32 = uint32;
        /// The destination must be a directory.
        "4" into: bool = bool;
        /// Make missing parent directories.
        "5" parents: bool = bool;
        /// Refuse an existing target.
        "6" no_clobber: bool = bool;
        /// Set mode and modification time of the source.
        "7" preserve: bool = bool;
        /// Do not look for a partial of an earlier run.
        "8" fresh: bool = bool;
        /// This run has sent this request before and does not know the outcome.
        "9" again: bool = bool;
    }
    /// Request: entries of a directory.
    List {
        /// Directory.
        "1" path: Vec<u8> = bytes;
    }
    /// Request: metadata of one name.
    Stat {
        /// Name.
        "1" path: Vec<u8> = bytes;
        /// Describe a symbolic link itself.
        "2" no_follow: bool = bool;
    }
    /// Request: digest of a file.
    Sum {
        /// File.
        "1" path: Vec<u8> = bytes;
        /// [`crate::digest::Algorithm`].
        "2" digest: u32 = uint32;
        /// Read the file even where its digest is remembered.
        "3" fresh: bool = bool;
    }
    /// Request: make a directory.
    MakeDir {
        /// Directory.
        "1" path: Vec<u8> = bytes;
        /// Make missing parents; an existing directory is no failure.
        "2" parents: bool = bool;
    }
    /// Request: remove.
    Remove {
        /// File, link or directory.
        "1" path: Vec<u8> = bytes;
        /// Directories with everything beneath them.
        "2" recursive: bool = bool;
    }
    /// Request: rename.
    Rename {
        /// Old name.
        "1" from: Vec<u8> = bytes;
        /// New name, or an existing directory to move into.
        "2" to: Vec<u8> = bytes;
        /// Refuse an existing target.
        "3" no_clobber: bool = bool;
    }
    /// Request: run a command.
    Exec {
        /// Program and arguments, each followed by a zero byte; with `shell` one command line.
        "1" argv: Vec<u8> = bytes;
        /// Run by the shell that the server has for the account.
        "2" shell: bool = bool;
        /// STDIN follows; without it the command reads /dev/null.
        "3" stdin: bool = bool;
        /// Variables for its environment, `NAME=VALUE`, each followed by a zero byte.
        "4" env: Vec<u8> = bytes;
        /// Its working directory, beneath the root.
        "5" cwd: Vec<u8> = bytes;
        /// Give it a pseudo-terminal: STDOUT carries all of its output.
        "6" tty: bool = bool;
        /// Kind of that terminal (TERM).
        "7" term: Vec<u8> = bytes;
        /// Height of that terminal in characters.
        "8" rows: u32 = uint32;
        /// Width of that terminal in characters.
        "9" columns: u32 = uint32;
    }
    /// Request: send a directory with all that is in it.
    TreeGet {
        /// Directory.
        "1" path: Vec<u8> = bytes;
        /// [`crate::digest::Algorithm`].
        "2" digest: u32 = uint32;
        /// What to leave out: rules of a filter, each followed by a zero byte.
        "3" rules: Vec<u8> = bytes;
        /// NODEs of files carry the digest of their content.
        "4" hashes: bool = bool;
        /// NAMES follow, and nothing else is sent.
        "5" names: bool = bool;
        /// Nothing will be written: of files that are accepted only the proof is sent, in DONE.
        "6" dry_run: bool = bool;
    }
    /// Request: receive a directory with all that is in it. NODEs follow at once.
    TreePut {
        /// What becomes equal to the source.
        "1" path: Vec<u8> = bytes;
        /// [`crate::digest::Algorithm`].
        "2" digest: u32 = uint32;
        /// What the source leaves out, and what is therefore not deleted here.
        "3" rules: Vec<u8> = bytes;
        /// Make missing parent directories.
        "4" parents: bool = bool;
        /// Leave existing files alone.
        "5" no_clobber: bool = bool;
        /// Set mode and modification time of the source.
        "6" preserve: bool = bool;
        /// Set the modification time of the source.
        "7" times: bool = bool;
        /// Do not look for partials of an earlier run.
        "8" fresh: bool = bool;
        /// Files of equal size and modification time are equal.
        "9" quick: bool = bool;
        /// Remove what the source does not have, once all the rest is done.
        "10" delete: bool = bool;
        /// Remove nothing where more than so many entries would go.
        "11" max_delete: u64 = uint64;
        /// Say what would be done, and change nothing.
        "12" dry_run: bool = bool;
        /// Directory beneath the root for what is replaced or removed; empty: none.
        "13" backup: Vec<u8> = bytes;
    }
    /// One directory entry, or the answer to STAT.
    Entry {
        /// Name within its directory; empty in the answer to STAT.
        "1" name: Vec<u8> = bytes;
        /// 1 file, 2 directory, 3 symbolic link, 4 anything else.
        "2" kind: u32 = uint32;
        /// Bytes.
        "3" size: u64 = uint64;
        /// Modification time, seconds since 1970.
        "4" mtime: i64 = int64;
        /// and nanoseconds.
        "5" mtime_nanos: u32 = uint32;
        /// Permission bits.
        "6" mode: u32 = uint32;
        /// Target of a symbolic link.
        "7" target: Vec<u8> = bytes;
    }
    /// Answer to SUM.
    Digest {
        /// The digest, 16 or 32 bytes.
        "1" digest: Vec<u8> = bytes;
        /// Bytes that it covers.
        "2" size: u64 = uint64;
        /// Digest remembered from an earlier reading where it differs although the file's metadata does not:
        /// the disk lost data.
        "3" earlier: Vec<u8> = bytes;
    }
    /// How a command ended, after all of its output.
    Exit {
        /// Its exit status, 0 to 255; 0 where a signal ended it.
        "1" status: u32 = uint32;
        /// The signal that ended it, as Linux numbers them; 0 where it exited.
        "2" signal: u32 = uint32;
    }
    /// Metadata of the file that is to be sent.
    File {
        /// Number of the file within the operation.
        "1" file: u32 = uint32;
        /// Bytes; meaningless where `unsized` is set.
        "2" size: u64 = uint64;
        /// The size is not known in advance (a pipe).
        "3" unsized_: bool = bool;
        /// Modification time, seconds since 1970.
        "4" mtime: i64 = int64;
        /// and nanoseconds.
        "5" mtime_nanos: u32 = uint32;
        /// Permission bits.
        "6" mode: u32 = uint32;
        /// Plain MD5 remembered from an earlier reading of the same file; empty where there is none.
        "7" known: Vec<u8> = bytes;
    }
    /// The receiver wants a sized file of more than one block, and says what it has of it.
    Accept {
        /// Number of the file.
        "1" file: u32 = uint32;
        /// Number of leading blocks whose digests follow in HAVE.
        "2" have: u64 = uint64;
    }
    /// Position and digest of the DATA that follows at once.
    Block {
        /// Number of the file.
        "1" file: u32 = uint32;
        /// Number of the block, from 0.
        "2" block: u64 = uint64;
        /// Digest of the block.
        "3" digest: Vec<u8> = bytes;
        /// No block follows this one.
        "4" last: bool = bool;
    }
    /// Blocks that the receiver has already.
    Keep {
        /// Number of the file.
        "1" file: u32 = uint32;
        /// First block.
        "2" first: u64 = uint64;
        /// Number of blocks.
        "3" count: u64 = uint64;
    }
    /// Everything was sent. A sender that cannot finish ends the operation instead.
    Done {
        /// Number of the file.
        "1" file: u32 = uint32;
        /// Bytes of the whole file.
        "2" size: u64 = uint64;
        /// Proof of the whole file.
        "3" digest: Vec<u8> = bytes;
        /// Plain SHA-256 of the whole file where the algorithm is sha256; otherwise empty.
        "4" whole: Vec<u8> = bytes;
        /// The source grew after its size was declared; the declared prefix was sent.
        "5" grew: bool = bool;
    }
    /// A block arrived damaged: send it again.
    Again {
        /// Number of the file.
        "1" file: u32 = uint32;
        /// Number of the block.
        "2" block: u64 = uint64;
    }
    /// The receiver has the file: verified, durable, under its final name.
    FileResult {
        /// Number of the file.
        "1" file: u32 = uint32;
        /// Proof of what the receiver wrote, by its own reckoning.
        "2" digest: Vec<u8> = bytes;
        /// Where it is now, beneath the root (put).
        "3" path: Vec<u8> = bytes;
    }
    /// One name of a tree, the directory before its contents. NODEs count from 1.
    Node {
        /// 0 for the directory that was asked for; what it holds has 1.
        "1" depth: u32 = uint32;
        /// Name within its directory; empty at depth 0.
        "2" name: Vec<u8> = bytes;
        /// 1 file, 2 directory, 3 symbolic link.
        "3" kind: u32 = uint32;
        /// Bytes.
        "4" size: u64 = uint64;
        /// Modification time, seconds since 1970.
        "5" mtime: i64 = int64;
        /// and nanoseconds.
        "6" mtime_nanos: u32 = uint32;
        /// Permission bits.
        "7" mode: u32 = uint32;
        /// Target of a symbolic link.
        "8" target: Vec<u8> = bytes;
        /// Proof of the content where the request asked for it.
        "9" digest: Vec<u8> = bytes;
    }
    /// Every NODE was sent.
    Walked {
        /// Nothing was left out because it could not be read: what is missing does not exist.
        "1" complete: bool = bool;
    }
    /// One file of at most one block within the PACK that follows.
    Piece {
        /// Number of the NODE.
        "1" file: u32 = uint32;
        /// Bytes.
        "2" size: u32 = uint32;
        /// Digest of the content.
        "3" digest: Vec<u8> = bytes;
        /// The file is longer now; this is as much of it as its NODE declared.
        "4" grew: bool = bool;
    }
    /// NODEs that were not accepted up to here need nothing more.
    Pass {
        /// Number of the last of them.
        "1" upto: u32 = uint32;
    }
    /// What became of a node. From the sender: it cannot be read, and is given up.
    NodeResult {
        /// Number of the NODE that was accepted; 0 for all others.
        "1" file: u32 = uint32;
        /// [`crate::Status`].
        "2" status: u32 = uint32;
        /// One line for a person.
        "3" message: String = string;
        /// [`crate::tree::Action`].
        "4" action: u32 = uint32;
        /// Proof of what the receiver has, by its own reckoning.
        "5" digest: Vec<u8> = bytes;
        /// Path beneath the tree where there is no number.
        "6" path: Vec<u8> = bytes;
        /// What it is, as in NODE, where there is no number.
        "7" kind: u32 = uint32;
        /// Bytes of a file, where there is no number.
        "8" size: u64 = uint64;
    }
    /// The reader of a stream has room for more.
    Credit {
        /// 0 standard input, 1 standard output, 2 standard error.
        "1" stream: u32 = uint32;
        /// Bytes that may be sent beyond those granted before.
        "2" bytes: u32 = uint32;
    }
    /// The client's terminal has another size.
    Resize {
        /// Height in characters.
        "1" rows: u32 = uint32;
        /// Width in characters.
        "2" columns: u32 = uint32;
    }
}

fn strict<M: prost::Message + Default>(kind: Kind, body: Bytes) -> Result<M> {
    let malformed = || Error::protocol(format!("malformed {}", kind.name()));
    let message = M::decode(body.clone()).map_err(|_| malformed())?;
    if message.encoded_len() != body.len() || message.encode_to_vec() != body {
        return Err(malformed());
    }
    Ok(message)
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
