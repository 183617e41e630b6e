//! `hosts import`.

use super::super::Failed;
use super::super::context::Context;
use super::event::{self, HostEvent};
use crate::cli::ImportPlan;
use crate::exit::Exit;
use crate::inventory::import::{Found, ImportedGroup, ImportedHost, What, import};

pub(super) fn run(context: &Context, plan: &ImportPlan) -> Result<Exit, Failed> {
    let file = plan.file.display();
    let imported = import(&plan.file, &context.paths, plan.replace, plan.dry_run)?;
    let say = |line: String| context.output.info(&line);
    let (mut hosts, mut disabled, mut groups, mut skipped) = (0, 0, 0, 0);
    for Found { line, what } in imported.found {
        match what {
            What::Host(host) => {
                hosts += 1;
                disabled += usize::from(!host.entry.is_enabled());
                say(host_line(&host))?;
                event::write(context, &host_event(line, &host, plan.dry_run))?;
            }
            What::Group(ImportedGroup { name, hosts, replaces }) => {
                groups += 1;
                let replaces_it = if replaces { ", in place of the one that was there" } else { "" };
                let members = crate::inventory::fold(&hosts);
                say(format!("group {name}: {members}{replaces_it}"))?;
                let (replaced, dry_run) = (replaces, plan.dry_run);
                event::write(
                    context,
                    &HostEvent::GroupImport { group: name, line, hosts, replaced, dry_run },
                )?;
            }
            What::Skipped { name, why } => {
                skipped += 1;
                say(format!("{file}:{line}: skipped [{name}]: {why}"))?;
                event::write(context, &HostEvent::ImportSkip { section: name, line, message: why })?;
            }
            What::Note { name, what } => {
                let section = if name.is_empty() { String::new() } else { format!("[{name}]: ") };
                say(format!("{file}:{line}: {section}{what}"))?;
                let line = Some(line);
                event::write(context, &HostEvent::ImportNote { section: name, line, message: what })?;
            }
        }
    }
    if imported.exposed {
        let message = format!("{file} holds passwords, and others may read it; run: chmod 600 {file}");
        say(format!("warning: {message}"))?;
        event::write(context, &HostEvent::ImportNote { section: String::new(), line: None, message })?;
    }
    if let Some(directory) = imported.closed {
        let directory = directory.display();
        let message = format!("others could enter {directory}; it is mode 700 now");
        say(format!("warning: {message}"))?;
        event::write(context, &HostEvent::ImportNote { section: String::new(), line: None, message })?;
    }
    if hosts + groups + skipped == 0 {
        return Err(Failed::alone(
            Exit::Usage,
            format!("{file} holds no hosts: a host is a [section] with 'ip = ADDRESS'"),
        ));
    }
    let verb = if plan.dry_run { "would import" } else { "imported" };
    let off = if disabled > 0 { format!(" ({disabled} disabled)") } else { String::new() };
    let left = if skipped > 0 { format!("; skipped {skipped}") } else { String::new() };
    say(format!("{verb} {}{off} and {}{left}", counted(hosts, "host"), counted(groups, "group")))?;
    if hosts > 0 && !plan.dry_run {
        say("next: confirm the servers' keys with 'ftclient trust -g all'; see who answers with 'ftclient hosts ping -g all'".to_owned())?;
    }
    let (dry_run, exit) = (plan.dry_run, Exit::Ok.code());
    event::write(context, &HostEvent::Summary { hosts, disabled, groups, skipped, dry_run, exit })?;
    Ok(Exit::Ok)
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn host_line(host: &ImportedHost) -> String {
    let entry = &host.entry;
    let mut words = vec![entry.address.clone().unwrap_or_default()];
    words.extend(entry.port.map(|port| format!("port {port}")));
    words.extend(entry.user.as_ref().map(|user| format!("user {user}")));
    words.extend(host.password_file().map(|file| format!("password in {}", file.display())));
    words.extend((!entry.is_enabled()).then(|| "disabled".to_owned()));
    words.extend(host.replaces.then(|| "in place of the one that was there".to_owned()));
    format!("host {}: {}", host.name, words.join(", "))
}

fn host_event(line: usize, host: &ImportedHost, dry_run: bool) -> HostEvent {
    let entry = &host.entry;
    HostEvent::HostImport {
        host: host.name.clone(),
        line,
        address: entry.address.clone(),
        port: entry.port,
        user: entry.user.clone(),
        enabled: entry.is_enabled(),
        password_file: host.password_file().map(|file| file.display().to_string()),
        replaced: host.replaces,
        dry_run,
    }
}
