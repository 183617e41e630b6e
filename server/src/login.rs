//! The server's half of the login.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ft_protocol::auth::{Binding, login_failed};
use ft_protocol::wire::message::{AuthInvite, AuthKey, AuthPassword, Hello};
use ft_protocol::wire::{Connection, Message};
use ft_protocol::{Error, Result, Status};
use ssh_key::PublicKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::accounts::{Account, MAX_PASSWORD, verify_password};
use crate::admission::Applicant;
use crate::registry::SessionKey;
use crate::server::Server;

/// Name and version of this program, for the peer's log.
pub(crate) const SOFTWARE: &str = concat!("ftserver/", env!("CARGO_PKG_VERSION"));

/// A secured connection that has not logged in.
pub(crate) struct Candidate {
    /// Its address, an IPv4 one as such.
    pub(crate) peer: SocketAddr,
    pub(crate) binding: Binding,
    pub(crate) deadline: Instant,
    pub(crate) applicant: Applicant,
}

/// Who logged in, and as which session.
pub(crate) struct Login {
    pub(crate) account: Account,
    pub(crate) key: SessionKey,
    pub(crate) how: &'static str,
}

/// Reads HELLO and one attempt. Nothing that was pipelined behind a failed attempt is read.
pub(crate) async fn login<S>(
    server: &Arc<Server>,
    conn: &mut Connection<S>,
    candidate: &Candidate,
) -> Result<Login>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (run, slot) = greet(conn).await?;
    let (account, how) = match conn.rx.next().await? {
        (0, Message::AuthKey(auth)) => (by_key(server, &candidate.binding, auth).await?, "key"),
        (0, Message::AuthPassword(auth)) => {
            (by_password(server, candidate.peer.ip(), auth).await?, "password")
        }
        (0, Message::AuthInvite(auth)) => (by_invite(server, candidate, auth).await?, "invite"),
        (_, other) => return Err(Error::protocol(format!("{} before login", other.kind().name()))),
    };
    Ok(Login { key: SessionKey { user: account.name.clone(), run, slot }, account, how })
}

/// Exchanges HELLO; gives the client's run and slot.
pub(crate) async fn greet<S>(conn: &mut Connection<S>) -> Result<([u8; 16], u32)>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (0, Message::Hello(hello)) = conn.rx.next().await? else {
        return Err(Error::protocol("HELLO was due"));
    };
    conn.tx.send(0, Hello { software: SOFTWARE.to_owned(), ..Hello::default() }).await?;
    let run = hello.run.try_into().map_err(|_| Error::protocol("a run id that has not 16 bytes"))?;
    Ok((run, hello.slot))
}

async fn by_key(server: &Arc<Server>, binding: &Binding, auth: AuthKey) -> Result<Account> {
    let key = binding.verify(&auth.user, &auth.key, &auth.signature)?;
    let account = load(server, &auth.user).await?.ok_or_else(login_failed)?;
    if account.keys.iter().any(|known| known.key_data() == key.key_data()) {
        Ok(account)
    } else {
        Err(login_failed())
    }
}

async fn by_password(server: &Arc<Server>, source: IpAddr, auth: AuthPassword) -> Result<Account> {
    let password = Zeroizing::new(auth.password);
    refuse_while_paused(server, source)?;
    if password.len() > MAX_PASSWORD {
        return Err(login_failed());
    }
    let account = load(server, &auth.user).await?;
    let hash = account.as_ref().and_then(|account| account.password.clone());
    let guard = Arc::clone(server);
    let verify = move || {
        // Others of this source may have guessed wrong while this one waited for its turn.
        refuse_while_paused(&guard, source)?;
        // Unknown users cost the same time as known ones.
        let matches = verify_password(hash.as_ref(), &password);
        let accepted = account.filter(|_| matches);
        if accepted.is_none() {
            guard.penalties.punish(source);
        }
        accepted.ok_or_else(login_failed)
    };
    server.hashers.run(verify).await
}

async fn by_invite(server: &Arc<Server>, candidate: &Candidate, auth: AuthInvite) -> Result<Account> {
    let secret = Zeroizing::new(auth.secret);
    refuse_while_paused(server, candidate.peer.ip())?;
    let key: PublicKey = candidate.binding.verify(&auth.user, &auth.key, &auth.signature)?;
    let Ok(secret) = <[u8; 32]>::try_from(secret.as_slice()).map(Zeroizing::new) else {
        return Err(login_failed());
    };
    let Ok(user) = String::from_utf8(auth.user) else { return Err(login_failed()) };
    let store = Arc::clone(server);
    let redeemed = blocking(move || store.invites.redeem(&user, &secret, &key)).await?;
    match redeemed {
        Ok(account) => Ok(account),
        Err(error) => {
            server.penalties.punish(candidate.peer.ip());
            tracing::info!(source = %candidate.peer.ip(), %error, "an invite was refused");
            Err(Error::local(
                Status::AuthFailed,
                "the join string was used already, has expired, or was never issued; 'ftserver invite' on the server makes a new one",
            ))
        }
    }
}

fn refuse_while_paused(server: &Server, source: IpAddr) -> Result<()> {
    match server.penalties.pause(source) {
        Some(rest) => Err(Error::local(
            Status::Unavailable,
            format!("too many failed logins from this address; wait {} s", rest.as_secs().saturating_add(1)),
        )),
        None => Ok(()),
    }
}

/// The account of this name; one whose file cannot be understood lets nobody in.
async fn load(server: &Arc<Server>, user: &[u8]) -> Result<Option<Account>> {
    let Ok(name) = std::str::from_utf8(user).map(str::to_owned) else { return Ok(None) };
    let store = Arc::clone(server);
    match blocking(move || store.accounts.load(&name)).await? {
        Ok(account) => Ok(account),
        Err(error) => {
            tracing::error!(%error, "an account cannot be used");
            Ok(None)
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::local(Status::Failed, format!("internal error: {error}")))
}
