//! [`RawPeer`]: a client that can send anything, and knows how to log in.
//!
//! It shares no state machine with the code under test: it encodes and decodes frames and leaves every rule
//! about their order to the test.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ft_protocol::Status;
use ft_protocol::auth::proof::{EXPORTER_LABEL, EXPORTER_LEN, HASH, NAMESPACE, signature_bytes};
use ft_protocol::auth::{Binding, Fingerprint, Rights};
use ft_protocol::digest::Algorithm;
use ft_protocol::wire::frame::{HEADER_LEN, Header, PREFACE_LEN, preface};
use ft_protocol::wire::message::{Accept, AuthInvite, AuthKey, AuthPassword, End, FileResult, Get, Hello};
use ft_protocol::wire::{BLOCK_LEN, Message};
use rustls::pki_types::ServerName;
use ssh_key::PrivateKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::content::{proof, small_put};
use crate::pin;
use crate::server::{TestServer, USER};

/// A test that hears nothing for this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A TLS connection that pins the server's key, and frames over it.
pub struct RawPeer {
    stream: TlsStream<TcpStream>,
    binding: Binding,
    greeted: bool,
    heard: bool,
    round_trips: u32,
}

impl RawPeer {
    /// Connects and completes TLS; nothing of ft is sent yet.
    pub async fn connect(server: &TestServer) -> Self {
        Self::connect_to(server.address(), server.fingerprint()).await.unwrap()
    }

    /// As [`RawPeer::connect`] to any address, such as that of a proxy.
    pub async fn connect_to(address: SocketAddr, pinned: Fingerprint) -> io::Result<Self> {
        Self::secure(TcpStream::connect(address).await?, pinned).await
    }

