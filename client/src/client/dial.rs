//! From an address to a byte stream whose other end is known.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use ft_protocol::auth::proof::{EXPORTER_LABEL, EXPORTER_LEN};
use ft_protocol::auth::{Binding, Fingerprint, tls};
use ft_protocol::wire::ReadAhead;
use ft_protocol::{Error, Status};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{ClientError, Result};
use crate::address::{HostSpec, host_port};
use crate::output::reason;

/// How long the TCP connection and the TLS handshake may take together, where nobody asked for less.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Over TCP and TLS.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// Through the standard input and output of a program, such as ssh; its own security is all there is.
    Via(Vec<String>),
}

/// `host`, `host:port` or `[v6]:port`.
impl FromStr for Address {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self> {
        let spec: HostSpec = text.parse().map_err(|error| ClientError::usage(format!("{error}")))?;
        Ok(Address::Tcp { host: spec.host, port: spec.port.unwrap_or(crate::address::DEFAULT_PORT) })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } => f.write_str(&host_port(host, *port)),
            Address::Via(words) => write!(f, "via '{}'", words.join(" ")),
        }
    }
}

/// A server whose key was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trusted {
    /// A person or a pinned value vouched for the key; only then is a password sent.
    pub confirmed: bool,
}

/// Decides about the key that a server presents. May block, and ask.
pub trait Trust: Send + Sync {
    /// Trusts the key, or says why not and what to do.
    fn decide(&self, presented: &Fingerprint) -> std::result::Result<Trusted, String>;
}

/// Trusts exactly one key.
#[derive(Debug, Clone, Copy)]
pub struct Pinned(pub Fingerprint);

impl Trust for Pinned {
    fn decide(&self, presented: &Fingerprint) -> std::result::Result<Trusted, String> {
        if *presented == self.0 {
            return Ok(Trusted { confirmed: true });
        }
        Err(format!(
            "the server presented the key {presented}, but {} was expected; nothing was sent",
            self.0
        ))
    }
}

/// Trusts no key.
#[derive(Debug)]
pub(super) struct Unknown;

impl Trust for Unknown {
    fn decide(&self, presented: &Fingerprint) -> std::result::Result<Trusted, String> {
        Err(format!("the server presented the key {presented}, and nothing says whether to trust it"))
    }
}

/// Any byte stream.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A stream to a server that may be spoken to.
pub(super) struct Dialed {
    pub(super) stream: Box<dyn Stream>,
    /// What a login is tied to; `None` where the server needs none.
    pub(super) binding: Option<Binding>,
    pub(super) trusted: Trusted,
    /// The program that carries the stream; ends with it.
    pub(super) child: Option<Child>,
}

/// Connects; `patience` is how long an operation may go without progress.
pub(super) async fn dial(
    address: &Address,
    trust: &Arc<dyn Trust>,
    patience: Option<Duration>,
) -> Result<Dialed> {
    match address {
        Address::Tcp { host, port } => {
            let limit = patience.unwrap_or(CONNECT_LIMIT).min(CONNECT_LIMIT);
            let connected = timeout(limit, secure(host, *port)).await;
            let late = || Error::Connection(io::Error::new(io::ErrorKind::TimedOut, "no answer"));
            let connected = connected.map_err(|_| late()).flatten();
            let (stream, binding) = connected.map_err(|error| match error {
                Error::Connection(error) if has_no_address(&error) => ClientError::NoSuchHost(format!(
                    "there is no host of the name '{host}', neither in the configuration nor in DNS"
                )),
                error => error.into(),
            })?;
            let (trust, presented) = (Arc::clone(trust), binding.server);
            let decided = tokio::task::spawn_blocking(move || trust.decide(&presented)).await;
            let trusted = decided.map_err(|error| ClientError::usage(format!("internal error: {error}")))?;
            let trusted = trusted.map_err(ClientError::Untrusted)?;
            Ok(Dialed { stream: Box::new(stream), binding: Some(binding), trusted, child: None })
        }
        Address::Via(words) => through(words),
    }
}

