//! [`HostileServer`]: a server with a good key that says whatever a script tells it to.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ft_protocol::auth::{Fingerprint, Rights, tls};
use ft_protocol::wire::Message;
use ft_protocol::wire::frame::{HEADER_LEN, Header, PREFACE_LEN, preface};
use ft_protocol::wire::message::{Hello, Welcome};
use ftserver::identity::Identity;
use ftserver::state::StateDir;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, version::TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::peer::frame;

/// What the server does next.
#[derive(Debug, Clone)]
pub enum Action {
    /// Sends one frame.
    Send(u32, Message),
    /// Sends any bytes.
    Raw(Vec<u8>),
    /// Ends the connection in good order.
    Close,
    /// Says and reads nothing more; the connection stays open.
    Stall,
}

/// Answers a message of an operation.
type Script = Box<dyn FnMut(u32, Message) -> Vec<Action> + Send>;

/// A server that lets everybody in and then follows its script. Dropped, it ends with all its connections.
pub struct HostileServer {
    address: SocketAddr,
    fingerprint: Fingerprint,
    _stop: DropGuard,
}

impl HostileServer {
    /// Starts it. `script` sees every message after the login, of all connections in turn.
    pub async fn start(script: impl FnMut(u32, Message) -> Vec<Action> + Send + 'static) -> Self {
        Self::start_with(welcome(), script).await
    }

    /// As [`HostileServer::start`], where this is the answer to every login.
    pub async fn start_with(
        greeting: Vec<Action>,
        script: impl FnMut(u32, Message) -> Vec<Action> + Send + 'static,
    ) -> Self {
        let place = tempfile::tempdir().unwrap();
        let identity = Identity::load_or_create(&StateDir::new(Some(place.path())).unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(script)));
        let accepting = accept(listener, acceptor(&identity), greeting, script, stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
        Self { address, fingerprint: identity.fingerprint(), _stop: stop.drop_guard() }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What clients pin.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// What an honest server answers to a login.
pub fn welcome() -> Vec<Action> {
    let hello = Hello { software: "hostile".into(), ..Hello::default() };
    let welcome = Welcome { rights: Rights::from_bits(63).bits() };
    vec![Action::Send(0, hello.into()), Action::Send(0, welcome.into())]
}

fn acceptor(identity: &Identity) -> TlsAcceptor {
    let certificate = CertificateDer::from(identity.cert_der().to_vec());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key_der().to_vec()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(tls::crypto_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![tls::ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    TlsAcceptor::from(Arc::new(config))
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    greeting: Vec<Action>,
    script: Arc<Mutex<Script>>,
    stop: CancellationToken,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, greeting, script) = (acceptor.clone(), greeting.clone(), Arc::clone(&script));
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            // A client that leaves is what most scripts are after.
            let _ = serve(stream, &acceptor, greeting, &script).await;
        }));
    }
}

async fn serve(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    greeting: Vec<Action>,
    script: &Mutex<Script>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = acceptor.accept(stream).await?;
    stream.write_all(&preface()).await?;
    stream.read_exact(&mut [0; PREFACE_LEN]).await?;
    let _hello = next(&mut stream).await?;
    let _auth = next(&mut stream).await?;
    let mut actions = greeting;
    loop {
        for action in actions {
            match action {
                Action::Send(op, message) => stream.write_all(&frame(op, message)).await?,
                Action::Raw(bytes) => stream.write_all(&bytes).await?,
                Action::Close => return stream.shutdown().await,
                Action::Stall => {
                    stream.flush().await?;
                    std::future::pending::<()>().await;
                }
            }
        }
        stream.flush().await?;
        let (op, message) = next(&mut stream).await?;
        actions = script.lock().unwrap_or_else(PoisonError::into_inner)(op, message);
    }
}

/// The next message that is no sign of life.
async fn next(stream: &mut TlsStream<TcpStream>) -> io::Result<(u32, Message)> {
    loop {
        let mut bytes = [0; HEADER_LEN];
        stream.read_exact(&mut bytes).await?;
        let header = Header::decode(&bytes, true).map_err(io::Error::other)?;
        let mut body = vec![0; header.len as usize];
        stream.read_exact(&mut body).await?;
        let message = Message::decode(header.kind, body.into()).map_err(io::Error::other)?;
        if message != Message::Alive {
            return Ok((header.op, message));
        }
    }
}
