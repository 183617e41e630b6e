//! What people notice of [`Root`]: with either walker.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;
use crate::path::staging_name;
use crate::{RemotePath, Status};

fn path(text: &str) -> RemotePath {
    RemotePath::from_wire(text.as_bytes()).unwrap()
}

fn each_walker(test: impl Fn(&Path, Root)) {
    for stepwise in [false, true] {
        let temp = tempfile::tempdir().unwrap();
        let root = if stepwise { Root::open_stepwise(temp.path()) } else { Root::open(temp.path()) };
        test(temp.path(), root.unwrap());
    }
}

fn fifo(at: &Path) {
    mknodat(CWD, at, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

#[test]
fn a_fifo_or_socket_answers_at_once() {
    each_walker(|at, root| {
        fifo(&at.join("fifo"));
        let _socket = std::os::unix::net::UnixListener::bind(at.join("socket")).unwrap();
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            for name in ["fifo", "socket"] {
                for links in [Links::Follow, Links::Refuse] {
                    send.send(root.open_file(&path(name), links).map(drop)).unwrap();
                }
            }
        });
        for _ in 0..4 {
            // Only a hang would wait that long.
            let opened = receive.recv_timeout(Duration::from_secs(30)).unwrap();
            assert_eq!(opened.unwrap_err().status(), Status::NotRegular);
        }
    });
}

#[test]
fn failures_have_their_own_status_and_name_the_path() {
    each_walker(|at, root| {
        std::fs::create_dir(at.join("d")).unwrap();
        std::fs::write(at.join("f"), "x").unwrap();
        let follow = Links::Follow;
        let cases = [
            (root.open_file(&path("d"), follow).map(drop), Status::IsDirectory, "d"),
            (root.open_file(&path("d/none"), follow).map(drop), Status::NotFound, "d/none"),
            (root.open_file(&path("f/x"), follow).map(drop), Status::NotDirectory, "f/x"),
            (root.list(&path("f"), follow).map(drop), Status::NotDirectory, "f"),
            (root.make_dir(&path("d"), false).map(drop), Status::Exists, "d"),
            (root.make_dir(&path("f/x"), true).map(drop), Status::NotDirectory, "f"),
            (root.make_dir(&path("none/x"), false).map(drop), Status::NotFound, "none"),
            (root.remove(&path("none"), true).map(drop), Status::NotFound, "none"),
            (root.remove(&RemotePath::root(), true).map(drop), Status::Invalid, "root"),
            (root.rename(&path("none"), &path("d/x"), true), Status::NotFound, "none"),
            (root.rename(&path("d"), &path("d/x"), true), Status::Invalid, "d"),
            (root.rename(&path("f"), &path("d"), true), Status::IsDirectory, "d"),
            (root.read_link(&path("f"), follow).map(drop), Status::Invalid, "f"),
        ];
        for (result, status, named) in cases {
            let error = result.unwrap_err();
            assert_eq!(error.status(), status, "{error}");
            assert!(error.to_string().contains(named), "{error}");
        }
    });
    assert_eq!(Root::open(Path::new("/proc/version")).unwrap_err().status(), Status::NotDirectory);
    assert!(Root::open(Path::new("")).is_ok());
}

#[test]
fn directories_are_made_with_their_parents() {
    each_walker(|at, root| {
        assert!(root.make_dir(&path("a/b/c"), true).unwrap());
        assert!(!root.make_dir(&path("a/b/c"), true).unwrap());
        assert!(!root.make_dir(&RemotePath::root(), true).unwrap());
        assert!(root.make_dir(&path("a/d"), false).unwrap());
        assert!(at.join("a/b/c").is_dir() && at.join("a/d").is_dir());
    });
}

#[test]
fn a_rename_replaces_only_when_told_to() {
    each_walker(|at, root| {
        for name in ["a", "b"] {
            std::fs::write(at.join(name), name).unwrap();
        }
        fifo(&at.join("fifo"));
        let to_b = |replace| root.rename(&path("a"), &path("b"), replace);
        assert_eq!(to_b(false).unwrap_err().status(), Status::Exists);
        to_b(true).unwrap();
        assert_eq!(std::fs::read(at.join("b")).unwrap(), b"a");
        let onto_fifo = |replace| root.rename(&path("b"), &path("fifo"), replace).unwrap_err().status();
        assert_eq!(onto_fifo(true), Status::NotRegular);
        assert_eq!(onto_fifo(false), Status::Exists);
        root.rename(&path("b"), &path("b"), true).unwrap();
        std::fs::hard_link(at.join("b"), at.join("c")).unwrap();
        root.rename(&path("b"), &path("c"), true).unwrap();
        assert!(!at.join("b").exists() && at.join("c").exists());
    });
}

