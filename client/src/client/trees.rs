//! Transfers of whole directories.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ft_protocol::auth::Rights;
use ft_protocol::digest::Algorithm;
use ft_protocol::fs::{Filter, Names, Root};
use ft_protocol::transfer::SharedDigests;
use ft_protocol::tree::{
    OnItem, Place, ReceiveTree, SendTree, TreeDone, TreeMeter, Unheard, receive_tree, send_tree,
};
use ft_protocol::wire::frame::STREAM_CAP;
use ft_protocol::wire::message::{TreeGet, TreePut};
use ft_protocol::wire::{Message, Sender};
use ft_protocol::{Error, RemotePath, Status};

use super::once::{Once, Run};
use super::place::hold;
use super::repeat::{Operation, Repeat};
use super::session::Session;
use super::{Client, Result};

/// How a tree is transferred.
#[derive(Clone)]
pub struct TreeOptions {
    /// What is computed and compared.
    pub digest: Algorithm,
    /// Keep mode (`& 0o777`) and modification time of the source.
    pub preserve: bool,
    /// Keep the modification time of the source.
    pub times: bool,
    /// Leave existing files alone.
    pub no_clobber: bool,
    /// Go on with what an earlier run left of large files.
    pub resume: bool,
    /// Files of equal size and modification time are equal, and are not read.
    pub quick: bool,
    /// Remove what the source does not have, once all the rest is done and nothing failed: at most so many entries.
    pub delete: Option<u64>,
    /// Make missing directories above the destination.
    pub parents: bool,
    /// Change nothing, and say what would be done.
    pub dry_run: bool,
    /// Most bytes a second.
    pub rate: Option<u64>,
    /// What is left out.
    pub filter: Filter,
    /// All that is copied, where not everything is.
    pub names: Option<Names>,
    /// Digests of what is put, shared with other clients that put the same directory. Default: none.
    pub shared: Option<Arc<SharedDigests>>,
    /// Where progress can be read while it runs.
    pub meter: Arc<TreeMeter>,
    /// Told of each name that is not simply equal, once, in the order of the tree, from another thread.
    pub on_item: OnItem,
}

impl Default for TreeOptions {
    fn default() -> Self {
        Self {
            digest: Algorithm::Md5,
            preserve: false,
            times: false,
            no_clobber: false,
            resume: true,
            quick: false,
            delete: None,
            parents: false,
            dry_run: false,
            rate: None,
            shared: None,
            filter: Filter::default(),
            names: None,
            meter: Arc::default(),
            on_item: Arc::new(|_| {}),
        }
    }
}

impl TreeOptions {
    fn whole(&self) -> bool {
        self.digest != Algorithm::Md5Tree
    }

    fn run(&self) -> Run {
        if self.dry_run { Run::Foresees } else { Run::Changes }
    }
}

impl Client {
    /// Makes the local directory `to` a copy of the directory `from`; what is there already stays unless it is
    /// replaced, or `delete` says otherwise. `backup` is a local directory for what is replaced or removed.
    ///
    /// What fails alone is an item with a failure, and counted. Errors: what ends it all; [`Status::NotDirectory`]
    /// where `from` is none, [`Status::Busy`] where another run works on `to`.
    pub async fn get_tree(
        &mut self,
        from: &RemotePath,
        to: &Path,
        backup: Option<&Path>,
        options: &TreeOptions,
    ) -> Result<TreeDone> {
        only_one_of_both(options)?;
        let from = self.builder.origin.outward(from)?;
        let once = Once::new(Arc::clone(&options.on_item), options.run());
        let request = TreeGet {
            path: from.as_bytes().to_vec(),
            digest: options.digest as u32,
            rules: options.filter.to_wire(),
            hashes: false,
            names: options.names.is_some(),
            dry_run: options.dry_run,
        };
        let fetch = FetchTree {
            request,
            account: format!("{}\0{from}", self.builder.account),
            to,
            backup,
            held: Arc::default(),
            options,
            once: once.clone(),
        };
        let done = self.repeat(Repeat::Safe, Some(options.meter.bytes()), fetch).await?;
        Ok(once.count(done, options.quick))
    }

