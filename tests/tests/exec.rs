//! Commands, frame by frame: what runs, what it is told, and what a client may not do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, reason = "not every test needs all of it")]
#[path = "common/commands.rs"]
mod commands;

use std::fs;

use bytes::Bytes;
use commands::{builder, exec, finish, limited, read, run, shell, start, terminal};
use ft_protocol::Status;
use ft_protocol::auth::Rights;
use ft_protocol::exec::{Stream, WINDOW};
use ft_protocol::wire::Message;
use ft_protocol::wire::message::{Credit, Exec, Exit, Resize, Stat};
use ft_tests::peer::{RawPeer, frame};
use ft_tests::server::ALL;

#[tokio::test]
async fn a_command_runs_and_its_streams_and_status_come_back() {
    let (_server, mut peer) = start().await;
    let came = run(&mut peer, 1, shell("echo out; echo err >&2; exit 7")).await;
    assert_eq!((came.text(), &came.err[..]), ("out\n", &b"err\n"[..]));
    assert_eq!(came.status(), (Some(7), Status::Ok));
    let came = run(&mut peer, 2, shell("kill -TERM $$")).await;
    assert_eq!(came.exit, Some(Exit { status: 0, signal: 15 }));
    assert_eq!(came.status().1, Status::Ok);
    let came = run(&mut peer, 3, exec(&["printf", "%s|", "a b", "", "$HOME", "*"])).await;
    assert_eq!(came.text(), "a b||$HOME|*|");
}

#[tokio::test]
async fn it_starts_in_the_root_or_beneath_it() {
    let (server, mut peer) = start().await;
    fs::create_dir(server.root().join("sub")).unwrap();
    let root = server.root().to_str().unwrap().to_owned();
    assert_eq!(run(&mut peer, 1, exec(&["pwd"])).await.text(), format!("{root}\n"));
    let sub = Exec { cwd: b"sub".to_vec(), ..exec(&["pwd"]) };
    assert_eq!(run(&mut peer, 2, sub).await.text(), format!("{root}/sub\n"));
    for (op, cwd, status) in [(3, "none", Status::NotFound), (4, "..", Status::Invalid)] {
        let came = run(&mut peer, op, Exec { cwd: cwd.into(), ..exec(&["pwd"]) }).await;
        assert_eq!((came.started, came.status().1), (false, status), "{cwd}");
    }
}

