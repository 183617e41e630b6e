//! The client as a library: connect, get to any writer, put from any reader, list, … No terminal here.
//!
//! A [`Client`] keeps one session and finds its way back: a connection that breaks is made again with growing
//! pauses, and a transfer goes on where it stopped. What must not happen twice is never sent twice. An operation
//! whose future is dropped is cancelled at the server with the next one, and the session goes on.

mod check;
mod dial;
mod error;
mod exec;
mod files;
mod idle;
mod local;
mod login;
mod once;
mod operations;
mod origin;
mod place;
mod repeat;
mod session;
mod trees;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ft_protocol::RemotePath;
use ft_protocol::auth::{Fingerprint, Rights};
use ft_protocol::digest::Algorithm;
use ft_protocol::transfer::{Meter, SharedDigests};
use ssh_key::PrivateKey;

pub use check::CheckOptions;
pub(crate) use dial::has_no_address;
pub use dial::{Address, Pinned, Trust, Trusted};
pub use error::ClientError;
pub use exec::{Command, Control, Ended, Finished, OnStarted, Program, Size, Streams, Terminal};
pub use files::{Fetched, PutTarget, Stored};
pub use local::LocalFile;
pub use login::{Credential, Login};
pub use operations::{DirEntry, EntryType, Summed};
pub use trees::TreeOptions;

use origin::Origin;
use repeat::{Operation, Repeat};
use session::Session;

/// Result of everything a [`Client`] does.
pub type Result<T, E = ClientError> = std::result::Result<T, E>;

/// How a transfer is made.
#[derive(Debug, Clone)]
pub struct TransferOptions {
    /// What is computed and compared.
    pub digest: Algorithm,
    /// Keep mode (`& 0o777`) and modification time of the source.
    pub preserve: bool,
    /// Refuse an existing target.
    pub no_clobber: bool,
    /// Go on with what an earlier run left.
    pub resume: bool,
    /// Most bytes a second.
    pub rate: Option<u64>,
    /// Where progress can be read while the transfer runs.
    pub meter: Arc<Meter>,
    /// Digests of what is put, shared with other clients that put the same file. Default: none.
    pub shared: Option<Arc<SharedDigests>>,
}

impl Default for TransferOptions {
    fn default() -> Self {
        Self {
            digest: Algorithm::Md5,
            preserve: false,
            no_clobber: false,
            resume: true,
            rate: None,
            meter: Arc::default(),
            shared: None,
        }
    }
}

/// Called before each new attempt: its number from 1, the pause before it, and why it is needed.
pub type OnRetry = Box<dyn FnMut(u32, Duration, &ClientError) + Send>;

/// Who logs in, and where.
struct Account {
    address: Address,
    user: String,
    login: Login,
    trust: Arc<dyn Trust>,
}

/// Tells it from the accounts of other servers.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, self.address)
    }
}

/// What a [`Client`] is made of.
pub struct Builder {
    account: Account,
    origin: Origin,
    retries: u32,
    timeout: Option<Duration>,
    on_retry: OnRetry,
}

