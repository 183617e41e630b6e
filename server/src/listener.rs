//! Accepts connections, secures them, and hands them to a session.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::login::Candidate;
use crate::memory;
use crate::server::Server;
use crate::session::{self, Stop};
use crate::tls;

/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` is cancelled, then lets running operations finish for at most the drain timeout;
/// cancelling `kill` ends them at once.
pub async fn serve(
    listener: TcpListener,
    server: Arc<Server>,
    stop: CancellationToken,
    kill: CancellationToken,
) {
    let sessions = TaskTracker::new();
    let watch = tokio::spawn(Arc::clone(&server).watch_accounts(kill.clone()));
    let give_back = tokio::spawn(memory::watch(Arc::clone(&server), kill.clone()));
    while let Some((stream, peer)) = stop.run_until_cancelled(accept(&listener)).await {
        let stop = Stop { drain: stop.clone(), kill: kill.child_token() };
        sessions.spawn(handle(Arc::clone(&server), stream, peer, stop));
    }
    drop(listener);
    sessions.close();
    let drained = timeout(server.limits.drain_timeout, sessions.wait());
    if kill.run_until_cancelled(drained).await.is_none_or(|drained| drained.is_err()) {
        tracing::warn!(sessions = sessions.len(), "ending sessions that did not finish in time");
    }
    kill.cancel();
    sessions.wait().await;
    // What clients started ends with the server, and its supervisors need a moment for that.
    server.launcher.settled().await;
    watch.abort();
    give_back.abort();
}

/// The next connection. Running out of descriptors is waited out: it ends when a session does.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut failing = false;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_about_that_connection(&error) => {}
            Err(error) => {
                if !failing {
                    tracing::error!(%error, "cannot accept connections; trying on");
                    failing = true;
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Errors that accept(2) passes on from the new connection itself.
fn is_about_that_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

async fn handle(server: Arc<Server>, stream: TcpStream, peer: SocketAddr, stop: Stop) {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let Ok(_place) = Arc::clone(&server.connections).try_acquire_owned() else {
        // Closed before HELLO: clients take that as "busy" and try again.
        tracing::warn!(%peer, "refused: max_connections reached");
        return;
    };
    let leavings = Arc::clone(&server);
    let _leaving = leavings.leavings.at_end();
    let deadline = Instant::now() + server.limits.login_timeout;
    let applicant = server.admission.enter(peer.ip());
    let gone = applicant.gone.clone();
    let secured = gone
        .run_until_cancelled(timeout_at(deadline, tls::accept(&server.acceptor, stream, server.fingerprint)));
    match secured.await {
        Some(Ok(Ok((stream, binding)))) => {
            let candidate = Candidate { peer, binding, deadline, applicant };
            session::run(server, stream, candidate, stop).await;
        }
        Some(Ok(Err(error))) => tracing::debug!(%peer, %error, "no TLS handshake"),
        Some(Err(_)) => tracing::info!(%peer, "no TLS handshake in time"),
        None => tracing::info!(%peer, "gave way to newer connections before login"),
    }
}