    /// As [`RawPeer::connect_to`] from 127.0.0.`last`, so that tests can be many sources.
    pub async fn connect_from(last: u8, address: SocketAddr, pinned: Fingerprint) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0))?;
        Self::secure(socket.connect(address).await?, pinned).await
    }

    /// A connection that has logged in as [`USER`].
    pub async fn logged_in(server: &TestServer) -> Self {
        let mut peer = Self::connect(server).await;
        peer.login(server.key(), USER).await.expect("the login succeeds");
        peer
    }

    async fn secure(stream: TcpStream, pinned: Fingerprint) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::new(pin::client_config(pinned)));
        let name = ServerName::try_from("ftserver").map_err(io::Error::other)?;
        let stream = connector.connect(name, stream).await?;
        let exporter = stream
            .get_ref()
            .1
            .export_keying_material([0; EXPORTER_LEN], EXPORTER_LABEL, None)
            .map_err(io::Error::other)?;
        let binding = Binding { exporter, server: pinned };
        Ok(Self { stream, binding, greeted: false, heard: false, round_trips: 0 })
    }

    /// What a login on this connection signs.
    pub fn binding(&self) -> Binding {
        self.binding
    }

    /// How often this side spoke after it had heard something, the handshakes below not counted.
    pub fn round_trips(&self) -> u32 {
        self.round_trips
    }

    /// Sends any bytes.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        if std::mem::take(&mut self.heard) || self.round_trips == 0 {
            self.round_trips += 1;
        }
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Sends one frame.
    pub async fn send(&mut self, op: u32, message: impl Into<Message>) -> io::Result<()> {
        self.send_bytes(&frame(op, message)).await
    }

    /// Sends preface and HELLO of a fresh run.
    pub async fn hello(&mut self) {
        self.send_bytes(&hello(run(), 0)).await.unwrap();
    }

    /// Sends preface, HELLO and AUTH_KEY together and waits for the answer.
    pub async fn login(&mut self, key: &PrivateKey, user: &str) -> Result<Rights, End> {
        self.login_as(key, user, run(), 0).await
    }

    /// What [`RawPeer::login`] sends.
    pub fn login_frames(&self, key: &PrivateKey, user: &str) -> Vec<u8> {
        [hello(run(), 0), frame(0, self.auth_key(key, user))].concat()
    }

    /// As [`RawPeer::login`], as connection `slot` of this run.
    pub async fn login_as(
        &mut self,
        key: &PrivateKey,
        user: &str,
        run: [u8; 16],
        slot: u32,
    ) -> Result<Rights, End> {
        let auth = self.auth_key(key, user);
        self.login_with(&[hello(run, slot), frame(0, auth)].concat()).await
    }

    /// Sends these bytes and reads the server's HELLO and its answer: WELCOME, or END of the session.
    pub async fn login_with(&mut self, bytes: &[u8]) -> Result<Rights, End> {
        self.send_bytes(bytes).await.unwrap();
        loop {
            match self.next().await {
                Some((0, Message::Hello(_))) => {}
                Some((0, Message::Welcome(welcome))) => return Ok(Rights::from_bits(welcome.rights)),
                Some((0, Message::End(end))) => return Err(end),
                other => panic!("expected an answer to the login, not {other:?}"),
            }
        }
    }

    /// AUTH_KEY for this connection.
    pub fn auth_key(&self, key: &PrivateKey, user: &str) -> AuthKey {
        let (key, signature) = self.signed(key, user);
        AuthKey { user: user.into(), key, signature }
    }

    /// AUTH_INVITE for this connection.
    pub fn auth_invite(&self, secret: &[u8], key: &PrivateKey, user: &str) -> AuthInvite {
        let (key, signature) = self.signed(key, user);
        AuthInvite { user: user.into(), secret: secret.to_vec(), key, signature }
    }

    fn signed(&self, key: &PrivateKey, user: &str) -> (Vec<u8>, Vec<u8>) {
        let signature = key.sign(NAMESPACE, HASH, &self.binding.message(user.as_bytes())).unwrap();
        (key.public_key().to_bytes().unwrap(), signature_bytes(&signature).unwrap())
    }

    /// The next frame; the server's preface comes before the first and is checked. Signs of life are left out.
    /// `None` at the end of the connection, however it ends.
    pub async fn next(&mut self) -> Option<(u32, Message)> {
        if !self.greeted {
            let mut bytes = [0; PREFACE_LEN];
            self.fill(&mut bytes).await?;
            assert_eq!(bytes, preface());
            self.greeted = true;
        }
        loop {
            let mut bytes = [0; HEADER_LEN];
            self.fill(&mut bytes).await?;
            let header = Header::decode(&bytes, true).expect("the server keeps to the caps");
            let mut body = vec![0; header.len as usize];
            self.fill(&mut body).await?;
            let message =
                Message::decode(header.kind, Bytes::from(body)).expect("the server sends no rubbish");
            if message != Message::Alive {
                return Some((header.op, message));
            }
        }
    }

    async fn fill(&mut self, room: &mut [u8]) -> Option<()> {
        let read = timeout(PATIENCE, self.stream.read_exact(room)).await.expect("the server says something");
        self.heard = true;
        read.ok().map(drop)
    }

    /// Sends a request and gives what was answered, and how the operation ended.
    pub async fn ask(&mut self, op: u32, request: impl Into<Message>) -> (Vec<Message>, End) {
        self.send(op, request).await.expect("the connection lives");
        self.answer(op).await
    }

    /// What is answered to `op`, and how it ended.
    pub async fn answer(&mut self, op: u32) -> (Vec<Message>, End) {
        let mut messages = Vec::new();
        loop {
            match self.next().await {
                Some((of, Message::End(end))) if of == op => return (messages, end),
                Some((of, message)) if of == op => messages.push(message),
                other => panic!("expected an answer to operation {op}, not {other:?}"),
            }
        }
    }

    /// As [`RawPeer::ask`], where only the outcome matters.
    pub async fn status(&mut self, op: u32, request: impl Into<Message>) -> Status {
        Status::from_wire(self.ask(op, request).await.1.status)
    }

    /// Sends these messages of one operation.
    pub async fn send_all(&mut self, op: u32, messages: impl IntoIterator<Item = Message>) {
        for message in messages {
            self.send(op, message).await.expect("the connection lives");
        }
    }

    /// Sends a file of at most one block; the status of the operation.
    pub async fn put_small(&mut self, op: u32, path: &str, content: &[u8]) -> Status {
        self.send_all(op, small_put(path, content)).await;
        Status::from_wire(self.answer(op).await.1.status)
    }

    /// Receives a file as a client does, and compares its proof.
    pub async fn get_file(&mut self, op: u32, path: &str) -> Vec<u8> {
        self.send(op, Get { path: path.into(), digest: Algorithm::Md5 as u32 }).await.unwrap();
        let mut content = Vec::new();
        loop {
            match self.next().await.expect("the connection lives") {
                (_, Message::File(file)) if file.size > BLOCK_LEN as u64 => {
                    self.send(op, Accept { file: 0, have: 0 }).await.unwrap();
                }
                (_, Message::File(_) | Message::Block(_)) => {}
                (_, Message::Data(data)) => content.extend_from_slice(&data),
                (_, Message::Done(done)) => {
                    assert_eq!(done.digest, proof(&content).to_vec());
                    self.send(op, FileResult { file: 0, digest: done.digest, path: vec![] }).await.unwrap();
                }
                (of, Message::End(end)) if of == op => {
                    assert_eq!(end.status, 0, "{}", end.message);
                    return content;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Reads to the end of the connection and gives the END of the session, where there was one.
    pub async fn farewell(&mut self) -> Option<End> {
        let mut last = None;
        while let Some((op, message)) = self.next().await {
            if let (0, Message::End(end)) = (op, message) {
                last = Some(end);
            }
        }
        last
    }

    /// The stream below, after TLS: for [`ft_protocol::wire::Connection`], which sends the preface itself.
    pub fn into_stream(self) -> TlsStream<TcpStream> {
        self.stream
    }
}

/// A fresh run id.
pub fn run() -> [u8; 16] {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    u128::from(NEXT.fetch_add(1, Ordering::Relaxed)).to_be_bytes()
}

/// Preface and HELLO of connection `slot` of a run.
pub fn hello(run: [u8; 16], slot: u32) -> Vec<u8> {
    let hello = Hello { software: "ft-tests".into(), run: run.to_vec(), slot, ..Hello::default() };
    [&preface()[..], &frame(0, hello)].concat()
}

/// AUTH_PASSWORD.
pub fn auth_password(user: &str, password: &str) -> AuthPassword {
    AuthPassword { user: user.into(), password: password.into() }
}

/// The bytes of one frame.
pub fn frame(op: u32, message: impl Into<Message>) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    message.into().encode(op, &mut bytes);
    bytes.to_vec()
}

/// The bytes of a frame that may break every rule: any length, kind and body.
pub fn forged(len: u32, kind: u8, op: u32, body: &[u8]) -> Vec<u8> {
    [&len.to_be_bytes()[..], &[kind], &op.to_be_bytes(), body].concat()
}
