//! `hosts`: the inventory.

use std::path::PathBuf;

use clap::{ArgMatches, Args, Subcommand, ValueHint};

use super::globals::ConnectionArgs;
use super::{UsageError, was_typed};
use crate::address::{AddressError, HostSpec};
use crate::config::{HostEntry, check_tag, parse_root};
use crate::inventory::{HostList, Selection, groups};
use ft_protocol::RemotePath;

/// List and change the hosts of the configuration
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  ftclient hosts list\n  ftclient hosts add 'web[01-20]' --group web -l deploy\n  \
    ftclient hosts import old.cnf"
)]
pub(super) struct HostsArgs {
    #[command(subcommand)]
    verb: HostsVerb,
}

#[derive(Debug, Subcommand)]
enum HostsVerb {
    List(ListArgs),
    Show(ShowArgs),
    Add(Box<AddArgs>),
    Remove(RemoveArgs),
    Ping(PingArgs),
    Import(ImportArgs),
}

/// List the hosts, or those that -H, -g, -x and --tags select
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ftclient hosts list\n  ftclient hosts list --json")]
struct ListArgs {}

/// Show all that is known of a host, and never a secret
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ftclient hosts show web01")]
struct ShowArgs {
    /// A name of the configuration
    #[arg(value_name = "NAME", value_parser = plain_name)]
    name: String,
}

/// Add hosts, or change those that exist: what is given, and nothing else
#[derive(Debug, Args)]
#[command(
    after_help = "Of the connection options -P, -l, -i, --password-file, --password-command and --fingerprint are kept \
    with the host if they stand on the command line.\n\n\
    Examples:\n  ftclient hosts add nas --address files.example.org -l anna -i ~/.ssh/id_nas\n  \
    ftclient hosts add 'web[01-20]' --group web --tags front,rack1\n  ftclient hosts add web07 --disabled"
)]
struct AddArgs {
    /// Names, or patterns such as 'web[01-20]'
    #[arg(value_name = "NAME", required = true, value_parser = names)]
    names: Vec<Names>,
    /// Name or address to connect to, with or without :PORT [default: the name of the host]
    #[arg(long, value_parser = address)]
    address: Option<HostSpec>,
    /// Directory of the account where the host's paths begin
    #[arg(long, value_name = "DIR", value_parser = parse_root)]
    root: Option<RemotePath>,
    /// Words to select the host by, in place of those it has; '' takes them all away
    #[arg(long, value_name = "TAG,...", value_delimiter = ',')]
    tags: Option<Vec<String>>,
    /// Put the hosts into this group as well, which is made where it is missing
    #[arg(long, value_name = "GROUP", value_parser = group)]
    group: Vec<String>,
    /// Leave the hosts out of every selection
    #[arg(long, conflicts_with = "enabled")]
    disabled: bool,
    /// Take disabled hosts into selections again
    #[arg(long)]
    enabled: bool,
}

/// Remove hosts: from the configuration, from its groups, and as the default one
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ftclient hosts remove web07\n  ftclient hosts remove 'web[01-20]'")]
struct RemoveArgs {
    /// Names, or patterns such as 'web[01-20]'
    #[arg(value_name = "NAME", required = true, value_parser = names)]
    names: Vec<Names>,
}

/// Connect and log in to hosts, and say how long that takes and what may be done there
#[derive(Debug, Args)]
#[command(
    after_help = "Without names those that -H, -g and --tags select, or else all of the configuration. Each is tried once.\n\n\
    Examples:\n  ftclient hosts ping\n  ftclient hosts ping web01 db1\n  ftclient hosts ping -g web"
)]
struct PingArgs {
    /// Names, patterns or addresses
    #[arg(value_name = "HOST")]
    hosts: Vec<HostList>,
}

/// Take in hosts and groups from an INI file, passwords into files of their own
#[derive(Debug, Args)]
#[command(
    after_help = "A section with 'ip' is a host (ip, port, user, password, enable); one whose values are all True or \
    False is a group. Nothing is written unless all of it can be.\n\n\
    Examples:\n  ftclient hosts import old.cnf --dry-run\n  ftclient hosts import old.cnf"
)]
struct ImportArgs {
    /// The INI file
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Replace hosts and groups that exist already
    #[arg(long)]
    replace: bool,
    /// Say what would be done, and write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// A `hosts`, ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostsPlan {
    /// List hosts.
    List(Selection),
    /// Show this one.
    Show(String),
    /// Add or change.
    Add(Box<AddPlan>),
    /// Remove these names, each once.
    Remove(Vec<String>),
    /// Log in to these.
    Ping(Selection),
    /// Take in an INI file.
    Import(ImportPlan),
}

/// A `hosts add`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddPlan {
    /// At least one, none twice.
    pub names: Vec<String>,
    /// The fields that were given; paths are absolute.
    pub entry: HostEntry,
    /// Groups that the hosts go into.
    pub groups: Vec<String>,
}

/// A `hosts import`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportPlan {
    /// The INI file.
    pub file: PathBuf,
    /// Replace what exists already.
    pub replace: bool,
    /// Write nothing.
    pub dry_run: bool,
}

/// The names that a word stands for.
#[derive(Debug, Clone)]
struct Names(Vec<String>);

