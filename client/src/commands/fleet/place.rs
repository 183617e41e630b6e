//! Where the files of one of many hosts are here: a directory each, so that none replaces those of another.

use std::path::{Path, PathBuf};

use ft_protocol::Error;
use tempfile::TempDir;

use super::super::Failed;
use crate::cli::{BackupDir, Direction, LocalTarget, Plan};
use crate::exit::Exit;
use crate::output::reason;

/// What was made for a host.
pub(super) enum Made {
    /// Nothing.
    Nothing,
    /// A directory; it goes again where nothing came into it.
    Directory(PathBuf),
    /// An empty directory in the place of one that only a dry run would need; it goes when this is dropped.
    StandIn { _directory: TempDir },
}

/// Who uses a directory that is made where it is missing.
#[derive(Debug, Clone, Copy)]
enum Whose {
    Own,
    All,
}

impl Drop for Made {
    fn drop(&mut self) {
        if let Made::Directory(path) = self {
            // One that is not empty stays.
            let _ = std::fs::remove_dir(path);
        }
    }
}

/// The command as it is for this host. What is got goes into `HOST` beneath the target; what is put comes from the
/// same place for all.
pub(super) fn of_host(mut plan: Plan, host: &str) -> Result<(Plan, Made), Failed> {
    if ft_protocol::path::check_name(host.as_bytes()).is_err() {
        let message = "the host's name, with its user, cannot be that of a directory";
        return Err(Failed::alone(Exit::Usage, message));
    }
    let made = match &mut plan {
        Plan::Get(get) => {
            let recursive = get.tree.recursive;
            let (target, holder, whose) = match &get.target {
                LocalTarget::Stdout => return Ok((plan, Made::Nothing)),
                // The host's directory becomes the copy, so that running it again gives the same.
                LocalTarget::File(path) if recursive => {
                    (LocalTarget::File(path.join(host)), path.clone(), Whose::All)
                }
                LocalTarget::File(path) | LocalTarget::Directory(path) => {
                    (LocalTarget::Directory(path.join(host)), path.join(host), Whose::Own)
                }
            };
            get.target = target;
            if get.tree.dry_run && !recursive && !holder.is_dir() {
                let made = tempfile::tempdir().map_err(|error| failed("make a directory", &error))?;
                get.target = LocalTarget::Directory(made.path().to_owned());
                return Ok((plan, Made::StandIn { _directory: made }));
            }
            (!get.tree.dry_run).then_some((holder, whose))
        }
        Plan::Sync(sync) if sync.direction == Direction::FromServer => {
            let holder = sync.local.clone();
            sync.local = holder.join(host);
            if let Some(BackupDir::Local(dir)) = &mut sync.backup {
                *dir = dir.join(host);
            }
            (!sync.dry_run).then_some((holder, Whose::All))
        }
        _ => None,
    };
    let Some((directory, whose)) = made else { return Ok((plan, Made::Nothing)) };
    let existed = directory.is_dir();
    make(&directory)?;
    let made = match whose {
        Whose::Own if !existed => Made::Directory(directory),
        // Another host may be about to use it.
        Whose::Own | Whose::All => Made::Nothing,
    };
    Ok((plan, made))
}

fn make(directory: &Path) -> Result<(), Failed> {
    std::fs::create_dir_all(directory)
        .map_err(|error| failed(&format!("make '{}'", directory.display()), &error))
}

fn failed(doing: &str, error: &std::io::Error) -> Failed {
    let error = Error::io(doing, error);
    Failed::alone(error.status().into(), reason(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parse;

    fn plan(words: &[&str]) -> Plan {
        parse(words.iter().map(Into::into)).unwrap().plan
    }

    #[test]
    fn a_host_that_fails_takes_no_directory_of_the_others_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("web1");
        let target = out.to_str().unwrap();
        for line in [["ftclient", "get", "-r", ":x", target].as_slice(), &["ftclient", "sync", ":x", target]]
        {
            drop(of_host(plan(line), "web1").unwrap());
            assert!(out.is_dir(), "{line:?}");
            std::fs::remove_dir(&out).unwrap();
        }
        drop(of_host(plan(&["ftclient", "get", "-t", target, ":x"]), "web2").unwrap());
        assert!(out.is_dir() && !out.join("web2").exists(), "its own goes where nothing came into it");
    }

    #[test]
    fn a_name_that_leads_elsewhere_gets_no_directory() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a/b");
        let get = plan(&["ftclient", "get", "-t", target.to_str().unwrap(), ":x"]);
        for host in ["../../x@web1", "/x@web1", "..", "."] {
            assert!(of_host(get.clone(), host).is_err(), "{host}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
