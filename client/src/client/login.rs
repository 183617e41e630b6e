//! The client's half of the login.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use ft_protocol::auth::proof::{NAMESPACE, signature_bytes};
use ft_protocol::auth::{Binding, JoinString};
use ft_protocol::wire::Message;
use ft_protocol::wire::message::{AuthInvite, AuthKey, AuthPassword};
use ssh_key::PrivateKey;

use super::dial::Trusted;
use super::{ClientError, Result};
use crate::credentials::{Candidate, ask_on_terminal};

/// One thing to log in with. Cheap to clone; an encrypted key is unlocked once for all clones.
#[derive(Clone)]
pub struct Credential(Arc<Mutex<Option<Candidate>>>);

impl Credential {
    /// A key in memory.
    pub fn key(key: PrivateKey) -> Self {
        Candidate::Key { path: PathBuf::from("in memory"), key: Box::new(key) }.into()
    }
}

impl From<Candidate> for Credential {
    fn from(candidate: Candidate) -> Self {
        Self(Arc::new(Mutex::new(Some(candidate))))
    }
}

/// How to log in.
pub enum Login {
    /// One after the other, each on a connection of its own, until one is accepted.
    Credentials(Vec<Credential>),
    /// Enrols a key by an invite.
    Invite {
        /// What the server's operator handed over.
        join: JoinString,
        /// The key that is to be enrolled.
        key: Credential,
    },
}

impl Login {
    /// Attempts that there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Login::Credentials(list) => list.len(),
            Login::Invite { .. } => 1,
        }
    }

    /// The message of one attempt. Blocks where an agent or a person is asked.
    pub(super) async fn attempt(
        &self,
        number: usize,
        user: &str,
        binding: Binding,
        trusted: Trusted,
    ) -> Result<Message> {
        let user = user.as_bytes().to_vec();
        let (credential, invite) = match self {
            Login::Credentials(list) => {
                let missing = "nothing to log in with: make a key with 'ftclient join' or name one with -i";
                (list.get(number).ok_or_else(|| ClientError::Credential(missing.into()))?.clone(), None)
            }
            Login::Invite { join, key } => (key.clone(), Some(join.secret().to_vec())),
        };
        let made = tokio::task::spawn_blocking(move || credential.attempt(user, &binding, trusted, invite));
        made.await.map_err(|error| ClientError::usage(format!("internal error: {error}")))?
    }
}

impl Credential {
    fn attempt(
        &self,
        user: Vec<u8>,
        binding: &Binding,
        trusted: Trusted,
        invite: Option<Vec<u8>>,
    ) -> Result<Message> {
        let mut slot = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let failed = |error: crate::credentials::CredentialError| ClientError::Credential(error.to_string());
        let locked = slot.take().ok_or_else(|| ClientError::Credential("the key was skipped".into()))?;
        let candidate = slot.insert(locked.unlock(&mut |prompt| ask_on_terminal(prompt)).map_err(failed)?);
        if let Candidate::Password(source) = candidate {
            if !trusted.confirmed {
                return Err(ClientError::Credential(
                    "the server's key was accepted unseen (--accept-new), so no password is sent to it; confirm the key with 'ftclient trust'".into(),
                ));
            }
            let password = source.read().map_err(failed)?;
            return Ok(AuthPassword { user, password: password.as_bytes().to_vec() }.into());
        }
        let key = candidate.public_key().map(ssh_key::PublicKey::to_bytes);
        let key = key.and_then(std::result::Result::ok);
        let key = key.ok_or_else(|| ClientError::Credential(format!("{candidate} cannot be encoded")))?;
        let signature = candidate.sign(NAMESPACE, &binding.message(&user)).map_err(failed)?;
        let signature = signature_bytes(&signature)?;
        Ok(match invite {
            Some(secret) => AuthInvite { user, secret, key, signature }.into(),
            None => AuthKey { user, key, signature }.into(),
        })
    }
}
