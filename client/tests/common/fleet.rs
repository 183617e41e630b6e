//! Many servers, and a user whose configuration names them all.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use ft_protocol::auth::Rights;
use ft_protocol::wire::Message;
use ft_tests::hostile::{Action, HostileServer};
use ft_tests::server::{ALL, TestServer, USER, key};
use ftserver::accounts::{Account, Accounts};
use ftserver::exec::Grant;
use ftserver::state::StateDir;
use rustix::process::Signal;
use serde_json::Value;
use ssh_key::LineEnding;
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio::runtime::{Builder, Runtime};

use super::server::ftserver_binary;
use super::{Ran, Running, Server, build_supervisor, patience, run};

/// A fingerprint that no server has.
const OTHER_KEY: &str = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What a host is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A server in this process, which runs commands.
    Here,
    /// A server in a process of its own.
    Process,
    /// The same, stopped: connections are taken, and nothing is answered until it is continued.
    Stopped,
    /// Takes connections and never says a word.
    Hung,
    /// Nobody listens.
    Closed,
    /// The client knows another key of it.
    OtherKey,
    /// It does not know the user.
    Refusing,
}

/// Hosts that the configuration names, in this order.
pub(crate) struct Fleet {
    hosts: Vec<Host>,
    /// What stands behind the hosts in the configuration.
    more: String,
    dir: TempDir,
    /// Last, as all of the servers in this process run on it.
    runtime: Runtime,
}

struct Host {
    name: String,
    address: SocketAddr,
    fingerprint: Option<String>,
    /// More lines of its table.
    more: String,
    peer: Peer,
}

enum Peer {
    Here(Box<TestServer>),
    Process(Box<Server>),
    /// Tells each connection.
    Hung(Receiver<()>),
    Hostile {
        _server: HostileServer,
    },
    Closed {
        _socket: TcpSocket,
    },
}

impl Fleet {
    /// Servers in this process: `web001` and so on.
    pub(crate) fn in_process(count: usize) -> Self {
        let names: Vec<String> = (1..=count).map(|number| format!("web{number:03}")).collect();
        let hosts: Vec<(&str, Kind)> = names.iter().map(|name| (name.as_str(), Kind::Here)).collect();
        Self::of(&hosts)
    }

    /// Hosts of these names.
    pub(crate) fn of(hosts: &[(&str, Kind)]) -> Self {
        build_supervisor();
        let dir = TempDir::new().unwrap();
        for name in ["work", "home/.ssh", "home/.config/ftclient"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let identity = dir.path().join("home/.ssh/id_ed25519");
        fs::write(&identity, key(1).to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
        fs::set_permissions(&identity, fs::Permissions::from_mode(0o600)).unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut fleet = Self { hosts: Vec::new(), more: String::new(), dir, runtime };
        for (name, kind) in hosts {
            fleet.add(name, *kind);
        }
        fleet.configure();
        fleet
    }

    fn add(&mut self, name: &str, kind: Kind) {
        let (address, fingerprint, peer) = match kind {
            Kind::Here => {
                let builder = TestServer::builder().rights(ALL.union(Rights::EXEC).union(Rights::SHELL));
                let server = self.runtime.block_on(builder.supervisor(ftserver_binary()).start());
                (server.address(), Some(server.fingerprint().to_string()), Peer::Here(Box::new(server)))
            }
            Kind::Process | Kind::Stopped | Kind::OtherKey | Kind::Refusing => {
                let server = self.process(name, kind != Kind::Refusing);
                let address = server.address;
                let mut fingerprint = Some(server.fingerprint.clone());
                if kind == Kind::Stopped {
                    server.signal(Signal::STOP);
                }
                if kind == Kind::OtherKey {
                    fingerprint = None;
                    let known = format!("{address} {OTHER_KEY} how=trust 2026-01-31\n");
                    fs::write(self.home().join(".config/ftclient/known_hosts"), known).unwrap();
                }
                (address, fingerprint, Peer::Process(Box::new(server)))
            }
            Kind::Hung => {
                let (address, connections) = hung();
                (address, None, Peer::Hung(connections))
            }
            Kind::Closed => {
                // A port that is bound stays free of listeners, where one that was given up may find a new one.
                let socket = TcpSocket::new_v4().unwrap();
                socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
                (socket.local_addr().unwrap(), None, Peer::Closed { _socket: socket })
            }
        };
        let (name, more) = (name.to_owned(), String::new());
        self.hosts.push(Host { name, address, fingerprint, more, peer });
    }

    fn process(&self, name: &str, knows: bool) -> Server {
        let place = self.dir.path().join(format!("server-{name}"));
        let (root, state) = (place.join("root"), place.join("state"));
        fs::create_dir_all(&root).unwrap();
        let keys = vec![key(if knows { 1 } else { 2 }).public_key().clone()];
        let exec = Grant::default();
        let account = Account { name: USER.to_owned(), keys, password: None, root: None, rights: ALL, exec };
        Accounts::new(&StateDir::new(Some(&state)).unwrap()).add(&account).unwrap();
        Server::start(&root, &state)
    }

    /// One more host, which lets everybody in and then follows its script.
    pub(crate) fn hostile(
        &mut self,
        name: &str,
        script: impl FnMut(u32, Message) -> Vec<Action> + Send + 'static,
    ) {
        let server = self.runtime.block_on(HostileServer::start(script));
        let (address, fingerprint) = (server.address(), Some(server.fingerprint().to_string()));
        let peer = Peer::Hostile { _server: server };
        self.hosts.push(Host { name: name.to_owned(), address, fingerprint, more: String::new(), peer });
        self.configure();
    }

    /// Adds a line to the table of a host.
    pub(crate) fn set(&mut self, name: &str, line: &str) {
        let host = self.hosts.iter_mut().find(|host| host.name == name).unwrap();
        writeln!(host.more, "{line}").unwrap();
        self.configure();
    }

    /// Adds tables to the configuration.
    pub(crate) fn also(&mut self, tables: &str) {
        writeln!(self.more, "{tables}").unwrap();
        self.configure();
    }

    fn configure(&self) {
        // What fails is not to be waited for.
        let mut text = "[defaults]\nretries = 0\n".to_owned();
        for Host { name, address, fingerprint, more, .. } in &self.hosts {
            writeln!(text, "[hosts.{name}]\naddress = '{address}'\nuser = '{USER}'\n{more}").unwrap();
            if let Some(fingerprint) = fingerprint {
                writeln!(text, "fingerprint = '{fingerprint}'").unwrap();
            }
        }
        fs::write(self.home().join(".config/ftclient/config.toml"), text + &self.more).unwrap();
    }

    fn host(&self, name: &str) -> &Host {
        self.hosts.iter().find(|host| host.name == name).unwrap()
    }

    /// The names, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.hosts.iter().map(|host| host.name.clone()).collect()
    }

    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        self.host(name).address
    }

