//! `hosts`: what the configuration says of hosts, and changes of it.

mod event;
mod import;
mod show;

use std::collections::BTreeSet;
use std::time::Instant;

use super::Failed;
use super::context::Context;
use crate::address::{DEFAULT_PORT, HostSpec};
use crate::cli::{AddPlan, HostsPlan};
use crate::config::{Config, ConfigError, HostEntry};
use crate::config_edit::Editor;
use crate::exit::Exit;
use crate::inventory::{Selection, chosen, did_you_mean, nearest_hosts};
use crate::output::{Event, columns};
use event::{Change, Described, HostEvent};

pub(super) async fn run(context: &Context, plan: HostsPlan) -> Result<Exit, Failed> {
    // Files may be pipes, and locks are waited for: signals and the deadline are looked at meanwhile.
    let context = context.clone();
    let done = tokio::task::spawn_blocking(move || carry_out(&context, plan)).await;
    done.map_err(|error| Failed::new(Exit::Failure, format!("internal error: {error}")))?
}

fn carry_out(context: &Context, plan: HostsPlan) -> Result<Exit, Failed> {
    match plan {
        HostsPlan::List(selection) => list(context, &selection),
        HostsPlan::Show(name) => show::run(context, &name),
        HostsPlan::Add(plan) => add(context, *plan),
        HostsPlan::Remove(names) => remove(context, names),
        HostsPlan::Import(plan) => import::run(context, &plan),
        HostsPlan::Ping(_) => Err(Failed::new(Exit::Failure, "internal error: ping is for many hosts")),
    }
}

/// Logs in to the host of this context, once.
pub(super) async fn ping(context: &Context) -> Result<Exit, Failed> {
    let begun = Instant::now();
    let mut server = context.server().await?;
    server.client.set_retries(0);
    server.client.login().await?;
    let seconds = begun.elapsed().as_secs_f64();
    let rights = server.client.rights().unwrap_or_default().to_string();
    let user = server.user.clone().unwrap_or_default();
    if context.output.options().json {
        context.output.event(&Event::Pong { host: server.name.clone(), user, rights, seconds })?;
    } else {
        context.output.data(format!("{:.1} ms, {user} may {rights}\n", seconds * 1e3).as_bytes())?;
    }
    server.client.close().await;
    Ok(Exit::Ok)
}

fn list(context: &Context, selection: &Selection) -> Result<Exit, Failed> {
    let config = &context.config;
    let nothing = *selection == Selection::default();
    if nothing && config.hosts.is_empty() {
        let path = context.paths.config.display();
        context.output.info(&format!("there are no hosts in {path}; 'ftclient hosts add' adds some"))?;
        return Ok(Exit::Ok);
    }
    let hosts = chosen(selection, config, &context.paths, &context.connection)?;
    if context.output.options().json {
        for host in &hosts {
            event::write(context, &HostEvent::HostEntry(Described::of(host, config)?))?;
        }
        return Ok(Exit::Ok);
    }
    let mut rows = vec![["NAME", "ADDRESS", "USER", "TAGS", "GROUPS", ""].map(str::to_owned)];
    for host in &hosts {
        rows.push(row(host, config)?);
    }
    let lines: String = columns(&rows, [false; 6]).iter().map(|line| format!("{line}\n")).collect();
    context.output.data(lines.as_bytes())?;
    Ok(Exit::Ok)
}

/// What the configuration says of a host: name or address, and port.
fn place(host: &HostSpec, entry: &HostEntry) -> Result<(String, u16), ConfigError> {
    let address = entry.spec(&host.host)?;
    let port = host.port.or(address.port).or(entry.port).unwrap_or(DEFAULT_PORT);
    Ok((address.host, port))
}

fn entry_of<'a>(host: &HostSpec, config: &'a Config) -> std::borrow::Cow<'a, HostEntry> {
    config.hosts.get(&host.host).map_or_else(Default::default, std::borrow::Cow::Borrowed)
}

fn row(host: &HostSpec, config: &Config) -> Result<[String; 6], ConfigError> {
    let entry = entry_of(host, config);
    let (address, port) = place(host, &entry)?;
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    Ok([
        host.host.clone(),
        crate::address::host_port(&address, port),
        or_dash(host.user.clone().or(entry.user.clone()).unwrap_or_default()),
        or_dash(entry.tags().join(",")),
        or_dash(config.groups_of(&host.host).join(",")),
        if entry.is_enabled() { String::new() } else { "disabled".to_owned() },
    ])
}

fn add(context: &Context, plan: AddPlan) -> Result<Exit, Failed> {
    let AddPlan { names, entry, groups } = plan;
    let mut editor = Editor::open(&context.paths.config)?;
    for name in &names {
        editor.set_host(name, &entry)?;
    }
    let mut joined: Vec<(String, BTreeSet<String>)> = Vec::new();
    for group in groups {
        let added = editor.add_to_group(&group, &names)?;
        joined.push((group, added.into_iter().collect()));
    }
    let before = editor.config().clone();
    editor.save()?;
    let after = Config::load(&context.paths.config, true)?;
    for name in &names {
        let change = match before.hosts.get(name) {
            None => Change::Added,
            old if old != after.hosts.get(name) => Change::Changed,
            _ => Change::Unchanged,
        };
        let into = joined.iter().filter(|(_, added)| added.contains(name)).map(|(group, _)| group.clone());
        let groups: Vec<String> = into.collect();
        let change = if change == Change::Unchanged && !groups.is_empty() { Change::Changed } else { change };
        let into = if groups.is_empty() { String::new() } else { format!(" (now in {})", groups.join(", ")) };
        context.output.info(&format!("{} {name}{into}", change.word()))?;
        event::write(
            context,
            &HostEvent::HostChange { host: name.clone(), change, groups, was_default: false },
        )?;
    }
    Ok(Exit::Ok)
}

fn remove(context: &Context, names: Vec<String>) -> Result<Exit, Failed> {
    let mut editor = Editor::open(&context.paths.config)?;
    if let Some(name) = names.iter().find(|name| !editor.config().hosts.contains_key(*name)) {
        return Err(unknown(context, editor.config(), name));
    }
    let removed = editor.remove_hosts(&names.iter().cloned().collect::<BTreeSet<_>>());
    let before = editor.config().clone();
    editor.save()?;
    for name in names {
        let groups = removed.groups.get(&name).cloned().unwrap_or_default();
        let was_default = removed.default_host.as_ref() == Some(&name);
        let mut also = Vec::new();
        if !groups.is_empty() {
            also.push(format!("also from {}", groups.join(", ")));
        }
        if was_default {
            also.push("it was default_host, and now none is".to_owned());
        }
        if let Some(file) = before.hosts.get(&name).and_then(|entry| entry.password_file.as_ref()) {
            also.push(format!("its password file {} is still there", file.display()));
        }
        let also = if also.is_empty() { String::new() } else { format!(" ({})", also.join("; ")) };
        context.output.info(&format!("removed {name}{also}"))?;
        event::write(
            context,
            &HostEvent::HostChange { host: name, change: Change::Removed, groups, was_default },
        )?;
    }
    Ok(Exit::Ok)
}

/// A name that is not in the configuration.
fn unknown(context: &Context, config: &Config, name: &str) -> Failed {
    let (path, near) = (context.paths.config.display(), did_you_mean(&nearest_hosts(config, name)));
    Failed::alone(Exit::Usage, format!("there is no host '{name}' in {path}{near}"))
}
