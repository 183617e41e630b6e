//! The older form of an inventory, an INI file, made part of the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::groups;
use super::ini::{self, Entry, Ini, Section};
use crate::address::{self, HostSpec};
use crate::config::{Config, ConfigError, HostEntry, Paths};
use crate::config_edit::Editor;
use crate::credentials::MAX_PASSWORD;

mod passwords;

use passwords::Passwords;

/// Longest file, in bytes.
const MAX_FILE: u64 = 16 << 20;
/// The port of ssh, where no ftserver listens.
const SSH: u16 = 22;
/// Keys of a host that are understood.
const KEYS: [&str; 5] = ["ip", "port", "user", "password", "enable"];

/// What was found in the file, in its order.
pub(crate) struct Import {
    pub(crate) found: Vec<Found>,
    /// The file holds passwords, and others may read it.
    pub(crate) exposed: bool,
    /// The directory of the passwords, where others could enter it and cannot any more.
    pub(crate) closed: Option<PathBuf>,
}

/// A part of the file.
pub(crate) struct Found {
    /// Line number from 1.
    pub(crate) line: usize,
    pub(crate) what: What,
}

pub(crate) enum What {
    Host(ImportedHost),
    Group(ImportedGroup),
    /// A whole section that is left out, and why.
    Skipped {
        name: String,
        why: String,
    },
    /// Something within a section, or outside of all, that is not as it was written.
    Note {
        name: String,
        what: String,
    },
}

pub(crate) struct ImportedHost {
    pub(crate) name: String,
    pub(crate) entry: HostEntry,
    password: Option<Zeroizing<String>>,
    pub(crate) replaces: bool,
}

pub(crate) struct ImportedGroup {
    pub(crate) name: String,
    pub(crate) hosts: Vec<String>,
    pub(crate) replaces: bool,
}

/// Reads the file and takes it into the configuration, whole or not at all; with `dry_run` nothing is written.
pub(crate) fn import(
    file: &Path,
    paths: &Paths,
    replace: bool,
    dry_run: bool,
) -> Result<Import, ConfigError> {
    let (text, mode) = read(file)?;
    let ini = ini::parse(&text);
    let (found, closed) = if dry_run {
        (Plan::new(&Config::load(&paths.config, false)?, replace).run(&ini), None)
    } else {
        let mut editor = Editor::open(&paths.config)?;
        let found = Plan::new(editor.config(), replace).run(&ini);
        let passwords = write(&found, &mut editor, paths)?;
        editor.save()?;
        (found, passwords.keep())
    };
    let holds_passwords = ini
        .sections
        .iter()
        .any(|section| section.get("password").is_some_and(|entry| !entry.value.is_empty()));
    Ok(Import { found, exposed: holds_passwords && mode & 0o077 != 0, closed })
}

/// The text, and the mode of the file.
fn read(path: &Path) -> Result<(Zeroizing<String>, u32), ConfigError> {
    let failed = |error| ConfigError::Io { path: path.to_owned(), error };
    let file = fs::File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode();
    let mut bytes = Zeroizing::new(Vec::new());
    if file.take(MAX_FILE).read_to_end(&mut bytes).map_err(failed)? as u64 == MAX_FILE {
        return Err(failed(io::Error::other("too long to be an inventory")));
    }
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        let what = "it is not UTF-8; 'iconv -f latin1 -t utf-8' makes it so".to_owned();
        ConfigError::Syntax { path: path.to_owned(), line, what }
    })?;
    Ok((Zeroizing::new(text.to_owned()), mode))
}

/// Writes the passwords, and puts hosts and groups into the document.
fn write(found: &[Found], editor: &mut Editor, paths: &Paths) -> Result<Passwords, ConfigError> {
    let mut passwords = Passwords::beside(&paths.config);
    for Found { what, .. } in found {
        match what {
            What::Host(host) => {
                let mut entry = host.entry.clone();
                if let Some(password) = &host.password {
                    entry.password_file = Some(passwords.write(&host.name, password)?);
                }
                if host.replaces {
                    editor.clear_host(&host.name, &["address", "port", "enabled"])?;
                }
                editor.set_host(&host.name, &entry)?;
            }
            What::Group(group) => editor.set_group(&group.name, &group.hosts)?,
            What::Skipped { .. } | What::Note { .. } => {}
        }
    }
    Ok(passwords)
}

impl ImportedHost {
    /// Where its password goes, beside the configuration.
    pub(crate) fn password_file(&self) -> Option<PathBuf> {
        self.password.as_ref().map(|_| passwords::file_of(&self.name))
    }
}

/// Takes a file apart.
struct Plan<'a> {
    config: &'a Config,
    replace: bool,
    found: Vec<Found>,
    /// Names of hosts that groups may hold, by their lower-case form: configparser knows keys in lower case only.
    known: BTreeMap<String, String>,
}

impl<'a> Plan<'a> {
    fn new(config: &'a Config, replace: bool) -> Self {
        let mut plan = Self { config, replace, found: Vec::new(), known: BTreeMap::new() };
        config.names().for_each(|name| plan.know(name));
        plan
    }

    fn run(mut self, ini: &Ini) -> Vec<Found> {
        for bad in &ini.bad {
            self.note(bad.line, "", bad.what);
        }
        let defaults = ini.sections.iter().find(|section| section.name == "DEFAULT");
        let mut seen = BTreeSet::from(["DEFAULT"]);
        let mut groups = Vec::new();
        for section in ini.sections.iter().filter(|section| section.name != "DEFAULT") {
            if !seen.insert(section.name.as_str()) {
                self.skip(section, "a section of this name came before it");
            } else if section.get("ip").is_some() {
                match self.host(section, defaults) {
                    Ok(host) => self.push(section.line, What::Host(host)),
                    Err(why) => self.skip(section, &why),
                }
            } else if section.entries.is_empty() {
                self.skip(section, "it is empty");
            } else {
                groups.push(section);
            }
        }
        for section in groups {
            match self.group(section) {
                Ok(group) => self.push(section.line, What::Group(group)),
                Err(why) => self.skip(section, &why),
            }
        }
        self.found.sort_by_key(|found| found.line);
        self.found
    }

