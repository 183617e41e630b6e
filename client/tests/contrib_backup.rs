//! The backup script that is shipped, with a stand-in for ftclient, and the units that start it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ft_protocol::RemotePath;
use ft_protocol::fs::{Filter, Rule};
use ftclient::cli::{CheckPlan, Direction, Plan, RuleSource, Selection, SyncPlan, parse};
use ftclient::exit::Exit;
use tempfile::TempDir;

const SERVICE: &str = include_str!("../contrib/ftclient-backup.service");
const TIMER: &str = include_str!("../contrib/ftclient-backup.timer");

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/ftclient-backup")
}

/// A directory to back up, and an ftclient that notes its words and ends as it is told.
struct Scene(TempDir);

impl Scene {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        for name in ["bin", "my files"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("my files/a"), "one").unwrap();
        let stub = "#!/bin/sh\nprintf '%s\\0' \"$@\" '' >> \"$STUB_WORDS\"\n\
            case $1 in sync) code=$STUB_SYNC ;; *) code=$STUB_CHECK; echo '* a' ;; esac\n\
            [ \"$1\" = check ] || echo '{\"type\":\"summary\",\"files\":3,\"failed\":1,\"skipped\":0,\"bytes\":42,\
            \"kept\":0,\"equal\":7,\"deleted\":2,\"dry_run\":false,\"verified\":3,\"seconds\":0.5,\"exit\":0}'\n\
            exit \"$code\"\n";
        let path = dir.path().join("bin/ftclient");
        fs::write(&path, stub).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs the script with these settings; ftclient ends with these codes.
    fn run(&self, settings: &str, sync: u8, check: u8) -> Output {
        let text =
            format!("BACKUP_SOURCE='{}'\nBACKUP_TARGET=nas:backup\n{settings}\n", self.path("my files"));
        fs::write(self.path("backup.conf"), text).unwrap();
        let path = format!("{}:{}", self.path("bin"), std::env::var("PATH").unwrap());
        let mut command = Command::new("/bin/sh");
        command.arg(script()).arg("backup.conf").current_dir(self.0.path()).env_clear();
        command.env("PATH", path).env("HOME", self.path("home")).env("STUB_WORDS", self.path("words"));
        command.env("STUB_SYNC", sync.to_string()).env("STUB_CHECK", check.to_string());
        command.output().unwrap()
    }

    /// The command lines that ftclient was given, as it understands them.
    fn plans(&self) -> Vec<Plan> {
        let words = fs::read_to_string(self.path("words")).unwrap();
        let lines = words.split_terminator("\0\0");
        let plan = |line: &str| {
            let words = std::iter::once("ftclient").chain(line.split('\0'));
            parse(words.map(Into::into)).unwrap_or_else(|stop| panic!("{line}: {stop:?}")).plan
        };
        lines.map(plan).collect()
    }

