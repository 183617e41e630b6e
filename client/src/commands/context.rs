//! What every command needs: configuration, output, and the way to the server.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ft_protocol::auth::Fingerprint;
use ft_protocol::transfer::SharedDigests;

use super::Failed;
use super::terminal::{self, confirm};
use crate::address::HostSpec;
use crate::cli::globals::{ConnectionArgs, Settings};
use crate::cli::{FleetPlan, Invocation, Plan};
use crate::client::{Address, Builder, Client, Credential, Login, Trust, Trusted};
use crate::config::{Config, Paths};
use crate::credentials::{Candidate, Candidates};
use crate::endpoint::Endpoint;
use crate::exit::Exit;
use crate::known_hosts::{Decision, How, KnownHosts, decide};
use crate::output::{Output, reason};
use crate::progress::{Board, Progress};

#[derive(Clone)]
pub(super) struct Context {
    pub(super) host: Option<HostSpec>,
    pub(super) connection: ConnectionArgs,
    pub(super) config: Arc<Config>,
    pub(super) paths: Paths,
    pub(super) settings: Settings,
    pub(super) output: Output,
    pub(super) ctrl_c: CtrlC,
    pub(super) current: Current,
    /// It is about one of many hosts.
    pub(super) member: Option<Member>,
}

/// What a host has together with the others of its run.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) board: Board,
    /// Its own part of the board.
    pub(super) progress: Progress,
    pub(super) keys: Keys,
    /// Of what is put: each file is hashed once for all.
    pub(super) digests: Arc<SharedDigests>,
    /// All that was on standard input, where it is read.
    pub(super) stdin: Option<Spooled>,
}

/// All that was on standard input, in a file without a name: nothing is left of it, however the program ends.
#[derive(Clone)]
pub(super) struct Spooled(Arc<File>);

impl Spooled {
    pub(super) fn new(file: File) -> Self {
        Self(Arc::new(file))
    }

