//! The systemd unit that is shipped: it starts what we built, and keeps it locked in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use ftserver::cli::{Cli, Command as Subcommand};

const UNIT: &str = include_str!("../contrib/ftserver.service");

fn values(key: &str) -> Vec<&'static str> {
    UNIT.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn its_command_line_is_ours() {
    let lines = values("ExecStart");
    assert_eq!(lines.len(), 1);
    let cli = Cli::try_parse_from(lines.concat().split_whitespace()).unwrap();
    let state = cli.state.unwrap();
    let Subcommand::Serve(args) = cli.command else { panic!("not serve") };
    let root = args.root.unwrap();
    assert!(!args.listen.unwrap().ip().is_loopback());
    // The sandbox must let it write exactly what the command line names.
    assert_eq!(values("ReadWritePaths"), [root.to_str().unwrap()]);
    assert_eq!(state, Path::new("/var/lib").join(values("StateDirectory").concat()));
}

#[test]
fn the_sandbox_is_on() {
    for (key, value) in [
        ("Type", "notify"),
        ("User", "ftserver"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("CapabilityBoundingSet", ""),
        ("AmbientCapabilities", ""),
        ("RestrictSUIDSGID", "yes"),
        ("RestrictNamespaces", "yes"),
        ("SystemCallFilter", "@system-service"),
        ("StateDirectoryMode", "0700"),
        ("KillSignal", "SIGTERM"),
    ] {
        assert_eq!(values(key), [value], "{key}");
    }
    let stop: u64 = values("TimeoutStopSec").concat().parse().unwrap();
    assert!(stop > ftserver::config::Limits::default().drain_timeout.as_secs(), "it must have time to drain");
}

#[test]
fn systemd_understands_it() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("skipped: no systemd-analyze here");
        return;
    }
    // With a program that exists, as the unit is checked before the server is installed.
    let dir = tempfile::tempdir().unwrap();
    let unit: PathBuf = dir.path().join("ftserver.service");
    let program = env!("CARGO_BIN_EXE_ftserver");
    std::fs::write(&unit, UNIT.replace("/usr/local/bin/ftserver", program)).unwrap();
    let output = Command::new("systemd-analyze").arg("verify").arg(&unit).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("ftserver.service")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}
