//! Whole directories, there and back, with a real server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex};

use ft_protocol::fs::Kind;
use ft_protocol::tree::{Action, Item};
use ft_protocol::{RemotePath, Status};
use ft_tests::content::pattern;
use ft_tests::server::{TestServer, USER};
use ft_tests::tree::{contents, plant, seen};
use ftclient::{CheckOptions, Client, TreeOptions};

async fn client(server: &TestServer) -> Client {
    let builder = Client::builder(&server.address().to_string()).unwrap();
    builder.user(USER).key(server.key().clone()).fingerprint(server.fingerprint()).connect().await.unwrap()
}

fn remote(path: &str) -> RemotePath {
    RemotePath::from_typed(path.as_bytes()).unwrap()
}

/// Options that note what is told.
fn noting(options: TreeOptions) -> (TreeOptions, Arc<Mutex<Vec<Item>>>) {
    let items = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&items);
    let on_item = Arc::new(move |item: &Item| told.lock().unwrap().push(item.clone()));
    (TreeOptions { on_item, ..options }, items)
}

fn lines(items: &Arc<Mutex<Vec<Item>>>) -> Vec<(Action, String)> {
    let items = items.lock().unwrap();
    let failed: Vec<_> = items.iter().filter(|item| item.failure.is_some()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    items.iter().map(|item| (item.action, item.path.to_string())).collect()
}

fn preserving() -> TreeOptions {
    TreeOptions { preserve: true, ..TreeOptions::default() }
}

fn syncing() -> TreeOptions {
    TreeOptions { times: true, quick: true, ..TreeOptions::default() }
}

#[tokio::test]
async fn a_tree_goes_there_and_comes_back_as_it_was() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    let (source, back) = (place.path().join("source"), place.path().join("back"));
    plant(&source);
    let mut client = client(&server).await;
    let (options, items) = noting(preserving());
    let done = client.put_tree(&source, &remote("copy"), None, &options).await.unwrap();
    assert_eq!((done.equal, done.failed), (0, 0));
    assert_eq!(seen(&server.root().join("copy")), seen(&source));
    let told = lines(&items);
    assert_eq!(told.len(), seen(&source).len(), "each name once");
    assert!(told.iter().all(|(action, _)| *action == Action::Created));

    let (options, items) = noting(preserving());
    client.get_tree(&remote("copy"), &back, None, &options).await.unwrap();
    assert_eq!(seen(&back), seen(&source));
    assert!(back.join("sparse").metadata().unwrap().blocks() < 100, "holes stay holes");
    let items = items.lock().unwrap();
    let large = items.iter().find(|item| item.path.to_string() == "large").unwrap();
    assert_eq!(large.whole.unwrap().to_string(), md5(&pattern(5 * (1 << 20) + 77)));
    assert!(items.iter().filter(|item| item.kind == Kind::File).all(|item| item.whole.is_some()));
}

