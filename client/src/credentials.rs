//! What a user can prove themselves with: keys of files and of the agent, and passwords.

use std::fmt;
use std::path::{Path, PathBuf};

use ft_protocol::display::Escaped;
use ssh_agent_client_rs::{Client as Agent, Identity};
use ssh_key::{Algorithm, HashAlg, PrivateKey, PublicKey, SshSig};
use zeroize::Zeroizing;

use crate::config::Paths;
use crate::endpoint::Endpoint;
use crate::output::reason;

mod key_file;
mod password;

pub(crate) use key_file::check_file;
pub use key_file::load_or_make_client_key;
pub(crate) use password::MAX_PASSWORD;
pub use password::{PasswordSource, ask_on_terminal, prompt_through};

/// Most candidates of one run: the server allows one attempt a connection, and three connections are made.
pub const MAX_CANDIDATES: usize = 3;

/// A key or password that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CredentialError(pub String);

/// One thing to try at a login.
pub enum Candidate {
    /// A key from a file.
    Key {
        /// The file.
        path: PathBuf,
        /// The key; never shown.
        key: Box<PrivateKey>,
    },
    /// A key file with a passphrase; see [`Candidate::unlock`].
    EncryptedKey {
        /// The file.
        path: PathBuf,
        /// The key, still encrypted; its public half is readable.
        key: Box<PrivateKey>,
    },
    /// A key that an ssh-agent holds.
    Agent {
        /// The public half.
        public: Box<PublicKey>,
        /// The agent's socket.
        socket: PathBuf,
    },
    /// A password, obtained only when its turn comes and only for a server whose key is confirmed.
    Password(PasswordSource),
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Candidate({self})")
    }
}

/// Where it comes from; never the secret.
impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Candidate::Key { path, .. } => write!(f, "key {}", path.display()),
            Candidate::EncryptedKey { path, .. } => write!(f, "key {} (with passphrase)", path.display()),
            Candidate::Agent { public, .. } => {
                write!(f, "key of the agent '{}'", Escaped::from(public.comment()))
            }
            Candidate::Password(source) => source.fmt(f),
        }
    }
}

impl Candidate {
    /// The public key; `None` for a password.
    pub fn public_key(&self) -> Option<&PublicKey> {
        match self {
            Candidate::Key { key, .. } | Candidate::EncryptedKey { key, .. } => Some(key.public_key()),
            Candidate::Agent { public, .. } => Some(public),
            Candidate::Password(_) => None,
        }
    }

    /// Signs `message` as SSHSIG (SHA-512) in `namespace`. Blocks while an agent asks its user.
    pub fn sign(&self, namespace: &str, message: &[u8]) -> Result<SshSig, CredentialError> {
        match self {
            Candidate::Key { key, .. } => {
                key.sign(namespace, HashAlg::Sha512, message).map_err(|error| self.failed(&error))
            }
            Candidate::Agent { public, socket } => {
                let data = SshSig::signed_data(namespace, HashAlg::Sha512, message)
                    .map_err(|error| self.failed(&error))?;
                let mut agent = Agent::connect(socket).map_err(|error| self.failed(&error))?;
                let signature =
                    agent.sign(public.as_ref().clone(), &data).map_err(|error| self.failed(&error))?;
                SshSig::new(public.key_data().clone(), namespace, HashAlg::Sha512, signature)
                    .map_err(|error| self.failed(&error))
            }
            Candidate::EncryptedKey { .. } => Err(self.failed(&"its passphrase was not given")),
            Candidate::Password(_) => Err(self.failed(&"a password cannot sign")),
        }
    }

    /// Turns an encrypted key into a usable one; `ask` gets a prompt and gives the passphrase, or `None` to
    /// give up. Three wrong passphrases are an error. Other candidates are returned as they are.
    pub fn unlock(
        self,
        ask: &mut dyn FnMut(&str) -> Option<Zeroizing<String>>,
    ) -> Result<Self, CredentialError> {
        let Candidate::EncryptedKey { path, key } = self else { return Ok(self) };
        let prompt = format!("Passphrase for {}: ", Escaped::from(path.to_string_lossy().as_ref()));
        for _ in 0..3 {
            let Some(passphrase) = ask(&prompt) else { break };
            if let Ok(key) = key.decrypt(passphrase.as_bytes()) {
                return Ok(Candidate::Key { path, key: Box::new(key) });
            }
        }
        Err(CredentialError(format!(
            "key {} was skipped: no right passphrase was given; add it to ssh-agent with ssh-add",
            path.display()
        )))
    }

