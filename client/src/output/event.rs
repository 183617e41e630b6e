//! The JSON that `--json` prints.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::fleet::{FleetSummary, HostEvent};
use super::{Entry, ErrorReport, FileReport, Summary, Tallied};
use crate::client::Ended;

/// One line of JSON. Readers ignore types and fields that they do not know.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[expect(missing_docs, reason = "the fields are named as in the documented format")]
pub enum Event {
    /// The run begins; `v` is the version of this format.
    Start {
        v: u32,
        run: String,
        time: String,
        /// How many hosts there are, where they are many.
        #[serde(skip_serializing_if = "Option::is_none")]
        hosts: Option<u64>,
    },
    /// How far the run is; at most once a second.
    Status {
        bytes_done: u64,
        bytes_total: Option<u64>,
        files_done: u64,
        files_total: Option<u64>,
        /// While the totals are not known: what was found so far.
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes_found: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        files_found: Option<u64>,
        /// Of many hosts: those that have ended.
        #[serde(skip_serializing_if = "Option::is_none")]
        hosts_done: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        hosts_total: Option<u64>,
        eta_s: Option<u64>,
    },
    /// A file arrived, or was hashed (`action` `sum`).
    File {
        host: String,
        action: &'static str,
        /// Of a file in a directory: what it became.
        #[serde(skip_serializing_if = "Option::is_none")]
        change: Option<&'static str>,
        #[serde(flatten)]
        path: JsonPath,
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        resumed_from: Option<u64>,
        digest: Option<JsonDigest>,
        #[serde(skip_serializing_if = "Option::is_none")]
        verified: Option<bool>,
    },
    /// A name in a directory changed, and no content arrived for it; with `dry_run` what would have become of it.
    Item {
        host: String,
        action: &'static str,
        change: &'static str,
        #[serde(flatten)]
        path: JsonPath,
        kind: &'static str,
        bytes: u64,
        dry_run: bool,
    },
    /// A name that `check` looked at.
    Check {
        host: String,
        /// `local` or `remote` where a receipt is compared; none where two directories are.
        #[serde(skip_serializing_if = "Option::is_none")]
        side: Option<&'static str>,
        #[serde(flatten)]
        path: JsonPath,
        result: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// A file was left out by rule.
    Skipped {
        host: String,
        #[serde(flatten)]
        path: JsonPath,
        message: String,
    },
    /// A file arrived, and there is something to know about it.
    Warning {
        host: String,
        #[serde(flatten)]
        path: JsonPath,
        message: String,
    },
    /// Something that `ls` or `stat` found; times are seconds since 1970.
    Entry {
        host: String,
        #[serde(flatten)]
        path: JsonPath,
        kind: &'static str,
        bytes: u64,
        mode: Option<String>,
        mtime: Option<i64>,
        mtime_ns: Option<u32>,
    },
    /// A connection is tried again after `wait_s` seconds.
    Retry { host: String, attempt: u32, wait_s: f64, message: String },
    /// What a command wrote; `data` where it is text, else `data_b64`.
    Output {
        host: String,
        stream: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        data_b64: Option<String>,
    },
    /// How a command ended.
    Exit {
        host: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<u8>,
        #[serde(skip_serializing_if = "Option::is_none")]
        signal: Option<u8>,
    },
    /// A failure.
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        #[serde(flatten)]
        path: Option<JsonPath>,
        code: u8,
        message: String,
        retry_safe: bool,
    },
    /// A login that was only tried: `hosts ping`.
    Pong { host: String, user: String, rights: String, seconds: f64 },
    /// One of many hosts has ended, or never began.
    Host(HostEvent),
    /// The run ends; `files` arrived, `verified` of them were compared.
    Summary {
        files: u64,
        failed: u64,
        skipped: u64,
        bytes: u64,
        #[serde(flatten)]
        tree: Option<TreeSummary>,
        #[serde(flatten)]
        check: Option<CheckSummary>,
        #[serde(flatten)]
        fleet: Option<FleetSummary>,
        verified: u64,
        seconds: f64,
        exit: u8,
    },
}

/// What a summary says besides where directories took part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TreeSummary {
    /// Bytes of `bytes` that were there and did not travel.
    kept: u64,
    /// Files that were equal already.
    equal: u64,
    /// Names that were deleted.
    deleted: u64,
    /// It is only what would have been done.
    dry_run: bool,
}

/// What a summary of `check` says besides; `files` are the names that were looked at, `failed` those that could not be
/// read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CheckSummary {
    equal: u64,
    differ: u64,
    only_local: u64,
    only_remote: u64,
    missing: u64,
}

impl CheckSummary {
    pub(super) fn of(tallied: &Tallied) -> Self {
        let Tallied { equal, differ, only_local, only_remote, missing, .. } = *tallied;
        Self { equal, differ, only_local, only_remote, missing }
    }
}

