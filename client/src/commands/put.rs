//! `put`.

use std::collections::HashSet;
use std::path::Path;
use std::time::Instant;

use ft_protocol::{Error, Status};

use super::books::Arrived;
use super::context::{Context, Server};
use super::transfer::{Run, Taken};
use super::tree::Trees;
use super::{About, Failed};
use crate::cli::{Direction, LocalSource, PutPlan};
use crate::client::{Client, ClientError, EntryType, PutTarget, Stored};
use crate::exit::Exit;
use crate::output::Change;

pub(super) async fn run(context: &Context, server: &mut Server, mut plan: PutPlan) -> Result<Exit, Failed> {
    let Server { name: host, client, .. } = server;
    let tree = &plan.tree;
    let trees = match tree.recursive {
        true => Some(Trees::copying(Direction::ToServer, tree.dry_run, plan.mkdirs, &tree.select).await?),
        false => None,
    };
    let mut run = Run::new(context, host, "put", &plan.transfer, client.run(), tree.dry_run)?;
    // As with get: named twice, it is put once.
    let mut seen = HashSet::new();
    plan.sources.retain(|source| seen.insert(source.clone()));
    match &trees {
        Some(_) => run.trees(plan.sources.len()),
        None => run.files(plan.sources.len()),
    }
    let target = PutTarget { path: plan.target, into: plan.target_is_dir, parents: plan.mkdirs };
    let mut job = Job { target, trees, dry_run: plan.tree.dry_run, taken: Taken::default() };
    let count = plan.sources.len();
    for (number, source) in plan.sources.iter().enumerate() {
        match job.source(client, &mut run, source, number + 1 == count).await {
            Ok(()) => {}
            // Said already, and counted.
            Err(failed) if failed.message.is_empty() => break,
            Err(failed) => return Err(failed),
        }
    }
    run.finish()
}

/// What holds for all sources of a run.
struct Job {
    target: PutTarget,
    /// With `-r`.
    trees: Option<Trees>,
    dry_run: bool,
    taken: Taken,
}

impl Job {
    async fn source(
        &mut self,
        client: &mut Client,
        run: &mut Run<'_>,
        source: &LocalSource,
        last: bool,
    ) -> Result<(), Failed> {
        if let Err(error) = self.taken.take(name(source)) {
            return run.failed(path_of(source), error);
        }
        match (&self.trees, source) {
            (Some(trees), LocalSource::Path(path)) if path.is_dir() => {
                return self.directory(trees, client, run, path, last).await;
            }
            (Some(trees), LocalSource::Path(path)) if trees.names.is_some() => {
                let message = "is no directory, and --files-from lists what is in one";
                let failed = Failed { about: About::Here, ..Failed::new(Exit::Failure, message) };
                run.unusable(bytes(path), &failed);
                return Ok(());
            }
            (Some(trees), LocalSource::Path(_)) if trees.excludes(name(source)) => return Ok(()),
            (Some(_), _) => run.is_file(last),
            (None, _) => {}
        }
        match source {
            LocalSource::Path(path) if self.dry_run => self.would_put(client, run, path).await,
            _ => one(client, run, source, &self.target).await,
        }
    }

    async fn directory(
        &self,
        trees: &Trees,
        client: &mut Client,
        run: &mut Run<'_>,
        path: &Path,
        last: bool,
    ) -> Result<(), Failed> {
        let (remote, above) = match (self.target.into, path.file_name()) {
            // As with cp, the contents of '.' go into the target.
            (false, _) => (self.target.path.clone(), Vec::new()),
            (true, _) if is_dot(path) => (self.target.path.clone(), Vec::new()),
            (true, Some(name)) => {
                let name = name.as_encoded_bytes();
                match self.target.path.join(name) {
                    Ok(remote) => (remote, name.to_vec()),
                    Err(error) => return run.failed(bytes(path), error.into()),
                }
            }
            (true, None) => {
                let message = "it has no name of its own: name the directory that becomes its copy";
                let failed = Failed { about: About::Here, ..Failed::new(Exit::Usage, message) };
                run.unusable(bytes(path), &failed);
                return Ok(());
            }
        };
        trees.transfer(client, run, path.to_owned(), remote, last, above).await.map(|_| ())
    }

    /// Says what a `put` of a file would do.
    async fn would_put(&self, client: &mut Client, run: &mut Run<'_>, path: &Path) -> Result<(), Failed> {
        let size = match std::fs::metadata(path) {
            Ok(meta) if meta.is_file() => meta.len(),
            Ok(meta) if meta.is_dir() => return run.failed(bytes(path), is_directory()),
            Ok(_) => {
                return run
                    .failed(bytes(path), Error::local(Status::NotRegular, "is no regular file").into());
            }
            Err(error) => return run.failed(bytes(path), Error::io("open it", &error).into()),
        };
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        let mut remote = self.target.path.clone();
        let mut standing = client.stat(&remote).await;
        if self.target.into || standing.as_ref().is_ok_and(|entry| entry.kind == EntryType::Dir) {
            remote = match remote.join(name) {
                Ok(remote) => remote,
                Err(error) => return run.failed(bytes(path), error.into()),
            };
            standing = client.stat(&remote).await;
        }
        match standing {
            Ok(_) if run.settings().no_clobber => run.existing(remote.as_bytes()),
            Ok(_) => run.would_arrive(&remote, Change::Replaced, size),
            Err(error) if error.status() == Status::NotFound => {
                run.would_arrive(&remote, Change::Created, size)
            }
            Err(error) => run.failed(remote.as_bytes(), error),
        }
    }
}

async fn one(
    client: &mut Client,
    run: &mut Run<'_>,
    source: &LocalSource,
    target: &PutTarget,
) -> Result<(), Failed> {
    let start = Instant::now();
    let options = run.options();
    let meter = std::sync::Arc::clone(&options.meter);
    let (name, local, stored) = match source {
        LocalSource::Stdin => {
            let put = client.put_stream(run.stdin()?, target, &options);
            (target.path.as_bytes(), None, run.watch(b"-", &meter, put).await)
        }
        LocalSource::Path(path) => {
            let put = client.put_file(path, target, &options);
            (bytes(path), Some(path.as_path()), run.watch(bytes(path), &meter, put).await)
        }
    };
    match stored {
        Ok(Stored { size, proof, whole, kept, grew, path }) => {
            run.arrived(&Arrived { path: &path, local, size, proof, whole, kept, grew }, start.elapsed())
        }
        Err(ClientError::Protocol(Error::Local(failure)))
            if local.is_some() && failure.status == Status::IsDirectory =>
        {
            run.failed(name, is_directory())
        }
        Err(error) if local.is_some() => run.not_sent(name, error),
        Err(error) => run.failed(name, error),
    }
}

fn is_directory() -> ClientError {
    Error::local(Status::IsDirectory, "is a directory; use -r to copy it with all that is in it").into()
}

/// True for `.` and what ends in `/.`.
fn is_dot(path: &Path) -> bool {
    matches!(bytes(path).rsplit(|byte| *byte == b'/').find(|part| !part.is_empty()), Some(b"."))
}

/// The name under which it goes into a directory.
fn name(source: &LocalSource) -> &[u8] {
    match source {
        LocalSource::Stdin => b"-",
        LocalSource::Path(path) => path.file_name().unwrap_or_default().as_encoded_bytes(),
    }
}

fn path_of(source: &LocalSource) -> &[u8] {
    match source {
        LocalSource::Stdin => b"-",
        LocalSource::Path(path) => bytes(path),
    }
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}
