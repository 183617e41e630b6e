//! The command line of directories: `-r`, `sync`, `check`, and what is chosen within a directory.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

use std::ffi::OsString;
use std::path::PathBuf;

use ftclient::address::RemoteOperand;
use ftclient::cli::{
    BackupDir, CheckPlan, Direction, GetPlan, LocalSource, LocalTarget, NameList, Plan, PutPlan, RuleSource,
    Sides, Stop, SyncPlan, command, parse,
};

fn run(line: &str) -> Result<Plan, Stop> {
    let words = std::iter::once("ftclient").chain(line.split(' ').filter(|word| !word.is_empty()));
    parse(words.map(|word| OsString::from(if word == "''" { "" } else { word }))).map(|parsed| parsed.plan)
}

fn good(line: &str) -> Plan {
    run(line).unwrap_or_else(|stop| panic!("{line}: {stop:?}"))
}

fn get(line: &str) -> GetPlan {
    let Plan::Get(plan) = good(line) else { panic!("{line}") };
    plan
}

fn put(line: &str) -> PutPlan {
    let Plan::Put(plan) = good(line) else { panic!("{line}") };
    plan
}

fn sync(line: &str) -> SyncPlan {
    let Plan::Sync(plan) = good(line) else { panic!("{line}") };
    plan
}

fn check(line: &str) -> CheckPlan {
    let Plan::Check(plan) = good(line) else { panic!("{line}") };
    plan
}

fn refused(line: &str, says: &str) {
    let Err(Stop::Usage { message, .. }) = run(line) else { panic!("accepted: {line}") };
    assert!(message.contains(says), "{line}: {message}");
}

#[test]
fn a_single_directory_becomes_its_target_and_others_go_into_it() {
    for (line, target) in [
        ("get -r nas:a b", LocalTarget::File("b".into())),
        ("get -r nas:a/ b", LocalTarget::File("b".into())),
        ("get -r nas: b", LocalTarget::File("b".into())),
        ("get -r nas:a b/", LocalTarget::Directory("b/".into())),
        ("get -r nas:a b/.", LocalTarget::Directory("b/.".into())),
        ("get -r nas:a ..", LocalTarget::Directory("..".into())),
        ("get -r nas:a", LocalTarget::Directory(".".into())),
        ("get -r -t b nas:a", LocalTarget::Directory("b".into())),
        ("get -r nas:a nas:c b", LocalTarget::Directory("b".into())),
    ] {
        let plan = get(line);
        assert_eq!(plan.target, target, "{line}");
        assert!(plan.tree.recursive, "{line}");
    }
    for (line, target, into) in [
        ("put -r a nas:b", "b", false),
        ("put -r a/ nas:b", "b", false),
        ("put -r . nas:b", "b", false),
        ("put -r a nas:b/", "b", true),
        ("put -r a nas:b/.", "b", true),
        ("put -r a", "/", true),
        ("put -r a nas:", "/", true),
        ("put -r -t nas:b a", "b", true),
        ("put -r a c nas:b", "b", true),
    ] {
        let plan = put(line);
        assert_eq!((plan.target.to_string().as_str(), plan.target_is_dir), (target, into), "{line}");
        assert!(plan.tree.recursive, "{line}");
    }
    assert_eq!(put("put -r dir/.. nas:b").sources, [LocalSource::Path("dir/..".into())]);
    assert!(matches!(get("get -r nas:*.d b").sources.as_slice(), [RemoteOperand::Glob(_)]));
    assert!(!get("get nas:a b").tree.recursive && get("get -n nas:a").tree.dry_run);
}

#[test]
fn a_directory_without_r_and_a_tree_without_a_place_are_refused() {
    refused("get nas:", "-r copies directories");
    refused("put dir/ nas:", "use -r");
    refused("get -r nas: dir/", "no name of its own");
    refused("get -r nas:", "no name of its own");
    refused("get -r nas: nas:a dir", "no name of its own");
    refused("get -r nas:a -", "'-'");
    refused("get -n nas:a -", "'-'");
    refused("put -n - nas:a", "standard input");
    refused("put -r --exclude x - nas:a", "standard input");
}

