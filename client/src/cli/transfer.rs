//! `get` and `put`: the grammar of cp.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use ft_protocol::RemotePath;

use super::globals::TransferArgs;
use super::select::{SelectArgs, Selection};
use super::{Hosts, UsageError};
use crate::address::RemoteOperand;

const GET_EXAMPLES: &str = "\
Examples:
  ftclient get nas:backup/big.iso            into the current directory
  ftclient get nas:a.txt b.txt               under another name
  ftclient get -t pictures 'nas:2026/*.jpg'  several files, quoted from the shell
  ftclient get -r nas:photos copy            a directory; copy becomes a copy of photos
  ftclient get -r nas:photos copies/         into a directory, as copies/photos
  ftclient get nas:dump.sql.gz - | gunzip    to standard output";

const PUT_EXAMPLES: &str = "\
Examples:
  ftclient put big.iso nas:backup/           into a directory
  ftclient put -t nas:2026 *.jpg             several files
  ftclient put -r photos nas:copy            a directory; copy becomes a copy of photos
  ftclient put -r photos letters nas:        several, each under its own name
  ftclient put --mkdirs a.txt nas:new/dir/a.txt
  pg_dump db | ftclient put - nas:db.sql     from standard input";

/// Copy files from the server
#[derive(Debug, Args)]
#[command(after_help = GET_EXAMPLES,
    override_usage = "ftclient get [OPTIONS] REMOTE [LOCAL]\n       ftclient get [OPTIONS] REMOTE... LOCALDIR\n       ftclient get [OPTIONS] -t LOCALDIR REMOTE...")]
pub(super) struct GetArgs {
    /// Remote files, then the local target; '-' as target is standard output
    #[arg(required = true, value_name = "REMOTE... [LOCAL]", value_hint = ValueHint::AnyPath)]
    operands: Vec<OsString>,
    /// Local directory for all operands
    #[arg(short, long, value_name = "LOCALDIR", value_hint = ValueHint::DirPath)]
    target_directory: Option<PathBuf>,
    #[command(flatten)]
    tree: TreeArgs,
    #[command(flatten)]
    transfer: TransferArgs,
}

/// Copy files to the server
#[derive(Debug, Args)]
#[command(after_help = PUT_EXAMPLES,
    override_usage = "ftclient put [OPTIONS] LOCAL [REMOTE]\n       ftclient put [OPTIONS] LOCAL... REMOTEDIR\n       ftclient put [OPTIONS] -t REMOTEDIR LOCAL...")]
pub(super) struct PutArgs {
    /// Local files, then the remote target; '-' as file is standard input
    #[arg(required = true, value_name = "LOCAL... [REMOTE]", value_hint = ValueHint::AnyPath)]
    operands: Vec<OsString>,
    /// Remote directory for all operands
    #[arg(short, long, value_name = "REMOTEDIR")]
    target_directory: Option<OsString>,
    /// Make missing parent directories
    #[arg(long)]
    mkdirs: bool,
    #[command(flatten)]
    tree: TreeArgs,
    #[command(flatten)]
    transfer: TransferArgs,
}

/// What `get` and `put` take for directories.
#[derive(Debug, Args)]
struct TreeArgs {
    /// Copy directories with all that is in them. The target becomes the copy of a single directory, unless it ends in
    /// '/' or comes with -t; several, and those that a pattern names, go into it. Links are copied as links; devices, sockets and FIFOs are skipped
    #[arg(short, long)]
    recursive: bool,
    /// Say what would be done, and do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    select: SelectArgs,
}

/// How `get` and `put` deal with directories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TreePlan {
    /// Copy directories with all that is in them; otherwise one is an error.
    pub recursive: bool,
    /// Change nothing.
    pub dry_run: bool,
    /// What of the directories takes part.
    pub select: Selection,
}

