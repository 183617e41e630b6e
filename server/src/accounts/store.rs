//! The accounts on disk: one TOML file each, replaced atomically, read at every login.

use std::io;
use std::path::{Path, PathBuf};

use ft_protocol::auth::check_user_name;

use super::{Account, AccountError};
use crate::roots::canonical_root;
use crate::state::{StateDir, StateError, StateLock};

const DIRECTORY: &str = "accounts";

/// All accounts of a server.
#[derive(Debug, Clone)]
pub struct Accounts {
    state: StateDir,
}

impl Accounts {
    /// The accounts in this state; nothing is read yet.
    pub fn new(state: &StateDir) -> Self {
        Self { state: state.clone() }
    }

    /// The account of this name as a login needs it, its root canonical and clear of the state directory;
    /// `None` where there is no such account. A file with errors is an error: who reads it fails closed.
    pub fn load(&self, name: &str) -> Result<Option<Account>, AccountError> {
        let Some(mut account) = self.read(name)? else { return Ok(None) };
        if let Some(root) = account.root.take() {
            let canonical = canonical_root(&root, &self.state);
            let canonical =
                canonical.map_err(|source| AccountError::Root { name: name.to_owned(), source })?;
            account.root = Some(canonical);
        }
        Ok(Some(account))
    }

    /// The account of this name as its file says it, without a look at its root.
    pub fn read(&self, name: &str) -> Result<Option<Account>, AccountError> {
        if check_user_name(name).is_err() {
            return Ok(None);
        }
        let file = file_of(name);
        let Some(text) = self.state.read(&file)? else { return Ok(None) };
        Ok(Some(Account::from_toml(name, &self.state.path().join(&file), &text)?))
    }

    /// The names of all accounts, sorted. A file may have a name that no account can have; `check` tells.
    pub fn list(&self) -> Result<Vec<String>, AccountError> {
        Ok(self.state.names(DIRECTORY)?)
    }

    /// Where the account of this name is kept.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.state.path().join(file_of(name))
    }

    /// True where there is a file for an account of this name, whatever is in it.
    pub fn exists(&self, name: &str) -> Result<bool, AccountError> {
        if check_user_name(name).is_err() {
            return Ok(false);
        }
        let path = self.path_of(name);
        match path.symlink_metadata() {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(StateError::io("look at", &path, &e).into()),
        }
    }

    /// Adds an account; one that exists is never replaced, not even by another process at the same time.
    pub fn add(&self, account: &Account) -> Result<(), AccountError> {
        self.add_locked(&self.state.lock()?, account)
    }

    pub(crate) fn add_locked(&self, lock: &StateLock, account: &Account) -> Result<(), AccountError> {
        check_user_name(&account.name)?;
        let text = account.to_toml()?;
        lock.directory(DIRECTORY)?;
        if lock.create(&file_of(&account.name), text.as_bytes())? {
            return Ok(());
        }
        Err(AccountError::Exists(account.name.clone()))
    }

    /// Changes an account. Between reading and writing nobody else can change it.
    pub fn modify(&self, name: &str, change: impl FnOnce(&mut Account)) -> Result<Account, AccountError> {
        self.modify_locked(&self.state.lock()?, name, change)
    }

    pub(crate) fn modify_locked(
        &self,
        lock: &StateLock,
        name: &str,
        change: impl FnOnce(&mut Account),
    ) -> Result<Account, AccountError> {
        let mut account = self.read(name)?.ok_or_else(|| AccountError::NotFound(name.to_owned()))?;
        change(&mut account);
        let text = account.to_toml()?;
        lock.directory(DIRECTORY)?;
        lock.replace(&file_of(name), text.as_bytes())?;
        Ok(account)
    }

    /// Removes an account, even one whose file cannot be understood; false where there was none.
    pub(crate) fn remove_locked(&self, lock: &StateLock, name: &str) -> Result<bool, AccountError> {
        check_user_name(name)?;
        Ok(lock.remove(&file_of(name))?)
    }
}