/// A path in JSON: readable text, and the exact bytes where they are not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JsonPath {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
}

impl JsonPath {
    /// From the bytes of a name.
    pub fn new(bytes: &[u8]) -> Self {
        let path_b64 = std::str::from_utf8(bytes).is_err().then(|| STANDARD.encode(bytes));
        Self { path: String::from_utf8_lossy(bytes).into_owned(), path_b64 }
    }
}

/// A digest in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JsonDigest {
    alg: String,
    hex: String,
}

impl JsonDigest {
    pub(super) fn new(alg: &str, hex: &str) -> Self {
        Self { alg: alg.to_owned(), hex: hex.to_owned() }
    }
}

impl Event {
    pub(super) fn start(run: &[u8; 16], hosts: Option<u64>) -> Self {
        Event::Start { v: 1, run: hex(run), time: jiff::Timestamp::now().to_string(), hosts }
    }

    pub(super) fn file(report: &FileReport<'_>) -> Self {
        Event::File {
            host: report.host.to_owned(),
            action: report.action,
            change: None,
            path: JsonPath::new(report.path),
            bytes: Some(report.bytes),
            resumed_from: Some(report.resumed_from),
            digest: report.digest.map(|(alg, hex)| JsonDigest::new(alg, hex)),
            verified: Some(report.verified),
        }
    }

    pub(super) fn sum(host: &str, alg: &str, hex: &str, path: &[u8]) -> Self {
        Event::File {
            host: host.to_owned(),
            action: "sum",
            change: None,
            path: JsonPath::new(path),
            bytes: None,
            resumed_from: None,
            digest: Some(JsonDigest::new(alg, hex)),
            verified: None,
        }
    }

    pub(super) fn entry(host: &str, entry: &Entry<'_>) -> Self {
        Event::Entry {
            host: host.to_owned(),
            path: JsonPath::new(entry.path),
            kind: entry.kind.word(),
            bytes: entry.size,
            mode: entry.mode.map(|mode| format!("{:04o}", mode & 0o7777)),
            mtime: entry.mtime.map(|(seconds, _)| seconds),
            mtime_ns: entry.mtime.map(|(_, nanoseconds)| nanoseconds),
        }
    }

    pub(super) fn output(host: &str, stream: &'static str, bytes: &[u8]) -> Self {
        let (data, data_b64) = match std::str::from_utf8(bytes) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(STANDARD.encode(bytes))),
        };
        Event::Output { host: host.to_owned(), stream, data, data_b64 }
    }

    pub(super) fn exit(host: &str, ended: Ended) -> Self {
        let (status, signal) = match ended {
            Ended::Status(status) => (Some(status), None),
            Ended::Signal(signal) => (None, Some(signal)),
        };
        Event::Exit { host: host.to_owned(), status, signal }
    }

    pub(super) fn error(report: &ErrorReport<'_>) -> Self {
        Event::Error {
            host: report.host.map(str::to_owned),
            path: report.path.map(JsonPath::new),
            code: report.exit.code(),
            message: report.message.to_owned(),
            retry_safe: report.retry_safe,
        }
    }

    pub(super) fn summary(summary: &Summary, exit: u8) -> Self {
        Event::Summary {
            files: summary.files,
            failed: summary.failed,
            skipped: summary.skipped,
            bytes: summary.bytes,
            tree: summary.tree.then_some(TreeSummary {
                kept: summary.kept,
                equal: summary.equal,
                deleted: summary.deleted,
                dry_run: summary.dry_run,
            }),
            check: None,
            fleet: None,
            verified: summary.verified,
            seconds: seconds(summary.elapsed),
            exit,
        }
    }

    pub(super) fn fleet_summary(
        summary: &Summary,
        compared: Option<&Tallied>,
        fleet: FleetSummary,
        exit: u8,
    ) -> Self {
        let mut event = Self::summary(summary, exit);
        if let Event::Summary { check, fleet: of_fleet, .. } = &mut event {
            *check = compared.map(CheckSummary::of);
            *of_fleet = Some(fleet);
        }
        event
    }

    pub(super) fn checked(tallied: &Tallied, elapsed: Duration, exit: u8) -> Self {
        Event::Summary {
            files: tallied.all(),
            failed: tallied.unreadable,
            skipped: 0,
            bytes: 0,
            tree: None,
            check: Some(CheckSummary::of(tallied)),
            fleet: None,
            verified: tallied.equal,
            seconds: seconds(elapsed),
            exit,
        }
    }
}

pub(super) fn hex(run: &[u8; 16]) -> String {
    run.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn seconds(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 1000.0).round() / 1000.0
}
