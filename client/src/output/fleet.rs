//! What became of each of many hosts: a line of a table for people, an event for programs.

use std::io;
use std::time::Duration;

use serde::Serialize;

use super::event::{CheckSummary, hex, seconds};
use super::{Event, Output, Record, Summary, Tallied, columns, grouped, human_bytes, human_duration};
use crate::client::Ended;

/// Columns of the table that hold numbers.
const TO_THE_RIGHT: [bool; 6] = [false, false, true, true, true, false];

/// What became of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// All that was asked for was done.
    Ok,
    /// It was not, or the command ended with another status than 0.
    Failed,
    /// Its deadline, or that of the run, passed.
    Deadline,
    /// It was under way when the run was cut short.
    Interrupted,
    /// The run ended before its turn came.
    NotStarted,
    /// The configuration says that it is not to be used.
    Disabled,
}

impl State {
    /// For people and programs alike.
    pub fn word(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Failed => "failed",
            State::Deadline => "deadline",
            State::Interrupted => "interrupted",
            State::NotStarted => "not started",
            State::Disabled => "disabled",
        }
    }
}

/// A host, and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct HostReport {
    /// The host as it was named.
    pub host: String,
    /// What became of it.
    pub state: State,
    /// The code of its own run: of a command that ran its status.
    pub exit: u8,
    /// What was said about it.
    pub record: Record,
    /// Time that it took.
    pub elapsed: Duration,
}

/// [`HostReport`] in JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HostEvent {
    pub host: String,
    pub state: String,
    /// Of a command that exited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u8>,
    /// Of a command that a signal ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<u8>,
    /// Of one that began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<u8>,
    pub files: u64,
    pub failed: u64,
    pub skipped: u64,
    pub bytes: u64,
    pub verified: u64,
    #[serde(flatten)]
    pub(super) check: Option<CheckSummary>,
    pub seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub retry_safe: bool,
}

/// What a summary says besides where there were many hosts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FleetSummary {
    /// Hosts that were chosen and are not disabled.
    pub hosts: u64,
    /// Hosts that did all that was asked for.
    pub hosts_ok: u64,
    /// All others.
    pub hosts_failed: u64,
}

impl HostReport {
    /// Files and bytes, also of a comparison.
    pub fn numbers(&self) -> Summary {
        let mut summary = self.record.summary;
        if let Some(tallied) = self.record.tallied {
            summary.verified = tallied.equal;
            summary.failed = tallied.unreadable;
            summary.files = tallied.all();
        }
        summary
    }

    fn event(&self) -> Event {
        let (status, signal) = match self.record.ended {
            Some(Ended::Status(status)) => (Some(status), None),
            Some(Ended::Signal(signal)) => (None, Some(signal)),
            None => (None, None),
        };
        let numbers = self.numbers();
        Event::Host(HostEvent {
            host: self.host.clone(),
            state: self.state.word().replace(' ', "_"),
            status,
            signal,
            exit: self.began().then_some(self.exit),
            files: numbers.files,
            failed: numbers.failed,
            skipped: numbers.skipped,
            bytes: numbers.bytes,
            verified: numbers.verified,
            check: self.record.tallied.as_ref().map(CheckSummary::of),
            seconds: seconds(self.elapsed),
            run: self.record.run.as_ref().map(hex),
            error: self.record.error.clone(),
            retry_safe: self.record.retry_safe,
        })
    }

    fn began(&self) -> bool {
        !matches!(self.state, State::NotStarted | State::Disabled)
    }

    fn cells(&self) -> [String; 6] {
        let of_run = |text: String| if self.began() { text } else { "-".to_owned() };
        let status = match self.record.ended {
            Some(Ended::Signal(signal)) => format!("signal {signal}"),
            _ => self.exit.to_string(),
        };
        let error = match (&self.record.error, self.record.more_errors) {
            (None, _) => self.differences().unwrap_or_default(),
            (Some(error), 0) => error.clone(),
            (Some(error), more) => format!("{error} (and {} more)", grouped(more)),
        };
        [
            self.host.clone(),
            self.state.word().to_owned(),
            of_run(status),
            of_run(human_bytes(self.numbers().bytes)),
            of_run(format!("{:.1}", self.elapsed.as_secs_f64())),
            error,
        ]
    }

