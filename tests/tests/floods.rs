//! Peers that are many, or send much, or read nothing. One test at a time: they measure memory, and what
//! is left of it would be the next one's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ft_protocol::Status;
use ft_protocol::auth::Fingerprint;
use ft_protocol::wire::message::Stat;
use ft_protocol::wire::{BLOCK_LEN, Message};
use ft_tests::peer::{RawPeer, auth_password, forged, frame, hello, run};
use ft_tests::server::{TestServer, USER, count, key};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::timeout;

const MIB: u64 = 1 << 20;
/// Most that a server may grow under a flood.
const GROWTH: u64 = 64 * MIB;
const CROWD: usize = 1000;

/// Keeps other tests of this file away.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets the process, and the one that it starts, have as many descriptors as they may; false where these are
/// too few for a crowd.
fn room_for_a_crowd() -> bool {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let enough = limit.maximum.is_none_or(|most| most > 2 * CROWD as u64);
    if !enough {
        eprintln!("skipped: no more than {:?} descriptors are allowed here", limit.maximum);
    }
    enough
}

/// Runs on a runtime as `serve` has it.
fn on_server_runtime(test: impl Future<Output = ()>) {
    let _alone = alone();
    ftserver::serve::runtime(CROWD + 24).unwrap().block_on(test);
}

/// A line of proc_pid_status(5), in bytes.
fn memory(status: &str, line: &str) -> u64 {
    let status = fs::read_to_string(status).unwrap();
    let found = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':')).unwrap();
    found.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn stat() -> Stat {
    Stat { path: Vec::new(), no_follow: false }
}

/// Somebody else logs in and gets an answer.
async fn good_login(server: &TestServer) {
    let login = timeout(Duration::from_secs(20), async {
        let mut peer = RawPeer::logged_in(server).await;
        assert_eq!(peer.status(1, stat()).await, Status::Ok);
    });
    login.await.expect("a good login still works");
}

/// A server in a process of its own, whose memory is nobody else's.
struct Apart {
    child: Child,
    address: SocketAddr,
    fingerprint: Fingerprint,
}

/// Names the test that is the server, and tells it to be one.
const SERVE: &str = "FT_TESTS_SERVE";