#[tokio::test]
async fn a_second_run_moves_nothing_and_tells_nothing() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    let (source, back) = (place.path().join("source"), place.path().join("back"));
    plant(&source);
    let files = seen(&source).values().filter(|seen| seen.mode & 0o170_000 == 0o100_000).count() as u64;
    let mut client = client(&server).await;
    client.put_tree(&source, &remote("copy"), None, &syncing()).await.unwrap();
    client.get_tree(&remote("copy"), &back, None, &syncing()).await.unwrap();
    let (options, items) = noting(syncing());
    let put = client.put_tree(&source, &remote("copy"), None, &options).await.unwrap();
    let got = client.get_tree(&remote("copy"), &back, None, &options).await.unwrap();
    assert_eq!(
        (put.equal, got.equal, options.meter.bytes().done()),
        (files, files, options.meter.bytes_total())
    );
    assert_eq!(lines(&items), []);
    // Without times to go by, contents are compared where they are.
    let (options, items) = noting(TreeOptions { times: true, ..TreeOptions::default() });
    client.put_tree(&source, &remote("copy"), None, &options).await.unwrap();
    let items = items.lock().unwrap();
    assert!(items.iter().all(|item| item.action == Action::Equal && item.kept == item.size), "{items:?}");
    assert_eq!(items.len() as u64, files);
}

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
async fn unchanged_blocks_of_a_changed_file_do_not_travel() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    let (source, back) = (place.path().join("source"), place.path().join("back"));
    fs::create_dir(&source).unwrap();
    let mut content = pattern(20 * (1 << 20) + 5);
    fs::write(source.join("big"), &content).unwrap();
    let mut client = client(&server).await;
    client.put_tree(&source, &remote("copy"), None, &syncing()).await.unwrap();
    client.get_tree(&remote("copy"), &back, None, &syncing()).await.unwrap();
    for at in [0, 7 << 20, (20 << 20) + 1] {
        content[at] ^= 1;
    }
    content.extend_from_slice(&pattern(1 << 20));
    fs::write(source.join("big"), &content).unwrap();
    for to_server in [true, false] {
        let (options, items) = noting(syncing());
        if to_server {
            client.put_tree(&source, &remote("copy"), None, &options).await.unwrap();
            assert_eq!(fs::read(server.root().join("copy/big")).unwrap(), content);
        } else {
            client.get_tree(&remote("copy"), &back, None, &options).await.unwrap();
            assert_eq!(fs::read(back.join("big")).unwrap(), content);
        }
        let items = items.lock().unwrap();
        assert_eq!((items.len(), items[0].kept), (1, 18 << 20), "two blocks changed and the tail is new");
        assert_eq!(items[0].whole.unwrap().to_string(), md5(&content));
    }
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
async fn two_runs_never_work_on_one_destination() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::create_dir(server.root().join("copy")).unwrap();
    let root = ft_protocol::fs::Root::open(&server.root().join("copy")).unwrap();
    let held = root.dir(&RemotePath::root(), ft_protocol::fs::Links::Refuse).unwrap().lock().unwrap();
    let mut client = client(&server).await;
    let error = client.put_tree(&source, &remote("copy"), None, &syncing()).await.unwrap_err();
    assert_eq!(error.status(), Status::Busy);
    drop(held);
    client.put_tree(&source, &remote("copy"), None, &syncing()).await.unwrap();

    let root = ft_protocol::fs::Root::open(&source).unwrap();
    let held = root.dir(&RemotePath::root(), ft_protocol::fs::Links::Refuse).unwrap().lock().unwrap();
    let error = client.get_tree(&remote("copy"), &source, None, &syncing()).await.unwrap_err();
    assert_eq!(error.status(), Status::Busy);
    drop(held);
    client.get_tree(&remote("copy"), &source, None, &syncing()).await.unwrap();
}

#[tokio::test]
async fn what_is_no_directory_is_said_to_be_none() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    fs::write(server.root().join("file"), "content").unwrap();
    let mut client = client(&server).await;
    let target = place.path().join("target");
    let error = client.get_tree(&remote("file"), &target, None, &syncing()).await.unwrap_err();
    assert_eq!(error.status(), Status::NotDirectory);
    let error = client.get_tree(&remote("missing"), &target, None, &syncing()).await.unwrap_err();
    assert_eq!(error.status(), Status::NotFound);
    assert!(!target.exists(), "nothing is made for a source that is not there");
    fs::create_dir(&target).unwrap();
    let error = client.put_tree(&target, &remote("file"), None, &syncing()).await.unwrap_err();
    assert_eq!(error.status(), Status::NotDirectory);
    let error = client.put_tree(&target, &remote("no/where"), None, &syncing()).await.unwrap_err();
    assert_eq!(error.status(), Status::NotFound);
    let parents = TreeOptions { parents: true, ..syncing() };
    client.put_tree(&target, &remote("no/where"), None, &parents).await.unwrap();
    assert!(server.root().join("no/where").is_dir());
}

#[tokio::test]
async fn what_is_equal_is_left_as_it_is_and_nothing_is_left_beside_it() {
    let server = TestServer::start().await;
    let place = tempfile::tempdir().unwrap();
    let (source, back) = (place.path().join("source"), place.path().join("back"));
    fs::create_dir(&source).unwrap();
    fs::write(source.join("large"), pattern((3 << 20) + 5)).unwrap();
    let mut client = client(&server).await;
    let plain = TreeOptions::default();
    client.put_tree(&source, &remote("copy"), None, &plain).await.unwrap();
    client.get_tree(&remote("copy"), &back, None, &plain).await.unwrap();
    let copy = server.root().join("copy");
    let inodes = || [&copy, &back].map(|dir| dir.join("large").metadata().unwrap().ino());
    let before = inodes();
    for _ in 0..2 {
        let (options, items) = noting(plain.clone());
        client.put_tree(&source, &remote("copy"), None, &options).await.unwrap();
        client.get_tree(&remote("copy"), &back, None, &options).await.unwrap();
        assert_eq!(lines(&items), vec![(Action::Equal, "large".to_owned()); 2]);
        assert_eq!(inodes(), before, "an equal file is not written again");
        assert_eq!((contents(&copy), contents(&back)), (contents(&source), contents(&source)));
    }
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

fn md5(data: &[u8]) -> String {
    use md5::Digest;
    md5::Md5::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}
