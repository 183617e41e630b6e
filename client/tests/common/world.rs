//! A server, an account on it, and a user with a home directory.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::os::unix::process::CommandExt;
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

/// Who owns nothing.
const NOBODY: u32 = 65534;

/// `anna` may read, write and delete on the server that her configuration calls `nas`.
pub(crate) struct World {
    pub(crate) server: Server,
    /// Another client than the one of the build, and who runs it.
    stranger: Option<(PathBuf, u32)>,
    /// Last, as fields are dropped in order.
    dir: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::of(None)
    }

    /// As [`World::new`], but neither end is root, who may read everything.
    pub(crate) fn without_root() -> Self {
        Self::of(rustix::process::geteuid().is_root().then_some(NOBODY))
    }

    fn of(user: Option<u32>) -> Self {
        let dir = TempDir::new().unwrap();
        for name in ["root", "work", "home/.ssh", "home/.config/ftclient", "bin"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let (root, state) = (dir.path().join("root"), dir.path().join("state"));
        add(
            &state,
            &Account { keys: vec![own_key().public_key().clone()], ..blank("anna", "read,write,delete") },
        );
        let mut stranger = None;
        let server = match user {
            None => Server::start(&root, &state),
            Some(user) => {
                let bin = dir.path().join("bin");
                stranger = Some((within_reach(Path::new(env!("CARGO_BIN_EXE_ftclient")), &bin), user));
                let binary = within_reach(&std::env::current_exe().unwrap(), &bin);
                give(dir.path(), user);
                Server::start_as(&root, &state, binary, Some(user))
            }
        };
        let world = Self { server, stranger, dir };
        let key = world.home().join(".ssh/id_ed25519");
        fs::write(&key, own_key().to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let Server { address, fingerprint, .. } = &world.server;
        world.configure(&format!(
            "default_host = 'nas'\n[hosts.nas]\naddress = '{address}'\nuser = 'anna'\nfingerprint = '{fingerprint}'\n"
        ));
        world.hand_over(&world.home());
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
        add(&self.dir.path().join("state"), &account);
    }

    /// Gives a directory and all that is in it to the user of [`World::without_root`].
    pub(crate) fn hand_over(&self, dir: &Path) {
        if let Some((_, user)) = self.stranger {
            give(dir, user);
        }
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
        let mut command = match &self.stranger {
            None => Command::new(env!("CARGO_BIN_EXE_ftclient")),
            Some((program, user)) => {
                let mut command = Command::new(program);
                command.uid(*user).gid(*user);
                command
            }
        };
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

fn add(state: &Path, account: &Account) {
    Accounts::new(&StateDir::new(Some(state)).unwrap()).add(account).unwrap();
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

/// The unfinished files in a directory and in those beneath it.
pub(crate) fn staging_beneath(top: &Path) -> Vec<PathBuf> {
    let mut found = staging_files(top);
    for entry in fs::read_dir(top).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(staging_beneath(&entry.path()));
        }
    }
    found
}

/// A program in a directory that everyone can reach, wherever it was built.
fn within_reach(program: &Path, dir: &Path) -> PathBuf {
    let there = dir.join(program.file_name().unwrap());
    if fs::hard_link(program, &there).is_err() {
        fs::copy(program, &there).unwrap();
    }
    there
}

/// Makes a user the owner of a directory and all that is in it, but for programs, which may have other names elsewhere.
fn give(dir: &Path, user: u32) {
    lchown(dir, Some(user), Some(user)).unwrap();
    for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap()) {
        match entry.file_type().unwrap().is_dir() {
            true if entry.file_name() == "bin" => {}
            true => give(&entry.path(), user),
            false => lchown(entry.path(), Some(user), Some(user)).unwrap(),
        }
    }
}

/// A standard output that nobody reads.
pub(crate) fn pipe_without_reader() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}
