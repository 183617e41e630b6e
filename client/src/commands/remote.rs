//! Housekeeping on the server: ls, stat, sum, mkdir, rm, mv.

use ft_protocol::digest::Algorithm;
use ft_protocol::{Error, RemotePath, Status};

use super::context::{Context, Server};
use super::expand::expand;
use super::transfer::shown;
use super::{Failed, ends_the_job};
use crate::address::RemoteOperand;
use crate::cli::values::SumDigest;
use crate::cli::{LsPlan, MkdirPlan, MvPlan, RmPlan, StatPlan, SumPlan};
use crate::client::{Client, ClientError, DirEntry, EntryType};
use crate::exit::{Exit, Tally};
use crate::output::{Entry, EntryKind};

/// A command on several paths: each fails alone, and the exit code is made of all.
struct Job<'a> {
    context: &'a Context,
    client: &'a mut Client,
    host: &'a str,
    tally: Tally,
}

impl<'a> Job<'a> {
    fn new(context: &'a Context, server: &'a mut Server) -> Self {
        Self { context, client: &mut server.client, host: &server.name, tally: Tally::new() }
    }

    /// The paths that operands mean; patterns without a match are said and counted.
    async fn paths(&mut self, operands: &[RemoteOperand]) -> Result<Vec<RemotePath>, Failed> {
        let mut paths = Vec::new();
        for operand in operands {
            match expand(self.client, operand).await {
                Ok(found) => paths.extend(found),
                Err(failed) if failed.exit == Exit::NotFound => {
                    failed.report(&self.context.output, Some(self.host), Some(&operand.shown()));
                    self.tally.failed(failed.exit);
                }
                Err(failed) => return Err(failed.told(&self.context.output, self.host)),
            }
        }
        Ok(paths)
    }

    /// Counts one outcome; an error ends the command.
    fn count<T>(&mut self, path: &RemotePath, outcome: Result<T, ClientError>) -> Result<Option<T>, Failed> {
        match outcome {
            Ok(value) => {
                self.tally.done();
                Ok(Some(value))
            }
            Err(error) if ends_the_job(&error) => {
                Err(Failed::from(error).told(&self.context.output, self.host))
            }
            Err(error) => {
                let failed = Failed::from(error);
                failed.report(&self.context.output, Some(self.host), Some(shown(path)));
                self.tally.failed(failed.exit);
                Ok(None)
            }
        }
    }

    fn finish(self) -> Exit {
        self.tally.exit()
    }
}

pub(super) async fn ls(context: &Context, server: &mut Server, plan: LsPlan) -> Result<Exit, Failed> {
    let mut job = Job::new(context, server);
    let paths = job.paths(&plan.sources).await?;
    let several = paths.len() > 1;
    for path in &paths {
        let listed = match job.client.list(path).await {
            // A file is listed as itself.
            Err(error) if error.status() == Status::NotDirectory => {
                job.client.stat(path).await.map(|entry| vec![DirEntry { name: Vec::new(), ..entry }])
            }
            listed => listed,
        };
        for entry in job.count(path, listed)?.unwrap_or_default() {
            let name = match (several, entry.name.is_empty()) {
                (_, true) => shown(path).to_vec(),
                (false, false) => entry.name.clone(),
                (true, false) if path.is_root() => entry.name.clone(),
                (true, false) => [path.as_bytes(), b"/", &entry.name].concat(),
            };
            context.output.listed(job.host, &described(&name, &entry), plan.long)?;
        }
    }
    Ok(job.finish())
}

pub(super) async fn stat(context: &Context, server: &mut Server, plan: StatPlan) -> Result<Exit, Failed> {
    let mut job = Job::new(context, server);
    for path in &job.paths(&plan.sources).await? {
        let entry = job.client.stat(path).await;
        if let Some(entry) = job.count(path, entry)? {
            context.output.stat(job.host, &described(shown(path), &entry))?;
        }
    }
    Ok(job.finish())
}

pub(super) async fn sum(context: &Context, server: &mut Server, plan: SumPlan) -> Result<Exit, Failed> {
    let (algorithm, name) = match plan.digest {
        SumDigest::Md5 => (Algorithm::Md5, "md5"),
        SumDigest::Sha256 => (Algorithm::Sha256, "sha256"),
    };
    let mut job = Job::new(context, server);
    for path in &job.paths(&plan.sources).await? {
        let summed = job.client.sum(path, algorithm, false).await;
        if let Some(summed) = job.count(path, summed)? {
            context.output.sum(job.host, name, &summed.digest.to_string(), path.as_bytes())?;
        }
    }
    Ok(job.finish())
}

pub(super) async fn mkdir(context: &Context, server: &mut Server, plan: MkdirPlan) -> Result<Exit, Failed> {
    let mut job = Job::new(context, server);
    for path in &plan.paths {
        let made = job.client.make_dir(path, plan.parents).await;
        job.count(path, made)?;
    }
    Ok(job.finish())
}

pub(super) async fn rm(context: &Context, server: &mut Server, plan: RmPlan) -> Result<Exit, Failed> {
    let mut job = Job::new(context, server);
    for path in &job.paths(&plan.sources).await? {
        let removed = match job.client.remove(path, plan.recursive).await {
            Err(error) if error.status() == Status::NotEmpty && !plan.recursive => {
                let message = "the directory is not empty; use -r to remove it with all that is in it";
                Err(Error::local(Status::NotEmpty, message).into())
            }
            removed => removed,
        };
        job.count(path, removed)?;
    }
    Ok(job.finish())
}

pub(super) async fn mv(context: &Context, server: &mut Server, plan: MvPlan) -> Result<Exit, Failed> {
    let mut job = Job::new(context, server);
    let moved = job.client.rename(&plan.from, &plan.to, false).await;
    job.count(&plan.from, moved)?;
    Ok(job.finish())
}

fn described<'a>(path: &'a [u8], entry: &'a DirEntry) -> Entry<'a> {
    let kind = match entry.kind {
        EntryType::File => EntryKind::File,
        EntryType::Dir => EntryKind::Directory,
        EntryType::Link => EntryKind::Symlink,
        EntryType::Other => EntryKind::Other,
    };
    Entry {
        path,
        kind,
        size: entry.size,
        mode: Some(entry.mode),
        mtime: Some((entry.mtime.secs, entry.mtime.nanos)),
    }
}