impl Builder {
    /// The account to log in to. Default: none, which no server accepts.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.account.user = user.into();
        self
    }

    /// Logs in with this ssh ed25519 key.
    pub fn key(self, key: PrivateKey) -> Self {
        self.login(Login::Credentials(vec![Credential::key(key)]))
    }

    /// Logs in with what is given here.
    pub fn login(mut self, login: Login) -> Self {
        self.account.login = login;
        self
    }

    /// Talks only to the server with this key.
    pub fn fingerprint(self, fingerprint: Fingerprint) -> Self {
        self.trust(Arc::new(Pinned(fingerprint)))
    }

    /// Lets this decide about the key that the server presents.
    pub fn trust(mut self, trust: Arc<dyn Trust>) -> Self {
        self.account.trust = trust;
        self
    }

    /// Paths begin in this directory of the account: whatever is asked for is beneath it, and commands run there.
    /// Where it does not exist, what makes missing directories makes it too. Default: the account's own root.
    ///
    /// It is no border for what the account may do: links beneath it may lead to any place in the account, and
    /// commands go where they like. The server's own words about a failure name paths as the account has them.
    pub fn root(mut self, root: RemotePath) -> Self {
        self.origin = Origin::new(root);
        self
    }

    /// How often a lost connection is made again without any progress in between. Default: 5.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// How long an operation may go without progress. Default: 60 s; `None`: for ever.
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }

    /// Called before each new attempt.
    pub fn on_retry(mut self, on_retry: OnRetry) -> Self {
        self.on_retry = on_retry;
        self
    }

    /// A client that connects with its first operation, which saves a round trip.
    pub fn build(self) -> Result<Client> {
        let mut run = [0; 16];
        getrandom::fill(&mut run)
            .map_err(|error| ClientError::usage(format!("no random numbers: {error}")))?;
        Ok(Client { run, builder: self, session: None, rights: None, candidate: 0 })
    }

    /// A client that is connected and logged in.
    pub async fn connect(self) -> Result<Client> {
        let mut client = self.build()?;
        client.login().await?;
        Ok(client)
    }
}

/// One account on one server.
///
/// The futures of all its methods are [`Send`], so that a program can spawn them on a runtime of many threads; that of
/// [`Client::idle`] where what it waits for is.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = ft_tests::server::TestServer::start().await;
/// # let (address, fingerprint, key) = (server.address().to_string(), server.fingerprint(), server.key().clone());
/// use ft_protocol::RemotePath;
/// use ftclient::{Client, TransferOptions};
///
/// let mut client =
///     Client::builder(&address)?.user("ann").key(key).fingerprint(fingerprint).connect().await?;
/// let path = RemotePath::from_typed(b"hello.txt")?;
///
/// let stored = client.put_from(std::io::Cursor::new("hello"), &path, &TransferOptions::default()).await?;
/// assert_eq!(stored.whole.unwrap().to_string(), "5d41402abc4b2a76b9719d911017c592");
///
/// let fetched = client.get_to(&path, std::io::sink(), &TransferOptions::default()).await?;
/// assert_eq!(fetched.size, 5);
/// assert_eq!(client.list(&RemotePath::root()).await?.len(), 1);
/// # Ok(()) }
/// # tokio::runtime::Runtime::new().unwrap().block_on(example()).unwrap();
/// ```
pub struct Client {
    builder: Builder,
    run: [u8; 16],
    session: Option<Session>,
    rights: Option<Rights>,
    candidate: usize,
}

impl Client {
    /// Begins a client for the server at `host:port`.
    pub fn builder(address: &str) -> Result<Builder> {
        Ok(Self::builder_for(address.parse()?))
    }

    /// Begins a client for this server.
    pub fn builder_for(address: Address) -> Builder {
        let account = Account {
            address,
            user: String::new(),
            login: Login::Credentials(Vec::new()),
            trust: Arc::new(dial::Unknown),
        };
        Builder {
            account,
            origin: Origin::default(),
            retries: 5,
            timeout: Some(Duration::from_secs(60)),
            on_retry: Box::new(|_, _, _| {}),
        }
    }

    /// Number of this run, by which the server recognises a reconnect.
    pub fn run(&self) -> &[u8; 16] {
        &self.run
    }

    /// What the account may do, once logged in.
    pub fn rights(&self) -> Option<Rights> {
        self.rights
    }

    /// From now on a lost connection is made again this often; gives what held until now. See [`Builder::retries`].
    pub fn set_retries(&mut self, retries: u32) -> u32 {
        std::mem::replace(&mut self.builder.retries, retries)
    }

    /// Connects and logs in.
    pub async fn login(&mut self) -> Result<()> {
        self.repeat(Repeat::Safe, None, LogIn).await
    }

    /// Closes the session; the server sees it at once instead of after 45 s.
    pub async fn close(mut self) {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }
}

struct LogIn;

impl Operation for LogIn {
    type Done = ();

    async fn attempt(&mut self, session: &mut Session, _: u32) -> ft_protocol::Result<()> {
        session.conn.rx.welcome().await
    }
}