#[test]
fn patterns_keep_the_order_in_which_they_were_typed() {
    let pattern = |include, pattern: &str| RuleSource::Pattern { include, pattern: pattern.into() };
    let plan = sync("sync --exclude a --include b --exclude-from f --exclude=c --include d x nas:y");
    assert_eq!(
        plan.select.rules,
        [
            pattern(false, "a"),
            pattern(true, "b"),
            RuleSource::File("f".into()),
            pattern(false, "c"),
            pattern(true, "d")
        ]
    );
    let plan = put("put -r --include b/ x nas:y --exclude -a --exclude-from -");
    assert_eq!(
        plan.tree.select.rules,
        [pattern(true, "b/"), pattern(false, "-a"), RuleSource::File("-".into())]
    );
    let names = |zero| Some(NameList { file: "list".into(), zero });
    assert_eq!(get("get -r --files-from list nas:a b").tree.select.names, names(false));
    assert_eq!(sync("sync -0 --files-from list a nas:b").select.names, names(true));
}

#[test]
fn a_selection_that_could_be_misread_is_refused() {
    for (line, says) in [
        ("get --exclude a nas:a", "add -r"),
        ("put --files-from a b nas:", "add -r"),
        ("get -r --files-from l nas:a nas:b dir", "one directory"),
        ("sync --exclude '' a nas:b", ""),
        ("sync --exclude !a a nas:b", "there is no '!' here"),
        ("sync --files-from - --exclude-from - a nas:b", "one option"),
        ("sync --from0 a nas:b", "--files-from"),
        ("sync --delete --files-from l a nas:b", "exclude each other"),
        ("check --receipt last --exclude a", "a receipt lists its files"),
    ] {
        refused(line, says);
    }
}

#[test]
fn sync_tells_the_two_sides_by_their_colon() {
    for (line, direction, local, remote) in [
        ("sync a nas:b", Direction::ToServer, "a", "b"),
        ("sync a/ nas:b/", Direction::ToServer, "a/", "b"),
        ("sync a :b", Direction::ToServer, "a", "b"),
        ("sync a :", Direction::ToServer, "a", "/"),
        ("sync a ft://nas/b", Direction::ToServer, "a", "b"),
        ("sync nas:b a", Direction::FromServer, "a", "b"),
        (":b ./a:c", Direction::FromServer, "./a:c", "b"),
        ("sync nas:*.d .", Direction::FromServer, ".", "*.d"),
        ("sync -H nas :b a", Direction::FromServer, "a", "b"),
    ] {
        let line = if line.starts_with(':') { format!("sync {line}") } else { line.to_owned() };
        let plan = sync(&line);
        assert_eq!(plan.direction, direction, "{line}");
        assert_eq!((plan.local, plan.remote.to_string().as_str()), (PathBuf::from(local), remote), "{line}");
    }
    for (line, says) in [
        ("sync a b", "host:path, or :path"),
        ("sync nas:a nas:b", "remote to remote"),
        ("sync a:b c:d", "./a:b"),
        ("sync nas:a", "DST"),
        ("sync nas:a ''", "empty"),
        ("sync - nas:a", "no directory"),
        ("sync -H one two:a b", "exclude each other"),
        ("sync nas:../a b", "'..'"),
    ] {
        refused(line, says);
    }
}

#[test]
fn sync_deletes_only_where_it_was_told_to() {
    assert_eq!(sync("sync a nas:b").delete, None);
    assert_eq!(sync("sync --delete a nas:b").delete, Some(u64::MAX));
    assert_eq!(sync("sync --delete --max-delete 7 a nas:b").delete, Some(7));
    refused("sync --max-delete 7 a nas:b", "--delete");
    let plan = sync("sync -n --checksum -p --mkdirs a nas:b");
    assert!(plan.dry_run && plan.checksum && plan.transfer.preserve && plan.mkdirs);
    assert!(!sync("sync a nas:b").dry_run);
}