    /// Makes the directory `to` on the server a copy of the local directory `from`. `backup` is a directory there
    /// for what is replaced or removed. See [`Client::get_tree`].
    pub async fn put_tree(
        &mut self,
        from: &Path,
        to: &RemotePath,
        backup: Option<&RemotePath>,
        options: &TreeOptions,
    ) -> Result<TreeDone> {
        if let Some(backup) = backup.filter(|backup| to.starts_with(backup)) {
            let message =
                format!("the directory for backups '{backup}' is or holds '{to}'; name another one");
            return Err(Error::local(Status::Invalid, message).into());
        }
        only_one_of_both(options)?;
        let origin = &self.builder.origin;
        let to = origin.outward(to)?;
        let backup = backup.map(|backup| origin.outward(backup)).transpose()?;
        // Held for the whole run: what is mounted over it, or unmounted, between two attempts is another directory.
        let source = from.to_owned();
        let root = tokio::task::spawn_blocking(move || Root::open(&source)).await;
        let root = root.unwrap_or_else(|error| Err(super::local::internal(&error)))?;
        let once = Once::new(Arc::clone(&options.on_item), options.run());
        let request = TreePut {
            path: to.as_bytes().to_vec(),
            digest: options.digest as u32,
            rules: options.filter.to_wire(),
            parents: options.parents,
            no_clobber: options.no_clobber,
            preserve: options.preserve,
            times: options.times,
            fresh: !options.resume,
            quick: options.quick,
            delete: options.delete.is_some(),
            max_delete: options.delete.unwrap_or(0),
            dry_run: options.dry_run,
            backup: backup.map(|path| path.as_bytes().to_vec()).unwrap_or_default(),
        };
        let unheard = Unheard::default();
        let store = StoreTree { request, root, unheard, options, once: once.clone() };
        let done = self.repeat(Repeat::Safe, Some(options.meter.bytes()), store).await?;
        Ok(once.count(done, options.quick))
    }
}

struct FetchTree<'a> {
    request: TreeGet,
    account: String,
    to: &'a Path,
    backup: Option<&'a Path>,
    /// From the first attempt on.
    held: Arc<Mutex<Option<Place>>>,
    options: &'a TreeOptions,
    once: Once,
}

impl Operation for FetchTree<'_> {
    type Done = TreeDone;

    async fn attempt(&mut self, session: &mut Session, number: u32) -> ft_protocol::Result<TreeDone> {
        self.once.attempt(number);
        let op = session.request(self.request.clone()).await?;
        let outcome = async {
            send_names(&session.conn.tx, op, self.options.names.as_ref()).await?;
            receive_tree(&mut session.conn, op, self.job()).await
        };
        let outcome = outcome.await;
        // Everything is in place, or an error says why not; that the server may not hear it changes neither.
        let _ = session.end(op, &outcome).await;
        outcome
    }
}

impl FetchTree<'_> {
    fn job(&self) -> ReceiveTree {
        let options = self.options;
        let (held, how) = (Arc::clone(&self.held), options.clone());
        let (to, backup) = (self.to.to_owned(), self.backup.map(Path::to_owned));
        ReceiveTree {
            place: Box::new(move || {
                let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
                if held.is_none() {
                    *held = Some(hold(&to, backup.as_deref(), &how)?);
                }
                Ok(held.clone().unwrap_or_default())
            }),
            account: self.account.clone(),
            rights: Rights::READ.union(Rights::WRITE).union(Rights::DELETE),
            algorithm: options.digest,
            whole: options.whole(),
            preserve: options.preserve,
            times: options.times,
            no_clobber: options.no_clobber,
            resume: options.resume,
            quick: options.quick,
            delete: options.delete,
            dry_run: options.dry_run,
            filter: options.filter.clone(),
            rate: options.rate,
            report: false,
            meter: Arc::clone(&options.meter),
            on_item: self.once.on_item(),
        }
    }
}

struct StoreTree<'a> {
    request: TreePut,
    root: Root,
    unheard: Unheard,
    options: &'a TreeOptions,
    once: Once,
}

impl Operation for StoreTree<'_> {
    type Done = TreeDone;

    async fn attempt(&mut self, session: &mut Session, number: u32) -> ft_protocol::Result<TreeDone> {
        self.once.attempt(number);
        let op = session.request(self.request.clone()).await?;
        let outcome = send_tree(&mut session.conn, op, self.job()).await;
        // The server's own END counts; that it may not hear ours changes nothing.
        let _ = session.end(op, &outcome).await;
        outcome
    }
}

impl StoreTree<'_> {
    fn job(&self) -> SendTree {
        let options = self.options;
        SendTree {
            root: self.root.clone(),
            filter: options.filter.clone(),
            names: options.names.clone(),
            algorithm: options.digest,
            whole: options.whole(),
            hashes: false,
            dry_run: options.dry_run,
            rate: options.rate,
            meter: Arc::clone(&options.meter),
            // A file that is left alone is passed as well, whatever it holds, and told as that.
            unheard: if options.no_clobber { Unheard::default() } else { self.unheard.clone() },
            on_item: self.once.on_item(),
            shared: options.shared.clone(),
        }
    }
}

/// What a list of names leaves out is not missing at the source.
fn only_one_of_both(options: &TreeOptions) -> Result<()> {
    if options.names.is_some() && options.delete.is_some() {
        return Err(super::ClientError::usage("a list of names and deletion do not go together"));
    }
    Ok(())
}

pub(super) async fn send_names(tx: &Sender, op: u32, names: Option<&Names>) -> ft_protocol::Result<()> {
    let Some(names) = names else { return Ok(()) };
    for chunk in names.to_wire().chunks(STREAM_CAP as usize) {
        tx.send(op, Message::Names(chunk.to_vec().into())).await?;
    }
    tx.send(op, Message::Names(bytes::Bytes::new())).await
}