    /// From its beginning, independent of other readers (proc(5), /proc/self/fd).
    pub(super) fn reopen(&self) -> io::Result<File> {
        File::open(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// Keys of a run on many hosts: a passphrase is asked for once.
#[derive(Clone, Default)]
pub(super) struct Keys(Arc<Mutex<HashMap<Vec<u8>, Credential>>>);

impl Keys {
    /// The credential of this candidate, or that of the same key from before.
    fn credential(&self, candidate: Candidate) -> Credential {
        match candidate.public_key().and_then(|key| key.to_bytes().ok()) {
            None => candidate.into(),
            Some(public) => {
                let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                keys.entry(public).or_insert_with(|| candidate.into()).clone()
            }
        }
    }
}

/// The run that is under way, for whoever asks how far it is, and for what cuts it short.
#[derive(Clone, Default)]
pub(super) struct Current {
    shown: Arc<Mutex<Option<Report>>>,
    last_words: Arc<Mutex<Option<LastWords>>>,
}

/// Says how far the run is.
type Report = Arc<dyn Fn() + Send + Sync>;

/// Sums up a run that did not come to its end, with this exit code.
type LastWords = Box<dyn FnOnce(u8) + Send>;

/// How long a summary may take where the reader of the output stands still.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Current {
    pub(super) fn begin(&self, report: impl Fn() + Send + Sync + 'static) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(report));
    }

    pub(super) fn end(&self) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A run has begun: this is said where it does not sum itself up.
    pub(super) fn begun(&self, last_words: impl FnOnce(u8) + Send + 'static) {
        *self.last_words.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(last_words));
    }

    /// The run sums itself up.
    pub(super) fn ended(&self) {
        *self.last_words.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn last_words(&self) -> Option<LastWords> {
        self.last_words.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// As [`Current::cut_short`], on this thread.
    pub(super) fn cut_short_here(&self, code: u8) {
        if let Some(last_words) = self.last_words() {
            last_words(code);
        }
    }

    /// Sums up a run that was cut short; nothing where there is none.
    pub(super) async fn cut_short(&self, code: u8) {
        let last_words = self.last_words();
        if let Some(last_words) = last_words {
            // A reader that stands still must not keep the program.
            let said = tokio::task::spawn_blocking(move || last_words(code));
            let _ = tokio::time::timeout(LAST_WORDS, said).await;
        }
    }

    /// Says how far it is; nothing where there is none.
    pub(super) fn report(&self) {
        let report = self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(report) = report {
            report();
        }
    }
}

/// Who deals with Ctrl-C: it ends the program, unless a prompt took it over.
#[derive(Clone, Default)]
pub(super) struct CtrlC(Arc<AtomicBool>);

impl CtrlC {
    pub(super) fn take_over(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_taken_over(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The server that a command, or a whole shell, is about.
pub(super) struct Server {
    pub(super) name: String,
    /// Who logs in; nobody where a command does that.
    pub(super) user: Option<String>,
    pub(super) client: Client,
}

impl Context {
    pub(super) fn new(
        invocation: Invocation,
        output: Output,
        ctrl_c: CtrlC,
        current: Current,
    ) -> Result<(Self, Plan, Option<FleetPlan>), Failed> {
        let Invocation { host, mut connection, mut run, plan, fleet } = invocation;
        if plan == Plan::Shell {
            // They are looked at again whenever a connection is made, and 'lcd' changes the directory.
            for path in [&mut run.config, &mut connection.password_file, &mut connection.identity] {
                *path = path.take().map(std::path::absolute).transpose()?;
            }
        }
        let paths = Paths::find(run.config.as_deref())?;
        let config = Config::load(&paths.config, run.config.is_some())?;
        let settings = run.settings(&config);
        let config = Arc::new(config);
        let member = None;
        Ok((Self { host, connection, config, paths, settings, output, ctrl_c, current, member }, plan, fleet))
    }

    /// The progress of a command: of one of many hosts its part of the whole.
    pub(super) fn progress(&self) -> Progress {
        match &self.member {
            Some(member) => member.progress.clone(),
            None => Progress::new(&self.output, self.settings.progress),
        }
    }

    /// Digests of what is put, where others put the same.
    pub(super) fn digests(&self) -> Option<Arc<SharedDigests>> {
        self.member.as_ref().map(|member| Arc::clone(&member.digests))
    }

    /// Asks a person who is there, one question at a time; everything but yes is no. What follows from the answer is
    /// said by `then`, before the next question. Blocks.
    pub(super) fn confirm<T>(&self, question: &str, then: impl FnOnce(bool) -> T) -> T {
        match &self.member {
            Some(member) => ask_one_at_a_time(&member.board, question, then),
            None => then(confirm(question)),
        }
    }

    /// What stands on standard input.
    pub(super) fn stdin(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self.member.as_ref().and_then(|member| member.stdin.as_ref()) {
            Some(file) => Box::new(file.reopen()?),
            None => Box::new(io::stdin()),
        })
    }

    /// The server that the command is about, with a client that connects with its first operation.
    pub(super) async fn server(&self) -> Result<Server, Failed> {
        self.server_at(self.host.as_ref()).await
    }

    /// The same for this host; without one `-H`, the environment and the configuration are asked.
    pub(super) async fn server_at(&self, host: Option<&HostSpec>) -> Result<Server, Failed> {
        let endpoint = Endpoint::resolve(host, &self.connection, &self.config, &self.paths)?;
        crate::inventory::check_name(&endpoint, &self.config, &self.paths.config).await?;
        let client = self.client(&endpoint).await?;
        Ok(Server { name: endpoint.name, user: endpoint.user, client })
    }

    /// Where that server is.
    pub(super) fn endpoint(&self) -> Result<Endpoint, Failed> {
        Ok(Endpoint::resolve(self.host.as_ref(), &self.connection, &self.config, &self.paths)?)
    }

    /// A client for a server, which connects with its first operation.
    async fn client(&self, endpoint: &Endpoint) -> Result<Client, Failed> {
        let known_hosts = KnownHosts::new(&self.paths.known_hosts);
        let (user, login) = match endpoint.via {
            // The command logs in, as whomever it likes.
            Some(_) => (endpoint.user.as_deref().unwrap_or_default(), Vec::new()),
            None => {
                // A file that cannot be understood is found before anybody is asked for anything.
                known_hosts.lookup(&endpoint.host, endpoint.port)?;
                (endpoint.login_user()?, self.credentials(endpoint).await?)
            }
        };
        let trust = HostTrust {
            endpoint: endpoint.clone(),
            known_hosts,
            accept_new: self.connection.accept_new,
            board: self.member.as_ref().map(|member| member.board.clone()),
        };
        let login = Login::Credentials(login);
        let builder = self.builder(endpoint).user(user).login(login).trust(Arc::new(trust));
        Ok(builder.build()?)
    }

    /// A client with the options of the command line and no login.
    pub(super) fn builder(&self, endpoint: &Endpoint) -> Builder {
        let address = match &endpoint.via {
            Some(words) => Address::Via(words.clone()),
            None => Address::Tcp { host: endpoint.host.clone(), port: endpoint.port },
        };
        let (output, host) = (self.output.clone(), endpoint.name.clone());
        Client::builder_for(address)
            .root(endpoint.root.clone())
            .retries(self.settings.retries)
            .timeout(self.settings.timeout)
            .on_retry(Box::new(move |attempt, pause, error| {
                // What cannot be said here is found by the next line that matters.
                let _ = output.retry(&host, attempt, pause, &reason(error));
            }))
    }

    async fn credentials(&self, endpoint: &Endpoint) -> Result<Vec<Credential>, Failed> {
        let agent = std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from);
        let (endpoint, paths) = (endpoint.clone(), self.paths.clone());
        // Nobody types the same password for each of many hosts.
        let asking = self.member.is_none() && terminal::is_attended();
        let collected = tokio::task::spawn_blocking(move || {
            Candidates::collect(&endpoint, &paths, agent.as_deref(), asking)
        });
        let candidates = collected.await.map_err(|error| Failed::new(Exit::Failure, error.to_string()))??;
        if self.settings.verbose > 0 {
            for candidate in &candidates.list {
                self.output.info(&format!("to log in: {candidate}"))?;
            }
            for note in &candidates.notes {
                self.output.info(note)?;
            }
        }
        if candidates.list.is_empty() && !candidates.notes.is_empty() {
            // What was found and not used is why there is nothing.
            let message = format!("nothing to log in with: {}", candidates.notes.join("; "));
            return Err(Failed::new(Exit::Denied, message));
        }
        let credentials = candidates.list.into_iter();
        Ok(match &self.member {
            Some(member) => credentials.map(|candidate| member.keys.credential(candidate)).collect(),
            None => credentials.map(Credential::from).collect(),
        })
    }
}

/// Asks while nothing else is drawn; no other host has a question before `then` is through.
fn ask_one_at_a_time<T>(board: &Board, question: &str, then: impl FnOnce(bool) -> T) -> T {
    let _turn = terminal::turn();
    then(board.hidden_while(|| confirm(question)))
}

/// The known-hosts policy.
struct HostTrust {
    endpoint: Endpoint,
    known_hosts: KnownHosts,
    accept_new: bool,
    /// What is drawn on the terminal meanwhile.
    board: Option<Board>,
}

impl Trust for HostTrust {
    fn decide(&self, presented: &Fingerprint) -> Result<Trusted, String> {
        let Endpoint { host, port, pin, .. } = &self.endpoint;
        let known = self.known_hosts.lookup(host, *port).map_err(|error| error.to_string())?;
        let attended = terminal::is_attended();
        let decision =
            decide(&self.endpoint, known.as_ref(), presented, pin.as_ref(), self.accept_new, attended);
        let how = match decision {
            Decision::Trusted { confirmed } => return Ok(Trusted { confirmed }),
            Decision::Refuse(message) => return Err(message),
            Decision::AddThenTrust { how } => how,
            Decision::Ask => {
                let question = format!(
                    "The key of {} is not known. It presented\n  {presented}\nCompare it with the output of 'ftserver fingerprint' on the server.\nTrust it? [y/N] ",
                    self.endpoint
                );
                let refused = || format!("the key of {} was not confirmed; nothing was sent", self.endpoint);
                let then = |yes: bool| if yes { Ok(How::Prompt) } else { Err(refused()) };
                match &self.board {
                    Some(board) => ask_one_at_a_time(board, &question, then),
                    None => then(confirm(&question)),
                }?
            }
        };
        self.known_hosts.add(host, *port, presented, how).map_err(|error| error.to_string())?;
        Ok(Trusted { confirmed: how.is_confirmed() })
    }
}
