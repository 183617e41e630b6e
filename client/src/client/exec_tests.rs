//! Commands against a server that the test plays, over a pipe and in virtual time.

use std::os::unix::ffi::OsStringExt;
use std::pin::Pin;
use std::task::{Context, Poll};

use ft_protocol::exec::{Stream, WINDOW, split};
use ft_protocol::wire::Connection;
use ft_protocol::wire::message::{Credit, End, Exit, Resize};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, empty, sink};
use tokio::time::{Instant, sleep, timeout};

use super::super::session::{Phase, Session};
use super::run::{Limits, run};
use super::*;

const OP: u32 = 1;
const NO_LIMITS: Limits = Limits { start: None, silence: None };
/// Far longer than a peer may be silent.
const LONG: Duration = Duration::from_secs(600);

/// The other end.
struct Server {
    conn: Connection<DuplexStream>,
    /// Bytes of STDIN that came.
    received: usize,
}

impl Server {
    async fn send(&self, message: impl Into<Message>) {
        self.conn.tx.send(OP, message).await.unwrap();
    }

    /// Awaits EXEC and starts it.
    async fn start(&mut self) -> Exec {
        let Message::Exec(exec) = self.next().await else { panic!("EXEC comes first") };
        self.send(Message::Started).await;
        exec
    }

    async fn exit(&self, status: u32, signal: u32, end: Status) {
        self.send(Exit { status, signal }).await;
        self.send(End { status: end as u32, message: format!("{end:?}") }).await;
    }

    async fn next(&mut self) -> Message {
        let (op, message) = self.conn.rx.next().await.unwrap();
        assert_eq!(op, OP);
        if let Message::Stdin(bytes) = &message {
            self.received += bytes.len();
        }
        message
    }

    /// Grants of a stream, until as much was granted.
    async fn granted(&mut self, stream: Stream, bytes: u32) {
        let mut sum = 0;
        while sum < bytes {
            let Message::Credit(grant) = self.next().await else { panic!("only grants") };
            assert_eq!(grant.stream, stream as u32);
            sum += grant.bytes;
        }
    }
}

fn pair() -> (Session, Server) {
    let (ours, theirs) = duplex(64 * 1024);
    let mut server = Server { conn: Connection::new(theirs), received: 0 };
    server.conn.rx.logged_in();
    (Session::over(ours), server)
}

fn exec(stdin: bool) -> Exec {
    request(&Command::new(["true"]), &RemotePath::root(), stdin).unwrap()
}

/// A writer that takes nothing.
struct Stuck;

