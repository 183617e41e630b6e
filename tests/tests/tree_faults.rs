//! Trees over connections that break at seeded places: nothing half under any name, what was finished stays
//! finished, and the same command again ends equal. `FT_CASES=N` says how many faults; `FT_SOAK=1`: 1,000.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, reason = "not every test needs all of it")]
mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{builder, remote};
use ft_protocol::fs::Kind;
use ft_protocol::tree::{Item, TreeDone};
use ft_tests::content::pattern;
use ft_tests::proxy::{Direction, Fault, Proxy, What};
use ft_tests::seed::Seed;
use ft_tests::server::TestServer;
use ft_tests::tree::contents;
use ftclient::{Client, TreeOptions};
use tempfile::TempDir;

/// A flipped length can be waited for; longer is no help, and the outcome is the same.
const PATIENCE: Duration = Duration::from_secs(2);
/// What the side that only answers sends, about.
const SMALL_SIDE: u64 = 8000;

fn cases() -> u64 {
    let given = std::env::var("FT_CASES").ok().and_then(|text| text.parse().ok());
    let soak = std::env::var_os("FT_SOAK").is_some_and(|value| value == "1");
    given.unwrap_or(if soak { 1000 } else { 40 })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Get,
    Put,
}

type Told = Arc<Mutex<Vec<Item>>>;

struct World {
    server: TestServer,
    proxy: Proxy,
    place: TempDir,
    source: BTreeMap<Vec<u8>, Vec<u8>>,
    size: u64,
}

impl World {
    async fn new() -> Self {
        let server = TestServer::start().await;
        let proxy = Proxy::start(server.address()).await;
        let place = tempfile::tempdir().unwrap();
        for root in [server.root(), place.path()] {
            let source = root.join("source");
            fs::create_dir_all(source.join("dir/below")).unwrap();
            for number in 0..60 {
                let dir = ["", "dir", "dir/below"][number % 3];
                fs::write(source.join(dir).join(format!("f{number:02}")), pattern(number * 700)).unwrap();
            }
            fs::write(source.join("dir/large"), pattern((2 << 20) + 99)).unwrap();
            fs::write(source.join("m"), pattern(1 << 20)).unwrap();
        }
        let source = contents(&place.path().join("source"));
        let size = source.values().map(|content| content.len() as u64).sum();
        Self { server, proxy, place, source, size }
    }

    fn arrives(&self, way: Way, name: &str) -> PathBuf {
        match way {
            Way::Get => self.place.path().join(name),
            Way::Put => self.server.root().join(name),
        }
    }

    async fn sync(
        &self,
        client: &mut Client,
        way: Way,
        name: &str,
    ) -> (ftclient::client::Result<TreeDone>, Told) {
        let told = Told::default();
        let telling = Arc::clone(&told);
        let options = TreeOptions {
            times: true,
            quick: true,
            on_item: Arc::new(move |item| telling.lock().unwrap().push(item.clone())),
            ..TreeOptions::default()
        };
        let done = match way {
            Way::Get => {
                client.get_tree(&remote("source"), &self.place.path().join(name), None, &options).await
            }
            Way::Put => {
                client.put_tree(&self.place.path().join("source"), &remote(name), None, &options).await
            }
        };
        (done, told)
    }

    /// Every file under its final name is complete.
    fn check_names(&self, copy: &Path) {
        if !copy.exists() {
            return;
        }
        for (path, content) in contents(copy) {
            if !path.windows(5).any(|name| name == b"/.ft-") && !path.starts_with(b".ft-") {
                assert!(self.source[&path] == content, "{}", String::from_utf8_lossy(&path));
            }
        }
    }
}

fn files(told: &Told) -> BTreeSet<String> {
    let told = told.lock().unwrap();
    let done = told.iter().filter(|item| item.failure.is_none() && item.kind == Kind::File);
    done.map(|item| item.path.to_string()).collect()
}

