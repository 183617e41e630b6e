//! Invites: a secret that lets one client, once, enrol its key.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use ft_protocol::auth::{BadUserName, Rights, check_user_name};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use ssh_key::PublicKey;
use zeroize::Zeroizing;

use crate::accounts::{Account, AccountError, Accounts};
use crate::exec::Grant;
use crate::state::{StateDir, StateError, StateLock};
use crate::toml_file::{self, AbsolutePath, Malformed, RightNames};

const DIRECTORY: &str = "invites";
/// Hex digits of the secret's hash that name its file.
const ID_DIGITS: usize = 16;

/// What can go wrong with invites.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// No such invite, or it was used before.
    #[error("this invite is not known or was used before: ask for a new one (`ftserver invite NAME`)")]
    Unknown,
    /// Its time is over.
    #[error("this invite has expired: ask for a new one (`ftserver invite NAME`)")]
    Expired,
    /// The account that it was for is gone.
    #[error(
        "this invite was for an account that was removed since: ask for a new one (`ftserver invite NAME`)"
    )]
    AccountGone,
    /// Rights or root were given for an account that has its own.
    #[error(
        "account {0} exists and keeps its rights and root: leave out --allow, --read-only, --append-only and \
         --root, the invite then adds a key to it"
    )]
    Fixed(String),
    /// No account can have this name.
    #[error(transparent)]
    Name(#[from] BadUserName),
    /// The invite's end lies beyond what can be written down.
    #[error("the invite would never end: give a shorter --expires")]
    Endless,
    /// No random numbers, or the invite cannot be written down.
    #[error("make an invite: {0}")]
    Make(String),
    /// The file of the invite cannot be understood.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The account could not be read or made.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The state directory failed or is exposed.
    #[error(transparent)]
    State(#[from] StateError),
}

/// What an invite is to be for.
#[derive(Debug, Clone)]
pub struct Invitation {
    /// The account: a new one, or one that exists and gets another key.
    pub user: String,
    /// Rights of a new account; must be `None` for one that exists.
    pub rights: Option<Rights>,
    /// Root of a new account, absolute; must be `None` for one that exists.
    pub root: Option<PathBuf>,
    /// How long it is good for, counted in whole seconds.
    pub lifetime: Duration,
}

/// An invite that was made. The secret is kept nowhere else.
pub struct Invite {
    /// What redeems it.
    pub secret: Zeroizing<[u8; 32]>,
    /// When it ends.
    pub expires: Timestamp,
}

/// All invites of a server.
#[derive(Debug, Clone)]
pub struct Invites {
    state: StateDir,
}

/// An invite as its file holds it, named by the first digits of the hash.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct InviteFile {
    user: String,
    secret_sha256: String,
    expires: Expiry,
    /// Missing for an account that existed when the invite was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    allow: Option<RightNames>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<AbsolutePath>,
}

/// A time as RFC 3339 has it.
#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
struct Expiry(Timestamp);

impl TryFrom<String> for Expiry {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|e: jiff::Error| e.to_string())
    }
}

impl From<Expiry> for String {
    fn from(expiry: Expiry) -> Self {
        expiry.0.to_string()
    }
}

impl Invites {
    /// The invites in this state; nothing is read yet.
    pub fn new(state: &StateDir) -> Self {
        Self { state: state.clone() }
    }

    /// Makes an invite, and removes those that have expired.
    pub fn create(&self, invitation: &Invitation) -> Result<Invite, InviteError> {
        self.create_at(invitation, Timestamp::now())
    }

    fn create_at(&self, invitation: &Invitation, now: Timestamp) -> Result<Invite, InviteError> {
        check_user_name(&invitation.user)?;
        let lock = self.state.lock()?;
        lock.directory(DIRECTORY)?;
        self.remove_where(&lock, |file| file.expires.0 <= now)?;
        let exists = Accounts::new(&self.state).exists(&invitation.user)?;
        if exists && (invitation.rights.is_some() || invitation.root.is_some()) {
            return Err(InviteError::Fixed(invitation.user.clone()));
        }
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(secret.as_mut()).map_err(|e| InviteError::Make(e.to_string()))?;
        let seconds = i64::try_from(invitation.lifetime.as_secs()).map_err(|_| InviteError::Endless)?;
        let expires = Timestamp::from_second(now.as_second())
            .and_then(|now| now.checked_add(SignedDuration::from_secs(seconds)))
            .map_err(|_| InviteError::Endless)?;
        let secret_sha256 = hash_of(&secret);
        let name = file_of(&secret_sha256);
        let root =
            invitation.root.clone().map(AbsolutePath::try_from).transpose().map_err(InviteError::Make)?;
        let allow =
            (!exists).then(|| RightNames(invitation.rights.unwrap_or(Rights::READ.union(Rights::WRITE))));
        let file = InviteFile {
            user: invitation.user.clone(),
            secret_sha256,
            expires: Expiry(expires),
            allow,
            root,
        };
        let text = toml::to_string(&file).map_err(|e| InviteError::Make(e.to_string()))?;
        lock.replace(&name, text.as_bytes())?;
        Ok(Invite { secret, expires })
    }

