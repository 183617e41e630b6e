//! Where the files of one of many hosts are here: a directory each, so that none replaces those of another.

use std::path::{Path, PathBuf};

use ft_protocol::Error;

use super::super::Failed;
use crate::cli::{BackupDir, Direction, LocalTarget, Plan};
use crate::output::reason;

/// A directory that was made for a host; it goes again where nothing came into it.
pub(super) struct Made(Option<PathBuf>);

impl Made {
    pub(super) fn leave(&self) {
        if let Some(path) = &self.0 {
            // One that is not empty stays.
            let _ = std::fs::remove_dir(path);
        }
    }
}

/// The command as it is for this host. What is got goes into `HOST` beneath the target; what is put comes from the
/// same place for all.
pub(super) fn of_host(mut plan: Plan, host: &str) -> Result<(Plan, Made), Failed> {
    let made = match &mut plan {
        Plan::Get(get) => {
            let recursive = get.tree.recursive;
            let (target, holder) = match &get.target {
                LocalTarget::Stdout => return Ok((plan, Made(None))),
                // The host's directory becomes the copy, so that running it again gives the same.
                LocalTarget::File(path) if recursive => (LocalTarget::File(path.join(host)), path.clone()),
                LocalTarget::File(path) | LocalTarget::Directory(path) => {
                    (LocalTarget::Directory(path.join(host)), path.join(host))
                }
            };
            get.target = target;
            (!get.tree.dry_run).then_some(holder)
        }
        Plan::Sync(sync) if sync.direction == Direction::FromServer => {
            let holder = sync.local.clone();
            sync.local = holder.join(host);
            if let Some(BackupDir::Local(dir)) = &mut sync.backup {
                *dir = dir.join(host);
            }
            (!sync.dry_run).then_some(holder)
        }
        _ => None,
    };
    let Some(directory) = made else { return Ok((plan, Made(None))) };
    let existed = directory.is_dir();
    make(&directory)?;
    Ok((plan, Made((!existed).then_some(directory))))
}

fn make(directory: &Path) -> Result<(), Failed> {
    std::fs::create_dir_all(directory).map_err(|error| {
        let error = Error::io(format_args!("make '{}'", directory.display()), &error);
        Failed::alone(error.status().into(), reason(&error))
    })
}
