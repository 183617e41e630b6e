//! Changes `config.toml` and leaves everything else in it as the user wrote it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use toml_edit::{Array, DocumentMut, Item, Table, TableLike, Value};

use crate::address::{self, HostSpec};
use crate::config::{Config, ConfigError, HostEntry};
use crate::files::{self, Lock};
use crate::inventory::{folded, groups};
use form::Form;

mod comments;
mod form;

/// Adds or updates `[hosts.NAME]` with the fields that `entry` has, and makes it `default_host` where there is
/// none. Comments, order and unrelated keys stay. Returns whether the host became the default one.
pub fn add_host(path: &Path, name: &str, entry: &HostEntry) -> Result<bool, ConfigError> {
    let mut editor = Editor::open(path)?;
    editor.set_host(name, entry)?;
    let becomes_default = editor.config().default_host.is_none();
    if becomes_default {
        editor.set_default_host(name);
    }
    editor.save()?;
    Ok(becomes_default)
}

/// The file, held under its lock until it is saved or dropped.
#[derive(Debug)]
pub struct Editor {
    path: PathBuf,
    mode: u32,
    before: String,
    config: Config,
    document: DocumentMut,
    _lock: Lock,
}

/// What else named the hosts that were removed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// The groups that a host was taken out of, by host.
    pub groups: BTreeMap<String, Vec<String>>,
    /// The one that was `default_host`, which is none now.
    pub default_host: Option<String>,
}

impl Editor {
    /// Reads the file, which need not exist; waits for others that change it.
    pub fn open(path: &Path) -> Result<Self, ConfigError> {
        let io = |error| ConfigError::Io { path: path.to_owned(), error };
        let lock = files::lock_directory_of(path).map_err(io)?;
        let (before, mode) = match fs::read_to_string(path) {
            Ok(text) => (text, fs::metadata(path).map_err(io)?.permissions().mode() & 0o777),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (String::new(), 0o600),
            Err(error) => return Err(io(error)),
        };
        let config = Config::parse(path, &before)?;
        let document = Form::of(&before)
            .plain(&before)
            .parse()
            .map_err(|error: toml_edit::TomlError| ConfigError::Invalid(error.to_string()))?;
        Ok(Self { path: path.to_owned(), mode, before, config, document, _lock: lock })
    }

