//! Requests to run commands, and what comes of them.

use std::time::Duration;

use ft_protocol::Status;
use ft_protocol::auth::Rights;
use ft_protocol::exec::{Stream, join};
use ft_protocol::wire::Message;
use ft_protocol::wire::message::{Credit, End, Exec, Exit};
use ft_tests::peer::RawPeer;
use ft_tests::server::{ALL, Builder, TestServer};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn builder() -> Builder {
    TestServer::builder()
        .rights(ALL.union(Rights::EXEC).union(Rights::SHELL))
        .supervisor(env!("CARGO_BIN_EXE_ft-supervisor"))
}

pub(crate) async fn start() -> (TestServer, RawPeer) {
    let server = builder().start().await;
    let peer = RawPeer::logged_in(&server).await;
    (server, peer)
}

/// A server whose account has this `[exec]` table.
pub(crate) async fn limited(grant: &str) -> (TestServer, RawPeer) {
    let server = builder().rights(ALL.union(Rights::EXEC)).exec(grant).start().await;
    let peer = RawPeer::logged_in(&server).await;
    (server, peer)
}

pub(crate) fn exec(argv: &[&str]) -> Exec {
    Exec { argv: join(argv).unwrap(), ..Exec::default() }
}

pub(crate) fn terminal(argv: &[&str]) -> Exec {
    Exec { tty: true, term: b"vt100".to_vec(), rows: 24, columns: 80, ..exec(argv) }
}

pub(crate) fn shell(line: &str) -> Exec {
    Exec { shell: true, ..exec(&[line]) }
}

/// What came of a command.
#[derive(Debug, Default)]
pub(crate) struct Came {
    pub(crate) started: bool,
    pub(crate) out: Vec<u8>,
    pub(crate) err: Vec<u8>,
    pub(crate) exit: Option<Exit>,
    pub(crate) end: End,
}

impl Came {
    pub(crate) fn status(&self) -> (Option<u32>, Status) {
        (self.exit.as_ref().map(|exit| exit.status), Status::from_wire(self.end.status))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }
}

/// Reads until the operation's END, granting whatever comes.
pub(crate) async fn finish(peer: &mut RawPeer, op: u32) -> Came {
    let mut came = Came::default();
    loop {
        match peer.next().await.expect("the connection lives") {
            (of, Message::Started) if of == op => came.started = true,
            (of, Message::Stdout(bytes)) if of == op => {
                assert!(!bytes.is_empty());
                came.out.extend_from_slice(&bytes);
                let _ = peer.send(op, Credit { stream: 1, bytes: bytes.len() as u32 }).await;
            }
            (of, Message::Stderr(bytes)) if of == op => {
                assert!(!bytes.is_empty());
                came.err.extend_from_slice(&bytes);
                let _ = peer.send(op, Credit { stream: 2, bytes: bytes.len() as u32 }).await;
            }
            (of, Message::Credit(_)) if of == op => {}
            (of, Message::Exit(exit)) if of == op => assert!(came.exit.replace(exit).is_none()),
            (of, Message::End(end)) if of == op => {
                came.end = end;
                return came;
            }
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) async fn run(peer: &mut RawPeer, op: u32, request: Exec) -> Came {
    peer.send(op, request).await.unwrap();
    finish(peer, op).await
}

/// Reads from one stream until this much came.
pub(crate) async fn read(peer: &mut RawPeer, stream: Stream, most: usize) -> usize {
    let mut len = 0;
    while len < most {
        match peer.next().await.expect("the connection lives").1 {
            Message::Stdout(bytes) if stream == Stream::Stdout => len += bytes.len(),
            Message::Stderr(bytes) if stream == Stream::Stderr => len += bytes.len(),
            Message::Started => {}
            other => panic!("{other:?}"),
        }
    }
    len
}
