//! Everything but transfers: list, stat, sum, and changes of names.

use ft_protocol::digest::{Algorithm, Hash};
use ft_protocol::fs::Mtime;
use ft_protocol::wire::Message;
use ft_protocol::wire::message::{Entry, List, MakeDir, Remove, Rename, Stat, Sum};
use ft_protocol::{Error, RemotePath, Status, path};

use super::repeat::{Operation, Repeat};
use super::session::Session;
use super::{Client, Result};

/// Most entries of one directory that are kept in memory.
const MAX_ENTRIES: usize = 1_000_000;

/// What stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryType {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Link,
    /// A FIFO, device or socket.
    Other,
}

/// One name on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The name within its directory; empty in the answer of [`Client::stat`].
    pub name: Vec<u8>,
    /// What it is.
    pub kind: EntryType,
    /// Bytes.
    pub size: u64,
    /// Modification time.
    pub mtime: Mtime,
    /// Permission bits.
    pub mode: u32,
    /// Target of a symbolic link.
    pub target: Vec<u8>,
}

/// Digest of a file on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summed {
    /// The digest.
    pub digest: Hash,
    /// Bytes that it covers.
    pub size: u64,
    /// What the server found earlier, where the file's times say that it did not change since: the disk lost
    /// data.
    pub earlier: Option<Hash>,
}

impl Client {
    /// Entries of a directory, in strictly increasing order of their names' bytes.
    pub async fn list(&mut self, path: &RemotePath) -> Result<Vec<DirEntry>> {
        let path = self.builder.origin.outward(path)?;
        self.repeat(Repeat::Safe, None, List { path: path.as_bytes().to_vec() }).await
    }

    /// Metadata of one name; links are followed beneath the root.
    pub async fn stat(&mut self, path: &RemotePath) -> Result<DirEntry> {
        let path = self.builder.origin.outward(path)?;
        self.repeat(Repeat::Safe, None, Stat { path: path.as_bytes().to_vec(), no_follow: false }).await
    }

    /// Digest of a file, read by the server or remembered from an earlier reading; `fresh`: read.
    pub async fn sum(&mut self, path: &RemotePath, algorithm: Algorithm, fresh: bool) -> Result<Summed> {
        let path = self.builder.origin.outward(path)?;
        let request = Sum { path: path.as_bytes().to_vec(), digest: algorithm as u32, fresh };
        self.repeat(Repeat::Safe, None, Summing { request, algorithm }).await
    }

    /// Makes a directory; with `parents` also those above it, and an existing one is no failure.
    pub async fn make_dir(&mut self, path: &RemotePath, parents: bool) -> Result<()> {
        let path = self.builder.origin.outward(path)?;
        self.repeat(Repeat::Safe, None, MakeDir { path: path.as_bytes().to_vec(), parents }).await
    }

    /// Removes a file, a link or an empty directory; `recursive`: a directory with all that is in it.
    pub async fn remove(&mut self, path: &RemotePath, recursive: bool) -> Result<()> {
        let path = self.builder.origin.outward_name(path)?;
        self.repeat(Repeat::Never, None, Remove { path: path.as_bytes().to_vec(), recursive }).await
    }

    /// Renames, or moves into an existing directory, as mv(1).
    pub async fn rename(&mut self, from: &RemotePath, to: &RemotePath, no_clobber: bool) -> Result<()> {
        let origin = &self.builder.origin;
        let (from, to) = (origin.outward_name(from)?, origin.outward(to)?);
        let request = Rename { from: from.as_bytes().to_vec(), to: to.as_bytes().to_vec(), no_clobber };
        self.repeat(Repeat::Never, None, request).await
    }
}

impl Operation for List {
    type Done = Vec<DirEntry>;

    async fn attempt(&mut self, session: &mut Session, _: u32) -> ft_protocol::Result<Vec<DirEntry>> {
        let op = session.request(self.clone()).await?;
        let mut entries: Vec<DirEntry> = Vec::new();
        while let Some(message) = session.answer(op).await? {
            let Message::Entry(entry) = message else { return Err(unexpected(&message)) };
            path::check_name(&entry.name).map_err(|error| Error::protocol(error.to_string()))?;
            let entry = parse(entry)?;
            if entries.last().is_some_and(|last| last.name >= entry.name) {
                return Err(Error::protocol("a listing that is not in order"));
            }
            if entries.len() >= MAX_ENTRIES {
                return Err(Error::local(Status::Limit, "a directory of more than a million entries"));
            }
            entries.push(entry);
        }
        session.end(op, &Ok(())).await?;
        Ok(entries)
    }
}