    /// Uses up the invite of this secret and enrols `key`: in a new account, or in the one that exists,
    /// whose rights stay as they are. Of several at once one succeeds.
    pub fn redeem(&self, user: &str, secret: &[u8; 32], key: &PublicKey) -> Result<Account, InviteError> {
        self.redeem_at(user, secret, key, Timestamp::now())
    }

    fn redeem_at(
        &self,
        user: &str,
        secret: &[u8; 32],
        key: &PublicKey,
        now: Timestamp,
    ) -> Result<Account, InviteError> {
        let hash = hash_of(secret);
        let lock = self.state.lock()?;
        let name = file_of(&hash);
        let file = self.read(&name)?.ok_or(InviteError::Unknown)?;
        if !same(&file.secret_sha256, &hash) || file.user != user {
            return Err(InviteError::Unknown);
        }
        // Used up first: should anything fail from here on, the secret is spent rather than good for two.
        if !lock.remove(&name)? {
            return Err(InviteError::Unknown);
        }
        if file.expires.0 <= now {
            return Err(InviteError::Expired);
        }
        let accounts = Accounts::new(&self.state);
        if accounts.exists(&file.user)? {
            let add = |account: &mut Account| {
                if !account.keys.iter().any(|known| known.key_data() == key.key_data()) {
                    account.keys.push(key.clone());
                }
            };
            return Ok(accounts.modify_locked(&lock, &file.user, add)?);
        }
        let account = Account {
            name: file.user,
            keys: vec![key.clone()],
            password: None,
            root: file.root.map(|root| root.0),
            rights: file.allow.ok_or(InviteError::AccountGone)?.0,
            exec: Grant::default(),
        };
        accounts.add_locked(&lock, &account)?;
        Ok(account)
    }

    /// Removes an account with its pending invites, so that none of them brings it back. Returns whether
    /// there was an account, and how many invites there were.
    pub fn remove_user(&self, name: &str) -> Result<(bool, usize), InviteError> {
        check_user_name(name)?;
        let lock = self.state.lock()?;
        let invites = self.remove_where(&lock, |file| file.user == name)?;
        let existed = Accounts::new(&self.state).remove_locked(&lock, name)?;
        Ok((existed, invites))
    }

    /// Reads all invites; returns their number and what is wrong with them.
    pub fn check(&self) -> Result<(usize, Vec<InviteError>), InviteError> {
        let ids = self.state.names(DIRECTORY)?;
        let errors = ids.iter().filter_map(|id| self.read(&path_of(id)).err()).collect();
        Ok((ids.len(), errors))
    }

    /// Removes the invites that `unwanted` picks; returns how many. Those that cannot be understood stay:
    /// they let nobody in, and `check` reports them.
    fn remove_where(
        &self,
        lock: &StateLock,
        unwanted: impl Fn(&InviteFile) -> bool,
    ) -> Result<usize, InviteError> {
        let mut removed = 0;
        for id in self.state.names(DIRECTORY)? {
            let path = path_of(&id);
            if self.read(&path).ok().flatten().is_some_and(|file| unwanted(&file)) {
                removed += usize::from(lock.remove(&path)?);
            }
        }
        Ok(removed)
    }

    fn read(&self, name: &Path) -> Result<Option<InviteFile>, InviteError> {
        let Some(text) = self.state.read(name)? else { return Ok(None) };
        let path = self.state.path().join(name);
        let file: InviteFile = toml_file::parse(&path, &text)?;
        check_user_name(&file.user).map_err(|e| Malformed { path, line: 1, message: e.to_string() })?;
        Ok(Some(file))
    }
}

/// SHA-256 of a secret in hex. The secret has 256 random bits, so no slow hash is needed.
fn hash_of(secret: &[u8; 32]) -> String {
    HEXLOWER.encode(digest(&SHA256, secret).as_ref())
}

fn file_of(hash: &str) -> PathBuf {
    path_of(hash.get(..ID_DIGITS).unwrap_or(hash))
}

fn path_of(id: &str) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{id}.toml"))
}

fn same(one: &str, other: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests;
