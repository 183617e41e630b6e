//! Options for many hosts at once.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{ArgMatches, Args, ValueHint};

use super::globals::ConnectionArgs;
use super::values::Limit;
use super::{CheckPlan, GetPlan, HostsPlan, LocalTarget, Plan, UsageError, was_typed};
use crate::cli::Input;
use crate::inventory::{HostList, Selection};

/// Hosts that are worked on at the same time where nobody says how many.
const FANOUT: usize = 32;

/// Which hosts, and how the run deals with them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Many hosts")]
pub(super) struct FleetArgs {
    /// Groups of the configuration; 'all' is every host
    #[arg(short, long, global = true, value_name = "GROUP,...", value_delimiter = ',')]
    groups: Vec<String>,
    /// Hosts to leave out: names, patterns, groups, or @FILE
    #[arg(short = 'x', long, global = true, value_name = "HOST,...")]
    exclude_hosts: Option<HostList>,
    /// Only hosts that have one of these tags; without -H and -g all that have one
    #[arg(long, global = true, value_name = "TAG,...", value_delimiter = ',')]
    tags: Vec<String>,
    /// Most hosts at the same time [default: 32]
    #[arg(short, long, env = "FTCLIENT_FANOUT", global = true, hide_env_values = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    fanout: Option<u16>,
    /// Longest time for each host, counted from its own beginning [default: no limit]
    #[arg(long, global = true, value_name = "DURATION")]
    host_deadline: Option<Limit>,
    /// So many hosts, or so much of them (25%), after each other: the next ones begin when all of these have ended, and only if none failed
    #[arg(long, global = true, value_name = "N|N%")]
    serial: Option<Serial>,
    /// Begin with no other host once one has failed; those that are under way come to their end
    #[arg(long, global = true)]
    fail_fast: bool,
    /// Show equal output once, under the names of all hosts that gave it, when all have ended
    #[arg(short = 'b', long, global = true)]
    gather: bool,
    /// End with the largest status of all hosts instead of 3
    #[arg(short = 'S', long, global = true)]
    max_status: bool,
    /// Write the hosts that did not succeed to this file, for -H @FILE
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    retry_file: Option<PathBuf>,
}

/// How many hosts at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serial {
    /// So many.
    Hosts(usize),
    /// So much of all, from 1 to 100.
    Percent(usize),
}

impl FromStr for Serial {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<u16>().ok().filter(|number| *number > 0).map(usize::from);
        let serial = match text.strip_suffix('%') {
            Some(percent) => number(percent).filter(|percent| *percent <= 100).map(Serial::Percent),
            None => number(text).map(Serial::Hosts),
        };
        serial.ok_or_else(|| format!("'{text}' is neither a number of hosts nor a part of them, such as 25%"))
    }
}

impl Serial {
    /// How many of `hosts` are one step; at least one.
    pub fn step(self, hosts: usize) -> usize {
        match self {
            Serial::Hosts(step) => step,
            Serial::Percent(percent) => (hosts * percent / 100).max(1),
        }
    }
}

/// A run on many hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetPlan {
    /// Which hosts.
    pub selection: Selection,
    /// Most at the same time; at least one.
    pub fanout: usize,
    /// Longest time for each host.
    pub host_deadline: Option<Duration>,
    /// Some after each other.
    pub serial: Option<Serial>,
    /// Begin with no other host once one has failed.
    pub fail_fast: bool,
    /// Show equal output once.
    pub gather: bool,
    /// End with the largest status.
    pub max_status: bool,
    /// Where the hosts that did not succeed are written.
    pub retry_file: Option<PathBuf>,
}

impl FleetArgs {
    /// What is selected, where `hosts` is what `-H` says.
    pub(super) fn selection(&self, hosts: Option<HostList>) -> Selection {
        let Self { groups, exclude_hosts, tags, .. } = self;
        Selection { hosts, groups: groups.clone(), exclude: exclude_hosts.clone(), tags: tags.clone() }
    }

