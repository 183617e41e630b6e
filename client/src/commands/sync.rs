//! `sync`.

use std::path::{Component, Path, PathBuf};

use ft_protocol::RemotePath;

use super::Failed;
use super::context::{Context, Server};
use super::transfer::Run;
use super::tree::{Outcome, Trees};
use crate::cli::{BackupDir, SyncPlan};
use crate::exit::Exit;

pub(super) async fn run(context: &Context, server: &mut Server, plan: SyncPlan) -> Result<Exit, Failed> {
    let Server { name: host, client, .. } = server;
    let backup = match &plan.backup {
        None => None,
        Some(BackupDir::Remote(path)) => Some(path.clone()),
        Some(BackupDir::Local(dir)) => Some(beside(dir, &plan.local)?),
    };
    let (filter, names) = super::select::read(&plan.select).await?;
    let trees = Trees {
        direction: plan.direction,
        sync: true,
        checksum: plan.checksum,
        delete: plan.delete,
        backup,
        parents: plan.mkdirs,
        dry_run: plan.dry_run,
        filter,
        names,
    };
    let mut run = Run::new(context, host, "sync", &plan.transfer, client.run(), plan.dry_run)?;
    run.trees();
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

/// A local backup directory as the library takes it: beneath the parent of the target, so that what is kept there can
/// be renamed.
fn beside(dir: &Path, target: &Path) -> Result<RemotePath, Failed> {
    let shown = dir.display();
    let wrong = |why: &str| Failed::alone(Exit::Usage, format!("--backup-dir '{shown}' {why}"));
    let (dir, target) = (plain(dir)?, plain(target)?);
    if dir.starts_with(&target) {
        return Err(wrong("lies within the directory that becomes equal to another one; choose one outside"));
    }
    let parent = target.parent().unwrap_or(Path::new("/"));
    let rest = dir.strip_prefix(parent).map_err(|_| {
        wrong(&format!(
            "must be beneath '{}', so that it is on the same file system as the target",
            parent.display()
        ))
    })?;
    RemotePath::from_wire(rest.as_os_str().as_encoded_bytes()).map_err(|error| wrong(&error.to_string()))
}

/// Absolute and without `..`. What exists is resolved as the system would.
fn plain(path: &Path) -> Result<PathBuf, Failed> {
    let path = std::path::absolute(path)?;
    let mut there = path.as_path();
    let mut missing = Vec::new();
    let found = loop {
        match (there.canonicalize(), there.parent()) {
            (Ok(found), _) => break found,
            (Err(_), Some(parent)) => {
                missing.extend(there.components().next_back());
                there = parent;
            }
            (Err(_), None) => break PathBuf::from("/"),
        }
    };
    Ok(missing.into_iter().rev().fold(found, |mut path, part| {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::Normal(name) => path.push(name),
            _ => {}
        }
        path
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_backup_is_beneath_the_parent_of_the_target_and_outside_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("in/copy")).unwrap();
        std::os::unix::fs::symlink(base.join("in"), base.join("link")).unwrap();
        let beneath = |backup: &str, target: &str| {
            beside(&base.join(backup), &base.join(target)).map(|path| path.to_string()).map_err(|f| f.message)
        };
        assert_eq!(beneath("in/old", "in/copy").unwrap(), "old");
        assert_eq!(beneath("in/old/1", "in/copy/").unwrap(), "old/1");
        assert_eq!(beneath("in/copy2", "in/copy").unwrap(), "copy2");
        assert_eq!(beneath("link/old", "in/copy").unwrap(), "old");
        assert_eq!(beneath("in/new/../old", "in/copy").unwrap(), "old");
        for inside in ["in/copy", "in/copy/old", "link/copy/old", "in/old/../copy/x"] {
            assert!(beneath(inside, "in/copy").unwrap_err().contains("outside"), "{inside}");
        }
        assert!(beneath("old", "in/copy").unwrap_err().contains("must be beneath"));
    }
}