impl TreeArgs {
    fn plan(self, sources: usize, hosts: &Hosts) -> Result<TreePlan, UsageError> {
        let select = self.select.plan(hosts)?;
        if !self.recursive && !select.is_all() {
            return Err(UsageError::new(
                "--exclude, --include, --exclude-from and --files-from choose within a directory: add -r",
            ));
        }
        if select.names.is_some() && sources != 1 {
            return Err(UsageError::new("--files-from lists names of one directory, and there are several"));
        }
        Ok(TreePlan { recursive: self.recursive, dry_run: self.dry_run, select })
    }
}

/// Where `get` writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalTarget {
    /// Standard output; there is one source, and it is no pattern.
    Stdout,
    /// One path given for one operand: cp's rule decides whether it is a directory to copy into. Where the
    /// operand is a pattern that names several files, it must be one. Of a directory it becomes the copy.
    File(PathBuf),
    /// Must be a directory.
    Directory(PathBuf),
}

/// A `get`, ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetPlan {
    /// What to copy; at least one. The root only to a [`LocalTarget::File`], which becomes its copy.
    pub sources: Vec<RemoteOperand>,
    /// Where to.
    pub target: LocalTarget,
    /// Directories.
    pub tree: TreePlan,
    /// Options as given.
    pub transfer: TransferArgs,
}

/// What `put` reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LocalSource {
    /// Standard input; the only source, and the target names a file.
    Stdin,
    /// A local file.
    Path(PathBuf),
}

impl LocalSource {
    /// The file, where it has a name.
    pub fn path(&self) -> Option<&Path> {
        match self {
            LocalSource::Stdin => None,
            LocalSource::Path(path) => Some(path),
        }
    }
}

/// A `put`, ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutPlan {
    /// What to copy; at least one.
    pub sources: Vec<LocalSource>,
    /// Where to; may be the root.
    pub target: RemotePath,
    /// The target must be a directory: it is the root, ended in `/`, came with `-t`, or there are several
    /// sources. Otherwise cp's rule decides at the server.
    pub target_is_dir: bool,
    /// Make missing parents of the target.
    pub mkdirs: bool,
    /// Directories.
    pub tree: TreePlan,
    /// Options as given.
    pub transfer: TransferArgs,
}

impl GetArgs {
    pub(super) fn plan(self, hosts: &mut Hosts) -> Result<GetPlan, UsageError> {
        let (sources, target) = match (self.target_directory, self.operands.split_last()) {
            (Some(directory), _) => {
                check_directory(&directory)?;
                (self.operands.as_slice(), LocalTarget::Directory(hosts.local(directory.as_os_str())))
            }
            (None, Some((_, []))) => (self.operands.as_slice(), LocalTarget::Directory(".".into())),
            (None, Some((last, sources))) => (sources, local_target(last, sources.len(), hosts)?),
            (None, None) => return Err(UsageError::new("name a remote file")),
        };
        let tree = self.tree.plan(sources.len(), hosts)?;
        if target == LocalTarget::Stdout && (tree.recursive || tree.dry_run) {
            return Err(UsageError::new("-r and -n do not go with '-', which takes one file as it is"));
        }
        let mut plan = Vec::new();
        for source in sources {
            let operand = hosts.operand(source)?;
            match &operand {
                RemoteOperand::Path(path) if path.is_root() && !tree.recursive => {
                    let message = format!("'{}' names no file; -r copies directories", source.display());
                    return Err(UsageError::new(message));
                }
                RemoteOperand::Path(path) if path.is_root() && !matches!(target, LocalTarget::File(_)) => {
                    return Err(UsageError::new(format!(
                        "'{}' has no name of its own: name the directory that becomes its copy, as in 'get -r nas: copy'",
                        source.display()
                    )));
                }
                RemoteOperand::Glob(_) if target == LocalTarget::Stdout => {
                    return Err(UsageError::new("a pattern can name several files, and '-' takes one"));
                }
                _ => plan.push(operand),
            }
        }
        Ok(GetPlan { sources: plan, target, tree, transfer: self.transfer })
    }
}

