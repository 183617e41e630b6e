//! The sending half: the loop that moves messages between the connection and the task of `reading.rs`.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Sender as Commands, channel};

use super::reading::{Command, Content, Half};
use super::{Abandon, FileInfo, MAX_HAVE, Meter, SharedDigests, crashed, let_go};
use crate::digest::{Algorithm, Hash};
use crate::error::{Error, Result, Status};
use crate::fs::{Meta, Mtime};
use crate::wire::buffer::Lease;
use crate::wire::{Connection, Message};

/// Messages of the receiver that may wait for the blocking task: every HAVE of 1 TiB, and some AGAIN. Room for
/// them must not be taken in advance, as std's channel does: that was 100 KiB a transfer.
const COMMANDS: usize = 8192;

/// What is sent.
pub enum Source {
    /// A regular file and what was known of it when it was opened.
    File {
        /// Open for reading.
        file: File,
        /// Of this open file.
        meta: Meta,
    },
    /// A pipe: of unknown size, read once, so a damaged block cannot be sent again.
    Stream(Box<dyn Read + Send>),
}

/// One file to send.
pub struct SendJob {
    /// What is sent.
    pub source: Source,
    /// What is computed and compared.
    pub algorithm: Algorithm,
    /// Compute the plain digest of the whole file as well.
    pub whole: bool,
    /// Plain MD5 that this end remembers of the file.
    pub known: Option<Hash>,
    /// Where progress is shown.
    pub meter: Arc<Meter>,
    /// Most bytes a second.
    pub rate: Option<u64>,
    /// Digests that are shared with other senders of the same file; `None` where there are none.
    pub shared: Option<Arc<SharedDigests>>,
}

/// A file that was sent and that the receiver has, verified and durable.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Bytes.
    pub size: u64,
    /// Proof, the same at both ends.
    pub proof: Hash,
    /// Plain digest of the whole file, where it was asked for.
    pub whole: Option<Hash>,
    /// The source grew meanwhile; the declared prefix was sent.
    pub grew: bool,
    /// Where the receiver put it (put).
    pub path: Vec<u8>,
}

/// Sends one file as operation `op`: FILE, the content, DONE, then waits for FILE_RESULT.
///
/// Errors: what this end could not read ([`Status::Changed`] where the source changed meanwhile), what the
/// receiver reported ([`Error::Remote`]), a lost connection. After anything but a lost connection or a
/// protocol error the connection is still good.
pub async fn send<S>(conn: &mut Connection<S>, op: u32, job: SendJob) -> Result<Sent>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let info = match &job.source {
        Source::File { meta, .. } => FileInfo::of(meta),
        Source::Stream(_) => FileInfo { size: None, mtime: Mtime { secs: 0, nanos: 0 }, mode: 0o666 },
    };
    let _lease = Lease::default();
    job.meter.begin(info.size);
    let mut file = info.to_wire();
    file.known = job.known.map(|known| known.to_vec()).unwrap_or_default();
    conn.tx.send(op, file).await?;

    let (commands, queue) = channel(COMMANDS);
    let half = Half::new(op, &job, conn.tx.clone(), queue);
    let abandon = Abandon(Arc::clone(&job.meter));
    let mut worker = conn.workers.spawn_blocking(move || half.run(job.source));
    let mut digests = 0;
    let error = loop {
        tokio::select! {
            content = &mut worker => {
                return conclude(conn, op, content.map_err(|error| crashed(&error))??).await;
            }
            message = conn.rx.next_in(op) => match message.and_then(|message| {
                if let Message::Have(have) = &message {
                    digests += have.len();
                }
                if digests > MAX_HAVE as usize * 32 {
                    return Err(Error::protocol("more digests than a file has"));
                }
                forward(message, &commands)
            }) {
                // The receiver's last word: the connection may end now.
                Ok(Forwarded::Result) => {
                    return conclude(conn, op, worker.await.map_err(|error| crashed(&error))??).await;
                }
                Ok(Forwarded::Other) => {}
                Err(error) => break error,
            }
        }
    };
    drop(commands);
    drop(abandon);
    Err(let_go(conn, worker, error).await)
}

/// Waits for FILE_RESULT, sending damaged blocks again meanwhile. No thread is held for it: the receiver may take
/// its time, and a thousand of them would take a thousand threads.
async fn conclude<S>(conn: &mut Connection<S>, op: u32, mut content: Content) -> Result<Sent>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    loop {
        let next = match content.queued() {
            Some(command) => command,
            None => command(conn.rx.next_in(op).await?)?,
        };
        content = match next {
            Command::Result(result) => return content.compare(result),
            Command::Again(block) => {
                let resent = conn.workers.spawn_blocking(move || content.resend(block));
                resent.await.map_err(|error| crashed(&error))??
            }
            _ => return Err(Error::protocol("ACCEPT after the content")),
        };
    }
}

enum Forwarded {
    Result,
    Other,
}

fn forward(message: Message, commands: &Commands<Command>) -> Result<Forwarded> {
    let command = command(message)?;
    let forwarded = if matches!(command, Command::Result(_)) { Forwarded::Result } else { Forwarded::Other };
    // A worker that has ended cannot take it, and its own result is about to be seen.
    match commands.try_send(command) {
        Err(TrySendError::Full(_)) => Err(Error::protocol("too many messages from the receiver")),
        _ => Ok(forwarded),
    }
}

fn command(message: Message) -> Result<Command> {
    Ok(match message {
        Message::Accept(accept) if accept.file == 0 => Command::Accept(accept.have),
        Message::Have(digests) => Command::Have(digests),
        Message::Again(again) if again.file == 0 => Command::Again(again.block),
        Message::FileResult(result) if result.file == 0 => Command::Result(result),
        Message::End(end) => return Err(end.premature()),
        Message::Cancel => return Err(Error::local(Status::Cancelled, "cancelled by the receiver")),
        other => return Err(Error::protocol(format!("{} from a receiver", other.kind().name()))),
    })
}
