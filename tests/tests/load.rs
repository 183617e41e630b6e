//! Crowds that get a file at once, all connected together: nobody fails, the server holds no thread and little
//! memory for each, and has its memory back after them. 200 clients; with FT_SOAK=1 a thousand. A test program of
//! its own: it measures memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, reason = "not every test needs all of it")]
mod common;

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use common::{builder, remote};
use ft_protocol::auth::Fingerprint;
use ft_tests::content::pattern;
use ft_tests::server::{TestServer, count};
use ftclient::TransferOptions;
use md5::{Digest as _, Md5};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

const MIB: u64 = 1 << 20;
/// What one of a crowd may cost while it is connected and its file is on its way to its disk.
const EACH: u64 = 64 << 10;
/// Blocks that a server keeps for reuse while any transfer runs, and what else the first crowd makes it need.
const SERVING: u64 = 20 * MIB;
/// Most that crowds may leave behind: pieces of pages, and what their first one made the server need for good.
const LEFT: u64 = 6 * MIB;
/// Threads that a server needs for a crowd that only waits.
const THREADS: u64 = 64;
const CROWDS: usize = 3;
/// Far more than anything here takes.
const DEADLINE: Duration = Duration::from_secs(120);
/// Names the test that is the server, and tells it to be one.
const SERVE: &str = "FT_TESTS_SERVE_LOAD";

fn crowd() -> usize {
    if std::env::var_os("FT_SOAK").is_some_and(|value| value == "1") { 1000 } else { 200 }
}

/// The process of [`Apart`]: this test program, started again. Without being asked for it does nothing.
#[test]
fn server_apart() {
    if std::env::var_os(SERVE).is_none() {
        return;
    }
    ftserver::serve::runtime(1024).unwrap().block_on(async {
        let limits = |limits: &mut ftserver::config::Limits| {
            limits.max_connections = count(2000);
            limits.max_unauthenticated = count(2000);
            limits.max_unauthenticated_per_source = count(2000);
        };
        let server = TestServer::builder().limits(limits).start().await;
        fs::write(server.root().join("file"), pattern(MIB as usize)).unwrap();
        println!("\n{SERVE} {} {}", server.address(), server.fingerprint());
        // Until the parent goes.
        tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await.unwrap().unwrap();
        server.stop().await;
    });
}

/// A server in a process of its own, whose memory is nobody else's.
struct Apart {
    child: Child,
    address: SocketAddr,
    fingerprint: Fingerprint,
}

impl Apart {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "server_apart", "--nocapture"])
            .env(SERVE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        let mut ready =
            lines.map(Result::unwrap).find_map(|line| line.strip_prefix(SERVE).map(str::to_owned));
        let ready = ready.take().expect("the server is ready");
        let (address, fingerprint) = ready.trim().split_once(' ').unwrap();
        Self { child, address: address.parse().unwrap(), fingerprint: fingerprint.parse().unwrap() }
    }

    /// Resident memory in bytes: proc_pid_status(5).
    fn memory(&self) -> u64 {
        self.status("VmRSS:") * 1024
    }

    fn threads(&self) -> u64 {
        self.status("Threads:")
    }

    fn status(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let found = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        found.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// So many clients, each with a connection of its own, get the file. None is done before all have its first
    /// bytes and `meanwhile` has ended: the server waits for all of them at once.
    async fn serve(&self, clients: usize, meanwhile: impl AsyncFnOnce()) {
        let expected = Md5::digest(pattern(MIB as usize));
        let gate = Arc::new(Gate::default());
        let getting: Vec<_> = (0..clients)
            .map(|_| {
                let client = builder(self.address, self.fingerprint, Duration::from_secs(300));
                let taken = Hashing { gate: Some(Arc::clone(&gate)), ..Hashing::default() };
                spawn_local(async move {
                    let mut client = client.retries(5).build().unwrap();
                    let options = TransferOptions::default();
                    let got = client.get_to(&remote("file"), taken.clone(), &options).await;
                    client.close().await;
                    (got, taken)
                })
            })
            .collect();
        reached("all clients are connected", || *gate.arrived.lock().unwrap() == clients).await;
        meanwhile().await;
        gate.open();
        for client in getting {
            let (got, taken) = client.await.unwrap();
            assert_eq!(got.unwrap().size, MIB);
            assert_eq!(taken.md5.lock().unwrap().clone().finalize(), expected);
        }
    }
}

/// Waits for what comes about by itself.
async fn reached(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {} s", DEADLINE.as_secs());
        sleep(Duration::from_millis(20)).await;
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Holds clients until all are there.
#[derive(Default)]
struct Gate {
    arrived: Mutex<usize>,
    opened: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn pass(&self) {
        *self.arrived.lock().unwrap() += 1;
        let opened = self.opened.lock().unwrap();
        drop(self.changed.wait_timeout_while(opened, DEADLINE, |opened| !*opened).unwrap());
    }

    fn open(&self) {
        *self.opened.lock().unwrap() = true;
        self.changed.notify_all();
    }
}

#[derive(Clone, Default)]
struct Hashing {
    md5: Arc<Mutex<Md5>>,
    /// Still to be passed.
    gate: Option<Arc<Gate>>,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(gate) = self.gate.take() {
            gate.pass();
        }
        self.md5.lock().unwrap().update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn crowds_are_served_and_the_memory_comes_back() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    if limit.maximum.is_some_and(|most| most <= 2 * crowd() as u64) {
        eprintln!("skipped: no more than {:?} descriptors are allowed here", limit.maximum);
        return;
    }
    let runtime = ftserver::serve::runtime(1024).unwrap();
    LocalSet::new().block_on(&runtime, async {
        let server = Apart::start();
        server.serve(1, async || {}).await;
        let (before, open) = (server.memory(), server.descriptors());
        for _ in 0..CROWDS {
            let allowed = before + SERVING + EACH * crowd() as u64;
            server
                .serve(crowd(), async || {
                    reached("few threads while clients wait", || server.threads() <= THREADS).await;
                    reached("little memory while clients wait", || server.memory() <= allowed).await;
                    eprintln!("{} MiB for {} clients", server.memory() / MIB, crowd());
                })
                .await;
        }
        reached("descriptors are back", || server.descriptors() <= open + 1).await;
        let back = before + LEFT;
        reached("memory is back", || server.memory() <= back).await;
        eprintln!("{} MiB before, {} MiB after", before / MIB, server.memory() / MIB);
    });
}
