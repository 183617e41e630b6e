//! Disks that fail at the worst moment. Needs `--features failpoints`.
#![cfg(feature = "failpoints")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;

use fail::FailScenario;
use ft_protocol::fs::{Commit, CommitOptions, Dir, Links, ModeRule, Root, Staged, commit_all};
use ft_protocol::{RemotePath, Status};

const HOW: CommitOptions =
    CommitOptions { len: 3, replace: true, mtime: None, mode: ModeRule::Preserve(0o600) };

fn held(at: &Path) -> Dir {
    Root::open(at).unwrap().dir(&RemotePath::root(), Links::Refuse).unwrap()
}

fn partial(dir: &Dir) -> Staged {
    let staged = Staged::partial(dir, [1; 16]).unwrap();
    staged.write_all_at(b"new", 0).unwrap();
    staged
}

#[test]
fn a_failed_sync_fails_the_commit_and_keeps_the_old_file() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("f"), "old").unwrap();
    let dir = held(temp.path());
    let scenario = FailScenario::setup();

    fail::cfg("fs::fsync", "1*return").unwrap();
    assert_eq!(partial(&dir).commit(b"f", &HOW).unwrap_err().status(), Status::Failed);
    assert_eq!(std::fs::read(temp.path().join("f")).unwrap(), b"old");
    assert_eq!(Staged::partial(&dir, [1; 16]).unwrap().kept_len(), 0, "lost writes are not built upon");

    fail::cfg("fs::sync_dir", "return").unwrap();
    assert!(partial(&dir).commit(b"f", &HOW).is_err());
    let batch = vec![Commit { staged: partial(&dir), target: b"g".to_vec(), how: HOW }];
    assert!(commit_all(batch)[0].is_err(), "not durable is not done");
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 2, "f and g, no staging file");
    scenario.teardown();
}