fn local_target(last: &OsStr, sources: usize, hosts: &Hosts) -> Result<LocalTarget, UsageError> {
    let shown = last.display();
    if hosts.names_host(last) {
        return Err(UsageError::new(format!(
            "the last of several operands is local, and '{shown}' is remote: use -t LOCALDIR to copy all of \
             them into a directory (a local name with a colon is written ./{shown})"
        )));
    }
    match (last.as_bytes(), sources) {
        (b"", _) => Err(UsageError::new("the local target is empty; write . for the current directory")),
        (b"-", 1) => Ok(LocalTarget::Stdout),
        (b"-", _) => Err(UsageError::new("'-' takes one source; write ./- for a directory of that name")),
        (bytes, 1) if !names_directory(bytes) => Ok(LocalTarget::File(hosts.local(last))),
        _ => Ok(LocalTarget::Directory(hosts.local(last))),
    }
}

fn check_directory(directory: &Path) -> Result<(), UsageError> {
    match directory.as_os_str().as_bytes() {
        b"" => Err(UsageError::new("-t needs the name of a directory")),
        b"-" => Err(UsageError::new("-t needs a directory; give '-' as the last operand instead")),
        _ => Ok(()),
    }
}

/// True for paths that end in `/`, or whose last component is `.` or `..`.
fn names_directory(path: &[u8]) -> bool {
    matches!(path.rsplit(|b| *b == b'/').next(), Some(b"" | b"." | b".."))
}

impl PutArgs {
    pub(super) fn plan(self, hosts: &mut Hosts) -> Result<PutPlan, UsageError> {
        let (locals, target) = match (&self.target_directory, self.operands.split_last()) {
            (Some(directory), _) => (self.operands.as_slice(), Some(directory)),
            (None, Some((last, locals))) if !locals.is_empty() => (locals, Some(last)),
            _ => (self.operands.as_slice(), None),
        };
        let (path, ends_as_directory) = match target {
            Some(target) => hosts.target(target)?,
            None => (hosts.start(), true),
        };
        let locals = locals.iter().flat_map(|local| hosts.locals(local));
        let recursive = self.tree.recursive;
        let sources = locals.map(|local| local_source(&local, recursive, hosts));
        let sources = sources.collect::<Result<Vec<_>, _>>()?;
        let tree = self.tree.plan(sources.len(), hosts)?;
        let target_is_dir = ends_as_directory || self.target_directory.is_some() || sources.len() > 1;
        if target_is_dir && sources.contains(&LocalSource::Stdin) {
            return Err(UsageError::new(
                "standard input has no name: give one source '-' and the remote file to write, as in 'put - nas:name'",
            ));
        }
        if sources.contains(&LocalSource::Stdin) && (tree.dry_run || !tree.select.is_all()) {
            return Err(UsageError::new("standard input is put as it is: no -n, and nothing to choose from"));
        }
        Ok(PutPlan {
            sources,
            target: path,
            target_is_dir,
            mkdirs: self.mkdirs,
            tree,
            transfer: self.transfer,
        })
    }
}

fn local_source(local: &OsStr, recursive: bool, hosts: &Hosts) -> Result<LocalSource, UsageError> {
    let path = Path::new(local);
    let shown = local.display();
    match local.as_bytes() {
        b"" => Err(UsageError::new("a local name is empty")),
        b"-" => Ok(LocalSource::Stdin),
        bytes if names_directory(bytes) && !recursive => Err(UsageError::new(format!(
            "'{shown}' is a directory; use -r to copy it with all that is in it"
        ))),
        _ if path.symlink_metadata().is_err() && hosts.names_host(local) => Err(UsageError::new(format!(
            "'{shown}' is no local file; copies from remote to remote are not supported: \
                 get it to this machine, then put it"
        ))),
        _ => Ok(LocalSource::Path(path.to_owned())),
    }
}
