//! What is said about the names in a directory: one line for each that changed, or that was compared.

use std::io;
use std::time::Duration;

use ft_protocol::display::Escaped;

use super::event::{JsonDigest, JsonPath};
use super::{ErrorReport, Event, Output, human_bytes};
use crate::exit::Exit;
use crate::output::EntryKind;

/// What became of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Created,
    /// Its content is another one.
    Replaced,
    /// Only its mode or time is another one.
    Meta,
    /// It is gone.
    Deleted,
}

impl Change {
    fn sign(self) -> char {
        match self {
            Change::Created => '+',
            Change::Replaced | Change::Meta => '*',
            Change::Deleted => '-',
        }
    }

    fn word(self) -> &'static str {
        match self {
            Change::Created => "created",
            Change::Replaced => "replaced",
            Change::Meta => "meta",
            Change::Deleted => "deleted",
        }
    }
}

/// A name in a directory that changed.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemReport<'a> {
    /// The host as it was named.
    pub host: &'a str,
    /// `get`, `put` or `sync`.
    pub action: &'static str,
    /// The path for people: beneath the target.
    pub path: &'a [u8],
    /// The remote path.
    pub remote: &'a [u8],
    /// What became of it.
    pub change: Change,
    /// What it is.
    pub kind: EntryKind,
    /// Size of a file.
    pub bytes: u64,
    /// Bytes that were there and did not travel.
    pub kept: u64,
    /// Of a file whose content arrived: algorithm and printed form.
    pub digest: Option<(&'a str, &'a str)>,
    /// It is only what would be done.
    pub dry_run: bool,
}

/// What a comparison found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// The same.
    Equal,
    /// Another content, or another kind of thing.
    Differ,
    /// Only here.
    OnlyLocal,
    /// Only on the server.
    OnlyRemote,
    /// In the receipt, and there no more.
    Missing,
    /// It could not be read.
    Unreadable,
}

impl Compared {
    fn sign(self) -> char {
        match self {
            Compared::Equal => '=',
            Compared::Differ => '*',
            Compared::OnlyLocal => '+',
            Compared::OnlyRemote | Compared::Missing => '-',
            Compared::Unreadable => '!',
        }
    }

    fn word(self) -> &'static str {
        match self {
            Compared::Equal => "equal",
            Compared::Differ => "differ",
            Compared::OnlyLocal => "only_local",
            Compared::OnlyRemote => "only_remote",
            Compared::Missing => "missing",
            Compared::Unreadable => "unreadable",
        }
    }
}

/// A name that was compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ComparedReport<'a> {
    /// The host as it was named.
    pub host: &'a str,
    /// `local` or `remote` where a receipt is compared.
    pub side: Option<&'static str>,
    /// The name for people.
    pub text: &'a [u8],
    /// The path for programs: the remote one; of a local file of a receipt that one.
    pub path: &'a [u8],
    /// It is a directory.
    pub is_dir: bool,
    /// What was found.
    pub found: Compared,
    /// Why it could not be read, or what there is to know about a difference.
    pub message: Option<&'a str>,
}

/// A name in a directory, as people and programs are told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemName<'a> {
    /// For people: beneath the target.
    pub text: &'a [u8],
    /// For programs: the remote path.
    pub remote: &'a [u8],
}

impl<'a> ItemName<'a> {
    /// The remote path for both.
    pub fn same(remote: &'a [u8]) -> Self {
        Self { text: remote, remote }
    }
}

/// A comparison in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tallied {
    /// The same.
    pub equal: u64,
    /// Different.
    pub differ: u64,
    /// Only here.
    pub only_local: u64,
    /// Only on the server.
    pub only_remote: u64,
    /// In the receipt, and there no more.
    pub missing: u64,
    /// Could not be read.
    pub unreadable: u64,
}

impl Tallied {
    /// Counts one.
    pub fn count(&mut self, found: Compared) {
        *match found {
            Compared::Equal => &mut self.equal,
            Compared::Differ => &mut self.differ,
            Compared::OnlyLocal => &mut self.only_local,
            Compared::OnlyRemote => &mut self.only_remote,
            Compared::Missing => &mut self.missing,
            Compared::Unreadable => &mut self.unreadable,
        } += 1;
    }

    /// Names that were looked at.
    pub fn all(&self) -> u64 {
        let Self { equal, differ, only_local, only_remote, missing, unreadable } = *self;
        equal + differ + only_local + only_remote + missing + unreadable
    }

    /// Adds those of another comparison.
    pub fn add(&mut self, other: &Self) {
        self.equal += other.equal;
        self.differ += other.differ;
        self.only_local += other.only_local;
        self.only_remote += other.only_remote;
        self.missing += other.missing;
        self.unreadable += other.unreadable;
    }

    /// 0 where all is equal, 3 where something could not be read, otherwise 1.
    pub fn exit(&self) -> Exit {
        match (self.unreadable, self.differ + self.only_local + self.only_remote + self.missing) {
            (1.., _) => Exit::Partial,
            (0, 1..) => Exit::Failure,
            (0, 0) => Exit::Ok,
        }
    }
}

impl Output {
    /// A name in a directory changed. What a dry run says is how the line of the run itself begins.
    pub fn item(&self, report: &ItemReport<'_>) -> io::Result<()> {
        self.event(&event(report))?;
        self.info(&line(report))
    }

