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
mod login;
mod operations;
mod place;
mod session;
mod trees;

use std::sync::Arc;
use std::time::Duration;

use ft_protocol::auth::{Fingerprint, Rights};
use ft_protocol::digest::Algorithm;
use ft_protocol::transfer::{Meter, SharedDigests};
use ssh_key::PrivateKey;

pub use check::CheckOptions;
pub use dial::{Address, Pinned, Trust, Trusted};
pub use error::ClientError;
pub use exec::{Command, Control, Ended, Finished, OnStarted, Program, Size, Streams, Terminal};
pub use files::{Fetched, LocalFile, PutTarget, Stored};
pub use login::{Credential, Login};
pub use operations::{DirEntry, EntryType, Summed};
pub use trees::TreeOptions;

use crate::retry::Backoff;
use session::{Phase, Session};

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

/// What a [`Client`] is made of.
pub struct Builder {
    address: Address,
    user: String,
    login: Login,
    trust: Arc<dyn Trust>,
    retries: u32,
    timeout: Option<Duration>,
    on_retry: OnRetry,
}

impl Builder {
    /// The account to log in to. Default: none, which no server accepts.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = user.into();
        self
    }

    /// Logs in with this ssh ed25519 key.
    pub fn key(self, key: PrivateKey) -> Self {
        self.login(Login::Credentials(vec![Credential::key(key)]))
    }

    /// Logs in with what is given here.
    pub fn login(mut self, login: Login) -> Self {
        self.login = login;
        self
    }

    /// Talks only to the server with this key.
    pub fn fingerprint(self, fingerprint: Fingerprint) -> Self {
        self.trust(Arc::new(Pinned(fingerprint)))
    }

    /// Lets this decide about the key that the server presents.
    pub fn trust(mut self, trust: Arc<dyn Trust>) -> Self {
        self.trust = trust;
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
        Builder {
            address,
            user: String::new(),
            login: Login::Credentials(Vec::new()),
            trust: Arc::new(dial::Unknown),
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
        self.repeat(Repeat::Safe, None, async |session, _| session.conn.rx.welcome().await).await
    }

    /// Closes the session; the server sees it at once instead of after 45 s.
    pub async fn close(mut self) {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }

    /// Runs one operation, on a new connection where there is none, and again where that may help and does no
    /// harm. `work` gets the number of its attempt.
    async fn repeat<T>(
        &mut self,
        repeat: Repeat,
        meter: Option<Arc<Meter>>,
        mut work: impl AsyncFnMut(&mut Session, u32) -> ft_protocol::Result<T>,
    ) -> Result<T> {
        let mut pauses = Backoff::new(self.builder.retries);
        let (mut attempt, mut best) = (0, 0);
        loop {
            let error = match self.once(repeat, attempt, &mut work).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if error.is_refused_login() && self.candidate + 1 < self.builder.login.len() {
                self.candidate += 1;
                continue;
            }
            // A transfer that gets somewhere between two failures may fail as often as it likes.
            let reached = meter.as_ref().map_or(0, |meter| meter.done());
            if reached > best {
                best = reached;
                pauses.reset(self.builder.retries);
            }
            if !error.may_help_to_retry() {
                return Err(error);
            }
            let Some(pause) = pauses.next() else { return Err(error) };
            attempt += 1;
            (self.builder.on_retry)(attempt, pause, &error);
            tokio::time::sleep(pause).await;
        }
    }

    async fn once<T>(
        &mut self,
        repeat: Repeat,
        attempt: u32,
        work: &mut impl AsyncFnMut(&mut Session, u32) -> ft_protocol::Result<T>,
    ) -> Result<T> {
        self.settle().await;
        // It stays where it is, so that it outlives this operation where that is dropped.
        let session = match &mut self.session {
            Some(session) => session,
            None => self.session.insert(Session::open(&self.builder, &self.run, self.candidate).await?),
        };
        let activity = session.conn.tx.activity().clone();
        let mut asked = false;
        let working = async {
            if repeat == Repeat::Never {
                // Nothing was asked for yet, so everything up to here may be tried again.
                session.conn.rx.welcome().await?;
            }
            asked = true;
            work(session, attempt).await
        };
        let done = match self.builder.timeout {
            // A command has limits of its own.
            Some(limit) if repeat != Repeat::Command => activity.watch(limit, working).await,
            _ => working.await,
        };
        match done {
            Ok(done) => {
                if session.conn.rx.is_welcome() {
                    self.rights = Some(session.conn.rx.rights());
                }
                Ok(done)
            }
            Err(error) => {
                let (welcome, command) = (session.conn.rx.is_welcome(), session.command);
                if !session.survives(&error) {
                    self.abandon().await;
                }
                // Also where it has ended, and not all of its output could be passed on.
                let ran = command == Phase::Started || (repeat == Repeat::Command && command == Phase::None);
                if ran && matches!(error, ft_protocol::Error::Local(_)) {
                    return Err(ClientError::Interrupted(error));
                }
                // What was sent behind a login that failed is not looked at.
                let refused = !welcome && matches!(error, ft_protocol::Error::Remote(_));
                let error = ClientError::after(error, welcome);
                let unknown = match command {
                    Phase::None => repeat == Repeat::Never && asked && error.may_help_to_retry(),
                    Phase::Asked | Phase::Started => !refused,
                };
                Err(if unknown { ClientError::OutcomeUnknown(Box::new(error)) } else { error })
            }
        }
    }
}

/// Whether an operation may be sent again where its outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// Yes.
    Safe,
    /// No. It is asked for once the login is done.
    Never,
    /// Only where nothing was started. It is asked for together with the login.
    Command,
}