#[test]
fn backups_are_on_the_side_that_changes_and_not_what_changes() {
    let remote = |text: &str| {
        let RemoteOperand::Path(path) =
            ftclient::address::RemoteArg::parse(text.as_ref()).unwrap().operand().unwrap()
        else {
            panic!("{text}")
        };
        Some(BackupDir::Remote(path))
    };
    assert_eq!(sync("sync --backup-dir old a nas:b").backup, remote("old"));
    assert_eq!(sync("sync --backup-dir nas:old/1 a nas:b").backup, remote("old/1"));
    assert_eq!(sync("sync --backup-dir :bb a nas:b").backup, remote("bb"));
    assert_eq!(sync("sync --backup-dir ../old nas:b a").backup, Some(BackupDir::Local("../old".into())));
    refused("sync --backup-dir nas:old nas:b a", "DST, which is local");
    refused("sync --backup-dir other:old a nas:b", "one host");
    for line in ["sync --backup-dir b a nas:b", "sync --backup-dir b a nas:b/c", "sync --backup-dir / a nas:"]
    {
        refused(line, "choose another");
    }
    for line in [
        "sync --backup-dir b/old a nas:b",
        "sync --backup-dir nas:/b//./old/1 a nas:b/",
        "sync --backup-dir old a nas:",
        "sync --backup-dir b/old nas:a b",
        "sync --backup-dir ./b/../b/old nas:a b/",
        "sync --backup-dir old nas:a .",
    ] {
        refused(line, "beneath");
    }
    refused("sync --backup-dir . nas:a b", "holds it");
    assert_eq!(sync("sync --backup-dir bb a nas:b").backup, remote("bb"));
}

#[test]
fn check_compares_a_local_with_a_remote_directory() {
    let CheckPlan::Trees { local, remote, select, .. } = check("check --exclude x a nas:b") else {
        panic!("no trees")
    };
    assert_eq!((local, remote.to_string()), (PathBuf::from("a"), "b".into()));
    assert_eq!(select.rules.len(), 1);
    assert!(matches!(check("check a :b"), CheckPlan::Trees { .. }));
    refused("check a b", "host:path, or :path");
    refused("check nas:a b", "the first directory is local");
    refused("check a", "REMOTE");
    refused("check", "required");
}

#[test]
fn check_looks_at_either_side_of_a_receipt() {
    for (line, sides) in [
        ("check --receipt last", Sides::Both),
        ("check --receipt last --local", Sides::Local),
        ("check --remote --receipt last", Sides::Remote),
        ("check --local --remote --receipt last", Sides::Both),
    ] {
        assert_eq!(check(line), CheckPlan::Receipt { run: "last".into(), sides }, "{line}");
    }
    for (line, remote) in [("--sums", false), ("--md5sums", false), ("--sums --remote", true)] {
        let line = format!("check --receipt 12ab {line}");
        assert_eq!(check(&line), CheckPlan::Sums { run: "12ab".into(), remote }, "{line}");
    }
    for (line, says) in [
        ("check --receipt last a nas:b", "cannot be used with"),
        ("check --local a nas:b", "--receipt"),
        ("check --sums a nas:b", "--receipt"),
        ("check --receipt last --sums --local --remote", "one side"),
        ("check --receipt ''", "needs a run"),
    ] {
        refused(line, says);
    }
}

#[test]
fn what_changes_the_meaning_of_a_run_has_no_name_in_the_environment() {
    let command = command();
    for (verb, options) in [
        (
            "sync",
            &[
                "delete",
                "max_delete",
                "checksum",
                "dry_run",
                "backup_dir",
                "exclude",
                "include",
                "files_from",
            ][..],
        ),
        ("get", &["recursive", "dry_run", "exclude_from", "no_clobber"]),
        ("put", &["recursive", "dry_run", "mkdirs"]),
    ] {
        let verb = command.find_subcommand(verb).unwrap();
        for option in options {
            let known = verb.get_arguments().find(|arg| arg.get_id() == option);
            assert!(known.unwrap_or_else(|| panic!("{option}")).get_env().is_none(), "{option}");
        }
    }
}
