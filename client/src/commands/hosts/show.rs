//! `hosts show`.

use ft_protocol::display::Escaped;

use super::super::Failed;
use super::super::context::Context;
use super::event::{self, Described, HostEvent};
use super::{place, unknown};
use crate::address::{HostSpec, host_port};
use crate::config::HostEntry;
use crate::credentials::{self, PasswordSource};
use crate::endpoint::Endpoint;
use crate::exit::Exit;
use crate::known_hosts::{How, KnownHosts};

pub(super) fn run(context: &Context, name: &str) -> Result<Exit, Failed> {
    let config = &context.config;
    let entry = config.hosts.get(name).ok_or_else(|| unknown(context, config, name))?;
    let spec = HostSpec { user: None, host: name.to_owned(), port: None };
    let (address, port) = place(&spec, entry)?;
    let described = Described::of(&spec, config)?;
    let default = config.default_host.as_deref().and_then(|host| host.parse::<HostSpec>().ok());
    let is_default = default.is_some_and(|default| default.host == name);
    let credentials = credentials(context, spec)?;
    let key = key(context, entry, &address, port)?;
    if context.output.options().json {
        let confirmed_by = key.as_ref().map(|(_, how)| how.map_or("configuration", How::word));
        let fingerprint = key.map(|(key, _)| key);
        event::write(
            context,
            &HostEvent::HostShow {
                entry: described,
                default: is_default,
                credentials,
                fingerprint,
                confirmed_by,
            },
        )?;
        return Ok(Exit::Ok);
    }
    let key = match key {
        Some((key, None)) => format!("{key} (of the configuration)"),
        Some((key, Some(how))) => format!("{key} ({})", how.described()),
        None => format!("not known; 'ftclient trust {name}' shows and confirms it"),
    };
    let credentials = match credentials.as_slice() {
        [] => "none of its own: the client's key, the ssh-agent and ~/.ssh/id_ed25519 are tried".to_owned(),
        own => own.join("; "),
    };
    let mut lines = vec![("host", name.to_owned()), ("address", host_port(&address, port))];
    lines.extend(entry.user.clone().map(|user| ("user", user)));
    lines.extend(entry.root.as_ref().map(|root| ("root", root.to_string())));
    lines.extend(Some(("tags", entry.tags().join(", "))).filter(|(_, tags)| !tags.is_empty()));
    lines
        .extend(Some(("groups", config.groups_of(name).join(", "))).filter(|(_, groups)| !groups.is_empty()));
    lines.extend((!entry.is_enabled()).then(|| ("enabled", "no: selections leave it out".to_owned())));
    lines.extend(is_default.then(|| ("default", "yes: operands without a host are on it".to_owned())));
    lines.push(("credentials", credentials));
    lines.push(("server key", key));
    let text: String =
        lines.iter().map(|(what, is)| format!("{what:12} {}\n", Escaped::from(is.as_str()))).collect();
    context.output.data(text.as_bytes())?;
    Ok(Exit::Ok)
}

/// Where the credentials of its own entry come from, and what keeps them from being used.
fn credentials(context: &Context, spec: HostSpec) -> Result<Vec<String>, Failed> {
    // What this command line or the environment would add is nothing of the host's.
    let endpoint = Endpoint::at(spec, &Default::default(), &context.config, &context.paths)?;
    let usable = |path: &std::path::Path| match credentials::check_file(path) {
        Ok(()) => String::new(),
        Err(error) => format!(" (unusable: {error})"),
    };
    let keys = endpoint.identities.iter().map(|path| format!("key {}{}", path.display(), usable(path)));
    let password = endpoint.password.map(|source| match &source {
        PasswordSource::File(path) => format!("{source}{}", usable(path)),
        // Its words may hold a secret.
        PasswordSource::Command(_) | PasswordSource::Prompt(_) => source.to_string(),
    });
    Ok(keys.chain(password).collect())
}

/// The key that the server must have, and how it came to be trusted; no word of that where the configuration says it.
fn key(
    context: &Context,
    entry: &HostEntry,
    address: &str,
    port: u16,
) -> Result<Option<(String, Option<How>)>, Failed> {
    if let Some(key) = &entry.fingerprint {
        return Ok(Some((key.clone(), None)));
    }
    let known = KnownHosts::new(&context.paths.known_hosts).lookup(address, port)?;
    Ok(known.map(|known| (known.fingerprint.to_string(), Some(known.how))))
}
