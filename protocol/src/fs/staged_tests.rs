//! Staged files: what is left behind, what becomes visible, and who wins.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Barrier;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;
use crate::path::{is_staging_name, staging_name};
use crate::{RemotePath, Result, Status};

const KEY: [u8; 16] = [5; 16];

fn held(at: &Path) -> Dir {
    Root::open(at).unwrap().dir(&RemotePath::root(), Links::Refuse).unwrap()
}

fn options(len: usize) -> CommitOptions {
    CommitOptions { len: len as u64, replace: true, mtime: None, mode: ModeRule::Preserve(0o640) }
}

fn staged(dir: &Dir, text: &[u8]) -> Staged {
    let staged = Staged::temp(dir).unwrap();
    staged.write_all_at(text, 0).unwrap();
    staged
}

fn put(dir: &Dir, name: &str, text: &str, replace: bool) -> Result<Committed> {
    let how = CommitOptions { replace, ..options(text.len()) };
    staged(dir, text.as_bytes()).commit(name.as_bytes(), &how)
}

/// Names of all staging files, those that no listing shows.
fn leftovers(at: &Path) -> usize {
    let names = std::fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| is_staging_name(name.as_encoded_bytes())).count()
}

fn age(dir: &Dir, file: &impl std::os::fd::AsFd) {
    attributes::set_mtime(file, Mtime { secs: 1_000_000, nanos: 0 }, || dir.path().to_string()).unwrap();
}

#[test]
fn a_temp_is_private_hidden_and_gone_when_dropped() {
    let temp = tempfile::tempdir().unwrap();
    let dir = held(temp.path());
    let staged = staged(&dir, b"half");
    assert_eq!(Meta::of(staged.file()).unwrap().mode, 0o600);
    assert!(dir.list().unwrap().is_empty());
    assert_eq!((leftovers(temp.path()), staged.is_partial(), staged.kept_len()), (1, false, 0));
    drop(staged);
    assert_eq!(leftovers(temp.path()), 0);
}

#[test]
fn a_partial_is_found_again_by_its_key_unless_it_is_empty_or_discarded() {
    let temp = tempfile::tempdir().unwrap();
    let dir = held(temp.path());
    drop(Staged::partial(&dir, KEY).unwrap());
    assert_eq!(leftovers(temp.path()), 0, "an empty one is not worth keeping");
    let first = Staged::partial(&dir, KEY).unwrap();
    first.write_all_at(b"half", 0).unwrap();
    drop(first);
    assert_eq!(Staged::partial(&dir, [6; 16]).unwrap().kept_len(), 0, "another key, another file");
    let again = Staged::partial(&dir, KEY).unwrap();
    assert_eq!((again.kept_len(), again.is_partial()), (4, true));
    again.discard();
    assert_eq!(leftovers(temp.path()), 0);
}

#[test]
fn a_partial_in_use_means_a_fresh_temp() {
    let temp = tempfile::tempdir().unwrap();
    let dir = held(temp.path());
    let first = Staged::partial(&dir, KEY).unwrap();
    first.write_all_at(b"half", 0).unwrap();
    let second = Staged::partial(&dir, KEY).unwrap();
    assert_eq!((second.is_partial(), second.kept_len()), (false, 0));
    second.commit(b"f", &options(3)).unwrap();
    first.commit(b"f", &options(4)).unwrap();
    assert_eq!(std::fs::read(temp.path().join("f")).unwrap(), b"half");
    assert_eq!(leftovers(temp.path()), 0);
}

#[test]
fn what_others_planted_under_a_partials_name_is_not_used() {
    let temp = tempfile::tempdir().unwrap();
    let dir = held(temp.path());
    let planted = temp.path().join(staging_name(KEY));
    let victim = temp.path().join("victim");
    std::fs::write(&victim, "precious").unwrap();
    let plants: [&dyn Fn(); 4] = [
        &|| symlink(&victim, &planted).unwrap(),
        &|| std::fs::hard_link(&victim, &planted).unwrap(),
        &|| std::fs::create_dir(&planted).unwrap(),
        &|| mknodat(CWD, &planted, FileType::Fifo, Mode::RUSR, 0).unwrap(),
    ];
    for plant in plants {
        plant();
        let staged = Staged::partial(&dir, KEY).unwrap();
        assert_eq!((staged.is_partial(), staged.kept_len()), (false, 0));
        staged.write_all_at(b"bad", 0).unwrap();
        drop(staged);
        std::fs::remove_file(&planted).or_else(|_| std::fs::remove_dir(&planted)).unwrap();
        assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
    }
}

