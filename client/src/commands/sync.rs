//! `sync`.

use super::Failed;
use super::context::{Context, Server};
use super::transfer::Run;
use super::tree::{Outcome, Trees};
use crate::cli::SyncPlan;
use crate::exit::Exit;

pub(super) async fn run(context: &Context, server: &mut Server, plan: SyncPlan) -> Result<Exit, Failed> {
    let Server { name: host, client, .. } = server;
    let (filter, names) = super::select::read(&plan.select).await?;
    let trees = Trees {
        direction: plan.direction,
        sync: true,
        checksum: plan.checksum,
        delete: plan.delete,
        backup: plan.backup,
        parents: plan.mkdirs,
        dry_run: plan.dry_run,
        filter,
        names,
    };
    let mut run = Run::new(context, host, "sync", &plan.transfer, client.run(), plan.dry_run)?;
    run.trees(1);
    let SyncPlan { local, remote, .. } = plan;
    match trees.transfer(client, &mut run, local, remote.clone(), true, Vec::new()).await {
        Ok(Outcome::Tree) => {}
        Ok(Outcome::File) => {
            let message = "is no directory; sync makes directories equal, and get copies files";
            run.unusable(remote.as_bytes(), &Failed::new(Exit::Failure, message));
        }
        // Said already, and counted.
        Err(failed) if failed.message.is_empty() => {}
        Err(failed) => return Err(failed),
    }
    run.finish()
}
