//! Which hosts a command line means.

use std::collections::{BTreeSet, HashSet};

use super::groups::ALL;
use super::list::Word;
use super::lookup::{self, Resolver};
use super::{HostList, did_you_mean, folded, nearest};
use crate::address::HostSpec;
use crate::cli::globals::ConnectionArgs;
use crate::config::{Config, ConfigError, HostEntry, Paths};
use crate::endpoint::Endpoint;

/// What `-H`, `-g`, `-x` and `--tags` say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// `-H`.
    pub hosts: Option<HostList>,
    /// `-g`: groups, of which `all` is every host.
    pub groups: Vec<String>,
    /// `-x`: hosts and groups to leave out.
    pub exclude: Option<HostList>,
    /// `--tags`: only hosts that have one of these.
    pub tags: Vec<String>,
}

/// The hosts that were selected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selected {
    /// Those that take part, in the order of the selection; at least one, none twice.
    pub hosts: Vec<HostSpec>,
    /// Names of those that are disabled, so left out.
    pub disabled: Vec<String>,
}

impl Selection {
    /// Many hosts by grammar, however many they are: `-g`, `--tags`, a pattern, a comma or `@FILE` was used.
    pub fn is_fleet(&self) -> bool {
        !self.groups.is_empty()
            || !self.tags.is_empty()
            || self.hosts.as_ref().is_some_and(|hosts| hosts.single().is_none())
    }

    /// The one host that a plain `-H` names.
    pub fn single(&self) -> Option<&HostSpec> {
        if self.is_fleet() { None } else { self.hosts.as_ref().and_then(HostList::single) }
    }
}

/// The hosts that take part. Reads the files of `-H` and `-x`, and looks bare names that the configuration does not
/// know up in DNS, so that a mistyped one is found before anything is begun.
pub async fn select(
    selection: &Selection,
    config: &Config,
    paths: &Paths,
    options: &ConnectionArgs,
) -> Result<Selected, ConfigError> {
    select_with(selection, config, paths, options, &lookup::system()).await
}

async fn select_with(
    selection: &Selection,
    config: &Config,
    paths: &Paths,
    options: &ConnectionArgs,
    resolver: &Resolver,
) -> Result<Selected, ConfigError> {
    let is_disabled = |host: &HostSpec| config.hosts.get(&host.host).is_some_and(|entry| !entry.is_enabled());
    // A file may be a pipe that somebody writes to slowly.
    let reading = selection.clone();
    let words = tokio::task::spawn_blocking(move || Words::read(&reading)).await;
    let words = words.map_err(|error| ConfigError::Invalid(format!("internal error: {error}")))??;
    let chosen = choose(selection, words, &Scope { config, paths, options })?;
    let (disabled, hosts): (Vec<_>, Vec<_>) = chosen.into_iter().partition(is_disabled);
    let disabled: Vec<String> = disabled.into_iter().map(|host| host.host).collect();
    if hosts.is_empty() {
        let (path, names) = (paths.config.display(), folded(&disabled).join(" "));
        return Err(ConfigError::Invalid(format!(
            "all hosts of the selection are disabled in {path}; enable them with: ftclient hosts add --enabled {names}"
        )));
    }
    if options.via.is_none() {
        let unknown = |host: &&HostSpec| {
            host.port.is_none() && lookup::is_bare(&host.host) && !config.hosts.contains_key(&host.host)
        };
        let names: BTreeSet<String> = hosts.iter().filter(unknown).map(|host| host.host.clone()).collect();
        lookup::check_all(names.into_iter().collect(), config, &paths.config, resolver).await?;
    }
    Ok(Selected { hosts, disabled })
}

/// The hosts that a selection means, the disabled ones among them: at least one, none twice, in the order of the
/// selection. Nothing is looked up.
pub(crate) fn chosen(
    selection: &Selection,
    config: &Config,
    paths: &Paths,
    options: &ConnectionArgs,
) -> Result<Vec<HostSpec>, ConfigError> {
    choose(selection, Words::read(selection)?, &Scope { config, paths, options })
}

/// The words of `-H` and `-x`, those of their files among them.
struct Words {
    hosts: Option<Vec<HostSpec>>,
    exclude: Vec<Word>,
}

impl Words {
    fn read(selection: &Selection) -> Result<Self, ConfigError> {
        let hosts = selection.hosts.as_ref().map(HostList::expand).transpose()?;
        let exclude = selection.exclude.as_ref().map(HostList::words).transpose()?;
        Ok(Self { hosts, exclude: exclude.unwrap_or_default() })
    }
}

fn choose(selection: &Selection, words: Words, scope: &Scope<'_>) -> Result<Vec<HostSpec>, ConfigError> {
    let Scope { config, paths, .. } = *scope;
    let invalid = |what: String| Err(ConfigError::Invalid(what));
    let mut seen = HashSet::new();
    let mut hosts = Vec::new();
    for spec in scope.named(words.hosts, &selection.groups)? {
        let target = scope.target(&spec)?;
        if seen.insert(target.clone()) {
            hosts.push((spec, target));
        }
    }
    if hosts.is_empty() {
        return invalid(format!("there is no host {}", described(selection, paths)));
    }
    if !selection.tags.is_empty() {
        scope.check_tags(&selection.tags)?;
        let has_one = |name: &str| {
            let tags = config.hosts.get(name).map_or(&[][..], |entry| entry.tags());
            tags.iter().any(|tag| selection.tags.contains(tag))
        };
        hosts.retain(|(spec, _)| has_one(&spec.host));
        if hosts.is_empty() {
            let (tags, chosen) = (selection.tags.join(" or "), described(selection, paths));
            return invalid(format!("there is no host with the tag {tags} {chosen}"));
        }
    }
    if !words.exclude.is_empty() {
        let all = hosts.clone();
        for word in words.exclude {
            let (specs, targets) = scope.excluded(&word, &all)?;
            hosts.retain(|(spec, target)| {
                // A bare name leaves out that host whatever user and port were typed with it.
                !targets.contains(target) && !specs.contains(&bare(&spec.host))
            });
        }
        if hosts.is_empty() {
            let all = all.len();
            return invalid(format!("nothing is left: -x leaves out all hosts of the selection ({all})"));
        }
    }
    Ok(hosts.into_iter().map(|(spec, _)| spec).collect())
}