    fn host(&mut self, section: &Section, defaults: Option<&Section>) -> Result<ImportedHost, String> {
        let name = section.name.as_str();
        address::check_host(name).map_err(|_| {
            "the name of a host has letters, digits, '.', '-' and '_', and not dots alone".to_owned()
        })?;
        let exists = self.config.hosts.contains_key(name);
        if exists && !self.replace {
            return Err("it is in the configuration already; --replace takes this one instead".into());
        }
        let get = |key: &'static str| {
            let entry = section.get(key).or_else(|| defaults.and_then(|defaults| defaults.get(key)));
            entry.filter(|entry| !entry.value.is_empty())
        };
        let mut host = read_host(&get)?;
        self.know(name);
        if host.port == Some(SSH) {
            host.port = None;
            let what = format!(
                "port 22 is ssh's: {} is used; change it with: ftclient hosts add {name} -P PORT",
                address::DEFAULT_PORT
            );
            let line = get("port").map_or(section.line, |entry| entry.line);
            self.note(line, name, &what);
        }
        for entry in section.entries.iter().filter(|entry| !KEYS.contains(&entry.key.as_str())) {
            self.note(entry.line, name, &format!("'{}' is left out: ft has no such setting", entry.key));
        }
        let password = get("password").map(|entry| entry.value.clone());
        Ok(ImportedHost { name: name.to_owned(), entry: host, password, replaces: exists })
    }

    fn group(&mut self, section: &Section) -> Result<ImportedGroup, String> {
        let name = section.name.as_str();
        let takes_part = |entry: &Entry| ini::boolean(&entry.value);
        if let Some(other) = section.entries.iter().find(|entry| takes_part(entry).is_none()) {
            let Entry { line, key, .. } = other;
            return Err(format!(
                "it is no host, for it has no 'ip', and no group, for '{key}' (line {line}) is neither True nor False"
            ));
        }
        groups::check_name(name)?;
        let exists = self.config.groups.contains_key(name);
        if exists && !self.replace {
            return Err("the configuration has a group of this name; --replace takes this one instead".into());
        }
        let mut hosts = Vec::new();
        for entry in &section.entries {
            let host = self.known.get(&entry.key).cloned();
            match (takes_part(entry), host) {
                (Some(true), Some(host)) => hosts.push(host),
                (Some(true), None) => {
                    let what = format!("'{}' is left out: there is no such host", entry.key);
                    self.note(entry.line, name, &what);
                }
                (_, _) => {
                    self.note(entry.line, name, &format!("'{}' is False and does not take part", entry.key))
                }
            }
        }
        match hosts.is_empty() {
            true => Err("none of its hosts is left".into()),
            false => Ok(ImportedGroup { name: name.to_owned(), hosts, replaces: exists }),
        }
    }

    /// Groups may hold this host. Of names that differ in case only, the one in lower case is meant.
    fn know(&mut self, name: &str) {
        let lower = name.to_lowercase();
        if lower == name || !self.known.contains_key(&lower) {
            self.known.insert(lower, name.to_owned());
        }
    }

    fn push(&mut self, line: usize, what: What) {
        self.found.push(Found { line, what });
    }

    fn skip(&mut self, section: &Section, why: &str) {
        self.push(section.line, What::Skipped { name: section.name.clone(), why: why.to_owned() });
    }

    fn note(&mut self, line: usize, name: &str, what: &str) {
        self.push(line, What::Note { name: name.to_owned(), what: what.to_owned() });
    }
}

/// The entry of a host without its password. Values of the file are in no error: one may be a password that stands
/// behind the wrong key.
fn read_host<'e>(get: &impl Fn(&'static str) -> Option<&'e Entry>) -> Result<HostEntry, String> {
    let bad = |entry: &Entry, what: &str| format!("line {}: {what}", entry.line);
    let ip = get("ip").ok_or("its ip is empty")?;
    let address: HostSpec = ip.value.parse().map_err(|_| bad(ip, "ip is no address"))?;
    if address.user.is_some() {
        return Err(bad(ip, "ip is no address"));
    }
    let port = get("port").map(|entry| match entry.value.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(bad(entry, "the port is a number from 1 to 65535")),
    });
    let user = get("user").map(|entry| match address::check_user(&entry.value) {
        Ok(()) => Ok(entry.value.to_string()),
        Err(_) => Err(bad(entry, "this is no name of a user")),
    });
    let enabled = get("enable").map(|entry| {
        ini::boolean(&entry.value).ok_or_else(|| bad(entry, "enable is neither True nor False"))
    });
    if let Some(password) = get("password") {
        match password.value.as_str() {
            text if text.contains('\n') => return Err(bad(password, "the password has several lines")),
            text if text.len() > MAX_PASSWORD => {
                return Err(bad(password, "the password is longer than 1024 bytes"));
            }
            _ => {}
        }
    }
    Ok(HostEntry {
        port: port.transpose()?.or(address.port),
        address: Some(HostSpec { port: None, ..address }.to_string()),
        user: user.transpose()?,
        // Hosts are enabled where nothing says otherwise.
        enabled: enabled.transpose()?.filter(|enabled| !enabled),
        ..HostEntry::default()
    })
}

#[cfg(test)]
#[path = "import/tests.rs"]
mod tests;
