//! Who gets in, and what a login that fails leaves behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use ft_protocol::Status;
use ft_protocol::auth::{Rights, login_failed};
use ft_protocol::wire::Message;
use ft_protocol::wire::frame::preface;
use ft_protocol::wire::message::{End, MakeDir, Stat};
use ft_tests::peer::{RawPeer, auth_password, forged, frame, hello, run};
use ft_tests::server::{ALL, TestServer, USER, count, key};
use ftserver::accounts::Accounts;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

const PASSWORD: &str = "correct horse";

fn make_dir(op: u32, path: &str) -> Vec<u8> {
    frame(op, MakeDir { path: path.into(), parents: false })
}

fn stat() -> Stat {
    Stat { path: Vec::new(), no_follow: false }
}

/// Sends HELLO, this attempt and a MAKE_DIR behind it. Gives the refusal, once the server has closed.
async fn refused(server: &TestServer, mut peer: RawPeer, attempt: impl Into<Message>) -> End {
    let bytes = [hello(run(), 0), frame(0, attempt), make_dir(1, "pipelined")].concat();
    let end = peer.login_with(&bytes).await.expect_err("the login is refused");
    assert!(peer.next().await.is_none(), "nothing follows");
    assert!(!server.root().join("pipelined").exists(), "nothing behind a failed login is executed");
    end
}

#[tokio::test]
async fn a_known_key_gets_in_with_the_rights_of_its_account() {
    let server = TestServer::builder().account("bob", &key(2), Rights::READ).start().await;
    let mut ann = RawPeer::connect(&server).await;
    assert_eq!(ann.login(server.key(), USER).await, Ok(ALL));
    let mut bob = RawPeer::connect(&server).await;
    assert_eq!(bob.login(&key(2), "bob").await, Ok(Rights::READ));
}

#[tokio::test]
async fn every_failed_login_reads_the_same() {
    let server = TestServer::builder()
        .password(PASSWORD)
        .account("bob", &key(2), ALL)
        .account("unusable", &key(3), ALL)
        .start()
        .await;
    std::fs::write(server.state().path().join("accounts/unusable.toml"), "allow = ['everything']").unwrap();
    let expected = login_failed().failure();
    let long = "x".repeat(1025);
    for (what, user, number) in [
        ("an unknown key", USER, 9),
        ("the key of another account", USER, 2),
        ("an unknown user", "nobody", 1),
        ("a name that no account can have", "../accounts/ann", 1),
        ("an empty name", "", 1),
        ("an account that cannot be understood", "unusable", 3),
    ] {
        let peer = RawPeer::connect(&server).await;
        let auth = peer.auth_key(&key(number), user);
        let end = refused(&server, peer, auth).await;
        assert_eq!((end.status, end.message), (expected.status as u32, expected.message.clone()), "{what}");
    }
    for (what, user, password) in [
        ("a wrong password", USER, "correct horsE"),
        ("the password of an unknown user", "nobody", PASSWORD),
        ("a password for an account without one", "bob", PASSWORD),
        ("no password", USER, ""),
        ("a password that is too long", USER, long.as_str()),
    ] {
        let peer = RawPeer::connect(&server).await;
        let end = refused(&server, peer, auth_password(user, password)).await;
        assert_eq!((end.status, end.message), (expected.status as u32, expected.message.clone()), "{what}");
    }
}

#[tokio::test]
async fn a_password_gets_in() {
    let server = TestServer::builder().password(PASSWORD).start().await;
    let mut peer = RawPeer::connect(&server).await;
    let bytes = [hello(run(), 0), frame(0, auth_password(USER, PASSWORD))].concat();
    assert_eq!(peer.login_with(&bytes).await, Ok(ALL));
}

#[tokio::test]
async fn whoever_guesses_has_to_wait_even_with_the_right_password_but_not_with_a_key() {
    let server = TestServer::builder().password(PASSWORD).start().await;
    for _ in 0..6 {
        let peer = RawPeer::connect(&server).await;
        let end = refused(&server, peer, auth_password(USER, "wrong")).await;
        assert_eq!(end.status, Status::AuthFailed as u32);
    }
    let peer = RawPeer::connect(&server).await;
    let end = refused(&server, peer, auth_password(USER, PASSWORD)).await;
    assert_eq!(end.status, Status::Unavailable as u32, "{}", end.message);
    RawPeer::logged_in(&server).await;
}

#[tokio::test]
async fn guesses_at_once_are_as_few_as_guesses_in_turn() {
    let server = TestServer::builder().password(PASSWORD).start().await;
    let mut peers = Vec::new();
    for _ in 0..24 {
        let mut peer = RawPeer::connect(&server).await;
        let bytes = [hello(run(), 0), frame(0, auth_password(USER, "wrong"))].concat();
        peer.send_bytes(&bytes).await.unwrap();
        peers.push(peer);
    }
    let mut guesses = 0;
    for mut peer in peers {
        let end = peer.farewell().await.unwrap();
        guesses += u32::from(end.status == Status::AuthFailed as u32);
    }
    // Five are free; of two that are hashed at once, both may be looked at.
    assert!(guesses <= 8, "{guesses} of 24 guesses were looked at");
}

