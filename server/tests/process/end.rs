//! Nothing of a command outlives it, its client or the server.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use ftserver::process::{Ended, Running, Spec};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt;

use crate::inner::inner;
use crate::support::{Mark, ended, launcher, line_with, output, sh};

/// Everything that tries to get away, with 9 of `sleep`.
const RUNAWAYS: &str = r#"
    setsid sleep 1000 &
    setsid sh -c 'setsid sleep 1000 & sleep 1000' &
    nohup sleep 1000 >/dev/null 2>&1 &
    (sleep 1000 &)
    (trap '' HUP TERM INT; setsid sleep 1000 & sleep 1000) &
    sh -c 'kill -STOP $$; :' &
    sh -c 'trap "" TERM; while :; do sleep 1000; done' &
    sleep 1000
"#;

async fn runaways(mark: &Mark) -> Running {
    let running = launcher().start(mark.on(sh(RUNAWAYS))).await.unwrap();
    mark.until_running("sleep", 9).await;
    for sleep in mark.alive("sleep").into_iter().step_by(3) {
        kill_process(Pid::from_raw(sleep).unwrap(), Signal::STOP).unwrap();
    }
    running
}

#[tokio::test]
async fn an_end_ends_everything() {
    let mark = Mark::new();
    let mut running = runaways(&mark).await;
    running.supervisor.end();
    assert_eq!(ended(&mut running.supervisor).await, Ended::Signalled(15));
    assert_eq!(mark.alive(""), [0i32; 0]);
    assert_eq!(ended(&mut running.supervisor).await, Ended::Signalled(15), "asked again");
}

#[tokio::test]
async fn a_drop_ends_everything() {
    let mark = Mark::new();
    drop(runaways(&mark).await);
    mark.until_gone().await;
}

#[tokio::test]
async fn a_server_that_is_killed_leaves_nothing() {
    let mark = Mark::new();
    let mut server = inner(":", "hold", &mark).spawn().unwrap();
    let stdout = server.stdout.take().unwrap();
    let ready =
        tokio::task::spawn_blocking(|| BufReader::new(stdout).lines().any(|line| line.unwrap() == "ready"));
    assert!(ready.await.unwrap());
    mark.until_running("sleep", 2).await;
    server.kill().unwrap();
    server.wait().unwrap();
    mark.until_gone().await;
}

#[tokio::test]
async fn a_command_may_end_in_its_own_way() {
    let script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 1000 & wait; done";
    let Running { mut stdout, mut supervisor, .. } = launcher().start(sh(script)).await.unwrap();
    line_with(&mut stdout, "ready").await;
    supervisor.end();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "bye\n");
    assert_eq!(ended(&mut supervisor).await, Ended::Exited(3));
}

#[tokio::test]
async fn what_a_command_leaves_running_ends_with_it() {
    let mark = Mark::new();
    let left = "setsid sleep 1000 & sleep 1000 & (trap '' TERM; setsid sleep 1000 &) & exit 4";
    assert_eq!(output(mark.on(sh(left))).await.0, Ended::Exited(4));
    assert_eq!(mark.alive(""), [0i32; 0]);
}

#[tokio::test]
async fn the_rest_of_a_pipeline_may_finish() {
    let (ended, out, _) = output(sh("(sleep 0.1; echo late) & echo early")).await;
    assert_eq!((ended, out.as_slice()), (Ended::Exited(0), b"early\nlate\n".as_slice()));
}

#[tokio::test]
async fn a_crowd_that_takes_no_signal_ends() {
    let mark = Mark::new();
    let crowd = "trap '' TERM; i=0; while [ $i -lt 100 ]; do setsid sleep 1000 & i=$((i+1)); done; wait";
    let mut running = launcher().start(mark.on(sh(crowd))).await.unwrap();
    mark.until_running("sleep", 100).await;
    running.supervisor.end();
    assert_eq!(ended(&mut running.supervisor).await, Ended::Signalled(9));
    assert_eq!(mark.alive(""), [0i32; 0]);
}

#[tokio::test]
async fn a_storm_of_forks_ends() {
    let mark = Mark::new();
    // Each generation starts the next and goes: at any moment another few processes.
    let storm = "trap '' TERM; f() { (sleep 0.01; f) & }; f; f; f; f; echo ready; sleep 1000 & wait $!";
    let mut running = launcher().start(mark.on(sh(storm))).await.unwrap();
    line_with(&mut running.stdout, "ready").await;
    running.supervisor.end();
    assert_eq!(ended(&mut running.supervisor).await, Ended::Signalled(9));
    assert_eq!(mark.alive(""), [0i32; 0]);
}

#[tokio::test]
async fn to_wait_is_cancel_safe() {
    let Running { mut stdout, mut supervisor, .. } =
        launcher().start(sh("echo ready; sleep 1000")).await.unwrap();
    line_with(&mut stdout, "ready").await;
    for _ in 0..20 {
        let waited = tokio::time::timeout(Duration::from_millis(1), supervisor.ended()).await;
        assert!(waited.is_err(), "{waited:?}");
    }
    supervisor.end();
    supervisor.end();
    assert_eq!(ended(&mut supervisor).await, Ended::Signalled(15));
}

#[tokio::test]
async fn a_supervisor_that_is_killed_is_an_error() {
    let mark = Mark::new();
    let given: Spec = mark.on(sh("echo $PPID pid; exec sleep 1000"));
    let Running { mut stdout, mut supervisor, .. } = launcher().start(given).await.unwrap();
    let line = line_with(&mut stdout, "pid").await;
    kill_process(first_pid(&line), Signal::KILL).unwrap();
    let error = supervisor.ended().await.unwrap_err();
    assert!(error.to_string().contains("supervisor of the command was killed"), "{error}");
    for left in mark.alive("") {
        kill_process(Pid::from_raw(left).unwrap(), Signal::KILL).unwrap();
    }
    mark.until_gone().await;
}

#[tokio::test]
async fn a_supervisor_that_is_asked_to_end_ends_its_command() {
    let mark = Mark::new();
    let given: Spec = mark.on(sh("echo $PPID pid; setsid sleep 1000 & sleep 1000"));
    let Running { mut stdout, mut supervisor, .. } = launcher().start(given).await.unwrap();
    let line = line_with(&mut stdout, "pid").await;
    mark.until_running("sleep", 2).await;
    kill_process(first_pid(&line), Signal::TERM).unwrap();
    assert_eq!(ended(&mut supervisor).await, Ended::Signalled(15));
    assert_eq!(mark.alive(""), [0i32; 0]);
}

fn first_pid(line: &str) -> Pid {
    Pid::from_raw(line.split(' ').next().unwrap().parse().unwrap()).unwrap()
}
