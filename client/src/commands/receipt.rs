//! `check --receipt`: whether the files of an earlier run are still what they were.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ft_protocol::digest::{Algorithm, blocks_of};
use ft_protocol::fs::Mtime;
use ft_protocol::{Error, Status};

use super::context::{Context, Server};
use super::transfer::Watched;
use super::{Failed, ends_the_job, local_sum};
use crate::address::HostSpec;
use crate::cli::Sides;
use crate::client::{Client, ClientError, Summed};
use crate::exit::Exit;
use crate::output::{Compared, ComparedReport, Tallied, reason};
use crate::receipts::{self, Receipt, ReceiptError, Recorded};

/// As a command of its own, which connects only where the server has to be asked. The receipt says which one that is,
/// unless a host was typed.
pub(super) async fn check_alone(context: &Context, run: &OsStr, sides: Sides) -> Result<Exit, Failed> {
    let receipt = open(run)?;
    let name = receipt.host().to_owned();
    if sides == Sides::Local {
        return Check::new(context, &name, None, sides).all(receipt).await;
    }
    let host = match &context.host {
        Some(host) => host.clone(),
        None => name.parse::<HostSpec>().map_err(|error| Failed::alone(Exit::Usage, error.to_string()))?,
    };
    let mut server = context.server_at(Some(&host)).await?;
    let exit = Check::new(context, &server.name, Some(&mut server.client), sides).all(receipt).await?;
    server.client.close().await;
    Ok(exit)
}

/// In the shell, whose server it has to be.
pub(super) async fn check_here(
    context: &Context,
    server: &mut Server,
    run: &OsStr,
    sides: Sides,
) -> Result<Exit, Failed> {
    let receipt = open(run)?;
    if sides != Sides::Local && receipt.host() != server.name {
        let message = format!(
            "this receipt is of '{}': leave the shell to ask that server, or look at the local files with --local",
            receipt.host()
        );
        return Err(Failed::alone(Exit::Usage, message));
    }
    Check::new(context, &server.name, Some(&mut server.client), sides).all(receipt).await
}

/// `--sums`: the digests as md5sum or sha256sum reads them.
pub(super) fn sums(context: &Context, run: &OsStr, remote: bool) -> Result<Exit, Failed> {
    let mut receipt = open(run)?;
    let host = receipt.host().to_owned();
    let mut left_out = 0;
    while let Some(file) = receipt.next_file()? {
        let name = match (&file.local, remote) {
            (_, true) => Some(file.remote.as_bytes()),
            (local, false) => local.as_deref().map(|local| local.as_os_str().as_encoded_bytes()),
        };
        // The root of a tree of digests is none that another program computes.
        match name.filter(|_| !file.hex.contains('-')) {
            Some(name) => context.output.sum(&host, &file.alg, &file.hex, name)?,
            None => left_out += 1,
        }
    }
    warn_of_cut(context, &receipt)?;
    if left_out == 0 {
        return Ok(Exit::Ok);
    }
    let message = format!(
        "{left_out} files are left out: they were streams, which have no local name, or have a digest of blocks \
         (--digest md5-tree), which md5sum does not compute"
    );
    Err(Failed::alone(Exit::Partial, message))
}

fn open(run: &OsStr) -> Result<Receipt, Failed> {
    let none = || ReceiptError::None { run: run.display().to_string(), directory: "$XDG_STATE_HOME".into() };
    let directory = receipts::directory().ok_or_else(none)?;
    Ok(Receipt::open(&receipts::find(&directory, run)?)?)
}

fn warn_of_cut(context: &Context, receipt: &Receipt) -> Result<(), Failed> {
    if receipt.is_cut() {
        let line = "warning: the run was cut short, and with it the last line of its receipt";
        context.output.info(line)?;
    }
    Ok(())
}

struct Check<'a> {
    context: &'a Context,
    host: String,
    /// None where only local files are looked at.
    client: Option<&'a mut Client>,
    sides: Sides,
    tallied: Arc<Mutex<Tallied>>,
    shown: Watched<'a>,
}

/// What one side has of a file.
struct Side<'a> {
    word: &'static str,
    /// For people.
    name: &'a [u8],
    /// For programs, which are told the host apart.
    path: &'a [u8],
}

impl<'a> Check<'a> {
    fn new(context: &'a Context, host: &str, client: Option<&'a mut Client>, sides: Sides) -> Self {
        let shown = Watched::new(context);
        Self { context, host: host.to_owned(), client, sides, tallied: Arc::default(), shown }
    }

