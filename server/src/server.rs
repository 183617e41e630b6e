//! What all sessions of one server share.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ft_protocol::Result;
use ft_protocol::auth::Fingerprint;
use tokio::sync::Semaphore;
use tokio::time::interval;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::accounts::Accounts;
use crate::admission::Admission;
use crate::config::{Limits, ServeOptions};
use crate::digests::Digests;
use crate::hashers::Hashers;
use crate::invites::Invites;
use crate::memory::Leavings;
use crate::penalties::Penalties;
use crate::process::Launcher;
use crate::registry::Registry;
use crate::tls;

/// How often removed accounts are looked for.
const ACCOUNTS_CHECK: Duration = Duration::from_secs(1);

/// One server: its key, its accounts, its limits. Serve a bound listener with [`crate::listener::serve`].
pub struct Server {
    pub(crate) root: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) accounts: Accounts,
    pub(crate) invites: Invites,
    pub(crate) admission: Arc<Admission>,
    pub(crate) connections: Arc<Semaphore>,
    pub(crate) hashers: Hashers,
    pub(crate) penalties: Penalties,
    pub(crate) registry: Arc<Registry>,
    pub(crate) digests: Digests,
    pub(crate) launcher: Launcher,
    pub(crate) leavings: Leavings,
}

impl Server {
    /// Prepares a server. Errors: the key cannot be used.
    pub fn new(options: &ServeOptions) -> Result<Arc<Self>> {
        let limits = options.limits.clone();
        Ok(Arc::new(Self {
            root: options.root.clone(),
            acceptor: tls::acceptor(&options.identity)?,
            fingerprint: options.identity.fingerprint(),
            accounts: Accounts::new(&options.state),
            invites: Invites::new(&options.state),
            admission: Admission::new(
                limits.max_unauthenticated.get(),
                limits.max_unauthenticated_per_source.get(),
            ),
            connections: Arc::new(Semaphore::new(limits.max_connections.get())),
            hashers: Hashers::start()?,
            penalties: Penalties::default(),
            registry: Arc::default(),
            digests: Digests::default(),
            launcher: Launcher::new(options.supervisor.clone()),
            leavings: Leavings::default(),
            limits,
        }))
    }

    /// SHA-256 of the server's public key: what clients pin.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Ends the sessions of accounts that were removed.
    pub(crate) async fn watch_accounts(self: Arc<Self>, stop: CancellationToken) {
        let mut tick = interval(ACCOUNTS_CHECK);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            for user in self.registry.users() {
                let (server, name) = (Arc::clone(&self), user.clone());
                let exists = tokio::task::spawn_blocking(move || server.accounts.exists(&name)).await;
                if matches!(exists, Ok(Ok(false))) {
                    tracing::info!(user, "the account was removed; its sessions end");
                    self.registry.end(&user);
                }
            }
        }
    }
}
