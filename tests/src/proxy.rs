//! [`Proxy`]: a TCP proxy that damages, cuts and stalls what passes, and counts round trips.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::seed::Seed;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// What is done to the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// This bit (0 to 7) of the byte is turned over; everything goes on.
    Flip(u8),
    /// Both ends see an orderly end of the stream.
    Close,
    /// Both ends see a reset.
    Reset,
    /// Nothing passes any more, either way; the connections stay open.
    Stall,
}

/// A fault in one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// In the bytes that go this way.
    pub direction: Direction,
    /// Exactly so many of them pass unharmed before it happens.
    pub after: u64,
    /// What happens.
    pub what: What,
}

impl Fault {
    /// Some fault after less than `within` bytes.
    pub fn from_seed(seed: &mut Seed, within: u64) -> Self {
        let direction = if seed.below(2) == 0 { Direction::ToServer } else { Direction::ToClient };
        let what = match seed.below(4) {
            0 => What::Flip(seed.below(8) as u8),
            1 => What::Close,
            2 => What::Reset,
            _ => What::Stall,
        };
        Self { direction, after: seed.below(within), what }
    }
}

/// What passed through one connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes passed on to the server.
    pub to_server: u64,
    /// Bytes passed on to the client.
    pub to_client: u64,
    /// How often the client spoke first or after the server had spoken.
    pub round_trips: u32,
    last: Option<Last>,
}

/// Who spoke last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Client,
    Server,
}

#[derive(Default)]
struct Shared {
    faults: Mutex<VecDeque<Fault>>,
    traffic: Mutex<Vec<Arc<Mutex<Traffic>>>>,
}

/// A proxy on a port of its own. Dropped, it ends with all its connections.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

impl Proxy {
    /// Starts a proxy to `upstream`, which passes everything on until it is told otherwise.
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept(
            listener,
            upstream,
            Arc::clone(&shared),
            stop.clone(),
        )));
        Self { address, shared, _stop: stop.drop_guard() }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Plans a fault for the next connection that has none yet; further ones are for the connections after it.
    pub fn plan(&self, fault: Fault) {
        lock(&self.shared.faults).push_back(fault);
    }

    /// What passed so far, one entry a connection in the order of their arrival.
    pub fn traffic(&self) -> Vec<Traffic> {
        lock(&self.shared.traffic).iter().map(|traffic| *lock(traffic)).collect()
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, shared: Arc<Shared>, stop: CancellationToken) {
    while let Ok((client, _)) = listener.accept().await {
        let fault = lock(&shared.faults).pop_front();
        let traffic = Arc::new(Mutex::new(Traffic::default()));
        lock(&shared.traffic).push(Arc::clone(&traffic));
        tokio::spawn(stop.clone().run_until_cancelled_owned(relay(client, upstream, fault, traffic)));
    }
}

/// How a direction ended.
enum Outcome {
    End,
    Broken(What),
}

async fn relay(client: TcpStream, upstream: SocketAddr, fault: Option<Fault>, traffic: Arc<Mutex<Traffic>>) {
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let fault_in = |direction| fault.filter(|fault| fault.direction == direction);
    let outcome = {
        let up =
            Pump { fault: fault_in(Direction::ToServer), direction: Direction::ToServer, traffic: &traffic };
        let down =
            Pump { fault: fault_in(Direction::ToClient), direction: Direction::ToClient, traffic: &traffic };
        let up = up.run(&mut from_client, &mut to_server);
        let down = down.run(&mut from_server, &mut to_client);
        tokio::pin!(up, down);
        // A direction that merely ended leaves the other one open; a fault ends both.
        let (mut up_ended, mut down_ended) = (false, false);
        loop {
            let ended = tokio::select! {
                ended = &mut up, if !up_ended => { up_ended = true; ended }
                ended = &mut down, if !down_ended => { down_ended = true; ended }
                else => break None,
            };
            if let Ok(Outcome::Broken(what)) = ended {
                break Some(what);
            }
        }
    };
    match outcome {
        Some(What::Reset) => {
            let _ = (from_client.as_ref().set_zero_linger(), from_server.as_ref().set_zero_linger());
            // Dropping a half would send FIN before the reset.
            to_client.forget();
            to_server.forget();
        }
        // Held open until the proxy goes.
        Some(What::Stall) => std::future::pending().await,
        Some(What::Close | What::Flip(_)) | None => {}
    }
}

struct Pump<'a> {
    fault: Option<Fault>,
    direction: Direction,
    traffic: &'a Mutex<Traffic>,
}

impl Pump<'_> {
    async fn run(mut self, from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) -> io::Result<Outcome> {
        let mut passed = 0;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let n = match self.fault {
                // What is due at the very beginning does not wait for a first byte.
                Some(Fault { after, what, .. }) if after == passed && !matches!(what, What::Flip(_)) => {
                    return Ok(Outcome::Broken(what));
                }
                _ => from.read(&mut buffer).await?,
            };
            if n == 0 {
                to.shutdown().await?;
                return Ok(Outcome::End);
            }
            let bytes = &mut buffer[..n];
            let mut keep = n;
            if let Some(fault) = self.fault.filter(|fault| fault.after < passed + n as u64) {
                let at = (fault.after - passed) as usize;
                match fault.what {
                    What::Flip(bit) => {
                        bytes[at] ^= 1 << bit;
                        self.fault = None;
                    }
                    What::Close | What::Reset | What::Stall => keep = at,
                }
            }
            self.count(keep);
            to.write_all(&bytes[..keep]).await?;
            passed += keep as u64;
        }
    }

    /// Before the bytes are passed on, so that whoever has them finds them counted.
    fn count(&self, bytes: usize) {
        let mut traffic = lock(self.traffic);
        match self.direction {
            Direction::ToServer => {
                traffic.to_server += bytes as u64;
                if traffic.last.replace(Last::Client) != Some(Last::Client) {
                    traffic.round_trips += 1;
                }
            }
            Direction::ToClient => {
                traffic.to_client += bytes as u64;
                traffic.last = Some(Last::Server);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