    async fn all(mut self, mut receipt: Receipt) -> Result<Exit, Failed> {
        let start = Instant::now();
        let run = self.client.as_ref().map_or([0; 16], |client| *client.run());
        self.context.output.start(&run)?;
        let (tallied, output, host) =
            (Arc::clone(&self.tallied), self.context.output.clone(), self.host.clone());
        self.context.current.begun(move |code| {
            let tallied = *tallied.lock().unwrap_or_else(PoisonError::into_inner);
            // What cannot be said here has nobody left to be told.
            drop(output.check_cut_short(&tallied, &host, start.elapsed(), code));
        });
        self.shown.progress.set_open(true);
        self.shown.progress.start(None);
        while let Some(file) = receipt.next_file()? {
            self.shown.progress.add_files(1);
            self.shown.progress.message(file.remote.as_bytes());
            if self.sides != Sides::Remote {
                self.local(&file).await?;
            }
            if self.sides != Sides::Local {
                self.remote(&file).await?;
            }
            self.shown.progress.file_done();
        }
        self.shown.progress.finish();
        warn_of_cut(self.context, &receipt)?;
        self.context.current.ended();
        let tallied = *self.tallied();
        let exit = tallied.exit();
        self.context.output.checked(&tallied, &self.host, start.elapsed(), exit)?;
        Ok(exit)
    }

    fn tallied(&self) -> MutexGuard<'_, Tallied> {
        self.tallied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn local(&mut self, file: &Recorded) -> Result<(), Failed> {
        // What came from or went to a stream is not here.
        let Some(path) = &file.local else { return Ok(()) };
        let name = path.as_os_str().as_encoded_bytes();
        let side = Side { word: "local", name, path: name };
        let summed = match algorithm(&file.alg) {
            Some(algorithm) => local_of(path, algorithm).await,
            None => Err(unknown(&file.alg)),
        };
        self.found(file, &side, summed)
    }

    async fn remote(&mut self, file: &Recorded) -> Result<(), Failed> {
        let Some(client) = &mut self.client else { return Ok(()) };
        let summed = match algorithm(&file.alg) {
            Some(algorithm) => remote_of(client, file, algorithm).await,
            None => Err(unknown(&file.alg)),
        };
        let name = [self.host.as_bytes(), b":", file.remote.as_bytes()].concat();
        self.found(file, &Side { word: "remote", name: &name, path: file.remote.as_bytes() }, summed)
    }

    /// Says what became of a file. An error where nothing else can be asked.
    fn found(
        &mut self,
        file: &Recorded,
        side: &Side<'_>,
        summed: Result<There, ClientError>,
    ) -> Result<(), Failed> {
        let (found, message) = match summed {
            Ok(there) if there.printed == file.hex => (Compared::Equal, None),
            Ok(there) => (Compared::Differ, there.is_damage(file).then(|| DAMAGED.to_owned())),
            Err(error) if matches!(error.status(), Status::NotFound | Status::NotDirectory) => {
                (Compared::Missing, None)
            }
            Err(error) if ends_the_job(&error) => return Err(Failed::from(error)),
            Err(error) => (Compared::Unreadable, Some(reason(&error))),
        };
        self.tallied().count(found);
        let (host, message) = (self.host.as_str(), message.as_deref());
        let Side { word, name: text, path } = *side;
        let report = ComparedReport { host, side: Some(word), text, path, is_dir: false, found, message };
        self.context.output.compared(&report).inspect_err(|_| {
            // Nobody reads a summary either.
            self.context.current.ended();
        })?;
        Ok(())
    }
}

const DAMAGED: &str =
    "its size and time are as recorded and its content is not: it was damaged, or its time set back";

/// What stands where a file of the receipt was.
struct There {
    printed: String,
    size: u64,
    /// Where asking for it costs nothing.
    mtime: Option<Mtime>,
}

impl There {
    /// Nobody seems to have written to it.
    fn is_damage(&self, file: &Recorded) -> bool {
        self.size == file.size && self.mtime.is_some() && self.mtime == file.mtime
    }
}

async fn local_of(path: &Path, algorithm: Algorithm) -> Result<There, ClientError> {
    let sum = local_sum::of(path, algorithm).await?;
    Ok(There { printed: sum.printed, size: sum.meta.size, mtime: Some(sum.meta.mtime) })
}

async fn remote_of(client: &mut Client, file: &Recorded, algorithm: Algorithm) -> Result<There, ClientError> {
    let summed = client.sum(&file.remote, algorithm, true).await?;
    let printed = printed(&summed, algorithm);
    let mtime = if printed == file.hex {
        None
    } else {
        client.stat(&file.remote).await.ok().map(|entry| entry.mtime)
    };
    Ok(There { printed, size: summed.size, mtime })
}

/// A digest of the server as a transfer prints it.
pub(super) fn printed(summed: &Summed, algorithm: Algorithm) -> String {
    match (algorithm, blocks_of(summed.size)) {
        (Algorithm::Md5Tree, blocks @ 2..) => format!("{}-{blocks}", summed.digest),
        _ => summed.digest.to_string(),
    }
}

fn algorithm(name: &str) -> Option<Algorithm> {
    [Algorithm::Md5, Algorithm::Md5Tree, Algorithm::Sha256].into_iter().find(|known| known.name() == name)
}

fn unknown(name: &str) -> ClientError {
    Error::local(Status::Unsupported, format!("a digest '{name}' that this release does not compute")).into()
}
