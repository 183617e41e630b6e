//! Runs of trees with a real server, and what is told of them.

use std::sync::{Arc, Mutex};

use ft_protocol::RemotePath;
use ft_protocol::tree::{Action, Item};
use ft_tests::server::{TestServer, USER};
use ftclient::{Client, TreeOptions};

pub(crate) async fn client(server: &TestServer) -> Client {
    let builder = Client::builder(&server.address().to_string()).unwrap();
    builder.user(USER).key(server.key().clone()).fingerprint(server.fingerprint()).connect().await.unwrap()
}

pub(crate) fn remote(path: &str) -> RemotePath {
    RemotePath::from_typed(path.as_bytes()).unwrap()
}

/// Options that note what is told.
pub(crate) fn noting(options: TreeOptions) -> (TreeOptions, Arc<Mutex<Vec<Item>>>) {
    let items = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&items);
    let on_item = Arc::new(move |item: &Item| told.lock().unwrap().push(item.clone()));
    (TreeOptions { on_item, ..options }, items)
}

pub(crate) fn lines(items: &Arc<Mutex<Vec<Item>>>) -> Vec<(Action, String)> {
    let items = items.lock().unwrap();
    let failed: Vec<_> = items.iter().filter(|item| item.failure.is_some()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    items.iter().map(|item| (item.action, item.path.to_string())).collect()
}

pub(crate) fn preserving() -> TreeOptions {
    TreeOptions { preserve: true, ..TreeOptions::default() }
}

pub(crate) fn syncing() -> TreeOptions {
    TreeOptions { times: true, quick: true, ..TreeOptions::default() }
}

/// As md5sum(1) prints it.
pub(crate) fn md5(data: &[u8]) -> String {
    use md5::Digest;
    md5::Md5::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}
