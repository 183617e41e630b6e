//! `join`, `trust`, `key`.

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use ft_protocol::auth::{Fingerprint, JoinString};
use tokio::task::spawn_blocking;

use super::Failed;
use super::context::Context;
use super::terminal::{ask, is_attended};
use crate::address::{HostSpec, host_port};
use crate::cli::globals::ConnectionArgs;
use crate::cli::{JoinPlan, TrustPlan};
use crate::client::{Address, Client, ClientError, Credential, Login, Pinned, Trust, Trusted};
use crate::config::HostEntry;
use crate::config_edit::add_host;
use crate::credentials::{Candidate, load_or_make_client_key};
use crate::exit::Exit;
use crate::known_hosts::{Decision, How, KnownHosts, Pin, changed, decide};

/// Longest input in which a join string is looked for, in bytes.
const MAX_INPUT: u64 = 64 * 1024;

pub(super) async fn join(context: &Context, plan: JoinPlan) -> Result<Exit, Failed> {
    let text = read_join_string()?;
    let join: JoinString =
        text.trim().parse().map_err(|error| Failed::new(Exit::Usage, format!("{error}")))?;
    let spec: HostSpec = join
        .address()
        .parse()
        .map_err(|error: crate::address::AddressError| Failed::new(Exit::Usage, error.0))?;
    let (host, port) = (spec.host.clone(), spec.port.unwrap_or(crate::address::DEFAULT_PORT));
    let (user, fingerprint) = (join.user().to_owned(), join.fingerprint());
    let known_hosts = KnownHosts::new(&context.paths.known_hosts);
    let known = known_hosts.lookup(&host, port)?;
    let shown = host_port(&host, port);
    if let Some(known) = known.filter(|known| known.fingerprint != fingerprint) {
        return Err(Failed::new(Exit::Denied, changed(&shown, &known, &fingerprint)));
    }
    let path = context.paths.client_key.clone();
    let key = load_or_make_client_key(&path)?;
    let credential = Credential::from(Candidate::Key { path, key: Box::new(key) });
    let mut client = Client::builder_for(Address::Tcp { host: host.clone(), port })
        .user(&user)
        .login(Login::Invite { join, key: credential })
        .trust(Arc::new(Pinned(fingerprint)))
        .retries(context.settings.retries)
        .timeout(context.settings.timeout)
        .build()?;
    client.login().await.map_err(|error| Failed::from(error).told(&context.output, &shown))?;
    let rights = client.rights().unwrap_or_default();
    client.close().await;
    known_hosts.add(&host, port, &fingerprint, How::Join)?;
    let name = plan.name.unwrap_or_else(|| host.clone());
    let entry = HostEntry { address: Some(shown), user: Some(user.clone()), ..HostEntry::default() };
    let became_default = add_host(&context.paths.config, &name, &entry)?;
    context.output.info(&format!("joined {name} as {user} (rights: {rights})"))?;
    let example = if became_default { "ftclient ls /".to_owned() } else { format!("ftclient ls {name}:") };
    context.output.info(&format!("try: {example}"))?;
    Ok(Exit::Ok)
}

fn read_join_string() -> Result<String, Failed> {
    if is_attended() {
        return Ok(ask("Paste the join string from 'ftserver invite': ")?);
    }
    let mut text = String::new();
    let read = std::io::stdin().take(MAX_INPUT).read_to_string(&mut text);
    read.map_err(|error| Failed::new(Exit::Usage, format!("cannot read the join string: {error}")))?;
    Ok(text)
}

