//! The tools of the other tests do what they say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use ft_protocol::Status;
use ft_protocol::wire::Message;
use ft_protocol::wire::message::{End, Entry, Stat};
use ft_tests::hostile::{Action, HostileServer};
use ft_tests::peer::RawPeer;
use ft_tests::proxy::{Direction, Fault, Proxy, What};
use ft_tests::server::{TestServer, USER, key};

async fn login_through(proxy: &Proxy, server: &TestServer) -> bool {
    let Ok(mut peer) = RawPeer::connect_to(proxy.address(), server.fingerprint()).await else { return false };
    let auth = peer.auth_key(server.key(), USER);
    let bytes = [ft_tests::peer::hello([9; 16], 0), ft_tests::peer::frame(0, auth)].concat();
    if peer.send_bytes(&bytes).await.is_err() {
        return false;
    }
    while let Some((_, message)) = peer.next().await {
        if matches!(message, Message::Welcome(_)) {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn the_first_answer_comes_after_three_round_trips() {
    let server = TestServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    let mut peer = RawPeer::connect_to(proxy.address(), server.fingerprint()).await.unwrap();
    let auth = ft_tests::peer::frame(0, peer.auth_key(server.key(), USER));
    let stat = ft_tests::peer::frame(1, Stat { path: vec![], no_follow: false });
    let rights =
        peer.login_with(&[ft_tests::peer::hello([1; 16], 0), auth, stat].concat()).await.expect("logged in");
    assert_eq!(rights, ft_tests::server::ALL);
    let (answers, end) = peer.answer(1).await;
    assert_eq!((answers.len(), end.status), (1, 0));
    let traffic = proxy.traffic();
    // TCP's own round trip ends at the proxy; the other two are TLS, and everything else together.
    assert_eq!((traffic.len(), traffic[0].round_trips, peer.round_trips()), (1, 2, 1), "{traffic:?}");
}

#[tokio::test]
async fn faults_happen_where_they_were_planned() {
    let server = TestServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    assert!(login_through(&proxy, &server).await);
    let whole = proxy.traffic()[0];
    for direction in [Direction::ToServer, Direction::ToClient] {
        for what in [What::Flip(3), What::Close, What::Reset] {
            // Not in the first bytes: a length made larger is only waited for.
            for after in [100, 500] {
                proxy.plan(Fault { direction, after, what });
                assert!(!login_through(&proxy, &server).await, "{direction:?} {after} {what:?}");
                let passed = *proxy.traffic().last().unwrap();
                let passed = match direction {
                    Direction::ToServer => passed.to_server,
                    Direction::ToClient => passed.to_client,
                };
                assert!(matches!(what, What::Flip(_)) || passed == after, "{passed} {after}");
            }
        }
    }
    proxy.plan(Fault { direction: Direction::ToServer, after: whole.to_server + 1, what: What::Close });
    assert!(login_through(&proxy, &server).await, "a fault beyond the end does no harm");
}

#[tokio::test]
async fn a_hostile_server_follows_its_script() {
    let server = HostileServer::start(|op, message| match message {
        Message::Stat(stat) => vec![
            Action::Send(op, Entry { name: stat.path, ..Entry::default() }.into()),
            Action::Send(op, End { status: Status::Busy as u32, message: "so there".into() }.into()),
        ],
        _ => vec![Action::Close],
    })
    .await;
    let mut peer = RawPeer::connect_to(server.address(), server.fingerprint()).await.unwrap();
    peer.login(&key(7), "anybody").await.unwrap();
    let (answers, end) = peer.ask(1, Stat { path: b"../x".to_vec(), no_follow: false }).await;
    assert!(matches!(&answers[..], [Message::Entry(entry)] if entry.name == b"../x"));
    assert_eq!(end.status, Status::Busy as u32);
    peer.send(2, Message::Cancel).await.unwrap();
    assert!(peer.next().await.is_none());
}

#[tokio::test]
async fn a_stopped_server_is_gone() {
    let server = TestServer::start().await;
    let mut peer = RawPeer::logged_in(&server).await;
    let (address, fingerprint) = (server.address(), server.fingerprint());
    server.stop().await;
    while peer.next().await.is_some() {}
    assert!(RawPeer::connect_to(address, fingerprint).await.is_err());
}

#[tokio::test]
async fn another_key_than_the_pinned_one_is_refused() {
    let (server, other) = (TestServer::start().await, TestServer::start().await);
    assert!(RawPeer::connect_to(server.address(), other.fingerprint()).await.is_err());
}
