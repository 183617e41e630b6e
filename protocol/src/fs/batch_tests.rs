//! Small files in batches, what stands there already, and what is kept of it.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;
use crate::path::{is_staging_name, staging_name};
use crate::{RemotePath, Result, Status};

const TIME: Mtime = Mtime { secs: 1_234_567_890, nanos: 987_654_321 };

fn held(at: &Path) -> Dir {
    Root::open(at).unwrap().dir(&RemotePath::root(), Links::Refuse).unwrap()
}

fn closed(dir: &Dir, target: &str, text: &str, replace: bool) -> Complete {
    let file = Closed::write(dir, text.as_bytes(), 0o4640, Some(TIME)).unwrap();
    Complete::Closed { file, target: target.into(), replace }
}

fn statuses(batch: Vec<Complete>) -> Vec<Status> {
    let status = |result: Result<Committed>| result.map_or_else(|error| error.status(), |_| Status::Ok);
    commit_all(batch).into_iter().map(status).collect()
}

fn leftovers(at: &Path) -> usize {
    let names = std::fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| is_staging_name(name.as_encoded_bytes())).count()
}

fn text(at: &Path, name: &str) -> String {
    std::fs::read_to_string(at.join(name)).unwrap()
}

#[test]
fn a_closed_file_is_private_until_complete_and_gone_when_dropped() {
    let temp = tempfile::tempdir().unwrap();
    let dir = held(temp.path());
    let file = Closed::write(&dir, b"text", 0o7640, Some(TIME)).unwrap();
    assert!(dir.list().unwrap().is_empty());
    let meta = std::fs::metadata(temp.path().join(&file.name)).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.mtime(), meta.mtime_nsec()), (0o640, 1_234_567_890, 987_654_321));
    drop(file);
    assert_eq!(leftovers(temp.path()), 0);
    let bad = Some(Mtime { secs: 0, nanos: u32::MAX });
    assert_eq!(Closed::write(&dir, b"text", 0o600, bad).unwrap_err().status(), Status::Invalid);
    assert_eq!(leftovers(temp.path()), 0, "nor does a failure leave anything");
}

