//! How commands end: by limits, with their clients, with the server; and that nothing is left of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, reason = "not every test needs all of it")]
#[path = "common/commands.rs"]
mod commands;

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use commands::{PATIENCE, builder, exec, finish, limited, read, run, shell, start};
use ft_protocol::Status;
use ft_protocol::exec::Stream;
use ft_protocol::wire::Message;
use ft_protocol::wire::message::Stat;
use ft_tests::peer::RawPeer;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

#[tokio::test]
async fn a_limit_of_output_is_exact_and_said() {
    let (_server, mut peer) = limited("output_limit = '100000'").await;
    let came = run(&mut peer, 1, exec(&["yes"])).await;
    assert_eq!(came.out.len(), 100_000);
    assert_eq!(came.end.status, Status::Limit as u32);
    assert!(came.exit.is_some() && came.end.message.contains("100000"), "{:?}", came.end);
    let came = run(&mut peer, 2, exec(&["head", "-c", "100000", "/dev/zero"])).await;
    assert_eq!(
        (came.out.len(), came.status()),
        (100_000, (Some(0), Status::Ok)),
        "exactly the limit is allowed"
    );
}

#[tokio::test]
async fn a_limit_of_time_ends_a_command_and_is_said() {
    let (_server, mut peer) = limited("time_limit = '1s'").await;
    let came = run(&mut peer, 1, exec(&["sh", "-c", "echo begun; sleep 1000"])).await;
    // On a slow machine the second is over before the shell wrote anything.
    assert!("begun\n".starts_with(came.text()), "{}", came.text());
    assert_eq!(came.end.status, Status::Limit as u32);
    assert!(came.exit.is_some() && came.end.message.contains("1s"), "{:?}", came.end);
}

#[tokio::test]
async fn a_limit_that_the_kernel_keeps_is_said() {
    let (_server, mut peer) = limited("limits = { cpu_time = '1s', file_size = '1000' }").await;
    for (op, line, said) in [
        (1, "while :; do :; done", "1 s of processor time"),
        (2, "exec head -c 2000 /dev/zero > f", "1000 bytes"),
    ] {
        let came = run(&mut peer, op, exec(&["sh", "-c", line])).await;
        assert_eq!(came.end.status, Status::Limit as u32, "{line}: {came:?}");
        assert!(came.exit.is_some() && came.end.message.contains(said), "{:?}", came.end);
    }
}

#[tokio::test]
async fn who_cancels_cannot_hide_that_a_limit_was_passed() {
    let (_server, mut peer) = limited("output_limit = '10'").await;
    // It ignores the end, so that there is time to cancel.
    let line = "trap '' TERM; echo 0123456789; while :; do sleep 0.05; done";
    peer.send(1, exec(&["sh", "-c", line])).await.unwrap();
    assert_eq!(read(&mut peer, Stream::Stdout, 10).await, 10);
    peer.send(1, Message::Cancel).await.unwrap();
    let came = finish(&mut peer, 1).await;
    assert_eq!(came.end.status, Status::Limit as u32, "{:?}", came.end);
}

#[tokio::test]
async fn a_start_that_hangs_can_be_cancelled() {
    let place = tempfile::tempdir().unwrap();
    let hangs = place.path().join("hangs");
    // As a program on a file system whose server is gone.
    fs::write(&hangs, "#!/bin/sh\nexec cat > /dev/null\n").unwrap();
    fs::set_permissions(&hangs, fs::Permissions::from_mode(0o755)).unwrap();
    let server = builder().supervisor(&hangs).start().await;
    let mut peer = RawPeer::logged_in(&server).await;
    peer.send(1, exec(&["true"])).await.unwrap();
    peer.send(1, Message::Cancel).await.unwrap();
    let came = finish(&mut peer, 1).await;
    assert_eq!((came.started, came.status()), (false, (None, Status::Cancelled)));
    assert_eq!(peer.status(2, Stat::default()).await, Status::Ok);
}

