//! `ftserver user`.

use std::fmt::Write as _;
use std::path::Path;

use ft_protocol::auth::Rights;
use ft_protocol::display::Escaped;
use ssh_key::HashAlg;

use super::secrets::{new_password, read_keys, read_password};
use super::{CommandError, print, say, say_what_exec_means};
use crate::accounts::{Account, AccountError, Accounts, hash_password};
use crate::cli::{UserAddArgs, UserAllowArgs, UserCommand};
use crate::exec::Grant;
use crate::invites::Invites;
use crate::roots::canonical_root;
use crate::state::{StateDir, shown};

/// Runs a `user` subcommand.
pub fn user(command: UserCommand, state: &StateDir) -> Result<(), CommandError> {
    match command {
        UserCommand::Add(args) => add(args, state),
        UserCommand::List => list(state),
        UserCommand::Show(user) => show(&user.name, state),
        UserCommand::Allow(args) => allow(&args, state),
        UserCommand::Remove(user) => remove(&user.name, state),
        UserCommand::Passwd(user) => passwd(&user.name, state),
    }
}

fn add(args: UserAddArgs, state: &StateDir) -> Result<(), CommandError> {
    let accounts = Accounts::new(state);
    // Before anything is asked for or read; the store decides when it comes to writing.
    if accounts.exists(&args.name)? {
        return Err(AccountError::Exists(args.name).into());
    }
    let from_stdin = args.key.iter().chain(&args.password_file).filter(|path| **path == Path::new("-"));
    if from_stdin.count() > 1 {
        return Err(CommandError::Usage("standard input (-) can be read once only: give a file".to_owned()));
    }
    if args.key.is_empty() && args.password_file.is_none() {
        let advice = "nobody could log in: give --key FILE (such as ~/.ssh/id_ed25519.pub) or --password-file FILE, \
                      or let the client enrol its own key with `ftserver invite";
        return Err(CommandError::Usage(format!("{advice} {}`", args.name)));
    }
    let mut keys = Vec::new();
    for path in &args.key {
        keys.extend(read_keys(path)?);
    }
    let password = match &args.password_file {
        Some(path) => Some(hash(&read_password(path)?)?),
        None => None,
    };
    let root = args.root.map(|root| canonical_root(&root, state)).transpose()?;
    let rights = args.rights.given().unwrap_or(Rights::READ.union(Rights::WRITE));
    let exec = Grant::default();
    accounts.add(&Account { name: args.name.clone(), keys, password, root, rights, exec })?;
    say(format_args!("added {} with {rights}", args.name));
    say_what_exec_means(&args.name, rights, &Grant::default(), &accounts);
    Ok(())
}

fn list(state: &StateDir) -> Result<(), CommandError> {
    let accounts = Accounts::new(state);
    let names = accounts.list()?;
    if names.is_empty() {
        say(format_args!("no accounts in {}", shown(state.path())));
    }
    let mut text = String::new();
    let mut first_error = None;
    for name in &names {
        match accounts.read(name) {
            Ok(Some(account)) => {
                let root = account.root.as_deref().map_or("-".to_owned(), |root| shown(root).to_string());
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{name}\t{}\t{}\t{root}", account.rights, ways_in(&account));
            }
            Ok(None) => {}
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    print(&text)?;
    first_error.map_or(Ok(()), |error| Err(error.into()))
}

/// How one can log in, in one word.
fn ways_in(account: &Account) -> &'static str {
    match (account.keys.is_empty(), account.password.is_none()) {
        (false, false) => "key+password",
        (false, true) => "key",
        (true, false) => "password",
        (true, true) => "none",
    }
}

fn show(name: &str, state: &StateDir) -> Result<(), CommandError> {
    let account = Accounts::new(state).read(name)?.ok_or_else(|| AccountError::NotFound(name.to_owned()))?;
    let root = account.root.as_deref().map_or("that of serve".to_owned(), |root| shown(root).to_string());
    let password = if account.password.is_some() { "set" } else { "none" };
    let mut text = format!("name: {name}\nrights: {}\nroot: {root}\npassword: {password}\n", account.rights);
    if account.may_run_commands() || !account.exec.is_default() {
        text.push_str(&account.exec.describe());
    }
    for key in &account.keys {
        let line = format!("key: {} {}", key.fingerprint(HashAlg::Sha256), Escaped::from(key.comment()));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    print(&text)
}

fn allow(args: &UserAllowArgs, state: &StateDir) -> Result<(), CommandError> {
    let name = &args.name;
    let missing = || CommandError::Usage("give --allow LIST, --read-only or --append-only".to_owned());
    let rights = args.rights.given().ok_or_else(missing)?;
    let accounts = Accounts::new(state);
    let account = accounts.modify(name, |account| account.rights = rights)?;
    say(format_args!("{name} may {rights}, from the next login on"));
    say_what_exec_means(name, rights, &account.exec, &accounts);
    Ok(())
}

fn remove(name: &str, state: &StateDir) -> Result<(), CommandError> {
    let (existed, invites) = Invites::new(state).remove_user(name)?;
    if !existed && invites == 0 {
        return Err(AccountError::NotFound(name.to_owned()).into());
    }
    let what = if existed { "removed" } else { "there was no account" };
    say(format_args!("{what} {name}; pending invites removed: {invites}"));
    Ok(())
}

fn passwd(name: &str, state: &StateDir) -> Result<(), CommandError> {
    let accounts = Accounts::new(state);
    if !accounts.exists(name)? {
        return Err(AccountError::NotFound(name.to_owned()).into());
    }
    let hash = hash(&new_password(name)?)?;
    accounts.modify(name, |account| account.password = Some(hash))?;
    say(format_args!("the password of {name} is set"));
    Ok(())
}

fn hash(password: &[u8]) -> Result<crate::accounts::PasswordHash, CommandError> {
    hash_password(password).map_err(|e| CommandError::Usage(e.to_string()))
}
