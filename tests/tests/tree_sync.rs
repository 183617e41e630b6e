//! What differs, what is too much, what is kept of it, and what is only foreseen or compared, with a real server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/tree_runs.rs"]
#[allow(dead_code, reason = "not every test needs all of it")]
mod tree_runs;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ft_protocol::Status;
use ft_protocol::tree::{Action, Item};
use ft_tests::server::TestServer;
use ft_tests::tree::{contents, plant, seen};
use ftclient::{CheckOptions, TreeOptions};
use tree_runs::{client, lines, noting, preserving, remote, syncing};

#[tokio::test]
async fn what_differs_is_copied_and_the_rest_of_it_is_removed() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    let (source, back) = (place.path().join("source"), place.path().join("back"));
    plant(&source);
    let mut client = client(&server).await;
    client.put_tree(&source, &remote("copy"), None, &syncing()).await.unwrap();
    client.get_tree(&remote("copy"), &back, None, &syncing()).await.unwrap();

    fs::write(source.join("a.txt"), "other").unwrap();
    fs::write(source.join("sub/new"), "new").unwrap();
    fs::remove_dir_all(source.join("sub/deeper")).unwrap();
    fs::remove_file(source.join("link")).unwrap();
    symlink("elsewhere", source.join("link")).unwrap();
    fs::remove_file(source.join("z")).unwrap();
    // A file where a directory was, and a directory where a file was.
    fs::remove_dir(source.join("empty")).unwrap();
    fs::write(source.join("empty"), "no more").unwrap();
    fs::remove_file(source.join("block")).unwrap();
    fs::create_dir(source.join("block")).unwrap();
    fs::write(source.join("block/inside"), "inside").unwrap();
    let expected = [
        (Action::Replaced, "a.txt"),
        (Action::Replaced, "block"),
        (Action::Created, "block/inside"),
        (Action::Replaced, "link"),
        (Action::Created, "sub/new"),
        (Action::Deleted, "empty"),
        (Action::Deleted, "sub/deeper/two"),
        (Action::Deleted, "sub/deeper/deepest/three"),
        (Action::Deleted, "sub/deeper/deepest"),
        (Action::Deleted, "sub/deeper"),
        (Action::Deleted, "z"),
        (Action::Created, "empty"),
    ]
    .map(|(action, path)| (action, path.to_owned()));
    let deleting = TreeOptions { delete: Some(u64::MAX), ..syncing() };
    let (options, foreseen) = noting(TreeOptions { dry_run: true, ..deleting.clone() });
    let before = seen(&server.root().join("copy"));
    client.put_tree(&source, &remote("copy"), None, &options).await.unwrap();
    assert_eq!(seen(&server.root().join("copy")), before, "a dry run changes nothing");
    let (options, items) = noting(deleting.clone());
    client.put_tree(&source, &remote("copy"), None, &options).await.unwrap();
    assert_eq!(lines(&items), expected);
    let sorted = |items: &Arc<Mutex<Vec<Item>>>| {
        let mut names: Vec<_> =
            lines(items).into_iter().map(|(action, path)| (path, action as u32)).collect();
        names.sort();
        names
    };
    let (run, foreseen) = (sorted(&items), sorted(&foreseen));
    // The run replaces the directory in two steps.
    let run: Vec<_> =
        run.into_iter().filter(|item| *item != ("empty".to_owned(), Action::Created as u32)).collect();
    assert_eq!(
        foreseen.iter().filter(|item| item.0 != "empty").count(),
        run.iter().filter(|item| item.0 != "empty").count()
    );
    assert_eq!(contents(&server.root().join("copy")), contents(&source));

    let (options, items) = noting(deleting);
    client.get_tree(&remote("copy"), &back, None, &options).await.unwrap();
    assert_eq!(lines(&items), expected);
    assert_eq!(contents(&back), contents(&source));
}

