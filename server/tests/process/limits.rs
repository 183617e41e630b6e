//! What bounds a command, and whose rights it has.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;

use ft_protocol::Status;
use ftserver::process::{Ended, Io, ProcessLimits, RunAs};

use crate::support::{Mark, ended, field, launcher, output, sh, spec, text};

const NOBODY: u32 = 65534;

fn nobody() -> Option<RunAs> {
    Some(RunAs { uid: NOBODY, gid: NOBODY, groups: vec![NOBODY, 12345] })
}

/// Becoming another user is root's.
fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED {test}: needs root");
    }
    root
}

#[tokio::test]
async fn limits_are_the_kernels() {
    let mut given = spec(&["cat", "/proc/self/limits"]);
    given.limits = ProcessLimits {
        processes: Some(4000),
        memory: Some(512 << 20),
        cpu_seconds: Some(7),
        file_size: Some(4096),
        open_files: Some(99),
    };
    let limits = text(given).await;
    let pair = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let mut words = line.split_whitespace();
        (words.next().unwrap().to_owned(), words.next().unwrap().to_owned())
    };
    for (name, soft, hard) in [
        ("Max processes", "4000", "4000"),
        ("Max address space", "536870912", "536870912"),
        ("Max cpu time", "7", "8"),
        ("Max file size", "4096", "4096"),
        ("Max open files", "99", "99"),
        ("Max core file size", "0", "0"),
    ] {
        assert_eq!(pair(name), (soft.to_owned(), hard.to_owned()), "{name}");
    }
}

#[tokio::test]
async fn a_limit_is_never_above_the_servers() {
    let mut given = sh("ulimit -H -n");
    given.limits.open_files = Some(u64::MAX - 1);
    let servers = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap();
    assert_eq!(text(given).await, format!("{servers}\n"));
}

#[tokio::test]
async fn too_much_processor_time_ends_with_the_signal_that_says_so() {
    let mut given = sh("while :; do :; done");
    given.limits.cpu_seconds = Some(1);
    assert_eq!(output(given).await.0, Ended::Signalled(24));
}

#[tokio::test]
async fn too_little_memory_ends_it_and_is_no_hang() {
    let mut given = sh("exit 0");
    given.limits.memory = Some(1 << 20);
    match launcher().start(given).await {
        Ok(mut running) => assert_ne!(ended(&mut running.supervisor).await, Ended::Exited(0)),
        Err(error) => assert_eq!(error.status(), Status::Unavailable, "{error}"),
    }
}

#[tokio::test]
async fn new_privileges_only_where_they_were_allowed() {
    for (allowed, expected) in [(true, "0"), (false, "1")] {
        let mut given = spec(&["cat", "/proc/self/status"]);
        given.new_privileges = allowed;
        assert_eq!(field(&text(given).await, "NoNewPrivs"), expected);
    }
}

#[tokio::test]
async fn another_user_is_taken_on_for_good() {
    if !is_root("another_user_is_taken_on_for_good") {
        return;
    }
    let mut given = spec(&["cat", "/proc/self/status"]);
    given.run_as = nobody();
    let status = text(given).await;
    assert_eq!(field(&status, "Uid"), "65534\t65534\t65534\t65534");
    assert_eq!(field(&status, "Gid"), "65534\t65534\t65534\t65534");
    assert_eq!(field(&status, "Groups"), "12345 65534");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(field(&status, set), "0000000000000000", "{set}");
    }
}

#[tokio::test]
async fn another_user_takes_root() {
    if rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED another_user_takes_root: is root");
        return;
    }
    let mut given = spec(&["true"]);
    given.run_as = Some(RunAs { uid: 1, gid: 1, groups: vec![1] });
    let error = launcher().start(given).await.unwrap_err();
    assert_eq!(error.status(), Status::PermissionDenied);
    assert!(error.to_string().contains("a server that is root"), "{error}");
}

#[tokio::test]
async fn the_servers_own_user_takes_nothing() {
    use rustix::process::{getegid, geteuid, getgroups};
    let mut given = spec(&["id", "-u"]);
    let groups = getgroups().unwrap().iter().map(|gid| gid.as_raw()).collect();
    given.run_as = Some(RunAs { uid: geteuid().as_raw(), gid: getegid().as_raw(), groups });
    assert_eq!(text(given).await, format!("{}\n", geteuid().as_raw()));
}

#[tokio::test]
async fn another_user_starts_only_where_it_may_enter() {
    if !is_root("another_user_starts_only_where_it_may_enter") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let mut given = spec(&["true"]);
    given.cwd = File::open(dir.path()).unwrap();
    given.run_as = nobody();
    let error = launcher().start(given).await.unwrap_err();
    assert_eq!(error.status(), Status::PermissionDenied);
    assert!(error.to_string().contains("working directory"), "{error}");
}

#[tokio::test]
async fn another_user_owns_its_terminal_and_ends_with_all_it_started() {
    if !is_root("another_user_owns_its_terminal_and_ends_with_all_it_started") {
        return;
    }
    let mut given = sh("stat -c %u \"$(tty)\"; echo >\"$(tty)\" && echo writable");
    given.io = Io::Terminal { rows: 1, columns: 1 };
    given.run_as = nobody();
    assert_eq!(text(given).await.split_whitespace().collect::<Vec<_>>(), ["65534", "writable"]);

    let mark = Mark::new();
    let mut given = mark.on(sh("setsid sleep 1000 & sleep 1000"));
    given.run_as = nobody();
    let mut running = launcher().start(given).await.unwrap();
    mark.until_running("sleep", 2).await;
    running.supervisor.end();
    assert_eq!(ended(&mut running.supervisor).await, Ended::Signalled(15));
    assert!(mark.alive("").is_empty());
}
