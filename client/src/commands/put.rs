//! `put`.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::time::Instant;

use super::Failed;
use super::context::{Context, Server};
use super::transfer::{Arrived, Run, Taken, shown};
use crate::cli::{LocalSource, PutPlan};
use crate::client::{Client, PutTarget, Stored};
use crate::exit::Exit;

pub(super) async fn run(context: &Context, server: &mut Server, mut plan: PutPlan) -> Result<Exit, Failed> {
    let Server { name: host, client, .. } = server;
    let mut run = Run::new(context, host, "put", &plan.transfer, client.run())?;
    // As with get: named twice, it is put once.
    let mut seen = HashSet::new();
    plan.sources.retain(|source| seen.insert(source.clone()));
    run.files(plan.sources.len());
    let target = PutTarget { path: plan.target, into: plan.target_is_dir, parents: plan.mkdirs };
    let mut taken = Taken::default();
    for source in &plan.sources {
        let outcome = match taken.take(name(source)) {
            Ok(()) => one(client, &mut run, source, &target).await,
            Err(error) => run.failed(path_of(source), error),
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

async fn one(
    client: &mut Client,
    run: &mut Run<'_>,
    source: &LocalSource,
    target: &PutTarget,
) -> Result<(), Failed> {
    let start = Instant::now();
    let options = run.options();
    let meter = std::sync::Arc::clone(&options.meter);
    let (name, stored) = match source {
        LocalSource::Stdin => {
            let put = client.put_stream(io::stdin(), target, &options);
            (target.path.as_bytes(), run.watch(b"-", &meter, put).await)
        }
        LocalSource::Path(path) => {
            let put = client.put_file(path, target, &options);
            (bytes(path), run.watch(bytes(path), &meter, put).await)
        }
    };
    match stored {
        Ok(Stored { size, proof, whole, kept, grew, path }) => {
            run.arrived(&Arrived { path: shown(&path), size, proof, whole, kept, grew }, start.elapsed())
        }
        Err(error) => run.failed(name, error),
    }
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
