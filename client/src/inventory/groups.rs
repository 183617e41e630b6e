//! `[groups.NAME]`: names for several hosts.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use toml::Spanned;

use super::nearest::{did_you_mean, nearest};
use super::{HostPattern, Term};
use crate::address::{self, HostSpec};

/// The group that every host is in.
pub(crate) const ALL: &str = "all";
/// Most groups beneath each other, the outermost among them.
const MAX_DEPTH: usize = 64;

/// A group as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupEntry {
    #[serde(default)]
    hosts: Vec<Spanned<String>>,
    #[serde(default)]
    groups: Vec<Spanned<String>>,
}

/// What is wrong, and where in the text.
pub(crate) type Wrong = (usize, String);

/// The hosts of each group: first its own, then those of its groups, each once.
pub(crate) fn resolve<'a>(
    groups: &BTreeMap<Spanned<String>, GroupEntry>,
    is_host: impl Fn(&str) -> bool,
    hosts: impl Iterator<Item = &'a str> + Clone,
) -> Result<BTreeMap<String, Vec<String>>, Wrong> {
    let entries: BTreeMap<&str, &GroupEntry> =
        groups.iter().map(|(name, entry)| (name.as_ref().as_str(), entry)).collect();
    for name in groups.keys() {
        check_name(name.as_ref()).map_err(|what| (name.span().start, what))?;
    }
    for word in entries.values().flat_map(|entry| &entry.hosts) {
        let wrong = |what| (word.span().start, what);
        let unknown = names(word.as_ref()).map_err(wrong)?.into_iter().find(|name| !is_host(name));
        if let Some(unknown) = unknown {
            let near = did_you_mean(&nearest(&unknown, hosts.clone()));
            return Err(wrong(format!("there is no host '{unknown}'{near}")));
        }
    }
    for word in entries.values().flat_map(|entry| &entry.groups) {
        let name = word.as_ref().as_str();
        if !entries.contains_key(name) {
            let near = did_you_mean(&nearest(name, entries.keys().copied()));
            return Err((word.span().start, format!("there is no group '{name}'{near}")));
        }
    }
    let mut resolved = BTreeMap::new();
    for name in entries.keys() {
        add(name, &entries, &mut Vec::new(), &mut resolved)?;
    }
    Ok(resolved.into_iter().map(|(name, group)| (name, group.members)).collect())
}

/// A group whose hosts are known.
struct Resolved {
    members: Vec<String>,
    /// How many groups are beneath each other here, at most.
    depth: usize,
}

/// Checks the name of a group, which is written as that of a host is.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name == ALL {
        return Err("the group 'all' is every host and is not written; choose another name".into());
    }
    address::check_host(name).map_err(|error| error.0.replacen("bad host", "bad name of a group", 1))
}

/// The hosts that a word of a group stands for.
pub(crate) fn names(word: &str) -> Result<Vec<String>, String> {
    let plain = |plain: bool| match plain {
        true => Ok(()),
        false => {
            Err(format!("'{word}' is no name of a host: user and port are those of its entry in [hosts]"))
        }
    };
    match word.parse().map_err(|error: address::AddressError| error.0)? {
        Term::Host(HostSpec { user, host, port }) => {
            plain(user.is_none() && port.is_none()).map(|()| vec![host])
        }
        Term::Pattern(pattern) => plain(HostPattern::is_plain(&pattern)).map(|()| pattern.names()),
        Term::File(_) => Err(format!("'{word}': a group names hosts and patterns, no files")),
    }
}

/// Resolves a group and those beneath it. `way` are the groups that led here, fewer than [`MAX_DEPTH`].
fn add<'a>(
    name: &'a str,
    entries: &BTreeMap<&'a str, &'a GroupEntry>,
    way: &mut Vec<&'a str>,
    resolved: &mut BTreeMap<String, Resolved>,
) -> Result<(), Wrong> {
    let Some(entry) = entries.get(name).filter(|_| !resolved.contains_key(name)) else { return Ok(()) };
    way.push(name);
    let (mut members, mut depth) = (Vec::new(), 1);
    for word in &entry.hosts {
        members.extend(names(word.as_ref()).map_err(|what| (word.span().start, what))?);
    }
    for word in &entry.groups {
        let inner = word.as_ref().as_str();
        let wrong = |what| Err((word.span().start, what));
        if let Some(from) = way.iter().position(|group| *group == inner) {
            let mut circle: Vec<&str> = way.iter().skip(from).copied().collect();
            circle.push(inner);
            return wrong(format!("the groups hold each other in a circle: {}", circle.join(" → ")));
        }
        // The way is looked at before it gets longer, so that no file can use up the stack.
        let too_deep = || wrong(format!("the groups are nested more than {MAX_DEPTH} deep"));
        if way.len() == MAX_DEPTH {
            return too_deep();
        }
        add(inner, entries, way, resolved)?;
        if let Some(inner) = resolved.get(inner) {
            depth = depth.max(inner.depth + 1);
            members.extend(inner.members.iter().cloned());
        }
        // Those beneath may have been resolved before this group was come to.
        if depth > MAX_DEPTH {
            return too_deep();
        }
    }
    way.pop();
    let mut seen = HashSet::new();
    members.retain(|member| seen.insert(member.clone()));
    resolved.insert(name.to_owned(), Resolved { members, depth });
    Ok(())
}