    /// A name in a directory could not be dealt with, for a reason of this end (`here`) or of the server; shown even
    /// with `-q`. `path` is the one for people, that of the report the remote one.
    pub fn item_failed(&self, path: &[u8], report: &ErrorReport<'_>) -> io::Result<()> {
        self.event(&Event::error(report))?;
        if let Some(scope) = &self.scope {
            scope.record().failed(&format!("{}: {}", shown(path), report.message), report.retry_safe);
        }
        let place = match report.host.filter(|_| !report.here && self.scope.is_none()) {
            Some(host) => format!("{host}: "),
            None => String::new(),
        };
        self.human(&format!("! {}: {place}{}", shown(path), report.message))
    }

    /// A name that `check` looked at: a line on standard output, without equal ones with `-q`. Why something could not
    /// be read is said on standard error.
    pub fn compared(&self, report: &ComparedReport<'_>) -> io::Result<()> {
        let options = self.options();
        if options.json {
            if options.quiet && report.found == Compared::Equal {
                return Ok(());
            }
            return self.event(&Event::Check {
                host: report.host.to_owned(),
                side: report.side,
                path: JsonPath::new(report.path),
                result: report.found.word(),
                message: report.message.map(str::to_owned),
            });
        }
        if let Some(message) = report.message {
            let words = format!("{}: {message}", shown(report.text));
            match &self.scope {
                Some(scope) if report.found == Compared::Unreadable => scope.record().failed(&words, true),
                _ => {}
            }
            let program = if self.scope.is_some() { "" } else { "ftclient: " };
            self.human(&format!("{program}{words}"))?;
        }
        if options.quiet && report.found == Compared::Equal {
            return Ok(());
        }
        let bytes = if options.stdout_terminal || report.text.contains(&b'\n') {
            shown(report.text).into_bytes()
        } else {
            or_dot(report.text).to_vec()
        };
        let end: &[u8] = if report.is_dir && !report.text.is_empty() { b"/\n" } else { b"\n" };
        self.data(&[&[report.found.sign() as u8, b' '], bytes.as_slice(), end].concat())
    }

    /// The last words of a `check`.
    pub fn checked(&self, tallied: &Tallied, host: &str, elapsed: Duration, exit: Exit) -> io::Result<()> {
        self.tallied(tallied, elapsed, exit.code())?;
        self.info(&check_line(tallied, host))
    }

    fn tallied(&self, tallied: &Tallied, elapsed: Duration, exit: u8) -> io::Result<()> {
        match &self.scope {
            Some(scope) => scope.record().tallied = Some(*tallied),
            None => self.event(&Event::checked(tallied, elapsed, exit))?,
        }
        Ok(())
    }

    /// The last words of a `check` that was cut short. No text where there is nothing to count.
    pub fn check_cut_short(
        &self,
        tallied: &Tallied,
        host: &str,
        elapsed: Duration,
        code: u8,
    ) -> io::Result<()> {
        self.tallied(tallied, elapsed, code)?;
        if *tallied == Tallied::default() {
            return Ok(());
        }
        self.info(&format!("cut short: {}", check_line(tallied, host)))
    }
}

fn check_line(tallied: &Tallied, host: &str) -> String {
    let Tallied { equal, differ, only_local, only_remote, missing, unreadable } = *tallied;
    let counts = [
        (differ, "differ".to_owned()),
        (only_local, "only here".to_owned()),
        (only_remote, format!("only on {host}")),
        (missing, "gone".to_owned()),
        (unreadable, "could not be read".to_owned()),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> =
        counts.map(|(count, what)| format!("{} {what}", super::grouped(*count))).collect();
    let equal = super::grouped(equal);
    if counts.is_empty() { format!("{equal} equal") } else { format!("{equal} equal; {}", counts.join(", ")) }
}

fn event(report: &ItemReport<'_>) -> Event {
    match report.digest {
        Some((alg, hex)) => Event::File {
            host: report.host.to_owned(),
            action: report.action,
            change: Some(report.change.word()),
            path: JsonPath::new(report.remote),
            bytes: Some(report.bytes),
            resumed_from: Some(report.kept),
            digest: Some(JsonDigest::new(alg, hex)),
            verified: Some(true),
        },
        None => Event::Item {
            host: report.host.to_owned(),
            action: report.action,
            change: report.change.word(),
            path: JsonPath::new(report.remote),
            kind: report.kind.word(),
            bytes: report.bytes,
            dry_run: report.dry_run,
        },
    }
}

/// `+ d/a: 4.0 MiB, md5 0123… verified`, `+ d/`, `* b: mode or time`, `- old`.
fn line(report: &ItemReport<'_>) -> String {
    let mut line = format!("{} {}", report.change.sign(), shown(report.path));
    match (report.change, report.kind) {
        (Change::Meta, _) => line += ": mode or time",
        (Change::Created | Change::Replaced, EntryKind::File) => {
            line += &format!(": {}", human_bytes(report.bytes));
        }
        (_, EntryKind::Directory) if !report.path.is_empty() => line.push('/'),
        _ => {}
    }
    if let Some((alg, hex)) = report.digest {
        if report.kept > 0 {
            line += &format!(", {} of it were there", human_bytes(report.kept));
        }
        line += &format!(", {alg} {hex} verified");
    }
    line
}

fn shown(path: &[u8]) -> String {
    Escaped::new(or_dot(path)).to_string()
}

/// The directory itself is `.`.
fn or_dot(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"." } else { path }
}
