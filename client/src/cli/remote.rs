//! `ls`, `stat`, `sum`, `mkdir`, `rm`, `mv`.

use std::ffi::OsString;

use clap::Args;
use ft_protocol::RemotePath;

use super::values::SumDigest;
use super::{Hosts, UsageError};
use crate::address::RemoteOperand;

/// List a directory, or show that files exist
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ftclient ls nas:\n  ftclient ls --long 'nas:backup/*.iso'")]
pub(super) struct LsArgs {
    /// Remote directories, files or patterns [default: the root]
    #[arg(value_name = "REMOTE")]
    remotes: Vec<OsString>,
    /// Mode, size and modification time before each name; -l is the user, here as everywhere
    #[arg(long)]
    long: bool,
}

/// Show what is known about files
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ftclient stat nas:backup/big.iso\n  ftclient stat --json nas:a nas:b")]
pub(super) struct StatArgs {
    /// Remote files, directories or patterns
    #[arg(required = true, value_name = "REMOTE")]
    remotes: Vec<OsString>,
}

/// Print digests of remote files as md5sum does
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ftclient sum nas:backup/big.iso\n  ftclient sum 'nas:*.iso' > MD5SUMS; md5sum -c MD5SUMS"
)]
pub(super) struct SumArgs {
    /// Remote files or patterns
    #[arg(required = true, value_name = "REMOTE")]
    remotes: Vec<OsString>,
    /// Which digest
    #[arg(long, value_name = "DIGEST", default_value = "md5")]
    digest: SumDigest,
}

/// Make directories on the server
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ftclient mkdir nas:new\n  ftclient mkdir -p nas:2026/november")]
pub(super) struct MkdirArgs {
    /// Remote directories
    #[arg(required = true, value_name = "REMOTE")]
    remotes: Vec<OsString>,
    /// Make missing parents too; a directory that exists is no error
    #[arg(short, long, visible_alias = "mkdirs")]
    parents: bool,
}

/// Remove files on the server
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ftclient rm nas:old.iso 'nas:tmp/*.part'\n  ftclient rm -r nas:old")]
pub(super) struct RmArgs {
    /// Remote files or patterns
    #[arg(required = true, value_name = "REMOTE")]
    remotes: Vec<OsString>,
    /// Remove directories and what is in them
    #[arg(short, long)]
    recursive: bool,
}

/// Rename or move a file or directory on the server
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ftclient mv nas:a.txt nas:b.txt\n  ftclient mv -H nas a.txt archive/")]
pub(super) struct MvArgs {
    /// What to move
    #[arg(value_name = "REMOTE")]
    from: OsString,
    /// Its new name, or with a '/' at the end the directory to move it into
    #[arg(value_name = "NEW")]
    to: OsString,
}

/// An `ls`, ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LsPlan {
    /// What to list; at least one, the root where none was given.
    pub sources: Vec<RemoteOperand>,
    /// Mode, size and time as well.
    pub long: bool,
}

/// A `stat`, ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatPlan {
    /// What to show; at least one.
    pub sources: Vec<RemoteOperand>,
}

/// A `sum`, ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SumPlan {
    /// What to hash; at least one.
    pub sources: Vec<RemoteOperand>,
    /// Which digest.
    pub digest: SumDigest,
}

/// A `mkdir`, ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MkdirPlan {
    /// What to make; at least one, never the root.
    pub paths: Vec<RemotePath>,
    /// Make missing parents; existing directories are no error.
    pub parents: bool,
}

/// An `rm`, ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RmPlan {
    /// What to remove; at least one, never the root.
    pub sources: Vec<RemoteOperand>,
    /// Directories with their contents.
    pub recursive: bool,
}

/// An `mv`, ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MvPlan {
    /// What to move; never the root.
    pub from: RemotePath,
    /// Its new full path; a target that ended in `/` already has the base name of `from` joined.
    pub to: RemotePath,
}

impl LsArgs {
    pub(super) fn plan(self, hosts: &mut Hosts) -> Result<LsPlan, UsageError> {
        let sources = if self.remotes.is_empty() {
            vec![RemoteOperand::Path(hosts.start())]
        } else {
            operands(&self.remotes, hosts)?
        };
        Ok(LsPlan { sources, long: self.long })
    }
}

impl StatArgs {
    pub(super) fn plan(self, hosts: &mut Hosts) -> Result<StatPlan, UsageError> {
        Ok(StatPlan { sources: operands(&self.remotes, hosts)? })
    }
}

impl SumArgs {
    pub(super) fn plan(self, hosts: &mut Hosts) -> Result<SumPlan, UsageError> {
        Ok(SumPlan { sources: operands(&self.remotes, hosts)?, digest: self.digest })
    }
}

impl MkdirArgs {
    pub(super) fn plan(self, hosts: &mut Hosts) -> Result<MkdirPlan, UsageError> {
        let paths = self.remotes.iter().map(|remote| Ok(hosts.target(remote)?.0));
        let paths = paths.collect::<Result<Vec<_>, UsageError>>()?;
        if paths.iter().any(RemotePath::is_root) {
            return Err(UsageError::new("the root exists already; name a directory beneath it"));
        }
        Ok(MkdirPlan { paths, parents: self.parents })
    }
}

impl RmArgs {
    pub(super) fn plan(self, hosts: &mut Hosts) -> Result<RmPlan, UsageError> {
        let sources = operands(&self.remotes, hosts)?;
        if sources.contains(&RemoteOperand::Path(RemotePath::root())) {
            return Err(UsageError::new(
                "the root cannot be removed; use a pattern to empty it, as in 'nas:*'",
            ));
        }
        Ok(RmPlan { sources, recursive: self.recursive })
    }
}

impl MvArgs {
    pub(super) fn plan(self, hosts: &mut Hosts) -> Result<MvPlan, UsageError> {
        let (from, _) = hosts.target(&self.from)?;
        let (mut to, is_directory) = hosts.target(&self.to)?;
        let Some(name) = from.file_name() else {
            return Err(UsageError::new("the root cannot be moved"));
        };
        if is_directory {
            to = to.join(name).map_err(|error| UsageError::new(error.to_string()))?;
        }
        Ok(MvPlan { from, to })
    }
}

fn operands(remotes: &[OsString], hosts: &mut Hosts) -> Result<Vec<RemoteOperand>, UsageError> {
    remotes.iter().map(|remote| hosts.operand(remote)).collect()
}
