//! Which server, as whom, and with what: command line, environment, configuration and defaults made one.

use std::fmt;
use std::path::{Path, PathBuf};

use ft_protocol::RemotePath;

use crate::address::{self, DEFAULT_PORT, HostSpec};
use crate::cli::globals::ConnectionArgs;
use crate::config::{Config, ConfigError, Paths};
use crate::credentials::PasswordSource;
use crate::inventory::HostList;
use crate::known_hosts::{Pin, PinOrigin};
use crate::words;

/// Everything needed to reach one server and log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The host as it was named; for messages and for `ftclient trust`.
    pub name: String,
    /// Name or address to connect to; an IPv6 address has no brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User to log in as; `None` where nothing tells. See [`Endpoint::login_user`].
    pub user: Option<String>,
    /// Keys named by the user, to be tried first and in this order: `-i`, then the host's entry.
    pub identities: Vec<PathBuf>,
    /// The supplied password, if any.
    pub password: Option<PasswordSource>,
    /// The only key that the server may have.
    pub pin: Option<Pin>,
    /// Program and arguments to speak through instead of TCP and TLS.
    pub via: Option<Vec<String>>,
    /// Where the host's paths begin, beneath the account's root.
    pub root: RemotePath,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Endpoint {
    /// Resolves a host: what its operand says, then command line and environment, then its entry in the
    /// configuration, then defaults. `host` is the one of the operands; without it `-H`, `FTCLIENT_HOSTS` and
    /// `default_host` are asked. With `--via` no host is needed.
    pub fn resolve(
        host: Option<&HostSpec>,
        options: &ConnectionArgs,
        config: &Config,
        paths: &Paths,
    ) -> Result<Self, ConfigError> {
        let spec = match host.or(options.hosts.as_ref().and_then(HostList::single)) {
            Some(spec) => spec.clone(),
            None => match &config.default_host {
                Some(name) => name.parse().map_err(invalid("default_host"))?,
                None if options.via.is_some() => HostSpec { user: None, host: "via".into(), port: None },
                None => return Err(ConfigError::NoHost(paths.config.clone())),
            },
        };
        if config.hosts.get(&spec.host).is_some_and(|entry| !entry.is_enabled()) {
            let (host, path) = (&spec.host, paths.config.display());
            return Err(ConfigError::Invalid(format!(
                "the host '{host}' is disabled in {path}; enable it with: ftclient hosts add {host} --enabled"
            )));
        }
        Self::at(spec, options, config, paths)
    }

    /// Resolves this very host, whether it is enabled or not.
    pub fn at(
        spec: HostSpec,
        options: &ConnectionArgs,
        config: &Config,
        paths: &Paths,
    ) -> Result<Self, ConfigError> {
        let via = options.via.as_deref().map(words::split).transpose().map_err(invalid("--via"))?;
        let entry = config.hosts.get(&spec.host).cloned().unwrap_or_default();
        let address = entry.spec(&spec.host)?;
        let port = spec.port.or(options.port).or(address.port).or(entry.port);
        let from_config = |path: &PathBuf| expand(path, paths);
        let identities = options.identity.iter().cloned().chain(entry.identity.iter().map(from_config));
        let entry_password = match (&entry.password_file, &entry.password_command) {
            (Some(_), Some(_)) => {
                let what = "has both password_file and password_command; keep one of them";
                return Err(ConfigError::Invalid(format!("host '{}' {what}", spec.host)));
            }
            (Some(file), None) => Some(PasswordSource::File(from_config(file))),
            (None, Some(command)) => Some(PasswordSource::Command(command.clone())),
            (None, None) => None,
        };
        let pin = options.fingerprint.map(|fingerprint| Pin { fingerprint, origin: PinOrigin::Option });
        let configured = entry.fingerprint().map(|fingerprint| {
            let (path, host) = (paths.config.clone(), spec.host.clone());
            Pin { fingerprint, origin: PinOrigin::Configuration { path, host } }
        });
        Ok(Self {
            host: address.host,
            port: port.unwrap_or(DEFAULT_PORT),
            user: spec
                .user
                .clone()
                .or_else(|| options.user.clone())
                .or_else(|| entry.user.clone())
                .or_else(login_name),
            identities: identities.collect(),
            password: options.password().or(entry_password),
            pin: pin.or(configured),
            via,
            root: entry.root.clone().unwrap_or_else(RemotePath::root),
            // With the port, so that the advice 'ftclient trust NAME' means this very server.
            name: HostSpec { user: None, port: spec.port.or(options.port), ..spec }.to_string(),
        })
    }

    /// The user, for a login; an error where nothing tells who that is.
    pub fn login_user(&self) -> Result<&str, ConfigError> {
        let user = self.user.as_deref().ok_or(ConfigError::NoUser)?;
        address::check_user(user).map_err(invalid("-l"))?;
        Ok(user)
    }
}

/// The name that the environment gives the user, or else the one in `/etc/passwd`.
fn login_name() -> Option<String> {
    let mut variables = ["USER", "LOGNAME"].into_iter().filter_map(|name| std::env::var(name).ok());
    variables.find(|name| !name.is_empty()).or_else(|| {
        let passwd = std::fs::read("/etc/passwd").ok()?;
        name_of(&String::from_utf8_lossy(&passwd), rustix::process::getuid().as_raw())
    })
}