/// What getaddrinfo(3) says of names that do not exist (EAI_NONAME, EAI_NODATA). std gives its words alone, in the
/// language C.
pub(crate) fn has_no_address(error: &io::Error) -> bool {
    let text = error.to_string();
    text.contains("Name or service not known") || text.contains("No address associated with hostname")
}

type Secured = tokio_rustls::client::TlsStream<ReadAhead<TcpStream>>;

async fn secure(host: &str, port: u16) -> ft_protocol::Result<(Secured, Binding)> {
    let tcp = TcpStream::connect((host, port)).await.map_err(Error::Connection)?;
    tcp.set_nodelay(true).map_err(Error::Connection)?;
    let provider = Arc::new(tls::crypto_provider());
    let seen =
        Arc::new(Seen { presented: Mutex::new(None), schemes: provider.signature_verification_algorithms });
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]);
    let mut config = config
        .map_err(|error| Error::local(Status::Failed, format!("cannot set up TLS: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&seen) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    config.alpn_protocols = vec![tls::ALPN.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_sni = false;
    let name = ServerName::from(tcp.peer_addr().map_err(Error::Connection)?.ip());
    let buffered = ReadAhead::new(tcp);
    let mut stream =
        TlsConnector::from(Arc::new(config)).connect(name, buffered).await.map_err(Error::Connection)?;
    let (_, connection) = stream.get_mut();
    if connection.alpn_protocol() != Some(tls::ALPN) {
        return Err(Error::protocol("the peer speaks TLS, but not ft"));
    }
    connection.set_buffer_limit(Some(tls::BUFFER_LIMIT));
    let exporter = connection
        .export_keying_material([0; EXPORTER_LEN], EXPORTER_LABEL, None)
        .map_err(|error| Error::local(Status::Failed, format!("no channel binding: {error}")))?;
    let presented = *seen.presented.lock().unwrap_or_else(PoisonError::into_inner);
    let server = presented.ok_or_else(|| Error::protocol("the peer presented no key"))?;
    Ok((stream, Binding { exporter, server }))
}

/// Notes the server's key and verifies that it holds it. Whether it is the right one is decided after the
/// handshake and before anything is sent: a person may have to be asked.
#[derive(Debug)]
struct Seen {
    presented: Mutex<Option<Fingerprint>>,
    schemes: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let fingerprint = Fingerprint::of_spki(&certificate.subject_public_key_info());
        *self.presented.lock().unwrap_or_else(PoisonError::into_inner) = Some(fingerprint);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.schemes)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// Standard input of a command, which a shutdown closes. tokio's own does so only when it is dropped, and the other
/// end would wait for our end while we wait for its.
struct ToCommand(Option<ChildStdin>);

impl AsyncWrite for ToCommand {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Some(stdin) => Pin::new(stdin).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0 = None;
        Poll::Ready(Ok(()))
    }
}

fn through(words: &[String]) -> Result<Dialed> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(ClientError::usage(
            "--via needs a command, such as --via 'ssh HOST ftserver stdio --root DIR'",
        ));
    };
    let started = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child =
        started.map_err(|error| ClientError::Via(format!("cannot start '{program}': {}", reason(&error))))?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(ClientError::usage(format!("'{program}' has no standard input or output")));
    };
    Ok(Dialed {
        stream: Box::new(tokio::io::join(stdout, ToCommand(Some(stdin)))),
        binding: None,
        trusted: Trusted { confirmed: true },
        child: Some(child),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_shutdown_ends_the_input_of_the_command_of_via() {
        let Dialed { mut stream, child: _child, .. } = through(&["cat".to_owned()]).unwrap();
        let mut echo = String::new();
        let whole = async {
            stream.write_all(b"x").await.unwrap();
            stream.shutdown().await.unwrap();
            stream.read_to_string(&mut echo).await.unwrap();
        };
        timeout(Duration::from_secs(60), whole).await.expect("cat ends with its input");
        assert_eq!(echo, "x");
    }
}
