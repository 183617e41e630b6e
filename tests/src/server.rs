//! [`TestServer`]: a real server in this process.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ft_protocol::auth::{Fingerprint, Rights};
use ftserver::accounts::{Account, Accounts, hash_password};
use ftserver::config::{Limits, ServeOptions};
use ftserver::identity::Identity;
use ftserver::invites::{Invitation, Invites};
use ftserver::listener;
use ftserver::server::Server;
use ftserver::state::StateDir;
use ssh_key::PrivateKey;
use ssh_key::private::Ed25519Keypair;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Name of the account that every test server has.
pub const USER: &str = "ann";

/// Every right that concerns files.
pub const ALL: Rights = Rights::READ.union(Rights::WRITE).union(Rights::DELETE);

/// A key for tests; the same number gives the same key.
pub fn key(number: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[number; 32]))
}

/// What a [`TestServer`] is to be like.
pub struct Builder {
    limits: Limits,
    accounts: Vec<Account>,
    supervisor: PathBuf,
}

impl Builder {
    /// Rights of the account [`USER`]; [`ALL`] where nothing is said.
    pub fn rights(mut self, rights: Rights) -> Self {
        self.accounts[0].rights = rights;
        self
    }

    /// Password of the account [`USER`]; none where nothing is said.
    pub fn password(mut self, password: &str) -> Self {
        self.accounts[0].password = Some(hash_password(password.as_bytes()).unwrap());
        self
    }

    /// One more account.
    pub fn account(mut self, name: &str, key: &PrivateKey, rights: Rights) -> Self {
        self.accounts.push(account(name, key, rights));
        self
    }

    /// Changes the limits, which are those of a server without a configuration file.
    pub fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// The `[exec]` table of the account [`USER`], in TOML; none where nothing is said.
    pub fn exec(mut self, table: &str) -> Self {
        self.accounts[0].exec = toml::from_str(table).unwrap();
        self
    }

    /// The program that supervises commands; without one none can be started.
    pub fn supervisor(mut self, program: impl Into<PathBuf>) -> Self {
        self.supervisor = program.into();
        self
    }

    /// Starts it; connections are accepted when this returns.
    pub async fn start(self) -> TestServer {
        let place = tempfile::tempdir().unwrap();
        // Canonical, as `serve` makes it.
        let above = place.path().canonicalize().unwrap();
        let root = above.join("root");
        std::fs::create_dir(&root).unwrap();
        let state = StateDir::new(Some(&above.join("state"))).unwrap();
        state.ensure().unwrap();
        let identity = Identity::load_or_create(&state).unwrap();
        let accounts = Accounts::new(&state);
        self.accounts.iter().for_each(|account| accounts.add(account).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = ServeOptions {
            root: root.clone(),
            listen: address,
            state: state.clone(),
            identity,
            limits: self.limits,
            supervisor: self.supervisor,
        };
        let server = Server::new(&options).unwrap();
        let fingerprint = server.fingerprint();
        let (stop, kill) = (CancellationToken::new(), CancellationToken::new());
        let serving =
            tokio::spawn(listener::serve(listener, Arc::clone(&server), stop.clone(), kill.clone()));
        TestServer {
            address,
            fingerprint,
            root,
            state,
            key: key(1),
            stop,
            kill,
            serving: Some(serving),
            place: Arc::new(place),
        }
    }
}

/// A server with one account, [`USER`], whose key is held here. Dropped, it is killed; its files go with it.
pub struct TestServer {
    address: SocketAddr,
    fingerprint: Fingerprint,
    root: PathBuf,
    state: StateDir,
    key: PrivateKey,
    stop: CancellationToken,
    kill: CancellationToken,
    serving: Option<JoinHandle<()>>,
    place: Arc<TempDir>,
}

impl TestServer {
    /// A server with nothing special about it.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// A server that differs in something.
    pub fn builder() -> Builder {
        let accounts = vec![account(USER, &key(1), ALL)];
        Builder { limits: Limits::default(), accounts, supervisor: PathBuf::from("/nonexistent") }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What clients pin.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The directory that it serves.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory above root and state, which no account can see.
    pub fn outside(&self) -> &Path {
        self.root.parent().unwrap()
    }

    /// Its state.
    pub fn state(&self) -> &StateDir {
        &self.state
    }

    /// The key of [`USER`].
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// The secret of a new invite for this account, which is made with [`ALL`] rights where it is redeemed.
    pub fn invite(&self, user: &str) -> Vec<u8> {
        let exists = Accounts::new(&self.state).exists(user).unwrap();
        let invitation = Invitation {
            user: user.to_owned(),
            rights: (!exists).then_some(ALL),
            root: None,
            lifetime: Duration::from_secs(3600),
        };
        Invites::new(&self.state).create(&invitation).unwrap().secret.to_vec()
    }

    /// Ends every session at once and returns when nothing of the server runs any more. Root and state remain
    /// for as long as the returned guard.
    pub async fn stop(mut self) -> Arc<TempDir> {
        self.kill.cancel();
        self.end().await
    }

    /// Stops as SIGTERM does: running operations may finish within the drain timeout.
    pub async fn drain(mut self) -> Arc<TempDir> {
        self.end().await
    }

    async fn end(&mut self) -> Arc<TempDir> {
        self.stop.cancel();
        if let Some(serving) = self.serving.take() {
            serving.await.unwrap();
        }
        Arc::clone(&self.place)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop.cancel();
        self.kill.cancel();
    }
}

/// A count for [`Limits`].
pub fn count(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

fn account(name: &str, key: &PrivateKey, rights: Rights) -> Account {
    Account {
        name: name.to_owned(),
        keys: vec![key.public_key().clone()],
        password: None,
        root: None,
        rights,
        exec: ftserver::exec::Grant::default(),
    }
}
