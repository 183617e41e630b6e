//! Comparisons of whole directories.

use std::path::Path;
use std::sync::Arc;

use ft_protocol::RemotePath;
use ft_protocol::digest::Algorithm;
use ft_protocol::fs::{Filter, Names, Root};
use ft_protocol::tree::{CompareTree, OnItem, TreeMeter, compare_tree};
use ft_protocol::wire::message::TreeGet;

use super::once::{Once, Run};
use super::repeat::{Operation, Repeat};
use super::session::Session;
use super::trees::send_names;
use super::{Client, Result};

/// How trees are compared.
#[derive(Clone)]
pub struct CheckOptions {
    /// What is left out.
    pub filter: Filter,
    /// All that is compared, where not everything is.
    pub names: Option<Names>,
    /// What is computed and compared.
    pub digest: Algorithm,
    /// Where progress can be read while it runs.
    pub meter: Arc<TreeMeter>,
    /// Told of each file and link, and of directories that one side lacks: [`Action::Equal`](ft_protocol::tree::Action::Equal), `Replaced`
    /// (they differ), `Created` (only the server has it), `Deleted` (only this end has it).
    pub on_item: OnItem,
}

impl Client {
    /// Compares a local directory with one on the server by the digests of their files; nothing moves. Gives how
    /// many names could not be compared. See [`Client::get_tree`] for errors.
    pub async fn check_tree(
        &mut self,
        local: &Path,
        remote: &RemotePath,
        options: &CheckOptions,
    ) -> Result<u64> {
        let remote = self.builder.origin.outward(remote)?;
        let request = TreeGet {
            path: remote.as_bytes().to_vec(),
            digest: options.digest as u32,
            rules: options.filter.to_wire(),
            hashes: true,
            names: options.names.is_some(),
            dry_run: false,
        };
        let once = Once::new(Arc::clone(&options.on_item), Run::Compares);
        self.repeat(Repeat::Safe, None, Comparison { request, local, options, once }).await
    }
}

struct Comparison<'a> {
    request: TreeGet,
    local: &'a Path,
    options: &'a CheckOptions,
    once: Once,
}

impl Operation for Comparison<'_> {
    type Done = u64;

    async fn attempt(&mut self, session: &mut Session, number: u32) -> ft_protocol::Result<u64> {
        self.once.attempt(number);
        let source = self.local.to_owned();
        let root = tokio::task::spawn_blocking(move || Root::open(&source)).await;
        let root = root.unwrap_or_else(|error| Err(super::local::internal(&error)))?;
        let op = session.request(self.request.clone()).await?;
        let options = self.options;
        let outcome = async {
            send_names(&session.conn.tx, op, options.names.as_ref()).await?;
            let job = CompareTree {
                root,
                filter: options.filter.clone(),
                names: options.names.clone(),
                algorithm: options.digest,
                meter: Arc::clone(&options.meter),
                on_item: self.once.on_item(),
            };
            compare_tree(&mut session.conn, op, job).await
        };
        let outcome = outcome.await;
        let _ = session.end(op, &outcome).await;
        outcome
    }
}
