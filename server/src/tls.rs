//! TLS of the server: one ed25519 key, version 1.3, no tickets, no early data.

use std::io;
use std::sync::Arc;

use ft_protocol::auth::proof::{EXPORTER_LABEL, EXPORTER_LEN};
use ft_protocol::auth::{Binding, Fingerprint, tls};
use ft_protocol::wire::ReadAhead;
use ft_protocol::{Error, Result, Status};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, version::TLS13};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::identity::Identity;

/// A byte stream after the handshake.
pub(crate) type Secured = TlsStream<ReadAhead<TcpStream>>;

/// The acceptor of a server with this identity.
pub(crate) fn acceptor(identity: &Identity) -> Result<TlsAcceptor> {
    let certificate = CertificateDer::from(identity.cert_der().to_vec());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key_der().to_vec()));
    let config = ServerConfig::builder_with_provider(Arc::new(tls::crypto_provider()))
        .with_protocol_versions(&[&TLS13])
        .and_then(|config| config.with_no_client_auth().with_single_cert(vec![certificate], key));
    let mut config = config
        .map_err(|error| Error::local(Status::Failed, format!("cannot use the server's key: {error}")))?;
    config.alpn_protocols = vec![tls::ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The handshake, and what ties a login to this connection.
pub(crate) async fn accept(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    server: Fingerprint,
) -> io::Result<(Secured, Binding)> {
    stream.set_nodelay(true)?;
    let mut secured = acceptor.accept(ReadAhead::new(stream)).await?;
    let (_, connection) = secured.get_mut();
    if connection.alpn_protocol() != Some(tls::ALPN) {
        return Err(io::Error::other("the client does not ask for ft (ALPN)"));
    }
    connection.set_buffer_limit(Some(tls::BUFFER_LIMIT));
    let exporter = connection
        .export_keying_material([0; EXPORTER_LEN], EXPORTER_LABEL, None)
        .map_err(io::Error::other)?;
    Ok((secured, Binding { exporter, server }))
}