    /// What the file says without the changes.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Adds or updates `[hosts.NAME]` with the fields that `entry` has. Of the two ways to a password the other one
    /// goes.
    pub fn set_host(&mut self, name: &str, entry: &HostEntry) -> Result<(), ConfigError> {
        address::check_host(name).map_err(|error| ConfigError::Invalid(error.to_string()))?;
        let host = self.entry("hosts", name)?;
        let text_of = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let texts = [
            ("address", entry.address.clone()),
            ("user", entry.user.clone()),
            ("identity", text_of(&entry.identity)),
            ("password_file", text_of(&entry.password_file)),
            ("password_command", entry.password_command.clone()),
            ("fingerprint", entry.fingerprint.clone()),
            ("root", entry.root.as_ref().map(ToString::to_string)),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                put(host, key, text.into());
            }
        }
        if entry.password_file.is_some() {
            host.remove("password_command");
        } else if entry.password_command.is_some() {
            host.remove("password_file");
        }
        if let Some(port) = entry.port {
            put(host, "port", i64::from(port).into());
        }
        match &entry.tags {
            Some(tags) if tags.is_empty() => drop(host.remove("tags")),
            Some(tags) => put(host, "tags", Array::from_iter(tags).into()),
            None => {}
        }
        // Hosts are enabled where nothing says otherwise.
        if entry.enabled == Some(false) || (entry.enabled.is_some() && host.contains_key("enabled")) {
            put(host, "enabled", entry.is_enabled().into());
        }
        Ok(())
    }

    /// Takes fields out of `[hosts.NAME]`.
    pub fn clear_host(&mut self, name: &str, keys: &[&str]) -> Result<(), ConfigError> {
        let host = self.entry("hosts", name)?;
        keys.iter().for_each(|key| drop(host.remove(key)));
        Ok(())
    }

    /// Makes this the host of operands without one.
    pub fn set_default_host(&mut self, name: &str) {
        put(self.document.as_table_mut(), "default_host", name.into());
    }

    /// Adds hosts that a group does not hold yet, and the group where there is none. Returns those that were added.
    pub fn add_to_group(&mut self, group: &str, names: &[String]) -> Result<Vec<String>, ConfigError> {
        groups::check_name(group).map_err(ConfigError::Invalid)?;
        let held: BTreeSet<&String> = self.config.groups.get(group).into_iter().flatten().collect();
        let added: Vec<String> = names.iter().filter(|name| !held.contains(name)).cloned().collect();
        let words = folded(&added);
        let table = self.entry("groups", group)?;
        if table.get("hosts").is_none() {
            table.insert("hosts", Item::Value(Array::new().into()));
        }
        let hosts = table.get_mut("hosts").and_then(Item::as_array_mut);
        let hosts =
            hosts.ok_or_else(|| ConfigError::Invalid(format!("hosts of group {group} is no array")))?;
        words.into_iter().for_each(|word| comments::push(hosts, word));
        Ok(added)
    }

    /// Makes a group of exactly these hosts.
    pub fn set_group(&mut self, group: &str, names: &[String]) -> Result<(), ConfigError> {
        groups::check_name(group).map_err(ConfigError::Invalid)?;
        let table = self.entry("groups", group)?;
        table.remove("groups");
        put(table, "hosts", Array::from_iter(folded(names)).into());
        Ok(())
    }

    /// Takes hosts out of `[hosts]`, out of the groups that name them, and out of `default_host`.
    pub fn remove_hosts(&mut self, names: &BTreeSet<String>) -> Removed {
        let mut removed = Removed::default();
        for name in names {
            comments::remove_table(&mut self.document, "hosts", name);
        }
        let groups = self.document.get_mut("groups").and_then(Item::as_table_like_mut);
        for (group, item) in groups.into_iter().flat_map(TableLike::iter_mut) {
            let hosts = item.as_table_like_mut().and_then(|table| table.get_mut("hosts"));
            let Some(hosts) = hosts.and_then(Item::as_array_mut) else { continue };
            for name in remove_words(hosts, names) {
                removed.groups.entry(name).or_default().push(group.get().to_owned());
            }
        }
        let default = self.config.default_host.as_deref().and_then(|host| host.parse::<HostSpec>().ok());
        if let Some(default) = default.filter(|default| names.contains(&default.host)) {
            comments::remove_key(&mut self.document, "default_host");
            removed.default_host = Some(default.host);
        }
        removed
    }

    /// Replaces the file, if anything changed. What could not be read again is not written.
    pub fn save(self) -> Result<(), ConfigError> {
        let text = Form::of(&self.before).restored(self.document.to_string());
        Config::parse(&self.path, &text)?;
        if text == self.before {
            return Ok(());
        }
        let io = |error| ConfigError::Io { path: self.path.clone(), error };
        files::replace(&self.path, self.mode, text.as_bytes()).map_err(io)
    }

    /// `[TABLE.NAME]`, made where it is missing.
    fn entry(&mut self, table: &str, name: &str) -> Result<&mut dyn TableLike, ConfigError> {
        let shown = format!("{}: {table} is not a table", self.path.display());
        let entries = self.document.entry(table).or_insert_with(|| {
            let mut entries = Table::new();
            entries.set_implicit(true);
            Item::Table(entries)
        });
        entries
            .as_table_like_mut()
            .and_then(|entries| {
                entries.entry(name).or_insert_with(|| Item::Table(Table::new())).as_table_like_mut()
            })
            .ok_or(ConfigError::Invalid(shown))
    }
}

/// Sets a value; the comment behind an old one stays.
fn put(table: &mut dyn TableLike, key: &str, mut new: Value) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        None => drop(table.insert(key, Item::Value(new))),
    }
}

