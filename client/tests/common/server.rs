//! `ftserver serve` in a process of its own: this very test binary, run again.

use std::env;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Instant;

use ftserver::config::{Config, Settings};
use ftserver::logging::{self, LogFormat, LogLevel};
use ftserver::serve;
use ftserver::state::StateDir;
use rustix::process::{Pid, Signal, kill_process};

use super::client::lines;
use super::patience;

const ROOT: &str = "FT_E2E_ROOT";
const STATE: &str = "FT_E2E_STATE";
const LISTEN: &str = "FT_E2E_LISTEN";
const SUPERVISOR: &str = "FT_E2E_SUPERVISOR";
/// A port that was just given up may be in use for a moment.
const TRIES: usize = 50;

/// The other half of every test here: serves where the environment asks for it, and does nothing otherwise.
#[test]
fn server_process() {
    let (Some(root), Some(state), Some(listen)) =
        (env::var_os(ROOT), env::var_os(STATE), env::var_os(LISTEN))
    else {
        return;
    };
    // The input ends when the tests do, however they do.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(1);
    });
    logging::init(LogFormat::Text, LogLevel::Debug);
    let state = StateDir::new(Some(Path::new(&state))).unwrap();
    let listen = listen.to_str().unwrap().parse().unwrap();
    let settings = Settings { root: Some(root.into()), listen: Some(listen), ..Settings::default() };
    let mut options = Config::load(settings, None).unwrap().into_serve_options(state).unwrap();
    // This binary is no ftserver, which a supervisor has to be.
    options.supervisor = env::var_os(SUPERVISOR).unwrap().into();
    let runtime = serve::runtime(options.limits.max_connections.get()).unwrap();
    runtime.block_on(serve::run(options)).unwrap();
}

/// A server process that is ready. Killed when dropped.
pub(crate) struct Server {
    root: PathBuf,
    state: PathBuf,
    log: PathBuf,
    binary: PathBuf,
    user: Option<u32>,
    process: Option<Process>,
    pub(crate) address: SocketAddr,
    pub(crate) fingerprint: String,
}

struct Process {
    child: Child,
    /// Of its standard output.
    lines: Receiver<String>,
}

impl Server {
    /// Serves `root`; logs go to a file beside the state.
    pub(crate) fn start(root: &Path, state: &Path) -> Self {
        Self::start_as(root, state, env::current_exe().unwrap(), None)
    }

    /// Serves as this user, who can reach `binary`, a copy of the running one.
    pub(crate) fn start_as(root: &Path, state: &Path, binary: PathBuf, user: Option<u32>) -> Self {
        let mut server = Self {
            root: root.to_owned(),
            state: state.to_owned(),
            log: state.with_extension("log"),
            binary,
            user,
            process: None,
            address: own_address(),
            fingerprint: String::new(),
        };
        let (process, address, fingerprint) = server.launch().unwrap();
        (server.address, server.fingerprint) = (address, fingerprint);
        server.process = Some(process);
        server
    }

    /// What it has logged so far.
    pub(crate) fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGKILL; returns when the process is gone.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.child.kill().unwrap();
            process.child.wait().unwrap();
        }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process.as_ref().unwrap().child), signal).unwrap();
    }

    /// Waits until the server has ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let Process { mut child, lines } = self.process.take().unwrap();
        // Its standard output ends with it.
        let end = Instant::now() + patience();
        while lines.recv_timeout(end.saturating_duration_since(Instant::now())).is_ok() {}
        if Instant::now() > end {
            let _ = child.kill();
        }
        child.wait().unwrap()
    }

    /// Starts the killed server again, where it was.
    pub(crate) fn restart(&mut self) {
        let mut last = String::new();
        for _ in 0..TRIES {
            match self.launch() {
                Ok((process, address, fingerprint)) => {
                    assert_eq!((address, &fingerprint), (self.address, &self.fingerprint));
                    self.process = Some(process);
                    return;
                }
                Err(error) => last = error,
            }
        }
        panic!("the server does not start again: {last}");
    }

    fn launch(&self) -> Result<(Process, SocketAddr, String), String> {
        let errors = File::options().append(true).create(true).open(&self.log).unwrap();
        let mut command = Command::new(&self.binary);
        command
            .args(["--exact", "common::server::server_process", "--nocapture"])
            .env(ROOT, &self.root)
            .env(STATE, &self.state)
            .env(LISTEN, self.address.to_string())
            .env(SUPERVISOR, ftserver_binary())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors);
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        let mut child = command.spawn().unwrap();
        let lines = lines(child.stdout.take().unwrap());
        while let Ok(line) = lines.recv_timeout(patience()) {
            // What the test harness prints may stand before it.
            let Some((_, ready)) = line.split_once("ready listen=") else { continue };
            let (address, fingerprint) = ready.split_once(" fingerprint=").unwrap();
            let process = Process { child, lines };
            return Ok((process, address.parse().unwrap(), fingerprint.trim_end().to_owned()));
        }
        let _ = child.kill();
        let _ = child.wait();
        Err(std::fs::read_to_string(&self.log).unwrap_or_default())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- server log\n{}", std::fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// Builds the `ftserver` that supervises commands, which tests of another package get from nowhere.
pub(crate) fn build_supervisor() {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let binary = ftserver_binary();
        // With the tests of the whole workspace it was built. Building it alone would choose other features of
        // what it depends on, so build all of that a second time.
        if binary.exists() {
            return;
        }
        let profile = binary.parent().unwrap();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--locked", "--package", "ftserver", "--bin", "ftserver", "--target-dir"]);
        build.arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success());
    });
}

/// Beside the directory of this binary.
pub(super) fn ftserver_binary() -> PathBuf {
    env::current_exe().unwrap().parent().and_then(Path::parent).unwrap().join("ftserver")
}

/// A loopback address that no other server of these tests uses and no outgoing connection gets by itself, so
/// that the port is still free after a kill.
fn own_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(2);
    let pid = std::process::id();
    let [high, low] = [1 + pid / 250 % 250, 1 + pid % 250];
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("127.{high}.{low}.{number}:0").parse().unwrap()
}
