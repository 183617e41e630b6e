//! `get`.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ft_protocol::transfer::Meter;
use ft_protocol::wire::BLOCK_LEN;
use ft_protocol::{Error, RemotePath, Status};

use super::books::Arrived;
use super::context::{Context, Server};
use super::expand::expand;
use super::transfer::{Run, Taken, shown};
use super::tree::{Outcome, Trees};
use super::{Failed, ends_the_job};
use crate::address::RemoteOperand;
use crate::cli::{Direction, GetPlan, LocalTarget};
use crate::client::{Client, ClientError, EntryType, Fetched, LocalFile};
use crate::exit::Exit;
use crate::output::Change;

pub(super) async fn run(context: &Context, server: &mut Server, plan: GetPlan) -> Result<Exit, Failed> {
    let Server { name, client, .. } = server;
    let tree = &plan.tree;
    let trees = match tree.recursive {
        true => Some(Trees::copying(Direction::FromServer, tree.dry_run, false, &tree.select).await?),
        false => None,
    };
    let mut run = Run::new(context, name, "get", &plan.transfer, client.run(), tree.dry_run)?;
    let mut paths = Vec::new();
    for operand in &plan.sources {
        match expand(client, operand).await {
            Ok(found) => paths.extend(found),
            Err(failed) if failed.exit == Exit::NotFound => run.unusable(&operand.shown(), &failed),
            Err(failed) => return Err(failed.told(&context.output, name)),
        }
    }
    // What a pattern names goes into the target, so that the number of matches does not decide where it lands.
    let is_pattern = plan.sources.iter().any(|operand| matches!(operand, RemoteOperand::Glob(_)));
    let copy = match &plan.target {
        LocalTarget::File(path) if !is_pattern => Some(path.clone()),
        _ => None,
    };
    let target = settle(plan.target);
    if paths.len() > 1
        && let LocalTarget::File(path) = &target
    {
        let message = format!("{} files need a directory, and '{}' is none", paths.len(), path.display());
        return Err(Failed::new(Exit::Usage, message));
    }
    // Patterns may overlap; each file is got once.
    let mut seen = HashSet::new();
    paths.retain(|path| seen.insert(path.clone()));
    match &trees {
        Some(_) => run.trees(paths.len()),
        None => run.files(paths.len()),
    }
    let mut job = Job { target, copy, trees, dry_run: tree.dry_run, taken: Taken::default() };
    let count = paths.len();
    for (number, path) in paths.iter().enumerate() {
        match job.source(client, &mut run, path, number + 1 == count).await {
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
    target: LocalTarget,
    /// What becomes the copy of a single directory.
    copy: Option<PathBuf>,
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
        path: &RemotePath,
        last: bool,
    ) -> Result<(), Failed> {
        let name = path.file_name().unwrap_or_default();
        if let Err(error) = self.taken.take(name) {
            return run.failed(shown(path), error);
        }
        if let Some(trees) = &self.trees {
            let (local, above) = match (&self.copy, &self.target) {
                (Some(copy), _) => (copy.clone(), Vec::new()),
                (None, LocalTarget::Directory(dir)) => (dir.join(OsStr::from_bytes(name)), name.to_vec()),
                (None, _) => {
                    let message = "what a pattern names goes into a directory, and the target is none";
                    return Err(Failed::new(Exit::Usage, message));
                }
            };
            match trees.transfer(client, run, local, path.clone(), last, above).await? {
                Outcome::Tree => return Ok(()),
                Outcome::File if trees.names.is_some() => {
                    let message = "is no directory, and --files-from lists what is in one";
                    run.unusable(shown(path), &Failed::new(Exit::Failure, message));
                    return Ok(());
                }
                Outcome::File if trees.excludes(name) => return Ok(()),
                Outcome::File => run.is_file(last),
            }
        }
        if self.dry_run {
            return would_get(client, run, path, &self.target).await;
        }
        one(client, run, path, &self.target).await
    }
}

/// Says what a `get` of a file would do.
async fn would_get(
    client: &mut Client,
    run: &mut Run<'_>,
    path: &RemotePath,
    target: &LocalTarget,
) -> Result<(), Failed> {
    let entry = match client.stat(path).await {
        Ok(entry) if entry.kind == EntryType::Dir => Err(is_directory()),
        Ok(entry) if entry.kind == EntryType::Other => {
            Err(Error::local(Status::NotRegular, "is no regular file").into())
        }
        entry => entry,
    };
    let there = entry.and_then(|entry| Ok((entry, local(target, path)?)));
    let (entry, file) = match there {
        Ok((entry, Some((file, _)))) => (entry, file),
        Ok((_, None)) => return Ok(()),
        Err(error) => return run.failed(shown(path), error),
    };
    match file.exists() {
        Ok(true) if run.settings().no_clobber => run.existing(shown(path)),
        Ok(true) => run.would_arrive(path, Change::Replaced, entry.size),
        Ok(false) => run.would_arrive(path, Change::Created, entry.size),
        Err(error) => run.failed(shown(path), error),
    }
}

/// An existing directory, or a name that can only be one, takes files under their own names.
fn settle(target: LocalTarget) -> LocalTarget {
    match target {
        LocalTarget::File(path) if path.is_dir() || path.file_name().is_none() => {
            LocalTarget::Directory(path)
        }
        other => other,
    }
}

async fn one(
    client: &mut Client,
    run: &mut Run<'_>,
    path: &RemotePath,
    target: &LocalTarget,
) -> Result<(), Failed> {
    let start = Instant::now();
    let options = run.options();
    let meter = std::sync::Arc::clone(&options.meter);
    let mut place = None;
    let fetched = match local(target, path) {
        Err(error) => Err(error),
        Ok(None) => run.watch(shown(path), &meter, client.get_to(path, io::stdout(), &options)).await,
        Ok(Some((file, at))) => {
            place = Some(at);
            match file.exists() {
                Ok(true) if run.settings().no_clobber => return run.existing(shown(path)),
                Ok(_) => run.watch(shown(path), &meter, client.get_file(path, &file, &options)).await,
                Err(error) => Err(error),
            }
        }
    };
    match fetched {
        Ok(Fetched { size, proof, whole, kept, grew }) => {
            let arrived = Arrived { path, local: place.as_deref(), size, proof, whole, kept, grew };
            run.arrived(&arrived, start.elapsed())
        }
        // Half of a file on standard output cannot be taken back, so nothing may follow it.
        Err(error) if *target == LocalTarget::Stdout && !ends_the_job(&error) => {
            run.failed(shown(path), error)?;
            Err(Failed::new(Exit::Failure, ""))
        }
        Err(ClientError::Protocol(Error::Remote(failure))) if failure.status == Status::IsDirectory => {
            run.failed(shown(path), is_directory())
        }
        Err(error) => run.failed(shown(path), with_advice(error, run, &meter)),
    }
}

fn is_directory() -> ClientError {
    Error::local(Status::IsDirectory, "is a directory; use -r to copy it with all that is in it").into()
}

/// A full disk here may hold what a later run can go on with.
fn with_advice(error: ClientError, run: &Run<'_>, meter: &Meter) -> ClientError {
    let resumable = meter.total().is_some_and(|total| total > BLOCK_LEN as u64) && meter.done() > 0;
    match &error {
        ClientError::Protocol(Error::Local(failure))
            if failure.status == Status::DiskFull && run.settings().resume && resumable =>
        {
            let message = format!(
                "{failure}; what arrived is kept in a '.ft-…' file in that directory: make room and run the \
                 command again to go on, or use --no-resume to keep nothing"
            );
            Error::local(Status::DiskFull, message).into()
        }
        _ => error,
    }
}

/// Where the file goes, held and by its path; `None` is standard output.
fn local(target: &LocalTarget, path: &RemotePath) -> Result<Option<(LocalFile, PathBuf)>, ClientError> {
    let (dir, name) = match target {
        LocalTarget::Stdout => return Ok(None),
        LocalTarget::Directory(dir) => {
            let directory = || Error::local(Status::IsDirectory, "the root is a directory; get takes files");
            (dir.clone(), path.file_name().ok_or_else(directory)?.to_vec())
        }
        LocalTarget::File(file) => {
            let name = file.file_name().unwrap_or_default().as_encoded_bytes().to_vec();
            (
                file.parent()
                    .filter(|dir| !dir.as_os_str().is_empty())
                    .map_or_else(|| PathBuf::from("."), Path::to_owned),
                name,
            )
        }
    };
    let file = LocalFile::new(&dir, &name)?;
    Ok(Some((file, dir.join(OsStr::from_bytes(&name)))))
}