    fn sync(&self) -> SyncPlan {
        match self.plans().remove(0) {
            Plan::Sync(plan) => plan,
            other => panic!("{other:?}"),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn it_makes_the_target_equal_and_says_so_in_one_line() {
    let scene = Scene::new();
    let ran = scene.run("", 0, 0);
    assert_eq!(text(&ran.stderr), "");
    assert_eq!(ran.status.code(), Some(0));
    let source = scene.path("my files");
    assert_eq!(
        text(&ran.stdout),
        format!("backup of {source}: 3 transferred, 7 equal, 2 deleted, 1 failed, 42 bytes in 0.5 s\n")
    );
    let plan = scene.sync();
    assert_eq!((plan.direction, plan.local, plan.delete), (Direction::ToServer, source.into(), Some(1000)));
    assert!(!plan.dry_run && plan.backup.is_none() && plan.select.is_all() && plan.mkdirs);
    assert_eq!(scene.plans().len(), 1);
    let log = scene.path("home/.local/state/ftclient/backup.jsonl");
    assert_eq!(fs::metadata(log).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn its_settings_become_options() {
    let scene = Scene::new();
    let ran = scene.run(
        "BACKUP_KEEP=nas:old\nBACKUP_MAX_DELETE=5\nBACKUP_EXCLUDE_FROM='no such'\nBACKUP_DEADLINE=6h\nBACKUP_VERIFY=yes",
        0,
        0,
    );
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    let plan = scene.sync();
    assert_eq!((plan.delete, plan.select.rules.len()), (Some(5), 1));
    assert!(format!("{:?}", plan.backup.unwrap()).contains("old/2"), "under the time of the run");
    assert!(
        matches!(&scene.plans()[1], Plan::Check(CheckPlan::Trees { select, .. }) if select.rules.len() == 1)
    );
}

#[test]
fn it_leaves_out_what_changes_while_it_runs() {
    let scene = Scene::new();
    let home = "XDG_STATE_HOME=$BACKUP_SOURCE/st[a]te\nexport XDG_STATE_HOME\n";
    assert_eq!(scene.run(&format!("{home}BACKUP_VERIFY=yes"), 0, 0).status.code(), Some(0));
    let left_out = |select: &Selection| format!("{:?}", select.rules);
    let Plan::Check(CheckPlan::Trees { select, .. }) = &scene.plans()[1] else { panic!("no check") };
    assert_eq!(left_out(select), left_out(&scene.sync().select));
    let filter = scene.sync().select.rules.into_iter().map(|rule| match rule {
        RuleSource::Pattern { include, pattern } => Rule { include, pattern: pattern.into_vec() },
        RuleSource::File(file) => panic!("{file:?}"),
    });
    let filter = Filter::new(filter.collect()).unwrap();
    let excludes =
        |path: &str, is_dir| filter.excludes(&RemotePath::from_wire(path.as_bytes()).unwrap(), is_dir);
    assert!(
        excludes("st[a]te/ftclient", true) && !excludes("st[a]te", true) && !excludes("state/ftclient", true)
    );

    let scene = Scene::new();
    scene.run("BACKUP_LOG=\"$BACKUP_SOURCE/log\"", 0, 0);
    let rules = format!("{:?}", scene.sync().select.rules);
    assert!(rules.contains("\"/log\"") && rules.contains("\"/log.new.*\""), "{rules}");
}

#[test]
fn a_run_without_a_summary_is_no_success_and_leaves_no_log_of_its_own() {
    let scene = Scene::new();
    fs::write(scene.path("bin/ftclient"), "#!/bin/sh\nexit $STUB_SYNC\n").unwrap();
    assert_eq!(scene.run("", 0, 0).status.code(), Some(1));
    assert_eq!(scene.run("", 137, 0).status.code(), Some(137));
    let logs = fs::read_dir(scene.path("home/.local/state/ftclient")).unwrap();
    let logs: Vec<_> = logs.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(logs, ["backup.jsonl"]);
}

#[test]
fn its_exit_code_is_that_of_ftclient_with_a_reason() {
    for (code, says) in [
        (3, "some files failed; 3 transferred"),
        (5, "cannot be reached"),
        (8, "BACKUP_MAX_DELETE"),
        (11, "another run"),
        (12, "disk is full"),
        (6, "code 6"),
        (130, "code 130"),
    ] {
        let ran = Scene::new().run("BACKUP_VERIFY=yes", code, 0);
        assert_eq!(ran.status.code(), Some(code.into()));
        assert!(text(&ran.stderr).contains(says), "{}", text(&ran.stderr));
        assert_eq!(text(&ran.stdout), "");
    }
    let ran = Scene::new().run("BACKUP_VERIFY=yes", 0, 1);
    assert_eq!(ran.status.code(), Some(1));
    assert!(text(&ran.stderr).starts_with("* a\n"), "{}", text(&ran.stderr));
}

#[test]
fn an_empty_or_missing_source_is_no_order_to_delete_everything() {
    let scene = Scene::new();
    fs::create_dir(scene.path("empty")).unwrap();
    for (source, code) in [("empty", 4), ("missing", 4)] {
        let ran = scene.run(&format!("BACKUP_SOURCE='{}'", scene.path(source)), 0, 0);
        assert_eq!(ran.status.code(), Some(code), "{source}");
    }
    assert_eq!(scene.run("BACKUP_TARGET=", 0, 0).status.code(), Some(2));
    for (target, keep) in [("nas:backup", "nas:backup/old"), ("nas:a/", "nas:a//old"), ("nas:", "nas:old")] {
        let ran = scene.run(&format!("BACKUP_TARGET={target}\nBACKUP_KEEP={keep}"), 0, 0);
        assert_eq!(ran.status.code(), Some(2), "{target} {keep}");
    }
    assert!(!Path::new(&scene.path("words")).exists(), "ftclient was not started");
}

#[test]
fn every_shell_can_read_it() {
    for (shell, option) in
        [("/bin/sh", "-n"), ("dash", "-n"), ("bash", "-n"), ("busybox", "sh"), ("shellcheck", "-s")]
    {
        let mut command = Command::new(shell);
        match shell {
            "busybox" => command.args(["sh", "-n"]),
            "shellcheck" => command.args(["-s", "sh", "-e", "SC1090,SC1091"]),
            _ => command.arg(option),
        };
        match command.arg(script()).output() {
            Ok(ran) => assert!(ran.status.success(), "{shell}: {}{}", text(&ran.stdout), text(&ran.stderr)),
            Err(_) => eprintln!("skipped: no {shell} here"),
        }
    }
    assert_ne!(fs::metadata(script()).unwrap().permissions().mode() & 0o111, 0, "it can be executed");
}

fn values(unit: &'static str, key: &str) -> Vec<&'static str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn the_units_start_the_script_once_a_day_and_again_only_where_that_helps() {
    assert_eq!(values(SERVICE, "Type"), ["oneshot"]);
    assert_eq!(values(SERVICE, "ExecStart"), ["/usr/local/bin/ftclient-backup %E/ftclient/backup.conf"]);
    assert_eq!(values(SERVICE, "Restart"), ["on-failure"]);
    let final_ones = Exit::ALL.iter().filter(|exit| !exit.is_ok() && !exit.is_temporary());
    let final_ones: Vec<String> = final_ones.map(|exit| exit.code().to_string()).collect();
    assert_eq!(values(SERVICE, "RestartPreventExitStatus"), [final_ones.join(" ")]);
    assert_eq!(values(TIMER, "Persistent"), ["true"]);
    assert_eq!(values(TIMER, "WantedBy"), ["timers.target"]);
}

#[test]
fn systemd_understands_the_units() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("skipped: no systemd-analyze here");
        return;
    }
    let dir = TempDir::new().unwrap();
    let (service, timer) =
        (dir.path().join("ftclient-backup.service"), dir.path().join("ftclient-backup.timer"));
    // With a program that exists, as the unit is checked before the script is installed.
    fs::write(&service, SERVICE.replace("/usr/local/bin/ftclient-backup", "/bin/sh")).unwrap();
    fs::write(&timer, TIMER).unwrap();
    let ran = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&service)
        .arg(&timer)
        .output()
        .unwrap();
    let said = text(&ran.stderr);
    // Units of the machine are none of ours.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("ftclient-backup")).collect();
    assert!(ran.status.success() && ours.is_empty(), "{said}");
}
