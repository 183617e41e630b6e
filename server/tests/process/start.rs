//! What a command finds when it starts, and what becomes of one that cannot.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use ft_protocol::Status;
use ftserver::process::{Ended, Io, Running, Spec};
use nix::sys::signal::SigSet;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::inner::inner;
use crate::support::{Mark, ended, field, launcher, line_with, output, sh, spec, text, until};

#[tokio::test]
async fn the_environment_is_what_was_given_and_nothing_more() {
    let mut given = spec(&["env", "-0"]);
    given.env.push(("EMPTY".into(), "".into()));
    given.env.push(("WORDS".into(), "a b\nc=d".into()));
    given.env.push((OsString::from_vec(b"\xffN".to_vec()), OsString::from_vec(b"\xfe".to_vec())));
    let mut expected: Vec<Vec<u8>> =
        given.env.iter().map(|(name, value)| [name.as_bytes(), value.as_bytes()].join(&b'=')).collect();
    let (ended, out, _) = output(given).await;
    assert_eq!(ended, Ended::Exited(0));
    let mut found: Vec<Vec<u8>> = out.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    assert_eq!(found.pop(), Some(Vec::new()));
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn no_descriptor_but_the_three_streams_reaches_a_command() {
    // As if whoever started the server had left it one.
    let left = File::open("/dev/zero").unwrap();
    rustix::io::fcntl_setfd(&left, rustix::io::FdFlags::empty()).unwrap();
    for io in [Io::Pipes { stdin: true }, Io::Pipes { stdin: false }, Io::Terminal { rows: 1, columns: 1 }] {
        let mut given = sh("echo $$ pid; exec sleep 1000");
        given.io = io;
        let Running { stdin: _stdin, mut stdout, mut supervisor, .. } =
            launcher().start(given).await.unwrap();
        let line = line_with(&mut stdout, "pid").await;
        let pid = line.split(' ').next().unwrap();
        until("the shell became sleep", || {
            fs::read_to_string(format!("/proc/{pid}/comm")).unwrap() == "sleep\n"
        })
        .await;
        let mut open: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        open.sort();
        assert_eq!(open, ["0", "1", "2"], "{io:?}");
        supervisor.end();
        ended(&mut supervisor).await;
    }
}

#[test]
fn arguments_arrive_as_they_were_given() {
    let cases = if std::env::var_os("FT_SOAK").is_some() { 10_000 } else { 100 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let byte = prop_oneof![4 => 1u8.., 1 => prop::sample::select(b" '\"\\$`*;-\n\x1b\xff".to_vec())];
    let argument = prop_oneof![
        8 => prop::collection::vec(byte, 0..40),
        1 => Just(b"--help".to_vec()),
        1 => Just(Vec::new()),
    ];
    let lists = prop::collection::vec(argument, 1..12);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let arrive = |list: Vec<Vec<u8>>| {
        let mut given = spec(&["printf", "%s\\0"]);
        given.argv.extend(list.iter().cloned().map(OsString::from_vec));
        let (ended, out, _) = runtime.block_on(output(given));
        prop_assert_eq!(ended, Ended::Exited(0));
        prop_assert_eq!(ft_protocol::exec::split(&out).unwrap(), list);
        Ok(())
    };
    TestRunner::new(config).run(&lists, arrive).unwrap();
}

#[tokio::test]
async fn a_long_list_of_arguments_arrives() {
    // More than a socket takes at once.
    let words: Vec<String> = (0..6000).map(|number| format!("{number:090}")).collect();
    let mut given = spec(&["printf", "%s\\0"]);
    given.argv.extend(words.iter().map(OsString::from));
    let (ended, out, _) = output(given).await;
    assert_eq!(ended, Ended::Exited(0));
    assert_eq!(out, ft_protocol::exec::join(&words).unwrap());
}

#[tokio::test]
async fn status_and_signal_are_told() {
    for (script, expected) in [
        ("exit 0", Ended::Exited(0)),
        ("exit 7", Ended::Exited(7)),
        ("exit 255", Ended::Exited(255)),
        ("kill -KILL $$", Ended::Signalled(9)),
        ("kill -PIPE $$", Ended::Signalled(13)),
    ] {
        assert_eq!(output(sh(script)).await.0, expected, "{script}");
    }
}

#[tokio::test]
async fn standard_input_is_a_pipe_or_nothing() {
    assert_eq!(text(sh("cat; readlink /proc/self/fd/0")).await, "/dev/null\n");
    let mut given = spec(&["cat"]);
    given.io = Io::Pipes { stdin: true };
    let Running { stdin, mut stdout, mut supervisor, .. } = launcher().start(given).await.unwrap();
    let sent: Vec<u8> = (0..1_000_000u32).map(|number| (number % 251) as u8).collect();
    let mut stdin = stdin.unwrap();
    let write = async {
        stdin.write_all(&sent).await.unwrap();
        stdin.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    let ((), read) = tokio::join!(write, stdout.read_to_end(&mut received));
    read.unwrap();
    assert!(received == sent);
    assert_eq!(ended(&mut supervisor).await, Ended::Exited(0));
}

#[tokio::test]
async fn outputs_are_apart() {
    let (_, out, err) = output(sh("echo out; echo err >&2")).await;
    assert_eq!((out.as_slice(), err.as_slice()), (b"out\n".as_slice(), b"err\n".as_slice()));
}

#[tokio::test]
async fn it_runs_in_its_directory_with_the_usual_mask() {
    let dir = tempfile::tempdir().unwrap();
    let mut given = sh("pwd -P; umask");
    given.cwd = File::open(dir.path()).unwrap();
    assert_eq!(text(given).await, format!("{}\n0022\n", dir.path().canonicalize().unwrap().display()));
}

#[tokio::test]
async fn a_program_is_looked_for_in_the_path_of_its_environment() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("only-here");
    fs::write(&program, "#!/bin/sh\necho found as \"$0\"\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut given = spec(&["only-here"]);
    given.env = vec![("PATH".into(), format!("/nowhere:{}", dir.path().display()).into())];
    assert_eq!(text(given).await, format!("found as {}\n", program.display()));
}

#[tokio::test]
async fn what_cannot_run_is_named_and_not_started() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("data"), "no program").unwrap();
    let data = dir.path().join("data").display().to_string();
    let directory = dir.path().display().to_string();
    for (program, status, words) in [
        ("no-such\x1b[2J", Status::NotFound, r"no-such\x1b[2J: no such program in the PATH"),
        ("/no/such", Status::NotFound, "/no/such: no such program"),
        ("", Status::NotFound, "no such program"),
        (data.as_str(), Status::PermissionDenied, "not a program that the server may execute"),
        (directory.as_str(), Status::PermissionDenied, "not a program that the server may execute"),
    ] {
        let mark = Mark::new();
        let error = launcher().start(mark.on(spec(&[program, "argument"]))).await.unwrap_err();
        assert_eq!(error.status(), status, "{program:?}: {error}");
        assert!(error.to_string().contains(words), "{error}");
        mark.until_gone().await;
    }
}

#[tokio::test]
async fn a_name_of_any_length_is_not_repeated_in_full() {
    for first in ["x", "\x1b", "/x"] {
        let program = first.repeat(50_000);
        let error = launcher().start(spec(&[&program])).await.unwrap_err();
        assert!(error.to_string().len() < 10_000 && error.to_string().contains("bytes in all"), "{first:?}");
    }
}

#[tokio::test]
async fn a_list_too_long_for_the_system_is_said_to_be() {
    let mut given = spec(&["true"]);
    given.argv.push("x".repeat(200_000).into());
    let error = launcher().start(given).await.unwrap_err();
    assert_eq!(error.status(), Status::Invalid);
    assert!(error.to_string().starts_with("true: arguments and environment are longer"), "{error}");
}

#[tokio::test]
async fn a_launcher_without_its_program_is_an_error() {
    let nowhere = ftserver::process::Launcher::new("/no/such/server".into());
    assert_eq!(nowhere.start(spec(&["true"])).await.unwrap_err().status(), Status::NotFound);
    let other = ftserver::process::Launcher::new("/bin/true".into());
    assert!(other.start(spec(&["true"])).await.is_err());
}

#[tokio::test]
async fn signals_arrive_although_whoever_started_the_server_blocked_them() {
    // Of this thread alone, which starts the supervisor.
    SigSet::all().thread_block().unwrap();

    let ran = timeout(Duration::from_secs(60), text(sh("grep SigBlk /proc/self/status"))).await;
    SigSet::empty().thread_set_mask().unwrap();
    assert_eq!(ran.expect("its end is noticed"), "SigBlk:\t0000000000000000\n");
}

#[tokio::test]
async fn signals_are_as_usual_whatever_the_server_ignores() {
    let status = tokio::task::spawn_blocking(|| {
        let run = inner("trap '' HUP INT QUIT USR1 PIPE XFSZ", "status", &Mark::new()).output().unwrap();
        String::from_utf8(run.stdout).unwrap()
    });
    let status = status.await.unwrap();
    for name in ["SigBlk", "SigIgn", "SigCgt"] {
        // Without 32 and 33, which are glibc's own: whoever ignores them, no program of it can change that.
        let signals = u64::from_str_radix(field(&status, name), 16).unwrap() & !0x1_8000_0000;
        assert_eq!(signals, 0, "{name}: {signals:x}");
    }
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_nothing() {
    let mark = Mark::new();
    for _ in 0..5 {
        let spec: Spec = mark.on(sh("setsid sleep 1000 & sleep 1000"));
        let launcher = launcher();
        let start = launcher.start(spec);
        tokio::select! {
            biased;
            _ = start => {}
            () = tokio::task::yield_now() => {}
        }
    }
    mark.until_gone().await;
}