/// The process of [`Apart`]: this test program, started again. Without being asked for it does nothing.
#[test]
fn server_apart() {
    if std::env::var_os(SERVE).is_none() {
        return;
    }
    on_server_runtime(async {
        let server = TestServer::start().await;
        println!("\n{SERVE} {} {}", server.address(), server.fingerprint());
        // Until the parent goes.
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()))
            .await
            .unwrap()
            .unwrap();
        server.stop().await;
    });
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

    fn memory(&self) -> u64 {
        memory(&format!("/proc/{}/status", self.child.id()), "VmRSS")
    }

    async fn connect(&self, last: u8) -> RawPeer {
        RawPeer::connect_from(last, self.address, self.fingerprint).await.unwrap()
    }

    async fn logged_in(&self, last: u8) -> RawPeer {
        let mut peer = self.connect(last).await;
        peer.login(&key(1), USER).await.unwrap();
        peer
    }

    async fn good_login(&self) {
        let login = timeout(Duration::from_secs(20), async {
            let mut peer = self.logged_in(1).await;
            assert_eq!(peer.status(1, stat()).await, Status::Ok);
        });
        login.await.expect("a good login still works");
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Each of a thousand, from many sources, claims the largest login there is and sends a byte of it.
#[test]
fn a_thousand_that_claim_a_login_and_stall_cost_little() {
    if !room_for_a_crowd() {
        return;
    }
    on_server_runtime(async {
        let server = Apart::start();
        server.good_login().await;
        let before = server.memory();
        let claim = [hello(run(), 0), forged(8192, 2, 0, b"\x0a")].concat();
        let mut crowd = Vec::new();
        for n in 0..CROWD {
            let mut peer = server.connect(2 + (n % 40) as u8).await;
            peer.send_bytes(&claim).await.unwrap();
            crowd.push(peer);
        }
        server.good_login().await;
        let grown = server.memory().saturating_sub(before);
        assert!(grown < GROWTH, "{} MiB", grown / MIB);
    });
}

/// Each of a thousand has logged in, claims the largest block there is and sends a byte of it.
#[test]
fn a_thousand_that_claim_a_block_and_stall_cost_little() {
    if !room_for_a_crowd() {
        return;
    }
    on_server_runtime(async {
        let server = Apart::start();
        server.good_login().await;
        let claim = forged(BLOCK_LEN as u32, 52, 1, b"x");
        let mut crowd = Vec::new();
        for n in 0..CROWD {
            crowd.push(server.logged_in(2 + (n % 40) as u8).await);
        }
        // What the sessions themselves cost is no matter of claims.
        let before = server.memory();
        for peer in &mut crowd {
            peer.send_bytes(&claim).await.unwrap();
        }
        server.good_login().await;
        let grown = server.memory().saturating_sub(before);
        assert!(grown < GROWTH, "{} MiB", grown / MIB);
    });
}

#[test]
fn a_million_signs_of_life_end_the_session() {
    on_server_runtime(async {
        let server = TestServer::start().await;
        let mut flood = RawPeer::logged_in(&server).await;
        let thousand = frame(0, Message::Alive).repeat(1000);
        let mut sent = 0;
        while sent < 1000 && flood.send_bytes(&thousand).await.is_ok() {
            sent += 1;
        }
        // Where the flood itself made the last words unreadable, the end alone must do.
        if let Some(end) = flood.farewell().await {
            assert_eq!(end.status, Status::Protocol as u32);
        }
        good_login(&server).await;
    });
}

#[test]
fn a_million_cancels_of_an_ended_operation_leave_memory_flat_and_others_alone() {
    on_server_runtime(async {
        let server = TestServer::start().await;
        let mut flood = RawPeer::logged_in(&server).await;
        assert_eq!(flood.status(1, stat()).await, Status::Ok);
        let before = memory("/proc/self/status", "VmRSS");
        let thousand = frame(1, Message::Cancel).repeat(1000);
        for thousands in 0..1000 {
            if thousands % 100 == 50 {
                good_login(&server).await;
            }
            if flood.send_bytes(&thousand).await.is_err() {
                break;
            }
        }
        let grown = memory("/proc/self/status", "VmRSS").saturating_sub(before);
        assert!(grown < GROWTH / 4, "{} MiB", grown / MIB);
        good_login(&server).await;
    });
}

#[test]
fn ten_thousand_operations_that_fail_leave_memory_flat() {
    on_server_runtime(async {
        let server = TestServer::start().await;
        let mut peer = RawPeer::logged_in(&server).await;
        assert_eq!(peer.status(1, stat()).await, Status::Ok);
        let before = memory("/proc/self/status", "VmRSS");
        for batch in 0..40 {
            let ops = (0..250).map(|n| 2 + batch * 250 + n);
            let bytes: Vec<u8> =
                ops.clone().flat_map(|op| frame(op, Stat { path: b"..".to_vec(), ..stat() })).collect();
            peer.send_bytes(&bytes).await.unwrap();
            for op in ops {
                assert_eq!(peer.answer(op).await.1.status, Status::Invalid as u32);
            }
        }
        let grown = memory("/proc/self/status", "VmRSS").saturating_sub(before);
        assert!(grown < GROWTH / 4, "{} MiB", grown / MIB);
    });
}

#[test]
fn connections_that_were_pushed_out_leave_their_place_to_others() {
    on_server_runtime(async {
        let limits = |limits: &mut ftserver::config::Limits| {
            limits.max_connections = count(48);
            limits.max_unauthenticated_per_source = count(4);
        };
        let server = TestServer::builder().limits(limits).start().await;
        let mut crowd = Vec::new();
        for _ in 0..100 {
            // Refused ones are part of the crowd.
            if let Ok(mut peer) = RawPeer::connect_from(2, server.address(), server.fingerprint()).await {
                peer.hello().await;
                crowd.push(peer);
            }
        }
        let other = RawPeer::connect_from(3, server.address(), server.fingerprint()).await;
        assert!(other.is_ok(), "one source with 4 waiting connections keeps everybody out");
    });
}

#[test]
fn two_passwords_are_hashed_at_once_also_where_peers_are_pushed_out() {
    on_server_runtime(async {
        let limits = |limits: &mut ftserver::config::Limits| limits.max_unauthenticated_per_source = count(2);
        let server = TestServer::builder().password("correct horse").limits(limits).start().await;
        good_login(&server).await;
        // Forgets the peak so far: proc_pid_clear_refs(5).
        fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = memory("/proc/self/status", "VmHWM");
        let mut crowd = Vec::new();
        for n in 0..200 {
            let mut peer =
                RawPeer::connect_from(2 + n % 50, server.address(), server.fingerprint()).await.unwrap();
            let bytes = [hello(run(), 0), frame(0, auth_password(USER, "wrong"))].concat();
            peer.send_bytes(&bytes).await.unwrap();
            crowd.push(peer);
        }
        good_login(&server).await;
        let grown = memory("/proc/self/status", "VmHWM").saturating_sub(before);
        // 19 MiB each, of which malloc keeps as much again, and the clients' side of 200 connections.
        assert!(grown < 150 * MIB, "{} MiB", grown / MIB);
    });
}