#[tokio::test]
async fn what_is_replaced_or_removed_can_be_kept() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    let (source, back) = (place.path().join("source"), place.path().join("back"));
    fs::create_dir_all(source.join("dir")).unwrap();
    for name in ["one", "two", "dir/three"] {
        fs::write(source.join(name), name).unwrap();
    }
    let mut client = client(&server).await;
    client.put_tree(&source, &remote("copy"), None, &syncing()).await.unwrap();
    client.get_tree(&remote("copy"), &back, None, &syncing()).await.unwrap();
    fs::write(source.join("one"), "other content").unwrap();
    fs::remove_dir_all(source.join("dir")).unwrap();
    let deleting = TreeOptions { delete: Some(u64::MAX), ..syncing() };
    let kept = |root: &Path| (fs::read(root.join("one")).unwrap(), fs::read(root.join("dir/three")).unwrap());
    let old = (b"one".to_vec(), b"dir/three".to_vec());
    // Inside of the tree the directory for backups is no part of it.
    for to in ["kept", "copy/kept"] {
        client.put_tree(&source, &remote("copy"), Some(&remote(to)), &deleting).await.unwrap();
        if to == "kept" {
            assert_eq!(kept(&server.root().join(to)), old);
            fs::rename(server.root().join("kept/dir"), server.root().join("copy/dir")).unwrap();
            fs::rename(server.root().join("kept/one"), server.root().join("copy/one")).unwrap();
        }
    }
    assert_eq!(kept(&server.root().join("copy/kept")), old);
    client.put_tree(&source, &remote("copy"), Some(&remote("copy/kept")), &deleting).await.unwrap();
    assert_eq!(kept(&server.root().join("copy/kept")), old);
    fs::remove_dir_all(server.root().join("copy/kept")).unwrap();
    client.get_tree(&remote("copy"), &back, Some(&back.join("kept")), &deleting).await.unwrap();
    assert_eq!(kept(&back.join("kept")), old);
    let error = client.put_tree(&source, &remote("copy"), Some(&remote("")), &deleting).await.unwrap_err();
    assert_eq!(error.status(), Status::Invalid);
}

#[tokio::test]
async fn nothing_is_removed_beyond_the_limit_or_after_a_failure() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("a"), "a").unwrap();
    let copy = server.root().join("copy");
    fs::create_dir_all(copy.join("old/dir")).unwrap();
    fs::write(copy.join("old/dir/file"), "old").unwrap();
    let mut client = client(&server).await;
    let limited = TreeOptions { delete: Some(2), ..syncing() };
    let error = client.put_tree(&source, &remote("copy"), None, &limited).await.unwrap_err();
    assert_eq!(error.status(), Status::Limit);
    assert!(error.to_string().contains('3'), "{error}");
    assert!(copy.join("old/dir/file").exists() && copy.join("a").exists());

    // A FIFO at the destination is not replaced, which is a failure of that name.
    rustix::fs::mknodat(
        rustix::fs::CWD,
        copy.join("b"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    fs::write(source.join("b"), "b").unwrap();
    let (options, items) = noting(TreeOptions { delete: Some(3), ..syncing() });
    let done = client.put_tree(&source, &remote("copy"), None, &options).await.unwrap();
    assert_eq!(done.failed, 1);
    let failure = items.lock().unwrap()[0].failure.clone().unwrap();
    assert_eq!(failure.status, Status::NotRegular);
    assert!(copy.join("old/dir/file").exists(), "nothing is removed after a failure");
    fs::remove_file(copy.join("b")).unwrap();
    client.put_tree(&source, &remote("copy"), None, &options).await.unwrap();
    assert_eq!(contents(&copy), contents(&source));
}

#[tokio::test]
async fn a_dry_run_tells_what_the_run_would_tell() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    let (source, back) = (place.path().join("source"), place.path().join("back"));
    plant(&source);
    let mut client = client(&server).await;
    client.put_tree(&source, &remote("copy"), None, &syncing()).await.unwrap();
    client.get_tree(&remote("copy"), &back, None, &syncing()).await.unwrap();
    let later = fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH);
    for name in ["sub/one", "large", "block", "z", "more"] {
        fs::File::options().write(true).open(source.join(name)).unwrap().set_times(later).unwrap();
    }
    // Of equal size, so that only the content tells.
    fs::write(source.join("z"), "twelve bytes").unwrap();
    let mut more = fs::read(source.join("more")).unwrap();
    more[7] ^= 1;
    fs::write(source.join("more"), more).unwrap();
    for plain in [syncing(), TreeOptions { times: true, ..TreeOptions::default() }] {
        for to_server in [true, false] {
            let mut told = Vec::new();
            for dry_run in [true, false] {
                let (options, items) = noting(TreeOptions { dry_run, ..plain.clone() });
                let done = if to_server {
                    client.put_tree(&source, &remote("copy"), None, &options).await.unwrap()
                } else {
                    client.get_tree(&remote("copy"), &back, None, &options).await.unwrap()
                };
                let sizes: Vec<u64> = items.lock().unwrap().iter().map(|item| item.size).collect();
                told.push((lines(&items), sizes, done.equal));
            }
            assert_eq!(told[0], told[1]);
            let (lines, _, _) = &told[0];
            let changed: Vec<_> = lines.iter().filter(|(action, _)| *action != Action::Equal).collect();
            let expected = if plain.quick {
                vec![
                    (Action::Meta, "block".to_owned()),
                    (Action::Meta, "large".to_owned()),
                    (Action::Replaced, "more".to_owned()),
                    (Action::Meta, "sub/one".to_owned()),
                    (Action::Replaced, "z".to_owned()),
                ]
            } else {
                Vec::new()
            };
            assert_eq!(changed, expected.iter().collect::<Vec<_>>());
        }
    }
}