impl HostsArgs {
    /// `selection` is what was typed of `-H`, `-g`, `-x` and `--tags`.
    pub(super) fn plan(
        self,
        selection: Selection,
        connection: &ConnectionArgs,
        matches: &ArgMatches,
    ) -> Result<HostsPlan, UsageError> {
        let selects =
            selection.hosts.is_some() || selection.exclude.is_some() || !selection.groups.is_empty();
        // The tags of 'hosts add' are those that hosts get.
        let selects = selects || (!selection.tags.is_empty() && !matches!(self.verb, HostsVerb::Add(_)));
        if selects && !matches!(self.verb, HostsVerb::List(_) | HostsVerb::Ping(_)) {
            return Err(UsageError::new(
                "-H, -g, -x and --tags select hosts for 'hosts list' and 'hosts ping'; here hosts are named by what follows the command",
            ));
        }
        Ok(match self.verb {
            HostsVerb::List(ListArgs {}) => HostsPlan::List(selection),
            HostsVerb::Show(args) => HostsPlan::Show(args.name),
            HostsVerb::Add(args) => HostsPlan::Add(Box::new(args.plan(typed(connection, matches))?)),
            HostsVerb::Remove(args) => HostsPlan::Remove(each_once(args.names)),
            HostsVerb::Ping(args) => HostsPlan::Ping(args.selection(selection)),
            HostsVerb::Import(ImportArgs { file, replace, dry_run }) => {
                HostsPlan::Import(ImportPlan { file, replace, dry_run })
            }
        })
    }
}

/// What was typed of the connection options; what the environment says is not meant for the file.
fn typed(connection: &ConnectionArgs, matches: &ArgMatches) -> HostEntry {
    fn kept<T: Clone>(matches: &ArgMatches, id: &str, value: &Option<T>) -> Option<T> {
        value.clone().filter(|_| was_typed(matches, id))
    }
    HostEntry {
        port: kept(matches, "port", &connection.port),
        user: kept(matches, "user", &connection.user),
        identity: kept(matches, "identity", &connection.identity),
        password_file: kept(matches, "password_file", &connection.password_file),
        password_command: kept(matches, "password_command", &connection.password_command),
        fingerprint: kept(matches, "fingerprint", &connection.fingerprint).map(|key| key.to_string()),
        ..HostEntry::default()
    }
}

impl PingArgs {
    fn selection(self, typed: Selection) -> Selection {
        let hosts = HostList::joined(self.hosts.into_iter().chain(typed.hosts));
        let groups = match hosts.is_none() && typed.groups.is_empty() && typed.tags.is_empty() {
            true => vec![groups::ALL.to_owned()],
            false => typed.groups,
        };
        Selection { hosts, groups, ..typed }
    }
}

impl AddArgs {
    fn plan(self, typed: HostEntry) -> Result<AddPlan, UsageError> {
        let names = each_once(self.names);
        if names.len() > 1 && self.address.is_some() {
            return Err(UsageError::new("--address is that of one host, and several are named"));
        }
        let tags: Option<Vec<String>> =
            self.tags.map(|tags| tags.into_iter().filter(|tag| !tag.is_empty()).collect());
        tags.iter().flatten().try_for_each(|tag| check_tag(tag)).map_err(UsageError::new)?;
        let port = match (&self.address, typed.port) {
            (Some(HostSpec { port: Some(port), .. }), Some(other)) if *port != other => {
                return Err(UsageError::new(format!("--address names the port {port}, and -P {other}")));
            }
            (Some(HostSpec { port: Some(port), .. }), _) => Some(*port),
            (_, port) => port,
        };
        // The file is read wherever the client runs.
        let absolute = |path: Option<PathBuf>| path.map(std::path::absolute).transpose();
        let failed = |error| UsageError::new(format!("there is no working directory: {error}"));
        let entry = HostEntry {
            address: self.address.map(|address| HostSpec { port: None, ..address }.to_string()),
            port,
            root: self.root,
            tags,
            enabled: (self.enabled || self.disabled).then_some(self.enabled),
            identity: absolute(typed.identity).map_err(failed)?,
            password_file: absolute(typed.password_file).map_err(failed)?,
            ..typed
        };
        Ok(AddPlan { names, entry, groups: self.group })
    }
}

fn each_once(names: Vec<Names>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    names.into_iter().flat_map(|names| names.0).filter(|name| seen.insert(name.clone())).collect()
}

fn names(text: &str) -> Result<Names, String> {
    let plain = "here a name stands alone: the user is given by -l, the port by -P or --address";
    groups::names(text).map(Names).map_err(|what| match text.parse() {
        Ok(HostSpec { user, port, .. }) if user.is_some() || port.is_some() => plain.to_owned(),
        _ => what,
    })
}

fn plain_name(text: &str) -> Result<String, String> {
    match names(text)?.0.as_slice() {
        [name] => Ok(name.clone()),
        _ => Err("one host at a time; 'hosts list' shows several".to_owned()),
    }
}

fn address(text: &str) -> Result<HostSpec, AddressError> {
    let spec: HostSpec = text.parse()?;
    match spec.user {
        Some(_) => Err(AddressError("the user is given by -l".to_owned())),
        None => Ok(spec),
    }
}

fn group(text: &str) -> Result<String, String> {
    groups::check_name(text).map(|()| text.to_owned())
}