#[test]
fn a_batch_of_many_directories_gives_each_file_its_own_result() {
    let temp = tempfile::tempdir().unwrap();
    let names = ["a", "b", "c", "d"];
    let dirs = names.map(|name| {
        std::fs::create_dir(temp.path().join(name)).unwrap();
        held(&temp.path().join(name))
    });
    std::fs::create_dir(temp.path().join("a/dir")).unwrap();
    symlink("nowhere", temp.path().join("a/link")).unwrap();
    mknodat(CWD, temp.path().join("a/fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let [a, b, c, d] = &dirs;
    let staged = Staged::temp(b).unwrap();
    staged.write_all_at(b"open", 0).unwrap();
    let how = CommitOptions { len: 4, replace: true, mtime: None, mode: ModeRule::Preserve(0o600) };
    let taken = closed(d, "taken", "x", true);
    if let Complete::Closed { file, .. } = &taken {
        std::fs::remove_file(temp.path().join("d").join(&file.name)).unwrap();
    }
    let batch = vec![
        closed(a, "f", "one", false),
        closed(a, "dir", "x", true),
        closed(a, "fifo", "x", true),
        closed(a, "link", "two", true),
        closed(a, "f", "x", false),
        closed(a, "f", "three", true),
        Complete::Open(Commit { staged, target: b"open".to_vec(), how }),
        closed(c, "empty", "", true),
        taken,
        closed(d, &staging_name([1; 16]), "x", true),
        closed(d, "last", &"\0".repeat(100_000), true),
    ];
    assert_eq!(
        statuses(batch),
        [
            Status::Ok,
            Status::IsDirectory,
            Status::NotRegular,
            Status::Ok,
            Status::Exists,
            Status::Ok,
            Status::Ok,
            Status::Ok,
            Status::Busy,
            Status::Invalid,
            Status::Ok
        ]
    );
    assert_eq!(text(temp.path(), "a/f"), "three");
    assert_eq!(text(temp.path(), "a/link"), "two");
    assert_eq!(text(temp.path(), "b/open"), "open");
    assert_eq!(text(temp.path(), "c/empty"), "");
    let zeros = dirs[3].open_file(b"last").unwrap().1;
    assert!(zeros.is_sparse() && zeros.size == 100_000);
    for name in names {
        assert_eq!(leftovers(&temp.path().join(name)), 0, "{name}");
    }
}

/// It is asked which writes were lost, and knows of those only that came after it.
#[test]
fn clones_are_as_old_as_the_first_and_what_is_opened_later_is_younger() {
    let temp = tempfile::tempdir().unwrap();
    let root = Root::open(temp.path()).unwrap();
    let first = root.dir(&RemotePath::root(), Links::Refuse).unwrap();
    let second = root.dir(&RemotePath::root(), Links::Refuse).unwrap();
    assert!(first.is_older_than(&second) && !second.is_older_than(&first));
    assert!(first.clone().is_older_than(&second) && !first.is_older_than(&first.clone()));
    assert!(first.is(&first.clone()) && !first.is(&second), "each operation has its own");
}

#[test]
fn a_replaced_file_is_said_to_be_replaced() {
    let temp = tempfile::tempdir().unwrap();
    let dir = held(temp.path());
    let replaced = |replace| commit_all(vec![closed(&dir, "f", "x", replace)]).remove(0).unwrap().replaced;
    assert!(!replaced(false));
    assert!(replaced(true));
    assert!(commit_all(Vec::new()).is_empty());
}

#[test]
fn mode_and_time_of_a_file_change_without_following_a_link() {
    let temp = tempfile::tempdir().unwrap();
    let dir = held(temp.path());
    std::fs::write(temp.path().join("f"), "x").unwrap();
    std::fs::create_dir(temp.path().join("d")).unwrap();
    symlink("f", temp.path().join("l")).unwrap();
    mknodat(CWD, temp.path().join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let now = dir.lookup(b"f").unwrap().unwrap();
    for (name, status) in
        [("l", Status::NotRegular), ("fifo", Status::NotRegular), ("d", Status::IsDirectory)]
            .into_iter()
            .chain([("none", Status::NotFound), ("..", Status::Invalid)])
    {
        let error = dir.set_file_meta(name.as_bytes(), Some(0o604), Some(TIME)).unwrap_err();
        assert_eq!(error.status(), status, "{name}");
    }
    assert!(dir.lookup(b"f").unwrap().unwrap().unchanged_since(&now));
    dir.set_file_meta(b"f", None, Some(TIME)).unwrap();
    // Also where it may be written only, and the time where it may be neither read nor written.
    for mode in [0o200, 0o4555, 0o666] {
        dir.set_file_meta(b"f", Some(mode), None).unwrap();
        let meta = dir.lookup(b"f").unwrap().unwrap();
        assert_eq!((meta.mode, meta.mtime), (mode & 0o777, TIME));
    }
    std::fs::set_permissions(temp.path().join("f"), PermissionsExt::from_mode(0o000)).unwrap();
    let later = Mtime { secs: -7, nanos: 1 };
    dir.set_file_meta(b"f", Some(0), Some(later)).unwrap();
    assert_eq!(dir.lookup(b"f").unwrap().unwrap().mtime, later);
    dir.set_link_time(b"l", TIME).unwrap();
    assert_eq!(dir.lookup(b"l").unwrap().unwrap().mtime, TIME);
    assert_eq!(dir.lookup(b"f").unwrap().unwrap().mtime, later, "the link's own time");
    assert_eq!(dir.set_link_time(b"../f", TIME).unwrap_err().status(), Status::Invalid);
}

#[test]
fn a_directory_is_locked_for_one_run_at_a_time() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::create_dir(temp.path().join("d")).unwrap();
    let (one, other) = (held(temp.path()), held(temp.path()));
    let lock = one.lock().unwrap();
    for dir in [&one, &one.clone(), &other] {
        let error = dir.lock().unwrap_err();
        assert_eq!(error.status(), Status::Busy);
        assert!(error.to_string().contains("this directory"), "{error}");
    }
    let sub = one.dir(b"d").unwrap();
    let _sub = sub.lock().unwrap();
    assert!(sub.lock().unwrap_err().to_string().contains("'d'"));
    drop(lock);
    other.lock().unwrap();
}

#[test]
fn a_backup_keeps_the_file_under_its_name_until_it_is_replaced() {
    let temp = tempfile::tempdir().unwrap();
    let at = temp.path();
    std::fs::create_dir(at.join("old")).unwrap();
    std::fs::write(at.join("f"), "one").unwrap();
    symlink("target", at.join("l")).unwrap();
    let (dir, old) = (held(at), held(&at.join("old")));
    for round in ["one", "two"] {
        std::fs::write(at.join("f"), round).unwrap();
        // The second time the backup is the file itself already, as after a run that broke off.
        for _ in 0..2 {
            dir.keep_aside(b"f", &old, b"f", false).unwrap();
            assert_eq!((text(at, "f"), text(at, "old/f")), (round.into(), round.into()));
        }
        assert_eq!(statuses(vec![closed(&dir, "f", "new", true)]), [Status::Ok]);
        assert_eq!((text(at, "f"), text(at, "old/f")), ("new".into(), round.into()));
        dir.keep_aside(b"l", &old, b"l", false).unwrap();
        assert_eq!(old.read_link(b"l").unwrap(), b"target");
        assert_eq!(dir.read_link(b"l").unwrap(), b"target");
    }
    assert_eq!((leftovers(at), leftovers(&at.join("old"))), (0, 0));
}

#[test]
fn a_backup_of_what_is_deleted_takes_the_name_away() {
    let temp = tempfile::tempdir().unwrap();
    let at = temp.path();
    std::fs::create_dir_all(at.join("old")).unwrap();
    std::fs::create_dir_all(at.join("d/e")).unwrap();
    std::fs::write(at.join("d/e/f"), "deep").unwrap();
    std::fs::write(at.join("f"), "one").unwrap();
    symlink("target", at.join("l")).unwrap();
    let (dir, old) = (held(at), held(&at.join("old")));
    dir.keep_aside(b"f", &old, b"f", false).unwrap();
    for name in ["f", "l", "d"] {
        dir.keep_aside(name.as_bytes(), &old, name.as_bytes(), true).unwrap();
        assert_eq!(dir.lookup(name.as_bytes()).unwrap(), None, "{name}");
    }
    assert_eq!((text(at, "old/f"), text(at, "old/d/e/f")), ("one".into(), "deep".into()));
    assert_eq!(old.read_link(b"l").unwrap(), b"target");
}

#[test]
fn what_cannot_be_kept_stays_where_it_is_and_says_why() {
    let temp = tempfile::tempdir().unwrap();
    let at = temp.path();
    std::fs::create_dir_all(at.join("old/f")).unwrap();
    std::fs::create_dir_all(at.join("old/d/x")).unwrap();
    std::fs::create_dir(at.join("d")).unwrap();
    std::fs::write(at.join("f"), "one").unwrap();
    let (dir, old) = (held(at), held(&at.join("old")));
    let refused = |name: &str, to: &Dir, to_name: &str, move_it| {
        let error = dir.keep_aside(name.as_bytes(), to, to_name.as_bytes(), move_it).unwrap_err();
        assert!(!error.to_string().is_empty());
        error.status()
    };
    for move_it in [true, false] {
        assert_eq!(refused("f", &old, "f", move_it), Status::Exists);
        assert_eq!(refused("f", &dir, "f", move_it), Status::Invalid);
        assert_eq!(refused("none", &old, "x", move_it), Status::NotFound);
        assert_eq!(refused("f", &old, "../x", move_it), Status::Invalid);
        assert_eq!(refused("f", &old, &staging_name([1; 16]), move_it), Status::Invalid);
    }
    assert_eq!(refused("d", &old, "d", true), Status::Exists);
    assert_eq!(refused("d", &old, "new", false), Status::IsDirectory);
    if let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm")
        && elsewhere.path().metadata().unwrap().dev() != at.metadata().unwrap().dev()
    {
        for move_it in [true, false] {
            assert_eq!(refused("f", &held(elsewhere.path()), "f", move_it), Status::Unsupported);
        }
    }
    assert_eq!(text(at, "f"), "one");
    assert_eq!((leftovers(at), leftovers(&at.join("old"))), (0, 0));
}

#[test]
fn where_no_second_name_can_be_made_a_backup_is_a_copy() {
    let temp = tempfile::tempdir().unwrap();
    let at = temp.path();
    std::fs::create_dir(at.join("old")).unwrap();
    std::fs::write(at.join("f"), "one").unwrap();
    let (dir, old) = (held(at), held(&at.join("old")));
    dir.set_file_meta(b"f", Some(0o640), Some(TIME)).unwrap();
    dir.copy_over(b"f", &old, b"f").unwrap();
    let meta = old.lookup(b"f").unwrap().unwrap();
    assert_eq!((meta.mode, meta.mtime, meta.nlink), (0o640, TIME, 1));
    assert_eq!(text(at, "old/f"), "one");
}