#[tokio::test]
async fn a_file_that_cannot_take_the_place_of_a_directory_is_named() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("d"), "a file now").unwrap();
    let copy = server.root().join("copy");
    fs::create_dir_all(copy.join("d")).unwrap();
    for name in ["d/1", "d/2"] {
        fs::write(copy.join(name), name).unwrap();
    }
    let mut client = client(&server).await;
    let expected = [
        (Action::Deleted, "d/2".to_owned()),
        (Action::Deleted, "d/1".to_owned()),
        (Action::Deleted, "d".to_owned()),
        (Action::Created, "d".to_owned()),
    ];
    let (options, items) = noting(TreeOptions { delete: Some(3), dry_run: true, ..syncing() });
    client.put_tree(&source, &remote("copy"), None, &options).await.unwrap();
    assert_eq!(lines(&items), expected, "the dry run tells of it as the run will");
    let (options, items) = noting(TreeOptions { delete: Some(2), ..syncing() });
    let error = client.put_tree(&source, &remote("copy"), None, &options).await.unwrap_err();
    assert_eq!(error.status(), Status::Limit);
    let failed: Vec<_> = items.lock().unwrap().iter().map(|item| item.path.to_string()).collect();
    assert_eq!(failed, ["d"], "what did not arrive is named");
    assert!(copy.join("d/1").exists());
    let (options, items) = noting(TreeOptions { delete: Some(3), ..syncing() });
    client.put_tree(&source, &remote("copy"), None, &options).await.unwrap();
    assert_eq!(lines(&items), expected);
    assert_eq!(contents(&copy), contents(&source));
}

#[tokio::test]
async fn special_files_are_named_and_missing_nowhere() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("source");
    fs::create_dir(&source).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, source.join("fifo"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let mut client = client(&server).await;
    let (options, items) = noting(syncing());
    client.put_tree(&source, &remote("copy"), Some(&remote("kept")), &options).await.unwrap();
    assert_eq!(lines(&items), [(Action::Skipped, "fifo".to_owned())]);
    assert!(!server.root().join("kept").exists(), "there was nothing to keep");
    let (options, items) = noting(TreeOptions::default());
    let (digest, meter, filter) = (options.digest, Arc::default(), options.filter);
    let options = CheckOptions { filter, names: None, digest, meter, on_item: options.on_item };
    client.check_tree(&source, &remote("copy"), &options).await.unwrap();
    assert_eq!(lines(&items), [(Action::Skipped, "fifo".to_owned())]);
}

#[tokio::test]
async fn a_comparison_finds_every_difference_and_moves_nothing() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("source");
    plant(&source);
    let mut client = client(&server).await;
    client.put_tree(&source, &remote("copy"), None, &preserving()).await.unwrap();
    let compare = || {
        let (options, items) = noting(TreeOptions::default());
        let (digest, meter) = (options.digest, Arc::default());
        let (filter, names) = (options.filter, None);
        (CheckOptions { filter, names, digest, meter, on_item: options.on_item }, items)
    };
    let (options, items) = compare();
    assert_eq!(client.check_tree(&source, &remote("copy"), &options).await.unwrap(), 0);
    let all = seen(&source).values().filter(|seen| seen.mode & 0o170_000 != 0o040_000).count();
    let told = lines(&items);
    assert_eq!(told.len(), all);
    assert!(told.iter().all(|(action, _)| *action == Action::Equal), "{told:?}");

    let copy = server.root().join("copy");
    let mut large = fs::read(copy.join("large")).unwrap();
    *large.last_mut().unwrap() ^= 1;
    fs::write(copy.join("large"), large).unwrap();
    fs::write(copy.join("a.txt"), "longer than it was").unwrap();
    fs::remove_dir_all(copy.join("sub/deeper")).unwrap();
    fs::remove_file(copy.join("link")).unwrap();
    symlink("other", copy.join("link")).unwrap();
    fs::remove_file(copy.join("z")).unwrap();
    fs::create_dir(copy.join("z")).unwrap();
    fs::write(copy.join("z/only"), "there").unwrap();
    fs::write(copy.join("sub/zz"), "there").unwrap();
    let (options, items) = compare();
    client.check_tree(&source, &remote("copy"), &options).await.unwrap();
    let mut told = lines(&items);
    told.retain(|(action, _)| *action != Action::Equal);
    let expected = [
        (Action::Replaced, "a.txt"),
        (Action::Replaced, "large"),
        (Action::Replaced, "link"),
        (Action::Deleted, "sub/deeper"),
        (Action::Deleted, "sub/deeper/deepest"),
        (Action::Deleted, "sub/deeper/deepest/three"),
        (Action::Deleted, "sub/deeper/two"),
        (Action::Created, "sub/zz"),
        (Action::Replaced, "z"),
        (Action::Created, "z/only"),
    ];
    assert_eq!(told, expected.map(|(action, path)| (action, path.to_owned())));
}