pub(super) async fn trust(context: &Context, plan: TrustPlan) -> Result<Exit, Failed> {
    let endpoint = context.endpoint()?;
    let known_hosts = KnownHosts::new(&context.paths.known_hosts);
    if plan.forget {
        let forgotten = known_hosts.forget(&endpoint.host, endpoint.port)?;
        let what = if forgotten { "forgotten" } else { "was not known" };
        context.output.info(&format!("the key of {endpoint}: {what}"))?;
        return Ok(if forgotten { Exit::Ok } else { Exit::NotFound });
    }
    let known = known_hosts.lookup(&endpoint.host, endpoint.port)?;
    let given = context.connection.fingerprint;
    if let Some((given, pin)) =
        given.zip(configured_pin(context)?).filter(|(given, pin)| pin.fingerprint != *given)
    {
        let message = format!(
            "{endpoint} must have the key {}, {}, not {given}; nothing was stored. If 'ftserver fingerprint' on the \
             server prints {given}, run {}",
            pin.fingerprint,
            pin.origin,
            pin.origin.advice(&given)
        );
        return Err(Failed::new(Exit::Denied, message));
    }
    let fingerprint = match given {
        Some(given) => given,
        None => presented(context, &endpoint).await?,
    };
    match decide(&endpoint, known.as_ref(), &fingerprint, endpoint.pin.as_ref(), false, true) {
        Decision::Refuse(message) => return Err(Failed::new(Exit::Denied, message)),
        // An entry that only repeats a pin becomes one of the person who gives the key here.
        Decision::Trusted { confirmed: true }
            if given.is_none() || known.is_some_and(|known| known.how != How::Fingerprint) =>
        {
            context.output.info(&format!("the key {fingerprint} of {endpoint} is trusted already"))?;
            return Ok(Exit::Ok);
        }
        Decision::Trusted { .. } | Decision::AddThenTrust { .. } | Decision::Ask => {}
    }
    let (saying, name) = (context.clone(), endpoint.to_string());
    let store = move || -> Result<Exit, Failed> {
        known_hosts.add(&endpoint.host, endpoint.port, &fingerprint, How::Trust)?;
        saying.output.info(&format!("the key {fingerprint} of {endpoint} is trusted"))?;
        Ok(Exit::Ok)
    };
    if given.is_some() {
        return store();
    }
    if !is_attended() {
        let message = format!(
            "the key {fingerprint} of {name} was not confirmed; without a terminal run 'ftclient trust {name} --fingerprint {fingerprint}'"
        );
        return Err(Failed::new(Exit::Denied, message));
    }
    let question = format!(
        "{name} presents\n  {fingerprint}\nCompare it with the output of 'ftserver fingerprint' on the server.\nTrust it? [y/N] "
    );
    // Asking blocks, and other hosts go on meanwhile.
    let asking = context.clone();
    let asked = spawn_blocking(move || {
        asking.confirm(&question, |yes| {
            if yes {
                return store();
            }
            let message = format!("the key {fingerprint} of {name} was not confirmed; nothing was stored");
            Err(Failed::alone(Exit::Denied, message).told(&asking.output, &name))
        })
    });
    asked.await.map_err(|error| Failed::new(Exit::Failure, format!("internal error: {error}")))?
}

/// The key that the configuration demands, whatever `--fingerprint` says.
fn configured_pin(context: &Context) -> Result<Option<Pin>, Failed> {
    let connection = ConnectionArgs { fingerprint: None, ..context.connection.clone() };
    Ok(Context { connection, ..context.clone() }.endpoint()?.pin)
}

/// The key that a server presents; nothing is sent to it.
async fn presented(context: &Context, endpoint: &crate::endpoint::Endpoint) -> Result<Fingerprint, Failed> {
    #[derive(Default)]
    struct Look(Mutex<Option<Fingerprint>>);
    impl Trust for Look {
        fn decide(&self, presented: &Fingerprint) -> Result<Trusted, String> {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(*presented);
            Err("only looked at".into())
        }
    }
    crate::inventory::check_name(endpoint, &context.config, &context.paths.config).await?;
    let look = Arc::new(Look::default());
    let mut client = context.builder(endpoint).trust(Arc::clone(&look) as Arc<dyn Trust>).build()?;
    let ended = client.login().await;
    let seen = *look.0.lock().unwrap_or_else(PoisonError::into_inner);
    match (seen, ended) {
        (Some(fingerprint), Err(ClientError::Untrusted(_))) => Ok(fingerprint),
        (_, Err(error)) => Err(Failed::from(error).told(&context.output, &endpoint.name)),
        (_, Ok(())) => Err(Failed::new(Exit::Usage, "this host needs no key")),
    }
}

pub(super) async fn key(context: &Context) -> Result<Exit, Failed> {
    let key = load_or_make_client_key(&context.paths.client_key)?;
    let line = key.public_key().to_openssh();
    let line = line.map_err(|error| Failed::new(Exit::Failure, format!("cannot show the key: {error}")))?;
    context.output.data(format!("{line}\n").as_bytes())?;
    Ok(Exit::Ok)
}