    /// The run on many hosts, where the command line selects them. `named`: the operands name the host.
    pub(super) fn plan(
        self,
        connection: &ConnectionArgs,
        named: bool,
        plan: &Plan,
        matches: &ArgMatches,
        json: bool,
    ) -> Result<Option<FleetPlan>, UsageError> {
        // What the operands name goes before the environment; beside a typed -H it was refused already.
        let selection = self.selection(connection.hosts.clone().filter(|_| !named));
        // Which hosts are meant by the environment must not change what is typed.
        let selects = !selection.groups.is_empty() || !selection.tags.is_empty();
        let typed = selects || was_typed(matches, "hosts");
        let selection = match selects && !was_typed(matches, "hosts") {
            true => Selection { hosts: None, ..selection },
            false => selection,
        };
        let several = [
            ("-b", self.gather),
            ("--serial", self.serial.is_some()),
            ("--fail-fast", self.fail_fast),
            ("--host-deadline", self.host_deadline.is_some()),
            ("--retry-file", self.retry_file.is_some()),
            ("-x", selection.exclude.is_some()),
        ];
        let selection = match plan {
            Plan::Hosts(HostsPlan::Ping(selection)) => selection.clone(),
            // What the environment says is not meant for a command that takes no host, or has one of its own.
            Plan::Join(_) | Plan::Key | Plan::Completions(_) | Plan::Man(_) if !typed => return Ok(None),
            Plan::Check(CheckPlan::Receipt { .. } | CheckPlan::Sums { .. }) if !typed => return Ok(None),
            _ => selection,
        };
        if matches!(plan, Plan::Hosts(other) if !matches!(other, HostsPlan::Ping(_))) {
            // They change or show the configuration, and know themselves what a selection means to them.
            return match several.iter().find(|(option, given)| *given && *option != "-x") {
                Some((option, _)) => Err(UsageError::new(format!("{option} makes no sense with 'hosts'"))),
                None => Ok(None),
            };
        }
        if !selection.is_fleet() {
            return match several.iter().find(|(_, given)| *given) {
                Some((option, _)) => Err(UsageError::new(format!(
                    "{option} is for several hosts: choose them with -g, --tags, or -H and a list (a list of one host ends in a comma: -H web1,)"
                ))),
                None => Ok(None),
            };
        }
        if named {
            return Err(UsageError::new(
                "the operands name a host, and -g or --tags chooses others: write the remote side as :path",
            ));
        }
        if self.gather && json {
            return Err(UsageError::new("-b gathers text, and --json tells each host's output by itself"));
        }
        takes_many(plan)?;
        if connection.fingerprint.is_some() {
            return Err(UsageError::new("each host has a key of its own, so --fingerprint takes one host"));
        }
        if connection.via.is_some() {
            return Err(UsageError::new(
                "--via is the way to one server, and -H, -g or --tags chooses several",
            ));
        }
        Ok(Some(FleetPlan {
            selection,
            fanout: self.fanout.map_or(FANOUT, usize::from),
            host_deadline: self.host_deadline.and_then(|limit| limit.0),
            serial: self.serial,
            fail_fast: self.fail_fast,
            gather: self.gather,
            max_status: self.max_status,
            retry_file: self.retry_file,
        }))
    }
}

/// Whether a command makes sense on many hosts.
fn takes_many(plan: &Plan) -> Result<(), UsageError> {
    let one =
        |what: &str| Err(UsageError::new(format!("{what} one host, and -H, -g or --tags chooses several")));
    match plan {
        Plan::Get(GetPlan { target: LocalTarget::Stdout, .. }) => one("get to standard output takes"),
        Plan::Exec(exec) if exec.input == Input::Terminal => one("--tty takes"),
        Plan::Check(CheckPlan::Receipt { .. } | CheckPlan::Sums { .. }) => one("a receipt is that of"),
        Plan::Shell => one("the shell takes"),
        Plan::Join(_) => one("join takes"),
        Plan::Key | Plan::Completions(_) | Plan::Man(_) => {
            Err(UsageError::new("this command is about no host, and -H, -g or --tags chooses several"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_a_number_or_a_part_and_never_nothing() {
        assert_eq!("3".parse::<Serial>().unwrap().step(10), 3);
        assert_eq!("25%".parse::<Serial>().unwrap().step(10), 2);
        assert_eq!("1%".parse::<Serial>().unwrap().step(10), 1);
        assert_eq!("100%".parse::<Serial>().unwrap().step(7), 7);
        for bad in ["0", "0%", "101%", "", "%", "x", "-1", "1.5"] {
            assert!(bad.parse::<Serial>().is_err(), "{bad}");
        }
    }
}
