//! Bytes damaged inside an end, between socket and disk, where no encryption would notice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, reason = "not every test needs all of it")]
mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::{builder, local, names, remote, target};
use fail::FailScenario;
use ft_protocol::digest::Algorithm;
use ft_tests::content::pattern;
use ft_tests::server::TestServer;
use ftclient::{Client, TransferOptions};

/// Flips a bit of what arrives; see `transfer::receive`.
const DAMAGE: &str = "receive-damage";
/// One block, three, and three in which the last is short.
const SIZES: [usize; 3] = [1000, 3 << 20, (2 << 20) + 1];

async fn connect(server: &TestServer) -> Client {
    builder(server.address(), server.fingerprint(), Duration::from_secs(60)).connect().await.unwrap()
}

fn options(digest: Algorithm) -> TransferOptions {
    TransferOptions { digest, ..TransferOptions::default() }
}

/// Failpoints belong to the whole process, and a scenario keeps all others waiting.
fn with_damage(actions: &str, test: impl AsyncFnOnce(&TestServer, &Path)) {
    let scenario = FailScenario::setup();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let server = TestServer::start().await;
        let place = tempfile::tempdir().unwrap();
        fail::cfg(DAMAGE, actions).unwrap();
        test(&server, place.path()).await;
        server.stop().await;
    });
    scenario.teardown();
}

#[test]
fn a_block_damaged_once_is_asked_for_again() {
    with_damage("off", async |server, place| {
        for digest in [Algorithm::Md5, Algorithm::Md5Tree, Algorithm::Sha256] {
            for size in SIZES {
                let content = pattern(size);
                fs::write(server.root().join("source"), &content).unwrap();
                fs::write(place.join("up"), &content).unwrap();
                let mut client = connect(server).await;

                fail::cfg(DAMAGE, "1*return").unwrap();
                client.get_file(&remote("source"), &local(place, "copy"), &options(digest)).await.unwrap();
                assert!(fs::read(place.join("copy")).unwrap() == content, "get of {size}, {digest:?}");

                fail::cfg(DAMAGE, "1*return").unwrap();
                client.get_to(&remote("source"), std::io::sink(), &options(digest)).await.unwrap();

                fail::cfg(DAMAGE, "1*return").unwrap();
                client.put_file(&place.join("up"), &target("copy"), &options(digest)).await.unwrap();
                assert!(
                    fs::read(server.root().join("copy")).unwrap() == content,
                    "put of {size}, {digest:?}"
                );
                for file in [place.join("copy"), server.root().join("copy")] {
                    fs::remove_file(file).unwrap();
                }
            }
        }
    });
}

#[test]
fn a_machine_that_always_damages_gets_nothing_into_place() {
    with_damage("return", async |server, place| {
        for size in SIZES {
            let content = pattern(size);
            fs::write(server.root().join("source"), &content).unwrap();
            fs::write(place.join("up"), &content).unwrap();
            let mut client = connect(server).await;
            let options = TransferOptions::default();

            let error =
                client.get_file(&remote("source"), &local(place, "copy"), &options).await.unwrap_err();
            assert_eq!(error.exit_code(), ft_protocol::exit::MISMATCH, "{error}");
            assert_eq!(names(place), ["up"], "get of {size}");

            let error = client.get_to(&remote("source"), Nothing, &options).await.unwrap_err();
            assert_eq!(error.exit_code(), ft_protocol::exit::MISMATCH, "{error}");

            let error = client.put_file(&place.join("up"), &target("copy"), &options).await.unwrap_err();
            assert_eq!(error.exit_code(), ft_protocol::exit::MISMATCH, "{error}");
            assert_eq!(names(server.root()), ["source"], "put of {size}");
        }
    });
}

/// What is proven by nothing is never written.
struct Nothing;

impl std::io::Write for Nothing {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        panic!("a damaged block was written")
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
