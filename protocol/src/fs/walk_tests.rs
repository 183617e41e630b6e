//! What a walk shows, in which order, and what it says of what it cannot read.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;
use crate::path::staging_name;
use crate::{RemotePath, Status};

fn path(text: &str) -> RemotePath {
    RemotePath::from_wire(text.as_bytes()).unwrap()
}

fn walk(at: &Path) -> Walk {
    Walk::new(Root::open(at).unwrap(), Filter::default(), None)
}

fn limited(at: &Path, names: &[&str]) -> Walk {
    let names = names.iter().map(|name| path(name)).collect();
    Walk::new(Root::open(at).unwrap(), Filter::default(), Some(Names::new(names)))
}

/// One line a visit: the path, or `!` path status.
fn shown(visit: &Visit) -> String {
    match visit {
        Visit::Found(found) => {
            assert_eq!(found.depth as usize, found.path.components().count());
            found.path.to_string()
        }
        Visit::Failed { path, error } => format!("!{path} {:?}", error.status()),
    }
}

fn all(walk: Walk) -> Vec<String> {
    walk.map(|visit| shown(&visit)).collect()
}

/// Makes files, and directories where a `/` ends the path.
fn make(at: &Path, paths: &[&str]) {
    for path in paths {
        match path.strip_suffix('/') {
            Some(path) => std::fs::create_dir_all(at.join(path)).unwrap(),
            None => {
                std::fs::create_dir_all(at.join(path).parent().unwrap()).unwrap();
                std::fs::write(at.join(path), path).unwrap();
            }
        }
    }
}

#[test]
fn a_directory_comes_before_what_is_in_it_and_names_increase() {
    let temp = tempfile::tempdir().unwrap();
    make(temp.path(), &["b", "a/z", "a/b/c", "a-b", "a.c/d", "empty/", "Z"]);
    let expected = ["/", "Z", "a", "a/b", "a/b/c", "a/z", "a-b", "a.c", "a.c/d", "b", "empty"];
    assert_eq!(all(walk(temp.path())), expected);
    let root = Root::open_stepwise(temp.path()).unwrap();
    assert_eq!(all(Walk::new(root, Filter::default(), None)), expected);
}

