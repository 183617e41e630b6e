//! Disks that fail at the worst moment. Needs `--features failpoints`.
#![cfg(feature = "failpoints")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;

use fail::FailScenario;
use ft_protocol::fs::{
    Closed, Commit, CommitOptions, Complete, Dir, Filter, Links, ModeRule, Root, Staged, Visit, Walk,
    commit_all,
};
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
    let commit = Commit { staged: partial(&dir), target: b"g".to_vec(), how: HOW };
    let batch = vec![Complete::Open(commit)];
    assert!(commit_all(batch)[0].is_err(), "not durable is not done");
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 2, "f and g, no staging file");
    scenario.teardown();
}

/// One closed file of a batch, and one that is still open.
fn batch(dir: &Dir) -> Vec<Complete> {
    let file = Closed::write(dir, b"new", 0o600, None).unwrap();
    let commit = Commit { staged: partial(dir), target: b"g".to_vec(), how: HOW };
    vec![Complete::Closed { file, target: b"f".to_vec(), replace: true }, Complete::Open(commit)]
}

#[test]
fn a_batch_that_the_disk_lost_replaces_nothing() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("f"), "old").unwrap();
    let dir = held(temp.path());
    let scenario = FailScenario::setup();
    fail::cfg("fs::syncfs", "return").unwrap();
    fail::cfg("fs::fsync", "return").unwrap();
    for result in commit_all(batch(&dir)) {
        assert_eq!(result.unwrap_err().status(), Status::Failed);
    }
    assert_eq!(std::fs::read(temp.path().join("f")).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1, "f, no staging file");
    assert!(dir.sync_all().is_err());
    fail::remove("fs::syncfs");
    fail::remove("fs::fsync");
    assert!(commit_all(batch(&held(temp.path()))).iter().all(Result::is_ok));
    scenario.teardown();
}

#[test]
fn after_a_lost_write_no_later_batch_of_the_operation_succeeds() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, fresh) = (held(temp.path()), held(temp.path()));
    let scenario = FailScenario::setup();
    // The kernel says it once, and what it says may concern the batch that is being written meanwhile.
    fail::cfg("fs::syncfs", "1*return->off").unwrap();
    let closed = |dir: &Dir| {
        let file = Closed::write(dir, b"new", 0o600, None).unwrap();
        commit_all(vec![Complete::Closed { file, target: b"f".to_vec(), replace: true }]).remove(0)
    };
    assert!(closed(&dir).is_err());
    assert!(closed(&dir.clone()).is_err());
    assert!(dir.sync_all().is_err());
    closed(&fresh).unwrap();
    scenario.teardown();
}

#[test]
fn names_that_are_not_durable_are_not_done_in_few_directories_or_many() {
    let temp = tempfile::tempdir().unwrap();
    for (dirs, point) in [(2, "fs::sync_dir"), (5, "fs::syncfs")] {
        let closed = |at: u32| {
            let sub = temp.path().join(at.to_string());
            std::fs::create_dir_all(&sub).unwrap();
            let file = Closed::write(&held(&sub), b"new", 0o600, None).unwrap();
            Complete::Closed { file, target: b"f".to_vec(), replace: true }
        };
        let scenario = FailScenario::setup();
        // The sync of the files succeeds, that of the names does not.
        fail::cfg(point, if point == "fs::syncfs" { "1*off->return" } else { "return" }).unwrap();
        let results = commit_all((0..dirs).map(closed).collect());
        assert!(results.iter().all(Result::is_err), "{results:?}");
        scenario.teardown();
    }
}

#[test]
fn a_full_disk_leaves_nothing_of_a_small_file() {
    let temp = tempfile::tempdir().unwrap();
    let dir = held(temp.path());
    let scenario = FailScenario::setup();
    fail::cfg("fs::write", "return").unwrap();
    assert_eq!(Closed::write(&dir, b"new", 0o600, None).unwrap_err().status(), Status::DiskFull);
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
    scenario.teardown();
}

#[test]
fn a_directory_that_cannot_be_listed_is_found_and_then_fails() {
    let temp = tempfile::tempdir().unwrap();
    for path in ["a/x", "unreadable/x", "z"] {
        let path = temp.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }
    let scenario = FailScenario::setup();
    // Fails for the directory of this name only.
    fail::cfg("fs::list", "return").unwrap();
    let walk = Walk::new(Root::open(temp.path()).unwrap(), Filter::default(), None);
    let seen: Vec<String> = walk
        .map(|visit| match visit {
            Visit::Found(found) => found.path.to_string(),
            Visit::Failed { path, error } => format!("!{path} {:?}", error.status()),
        })
        .collect();
    scenario.teardown();
    assert_eq!(seen, ["/", "a", "a/x", "unreadable", "!unreadable PermissionDenied", "z"]);
}