#[tokio::test]
async fn an_invite_enrols_one_key_once() {
    let server = TestServer::start().await;
    let secret = server.invite("eve");
    let mut peer = RawPeer::connect(&server).await;
    let auth = peer.auth_invite(&secret, &key(5), "eve");
    assert_eq!(peer.login_with(&[hello(run(), 0), frame(0, auth)].concat()).await, Ok(ALL));

    let peer = RawPeer::connect(&server).await;
    let again = peer.auth_invite(&secret, &key(6), "eve");
    assert_eq!(refused(&server, peer, again).await.status, Status::AuthFailed as u32);

    let mut peer = RawPeer::connect(&server).await;
    assert_eq!(peer.login(&key(5), "eve").await, Ok(ALL), "the enrolled key stays");
    assert!(
        RawPeer::connect(&server).await.login(&key(6), "eve").await.is_err(),
        "the other one never came in"
    );
}

#[tokio::test]
async fn an_invite_for_another_user_is_refused_without_effect() {
    let server = TestServer::start().await;
    let secret = server.invite("eve");
    let peer = RawPeer::connect(&server).await;
    let auth = peer.auth_invite(&secret, &key(5), USER);
    assert_eq!(refused(&server, peer, auth).await.status, Status::AuthFailed as u32);
    assert!(!Accounts::new(server.state()).exists("eve").unwrap(), "a refused login has no effect");
}

#[tokio::test]
async fn a_signature_is_good_for_one_connection_only() {
    let server = TestServer::start().await;
    let mut first = RawPeer::connect(&server).await;
    let auth = first.auth_key(server.key(), USER);
    let second = RawPeer::connect(&server).await;
    let end = refused(&server, second, auth.clone()).await;
    assert_eq!(end.status, Status::AuthFailed as u32);
    let bytes = [hello(run(), 0), frame(0, auth)].concat();
    assert_eq!(first.login_with(&bytes).await, Ok(ALL), "where it was made, it is good");
}

#[tokio::test]
async fn only_one_attempt_is_read() {
    let server = TestServer::start().await;
    let mut peer = RawPeer::connect(&server).await;
    let (bad, good) = (peer.auth_key(&key(9), USER), peer.auth_key(server.key(), USER));
    let bytes = [hello(run(), 0), frame(0, bad), frame(0, good), make_dir(1, "second")].concat();
    assert_eq!(peer.login_with(&bytes).await.unwrap_err().status, Status::AuthFailed as u32);
    assert!(peer.next().await.is_none());
    assert!(!server.root().join("second").exists());
}

#[tokio::test]
async fn an_account_that_is_removed_loses_its_sessions() {
    let server = TestServer::builder().account("bob", &key(2), ALL).start().await;
    let mut bob = RawPeer::connect(&server).await;
    bob.login(&key(2), "bob").await.unwrap();
    let mut ann = RawPeer::logged_in(&server).await;
    assert_eq!(bob.status(1, stat()).await, Status::Ok);
    std::fs::remove_file(server.state().path().join("accounts/bob.toml")).unwrap();
    bob.farewell().await;
    assert_eq!(ann.status(1, stat()).await, Status::Ok, "others stay");
    assert!(RawPeer::connect(&server).await.login(&key(2), "bob").await.is_err());
}

#[tokio::test]
async fn a_reconnect_ends_its_own_ghost_and_nobody_else() {
    let server = TestServer::builder().account("bob", &key(2), ALL).start().await;
    let run = run();
    let login = async |key: &_, user, slot| {
        let mut peer = RawPeer::connect(&server).await;
        peer.login_as(key, user, run, slot).await.unwrap();
        peer
    };
    let mut ghost = login(server.key(), USER, 0).await;
    let mut sibling = login(server.key(), USER, 1).await;
    let mut bob = login(&key(2), "bob", 0).await;
    // The ghost reads nothing until the newer session is in: it cannot hold that up.
    let mut newer = login(server.key(), USER, 0).await;
    ghost.farewell().await;
    for peer in [&mut sibling, &mut bob, &mut newer] {
        assert_eq!(peer.status(1, stat()).await, Status::Ok);
    }
}

/// In virtual time: the clock moves only while nobody has anything to do.
#[tokio::test]
async fn a_ghost_that_reads_nothing_does_not_hold_up_its_successor() {
    let server = TestServer::start().await;
    let run = run();
    let mut ghost = RawPeer::connect(&server).await;
    ghost.login_as(server.key(), USER, run, 0).await.unwrap();
    let mut newer = RawPeer::connect(&server).await;
    let started = Instant::now();
    tokio::time::pause();
    newer.login_as(server.key(), USER, run, 0).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    drop(ghost);
}