#[test]
fn the_link_fallback_is_as_atomic() {
    each_walker(|at, root| {
        let dir = root.dir(&RemotePath::root(), Links::Refuse).unwrap();
        std::fs::write(at.join("a"), "a").unwrap();
        std::fs::create_dir(at.join("d")).unwrap();
        root::link_new(&dir, b"a", &dir, b"b").unwrap();
        assert!(!at.join("a").exists() && at.join("b").exists());
        assert_eq!(root::link_new(&dir, b"b", &dir, b"d"), Err(rustix::io::Errno::EXIST));
        assert_eq!(root::link_new(&dir, b"d", &dir, b"e"), Err(rustix::io::Errno::INVAL));
        assert!(at.join("b").exists());
    });
}

#[test]
fn removal_counts_and_asks_for_recursion() {
    each_walker(|at, root| {
        std::fs::create_dir_all(at.join("t/a/b")).unwrap();
        for name in ["t/1", "t/a/2", "t/a/b/3"] {
            std::fs::write(at.join(name), "").unwrap();
        }
        assert_eq!(root.remove(&path("t"), false).unwrap_err().status(), Status::NotEmpty);
        assert_eq!(root.remove(&path("t/1"), false).unwrap(), 1);
        assert_eq!(root.remove(&path("t"), true).unwrap(), 5);
        assert!(!at.join("t").exists());
    });
}

#[test]
fn a_deep_tree_is_removed_and_a_deeper_one_refused() {
    each_walker(|at, root| {
        let build = |levels: usize| {
            let mut dir = root.dir(&RemotePath::root(), Links::Refuse).unwrap();
            for _ in 0..levels {
                dir.make_dir(b"d").unwrap();
                dir.make_dir(b"e").unwrap();
                dir = dir.dir(b"d").unwrap();
            }
        };
        build(200);
        assert_eq!(root.remove(&path("d"), true).unwrap(), 199 * 2 + 1);
        build(MAX_LEVELS);
        assert_eq!(root.rename(&path("d"), &path("e/d"), true).map_err(|e| e.status()), Ok(()));
        assert_eq!(root.remove(&path("e"), true).unwrap_err().status(), Status::Limit);
        assert!(at.join("e").exists());
    });
}

#[test]
fn staging_files_go_with_their_directory_unless_one_is_in_use() {
    each_walker(|at, root| {
        let key = [9; 16];
        for recursive in [false, true] {
            std::fs::create_dir_all(at.join("t")).unwrap();
            std::fs::write(at.join("t").join(staging_name(key)), "left").unwrap();
            symlink("nowhere", at.join("t").join(staging_name([8; 16]))).unwrap();
            let staged = Staged::partial(&root.dir(&path("t"), Links::Refuse).unwrap(), key).unwrap();
            assert_eq!(root.remove(&path("t"), recursive).unwrap_err().status(), Status::Busy);
            assert!(at.join("t").join(staging_name(key)).exists());
            drop(staged);
            assert_eq!(root.remove(&path("t"), recursive).unwrap(), 1);
        }
        std::fs::create_dir_all(at.join("t")).unwrap();
        for name in [staging_name(key), "visible".into()] {
            std::fs::write(at.join("t").join(name), "x").unwrap();
        }
        assert_eq!(root.remove(&path("t"), false).unwrap_err().status(), Status::NotEmpty);
        assert!(at.join("t").join(staging_name(key)).exists(), "a refused removal removes nothing");
    });
}

#[test]
fn stat_tells_what_stat_2_tells() {
    each_walker(|at, root| {
        std::fs::write(at.join("f"), "four").unwrap();
        let ours = root.stat(&path("f"), Links::Refuse).unwrap();
        let std = std::fs::metadata(at.join("f")).unwrap();
        assert_eq!((ours.size, ours.ino, ours.dev, ours.nlink), (4, std.ino(), std.dev(), std.nlink()));
        assert_eq!((ours.mtime.secs, i64::from(ours.mtime.nanos)), (std.mtime(), std.mtime_nsec()));
        assert_eq!((ours.mode, ours.kind), (std.mode() & 0o7777, Kind::File));
        assert_eq!(root.stat(&RemotePath::root(), Links::Follow).unwrap().kind, Kind::Dir);
    });
}