fn fault(seed: &mut Seed, way: Way, size: u64) -> Fault {
    let direction = if seed.below(3) == 0 { Direction::ToServer } else { Direction::ToClient };
    let direction = match (way, direction) {
        (Way::Get, direction) => direction,
        (Way::Put, Direction::ToServer) => Direction::ToClient,
        (Way::Put, Direction::ToClient) => Direction::ToServer,
    };
    let busy = matches!((way, direction), (Way::Get, Direction::ToClient) | (Way::Put, Direction::ToServer));
    let after = seed.below(if busy { size } else { SMALL_SIDE });
    let what = match seed.below(3) {
        0 => What::Flip(seed.below(8) as u8),
        1 => What::Close,
        _ => What::Reset,
    };
    Fault { direction, after, what }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_any_break_the_same_command_again_ends_equal() {
    let world = World::new().await;
    let mut seed = Seed::fresh("tree_faults");
    let mut hit = 0;
    for case in 0..cases() {
        let way = if case % 2 == 0 { Way::Get } else { Way::Put };
        let fault = fault(&mut seed, way, world.size + SMALL_SIDE);
        eprintln!("case {case}: {way:?} {fault:?}");
        let name = format!("copy{case}");
        let copy = world.arrives(way, &name);
        world.proxy.plan(fault);
        let fragile = builder(world.proxy.address(), world.server.fingerprint(), PATIENCE);
        let mut client = fragile.build().unwrap();
        let (outcome, first) = world.sync(&mut client, way, &name).await;
        drop(client);
        world.check_names(&copy);
        if outcome.is_err() {
            hit += 1;
        } else {
            assert!(contents(&copy) == world.source, "a success that is none");
        }
        let patient = builder(world.proxy.address(), world.server.fingerprint(), Duration::from_secs(60));
        // The ghost of the first run may hold its lock until the server has seen its end.
        let mut client = patient.retries(20).build().unwrap();
        let (outcome, second) = world.sync(&mut client, way, &name).await;
        outcome.unwrap();
        assert!(contents(&copy) == world.source, "the second run ends equal, and leaves nothing behind");
        let twice: Vec<_> = files(&first).intersection(&files(&second)).cloned().collect();
        assert!(twice.is_empty(), "finished and yet copied again: {twice:?}");
        fs::remove_dir_all(&copy).unwrap();
    }
    eprintln!("{hit} of {} faults hit", cases());
    assert!(hit * 2 > cases(), "only {hit} faults hit anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_finds_its_way_back_and_tells_everything_once() {
    let world = World::new().await;
    let mut seed = Seed::fresh("tree_reconnects");
    for (case, way) in [Way::Get, Way::Put, Way::Get, Way::Put].into_iter().enumerate() {
        let direction = if way == Way::Get { Direction::ToClient } else { Direction::ToServer };
        for _ in 0..2 {
            let after = SMALL_SIDE + seed.below(world.size / 2);
            world.proxy.plan(Fault { direction, after, what: What::Reset });
        }
        let name = format!("copy{case}");
        let patient = builder(world.proxy.address(), world.server.fingerprint(), Duration::from_secs(60));
        let mut client = patient.retries(5).build().unwrap();
        let (outcome, told) = world.sync(&mut client, way, &name).await;
        assert_eq!(outcome.unwrap().failed, 0);
        assert!(contents(&world.arrives(way, &name)) == world.source);
        let told = told.lock().unwrap();
        // That a directory was made may be lost with the connection; it is there.
        let files: Vec<_> = told.iter().filter(|item| item.kind == Kind::File).collect();
        let paths: BTreeSet<String> = files.iter().map(|item| item.path.to_string()).collect();
        assert_eq!(
            (files.len(), paths.len()),
            (world.source.len() - 2, world.source.len() - 2),
            "each file once"
        );
        assert!(files.iter().all(|item| item.proof.is_some() && item.whole.is_some()));
    }
}