#[test]
fn links_and_special_files_are_shown_as_what_they_are() {
    let temp = tempfile::tempdir().unwrap();
    make(temp.path(), &["d/f", "file"]);
    symlink("d", temp.path().join("link")).unwrap();
    symlink(OsStr::from_bytes(b"/\xff"), temp.path().join("d/out")).unwrap();
    mknodat(CWD, temp.path().join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let mut seen = Vec::new();
    for visit in walk(temp.path()) {
        let Visit::Found(found) = visit else { panic!("{visit:?}") };
        assert_eq!(found.target.is_empty(), found.meta.kind != Kind::Symlink);
        seen.push((found.path.to_string(), found.meta.kind, found.target));
    }
    let plain = |path: &str, kind| (path.to_owned(), kind, Vec::new());
    assert_eq!(
        seen,
        [
            plain("/", Kind::Dir),
            plain("d", Kind::Dir),
            plain("d/f", Kind::File),
            ("d/out".into(), Kind::Symlink, b"/\xff".to_vec()),
            plain("fifo", Kind::Other),
            plain("file", Kind::File),
            ("link".into(), Kind::Symlink, b"d".to_vec()),
        ]
    );
}

#[test]
fn names_are_bytes_and_staging_files_do_not_exist() {
    let temp = tempfile::tempdir().unwrap();
    let long = [b'\xfe'; 255];
    let names: [&[u8]; 5] = [b".ft-notes", b"a\nb", b"b", &long, b"\xff\xfe"];
    for name in names {
        std::fs::write(temp.path().join(OsStr::from_bytes(name)), "").unwrap();
    }
    std::fs::write(temp.path().join(staging_name([3; 16])), "").unwrap();
    std::fs::create_dir(temp.path().join(staging_name([4; 16]))).unwrap();
    let found: Vec<Vec<u8>> = walk(temp.path())
        .skip(1)
        .map(|visit| match visit {
            Visit::Found(found) => found.path.as_bytes().to_vec(),
            failed => panic!("{failed:?}"),
        })
        .collect();
    assert_eq!(found, names);
}

#[test]
fn an_excluded_directory_is_not_entered() {
    let temp = tempfile::tempdir().unwrap();
    make(temp.path(), &["a/keep.o", "a/x.o", "build/keep.o", "src/build", "x.o/y"]);
    let rules = [(true, "keep.o"), (false, "build/"), (false, "*.o")];
    let rules = rules.map(|(include, pattern)| Rule { include, pattern: pattern.into() });
    let filter = Filter::new(rules.to_vec()).unwrap();
    let root = Root::open(temp.path()).unwrap();
    assert_eq!(
        all(Walk::new(root.clone(), filter.clone(), None)),
        ["/", "a", "a/keep.o", "src", "src/build"]
    );
    let names = Names::new(vec![path("build/keep.o"), path("a")]);
    assert_eq!(all(Walk::new(root, filter, Some(names))), ["/", "a", "a/keep.o"]);
}

#[test]
fn contents_are_skipped_on_request() {
    let temp = tempfile::tempdir().unwrap();
    make(temp.path(), &["a/b", "c/d/e", "c/f", "g"]);
    let mut walk = walk(temp.path());
    let mut seen = Vec::new();
    while let Some(visit) = walk.next() {
        seen.push(shown(&visit));
        if matches!(seen.last().map(String::as_str), Some("a" | "c/d" | "g")) {
            walk.skip_contents();
        }
    }
    assert_eq!(seen, ["/", "a", "c", "c/d", "c/f", "g"]);
    let mut walk = super::walk_tests::walk(temp.path());
    walk.next();
    walk.skip_contents();
    assert!(walk.next().is_none());
}

#[test]
fn only_what_was_asked_for_is_visited() {
    let temp = tempfile::tempdir().unwrap();
    make(temp.path(), &["a/b/c", "a/b/d", "a/e", "a-b", "f/g/h", "f/i"]);
    symlink("f", temp.path().join("l")).unwrap();
    let at = temp.path();
    assert_eq!(all(limited(at, &[])), ["/"]);
    assert_eq!(all(limited(at, &["a/b/d", "f/i"])), ["/", "a", "a/b", "a/b/d", "f", "f/i"]);
    assert_eq!(all(limited(at, &["f", "a-b"])), ["/", "a-b", "f", "f/g", "f/g/h", "f/i"]);
    assert_eq!(all(limited(at, &["a", "a/b/c"])), ["/", "a", "a/b", "a/b/c", "a/b/d", "a/e"]);
    assert_eq!(all(limited(at, &["l"])), ["/", "l"]);
    assert_eq!(all(limited(at, &["", "a/e"])), all(walk(at)));
}

#[test]
fn each_path_that_comes_to_nothing_is_named_once() {
    let temp = tempfile::tempdir().unwrap();
    make(temp.path(), &["a/b", "c/d/e", "f"]);
    symlink("c", temp.path().join("l")).unwrap();
    let at = temp.path();
    assert_eq!(
        all(limited(at, &["a/0", "a/b", "a/c", "a/c/d", "none/x", "none/y", "z"])),
        ["/", "a", "!a/0 NotFound", "a/b", "!a/c NotFound", "!a/c/d NotFound", "!none/x NotFound"]
            .into_iter()
            .chain(["!none/y NotFound", "!z NotFound"])
            .collect::<Vec<_>>()
    );
    assert_eq!(
        all(limited(at, &["f", "f/x", "l/d"])),
        ["/", "f", "!f/x NotDirectory", "!l/d Denied"],
        "a file has nothing beneath it, and no link is followed"
    );
    // A directory that is walked whole still owes an answer for each path in it that was asked for.
    assert_eq!(
        all(limited(at, &["c", "c/a", "c/d/e", "c/d/f", "c/z"])),
        ["/", "c", "!c/a NotFound", "c/d", "c/d/e", "!c/d/f NotFound", "!c/z NotFound"]
    );
}

#[test]
fn what_cannot_be_entered_is_reported_and_the_rest_goes_on() {
    let temp = tempfile::tempdir().unwrap();
    make(temp.path(), &["a/x", "b/x", "c/x"]);
    let mut seen = Vec::new();
    for visit in walk(temp.path()) {
        seen.push(shown(&visit));
        // Between its visit and the next step.
        match seen.last().map(String::as_str) {
            Some("a") => std::fs::remove_dir_all(temp.path().join("a")).unwrap(),
            Some("b") => {
                std::fs::remove_dir_all(temp.path().join("b")).unwrap();
                symlink("c", temp.path().join("b")).unwrap();
            }
            _ => {}
        }
    }
    assert_eq!(seen, ["/", "a", "!a NotFound", "b", "!b Denied", "c", "c/x"]);
}

#[test]
fn a_directory_without_permission_is_found_and_then_fails() {
    // The super-user may list everything; `fs_faults` does this for everyone.
    if rustix::process::geteuid().is_root() {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let temp = tempfile::tempdir().unwrap();
    make(temp.path(), &["a/x", "b"]);
    std::fs::set_permissions(temp.path().join("a"), PermissionsExt::from_mode(0o300)).unwrap();
    assert_eq!(all(walk(temp.path())), ["/", "a", "!a PermissionDenied", "b"]);
    assert_eq!(all(limited(temp.path(), &["a/x"])), ["/", "a", "a/x"], "a name can be looked up there");
    std::fs::set_permissions(temp.path().join("a"), PermissionsExt::from_mode(0o700)).unwrap();
}

#[test]
fn what_vanishes_before_it_is_looked_up_is_left_out() {
    let temp = tempfile::tempdir().unwrap();
    make(temp.path(), &["a", "b", "c/d"]);
    let mut walk = walk(temp.path());
    let first: Vec<String> = walk.by_ref().take(2).map(|visit| shown(&visit)).collect();
    assert_eq!(first, ["/", "a"]);
    std::fs::remove_file(temp.path().join("b")).unwrap();
    std::fs::remove_dir_all(temp.path().join("c")).unwrap();
    assert!(walk.next().is_none());
}

/// A chain of directories, each with a file on either side of the next.
fn chain(at: &Path, levels: usize) {
    let mut dir = Root::open(at).unwrap().dir(&RemotePath::root(), Links::Refuse).unwrap();
    for _ in 0..levels {
        dir.make_link(b"a", b"x", true).unwrap();
        dir.make_link(b"z", b"x", true).unwrap();
        dir.make_dir(b"d").unwrap();
        dir = dir.dir(b"d").unwrap();
    }
}

fn open_descriptors(walk: &Walk) -> usize {
    walk.levels().iter().filter(|held| **held).count()
}

#[test]
fn a_deep_tree_is_walked_with_few_descriptors() {
    let temp = tempfile::tempdir().unwrap();
    chain(temp.path(), 200);
    for root in [Root::open(temp.path()).unwrap(), Root::open_stepwise(temp.path()).unwrap()] {
        let mut walk = Walk::new(root, Filter::default(), None);
        let (mut most, mut found, mut deepest) = (0, 0, 0);
        while let Some(visit) = walk.next() {
            let Visit::Found(visit) = visit else { panic!("{visit:?}") };
            (found, deepest) = (found + 1, deepest.max(visit.depth));
            most = most.max(open_descriptors(&walk));
        }
        assert_eq!((found, deepest), (601, 200));
        assert!((2..=32).contains(&most), "{most} at once");
    }
}

#[test]
fn a_directory_replaced_on_the_way_back_is_not_taken_for_the_first() {
    let temp = tempfile::tempdir().unwrap();
    chain(temp.path(), 60);
    let mut seen = Vec::new();
    for visit in walk(temp.path()) {
        seen.push(shown(&visit));
        if seen.len() == 1 + 60 * 2 {
            // All that was opened again later.
            std::fs::rename(temp.path().join("d"), temp.path().join("old")).unwrap();
            make(temp.path(), &["d/z"]);
        }
    }
    let failed: Vec<&String> = seen.iter().filter(|line| line.starts_with('!')).collect();
    assert_eq!(failed.last().unwrap().as_str(), "!d Changed");
    assert_eq!(seen.last().unwrap(), "z", "the root's own names go on");
    assert!(!seen.contains(&"d/z".to_owned()));
}

#[test]
fn a_path_too_long_for_the_protocol_fails_where_it_begins_to_be() {
    let temp = tempfile::tempdir().unwrap();
    let mut dir = Root::open(temp.path()).unwrap().dir(&RemotePath::root(), Links::Refuse).unwrap();
    let name = [b'n'; 255];
    // Sixteen of them and the slashes between make 4,095 bytes.
    for _ in 0..16 {
        dir.make_dir(&name).unwrap();
        dir = dir.dir(&name).unwrap();
    }
    rustix::fs::mkdirat(&dir, "d", Mode::RWXU).unwrap();
    let lines = all(walk(temp.path()));
    assert_eq!(lines.len(), 18);
    assert!(lines[17].starts_with('!') && lines[17].ends_with(" Invalid"), "{}", lines[17]);
}

#[test]
fn a_directory_with_too_many_names_is_refused_whole() {
    let temp = tempfile::tempdir().unwrap();
    make(temp.path(), &["a", "b", "c"]);
    let fd = Root::open(temp.path()).unwrap();
    let read = |cap| {
        let fd = beneath::open_name(std::os::fd::AsFd::as_fd(&fd), b".", beneath::READ_DIR).unwrap();
        listing::Listing::read(&fd, &RemotePath::root(), cap, &mut Vec::new()).map(drop)
    };
    read(3).unwrap();
    assert_eq!(read(2).unwrap_err().status(), Status::Limit);
}