#[tokio::test]
async fn another_version_is_told_ours() {
    let server = TestServer::start().await;
    let mut theirs = preface();
    theirs[7] = 9;
    let mut peer = RawPeer::connect(&server).await;
    peer.send_bytes(&theirs).await.unwrap();
    // The peer checks that the server's preface names version 1.
    let Some((0, Message::End(end))) = peer.next().await else { panic!("END of the session was due") };
    assert_eq!(end.status, Status::Version as u32);
    assert!(end.message.contains("speaks 1") && end.message.contains("speaks 9"), "{}", end.message);
    assert!(peer.next().await.is_none());
}

#[tokio::test]
async fn before_login_nothing_but_a_login_is_taken() {
    let server = TestServer::start().await;
    let hello = hello(run(), 0);
    let cases = [
        ("another protocol", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("a request for HELLO", [&preface()[..], &frame(1, stat())].concat()),
        ("a request for a login", [&hello[..], &frame(1, stat())].concat()),
        ("a second HELLO", [&hello[..], &hello[8..]].concat()),
        ("a short run id", [&preface()[..], &forged(4, 1, 0, &[0x1a, 2, 1, 1])].concat()),
        ("a login of 8 KiB and a byte", [&hello[..], &forged(8193, 2, 0, &[])].concat()),
        ("a block of 8 KiB and a byte", [&hello[..], &forged(8193, 52, 0, &[])].concat()),
        ("4 GiB", [&hello[..], &forged(u32::MAX, 2, 0, &[])].concat()),
        ("an unknown kind", [&hello[..], &forged(0, 250, 0, &[])].concat()),
        ("CANCEL", [&hello[..], &frame(0, Message::Cancel)].concat()),
    ];
    for (what, bytes) in cases {
        let mut peer = RawPeer::connect(&server).await;
        peer.send_bytes(&bytes).await.unwrap();
        let end = peer.farewell().await.unwrap_or_else(|| panic!("{what}: no END"));
        assert_eq!(end.status, Status::Protocol as u32, "{what}: {}", end.message);
    }
}

#[tokio::test]
async fn the_oldest_of_too_many_that_wait_gives_way_and_others_get_in() {
    let server =
        TestServer::builder().limits(|limits| limits.max_unauthenticated_per_source = count(4)).start().await;
    let mut waiting = Vec::new();
    for _ in 0..5 {
        let mut peer = RawPeer::connect_from(2, server.address(), server.fingerprint()).await.unwrap();
        peer.hello().await;
        assert!(matches!(peer.next().await, Some((0, Message::Hello(_)))));
        waiting.push(peer);
    }
    // Without a word: its place is needed at once, and clients try again after a close before WELCOME.
    assert_eq!(waiting.remove(0).farewell().await, None);
    // The four that stayed still can log in, and a login from elsewhere was never in their way.
    RawPeer::logged_in(&server).await;
    for mut peer in waiting {
        let auth = peer.auth_key(server.key(), USER);
        assert_eq!(peer.login_with(&frame(0, auth)).await, Ok(ALL));
    }
}

#[tokio::test]
async fn a_full_server_closes_before_it_says_anything() {
    let server = TestServer::builder().limits(|limits| limits.max_connections = count(2)).start().await;
    let first = RawPeer::logged_in(&server).await;
    let _second = RawPeer::logged_in(&server).await;
    let mut third = TcpStream::connect(server.address()).await.unwrap();
    let read = third.read(&mut [0]).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    drop(first);
    // Its place is free once the server has seen it go; until then it says no.
    while RawPeer::connect_to(server.address(), server.fingerprint()).await.is_err() {}
}

/// In virtual time: the clock moves only while nobody has anything to do.
#[tokio::test]
async fn a_login_has_twenty_seconds_whatever_the_peer_does() {
    let server = TestServer::start().await;
    let mut silent = RawPeer::connect(&server).await;
    let mut talking = RawPeer::connect(&server).await;
    let started = Instant::now();
    tokio::time::pause();
    let end = silent.farewell().await.unwrap();
    assert_eq!(end.status, Status::TimedOut as u32);
    let mut sent = 0;
    let hello = hello(run(), 0);
    while started.elapsed() < Duration::from_secs(30) {
        // A byte a second, and it is the deadline that ends this, not a failed write.
        let _ = talking.send_bytes(&hello[sent % hello.len()..][..1]).await;
        sent += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(talking.farewell().await.unwrap().status, Status::TimedOut as u32);
}

/// As above, before TLS.
#[tokio::test]
async fn a_connection_without_tls_ends_with_the_same_deadline() {
    let server = TestServer::start().await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let started = Instant::now();
    tokio::time::pause();
    assert!(matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)));
    let waited = started.elapsed().as_secs();
    assert!((15..=21).contains(&waited), "{waited} s");
}
