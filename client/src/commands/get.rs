//! `get`.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ft_protocol::transfer::Meter;
use ft_protocol::wire::BLOCK_LEN;
use ft_protocol::{Error, RemotePath, Status};

use super::context::{Context, Server};
use super::expand::expand;
use super::transfer::{Arrived, Run, Taken, shown};
use super::{Failed, ends_the_job};
use crate::cli::{GetPlan, LocalTarget};
use crate::client::{Client, ClientError, Fetched, LocalFile};
use crate::exit::Exit;

pub(super) async fn run(context: &Context, server: &mut Server, plan: GetPlan) -> Result<Exit, Failed> {
    let Server { name, client, .. } = server;
    let mut run = Run::new(context, name, "get", &plan.transfer, client.run())?;
    let target = settle(plan.target);
    let mut paths = Vec::new();
    for operand in &plan.sources {
        match expand(client, operand).await {
            Ok(found) => paths.extend(found),
            Err(failed) if failed.exit == Exit::NotFound => run.unusable(&operand.shown(), failed),
            Err(failed) => return Err(failed.told(&context.output, name)),
        }
    }
    if paths.len() > 1
        && let LocalTarget::File(path) = &target
    {
        let message = format!("{} files need a directory, and '{}' is none", paths.len(), path.display());
        return Err(Failed::new(Exit::Usage, message));
    }
    // Patterns may overlap; each file is got once.
    let mut seen = HashSet::new();
    paths.retain(|path| seen.insert(path.clone()));
    run.files(paths.len());
    let mut taken = Taken::default();
    for path in &paths {
        let outcome = match taken.take(path.file_name().unwrap_or_default()) {
            Ok(()) => one(client, &mut run, path, &target).await,
            Err(error) => run.failed(shown(path), error),
        };
        match outcome {
            Ok(()) => {}
            // Said already, and counted.
            Err(failed) if failed.message.is_empty() => break,
            Err(failed) => return Err(failed),
        }
    }
    run.finish()
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
    let fetched = match local(target, path) {
        Err(error) => Err(error),
        Ok(None) => run.watch(shown(path), &meter, client.get_to(path, io::stdout(), &options)).await,
        Ok(Some(file)) => match file.exists() {
            Ok(true) if run.settings().no_clobber => return run.skipped(shown(path), "exists already"),
            Ok(_) => run.watch(shown(path), &meter, client.get_file(path, &file, &options)).await,
            Err(error) => Err(error),
        },
    };
    match fetched {
        Ok(Fetched { size, proof, whole, kept, grew }) => {
            run.arrived(&Arrived { path: shown(path), size, proof, whole, kept, grew }, start.elapsed())
        }
        // Half of a file on standard output cannot be taken back, so nothing may follow it.
        Err(error) if *target == LocalTarget::Stdout && !ends_the_job(&error) => {
            run.failed(shown(path), error)?;
            Err(Failed::new(Exit::Failure, ""))
        }
        Err(error) => run.failed(shown(path), with_advice(error, run, &meter)),
    }
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

/// Where the file goes; `None` is standard output.
fn local(target: &LocalTarget, path: &RemotePath) -> Result<Option<LocalFile>, ClientError> {
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
    LocalFile::new(&dir, &name).map(Some)
}