/// The first name with this user id in the text of a passwd(5) file.
fn name_of(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| match line.split(':').collect::<Vec<_>>().as_slice() {
        [name, _, id, ..] if !name.is_empty() && id.parse() == Ok(uid) => Some((*name).to_owned()),
        _ => None,
    })
}

/// `~/` is the home directory; a relative path of the configuration starts beside it.
fn expand(path: &Path, paths: &Paths) -> PathBuf {
    match (path.strip_prefix("~"), &paths.home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => paths.config.parent().unwrap_or(Path::new("")).join(path),
    }
}

fn invalid<E: fmt::Display>(what: &'static str) -> impl FnOnce(E) -> ConfigError {
    move |error| ConfigError::Invalid(format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(host: Option<&str>, options: &ConnectionArgs, config: &str) -> Result<Endpoint, ConfigError> {
        let paths = Paths {
            config: "/c/config.toml".into(),
            known_hosts: "/c/known_hosts".into(),
            client_key: "/c/id_ed25519".into(),
            home: Some("/home/anna".into()),
        };
        let config = Config::parse(&paths.config, config).unwrap();
        let host = host.map(|host| host.parse::<HostSpec>().unwrap());
        Endpoint::resolve(host.as_ref(), options, &config, &paths)
    }

    const CONFIG: &str = "default_host = 'nas'\n[hosts.nas]\naddress = 'nas.example:99'\nuser = 'anna'\n\
                          identity = '~/k'\npassword_file = 'pw'\n";

    #[test]
    fn the_nearest_word_counts() {
        let options = ConnectionArgs { port: Some(7), user: Some("eve".into()), ..Default::default() };
        let plain = resolve(None, &ConnectionArgs::default(), CONFIG).unwrap();
        assert_eq!((plain.name.as_str(), plain.host.as_str(), plain.port), ("nas", "nas.example", 99));
        assert_eq!(plain.login_user().unwrap(), "anna");
        assert_eq!(plain.identities, [Path::new("/home/anna/k")]);
        assert_eq!(plain.password, Some(PasswordSource::File("/c/pw".into())));

        let given = resolve(None, &options, CONFIG).unwrap();
        assert_eq!((given.port, given.login_user().unwrap(), given.name.as_str()), (7, "eve", "nas:7"));
        let typed = resolve(Some("bob@nas:8"), &options, CONFIG).unwrap();
        assert_eq!((typed.port, typed.login_user().unwrap(), typed.name.as_str()), (8, "bob", "nas:8"));
    }

    #[test]
    fn command_line_keys_come_before_configured_ones() {
        let options = ConnectionArgs { identity: Some("mine".into()), ..Default::default() };
        let endpoint = resolve(None, &options, CONFIG).unwrap();
        assert_eq!(endpoint.identities, [Path::new("mine"), Path::new("/home/anna/k")]);
    }

    #[test]
    fn an_unknown_host_uses_defaults_and_no_host_is_an_error() {
        let options = ConnectionArgs { user: Some("eve".into()), ..Default::default() };
        assert_eq!(resolve(Some("other"), &options, CONFIG).unwrap().port, DEFAULT_PORT);
        let error = resolve(None, &options, "").unwrap_err().to_string();
        assert!(error.contains("-H HOST") && error.contains("/c/config.toml"), "{error}");
    }

    #[test]
    fn a_user_without_a_name_in_the_environment_is_found_by_number() {
        let passwd = "# users\nroot:x:0:0::/:/bin/sh\n:x:7:7::/:\nanna:x:1000:100::/:\neve:x:1000:1::/:\n";
        assert_eq!(name_of(passwd, 1000).as_deref(), Some("anna"));
        assert_eq!(name_of(passwd, 7), None);
        assert_eq!(name_of(passwd, 10), None);
    }

    #[test]
    fn a_user_is_needed_to_log_in_and_for_nothing_else() {
        let mut endpoint = resolve(None, &ConnectionArgs::default(), CONFIG).unwrap();
        endpoint.user = None;
        assert!(endpoint.login_user().unwrap_err().to_string().contains("-l USER"));
        endpoint.user = Some("-x".into());
        assert!(endpoint.login_user().unwrap_err().to_string().contains("-l: bad user name"));
    }

    #[test]
    fn a_disabled_host_is_refused_with_the_way_out_and_a_root_is_taken_along() {
        let config = "[hosts.nas]\nroot = 'a/b'\n[hosts.old]\nenabled = false\n";
        let options = ConnectionArgs { user: Some("eve".into()), ..Default::default() };
        assert_eq!(resolve(Some("nas"), &options, config).unwrap().root.to_string(), "a/b");
        assert!(resolve(Some("other"), &options, config).unwrap().root.is_root());
        let error = resolve(Some("old"), &options, config).unwrap_err().to_string();
        assert!(error.contains("disabled in /c/config.toml"), "{error}");
        assert!(error.ends_with("ftclient hosts add old --enabled"), "{error}");
    }

    #[test]
    fn via_needs_no_host_and_no_shell() {
        let options = ConnectionArgs { via: Some("ssh nas 'ftserver' stdio".into()), ..Default::default() };
        let endpoint = resolve(None, &options, "").unwrap();
        assert_eq!(endpoint.via.unwrap(), ["ssh", "nas", "ftserver", "stdio"]);
    }
}
