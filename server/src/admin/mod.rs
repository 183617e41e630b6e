//! Everything that the command line does but serving. Results go to standard output, words for people to
//! standard error.

mod check;
mod generate;
mod invite;
mod secrets;
mod user;

use std::fmt;
use std::io::{self, Write};

use ft_protocol::auth::Rights;
use ft_protocol::display::Escaped;
use ft_protocol::{Error, error::status_of, exit};

pub use check::check;
pub use generate::{completions, man};
pub use invite::invite;
pub use user::user;

use crate::accounts::{AccountError, Accounts};
use crate::config::ConfigError;
use crate::exec::Grant;
use crate::identity::{Identity, IdentityError};
use crate::invites::InviteError;
use crate::roots::RootError;
use crate::state::{StateDir, StateError, shown};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The command line asks for something that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A file or the terminal that was named could not be read.
    #[error(transparent)]
    Input(Error),
    /// `check` found something.
    #[error("check: {0} found wrong")]
    Check(usize),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The root cannot be served.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The server's key cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// An account is wrong, missing, or there already.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// An invite could not be made.
    #[error(transparent)]
    Invite(#[from] InviteError),
    /// The state directory failed or is exposed.
    #[error(transparent)]
    State(#[from] StateError),
    /// Serving ended with an error.
    #[error(transparent)]
    Serve(Error),
    /// The result could not be written.
    #[error("write to standard output: {0}")]
    Output(#[from] io::Error),
}

impl CommandError {
    /// The exit code, one of [`ft_protocol::exit`].
    pub fn exit_code(&self) -> u8 {
        match self {
            CommandError::Usage(_) | CommandError::Check(_) | CommandError::Root(_) => exit::USAGE,
            CommandError::Input(e) | CommandError::Serve(e) => exit::exit_code(e.status()),
            CommandError::Config(e) => of_config(e),
            CommandError::Identity(e) => of_identity(e),
            CommandError::Account(e) => of_account(e),
            CommandError::Invite(e) => of_invite(e),
            CommandError::State(e) => of_state(e),
            CommandError::Output(e) => exit::exit_code(status_of(e)),
        }
    }
}

fn of_config(error: &ConfigError) -> u8 {
    match error {
        ConfigError::Malformed(_)
        | ConfigError::Unreadable { .. }
        | ConfigError::NoRoot
        | ConfigError::Root(_) => exit::USAGE,
        ConfigError::Identity(e) => of_identity(e),
        ConfigError::State(e) => of_state(e),
    }
}

fn of_identity(error: &IdentityError) -> u8 {
    match error {
        IdentityError::BadKey { .. } => exit::USAGE,
        IdentityError::Missing(_) => exit::NOT_FOUND,
        IdentityError::Make(_) => exit::FAILURE,
        IdentityError::State(e) => of_state(e),
    }
}

fn of_account(error: &AccountError) -> u8 {
    match error {
        AccountError::Name(_)
        | AccountError::Malformed(_)
        | AccountError::Root { .. }
        | AccountError::Unstorable { .. } => exit::USAGE,
        AccountError::Exists(_) => exit::FAILURE,
        AccountError::NotFound(_) => exit::NOT_FOUND,
        AccountError::State(e) => of_state(e),
    }
}

fn of_invite(error: &InviteError) -> u8 {
    match error {
        InviteError::Fixed(_) | InviteError::Name(_) | InviteError::Endless | InviteError::Malformed(_) => {
            exit::USAGE
        }
        InviteError::Unknown | InviteError::Expired | InviteError::AccountGone => exit::DENIED,
        InviteError::Make(_) => exit::FAILURE,
        InviteError::Account(e) => of_account(e),
        InviteError::State(e) => of_state(e),
    }
}

fn of_state(error: &StateError) -> u8 {
    match error {
        StateError::Exposed { .. }
        | StateError::Foreign { .. }
        | StateError::TooLarge(_)
        | StateError::NoHome => exit::USAGE,
        StateError::System(e) => exit::exit_code(e.status()),
    }
}

/// Prints the fingerprint of the server's key. Makes none: that of a mistyped directory would be no server's.
pub fn fingerprint(state: &StateDir) -> Result<(), CommandError> {
    let missing = || IdentityError::Missing(state.path().to_owned());
    let identity = Identity::load(state)?.ok_or_else(missing)?;
    print(&format!("{}\n", identity.fingerprint()))
}

/// Says something to a person, on standard error. That nobody can hear it is no failure.
pub fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Says what it means that an account may run commands which its file does not name.
fn say_what_exec_means(name: &str, rights: Rights, grant: &Grant, accounts: &Accounts) {
    if !rights.intersects(Rights::EXEC.union(Rights::SHELL)) || grant.is_limited() {
        return;
    }
    let whose = match grant.user() {
        Some(user) => format!("the operating-system user {}", Escaped::from(user)),
        None => "the user that the server runs as (all of the machine, if that is root)".to_owned(),
    };
    say(format_args!(
        "exec: {name} can run any program with the rights of {whose}, whatever its root and its other rights; \
         to limit that, add an [exec] table to {} ('Running commands' in the README), then run `ftserver check`",
        shown(&accounts.path_of(name))
    ));
}

/// Writes a result to standard output. A reader that has seen enough, such as `head`, is no failure.
fn print(text: &str) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}