/// Takes names out of the words of a group; a pattern becomes patterns of what is left. Returns what was found.
fn remove_words(words: &mut Array, names: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    for at in (0..words.len()).rev() {
        let Some(word) = words.get(at).and_then(Value::as_str) else { continue };
        let all = groups::names(word).unwrap_or_default();
        let (gone, left): (Vec<_>, Vec<_>) = all.into_iter().partition(|name| names.contains(name));
        if gone.is_empty() {
            continue;
        }
        found.extend(gone);
        for (offset, word) in folded(&left).into_iter().enumerate() {
            match (offset, words.get_mut(at)) {
                (0, Some(old)) => {
                    let decor = old.decor().clone();
                    *old = word.into();
                    *old.decor_mut() = decor;
                }
                _ => words.insert(at + offset, word),
            }
        }
        if left.is_empty() {
            comments::remove(words, at);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(address: &str) -> HostEntry {
        HostEntry { address: Some(address.into()), user: Some("anna".into()), ..Default::default() }
    }

    fn edited(text: &str, edit: impl FnOnce(&mut Editor)) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, text).unwrap();
        let mut editor = Editor::open(&path).unwrap();
        edit(&mut editor);
        editor.save().unwrap();
        fs::read_to_string(&path).unwrap()
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_first_host_becomes_the_default_and_later_ones_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/config.toml");
        assert!(add_host(&path, "nas", &entry("nas.example:99")).unwrap());
        assert!(!add_host(&path, "10.0.0.1", &entry("10.0.0.1")).unwrap());
        let config = Config::load(&path, true).unwrap();
        assert_eq!(config.default_host.as_deref(), Some("nas"));
        assert_eq!(config.hosts["10.0.0.1"].address.as_deref(), Some("10.0.0.1"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn comments_and_other_keys_stay() {
        let text = "# my hosts\n[defaults]\nretries = 9 # patient\n\n[hosts.nas] # cellar\naddress = 'old' # moved twice\nport = 5\n";
        let text = edited(text, |editor| {
            editor.set_host("nas", &entry("new")).unwrap();
            editor.set_default_host("nas");
        });
        for kept in
            ["# my hosts", "retries = 9 # patient", "# cellar", "port = 5", "address = \"new\" # moved twice"]
        {
            assert!(text.contains(kept), "{text}");
        }
        let config = Config::parse(Path::new("c"), &text).unwrap();
        assert_eq!(config.default_host.as_deref(), Some("nas"));
        assert_eq!(config.defaults.retries, Some(9));
    }

    #[test]
    fn a_broken_file_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, "defualt_host = 'x'\n").unwrap();
        assert!(add_host(&path, "nas", &entry("nas")).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "defualt_host = 'x'\n");
        assert!(add_host(&path, "a b", &entry("nas")).is_err());
    }

    #[test]
    fn the_other_way_to_a_password_goes_and_no_tags_are_no_key() {
        let text = "[hosts.nas]\npassword_command = 'pass nas'\ntags = ['a']\nenabled = false # for now\n";
        let change = HostEntry {
            password_file: Some("pw".into()),
            tags: Some(Vec::new()),
            enabled: Some(true),
            root: Some(ft_protocol::RemotePath::from_typed(b"a/b").unwrap()),
            ..Default::default()
        };
        let text = edited(text, |editor| editor.set_host("nas", &change).unwrap());
        assert_eq!(text, "[hosts.nas]\nenabled = true # for now\npassword_file = \"pw\"\nroot = \"a/b\"\n");
        let change = HostEntry { password_command: Some("pass".into()), ..Default::default() };
        assert!(!edited(&text, |editor| editor.set_host("nas", &change).unwrap()).contains("password_file"));
    }

    #[test]
    fn a_group_grows_by_what_it_does_not_hold_and_is_made_where_it_is_missing() {
        let text =
            "[hosts]\nweb1 = {}\nweb2 = {}\nweb3 = {}\n[groups.web]\nhosts = [\n  'web1', # first\n]\n";
        let names: Vec<String> = ["web1", "web2", "web3"].map(str::to_owned).to_vec();
        let text = edited(text, |editor| {
            assert_eq!(editor.add_to_group("web", &names).unwrap(), ["web2", "web3"]);
            assert_eq!(editor.add_to_group("new", &names).unwrap().len(), 3);
            assert!(editor.add_to_group("all", &names).is_err());
        });
        assert!(text.contains("'web1', # first") && text.contains("\"web[1-3]\""), "{text}");
        assert!(text.contains("# first\n  \"web[2-3]\",\n]"), "{text}");
        let config = Config::parse(Path::new("c"), &text).unwrap();
        assert_eq!((&config.groups["web"], &config.groups["new"]), (&names, &names));
    }

    #[test]
    fn a_removed_host_leaves_its_groups_and_the_comments_of_others() {
        let text = "# my hosts\ndefault_host = 'anna@web2'\n\n# The front.\n\n# old\n[hosts.web1]\n# in it\n\
                    user = 'a'\n\n[hosts.web2]\n[hosts.web3]\n[hosts.db1] # data\n\n# sets\n[groups.web]\n\
                    hosts = ['web[1-3]', 'db1'] # front\n[groups.db]\nhosts = ['db1']\n# the end\n";
        let text = edited(text, |editor| {
            let removed = editor.remove_hosts(&set(&["web2", "db1", "web1"]));
            assert_eq!(removed.default_host.as_deref(), Some("web2"));
            assert_eq!(removed.groups["db1"], ["web", "db"]);
            assert_eq!(removed.groups["web1"], ["web"]);
        });
        let config = Config::parse(Path::new("c"), &text).unwrap();
        assert_eq!(config.names().collect::<Vec<_>>(), ["web3"]);
        assert_eq!(config.groups["web"], ["web3"]);
        assert!(config.groups["db"].is_empty() && config.default_host.is_none());
        for kept in ["# my hosts", "# The front.", "# sets", "# front", "# the end"] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
        for gone in ["# old", "# in it", "# data"] {
            assert!(!text.contains(gone), "{gone}: {text}");
        }
    }

    #[test]
    fn line_ends_and_the_byte_order_mark_stay() {
        let text = "\u{feff}# mine\r\n[hosts.a]\r\nport = 1 # one\r\n";
        let text = edited(text, |editor| editor.set_host("b", &entry("x")).unwrap());
        assert!(text.starts_with("\u{feff}# mine\r\n[hosts.a]\r\nport = 1 # one\r\n"), "{text:?}");
        assert!(text.contains("[hosts.b]\r\n"), "{text:?}");
        assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    }

    #[test]
    fn hosts_that_stay_in_a_group_keep_their_comments() {
        let before = "[hosts]\na = {}\nb = {}\nc = {}\n[groups.g]\nhosts = [ # all\n  'a', # A\n  # above\n  'b', # B\n  'c', # C\n]\n";
        for (gone, left) in [
            ("a", "[ # all\n  # above\n  'b', # B\n  'c', # C\n]"),
            ("b", "[ # all\n  'a', # A\n  'c', # C\n]"),
            ("c", "[ # all\n  'a', # A\n  # above\n  'b', # B\n]"),
        ] {
            let text = edited(before, |editor| drop(editor.remove_hosts(&set(&[gone]))));
            assert!(text.contains(left), "{gone}: {text}");
        }
    }

    #[test]
    fn a_pattern_is_cut_where_a_host_is_taken_out_of_it() {
        let hosts: String = (1..=5).map(|number| format!("[hosts.w{number}]\n")).collect();
        let text = format!("{hosts}[groups.w]\nhosts = ['w[1-5]']\n");
        let text = edited(&text, |editor| drop(editor.remove_hosts(&set(&["w3"]))));
        assert!(text.contains("hosts = [\"w[1-2,4-5]\"]"), "{text}");
    }
}
