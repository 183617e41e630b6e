//! Transfers of single files.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ft_protocol::digest::{Algorithm, Hash};
use ft_protocol::fs::{CommitOptions, Dir, Kind, Links, Meta, ModeRule, Root, Staged};
use ft_protocol::transfer::{
    FileInfo, ReceiveJob, Received, SendJob, Sent, Sink, Source, StreamOut, receive, send,
};
use ft_protocol::wire::message::{FileResult, Get, Put};
use ft_protocol::wire::{BLOCK_LEN, Message};
use ft_protocol::{Error, RemotePath, Status};

use super::session::Session;
use super::{Client, Repeat, Result, TransferOptions};

/// Partial files that nobody came back for are removed after this long.
const ABANDONED: Duration = Duration::from_secs(7 * 24 * 3600);

/// A file that arrived here.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Bytes.
    pub size: u64,
    /// Proof, the same at both ends.
    pub proof: Hash,
    /// Plain digest of the whole file; none for `md5-tree` with more than one block.
    pub whole: Option<Hash>,
    /// Bytes that were here already.
    pub kept: u64,
    /// The source grew meanwhile; this is the prefix that was declared.
    pub grew: bool,
}

/// A file that arrived at the server.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Bytes.
    pub size: u64,
    /// Proof, the same at both ends.
    pub proof: Hash,
    /// Plain digest of the whole file; none for `md5-tree` with more than one block.
    pub whole: Option<Hash>,
    /// Bytes that were there already.
    pub kept: u64,
    /// The source grew meanwhile; the prefix that was declared was sent.
    pub grew: bool,
    /// Where it is now.
    pub path: RemotePath,
}

/// A name in a local directory that is held open.
#[derive(Debug, Clone)]
pub struct LocalFile {
    dir: Dir,
    name: Vec<u8>,
    shown: PathBuf,
}

impl LocalFile {
    /// The file `name` in directory `dir`, which is resolved as the user's shell would. The name may be any
    /// that a file can have; it never leads out of the directory.
    pub fn new(dir: &Path, name: &[u8]) -> Result<Self> {
        ft_protocol::path::check_name(name)?;
        let held = Root::open(dir)?.dir(&RemotePath::root(), Links::Follow)?;
        Ok(Self { dir: held, name: name.to_vec(), shown: dir.join(std::ffi::OsStr::from_bytes(name)) })
    }

    /// Whether something stands under the name.
    pub fn exists(&self) -> Result<bool> {
        Ok(self.dir.lookup(&self.name)?.is_some())
    }
}

/// Where a put goes.
#[derive(Debug, Clone)]
pub struct PutTarget {
    /// A directory, or the new name of the file.
    pub path: RemotePath,
    /// `path` must be a directory.
    pub into: bool,
    /// Make missing directories above the file.
    pub parents: bool,
}

impl Client {
    /// Gets a file into a local one, which stands there complete and verified or not at all.
    pub async fn get_file(
        &mut self,
        path: &RemotePath,
        target: &LocalFile,
        options: &TransferOptions,
    ) -> Result<Fetched> {
        let account = format!("{}@{}", self.builder.user, self.builder.address);
        let (target, remote, how) = (target.clone(), path.clone(), options.clone());
        let sink: MakeSink = Arc::new(move |info| {
            file_sink(&target, &account, &remote, &how, info).map_err(|error| at(&target.shown, &error))
        });
        self.get(path, options, sink, Again::Possible).await
    }

    /// Gets a file into a writer, which takes each block only after its proof. After a broken connection it
    /// goes on with the next block.
    pub async fn get_to(
        &mut self,
        path: &RemotePath,
        writer: impl Write + Send + 'static,
        options: &TransferOptions,
    ) -> Result<Fetched> {
        let whole = options.digest != Algorithm::Md5Tree;
        let stream = StreamOut::new(Box::new(writer), options.digest, whole)?;
        let sink: MakeSink = Arc::new(move |_| Ok(Sink::Stream(stream.clone())));
        self.get(path, options, sink, Again::Impossible).await
    }