/// Waits until these processes have ended.
async fn ended(processes: Vec<OwnedFd>) {
    let waiting = tokio::task::spawn_blocking(move || {
        for process in &processes {
            let wait = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
            let ended = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&wait)).unwrap();
            assert_eq!(ended, 1, "a process lives on");
        }
    });
    waiting.await.unwrap();
}

fn hold(pid: &str) -> OwnedFd {
    pidfd_open(Pid::from_raw(pid.parse().unwrap()).unwrap(), PidfdFlags::empty()).unwrap()
}

/// Numbers of three processes, one of them in a session of its own, that wait for ever.
async fn tree(peer: &mut RawPeer) -> Vec<String> {
    let line = "setsid sh -c 'echo $$; exec sleep 1000' & sleep 1000 & echo $!; echo $$; wait";
    peer.send(1, shell(line)).await.unwrap();
    let mut out = Vec::new();
    while out.iter().filter(|byte| **byte == b'\n').count() < 3 {
        match peer.next().await.unwrap().1 {
            Message::Stdout(bytes) => out.extend_from_slice(&bytes),
            Message::Started => {}
            other => panic!("{other:?}"),
        }
    }
    String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_client_that_goes_takes_the_whole_tree_along() {
    let (_server, mut peer) = start().await;
    let pids = tree(&mut peer).await;
    let processes = pids.iter().map(|pid| hold(pid)).collect();
    drop(peer);
    ended(processes).await;
}

/// Processes whose command line holds this.
fn running(marker: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok).filter(|entry| {
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        words.windows(marker.len()).any(|window| window == marker.as_bytes())
    });
    processes.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// Children of this process that have ended and that nobody waited for.
fn zombies() -> usize {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok).filter(|entry| {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        stat.contains(&format!(" Z {} ", std::process::id()))
    });
    processes.count()
}

/// 20 of them; with FT_SOAK=1 as many as must leave nothing behind within six seconds. Nothing is measured
/// here but that nothing stays.
#[tokio::test]
async fn clients_that_go_again_and_again_leave_nothing_behind() {
    let rounds = if std::env::var_os("FT_SOAK").is_some_and(|value| value == "1") { 500 } else { 20 };
    let server = builder().start().await;
    // A number of seconds that nothing else on this machine sleeps.
    let marker = format!("{}", 1_000_000 + u64::from(std::process::id()));
    for _ in 0..rounds {
        let mut peer = RawPeer::logged_in(&server).await;
        peer.send(1, shell(&format!("setsid sleep {marker} & sleep {marker}"))).await.unwrap();
        assert!(matches!(peer.next().await, Some((1, Message::Started))));
    }
    let end = Instant::now() + PATIENCE;
    while !running(&marker).is_empty() {
        assert!(Instant::now() < end, "{:?} live on", running(&marker));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // A supervisor ends after its command, and is waited for after that.
    while zombies() > 0 {
        assert!(Instant::now() < end, "supervisors that nobody waited for");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_server_that_stops_takes_the_whole_tree_along() {
    let (server, mut peer) = start().await;
    let pids = tree(&mut peer).await;
    let processes = pids.iter().map(|pid| hold(pid)).collect();
    drop(server);
    ended(processes).await;
}

#[tokio::test]
async fn cancel_ends_the_whole_tree_before_it_is_answered() {
    let (_server, mut peer) = start().await;
    let pids = tree(&mut peer).await;
    peer.send(1, Message::Cancel).await.unwrap();
    assert_eq!(finish(&mut peer, 1).await.end.status, Status::Cancelled as u32);
    assert!(pids.iter().all(|pid| !Path::new("/proc").join(pid).exists()), "{pids:?}");
    assert_eq!(run(&mut peer, 2, exec(&["true"])).await.status(), (Some(0), Status::Ok));
}

#[tokio::test]
async fn what_runs_on_in_the_background_ends_with_its_command() {
    let (_server, mut peer) = start().await;
    let came = run(&mut peer, 1, shell("setsid sleep 1000 & echo $!")).await;
    assert_eq!(came.status(), (Some(0), Status::Ok));
    assert!(!Path::new("/proc").join(came.text().trim()).exists());
}
