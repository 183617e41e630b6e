//! Bytes flipped, connections cut, reset and stalled at seeded places: never a success with other content, and
//! nothing half under the final name. `FT_CASES=N` says how many faults; `FT_SOAK=1`: 10,000.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, reason = "not every test needs all of it")]
mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::{builder, local, names, remote, target};
use ft_protocol::Status;
use ft_tests::content::pattern;
use ft_tests::proxy::{Direction, Fault, Proxy, What};
use ft_tests::seed::Seed;
use ft_tests::server::TestServer;
use ftclient::{Client, TransferOptions};
use tempfile::TempDir;

const SIZE: usize = 3 << 20;
/// What the side that only answers sends in a session, about: faults there are to hit something.
const SMALL_SIDE: u64 = 4000;
/// A flipped length can be waited for; longer is no help, and the outcome is the same.
const PATIENCE: Duration = Duration::from_secs(2);

fn cases() -> u64 {
    let given = std::env::var("FT_CASES").ok().and_then(|text| text.parse().ok());
    let soak = std::env::var_os("FT_SOAK").is_some_and(|value| value == "1");
    given.unwrap_or(if soak { 10_000 } else { 60 })
}

struct World {
    server: TestServer,
    proxy: Proxy,
    place: TempDir,
    new: Vec<u8>,
}

/// The way that content goes.
#[derive(Debug, Clone, Copy)]
enum Way {
    Get,
    Put,
}

impl World {
    async fn new() -> Self {
        let server = TestServer::start().await;
        let proxy = Proxy::start(server.address()).await;
        let place = tempfile::tempdir().unwrap();
        let new = pattern(SIZE);
        for dir in [server.root(), place.path()] {
            fs::write(dir.join("source"), &new).unwrap();
        }
        Self { server, proxy, place, new }
    }

    fn client(&self, patience: Duration) -> Client {
        builder(self.proxy.address(), self.server.fingerprint(), patience).build().unwrap()
    }

    /// Where the file `copy` is to come.
    fn arrives(&self, way: Way) -> &Path {
        match way {
            Way::Get => self.place.path(),
            Way::Put => self.server.root(),
        }
    }

    async fn transfer(&self, client: &mut Client, way: Way) -> ftclient::client::Result<u64> {
        let options = TransferOptions::default();
        match way {
            Way::Get => {
                let to = local(self.place.path(), "copy");
                client.get_file(&remote("source"), &to, &options).await.map(|fetched| fetched.size)
            }
            Way::Put => {
                let from = self.place.path().join("source");
                client.put_file(&from, &target("copy"), &options).await.map(|stored| stored.size)
            }
        }
    }

    /// One transfer with this fault, and one without.
    async fn survive(
        &self,
        fault: Fault,
        way: Way,
        old: Option<&[u8]>,
        patience: Duration,
    ) -> Option<Status> {
        let copy = self.arrives(way).join("copy");
        let _ = fs::remove_file(&copy);
        if let Some(old) = old {
            fs::write(&copy, old).unwrap();
        }
        self.proxy.plan(fault);
        let mut client = self.client(patience);
        let outcome = self.transfer(&mut client, way).await;
        let found = fs::read(&copy).ok();
        let complete = found.as_deref() == Some(&self.new);
        let untouched = found.as_deref() == old;
        match (&outcome, way) {
            (Ok(size), _) => assert!(complete && *size == SIZE as u64, "a success with other content"),
            (Err(_), Way::Get) => assert!(untouched, "{outcome:?}, and something under the name"),
            // The file was in place, and the server's word for it was lost.
            (Err(_), Way::Put) => assert!(untouched || complete, "{outcome:?}, and half a file"),
        }
        if outcome.is_err() {
            // The next run goes on with what is there.
            let mut client = self.client(Duration::from_secs(60));
            self.transfer(&mut client, way).await.expect("without a fault it succeeds");
            assert!(fs::read(&copy).unwrap() == self.new);
        }
        outcome.err().map(|error| error.status())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flips_cuts_and_resets_are_all_found() {
    let world = World::new().await;
    let mut seed = Seed::fresh("wire_faults");
    let old = b"what stood here before".as_slice();
    let mut found = 0;
    for case in 0..cases() {
        let way = if case % 2 == 0 { Way::Get } else { Way::Put };
        let direction = if seed.below(3) == 0 { Direction::ToServer } else { Direction::ToClient };
        let direction = match (way, direction) {
            (Way::Get, direction) => direction,
            (Way::Put, Direction::ToServer) => Direction::ToClient,
            (Way::Put, Direction::ToClient) => Direction::ToServer,
        };
        let busy =
            matches!((way, direction), (Way::Get, Direction::ToClient) | (Way::Put, Direction::ToServer));
        let after = seed.below(if busy { SIZE as u64 + SMALL_SIDE } else { SMALL_SIDE });
        let what = match seed.below(3) {
            0 => What::Flip(seed.below(8) as u8),
            1 => What::Close,
            _ => What::Reset,
        };
        let fault = Fault { direction, after, what };
        let old = (seed.below(2) == 0).then_some(old);
        eprintln!("case {case}: {way:?} {fault:?}");
        found += u64::from(world.survive(fault, way, old, PATIENCE).await.is_some());
    }
    eprintln!("{found} of {} faults hit", cases());
    assert!(found * 2 > cases(), "only {found} faults hit anything");
    // Nothing but the files is left at the receiver here; at the server once its sessions have ended.
    assert_eq!(names(world.place.path()), ["copy", "source"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_connection_is_given_up() {
    let world = World::new().await;
    let middle = SIZE as u64 / 2;
    for (way, direction, after) in [
        (Way::Get, Direction::ToClient, 0),
        (Way::Get, Direction::ToClient, middle),
        (Way::Get, Direction::ToServer, 0),
        (Way::Put, Direction::ToServer, middle),
        (Way::Put, Direction::ToClient, 0),
    ] {
        let fault = Fault { direction, after, what: What::Stall };
        let status = world.survive(fault, way, None, Duration::from_secs(1)).await;
        assert_eq!(status, Some(Status::TimedOut), "{way:?} {fault:?}");
    }
}