    async fn get(
        &mut self,
        path: &RemotePath,
        options: &TransferOptions,
        sink: MakeSink,
        again: Again,
    ) -> Result<Fetched> {
        let mut tries = 0;
        loop {
            tries += 1;
            let meter = Some(Arc::clone(&options.meter));
            let got = self.repeat(Repeat::Safe, meter, async |session, _| {
                get_once(session, path, options, Arc::clone(&sink)).await
            });
            match got.await {
                Ok(Got::Done(fetched)) => return Ok(fetched),
                // The plain MD5 is not the one that the server found when it read the file before. One fresh
                // reading tells a disk that lost data from an accident on the way.
                Ok(Got::Doubt(error)) => {
                    let fresh = self.sum(path, Algorithm::Md5, true).await?;
                    if let Some(earlier) = fresh.earlier {
                        let message = format!(
                            "'{path}' is damaged on the server's disk: its MD5 was {earlier}, is {} now, and nobody wrote to it; restore it there",
                            fresh.digest
                        );
                        return Err(Error::local(Status::Mismatch, message).into());
                    }
                    if tries > 1 || again == Again::Impossible {
                        return Err(error.into());
                    }
                }
                Err(error) if tries == 1 && error.status() == Status::Changed => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Puts a local file; a directory as target takes it under its own name.
    pub async fn put_file(
        &mut self,
        source: &Path,
        target: &PutTarget,
        options: &TransferOptions,
    ) -> Result<Stored> {
        let mut second_try = true;
        loop {
            let meter = Some(Arc::clone(&options.meter));
            let put = self.repeat(Repeat::Safe, meter, async |session, attempt| {
                let path = source.to_owned();
                let opened = tokio::task::spawn_blocking(move || open_source(&path)).await;
                let (file, meta) = opened.unwrap_or_else(|error| Err(internal(&error)))?;
                let name =
                    source.file_name().map(|name| name.as_encoded_bytes().to_vec()).unwrap_or_default();
                put_once(session, Source::File { file, meta }, name, target, options, attempt > 0).await
            });
            match put.await {
                Err(error) if second_try && error.status() == Status::Changed => second_try = false,
                done => return done,
            }
        }
    }

    /// Puts everything that a reader gives. It can be read only once, so a connection that breaks fails the
    /// transfer; nothing stands under the name then.
    pub async fn put_from(
        &mut self,
        reader: impl Read + Send + 'static,
        path: &RemotePath,
        options: &TransferOptions,
    ) -> Result<Stored> {
        let target = PutTarget { path: path.clone(), into: false, parents: false };
        self.put_stream(reader, &target, options).await
    }

    /// As [`Client::put_from`], with a say in what happens to missing directories.
    pub async fn put_stream(
        &mut self,
        reader: impl Read + Send + 'static,
        target: &PutTarget,
        options: &TransferOptions,
    ) -> Result<Stored> {
        let mut source = Some(Source::Stream(Box::new(reader)));
        let meter = Some(Arc::clone(&options.meter));
        self.repeat(Repeat::Never, meter, async |session, _| {
            let source =
                source.take().ok_or_else(|| Error::local(Status::Failed, "the input was read already"))?;
            put_once(session, source, Vec::new(), target, options, false).await
        })
        .await
    }
}

/// Makes the sink of one attempt.
type MakeSink = Arc<dyn Fn(&FileInfo) -> ft_protocol::Result<Sink> + Send + Sync>;

/// Whether a sink can take a whole file a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    Possible,
    Impossible,
}

enum Got {
    Done(Fetched),
    Doubt(Error),
}

async fn get_once(
    session: &mut Session,
    path: &RemotePath,
    options: &TransferOptions,
    sink: MakeSink,
) -> ft_protocol::Result<Got> {
    let op = session.request(Get { path: path.as_bytes().to_vec(), digest: options.digest as u32 }).await?;
    let file = match session.answer(op).await? {
        Some(Message::File(file)) if file.file == 0 && !file.unsized_ => file,
        _ => return Err(Error::protocol("FILE with a size was due")),
    };
    let known = (!file.known.is_empty()).then(|| Hash::from_wire(&file.known)).transpose()?;
    let outcome = async {
        let info = FileInfo::from_wire(&file)?;
        let made = tokio::task::spawn_blocking(move || sink(&info)).await;
        let job = ReceiveJob {
            info,
            sink: made.unwrap_or_else(|error| Err(internal(&error)))?,
            algorithm: options.digest,
            whole: options.digest != Algorithm::Md5Tree,
            known,
            meter: Arc::clone(&options.meter),
            rate: options.rate,
        };
        receive(&mut session.conn, op, job).await
    };
    let outcome = outcome.await;
    if let Ok(received) = &outcome {
        let result = FileResult { file: 0, digest: received.proof.to_vec(), path: Vec::new() };
        let _ = session.conn.tx.send(op, result).await;
    }
    // The file is in place, or an error says why not; that the server may not hear it changes neither.
    let _ = session.end(op, &outcome).await;
    match outcome {
        Ok(Received { size, proof, whole, kept, grew, .. }) => {
            Ok(Got::Done(Fetched { size, proof, whole, kept, grew }))
        }
        Err(error @ Error::Local(_)) if error.status() == Status::Mismatch && known.is_some() => {
            Ok(Got::Doubt(error))
        }
        Err(error) => Err(error),
    }
}

async fn put_once(
    session: &mut Session,
    source: Source,
    name: Vec<u8>,
    target: &PutTarget,
    options: &TransferOptions,
    again: bool,
) -> ft_protocol::Result<Stored> {
    let request = Put {
        path: target.path.as_bytes().to_vec(),
        name,
        digest: options.digest as u32,
        into: target.into,
        parents: target.parents,
        no_clobber: options.no_clobber,
        preserve: options.preserve,
        fresh: !options.resume,
        again,
    };
    let op = session.request(request).await?;
    let job = SendJob {
        source,
        algorithm: options.digest,
        whole: options.digest != Algorithm::Md5Tree,
        known: None,
        meter: Arc::clone(&options.meter),
        rate: options.rate,
        shared: options.shared.clone(),
    };
    let outcome = send(&mut session.conn, op, job).await;
    // The receiver's own result counts; that it may not hear our END changes nothing.
    let _ = session.end(op, &outcome).await;
    let Sent { size, proof, whole, grew, path } = outcome?;
    let path = RemotePath::from_wire(&path).map_err(|error| Error::protocol(error.to_string()))?;
    Ok(Stored { size, proof, whole, kept: options.meter.kept(), grew, path })
}

/// Regular files only: opening a FIFO would wait for its other end.
fn open_source(path: &Path) -> ft_protocol::Result<(File, Meta)> {
    let failed = |error: &std::io::Error| Error::io(format_args!("open '{}'", shown(path)), error);
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
    let fd =
        rustix::fs::open(path, flags, rustix::fs::Mode::empty()).map_err(|errno| failed(&errno.into()))?;
    let file = File::from(fd);
    let meta = Meta::of(&file)?;
    match meta.kind {
        Kind::File => Ok((file, meta)),
        Kind::Dir => Err(Error::local(Status::IsDirectory, format!("'{}' is a directory", shown(path)))),
        Kind::Symlink | Kind::Other => Err(Error::local(
            Status::NotRegular,
            format!("'{}' is no regular file; send a pipe with 'put - NAME'", shown(path)),
        )),
    }
}

fn file_sink(
    target: &LocalFile,
    account: &str,
    path: &RemotePath,
    options: &TransferOptions,
    info: &FileInfo,
) -> ft_protocol::Result<Sink> {
    let standing = target.dir.lookup(&target.name)?;
    match standing.map(|meta| meta.kind) {
        Some(Kind::Dir) => return Err(Error::local(Status::IsDirectory, "is a directory")),
        Some(Kind::Other) => {
            return Err(Error::local(Status::NotRegular, "is a device, FIFO or socket and is not replaced"));
        }
        Some(Kind::File | Kind::Symlink) if options.no_clobber => {
            return Err(Error::local(Status::Exists, "exists and was not to be replaced"));
        }
        _ => {}
    }
    target.dir.sweep_staging(ABANDONED);
    let resumable = options.resume && info.size.is_some_and(|size| size > BLOCK_LEN as u64);
    let staged = if resumable {
        Staged::partial(&target.dir, info.partial_key(account, path))?
    } else {
        Staged::temp(&target.dir)?
    };
    let commit = CommitOptions {
        len: 0,
        replace: !options.no_clobber,
        mtime: options.preserve.then_some(info.mtime),
        mode: if options.preserve { ModeRule::Preserve(info.mode) } else { ModeRule::Default(info.mode) },
    };
    Ok(Sink::File { staged, name: target.name.clone(), commit, standing: None })
}

fn at(path: &Path, error: &Error) -> Error {
    let failure = error.failure();
    Error::local(failure.status, format!("'{}': {}", shown(path), failure.message))
}

pub(super) fn shown(path: &Path) -> String {
    ft_protocol::display::Escaped::new(path.as_os_str().as_bytes()).to_string()
}

pub(super) fn internal(error: &tokio::task::JoinError) -> Error {
    Error::local(Status::Failed, format!("internal error: {error}"))
}