impl Operation for Stat {
    type Done = DirEntry;

    async fn attempt(&mut self, session: &mut Session, _: u32) -> ft_protocol::Result<DirEntry> {
        let op = session.request(self.clone()).await?;
        match single(session, op).await? {
            Some(Message::Entry(entry)) => parse(entry),
            other => Err(missing(other.as_ref())),
        }
    }
}

struct Summing {
    request: Sum,
    algorithm: Algorithm,
}

impl Operation for Summing {
    type Done = Summed;

    async fn attempt(&mut self, session: &mut Session, _: u32) -> ft_protocol::Result<Summed> {
        let op = session.request(self.request.clone()).await?;
        let mut summed = None;
        while let Some(message) = session.answer(op).await? {
            match message {
                // Without a digest it only says how far the server is.
                Message::Digest(digest) if digest.digest.is_empty() => {}
                Message::Digest(digest) if summed.is_none() => {
                    let earlier =
                        (!digest.earlier.is_empty()).then(|| Hash::from_wire(&digest.earlier)).transpose()?;
                    if digest.digest.len() != self.algorithm.digest_len() {
                        return Err(Error::protocol("a digest of another algorithm than was asked for"));
                    }
                    let found = Hash::from_wire(&digest.digest)?;
                    summed = Some(Summed { digest: found, size: digest.size, earlier });
                }
                other => return Err(unexpected(&other)),
            }
        }
        session.end(op, &Ok(())).await?;
        summed.ok_or_else(|| missing(None))
    }
}

impl Operation for MakeDir {
    type Done = ();

    async fn attempt(&mut self, session: &mut Session, number: u32) -> ft_protocol::Result<()> {
        let op = session.request(self.clone()).await?;
        match single(session, op).await {
            // The answer to an earlier attempt was lost.
            Err(error) if error.status() == Status::Exists && number > 0 => Ok(()),
            done => done.map(drop),
        }
    }
}

impl Operation for Remove {
    type Done = ();

    async fn attempt(&mut self, session: &mut Session, _: u32) -> ft_protocol::Result<()> {
        let op = session.request(self.clone()).await?;
        single(session, op).await.map(drop)
    }
}

impl Operation for Rename {
    type Done = ();

    async fn attempt(&mut self, session: &mut Session, _: u32) -> ft_protocol::Result<()> {
        let op = session.request(self.clone()).await?;
        single(session, op).await.map(drop)
    }
}

/// An operation with at most one answer.
async fn single(session: &mut Session, op: u32) -> ft_protocol::Result<Option<Message>> {
    let answer = session.answer(op).await?;
    if answer.is_some()
        && let Some(second) = session.answer(op).await?
    {
        return Err(unexpected(&second));
    }
    session.end(op, &Ok(())).await?;
    Ok(answer)
}

fn parse(entry: Entry) -> ft_protocol::Result<DirEntry> {
    let kind = match entry.kind {
        1 => EntryType::File,
        2 => EntryType::Dir,
        3 => EntryType::Link,
        4 => EntryType::Other,
        _ => return Err(Error::protocol("an entry of an unknown kind")),
    };
    if entry.mtime_nanos >= 1_000_000_000 {
        return Err(Error::protocol("a modification time with more than a second of nanoseconds"));
    }
    let mtime = Mtime { secs: entry.mtime, nanos: entry.mtime_nanos };
    Ok(DirEntry { name: entry.name, kind, size: entry.size, mtime, mode: entry.mode, target: entry.target })
}

fn unexpected(message: &Message) -> Error {
    Error::protocol(format!("{} is no answer to this request", message.kind().name()))
}

fn missing(message: Option<&Message>) -> Error {
    message.map_or_else(|| Error::protocol("an operation ended without its answer"), unexpected)
}