#[test]
fn a_commit_replaces_in_one_step_and_never_writes_through_a_link() {
    let temp = tempfile::tempdir().unwrap();
    let dir = held(temp.path());
    assert!(!put(&dir, "f", "old", true).unwrap().replaced);
    let reader = dir.open_file(b"f").unwrap();
    assert!(put(&dir, "f", "newer", true).unwrap().replaced);
    assert_eq!(std::fs::read(temp.path().join("f")).unwrap(), b"newer");
    assert_eq!(Meta::of(&reader.0).unwrap().size, 3, "who has the old file open keeps it whole");
    symlink("f", temp.path().join("l")).unwrap();
    assert!(put(&dir, "l", "own", true).unwrap().replaced);
    assert_eq!(dir.lookup(b"l").unwrap().unwrap().kind, Kind::File);
    assert_eq!(std::fs::read(temp.path().join("f")).unwrap(), b"newer");
}

#[test]
fn directories_and_special_files_are_never_replaced() {
    let temp = tempfile::tempdir().unwrap();
    let dir = held(temp.path());
    std::fs::create_dir(temp.path().join("d")).unwrap();
    mknodat(CWD, temp.path().join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    for replace in [true, false] {
        assert_eq!(put(&dir, "d", "x", replace).unwrap_err().status(), Status::IsDirectory);
        assert_eq!(put(&dir, "fifo", "x", replace).unwrap_err().status(), Status::NotRegular);
        assert_eq!(dir.make_link(b"d", b"x", replace).unwrap_err().status(), Status::IsDirectory);
    }
    assert_eq!(put(&dir, &staging_name(KEY), "x", true).unwrap_err().status(), Status::Invalid);
    assert_eq!(leftovers(temp.path()), 0);
}

#[test]
fn without_replace_exactly_one_of_many_writers_wins() {
    let temp = tempfile::tempdir().unwrap();
    let dir = held(temp.path());
    let start = Barrier::new(8);
    for round in 0..20 {
        let name = format!("f{round}");
        let outcomes: Vec<Result<Committed>> = std::thread::scope(|scope| {
            let run = |writer: usize| {
                let (name, dir, start) = (&name, &dir, &start);
                scope.spawn(move || {
                    let text = writer.to_string().repeat(1000);
                    start.wait();
                    put(dir, name, &text, false)
                })
            };
            let writers: Vec<_> = (0..8).map(run).collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        let winner = outcomes.iter().position(Result::is_ok).unwrap();
        for (writer, outcome) in outcomes.iter().enumerate() {
            if writer != winner {
                assert_eq!(outcome.as_ref().unwrap_err().status(), Status::Exists);
            }
        }
        let text = std::fs::read_to_string(temp.path().join(&name)).unwrap();
        assert_eq!(text, winner.to_string().repeat(1000));
    }
    assert_eq!(leftovers(temp.path()), 0);
}

#[test]
fn an_existing_target_costs_even_a_partial() {
    let temp = tempfile::tempdir().unwrap();
    let dir = held(temp.path());
    put(&dir, "f", "old", true).unwrap();
    let partial = Staged::partial(&dir, KEY).unwrap();
    partial.write_all_at(b"new", 0).unwrap();
    let how = CommitOptions { replace: false, ..options(3) };
    assert_eq!(partial.commit(b"f", &how).unwrap_err().status(), Status::Exists);
    assert_eq!(leftovers(temp.path()), 0);
}

#[test]
fn length_mode_and_time_are_as_asked() {
    let temp = tempfile::tempdir().unwrap();
    let dir = held(temp.path());
    let mtime = Some(Mtime { secs: 1_234_567_890, nanos: 987_654_321 });
    let commit = |len: u64, mode| {
        let how = CommitOptions { len, replace: true, mtime, mode };
        staged(&dir, b"0123456789").commit(b"f", &how).unwrap();
        let meta = dir.lookup(b"f").unwrap().unwrap();
        assert_eq!((meta.size, Some(meta.mtime)), (len, mtime));
        meta
    };
    let umask = {
        // A file that std makes shows the umask of this process.
        let probe = std::fs::File::create(temp.path().join("probe")).unwrap();
        !probe.metadata().unwrap().mode() & 0o666
    };
    assert_eq!(commit(4, ModeRule::Default(0o4666)).mode, 0o666 & !umask, "new: the source's, masked");
    std::fs::set_permissions(temp.path().join("f"), PermissionsExt::from_mode(0o4711)).unwrap();
    assert_eq!(commit(10, ModeRule::Default(0o600)).mode, 0o711, "replaced: the old one's");
    assert_eq!(commit(0, ModeRule::Preserve(0o7777)).mode, 0o777, "preserved: never setuid");
    let sparse = commit(1 << 20, ModeRule::Preserve(0o600));
    assert!(sparse.is_sparse());
    let text = std::fs::read(temp.path().join("f")).unwrap();
    assert!(text.starts_with(b"0123456789\0") && is_zero(&text[10..]));
    let bad = CommitOptions { mtime: Some(Mtime { secs: 0, nanos: u32::MAX }), ..options(1) };
    assert_eq!(staged(&dir, b"x").commit(b"f", &bad).unwrap_err().status(), Status::Invalid);
}

#[test]
fn names_are_bytes() {
    let temp = tempfile::tempdir().unwrap();
    let dir = held(temp.path());
    for name in [&[b'n'; 255][..], b"\xff\xfe\n", "日本".as_bytes()] {
        staged(&dir, b"x").commit(name, &options(1)).unwrap();
        assert_eq!(dir.lookup(name).unwrap().unwrap().size, 1);
    }
    let error = staged(&dir, b"x").commit(&[b'n'; 256], &options(1)).unwrap_err();
    assert_eq!(error.status(), Status::Invalid);
    assert_eq!(dir.list().unwrap().len(), 3);
}

#[test]
fn a_batch_gives_each_file_its_own_result() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::create_dir(temp.path().join("d")).unwrap();
    let (top, sub) = (held(temp.path()), held(&temp.path().join("d")));
    let one = |dir: &Dir, name: &[u8]| {
        let how = CommitOptions { replace: false, ..options(4) };
        Complete::Open(Commit { staged: staged(dir, b"text"), target: name.to_vec(), how })
    };
    let batch = vec![one(&top, b"a"), one(&top, b"d"), one(&sub, b"b"), one(&top, b"a"), one(&sub, b"c")];
    let statuses: Vec<Status> = commit_all(batch)
        .iter()
        .map(|result| result.as_ref().map_or_else(Error::status, |_| Status::Ok))
        .collect();
    assert_eq!(statuses, [Status::Ok, Status::IsDirectory, Status::Ok, Status::Exists, Status::Ok]);
    for name in ["a", "d/b", "d/c"] {
        assert_eq!(std::fs::read(temp.path().join(name)).unwrap(), b"text");
    }
    assert_eq!(leftovers(temp.path()) + leftovers(&temp.path().join("d")), 0);
}

#[test]
fn links_are_made_and_replaced_as_they_are() {
    let temp = tempfile::tempdir().unwrap();
    let dir = held(temp.path());
    assert!(!dir.make_link(b"l", b"../anywhere", false).unwrap().replaced);
    assert_eq!(dir.make_link(b"l", b"other", false).unwrap_err().status(), Status::Exists);
    assert!(dir.make_link(b"l", b"\xff", true).unwrap().replaced);
    assert_eq!(dir.read_link(b"l").unwrap(), b"\xff");
    assert_eq!(leftovers(temp.path()), 0);
}

#[test]
fn sweeping_takes_the_old_and_unused_only() {
    let temp = tempfile::tempdir().unwrap();
    let dir = held(temp.path());
    let week = Duration::from_secs(7 * 86_400);
    let make = |byte| {
        let partial = Staged::partial(&dir, [byte; 16]).unwrap();
        partial.write_all_at(b"x", 0).unwrap();
        partial
    };
    let in_use = make(1);
    drop(make(2));
    put(&dir, "visible", "x", true).unwrap();
    // A small file has the time of its source as soon as it is complete, which says nothing of its own age.
    age(&dir, in_use.file());
    let long_ago = Mtime { secs: 0, nanos: 1 };
    let complete = Closed::write(&dir, b"x", 0o600, Some(long_ago)).unwrap();
    assert_eq!(dir.sweep_staging(week), 0, "nothing is that old");
    drop(complete);
    assert_eq!(dir.sweep_staging(Duration::ZERO), 1, "what is in use stays");
    assert_eq!(leftovers(temp.path()), 1);
    drop(in_use);
    assert_eq!(dir.sweep_staging(Duration::ZERO), 1);
    assert_eq!(Staged::partial(&dir, [1; 16]).unwrap().kept_len(), 0);
    assert!(dir.lookup(b"visible").unwrap().is_some());
}

#[test]
fn a_staging_file_taken_away_is_an_error_never_a_wrong_file() {
    let temp = tempfile::tempdir().unwrap();
    let dir = held(temp.path());
    let staged = staged(&dir, b"mine");
    let name = temp.path().join(&staged.name);
    std::fs::remove_file(&name).unwrap();
    std::fs::write(&name, "theirs").unwrap();
    assert_eq!(staged.commit(b"f", &options(4)).unwrap_err().status(), Status::Busy);
    assert!(!temp.path().join("f").exists());
    assert_eq!(std::fs::read(&name).unwrap(), b"theirs", "what is not ours is not removed either");
}