    /// The process of a host.
    pub(crate) fn server(&mut self, name: &str) -> &mut Server {
        let host = self.hosts.iter_mut().find(|host| host.name == name).unwrap();
        match &mut host.peer {
            Peer::Process(server) => server,
            _ => panic!("{name} is no process"),
        }
    }

    /// Waits until the client has connected to a host that hangs.
    #[track_caller]
    pub(crate) fn connected(&self, name: &str) {
        match &self.host(name).peer {
            Peer::Hung(connections) => connections.recv_timeout(patience()).unwrap(),
            _ => panic!("{name} does not hang"),
        }
    }

    /// A path beneath what a host serves.
    pub(crate) fn remote(&self, name: &str, path: impl AsRef<Path>) -> PathBuf {
        match &self.host(name).peer {
            Peer::Here(server) => server.root().join(path),
            Peer::Process(_) => self.dir.path().join(format!("server-{name}/root")).join(path),
            _ => panic!("{name} serves nothing"),
        }
    }

    /// A path in the directory where the client runs.
    pub(crate) fn local(&self, path: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join("work").join(path)
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// The client, in an environment without anything of the person who runs the tests.
    pub(crate) fn command(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ftclient"));
        command.args(args).env_clear().env("PATH", path).env("HOME", self.home());
        command.current_dir(self.local(""));
        command
    }

    /// Runs the client to its end.
    #[track_caller]
    pub(crate) fn ft(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Ran {
        self.ft_with(args, b"")
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
}

/// A peer that takes connections, keeps them, and says nothing.
fn hung() -> (SocketAddr, Receiver<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, connections) = channel();
    thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming().map_while(Result::ok) {
            kept.push(stream);
            if tell.send(()).is_err() {
                return;
            }
        }
    });
    (address, connections)
}

/// What became of each host, by name; none may be told twice.
#[track_caller]
pub(crate) fn hosts(events: &[Value]) -> BTreeMap<String, Value> {
    let mut hosts = BTreeMap::new();
    for event in events.iter().filter(|event| event["type"] == "host") {
        let before = hosts.insert(event["host"].as_str().unwrap().to_owned(), event.clone());
        assert_eq!(before, None, "told twice");
    }
    hosts
}

/// The states of the hosts, as `web1=ok`, by name.
#[track_caller]
pub(crate) fn states(events: &[Value]) -> Vec<String> {
    let state = |(name, event): (String, Value)| format!("{name}={}", event["state"].as_str().unwrap());
    hosts(events).into_iter().map(state).collect()
}
