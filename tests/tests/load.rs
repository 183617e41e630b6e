//! Crowds that get a file at once: nobody fails, and the server does not grow from one crowd to the next. 200
//! clients; with FT_SOAK=1 a thousand. A test program of its own: it measures memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, reason = "not every test needs all of it")]
mod common;

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{builder, remote};
use ft_protocol::auth::Fingerprint;
use ft_tests::content::pattern;
use ft_tests::server::{TestServer, count};
use ftclient::TransferOptions;
use md5::{Digest as _, Md5};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::{LocalSet, spawn_local};

const MIB: u64 = 1 << 20;
/// Most that crowds may leave behind, beyond what malloc keeps after the first ones: its arenas stay as large as
/// the largest crowd made them.
const GROWTH: u64 = 32 * MIB;
/// Crowds before the measurement, and between its beginning and its end.
const CROWDS: usize = 3;
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
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let found = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        found.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// So many clients, each with a connection of its own, get the file at once.
    async fn serve(&self, clients: usize) {
        let expected = Md5::digest(pattern(MIB as usize));
        let getting: Vec<_> = (0..clients)
            .map(|_| {
                let client = builder(self.address, self.fingerprint, Duration::from_secs(300));
                spawn_local(async move {
                    let mut client = client.retries(5).build().unwrap();
                    let taken = Hashing::default();
                    let options = TransferOptions::default();
                    let got = client.get_to(&remote("file"), taken.clone(), &options).await;
                    client.close().await;
                    (got, taken)
                })
            })
            .collect();
        for client in getting {
            let (got, taken) = client.await.unwrap();
            assert_eq!(got.unwrap().size, MIB);
            assert_eq!(taken.0.lock().unwrap().clone().finalize(), expected);
        }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[derive(Clone, Default)]
struct Hashing(Arc<Mutex<Md5>>);

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn crowds_are_served_and_leave_nothing_behind() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    if limit.maximum.is_some_and(|most| most <= 2 * crowd() as u64) {
        eprintln!("skipped: no more than {:?} descriptors are allowed here", limit.maximum);
        return;
    }
    let runtime = ftserver::serve::runtime(1024).unwrap();
    LocalSet::new().block_on(&runtime, async {
        let server = Apart::start();
        for _ in 0..CROWDS {
            server.serve(crowd()).await;
        }
        let (before, open) = (server.memory(), server.descriptors());
        for _ in 0..CROWDS {
            server.serve(crowd()).await;
        }
        let (after, still) = (server.memory(), server.descriptors());
        eprintln!("{crowd} clients: {} MiB before, {} MiB after", before / MIB, after / MIB, crowd = crowd());
        assert!(after.saturating_sub(before) < GROWTH, "{} MiB more", (after - before) / MIB);
        // Some of the last ones may be on their way out.
        assert!(still < open + crowd() / 2, "{still} descriptors, {open} before");
    });
}
