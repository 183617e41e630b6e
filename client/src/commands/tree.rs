//! Directories with all that is in them, for `get -r`, `put -r` and `sync`.

use std::path::PathBuf;
use std::sync::Arc;

use ft_protocol::fs::{Filter, Names};
use ft_protocol::{Error, RemotePath, Status};

use super::Failed;
use super::books::Place;
use super::transfer::Run;
use crate::cli::{BackupDir, Direction, Selection};
use crate::client::{Client, ClientError, TreeOptions};

/// How the trees of a run are transferred.
pub(super) struct Trees {
    pub(super) direction: Direction,
    /// Equal size and time are equal; times are kept so that they can be.
    pub(super) sync: bool,
    /// Compare contents all the same.
    pub(super) checksum: bool,
    pub(super) delete: Option<u64>,
    pub(super) backup: Option<BackupDir>,
    /// Make missing directories above the target.
    pub(super) parents: bool,
    pub(super) dry_run: bool,
    pub(super) filter: Filter,
    pub(super) names: Option<Names>,
}

/// What became of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was a directory; all about it is said.
    Tree,
    /// It is no directory.
    File,
}

impl Trees {
    /// For `get -r` and `put -r`.
    pub(super) async fn copying(
        direction: Direction,
        dry_run: bool,
        parents: bool,
        select: &Selection,
    ) -> Result<Self, Failed> {
        let (filter, names) = super::select::read(select).await?;
        Ok(Self {
            direction,
            sync: false,
            checksum: false,
            delete: None,
            backup: None,
            parents,
            dry_run,
            filter,
            names,
        })
    }

    /// Whether a source that is a single file is left out, as it would be in a directory.
    pub(super) fn excludes(&self, name: &[u8]) -> bool {
        RemotePath::from_wire(name).is_ok_and(|path| self.filter.excludes(&path, false))
    }

    /// Transfers one tree; `last` where no other source follows. An error ends the job.
    pub(super) async fn transfer(
        &self,
        client: &mut Client,
        run: &mut Run<'_>,
        local: PathBuf,
        remote: RemotePath,
        last: bool,
        shown: Vec<u8>,
    ) -> Result<Outcome, Failed> {
        let place = Place { local, remote, shown, dry_run: self.dry_run };
        let options = self.options(run, &place);
        let meter = Arc::clone(&options.meter);
        let done = match self.direction {
            Direction::FromServer => {
                let backup = match &self.backup {
                    Some(BackupDir::Local(dir)) => Some(dir.as_path()),
                    _ => None,
                };
                let got = client.get_tree(&place.remote, &place.local, backup, &options);
                run.watch_tree(&meter, last, got).await?
            }
            Direction::ToServer => {
                let backup = match &self.backup {
                    Some(BackupDir::Remote(path)) => Some(path),
                    _ => None,
                };
                let put = client.put_tree(&place.local, &place.remote, backup, &options);
                run.watch_tree(&meter, last, put).await?
            }
        };
        match done {
            Ok(done) => {
                let mut books = run.books.open();
                books.summary.tree = true;
                books.equal(done.equal);
                if self.delete.is_some() && done.failed > 0 {
                    books.note("nothing was deleted, because not everything arrived")?;
                }
            }
            Err(error) if self.is_file(&error) => return Ok(Outcome::File),
            Err(error) => {
                run.tree_failed(&place, error)?;
            }
        }
        Ok(Outcome::Tree)
    }

    /// Only the server knows whether what is to be got is a directory. Of a put it was looked at before.
    fn is_file(&self, error: &ClientError) -> bool {
        let remote = matches!(error, ClientError::Protocol(Error::Remote(_)));
        remote && self.direction == Direction::FromServer && error.status() == Status::NotDirectory
    }

    fn options(&self, run: &Run<'_>, place: &Place) -> TreeOptions {
        let settings = run.settings();
        let (books, place) = (run.books.clone(), place.clone());
        TreeOptions {
            digest: run.digest(),
            preserve: settings.preserve,
            times: self.sync,
            no_clobber: settings.no_clobber,
            resume: settings.resume,
            quick: self.sync && !self.checksum,
            delete: self.delete,
            parents: self.parents,
            dry_run: self.dry_run,
            rate: settings.bwlimit,
            filter: self.filter.clone(),
            names: self.names.clone(),
            meter: Arc::default(),
            on_item: Arc::new(move |item| books.open().item(&place, item)),
            shared: run.digests(),
        }
    }
}