#[tokio::test]
async fn what_is_not_granted_is_not_started() {
    let server = builder().rights(ALL).start().await;
    let mut peer = RawPeer::logged_in(&server).await;
    let marker = server.root().join("ran");
    for (op, request) in [(1, exec(&["touch", "ran"])), (2, shell("touch ran"))] {
        let came = run(&mut peer, op, request).await;
        assert_eq!((came.started, came.status()), (false, (None, Status::Denied)));
    }
    drop((peer, server));
    let server = builder().rights(ALL.union(Rights::EXEC)).start().await;
    let mut peer = RawPeer::logged_in(&server).await;
    assert_eq!(run(&mut peer, 1, exec(&["true"])).await.status(), (Some(0), Status::Ok));
    let came = run(&mut peer, 2, shell("touch ran")).await;
    assert_eq!((came.started, came.status()), (false, (None, Status::Denied)));
    assert!(!marker.exists());
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named_and_nothing_starts() {
    let (server, mut peer) = start().await;
    fs::write(server.root().join("plain"), b"no program").unwrap();
    for (op, program, status) in [
        (1, "no-such-program\x1b[2J", Status::NotFound),
        (2, "./plain", Status::PermissionDenied),
        (3, "/", Status::PermissionDenied),
    ] {
        let came = run(&mut peer, op, exec(&[program])).await;
        assert_eq!((came.started, came.status()), (false, (None, status)), "{program}");
        assert!(!came.end.message.contains('\x1b') && !came.end.message.is_empty(), "{:?}", came.end);
    }
    assert_eq!(run(&mut peer, 4, exec(&["true"])).await.status(), (Some(0), Status::Ok));
}

#[tokio::test]
async fn requests_that_make_no_sense_start_nothing() {
    let (_server, mut peer) = start().await;
    let bad = [
        Exec::default(),
        exec(&[""]),
        Exec { shell: true, ..exec(&["a", "b"]) },
        Exec { env: b"=x\0".to_vec(), ..exec(&["true"]) },
        Exec { env: b"no-equals\0".to_vec(), ..exec(&["true"]) },
        Exec { tty: true, term: b"x\x1b".to_vec(), ..exec(&["true"]) },
    ];
    for (op, request) in (1..).zip(bad) {
        let came = run(&mut peer, op, request).await;
        assert!(!came.started && came.end.status != 0, "{op}: {came:?}");
    }
    assert_eq!(peer.status(10, Stat::default()).await, Status::Ok);
}

#[tokio::test]
async fn output_stops_at_the_credit_and_the_session_lives_on() {
    let (_server, mut peer) = start().await;
    peer.send(1, exec(&["yes"])).await.unwrap();
    let window = WINDOW as usize;
    assert_eq!(read(&mut peer, Stream::Stdout, window).await, window);
    for more in [1, 5, 100_000] {
        peer.send(1, Credit { stream: 1, bytes: more }).await.unwrap();
        assert_eq!(read(&mut peer, Stream::Stdout, more as usize).await, more as usize);
    }
    peer.send(1, Message::Cancel).await.unwrap();
    let came = finish(&mut peer, 1).await;
    assert!(came.out.is_empty(), "nothing beyond the credit");
    assert_eq!(
        (came.exit, came.end.status),
        (Some(Exit { status: 0, signal: 15 }), Status::Cancelled as u32)
    );
    assert_eq!(run(&mut peer, 2, exec(&["true"])).await.status(), (Some(0), Status::Ok));
}

#[tokio::test]
async fn both_streams_filled_at_once_do_not_wait_for_one_another() {
    let (_server, mut peer) = start().await;
    let line = "head -c 3000000 /dev/zero & head -c 3000000 /dev/zero >&2; wait";
    let came = run(&mut peer, 1, shell(line)).await;
    assert_eq!((came.out.len(), came.err.len()), (3_000_000, 3_000_000));
    // A client that reads standard error first: what waits on the other stream is within its credit.
    peer.send(2, shell("head -c 200000 /dev/zero; head -c 3000000 /dev/zero >&2")).await.unwrap();
    let came = finish(&mut peer, 2).await;
    assert_eq!((came.out.len(), came.err.len()), (200_000, 3_000_000));
}

#[tokio::test]
async fn input_arrives_byte_for_byte_and_ends() {
    let (_server, mut peer) = start().await;
    let input: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    peer.send(1, Exec { stdin: true, ..exec(&["cat"]) }).await.unwrap();
    for chunk in input.chunks(60_000) {
        peer.send(1, Message::Stdin(Bytes::copy_from_slice(chunk))).await.unwrap();
    }
    peer.send(1, Message::Stdin(Bytes::new())).await.unwrap();
    let came = finish(&mut peer, 1).await;
    assert_eq!(came.status(), (Some(0), Status::Ok));
    assert!(came.out == input);
    let came = run(&mut peer, 2, exec(&["cat"])).await;
    assert_eq!((came.out.len(), came.status()), (0, (Some(0), Status::Ok)), "/dev/null");
}

#[tokio::test]
async fn input_that_nobody_reads_is_granted_on() {
    let (_server, mut peer) = start().await;
    peer.send(1, Exec { stdin: true, ..shell("exec <&-; read x < /dev/null; sleep 1000") }).await.unwrap();
    let chunk = Bytes::from(vec![0; 64 * 1024]);
    for _ in 0..4 {
        peer.send(1, Message::Stdin(chunk.clone())).await.unwrap();
    }
    let mut granted = 0;
    while granted < WINDOW / 2 {
        match peer.next().await.unwrap().1 {
            Message::Credit(credit) => granted += credit.bytes,
            Message::Started => {}
            other => panic!("{other:?}"),
        }
    }
    peer.send(1, Message::Cancel).await.unwrap();
    assert_eq!(finish(&mut peer, 1).await.end.status, Status::Cancelled as u32);
}

#[tokio::test]
async fn a_client_that_breaks_the_rules_of_credit_loses_its_session() {
    let waits = || Exec { stdin: true, ..exec(&["sleep", "1000"]) };
    let stdin = |len: usize| Message::Stdin(Bytes::from(vec![0; len]));
    let credit = |stream, bytes| Message::from(Credit { stream, bytes });
    let full = WINDOW as usize / 4;
    let cases: [(&str, Exec, Vec<Message>); 11] = [
        ("credit of nothing", waits(), vec![credit(1, 0)]),
        ("credit that was not used", waits(), vec![credit(1, 1)]),
        ("credit for no stream", waits(), vec![credit(3, 1)]),
        ("credit for its own stream", waits(), vec![credit(0, 1)]),
        ("more than its credit", waits(), [full; 4].map(stdin).into_iter().chain([stdin(1)]).collect()),
        ("input that was not announced", exec(&["sleep", "1000"]), vec![stdin(1)]),
        ("input after its end", waits(), vec![stdin(0), stdin(1)]),
        ("a request in the middle", waits(), vec![exec(&["true"]).into()]),
        ("a size without a terminal", waits(), vec![Resize { rows: 24, columns: 80 }.into()]),
        (
            "a size that no terminal has",
            terminal(&["sleep", "1000"]),
            vec![Resize { rows: 65_536, columns: 1 }.into()],
        ),
        ("an end of a terminal's input", terminal(&["sleep", "1000"]), vec![stdin(0)]),
    ];
    let server = builder().start().await;
    for (what, request, messages) in cases {
        let mut peer = RawPeer::logged_in(&server).await;
        let mut bytes = frame(1, request);
        messages.into_iter().for_each(|message| bytes.extend_from_slice(&frame(1, message)));
        peer.send_bytes(&bytes).await.unwrap();
        loop {
            match peer.next().await {
                Some((1, Message::Started)) => {}
                Some((0, Message::End(end))) => {
                    assert_eq!(end.status, Status::Protocol as u32, "{what}");
                    break;
                }
                other => panic!("{what}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn named_commands_run_and_nothing_else_and_the_rules_stay_secret() {
    let (_server, mut peer) = limited("commands = [['/bin/echo', '*', 'fixed']]").await;
    let came = run(&mut peer, 1, exec(&["/bin/echo", "any", "fixed"])).await;
    assert_eq!(came.text(), "any fixed\n");
    for (op, argv) in (2..).zip([
        vec!["/bin/echo", "-n", "fixed"],
        vec!["echo", "a", "fixed"],
        vec!["/bin/echo", "a"],
        vec!["/bin/sh"],
    ]) {
        let came = run(&mut peer, op, exec(&argv)).await;
        assert_eq!((came.started, came.status().1), (false, Status::Denied), "{argv:?}");
        assert!(!came.end.message.contains("fixed"), "{:?}", came.end);
    }
    for (op, request) in (10..).zip([
        Exec { stdin: true, ..exec(&["/bin/echo", "a", "fixed"]) },
        Exec { tty: true, term: b"vt100".to_vec(), ..exec(&["/bin/echo", "a", "fixed"]) },
        Exec { env: b"LANG=C\0".to_vec(), ..exec(&["/bin/echo", "a", "fixed"]) },
    ]) {
        let came = run(&mut peer, op, request).await;
        assert_eq!((came.started, came.status().1), (false, Status::Denied), "{op}");
    }
}

#[tokio::test]
async fn a_terminal_has_a_size_and_is_told_of_another() {
    let (_server, mut peer) = start().await;
    let line =
        "trap 'stty size; exit 3' WINCH; stty size; test -t 0 && echo terminal; while :; do sleep 0.05; done";
    let request = Exec { tty: true, term: b"vt100".to_vec(), rows: 24, columns: 80, ..shell(line) };
    peer.send(1, request).await.unwrap();
    let mut out = Vec::new();
    while !out.ends_with(b"terminal\r\n") {
        match peer.next().await.unwrap().1 {
            Message::Stdout(bytes) => out.extend_from_slice(&bytes),
            Message::Started => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(out.starts_with(b"24 80\r\n"), "{}", String::from_utf8_lossy(&out));
    peer.send(1, Resize { rows: 50, columns: 132 }).await.unwrap();
    let came = finish(&mut peer, 1).await;
    assert_eq!((came.status(), came.out.is_empty()), ((Some(3), Status::Ok), false));
    assert!(came.text().starts_with("50 132\r\n"), "{}", came.text());
}

#[tokio::test]
async fn a_terminal_passes_keys_on() {
    let (_server, mut peer) = start().await;
    peer.send(1, terminal(&["cat"])).await.unwrap();
    peer.send(1, Message::Stdin(Bytes::from_static(b"typed\n"))).await.unwrap();
    // Once by the terminal, once by cat. Ctrl-C drops what was not read yet.
    let twice = "typed\r\n".repeat(2).len();
    assert_eq!(read(&mut peer, Stream::Stdout, twice).await, twice);
    peer.send(1, Message::Stdin(Bytes::from_static(b"\x03"))).await.unwrap();
    let came = finish(&mut peer, 1).await;
    assert_eq!(came.exit, Some(Exit { status: 0, signal: 2 }), "Ctrl-C");
}

#[tokio::test]
async fn the_command_starts_within_the_round_trip_of_the_login() {
    let server = builder().start().await;
    let mut peer = RawPeer::connect(&server).await;
    let login = peer.login_frames(server.key(), ft_tests::server::USER);
    peer.send_bytes(&[login, frame(1, exec(&["true"]))].concat()).await.unwrap();
    loop {
        match peer.next().await.unwrap().1 {
            Message::Hello(_) | Message::Welcome(_) => {}
            Message::Started => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(peer.round_trips(), 1, "after those of TCP and TLS");
}
