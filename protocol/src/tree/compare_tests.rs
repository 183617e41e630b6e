use std::fs;
use std::sync::Mutex;

use super::*;

/// A node as a sender lists it; the root has no name.
fn node(name: &str, kind: Kind, target: &str) -> Said {
    let (depth, size) = (u32::from(!name.is_empty()), if kind == Kind::File { 1 } else { 0 });
    let digest = if kind == Kind::File { Lanes::default().plain(b"x").to_vec() } else { Vec::new() };
    Said::Node(Node {
        depth,
        name: name.as_bytes().to_vec(),
        kind: super::super::kind_to_wire(kind),
        size,
        target: target.as_bytes().to_vec(),
        digest,
        ..Node::default()
    })
}

#[tokio::test]
async fn what_cannot_be_compared_because_nobody_waits_any_more_is_not_told() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("x", dir.path().join("a")).unwrap();
    for name in ["b", "c"] {
        fs::write(dir.path().join(name), "x").unwrap();
    }
    let (stream, _peer) = tokio::io::duplex(1 << 16);
    let conn = Connection::new(stream);
    let told = Arc::new(Mutex::new(Vec::new()));
    let items = Arc::clone(&told);
    let job = CompareTree {
        root: Root::open(dir.path()).unwrap(),
        filter: Filter::default(),
        names: None,
        algorithm: Algorithm::Md5,
        meter: Arc::default(),
        on_item: Arc::new(move |item: &Item| items.lock().unwrap().push(item.clone())),
    };
    let (said, queue) = mpsc::channel(QUEUE);
    for message in [
        node("", Kind::Dir, ""),
        node("a", Kind::Symlink, "x"),
        node("b", Kind::File, ""),
        node("c", Kind::File, ""),
    ] {
        said.try_send(message).ok().unwrap();
    }
    // As where the connection breaks while these wait.
    drop((said, Abandon(job.meter.bytes())));
    let tx = conn.tx.clone();
    let compared = tokio::task::spawn_blocking(move || Comparison::new(1, job, tx).run(queue)).await.unwrap();
    assert_eq!(compared.unwrap_err().status(), Status::Cancelled);
    let told = told.lock().unwrap();
    let told: Vec<_> = told.iter().map(|item| (item.path.to_string(), item.failure.clone())).collect();
    assert_eq!(told, [("a".to_string(), None)], "the others are the next attempt's");
}
