//! `sync` and `check`: two directories, one of them remote.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::{Args, ValueHint};
use ft_protocol::RemotePath;

use super::backup::{BackupDir, Target};
use super::globals::TransferArgs;
use super::select::{SelectArgs, Selection};
use super::values::DigestChoice;
use super::{Hosts, UsageError};
use crate::address::{RemoteArg, names_remote};

const SYNC_HELP: &str = "\
Makes directory DST equal to directory SRC, with or without a '/' at the end, by copying what differs: a file of the \
same size and modification time counts as equal, unless --checksum compares the contents. Modification times are \
kept; modes too with -p. Links are copied as links; devices, sockets and FIFOs are skipped. What DST has and SRC has \
not stays, unless --delete removes it: after everything arrived, and not at all where anything failed. What is \
excluded is left alone at both ends. --backup-dir keeps the last version of a name; a directory for each run keeps \
them all. The same command again takes up what was cut short.

The remote side has a colon: host:path, or :path for the host of -H or the default one. A local name with a colon is \
written ./a:b.

Each changed name gives a line on standard error: '+' new, '*' changed, '-' deleted, '!' failed. With -n the same \
lines say what would be done.

Examples:
  ftclient sync photos nas:photos
  ftclient sync --delete --max-delete 100 --exclude '*.tmp' photos nas:photos
  ftclient sync -n --delete nas:photos photos
  ftclient sync --delete --backup-dir nas:old photos nas:photos";

const CHECK_HELP: &str = "\
Compares two directories, or two files, by the digests of their contents, which both ends compute anew; nothing is \
moved or changed. Each name gives a line on standard output: '=' equal, '*' different, '+' only LOCAL has it, '-' only \
REMOTE has it, '!' could not be read. With -q the '=' lines are left out.

With --receipt it compares with what an earlier get, put or sync recorded: the local files with --local, those on the \
server with --remote, both without. There '-' is a file that is gone. RUN is 'last', a run's number or its beginning, \
or a file. --sums prints the recorded digests instead, as md5sum does.

Exit codes: 0 all equal; 1 some differ; 3 something could not be read.

Examples:
  ftclient check photos nas:photos
  ftclient check --receipt last
  ftclient check --receipt 83624a82 --remote
  ftclient check --receipt last --sums > MD5SUMS; md5sum -c MD5SUMS";

/// Make a directory equal to another one
#[derive(Debug, Args)]
#[command(after_help = SYNC_HELP)]
pub(super) struct SyncArgs {
    /// The directory to copy: local, or remote as host:path or :path
    #[arg(value_name = "SRC", value_hint = ValueHint::AnyPath)]
    source: OsString,
    /// The directory that becomes equal to it: remote, or local
    #[arg(value_name = "DST", value_hint = ValueHint::AnyPath)]
    target: OsString,
    /// Remove from DST what SRC does not have
    #[arg(long)]
    delete: bool,
    /// Remove nothing where more than so many names would go; they are counted before
    #[arg(long, value_name = "N", requires = "delete")]
    max_delete: Option<u64>,
    /// Compare contents also where size and time are the same
    #[arg(long)]
    checksum: bool,
    /// Say what would be done, and do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Keep what is replaced or deleted in this directory: on the side of DST, outside of it, on the same file system
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    backup_dir: Option<OsString>,
    /// Make missing parent directories of DST
    #[arg(long)]
    mkdirs: bool,
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    transfer: TransferArgs,
}

/// Compare a local directory with a remote one, or with what a run recorded
#[derive(Debug, Args)]
#[command(after_help = CHECK_HELP,
    override_usage = "ftclient check [OPTIONS] LOCAL REMOTE\n       ftclient check [OPTIONS] --receipt RUN [--local] [--remote] [--sums]")]
pub(super) struct CheckArgs {
    /// Local directory
    #[arg(value_name = "LOCAL", value_hint = ValueHint::AnyPath, required_unless_present = "receipt")]
    here: Option<PathBuf>,
    /// Remote directory, as host:path or :path
    #[arg(value_name = "REMOTE", required_unless_present = "receipt")]
    there: Option<OsString>,
    /// Compare with what this run recorded
    #[arg(long, value_name = "RUN", conflicts_with_all = ["here", "there"])]
    receipt: Option<OsString>,
    /// Look at the local files of the receipt
    #[arg(long)]
    local: bool,
    /// Look at the server's files of the receipt
    #[arg(long)]
    remote: bool,
    /// Print the receipt's digests as md5sum does, with local names, or with --remote those beneath the account's root
    #[arg(long, visible_alias = "md5sums")]
    sums: bool,
    /// How contents are compared [default: md5]
    #[arg(long, env = "FTCLIENT_DIGEST", hide_env_values = true, value_name = "DIGEST")]
    digest: Option<DigestChoice>,
    #[command(flatten)]
    select: SelectArgs,
}

/// A `sync`, ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncPlan {
    /// Which side is the source.
    pub direction: Direction,
    /// The local directory.
    pub local: PathBuf,
    /// The remote directory; may be the root.
    pub remote: RemotePath,
    /// Most names that may be removed; `None`: nothing is.
    pub delete: Option<u64>,
    /// Compare contents also where size and time are the same.
    pub checksum: bool,
    /// Change nothing.
    pub dry_run: bool,
    /// Where what is replaced or deleted is kept.
    pub backup: Option<BackupDir>,
    /// Make missing parents of the target.
    pub mkdirs: bool,
    /// What takes part.
    pub select: Selection,
    /// Options as given.
    pub transfer: TransferArgs,
}