    /// Of a comparison that found any.
    fn differences(&self) -> Option<String> {
        let tallied = self.record.tallied?;
        let found = tallied.differ + tallied.only_local + tallied.only_remote + tallied.missing;
        (found > 0).then(|| format!("{} not equal", grouped(found)))
    }
}

impl Output {
    /// The beginning of a run on many hosts; JSON only.
    pub fn fleet_start(&self, run: &[u8; 16], hosts: usize) -> io::Result<()> {
        self.event(&Event::start(run, Some(hosts as u64)))
    }

    /// A host has ended; JSON only. People read the table.
    pub fn host_ended(&self, report: &HostReport) -> io::Result<()> {
        self.event(&report.event())
    }

    /// The last words of a run on many hosts: a table and a line for people.
    pub fn fleet_ended(&self, reports: &[HostReport], elapsed: Duration, exit: u8) -> io::Result<()> {
        let mut all = Summary { elapsed, ..Summary::default() };
        let mut fleet = FleetSummary::default();
        let mut compared: Option<Tallied> = None;
        for report in reports.iter().filter(|report| report.state != State::Disabled) {
            let numbers = report.numbers();
            all.files += numbers.files;
            all.failed += numbers.failed;
            all.skipped += numbers.skipped;
            all.bytes += numbers.bytes;
            all.verified += numbers.verified;
            if let Some(tallied) = &report.record.tallied {
                compared.get_or_insert_default().add(tallied);
            }
            fleet.hosts += 1;
            *if report.state == State::Ok { &mut fleet.hosts_ok } else { &mut fleet.hosts_failed } += 1;
        }
        self.event(&Event::fleet_summary(&all, compared.as_ref(), fleet, exit))?;
        let rows = reports.iter().map(HostReport::cells);
        let header = ["host", "state", "status", "bytes", "seconds", "error"].map(str::to_owned);
        for line in columns(&std::iter::once(header).chain(rows).collect::<Vec<_>>(), TO_THE_RIGHT) {
            self.info(&line)?;
        }
        let mut line = format!("{} of {} ok", grouped(fleet.hosts_ok), count(fleet.hosts));
        if fleet.hosts_failed > 0 {
            line += &format!(", {} not", grouped(fleet.hosts_failed));
        }
        self.info(&format!("{line}, in {}", human_duration(elapsed)))
    }
}

fn count(hosts: u64) -> String {
    if hosts == 1 { "1 host".to_owned() } else { format!("{} hosts", grouped(hosts)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_stands_in_columns() {
        let report = |host: &str, state, exit, error: Option<&str>| HostReport {
            host: host.to_owned(),
            state,
            exit,
            record: Record {
                error: error.map(str::to_owned),
                summary: Summary { bytes: 1 << 20, ..Summary::default() },
                ..Record::default()
            },
            elapsed: Duration::from_millis(1250),
        };
        let mut ended = report("db1", State::Failed, 137, None);
        ended.record.ended = Some(Ended::Signal(9));
        let rows = [
            report("web01", State::Ok, 0, None),
            report("a-longer-name", State::Deadline, 10, Some("the deadline passed")),
            report("x", State::NotStarted, 1, None),
            ended,
        ];
        let lines = columns(&rows.each_ref().map(HostReport::cells), TO_THE_RIGHT);
        assert_eq!(
            lines,
            [
                "web01          ok                  0  1.0 MiB  1.2",
                "a-longer-name  deadline           10  1.0 MiB  1.2  the deadline passed",
                "x              not started         -        -    -",
                "db1            failed       signal 9  1.0 MiB  1.2",
            ]
        );
    }
}
