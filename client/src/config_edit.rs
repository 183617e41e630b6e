//! Adds a host to `config.toml` and leaves everything else in it as the user wrote it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use toml_edit::{DocumentMut, Item, Table, value};

use crate::address;
use crate::config::{Config, ConfigError, HostEntry};
use crate::files;

/// Adds or updates `[hosts.NAME]` with the fields that `entry` has, and makes it `default_host` where there is
/// none. Comments, order and unrelated keys stay. Returns whether the host became the default one.
pub fn add_host(path: &Path, name: &str, entry: &HostEntry) -> Result<bool, ConfigError> {
    let io = |error| ConfigError::Io { path: path.to_owned(), error };
    address::check_host(name).map_err(|error| ConfigError::Invalid(error.to_string()))?;
    let _lock = files::lock_directory_of(path).map_err(io)?;
    let (text, mode) = match fs::read_to_string(path) {
        Ok(text) => (text, fs::metadata(path).map_err(io)?.permissions().mode() & 0o777),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (String::new(), 0o600),
        Err(error) => return Err(io(error)),
    };
    let (text, became_default) = edited(path, &text, name, entry)?;
    files::replace(path, mode, text.as_bytes()).map_err(io)?;
    Ok(became_default)
}

fn edited(path: &Path, text: &str, name: &str, entry: &HostEntry) -> Result<(String, bool), ConfigError> {
    let became_default = Config::parse(path, text)?.default_host.is_none();
    let mut document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| ConfigError::Invalid(error.to_string()))?;
    if became_default {
        document.insert("default_host", value(name));
    }
    let hosts = document.entry("hosts").or_insert_with(|| {
        let mut hosts = Table::new();
        hosts.set_implicit(true);
        Item::Table(hosts)
    });
    let host = hosts
        .as_table_like_mut()
        .and_then(|hosts| hosts.entry(name).or_insert_with(|| Item::Table(Table::new())).as_table_like_mut())
        .ok_or_else(|| ConfigError::Invalid(format!("{}: hosts is not a table", path.display())))?;
    let text_of = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    for (key, text) in [
        ("address", entry.address.clone()),
        ("user", entry.user.clone()),
        ("identity", text_of(&entry.identity)),
        ("password_file", text_of(&entry.password_file)),
        ("password_command", entry.password_command.clone()),
        ("fingerprint", entry.fingerprint.clone()),
    ] {
        if let Some(text) = text {
            host.insert(key, value(text));
        }
    }
    if let Some(port) = entry.port {
        host.insert("port", value(i64::from(port)));
    }
    let text = document.to_string();
    // What this function writes must be what the next run can read.
    Config::parse(path, &text)?;
    Ok((text, became_default))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(address: &str) -> HostEntry {
        HostEntry { address: Some(address.into()), user: Some("anna".into()), ..Default::default() }
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
        let text = "# my hosts\n[defaults]\nretries = 9 # patient\n\n[hosts.nas] # cellar\naddress = 'old'\nport = 5\n";
        let (text, _) = edited(Path::new("c"), text, "nas", &entry("new")).unwrap();
        for kept in ["# my hosts", "retries = 9 # patient", "# cellar", "port = 5", "address = \"new\""] {
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
}
