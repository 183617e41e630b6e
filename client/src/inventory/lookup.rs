//! Whether a name that the configuration does not know is one of DNS.
//!
//! Only bare words are looked up: whoever mistypes the name of a configured host types one of these, and a name with
//! a dot or an address is meant as such.

use std::net::ToSocketAddrs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{did_you_mean, folded, nearest_hosts};
use crate::address::HostSpec;
use crate::client::has_no_address;
use crate::config::{Config, ConfigError};
use crate::endpoint::Endpoint;

/// How long a name may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Names that are looked up at the same time.
const AT_ONCE: usize = 256;

/// What the system says of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has an address.
    Known,
    /// There is no such name.
    None,
    /// Nobody could tell.
    Silence,
}

/// Asks for one name. Blocks.
pub(super) type Resolver = Arc<dyn Fn(&str) -> Answer + Send + Sync>;

/// getaddrinfo(3).
pub(super) fn system() -> Resolver {
    Arc::new(|name| match (name, 0).to_socket_addrs() {
        Ok(mut found) => found.next().map_or(Answer::None, |_| Answer::Known),
        Err(error) if has_no_address(&error) => Answer::None,
        Err(_) => Answer::Silence,
    })
}

/// True for a word that may be the name of a configured host, mistyped.
pub(super) fn is_bare(name: &str) -> bool {
    !name.contains(['.', ':']) && !name.eq_ignore_ascii_case("localhost")
}

/// Refuses a host that neither the configuration nor DNS knows, before anything is sent: exit code 2. Where the
/// resolver is out of order and no configured host has a similar name, the name is let through, for that may pass.
/// `endpoint` is the host as it was resolved.
pub async fn check_name(endpoint: &Endpoint, config: &Config, path: &Path) -> Result<(), ConfigError> {
    check_name_with(endpoint, config, path, &system()).await
}

async fn check_name_with(
    endpoint: &Endpoint,
    config: &Config,
    path: &Path,
    resolver: &Resolver,
) -> Result<(), ConfigError> {
    let Ok(HostSpec { host, .. }) = endpoint.name.parse() else { return Ok(()) };
    if endpoint.via.is_some() || !is_bare(&host) || config.hosts.contains_key(&host) {
        return Ok(());
    }
    let near = nearest_hosts(config, &host);
    match ask(&host, resolver).await {
        Answer::Known => Ok(()),
        Answer::Silence if near.is_empty() => Ok(()),
        Answer::None | Answer::Silence => Err(unknown(&[host], config, path)),
    }
}

/// Refuses names that have no address for whatever reason.
pub(super) async fn check_all(
    names: Vec<String>,
    config: &Config,
    path: &Path,
    resolver: &Resolver,
) -> Result<(), ConfigError> {
    // After names that fail there is no need to wait for more of them.
    for names in names.chunks(AT_ONCE) {
        let mut asked = tokio::task::JoinSet::new();
        for name in names.iter().cloned() {
            let resolver = Arc::clone(resolver);
            asked.spawn(async move { (ask(&name, &resolver).await, name) });
        }
        let known: Vec<String> = asked
            .join_all()
            .await
            .into_iter()
            .filter(|(answer, _)| *answer == Answer::Known)
            .map(|(_, name)| name)
            .collect();
        let failed: Vec<String> = names.iter().filter(|name| !known.contains(name)).cloned().collect();
        if !failed.is_empty() {
            return Err(unknown(&failed, config, path));
        }
    }
    Ok(())
}

/// Asks on a thread of its own, which nothing waits for when it takes too long.
async fn ask(name: &str, resolver: &Resolver) -> Answer {
    let (send, answer) = oneshot::channel();
    let (name, resolver) = (name.to_owned(), Arc::clone(resolver));
    let started = std::thread::Builder::new().name("resolver".into()).spawn(move || {
        // Whoever asked may have gone.
        let _ = send.send(resolver(&name));
    });
    match started {
        Ok(_) => timeout(PATIENCE, answer).await.ok().and_then(Result::ok).unwrap_or(Answer::Silence),
        Err(_) => Answer::Silence,
    }
}

fn unknown(names: &[String], config: &Config, path: &Path) -> ConfigError {
    let mut near: Vec<&str> = Vec::new();
    for name in names.iter().flat_map(|name| nearest_hosts(config, name)) {
        if !near.contains(&name) {
            near.push(name);
        }
    }
    near.truncate(3);
    let (path, near) = (path.display(), did_you_mean(&near));
    ConfigError::Invalid(match names {
        [name] => {
            format!("there is no host '{name}': it is neither in {path} nor known to DNS{near}")
        }
        names => {
            let names = folded(names).join(", ");
            format!("there are no hosts {names}: they are neither in {path} nor known to DNS{near}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::globals::ConnectionArgs;
    use crate::config::Paths;

    async fn check(name: &str, answer: Answer, via: Option<&str>) -> Result<(), String> {
        let paths = Paths::find(Some(Path::new("/c/config.toml"))).unwrap();
        let config = Config::parse(&paths.config, "[hosts.web1]\naddress = 'web1.example'\n").unwrap();
        let options = ConnectionArgs {
            user: Some("anna".into()),
            port: Some(9),
            via: via.map(str::to_owned),
            ..Default::default()
        };
        let endpoint = Endpoint::resolve(Some(&name.parse().unwrap()), &options, &config, &paths).unwrap();
        let resolver: Resolver = Arc::new(move |_| answer);
        let checked = check_name_with(&endpoint, &config, &paths.config, &resolver).await;
        checked.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_mistyped_name_is_refused_and_a_resolver_out_of_order_is_not_the_users_fault() {
        let error = check("wbe1", Answer::None, None).await.unwrap_err();
        assert_eq!(
            error,
            "there is no host 'wbe1': it is neither in /c/config.toml nor known to DNS; did you mean 'web1'?"
        );
        assert!(check("wbe1", Answer::Silence, None).await.unwrap_err().contains("did you mean 'web1'?"));
        assert!(check("storage", Answer::None, None).await.unwrap_err().ends_with("known to DNS"));
        check("storage", Answer::Silence, None).await.unwrap();
        check("wbe1", Answer::Known, None).await.unwrap();
        check("wbe1", Answer::None, Some("ssh x ftserver stdio")).await.unwrap();
        for name in ["web1", "localhost", "wbe1.example", "10.0.0.1", "::1"] {
            check(name, Answer::None, None).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_resolver_that_does_not_answer_is_waited_for_a_few_seconds() {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let held = std::sync::Mutex::new(held);
        let resolver: Resolver = Arc::new(move |_| {
            let _ = held.lock().unwrap().recv();
            Answer::Known
        });
        let before = tokio::time::Instant::now();
        assert_eq!(ask("web", &resolver).await, Answer::Silence);
        assert_eq!(before.elapsed(), PATIENCE);
        drop(release);
    }
}
