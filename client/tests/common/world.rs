//! A server, an account on it, and a user with a home directory.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ft_protocol::auth::Rights;
use ft_protocol::path::is_staging_name;
use ftserver::accounts::{Account, Accounts, hash_password};
use ftserver::state::StateDir;
use ssh_key::private::{Ed25519Keypair, PrivateKey};
use ssh_key::{Algorithm, LineEnding};
use tempfile::TempDir;

use super::{Ran, Running, Server, run};

/// `anna` may read, write and delete on the server that her configuration calls `nas`.
pub(crate) struct World {
    pub(crate) server: Server,
    /// Last, as fields are dropped in order.
    dir: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        for name in ["root", "work", "home/.ssh", "home/.config/ftclient"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let server = Server::start(&dir.path().join("root"), &dir.path().join("state"));
        let world = Self { server, dir };
        let key = world.home().join(".ssh/id_ed25519");
        fs::write(&key, own_key().to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let Server { address, fingerprint, .. } = &world.server;
        world.configure(&format!(
            "default_host = 'nas'\n[hosts.nas]\naddress = '{address}'\nuser = 'anna'\nfingerprint = '{fingerprint}'\n"
        ));
        world.account("anna", "read,write,delete");
        world
    }

    /// An account that the user's key opens.
    pub(crate) fn account(&self, name: &str, rights: &str) {
        self.account_as(Account { keys: vec![own_key().public_key().clone()], ..blank(name, rights) });
    }

    /// An account that only a password opens.
    pub(crate) fn account_with_password(&self, name: &str, password: &[u8]) {
        let password = Some(hash_password(password).unwrap());
        self.account_as(Account { password, ..blank(name, "read") });
    }

    /// An account that sees another directory.
    pub(crate) fn account_at(&self, name: &str, root: &Path) {
        let keys = vec![own_key().public_key().clone()];
        let root = Some(root.canonicalize().unwrap());
        self.account_as(Account { keys, root, ..blank(name, "read,write,delete") });
    }

    fn account_as(&self, account: Account) {
        Accounts::new(&self.state()).add(&account).unwrap();
    }

    pub(crate) fn state(&self) -> StateDir {
        StateDir::new(Some(&self.dir.path().join("state"))).unwrap()
    }

    /// Writes the client's configuration.
    pub(crate) fn configure(&self, text: &str) {
        fs::write(self.config_dir().join("config.toml"), text).unwrap();
    }

    /// Where configuration, known keys and the client's own key are.
    pub(crate) fn config_dir(&self) -> PathBuf {
        self.home().join(".config/ftclient")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// Beside root and home: what nobody should get at.
    pub(crate) fn outside(&self) -> &Path {
        self.dir.path()
    }

    /// A path on the server.
    pub(crate) fn remote(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.dir.path().join("root").join(name.as_ref())
    }

    /// A path in the directory where the client runs.
    pub(crate) fn local(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.dir.path().join("work").join(name.as_ref())
    }

    /// Puts a file on the server behind its back.
    pub(crate) fn serve(&self, name: impl AsRef<OsStr>, content: impl AsRef<[u8]>) {
        fs::write(self.remote(name), content).unwrap();
    }

    /// Puts a file where the client runs.
    pub(crate) fn keep(&self, name: impl AsRef<OsStr>, content: impl AsRef<[u8]>) {
        fs::write(self.local(name), content).unwrap();
    }

    /// The client, in an environment without anything of the person who runs the tests.
    pub(crate) fn command(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ftclient"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.args(args).env_clear().env("PATH", path).env("HOME", self.home());
        command.current_dir(self.local(""));
        command
    }

    /// Runs the client to its end.
    #[track_caller]
    pub(crate) fn ft(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Ran {
        run(&mut self.command(args), b"")
    }

    /// Runs the client with this standard input.
    #[track_caller]
    pub(crate) fn ft_with(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>, input: &[u8]) -> Ran {
        run(&mut self.command(args), input)
    }

    /// Starts the client.
    pub(crate) fn start(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Running {
        Running::start(&mut self.command(args))
    }

    /// Asserts that neither end keeps anything unfinished.
    #[track_caller]
    pub(crate) fn nothing_is_staged(&self) {
        for dir in [self.remote(""), self.local("")] {
            assert_eq!(staging_files(&dir), Vec::<PathBuf>::new());
        }
    }
}

fn own_key() -> PrivateKey {
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32]));
    assert_eq!(key.algorithm(), Algorithm::Ed25519);
    key
}

fn blank(name: &str, rights: &str) -> Account {
    let rights: Rights = rights.parse().unwrap();
    let exec = ftserver::exec::Grant::default();
    Account { name: name.to_owned(), keys: Vec::new(), password: None, root: None, rights, exec }
}

/// The unfinished files in a directory.
pub(crate) fn staging_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .filter(|entry| is_staging_name(entry.file_name().as_encoded_bytes()))
        .map(|entry| entry.path())
        .collect()
}

/// A standard output that nobody reads.
pub(crate) fn pipe_without_reader() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}
