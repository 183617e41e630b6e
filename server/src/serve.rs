//! `serve` and `stdio`: from options to sessions.

use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ft_protocol::fs::Root;
use ft_protocol::{Error, Result, Status};
use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::accounts::Accounts;
use crate::config::{ServeOptions, StdioOptions};
use crate::exec::Grant;
use crate::listener;
use crate::process::Launcher;
use crate::server::Server;
use crate::session::{self, Scope, Stop};

/// Blocking threads beyond one for each connection: for logins and housekeeping.
const SPARE_THREADS: usize = 64;
/// How long an idle blocking thread is kept.
const THREAD_KEEP_ALIVE: Duration = Duration::from_secs(2);

/// Serves until SIGTERM or SIGINT, then drains; a second signal ends at once.
///
/// Writes one line to standard output when connections are accepted: `ready listen=… fingerprint=…`.
/// A listening socket passed by the service manager (sd_listen_fds(3)) is used instead of binding one.
pub async fn run(options: ServeOptions) -> Result<()> {
    let server = Server::new(&options)?;
    let listener = bind(options.listen).await?;
    let address = listener.local_addr().map_err(|error| Error::io("listen", &error))?;
    let state = options.state.clone();
    let recorded = tokio::task::spawn_blocking(move || state.record_listen(address)).await;
    if let Ok(Err(error)) = recorded {
        tracing::warn!(%error, "cannot record the address for 'ftserver invite'");
    }
    // A file-size limit is an error of that write (EFBIG), not the end of the server.
    let _file_size = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()));
    let (stop, kill) = (CancellationToken::new(), CancellationToken::new());
    let signals = tokio::spawn(watch_signals(stop.clone(), kill.clone()));
    announce(address, &server)?;
    if matches!(Accounts::new(&options.state).list(), Ok(names) if names.is_empty()) {
        tracing::info!(
            "nobody can log in yet; in another terminal: 'ftserver invite NAME' prints a line to paste into 'ftclient join', 'ftserver user add NAME --key FILE' adds a key"
        );
    }
    listener::serve(listener, server, stop, kill).await;
    signals.abort();
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    let passed = listenfd::ListenFd::from_env().take_tcp_listener(0).ok().flatten();
    let bound = match passed {
        Some(listener) => listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener)),
        None => TcpListener::bind(address).await,
    };
    bound.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => Error::local(
            Status::Failed,
            format!(
                "listen on {address}: another server is running there; give --listen another address or port"
            ),
        ),
        _ => Error::io(format_args!("listen on {address}"), &error),
    })
}

fn announce(address: SocketAddr, server: &Server) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready listen={address} fingerprint={}", server.fingerprint())
        .and_then(|()| out.flush())
        .map_err(|error| Error::io("write the ready line", &error))?;
    // Without a service manager there is nobody to notify.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    Ok(())
}

async fn watch_signals(stop: CancellationToken, kill: CancellationToken) {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    for token in [stop, kill] {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        if token.is_cancelled() {
            continue;
        }
        tracing::info!("stopping; a second signal ends at once");
        token.cancel();
    }
}

/// Serves one session over standard input and output, for a client that comes through ssh.
pub async fn run_stdio(options: StdioOptions) -> Result<()> {
    let root = Root::open(&options.root)?;
    let exec = Arc::new(Grant::everything());
    let scope = Scope { user: "stdio".to_owned(), root, rights: options.rights, exec, source: None };
    let launcher = Launcher::new(options.supervisor);
    let (stop, kill) = (CancellationToken::new(), CancellationToken::new());
    let signals = tokio::spawn(watch_signals(stop.clone(), kill.clone()));
    let stream = tokio::io::join(tokio::io::stdin(), tokio::io::stdout());
    let stop = Stop { drain: stop, kill };
    session::run_trusted(stream, scope, &launcher, options.limits.stall_timeout, stop).await;
    launcher.settled().await;
    signals.abort();
    Ok(())
}

/// A runtime for `connections` connections, each of which may hold one blocking thread.
pub fn runtime(connections: usize) -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(connections.saturating_add(SPARE_THREADS))
        .thread_keep_alive(THREAD_KEEP_ALIVE)
        .build()
        .map_err(|error| Error::io("start the runtime", &error))
}
