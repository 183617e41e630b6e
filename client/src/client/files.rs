//! Transfers of single files.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use ft_protocol::digest::{Algorithm, Hash};
use ft_protocol::transfer::{
    FileInfo, ReceiveJob, Received, SendJob, Sent, Sink, Source, StreamOut, receive, send,
};
use ft_protocol::wire::Message;
use ft_protocol::wire::message::{FileResult, Get, Put};
use ft_protocol::{Error, RemotePath, Status};

use super::local::{LocalFile, internal, open_source};
use super::origin::Origin;
use super::repeat::{Operation, Repeat};
use super::session::Session;
use super::{Client, Result, TransferOptions};

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
        let account = self.builder.account.to_string();
        let remote = self.builder.origin.outward(path)?;
        let (target, how) = (target.clone(), options.clone());
        let sink: MakeSink = Arc::new(move |info| target.sink(&account, &remote, &how, info));
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
            let remote = self.builder.origin.outward(path)?;
            let request = Get { path: remote.as_bytes().to_vec(), digest: options.digest as u32 };
            let fetch = Fetch { request, options, sink: Arc::clone(&sink) };
            match self.repeat(Repeat::Safe, meter, fetch).await {
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
            let store = self.store(target, source.file_name(), options)?;
            match self.repeat(Repeat::Safe, meter, StoreFile { source, store }).await {
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
        let meter = Some(Arc::clone(&options.meter));
        let source = Some(Source::Stream(Box::new(reader)));
        let store = self.store(target, None, options)?;
        self.repeat(Repeat::Never, meter, StoreStream { source, store }).await
    }

    /// `name`: of the source, where it has one.
    fn store<'a>(
        &self,
        target: &PutTarget,
        name: Option<&OsStr>,
        options: &'a TransferOptions,
    ) -> Result<Store<'a>> {
        let origin = self.builder.origin.clone();
        let request = Put {
            path: origin.outward(&target.path)?.as_bytes().to_vec(),
            name: name.map(|name| name.as_bytes().to_vec()).unwrap_or_default(),
            digest: options.digest as u32,
            // No file can stand for the root.
            into: target.into || target.path.is_root(),
            parents: target.parents,
            no_clobber: options.no_clobber,
            preserve: options.preserve,
            fresh: !options.resume,
            again: false,
        };
        Ok(Store { request, origin, options })
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

struct Fetch<'a> {
    request: Get,
    options: &'a TransferOptions,
    sink: MakeSink,
}

impl Operation for Fetch<'_> {
    type Done = Got;

    async fn attempt(&mut self, session: &mut Session, _: u32) -> ft_protocol::Result<Got> {
        let op = session.request(self.request.clone()).await?;
        let file = match session.answer(op).await? {
            Some(Message::File(file)) if file.file == 0 && !file.unsized_ => file,
            _ => return Err(Error::protocol("FILE with a size was due")),
        };
        let known = (!file.known.is_empty()).then(|| Hash::from_wire(&file.known)).transpose()?;
        let (options, sink) = (self.options, Arc::clone(&self.sink));
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
}

struct StoreFile<'a> {
    source: &'a Path,
    store: Store<'a>,
}

impl Operation for StoreFile<'_> {
    type Done = Stored;

    async fn attempt(&mut self, session: &mut Session, number: u32) -> ft_protocol::Result<Stored> {
        let path = self.source.to_owned();
        let opened = tokio::task::spawn_blocking(move || open_source(&path)).await;
        let (file, meta) = opened.unwrap_or_else(|error| Err(internal(&error)))?;
        self.store.once(session, Source::File { file, meta }, number > 0).await
    }
}

struct StoreStream<'a> {
    source: Option<Source>,
    store: Store<'a>,
}

impl Operation for StoreStream<'_> {
    type Done = Stored;

    async fn attempt(&mut self, session: &mut Session, _: u32) -> ft_protocol::Result<Stored> {
        let read_already = || Error::local(Status::Failed, "the input was read already");
        let source = self.source.take().ok_or_else(read_already)?;
        self.store.once(session, source, false).await
    }
}

/// What does not depend on the source.
struct Store<'a> {
    request: Put,
    origin: Origin,
    options: &'a TransferOptions,
}

impl Store<'_> {
    async fn once(&self, session: &mut Session, source: Source, again: bool) -> ft_protocol::Result<Stored> {
        let op = session.request(Put { again, ..self.request.clone() }).await?;
        let options = self.options;
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
        let path = self.origin.inward(&path)?;
        Ok(Stored { size, proof, whole, kept: options.meter.kept(), grew, path })
    }
}
