//! Clients, as programs make them.

#[allow(dead_code, reason = "not every test lies")]
pub(crate) mod lies;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ft_protocol::RemotePath;
use ft_protocol::auth::Fingerprint;
use ft_tests::server::{USER, key};
use ftclient::Client;
use ftclient::client::{Builder, LocalFile, PutTarget};

/// A client that reports the first failure instead of trying again, and lets nothing stand still for longer
/// than `patience`.
pub(crate) fn builder(address: SocketAddr, fingerprint: Fingerprint, patience: Duration) -> Builder {
    let builder = Client::builder(&address.to_string()).unwrap();
    builder.user(USER).key(key(1)).fingerprint(fingerprint).retries(0).timeout(Some(patience))
}

pub(crate) fn remote(path: &str) -> RemotePath {
    RemotePath::from_typed(path.as_bytes()).unwrap()
}

pub(crate) fn target(path: &str) -> PutTarget {
    PutTarget { path: remote(path), into: false, parents: false }
}

pub(crate) fn local(dir: &Path, name: &str) -> LocalFile {
    LocalFile::new(dir, name.as_bytes()).unwrap()
}

/// Names in a directory, in order.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