/// Which way a `sync` goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The remote directory becomes equal to the local one.
    ToServer,
    /// The local directory becomes equal to the remote one.
    FromServer,
}

/// A `check`, ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckPlan {
    /// A local directory with a remote one.
    Trees {
        /// The local directory.
        local: PathBuf,
        /// The remote directory.
        remote: RemotePath,
        /// How contents are compared.
        digest: Option<DigestChoice>,
        /// What takes part.
        select: Selection,
    },
    /// Files with what a run recorded.
    Receipt {
        /// `last`, the number of a run or its beginning, or a file.
        run: OsString,
        /// Which files.
        sides: Sides,
    },
    /// The digests of a receipt as lines of md5sum.
    Sums {
        /// `last`, the number of a run or its beginning, or a file.
        run: OsString,
        /// Names as on the server; otherwise local ones.
        remote: bool,
    },
}

/// Which files of a receipt are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sides {
    /// Those here.
    Local,
    /// Those on the server.
    Remote,
    /// Both.
    Both,
}

impl SyncArgs {
    pub(super) fn plan(self, hosts: &mut Hosts) -> Result<SyncPlan, UsageError> {
        let (direction, local, remote) = match (names_remote(&self.source), names_remote(&self.target)) {
            (true, false) => (Direction::FromServer, &self.target, &self.source),
            (false, true) => (Direction::ToServer, &self.source, &self.target),
            (true, true) => {
                return Err(UsageError::new(
                    "both directories are remote, and copies from remote to remote are not supported: sync to this \
                     machine first (a local name with a colon is written ./a:b)",
                ));
            }
            (false, false) => {
                return Err(UsageError::new(
                    "one of the two directories is remote: write host:path, or :path for the default host",
                ));
            }
        };
        let (local, remote) = (local_directory(local, hosts)?, hosts.beside_local(remote)?.literal()?);
        let select = self.select.plan(hosts)?;
        if self.delete && select.names.is_some() {
            return Err(UsageError::new(
                "--delete and --files-from exclude each other: all that is not listed would go",
            ));
        }
        let target = Target { direction, local: &local, remote: &remote };
        let backup = self.backup_dir.as_deref().map(|dir| BackupDir::plan(dir, &target, hosts));
        Ok(SyncPlan {
            direction,
            local,
            remote,
            delete: self.delete.then(|| self.max_delete.unwrap_or(u64::MAX)),
            checksum: self.checksum,
            dry_run: self.dry_run,
            backup: backup.transpose()?,
            mkdirs: self.mkdirs,
            select,
            transfer: self.transfer,
        })
    }
}

impl CheckArgs {
    pub(super) fn plan(self, hosts: &mut Hosts) -> Result<CheckPlan, UsageError> {
        let select = self.select.plan(hosts)?;
        match (self.receipt, self.here, self.there) {
            (None, ..) if self.local || self.remote || self.sums => Err(UsageError::new(
                "--local, --remote and --sums say what to do with a receipt: add --receipt RUN",
            )),
            (Some(_), ..) if !select.is_all() => Err(UsageError::new(
                "a receipt lists its files; --exclude and its like choose within directories",
            )),
            (Some(run), ..) if run.is_empty() => Err(UsageError::new("--receipt needs a run, or 'last'")),
            (Some(_), ..) if self.sums && self.local && self.remote => {
                Err(UsageError::new("--sums prints the names of one side: --local or --remote"))
            }
            (Some(run), ..) if self.sums => Ok(CheckPlan::Sums { run, remote: self.remote }),
            (Some(run), ..) => {
                let sides = match (self.local, self.remote) {
                    (true, false) => Sides::Local,
                    (false, true) => Sides::Remote,
                    _ => Sides::Both,
                };
                Ok(CheckPlan::Receipt { run, sides })
            }
            (None, Some(local), Some(there)) => {
                if hosts.names_host(local.as_os_str()) {
                    return Err(UsageError::new(
                        "check LOCAL REMOTE: the first directory is local (a local name with a colon is written ./a:b)",
                    ));
                }
                let local = local_directory(local.as_os_str(), hosts)?;
                let there = match (names_remote(&there), hosts.here.is_some()) {
                    (true, _) => hosts.beside_local(&there)?,
                    // The shell knows by the place which side is meant.
                    (false, true) => hosts.remote(&there)?,
                    (false, false) => {
                        return Err(UsageError::new(
                            "check LOCAL REMOTE: the second directory is remote; write host:path, or :path for the \
                             default host",
                        ));
                    }
                };
                Ok(CheckPlan::Trees { local, remote: there.literal()?, digest: self.digest, select })
            }
            _ => Err(UsageError::new("check needs a local and a remote directory, or --receipt RUN")),
        }
    }
}

fn local_directory(text: &OsStr, hosts: &Hosts) -> Result<PathBuf, UsageError> {
    match text.as_bytes() {
        b"" => Err(UsageError::new("the local directory is empty; write . for the current one")),
        b"-" => Err(UsageError::new("'-' is no directory; a directory of that name is written ./-")),
        _ => Ok(hosts.local(text)),
    }
}

impl Hosts {
    /// A remote operand that only its colon tells from a local one; also in the shell, where others have none.
    pub(super) fn beside_local(&mut self, text: &OsStr) -> Result<RemoteArg, UsageError> {
        let here = self.here.as_ref().map(|here| here.cwd().clone());
        let Some(cwd) = here else { return self.remote(text) };
        match text.as_bytes().strip_prefix(b":") {
            Some(path) => Ok(RemoteArg::within(&cwd, path, path)),
            None => Err(UsageError::new("the shell has one host: write the remote directory as :path")),
        }
    }
}
