//! Nothing beneath a root reaches what is outside, with either walker, also while names are being swapped.

use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::*;
use crate::{RemotePath, Result, Status};

const BOTH: [Links; 2] = [Links::Follow, Links::Refuse];

fn path(text: &str) -> RemotePath {
    RemotePath::from_wire(text.as_bytes()).unwrap()
}

fn roots(at: &Path) -> [Root; 2] {
    [Root::open(at).unwrap(), Root::open_stepwise(at).unwrap()]
}

/// A temporary directory in memory where there is one: these tests sync thousands of times.
fn tempdir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// `root/d/` and `outside/` with the same names; the outside, mode 0604 and with one name more, must never be
/// seen nor changed.
fn arena() -> tempfile::TempDir {
    let temp = tempdir();
    for (place, text, mode) in [("root/d", "root", 0o644), ("outside", "outs", 0o604)] {
        let place = temp.path().join(place);
        std::fs::create_dir_all(place.join("sub")).unwrap();
        for name in ["f", "g", "sub/f"] {
            std::fs::write(place.join(name), text).unwrap();
            std::fs::set_permissions(place.join(name), PermissionsExt::from_mode(mode)).unwrap();
        }
    }
    std::fs::write(temp.path().join("outside/canary"), "").unwrap();
    temp
}

/// Everything there is to know about the outside: names, inodes, contents, modes and times.
fn canary(temp: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for dir in ["outside", "outside/sub"] {
        let meta = std::fs::metadata(temp.join(dir)).unwrap();
        found.push(format!("{dir} {:o} {} {}", meta.mode(), meta.mtime(), meta.mtime_nsec()));
        for entry in std::fs::read_dir(temp.join(dir)).unwrap() {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            let text = std::fs::read(entry.path()).unwrap_or_default();
            found.push(format!(
                "{:?} {} {:o} {} {} {text:?}",
                entry.path(),
                meta.ino(),
                meta.mode(),
                meta.ctime(),
                meta.ctime_nsec()
            ));
        }
    }
    found.sort();
    found
}

fn options(replace: bool) -> CommitOptions {
    CommitOptions { len: 4, replace, mtime: None, mode: ModeRule::Default(0o644) }
}

fn put(dir: &Dir, name: &[u8]) -> Result<Committed> {
    let staged = Staged::temp(dir)?;
    staged.write_all_at(b"root", 0)?;
    staged.commit(name, &options(true))
}

#[test]
fn links_out_of_the_root_are_refused() {
    let temp = arena();
    let root = temp.path().join("root");
    symlink(temp.path().join("outside"), root.join("absolute")).unwrap();
    symlink("../outside", root.join("relative")).unwrap();
    symlink("../../outside", root.join("d/middle")).unwrap();
    symlink("/proc/self/root", root.join("magic")).unwrap();
    let before = canary(temp.path());
    for root in roots(&root) {
        for name in ["absolute", "relative", "d/middle", "magic"] {
            let (link, file) = (path(name), path(&format!("{name}/f")));
            for links in BOTH {
                let mut refused = vec![
                    root.open_file(&file, links).map(drop),
                    root.stat(&file, links).map(drop),
                    root.dir(&link, links).map(drop),
                    root.dir(&path(&format!("{name}/sub")), links).map(drop),
                    root.list(&link, links).map(drop),
                    root.read_link(&file, links).map(drop),
                ];
                refused.push(root.make_dir(&path(&format!("{name}/new")), false).map(drop));
                refused.push(root.make_dir(&path(&format!("{name}/new/new")), true).map(drop));
                refused.push(root.remove(&file, false).map(drop));
                refused.push(root.remove(&path(&format!("{name}/sub")), true).map(drop));
                refused.push(root.rename(&file, &path("d/stolen"), true));
                refused.push(root.rename(&path("d/f"), &file, true));
                for (at, result) in refused.into_iter().enumerate() {
                    let error = result.unwrap_err();
                    assert_eq!(error.status(), Status::Denied, "{name} {links:?} {at}: {error}");
                    assert!(error.to_string().contains("symbolic link"), "{error}");
                }
            }
            assert_eq!(root.stat(&link, Links::Refuse).unwrap().kind, Kind::Symlink);
        }
    }
    assert_eq!(canary(temp.path()), before);
}

#[test]
fn links_that_stay_inside_are_followed_only_on_request() {
    let temp = arena();
    let at = temp.path().join("root");
    symlink("d", at.join("inside")).unwrap();
    symlink("../d/f", at.join("d/back")).unwrap();
    let [root, stepwise] = roots(&at);
    for name in ["inside/f", "d/back", "inside/back"] {
        let (mut file, meta) = root.open_file(&path(name), Links::Follow).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), meta.kind), ("root", Kind::File));
        assert_eq!(root.stat(&path(name), Links::Follow).unwrap().ino, meta.ino);
        assert_eq!(root.open_file(&path(name), Links::Refuse).unwrap_err().status(), Status::Denied);
        let error = stepwise.open_file(&path(name), Links::Follow).unwrap_err();
        assert!(error.to_string().contains("needs Linux 5.6"), "{error}");
        assert_eq!(stepwise.stat(&path(name), Links::Follow).unwrap_err().status(), Status::Denied);
    }
    assert_eq!(root.read_link(&path("inside/back"), Links::Follow).unwrap(), b"../d/f");
}