    fn failed(&self, why: &dyn fmt::Display) -> CredentialError {
        CredentialError(format!("{self}: {}", reason(why)))
    }
}

/// What there is to try, best first, and what was passed over.
#[derive(Debug, Default)]
pub struct Candidates {
    /// At most [`MAX_CANDIDATES`], no key twice.
    pub list: Vec<Candidate>,
    /// One line for each thing that was found but cannot be used, for `-v` or for a failed login.
    pub notes: Vec<String>,
}

impl Candidates {
    /// Collects in this order: keys the user named, the key made by `join`, one of the agent,
    /// `~/.ssh/id_ed25519`, the supplied password, and on a terminal a prompt. Only what exists is listed, but
    /// a key or a password file that the user named and that cannot be used is an error.
    ///
    /// A supplied password always keeps a place among the three. `agent` is `SSH_AUTH_SOCK`.
    pub fn collect(
        endpoint: &Endpoint,
        paths: &Paths,
        agent: Option<&Path>,
        terminal: bool,
    ) -> Result<Self, CredentialError> {
        let mut found = Self::default();
        let keys = agent.map(|socket| found.ask_agent(socket)).unwrap_or_default();
        for path in &endpoint.identities {
            found.push(key_file::load(path)?, &keys);
        }
        found.push_if_usable(&paths.client_key, &keys);
        if let Some(first) = keys.first() {
            found.push(first.to_candidate(), &[]);
        }
        if let Some(home) = &paths.home {
            found.push_if_usable(&home.join(".ssh/id_ed25519"), &keys);
        }
        match &endpoint.password {
            Some(password) => {
                password.check()?;
                found.list.truncate(MAX_CANDIDATES - 1);
                found.list.push(Candidate::Password(password.clone()));
            }
            None if terminal => {
                let prompt =
                    format!("Password of {} at {}: ", endpoint.user.as_deref().unwrap_or("?"), endpoint.name);
                found.list.push(Candidate::Password(PasswordSource::Prompt(prompt)));
            }
            None => {}
        }
        found.list.truncate(MAX_CANDIDATES);
        Ok(found)
    }

    /// The ed25519 keys of the agent.
    fn ask_agent(&mut self, socket: &Path) -> Vec<AgentKey> {
        let identities = Agent::connect(socket).and_then(|mut agent| agent.list_all_identities());
        let identities = match identities {
            Ok(identities) => identities,
            Err(error) => {
                self.notes.push(format!("ssh-agent at {}: {}", socket.display(), reason(&error)));
                return Vec::new();
            }
        };
        let keys = identities.into_iter().filter_map(|identity| match identity {
            Identity::PublicKey(key) => Some(key.into_owned()),
            Identity::Certificate(_) => None,
        });
        keys.filter(|key| key.algorithm() == Algorithm::Ed25519)
            .map(|public| AgentKey { public, socket: socket.to_owned() })
            .collect()
    }

    fn push_if_usable(&mut self, path: &Path, agent: &[AgentKey]) {
        if !path.exists() {
            return;
        }
        match key_file::load(path) {
            Ok(candidate) => self.push(candidate, agent),
            Err(error) => self.notes.push(error.to_string()),
        }
    }

    /// Adds a key that is not in the list yet; one with a passphrase is used through the agent if that has it.
    fn push(&mut self, candidate: Candidate, agent: &[AgentKey]) {
        let Some(public) = candidate.public_key().map(PublicKey::key_data) else { return };
        if self.list.iter().any(|other| other.public_key().map(PublicKey::key_data) == Some(public)) {
            return;
        }
        let held = agent.iter().find(|key| key.public.key_data() == public);
        self.list.push(match (candidate, held) {
            (Candidate::EncryptedKey { .. }, Some(key)) => key.to_candidate(),
            (candidate, _) => candidate,
        });
    }
}

struct AgentKey {
    public: PublicKey,
    socket: PathBuf,
}

impl AgentKey {
    fn to_candidate(&self) -> Candidate {
        Candidate::Agent { public: Box::new(self.public.clone()), socket: self.socket.clone() }
    }
}

#[cfg(test)]
#[path = "credentials/tests.rs"]
mod tests;