impl AsyncWrite for Stuck {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

/// Runs a command that reads nothing.
async fn output_to(
    session: &mut Session,
    stdout: impl AsyncWrite + Unpin,
    limits: Limits,
    mut control: Control,
) -> ft_protocol::Result<Finished> {
    let mut streams = Streams::new(stdout, sink());
    run(session, exec(false), limits, &mut streams, &mut control).await
}

#[tokio::test(start_paused = true)]
async fn the_streams_arrive_apart_and_the_status_with_them() {
    let all: Vec<u8> = (0..=255).collect();
    for (status, signal, ended) in
        [(0, 0, Ended::Status(0)), (255, 0, Ended::Status(255)), (0, 9, Ended::Signal(9))]
    {
        let (mut session, mut server) = pair();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut streams = Streams::new(&mut out, &mut err);
        let serving = async {
            server.start().await;
            server.send(Message::Stdout(all.clone().into())).await;
            server.send(Message::Stderr(b"oops".to_vec().into())).await;
            server.send(Message::Stdout(b"!".to_vec().into())).await;
            server.exit(status, signal, Status::Ok).await;
            assert!(matches!(server.next().await, Message::End(end) if end.status == 0));
        };
        let mut control = Control::default();
        let (finished, ()) =
            tokio::join!(run(&mut session, exec(false), NO_LIMITS, &mut streams, &mut control), serving);
        assert_eq!(finished.unwrap(), Finished { ended, stopped: None });
        assert_eq!((out, err), ([&all[..], b"!"].concat(), b"oops".to_vec()));
        assert_eq!(session.command, Phase::None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stands_still_stops_neither_signs_of_life_nor_the_other_stream() {
    let (mut session, mut server) = pair();
    let mut err = Vec::new();
    let mut streams = Streams::new(Stuck, &mut err);
    let mut control = Control::default();
    let cancel = control.cancel.clone();
    let serving = async {
        server.start().await;
        for _ in 0..WINDOW / 1024 {
            server.send(Message::Stdout(vec![1; 1024].into())).await;
        }
        for _ in 0..3 {
            server
                .send(Message::Stderr(
                    vec![2; WINDOW as usize / 2].into_iter().take(65536).collect::<Vec<_>>().into(),
                ))
                .await;
            server.send(Message::Stderr(vec![2; 65536].into())).await;
            server.granted(Stream::Stderr, WINDOW / 2).await;
        }
        // Both ends would have given up long before, if no ALIVE came.
        assert!(timeout(LONG, server.next()).await.is_err(), "nothing is granted that nobody took");
        server.exit(0, 0, Status::Ok).await;
        assert!(matches!(server.next().await, Message::End(_)));
        cancel.cancel();
    };
    let (finished, ()) =
        tokio::join!(run(&mut session, exec(false), NO_LIMITS, &mut streams, &mut control), serving);
    assert_eq!(finished.unwrap().ended, Ended::Status(0));
    assert_eq!(err.len(), 3 * WINDOW as usize / 2);
}

#[tokio::test(start_paused = true)]
async fn output_beyond_the_credit_is_refused() {
    let (mut session, mut server) = pair();
    let serving = async {
        server.start().await;
        for _ in 0..4 {
            server.send(Message::Stdout(vec![0; 65536].into())).await;
        }
        server.send(Message::Stdout(vec![0].into())).await;
    };
    let (error, ()) = tokio::join!(output_to(&mut session, Stuck, NO_LIMITS, Control::default()), serving);
    assert_eq!(error.unwrap_err().status(), Status::Protocol);
    assert!(!session.survives(&Error::local(Status::Failed, "")), "the command must not run on");
}

#[tokio::test(start_paused = true)]
async fn what_is_out_of_place_is_refused() {
    let credit = |stream, bytes| Message::from(Credit { stream, bytes });
    let exit = |status, signal| Message::from(Exit { status, signal });
    for messages in [
        vec![Message::Stdout(vec![1].into())],
        vec![exit(0, 0)],
        vec![Message::Started, Message::Started],
        vec![Message::Started, Message::Stdout(vec![].into())],
        vec![Message::Started, exit(0, 0), Message::Stdout(vec![1].into())],
        vec![Message::Started, exit(0, 0), exit(0, 0)],
        vec![Message::Started, exit(256, 0)],
        vec![Message::Started, exit(1, 9)],
        vec![Message::Started, exit(0, 128)],
        vec![Message::Started, credit(0, 1)],
        vec![Message::Started, credit(1, 1)],
        vec![Message::Started, credit(7, 1)],
        vec![Message::Started, Message::from(End::default())],
        vec![Message::from(End::default())],
        vec![Message::Started, Message::Stdin(vec![1].into())],
    ] {
        let (mut session, mut server) = pair();
        let serving = async {
            server.next().await;
            for message in &messages {
                server.send(message.clone()).await;
            }
        };
        let (error, ()) =
            tokio::join!(output_to(&mut session, sink(), NO_LIMITS, Control::default()), serving);
        assert_eq!(error.unwrap_err().status(), Status::Protocol, "{messages:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn input_is_asked_for_when_the_command_runs_and_never_beyond_its_credit() {
    let (mut session, mut server) = pair();
    let (mut typed, input) = duplex(4 << 20);
    typed.write_all(&vec![5; 1 << 20]).await.unwrap();
    let mut input = Box::pin(input);
    let mut streams = Streams::new(sink(), sink()).stdin(&mut input);
    let mut control = Control::default();
    let serving = async {
        assert!(matches!(server.next().await, Message::Exec(exec) if exec.stdin));
        assert!(timeout(LONG, server.next()).await.is_err(), "no input before STARTED");
        server.send(Message::Started).await;
        while server.received < WINDOW as usize {
            server.next().await;
        }
        assert!(timeout(LONG, server.next()).await.is_err(), "no credit is left");
        server.send(Credit { stream: 0, bytes: 1000 }).await;
        while server.received < WINDOW as usize + 1000 {
            server.next().await;
        }
        assert!(timeout(LONG, server.next()).await.is_err(), "no credit is left");
        server.exit(0, 0, Status::Ok).await;
        server.received
    };
    let (finished, received) =
        tokio::join!(run(&mut session, exec(true), NO_LIMITS, &mut streams, &mut control), serving);
    finished.unwrap();
    drop(typed);
    let mut rest = Vec::new();
    input.read_to_end(&mut rest).await.unwrap();
    assert_eq!(received + rest.len(), 1 << 20, "what was not sent is still there");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_input_is_told_once() {
    let (mut session, mut server) = pair();
    let mut streams = Streams::new(sink(), sink()).stdin(empty());
    let mut control = Control::default();
    let serving = async {
        server.start().await;
        assert_eq!(server.next().await, Message::Stdin(vec![].into()));
        assert!(timeout(LONG, server.next()).await.is_err());
        server.exit(0, 0, Status::Ok).await;
    };
    let (finished, ()) =
        tokio::join!(run(&mut session, exec(true), NO_LIMITS, &mut streams, &mut control), serving);
    finished.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_command_is_waited_for_and_the_session_lives_on() {
    let (mut session, mut server) = pair();
    let control = Control::default();
    let cancel = control.cancel.clone();
    let serving = async {
        server.start().await;
        cancel.cancel();
        assert_eq!(server.next().await, Message::Cancel);
        sleep(Duration::from_secs(5)).await;
        server.exit(0, 9, Status::Cancelled).await;
    };
    let (finished, ()) = tokio::join!(output_to(&mut session, sink(), NO_LIMITS, control), serving);
    let Finished { ended, stopped } = finished.unwrap();
    assert_eq!((ended, stopped.unwrap().status), (Ended::Signal(9), Status::Cancelled));
    assert_eq!(session.command, Phase::None);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_obey_is_left() {
    let (mut session, mut server) = pair();
    let (control, begun) = (Control::default(), Instant::now());
    control.cancel.cancel();
    let serving = async {
        server.start().await;
        std::future::pending::<()>().await;
    };
    let error = tokio::select! {
        finished = output_to(&mut session, sink(), NO_LIMITS, control) => finished.unwrap_err(),
        () = serving => unreachable!(),
    };
    assert_eq!((error.status(), begun.elapsed().as_secs()), (Status::TimedOut, 15));
    assert_eq!(session.command, Phase::Started, "so its connection is closed");
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_command_and_a_reader_that_takes_its_time_does_not() {
    let limits = Limits { start: Some(Duration::from_secs(20)), silence: Some(Duration::from_secs(60)) };
    for (starts, seconds) in [(false, 20), (true, 60)] {
        let (mut session, mut server) = pair();
        let begun = Instant::now();
        let serving = async {
            server.next().await;
            if starts {
                server.send(Message::Started).await;
            }
            std::future::pending::<()>().await;
        };
        let error = tokio::select! {
            finished = output_to(&mut session, sink(), limits, Control::default()) => finished.unwrap_err(),
            () = serving => unreachable!(),
        };
        assert_eq!(error.status(), Status::TimedOut);
        assert!((seconds..=seconds * 5 / 4).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    }
    let (mut session, mut server) = pair();
    let serving = async {
        server.start().await;
        server.send(Message::Stdout(vec![1].into())).await;
        sleep(LONG).await;
    };
    tokio::select! {
        finished = output_to(&mut session, Stuck, limits, Control::default()) => panic!("{finished:?}"),
        () = serving => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_terminal_tells_its_sizes_and_has_one_stream() {
    let (mut session, mut server) = pair();
    let size = Size { rows: 24, columns: 80 };
    let terminal = Some(Terminal { term: "xterm".into(), size });
    let asked = request(&Command { terminal, ..Command::new(["top"]) }, &RemotePath::root(), true).unwrap();
    assert_eq!((asked.tty, asked.rows, asked.columns, asked.term.as_slice()), (true, 24, 80, &b"xterm"[..]));
    let (resized, sizes) = watch::channel(size);
    let begun = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = std::sync::Arc::clone(&begun);
    let on_started: OnStarted = Box::new(move || {
        flag.store(true, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    });
    let mut control = Control { size: Some(sizes), on_started: Some(on_started), ..Control::default() };
    let mut streams = Streams::new(sink(), sink()).stdin(empty());
    let serving = async {
        server.start().await;
        resized.send_replace(Size { rows: 50, columns: 132 });
        assert_eq!(server.next().await, Message::from(Resize { rows: 50, columns: 132 }));
        server.send(Message::Stderr(vec![1].into())).await;
    };
    let (finished, ()) =
        tokio::join!(run(&mut session, asked, NO_LIMITS, &mut streams, &mut control), serving);
    assert_eq!(finished.unwrap_err().status(), Status::Protocol);
    assert!(begun.load(std::sync::atomic::Ordering::Relaxed));
}

#[test]
fn what_cannot_be_sent_is_refused_here() {
    let refused = |command: &Command| request(command, &RemotePath::root(), false).unwrap_err().to_string();
    assert!(refused(&Command::new::<&str>([])).contains("no program"));
    assert!(refused(&Command::new(["a".repeat(1 << 18)])).contains("256 KiB"));
    request(&Command::new(["a".repeat((1 << 18) - 100)]), &RemotePath::root(), false).unwrap();
    for name in ["", "A=B"] {
        assert!(
            refused(&Command { env: vec![(name.into(), "x".into())], ..Command::new(["a"]) }).contains("'='")
        );
    }
    let env = vec![("A".into(), "b=c".into()), ("B".into(), "".into())];
    assert_eq!(
        request(&Command { env, ..Command::new(["a"]) }, &RemotePath::root(), false).unwrap().env,
        b"A=b=c\0B=\0"
    );
    let line = request(&Command::shell("a | b"), &RemotePath::root(), false).unwrap();
    assert_eq!((line.argv, line.shell), (b"a | b\0".to_vec(), true));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn words_travel_as_they_are(words in prop::collection::vec(prop::collection::vec(1u8.., 0..20), 1..9)) {
        let argv: Vec<OsString> = words.iter().cloned().map(OsString::from_vec).collect();
        prop_assert_eq!(split(&request(&Command::new(argv), &RemotePath::root(), false).unwrap().argv).unwrap(), words);
    }
}