#[test]
fn removal_takes_links_and_leaves_their_targets() {
    let temp = arena();
    let at = temp.path().join("root");
    let before = canary(temp.path());
    for root in roots(&at) {
        std::fs::create_dir_all(at.join("t/a/b")).unwrap();
        symlink(temp.path().join("outside"), at.join("t/a/out")).unwrap();
        symlink("../../outside/f", at.join("t/a/b/file")).unwrap();
        symlink(temp.path().join("outside"), at.join("link")).unwrap();
        assert_eq!(root.remove(&path("t"), true).unwrap(), 5);
        assert_eq!(root.remove(&path("link"), true).unwrap(), 1);
    }
    assert_eq!(canary(temp.path()), before);
}

/// `root/x` alternates between a directory and a link to the outside while everything is tried on `x/…`, and `root/z`
/// between a file and a link to one outside.
#[test]
fn a_directory_swapped_for_a_link_never_leads_outside() {
    let rounds = if std::env::var_os("FT_SOAK").is_some() { 100_000 } else { 2_000 };
    for target in ["../outside", "absolute"] {
        for stepwise in [false, true] {
            swap_while_working(target, stepwise, rounds);
        }
    }
}

fn swap_while_working(target: &str, stepwise: bool, rounds: u64) {
    let temp = arena();
    let at = temp.path().join("root");
    let target = if target == "absolute" { temp.path().join("outside") } else { target.into() };
    symlink(target, at.join("y")).unwrap();
    std::fs::rename(at.join("d"), at.join("x")).unwrap();
    std::fs::write(at.join("z"), "root").unwrap();
    symlink("../outside/f", at.join("w")).unwrap();
    let before = canary(temp.path());
    let root = if stepwise { Root::open_stepwise(&at).unwrap() } else { Root::open(&at).unwrap() };
    let (stop, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, at.join("x"), CWD, at.join("y"), RenameFlags::EXCHANGE).unwrap();
                // Fails while `z` is moved away.
                let _ = renameat_with(CWD, at.join("z"), CWD, at.join("w"), RenameFlags::EXCHANGE);
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        });
        while swaps.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        let done = std::panic::catch_unwind(|| {
            (0..rounds).for_each(|_| {
                one_of_each(&root);
                one_of_each_of_a_tree(&root);
            })
        });
        stop.store(true, Ordering::Relaxed);
        done.unwrap();
    });
    assert_eq!(canary(temp.path()), before, "after {} swaps", swaps.into_inner());
}

/// Every operation once; results do not matter beyond what they show of the outside.
fn one_of_each(root: &Root) {
    for links in BOTH {
        if let Ok((file, _)) = root.open_file(&path("x/f"), links) {
            let mut text = [0; 4];
            file.read_exact_at(&mut text, 0).unwrap();
            assert_eq!(&text, b"root");
        }
        if let Ok(entries) = root.list(&path("x"), links) {
            assert!(entries.iter().all(|entry| entry.name != b"canary"));
        }
        if let Ok(meta) = root.stat(&path("x/f"), links) {
            assert_ne!(meta.mode, 0o604);
        }
    }
    let _ = root.make_dir(&path("x/new"), false);
    let _ = root.make_dir(&path("x/p/q"), true);
    let _ = root.rename(&path("x/g"), &path("x/h"), true);
    let _ = root.rename(&path("x/h"), &path("x/g"), false);
    let _ = root.remove(&path("x/new"), false);
    let _ = root.remove(&path("x/p"), true);
    let _ = root.remove(&path("x/sub"), true);
    let _ = root.make_dir(&path("x/sub"), false);
    if let Ok(dir) = root.dir(&path("x"), Links::Refuse) {
        put(&dir, b"f").unwrap();
        put(&dir, b"g").unwrap();
        let _ = dir.make_link(b"l", b"/etc/passwd", true);
        let _ = dir.set_meta(Some(0o711), Some(Mtime { secs: 1, nanos: 1 }));
    }
    if let Ok(dir) = root.dir(&path("x/sub"), Links::Refuse) {
        let _ = put(&dir, b"f");
    }
}

fn one_of_each_of_a_tree(root: &Root) {
    for names in [None, Some(Names::new(vec![path("x/f"), path("x/sub"), path("z/f")]))] {
        walk_sees_no_outside(Walk::new(root.clone(), Filter::default(), names));
    }
    if let Ok(root) = root.beneath(&path("x"), Links::Refuse) {
        walk_sees_no_outside(Walk::new(root, Filter::default(), None));
    }
    let top = root.dir(&RemotePath::root(), Links::Refuse).unwrap();
    let time = Some(Mtime { secs: 2, nanos: 2 });
    let _ = top.set_file_meta(b"z", Some(0o640), time);
    let _ = top.set_file_meta(b"z", Some(0o600), None);
    let _ = top.set_link_time(b"z", Mtime { secs: 3, nanos: 3 });
    let _ = top.keep_aside(b"z", &top, b"kept", false);
    let _ = top.keep_aside(b"kept", &top, b"moved", true);
    if top.keep_aside(b"z", &top, b"away", true).is_ok() {
        root.rename(&path("away"), &path("z"), true).unwrap();
    }
    let Ok(dir) = root.dir(&path("x"), Links::Refuse) else { return };
    let _lock = dir.lock().unwrap();
    let file = Closed::write(&dir, b"root", 0o644, time).unwrap();
    let committed = commit_all(vec![Complete::Closed { file, target: b"f".to_vec(), replace: true }]);
    assert!(committed.iter().all(Result::is_ok));
    let _ = dir.keep_aside(b"f", &top, b"kept", false);
    let _ = top.keep_aside(b"kept", &dir, b"h", true);
}

fn walk_sees_no_outside(walk: Walk) {
    for visit in walk {
        if let Visit::Found(found) = visit {
            assert_ne!(found.path.file_name(), Some(&b"canary"[..]));
            assert_ne!(found.meta.mode, 0o604, "{}", found.path);
        }
    }
}