/// The file of an account in the state directory. The name must have been checked.
fn file_of(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{name}.toml"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::sync::Barrier;

    use ft_protocol::auth::Rights;

    use super::*;
    use crate::accounts::{hash_password, parse_public_keys};
    use crate::exec::Grant;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti a@b";

    fn account(name: &str) -> Account {
        Account {
            name: name.to_owned(),
            keys: parse_public_keys(KEY).unwrap(),
            password: Some(hash_password(b"x").unwrap()),
            root: None,
            rights: Rights::READ.union(Rights::CREATE),
            exec: Grant::default(),
        }
    }

    fn store() -> (tempfile::TempDir, Accounts) {
        let dir = tempfile::tempdir().unwrap();
        let accounts = Accounts::new(&StateDir::new(Some(&dir.path().join("state"))).unwrap());
        (dir, accounts)
    }

    #[test]
    fn an_account_comes_back_as_it_went() {
        let (dir, accounts) = store();
        let root = dir.path().join("data");
        std::fs::create_dir(&root).unwrap();
        let given = Account { root: Some(root.canonicalize().unwrap()), ..account("alice") };
        accounts.add(&given).unwrap();
        let found = accounts.load("alice").unwrap().unwrap();
        assert_eq!(found.keys, given.keys);
        assert_eq!(found.keys[0].comment(), "a@b");
        assert_eq!((found.password, found.root, found.rights), (given.password, given.root, given.rights));
        let meta = dir.path().join("state/accounts/alice.toml").metadata().unwrap();
        assert_eq!(meta.mode() & 0o7777, 0o600);
        assert_eq!(dir.path().join("state/accounts").metadata().unwrap().mode() & 0o7777, 0o700);
    }

    #[test]
    fn names_that_no_account_can_have_are_unknown() {
        let (dir, accounts) = store();
        std::fs::write(dir.path().join("secret.toml"), "allow = ['exec']").unwrap();
        for name in ["../../secret", "", ".", "A", "a/b", "a\0b"] {
            assert!(accounts.load(name).unwrap().is_none(), "{name:?}");
            assert!(accounts.add(&account(name)).is_err(), "{name:?}");
        }
    }

    #[test]
    fn of_two_at_once_one_adds() {
        let (_dir, accounts) = store();
        let barrier = Barrier::new(4);
        let mut winners = std::thread::scope(|scope| {
            let add = || {
                let account = account("alice");
                barrier.wait();
                accounts.add(&account)
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(add)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        winners.retain(Result::is_ok);
        assert_eq!(winners.len(), 1);
    }

    #[test]
    fn changes_at_once_are_all_kept() {
        let (_dir, accounts) = store();
        accounts.add(&Account { keys: Vec::new(), ..account("alice") }).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| accounts.modify("alice", |a| a.keys.extend(parse_public_keys(KEY).unwrap())));
            }
        });
        assert_eq!(accounts.load("alice").unwrap().unwrap().keys.len(), 8);
    }

    #[test]
    fn a_file_that_cannot_be_understood_lets_nobody_in() {
        let (dir, accounts) = store();
        accounts.add(&account("alice")).unwrap();
        let file = dir.path().join("state/accounts/alice.toml");
        let good = std::fs::read_to_string(&file).unwrap();
        let bad = [
            good.replace("allow", "alow"),
            good.replace("\"read\"", "\"reed\""),
            good.replace("ssh-ed25519", "ssh-rsa"),
            good.replace("argon2id", "plain"),
            good.replace("allow", "admin = true\nallow"),
            format!("root = 'srv'\n{good}"),
            format!("root = '/does/not/exist'\n{good}"),
            format!("root = '/'\n{good}"),
            String::new(),
        ];
        for text in bad {
            assert_ne!(text, good);
            std::fs::write(&file, &text).unwrap();
            assert!(accounts.load("alice").is_err(), "{text}");
        }
        std::fs::write(&file, &good).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(accounts.load("alice").unwrap_err().to_string().contains("chmod 600"));
    }

    /// An account file that says everything, as the README shows it.
    fn documented() -> String {
        let readme = include_str!("../../../README.md");
        let block = readme.split("```toml\n").find(|block| block.contains("[exec]")).unwrap();
        let table = block.split("```").next().unwrap();
        let first = table.find('\n').unwrap() + 1;
        format!("{}keys = ['{KEY}']\n{}", &table[..first], &table[first..])
    }

    #[test]
    fn the_exec_table_survives_every_change_of_the_account() {
        let (dir, accounts) = store();
        accounts.add(&account("ops")).unwrap();
        let file = dir.path().join("state/accounts/ops.toml");
        let tables = [
            documented(),
            "allow = ['exec', 'shell']\n[exec]\ncwd = false\nenv = ['A*']\nnew_privileges = true".to_owned(),
            "allow = ['exec']\n[exec]\n".to_owned(),
            "allow = ['exec']\n[exec]\ncommands = [['/bin/a', '*', \"\\u0007é'\"]]\ntime_limit = '1500ms'"
                .to_owned(),
        ];
        for text in tables {
            std::fs::write(&file, &text).unwrap();
            let before = accounts.read("ops").unwrap().unwrap();
            accounts.modify("ops", |account| account.rights = Rights::EXEC.union(Rights::READ)).unwrap();
            accounts.modify("ops", |account| account.password = Some(hash_password(b"y").unwrap())).unwrap();
            let after = accounts.read("ops").unwrap().unwrap();
            assert_eq!(after.exec, before.exec, "{text}");
            assert_eq!(after.exec.describe(), before.exec.describe());
            assert_eq!(after.keys, before.keys);
        }
    }

    #[test]
    fn a_shell_is_not_granted_beside_named_commands() {
        let (dir, accounts) = store();
        accounts.add(&account("ops")).unwrap();
        std::fs::write(dir.path().join("state/accounts/ops.toml"), documented()).unwrap();
        let all = Rights::EXEC.union(Rights::SHELL);
        let error = accounts.modify("ops", |account| account.rights = all).unwrap_err();
        assert!(error.to_string().contains("leave out the right 'shell'"), "{error}");
        assert_eq!(accounts.load("ops").unwrap().unwrap().rights, Rights::READ.union(Rights::EXEC));
    }

    /// Each line of a file that says everything, spoilt in many ways: nobody gets in, and the line is named.
    #[test]
    fn no_line_that_went_wrong_widens_access() {
        let (dir, accounts) = store();
        accounts.add(&account("ops")).unwrap();
        let file = dir.path().join("state/accounts/ops.toml");
        let good = documented();
        let lines: Vec<&str> = good.lines().collect();
        let refused = |at: usize, bad: &str| {
            let mut text = lines.clone();
            text[at] = bad;
            std::fs::write(&file, text.join("\n")).unwrap();
            match accounts.load("ops") {
                Err(AccountError::Malformed(error)) => error.line,
                other => panic!("{bad}: {other:?}"),
            }
        };
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_empty()) {
            let code = line.split(" #").next().unwrap().trim_end();
            refused(at, &format!("{code}\n{code}"));
            refused(at, &format!("x{code}"));
            let Some((key, value)) = code.split_once(" = ") else {
                ["[exe]", "[exec.limit]", "[[exec]]", ""].iter().for_each(|bad| _ = refused(at, bad));
                continue;
            };
            if value.parse::<u64>().is_err() {
                refused(at, &code[..code.len() - 1]);
            }
            let mut spoilt = vec![format!("{key}s = {value}"), format!("{} = {value}", key.to_uppercase())];
            for bad in ["''", "0", "-1", "[['']]", "[1]", "[[]]", "{}", "'x'", "[['df']]", "[['/bin/']]", ""]
            {
                // It is another user; whether there is one is seen when a command is to run.
                if (key, bad) != ("user", "'x'") {
                    spoilt.push(format!("{key} = {bad}"));
                }
            }
            for bad in spoilt {
                assert_eq!(refused(at, &bad), at + 1, "{bad}");
            }
        }
        let line_of = |start: &str| lines.iter().position(|line| line.starts_with(start)).unwrap();
        assert_eq!(refused(line_of("env"), "env = ['LANG', 'LD_*']"), line_of("env") + 1);
        // The error is where the commands are.
        assert_eq!(refused(line_of("allow"), "allow = ['exec', 'shell']"), line_of("commands") + 1);
        std::fs::write(&file, &good).unwrap();
        accounts.load("ops").unwrap().unwrap();
    }
}
