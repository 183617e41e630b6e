//! Accounts: who may log in, how they prove it, and what they may do.

mod keys;
mod password;
mod store;

use std::path::{Path, PathBuf};

use ft_protocol::auth::{BadUserName, Rights};
use serde::{Deserialize, Serialize};
use ssh_key::PublicKey;

pub use keys::{BadKey, parse_public_keys};
pub use password::{BadPassword, MAX_PASSWORD, PasswordHash, hash_password, verify_password};
pub use store::Accounts;

use crate::exec::Grant;
use crate::roots::RootError;
use crate::state::StateError;
use crate::toml_file::{self, AbsolutePath, Malformed, RightNames};
use keys::KeyLine;

/// One account. Without a key and without a password nobody can log in to it.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name, as [`ft_protocol::auth::check_user_name`] allows it.
    pub name: String,
    /// Keys that may log in, ed25519 only.
    pub keys: Vec<PublicKey>,
    /// The password that may log in.
    pub password: Option<PasswordHash>,
    /// The directory that it sees, absolute; `None` for that of `serve`.
    pub root: Option<PathBuf>,
    /// What it may do.
    pub rights: Rights,
    /// Which commands it may run, where it has the right `exec` or `shell`.
    pub exec: Grant,
}

/// What can go wrong with accounts.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// No account can have this name.
    #[error(transparent)]
    Name(#[from] BadUserName),
    /// An account of this name is there already.
    #[error(
        "account {0} exists and is left as it is: change its password with `ftserver user passwd {0}`, let it \
         enrol another key with `ftserver invite {0}`, or remove it first with `ftserver user remove {0}`"
    )]
    Exists(String),
    /// No account has this name.
    #[error("no account {0}: `ftserver user list` shows those that exist")]
    NotFound(String),
    /// The file of the account cannot be understood; nobody can log in to it until that is repaired.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The root of the account cannot be served.
    #[error("account {name}: {source}")]
    Root {
        /// The account.
        name: String,
        /// Why.
        source: RootError,
    },
    /// The account cannot be written down.
    #[error("account {name} cannot be stored: {reason}")]
    Unstorable {
        /// The account.
        name: String,
        /// Why.
        reason: String,
    },
    /// The state directory failed or is exposed.
    #[error(transparent)]
    State(#[from] StateError),
}

/// An account as its file holds it; the name is that of the file.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct AccountFile {
    allow: RightNames,
    #[serde(default)]
    keys: Vec<KeyLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<PasswordHash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<AbsolutePath>,
    #[serde(default, skip_serializing_if = "Grant::is_default")]
    exec: Grant,
}

impl Account {
    /// Whether it has one of the rights that run commands.
    pub(crate) fn may_run_commands(&self) -> bool {
        self.rights.intersects(Rights::EXEC.union(Rights::SHELL))
    }

    fn from_toml(name: &str, path: &Path, text: &str) -> Result<Self, Malformed> {
        let file: AccountFile = toml_file::parse(path, text)?;
        file.exec
            .consistent_with(file.allow.0)
            .map_err(|wrong| Malformed::at(path, text, wrong.span, wrong.message))?;
        Ok(Self {
            name: name.to_owned(),
            keys: file.keys.into_iter().map(|line| line.0).collect(),
            password: file.password,
            root: file.root.map(|root| root.0),
            rights: file.allow.0,
            exec: file.exec,
        })
    }

    fn to_toml(&self) -> Result<String, AccountError> {
        let unstorable = |reason: String| AccountError::Unstorable { name: self.name.clone(), reason };
        let root = self.root.clone().map(AbsolutePath::try_from).transpose().map_err(unstorable)?;
        self.exec.consistent_with(self.rights).map_err(|wrong| unstorable(wrong.message))?;
        toml::to_string(&AccountFile {
            allow: RightNames(self.rights),
            keys: self.keys.iter().cloned().map(KeyLine).collect(),
            password: self.password.clone(),
            root,
            exec: self.exec.clone(),
        })
        .map_err(|e| unstorable(e.to_string()))
    }
}
