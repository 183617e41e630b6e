//! Commands on a terminal of their own.

use ftserver::process::{Ended, Running};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Mark, ended, launcher, line_with, output, sh, spec, terminal, until};

#[tokio::test]
async fn all_three_streams_are_a_terminal_that_controls_the_session() {
    let script = "test -t 0 && test -t 1 && test -t 2 && stty size </dev/tty && tty && cut -d' ' -f8 /proc/$$/stat && echo $$";
    let (ended, out, _) = output(terminal(sh(script))).await;
    assert_eq!(ended, Ended::Exited(0));
    let out = String::from_utf8(out).unwrap();
    let lines: Vec<&str> = out.lines().map(str::trim).collect();
    assert_eq!(lines[0], "33 101");
    assert!(lines[1].starts_with("/dev/pts/"), "{out}");
    assert_eq!(lines[2], lines[3], "it is in the foreground");
}

#[tokio::test]
async fn a_new_size_reaches_the_program() {
    let script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done";
    let Running { mut stdout, mut supervisor, stdin: _stdin, .. } =
        launcher().start(terminal(sh(script))).await.unwrap();
    line_with(&mut stdout, "ready").await;
    supervisor.resize(50, 120).unwrap();
    line_with(&mut stdout, "50 120").await;
    assert_eq!(ended(&mut supervisor).await, Ended::Exited(0));
}

#[tokio::test]
async fn what_is_typed_arrives_and_the_keys_mean_what_they_do() {
    for (keys, expected) in [(b"\x04".as_slice(), Ended::Exited(0)), (b"\x03", Ended::Signalled(2))] {
        let Running { stdin, mut stdout, mut supervisor, .. } =
            launcher().start(terminal(spec(&["cat"]))).await.unwrap();
        let mut stdin = stdin.unwrap();
        stdin.write_all(b"hello\n").await.unwrap();
        // Once from the terminal's echo, once from cat.
        line_with(&mut stdout, "hello").await;
        line_with(&mut stdout, "hello").await;
        stdin.write_all(keys).await.unwrap();
        let mut rest = Vec::new();
        stdout.read_to_end(&mut rest).await.unwrap();
        assert_eq!(ended(&mut supervisor).await, expected);
    }
}

#[tokio::test]
async fn much_output_arrives_whole() {
    let (ended, out, _) = output(terminal(sh("stty -opost; seq 1 200000"))).await;
    assert_eq!(ended, Ended::Exited(0));
    let expected: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    assert!(out == expected.as_bytes(), "{} of {}", out.len(), expected.len());
}

#[tokio::test]
async fn a_client_that_goes_hangs_up() {
    let dir = tempfile::tempdir().unwrap();
    let (mark, note) = (Mark::new(), dir.path().join("note"));
    let script = format!(
        "trap '' TERM; trap 'echo hup >{}; exit' HUP; echo ready; while :; do sleep 0.05; done",
        note.display()
    );
    let mut running = launcher().start(mark.on(terminal(sh(&script)))).await.unwrap();
    line_with(&mut running.stdout, "ready").await;
    drop(running);
    until("the hangup was noted", || std::fs::read_to_string(&note).is_ok_and(|text| text == "hup\n")).await;
    mark.until_gone().await;
}

#[tokio::test]
async fn an_interactive_shell_ends_by_itself() {
    // It ignores SIGTERM; were it killed, the trap would not run.
    let script = "trap 'exit 5' HUP; trap '' TERM; echo ready; while :; do sleep 0.05; done";
    let Running { mut stdout, mut supervisor, stdin: _stdin, .. } =
        launcher().start(terminal(sh(script))).await.unwrap();
    line_with(&mut stdout, "ready").await;
    supervisor.end();
    assert_eq!(ended(&mut supervisor).await, Ended::Exited(5));
}