/// Where the hosts were looked for, as in "in -g web".
fn described(selection: &Selection, paths: &Paths) -> String {
    let hosts = selection.hosts.iter().map(|hosts| format!("-H {hosts}"));
    let groups = Some(selection.groups.join(",")).filter(|groups| !groups.is_empty());
    let words: Vec<String> = hosts.chain(groups.map(|groups| format!("-g {groups}"))).collect();
    match words.as_slice() {
        [] => format!("in {}", paths.config.display()),
        words => format!("in {}", words.join(" ")),
    }
}

/// Who logs in where. Names of the same target are one host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Target {
    user: Option<String>,
    host: String,
    port: u16,
}

/// What names are understood by.
struct Scope<'a> {
    config: &'a Config,
    paths: &'a Paths,
    options: &'a ConnectionArgs,
}

impl Scope<'_> {
    fn target(&self, spec: &HostSpec) -> Result<Target, ConfigError> {
        let endpoint = Endpoint::at(spec.clone(), self.options, self.config, self.paths)?;
        let host = match endpoint.via {
            // Names of hosts know no case (RFC 4343).
            None => endpoint.host.to_ascii_lowercase(),
            // Behind a command of the user's only the name tells hosts apart.
            Some(_) => spec.host.clone(),
        };
        Ok(Target { user: endpoint.user, host, port: endpoint.port })
    }

    /// What `-H` and `-g` name, in this order; without both every host.
    fn named(&self, hosts: Option<Vec<HostSpec>>, groups: &[String]) -> Result<Vec<HostSpec>, ConfigError> {
        let mut hosts = match hosts {
            Some(hosts) => hosts,
            None if groups.is_empty() => self.config.names().map(bare).collect(),
            None => Vec::new(),
        };
        for group in groups {
            let members = self.members(group).ok_or_else(|| {
                let near = did_you_mean(&nearest(group, self.config.groups.keys().map(String::as_str)));
                let path = self.paths.config.display();
                ConfigError::Invalid(format!("there is no group '{group}' in {path}{near}"))
            })?;
            hosts.extend(members);
        }
        Ok(hosts)
    }

    fn members(&self, group: &str) -> Option<Vec<HostSpec>> {
        match group {
            ALL => Some(self.config.names().map(bare).collect()),
            group => {
                self.config.groups.get(group).map(|members| members.iter().map(|name| bare(name)).collect())
            }
        }
    }

    /// A tag that no host has is mistyped.
    fn check_tags(&self, tags: &[String]) -> Result<(), ConfigError> {
        let known = self.config.hosts.values().flat_map(HostEntry::tags);
        let known: HashSet<&str> = known.map(String::as_str).collect();
        tags.iter().find(|tag| !known.contains(tag.as_str())).map_or(Ok(()), |tag| {
            let near = did_you_mean(&nearest(tag, known.iter().copied()));
            let path = self.paths.config.display();
            Err(ConfigError::Invalid(format!("no host has the tag '{tag}' in {path}{near}")))
        })
    }

    /// What a word of `-x` leaves out, as it is written and as it resolves. A word that names nothing at all is an
    /// error, for it is mistyped.
    fn excluded(
        &self,
        word: &Word,
        all: &[(HostSpec, Target)],
    ) -> Result<(HashSet<HostSpec>, HashSet<Target>), ConfigError> {
        let is_host = |name: &str| {
            self.config.hosts.contains_key(name) || all.iter().any(|(spec, _)| spec.host == name)
        };
        let group = match word.hosts.as_slice() {
            [HostSpec { user: None, host, port: None }] if !is_host(host) => self.members(host),
            _ => None,
        };
        let mut known = group.is_some();
        let specs: HashSet<HostSpec> = group.unwrap_or_else(|| word.hosts.clone()).into_iter().collect();
        let mut targets = HashSet::new();
        for spec in &specs {
            let target = self.target(spec)?;
            known |= is_host(&spec.host) || all.iter().any(|(_, other)| *other == target);
            targets.insert(target);
        }
        if known {
            return Ok((specs, targets));
        }
        let selected = all.iter().map(|(spec, _)| spec.host.as_str());
        let groups = self.config.groups.keys().map(String::as_str);
        let near = did_you_mean(&nearest(&word.text, selected.chain(self.config.names()).chain(groups)));
        Err(ConfigError::Invalid(format!("-x {}: there is no such host or group{near}", word.text)))
    }
}

fn bare(name: &str) -> HostSpec {
    HostSpec { user: None, host: name.to_owned(), port: None }
}

#[cfg(test)]
#[path = "select_tests.rs"]
mod tests;
