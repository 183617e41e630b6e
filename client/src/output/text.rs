//! Text for people.

use std::fmt;
use std::time::Duration;

use ft_protocol::display::Escaped;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{ErrorReport, FileReport, Summary};

/// A file, directory or something else that a server lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Name or path, as it is to be shown.
    pub path: &'a [u8],
    /// What it is.
    pub kind: EntryKind,
    /// Size in bytes.
    pub size: u64,
    /// Permission bits, where known.
    pub mode: Option<u32>,
    /// Modification time, where known: seconds since 1970 and nanoseconds.
    pub mtime: Option<(i64, u32)>,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A FIFO, socket or device.
    Other,
}

impl EntryKind {
    pub(super) fn word(self) -> &'static str {
        match self {
            EntryKind::File => "file",
            EntryKind::Directory => "directory",
            EntryKind::Symlink => "symlink",
            EntryKind::Other => "other",
        }
    }

    fn letter(self) -> char {
        match self {
            EntryKind::File => '-',
            EntryKind::Directory => 'd',
            EntryKind::Symlink => 'l',
            EntryKind::Other => '?',
        }
    }
}

/// `512 B`, `4.0 GiB`: powers of 1024.
pub fn human_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        // 1023.95 would be rounded to 1024.0.
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

/// `12,000`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `0.0 s`, `3.2 s`, `2 min 5 s`, `1 h 1 min`.
pub fn human_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// Lines of a table whose columns are as wide as their widest cell, two blanks between them; `right` says which stand to
/// the right.
pub(crate) fn columns<const N: usize>(rows: &[[String; N]], right: [bool; N]) -> Vec<String> {
    let mut widths = [0; N];
    for row in rows {
        let wider = row.iter().zip(&mut widths);
        wider.for_each(|(cell, width)| *width = cell.chars().count().max(*width));
    }
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths.iter().zip(right)).map(|(cell, (width, right))| match right {
            true => format!("{cell:>width$}"),
            false => format!("{cell:width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// The words of an error without Rust's " (os error N)", which tells a person nothing.
pub fn reason(error: &dyn fmt::Display) -> String {
    let mut text = error.to_string();
    while let Some(at) = text.find(" (os error ")
        && let Some(length) = text.get(at..).and_then(|rest| rest.find(')'))
    {
        text.replace_range(at..=at + length, "");
    }
    text
}

/// `1.2 GiB/s`.
pub fn human_rate(bytes: u64, duration: Duration) -> String {
    let rate = bytes as f64 / duration.as_secs_f64().max(1e-6);
    format!("{}/s", human_bytes(rate as u64))
}

/// `big.iso: 4.0 GiB in 3.2 s (1.2 GiB/s), md5 0123… verified`.
pub(super) fn file_line(report: &FileReport<'_>) -> String {
    let moved = report.bytes.saturating_sub(report.resumed_from);
    let mut line = format!(
        "{}: {} in {} ({})",
        Escaped::new(report.path),
        human_bytes(report.bytes),
        human_duration(report.elapsed),
        human_rate(moved, report.elapsed)
    );
    if report.resumed_from > 0 {
        line += &format!(", resumed at {}", human_bytes(report.resumed_from));
    }
    let verified = if report.verified { "verified" } else { "NOT verified" };
    match report.digest {
        Some((alg, hex)) => line + &format!(", {alg} {hex} {verified}"),
        None => line + &format!(", {verified}"),
    }
}

/// `ftclient: nas:a/b: not found`, of a local name `ftclient: a/b: nas: no right to create`.
pub(super) fn error_line(report: &ErrorReport<'_>) -> String {
    format!("ftclient: {}", error_words(report))
}

/// The same without the name of the program.
pub(super) fn error_words(report: &ErrorReport<'_>) -> String {
    let mut line = String::new();
    let host = report.host.filter(|_| !report.here);
    match (host, report.path.filter(|path| !path.is_empty())) {
        (Some(host), Some(path)) if report.local => line += &format!("{}: {host}: ", Escaped::new(path)),
        (Some(host), Some(path)) => line += &format!("{host}:{}: ", Escaped::new(path)),
        (Some(host), None) => line += &format!("{host}: "),
        (None, Some(path)) => line += &format!("{}: ", Escaped::new(path)),
        (None, None) => {}
    }
    line + report.message
}

/// `12 files, 4.0 GiB in 3.2 s (1.2 GiB/s), all verified; 1 failed, 2 skipped`. Where directories took part also how
/// many files were equal and how many names were deleted.
pub(super) fn summary_line(summary: &Summary) -> String {
    let files =
        if summary.files == 1 { "1 file".into() } else { format!("{} files", grouped(summary.files)) };
    let mut line = if summary.dry_run { format!("would transfer {files}") } else { files };
    if summary.files > 0 && summary.dry_run {
        line += &format!(", {}", human_bytes(summary.bytes));
    } else if summary.files > 0 {
        let (bytes, elapsed) = (human_bytes(summary.bytes), human_duration(summary.elapsed));
        line += &match summary.bytes.saturating_sub(summary.kept) {
            0 if summary.kept > 0 => format!(", {bytes} in {elapsed}"),
            moved => format!(", {bytes} in {elapsed} ({})", human_rate(moved, summary.elapsed)),
        };
        if summary.kept > 0 {
            line += &format!(", {} of it were there", human_bytes(summary.kept));
        }
        line += &match summary.verified {
            verified if verified == summary.files => ", all verified".to_owned(),
            verified => format!(", {} verified", grouped(verified)),
        };
    }
    let deleted = if summary.dry_run { "to be deleted" } else { "deleted" };
    let rest = [
        (summary.equal, "equal already"),
        (summary.deleted, deleted),
        (summary.failed, "failed"),
        (summary.skipped, "skipped"),
    ];
    let rest = rest.iter().filter(|(count, _)| *count > 0);
    let rest: Vec<String> = rest.map(|(count, what)| format!("{} {what}", grouped(*count))).collect();
    if rest.is_empty() { line } else { format!("{line}; {}", rest.join(", ")) }
}

/// A line of `ls`, with its line feed. Names are escaped for a terminal and exact everywhere else.
pub(super) fn ls_line(entry: &Entry<'_>, long: bool, terminal: bool, zone: &TimeZone) -> Vec<u8> {
    let mut line = Vec::new();
    if long {
        let columns = format!(
            "{} {:>14} {} ",
            mode_text(entry),
            entry.size,
            time_text(entry, zone, "%Y-%m-%d %H:%M:%S")
        );
        line.extend_from_slice(columns.as_bytes());
    }
    push_name(&mut line, entry.path, terminal);
    line.push(b'\n');
    line
}

/// The paragraph of `stat`.
pub(super) fn stat_text(entry: &Entry<'_>, zone: &TimeZone) -> String {
    let mode = entry
        .mode
        .map_or("unknown".to_owned(), |mode| format!("{:04o} ({})", mode & 0o7777, mode_text(entry)));
    format!(
        "    path: {}\n    kind: {}\n    size: {} ({})\n    mode: {mode}\nmodified: {}\n",
        Escaped::new(if entry.path.is_empty() { b"/" } else { entry.path }),
        entry.kind.word(),
        entry.size,
        human_bytes(entry.size),
        time_text(entry, zone, "%Y-%m-%d %H:%M:%S%.f %:z"),
    )
}

/// A line as md5sum and sha256sum print it, with its line feed: a name with a backslash, a line feed or a
/// carriage return is escaped and the line starts with a backslash (coreutils manual, 'md5sum').
pub fn sum_line(hex: &str, path: &[u8], terminal: bool) -> Vec<u8> {
    let mut name = Vec::with_capacity(path.len());
    for byte in path {
        match byte {
            b'\\' => name.extend_from_slice(b"\\\\"),
            b'\n' => name.extend_from_slice(b"\\n"),
            b'\r' => name.extend_from_slice(b"\\r"),
            other => name.push(*other),
        }
    }
    let mut line = Vec::new();
    if name.len() != path.len() {
        line.push(b'\\');
    }
    line.extend_from_slice(hex.as_bytes());
    line.extend_from_slice(b"  ");
    push_name(&mut line, &name, terminal);
    line.push(b'\n');
    line
}

fn push_name(line: &mut Vec<u8>, name: &[u8], terminal: bool) {
    if terminal {
        line.extend_from_slice(Escaped::new(name).to_string().as_bytes());
    } else {
        line.extend_from_slice(name);
    }
}

fn mode_text(entry: &Entry<'_>) -> String {
    let mut text = entry.kind.letter().to_string();
    match entry.mode {
        None => text.push_str("?????????"),
        Some(mode) => {
            for shift in [6, 3, 0] {
                let bits = mode >> shift;
                text.push(if bits & 4 != 0 { 'r' } else { '-' });
                text.push(if bits & 2 != 0 { 'w' } else { '-' });
                text.push(if bits & 1 != 0 { 'x' } else { '-' });
            }
        }
    }
    text
}

fn time_text(entry: &Entry<'_>, zone: &TimeZone, format: &str) -> String {
    let time = entry
        .mtime
        .and_then(|(seconds, nanoseconds)| Timestamp::new(seconds, i32::try_from(nanoseconds).ok()?).ok());
    match time {
        Some(time) => time.to_zoned(zone.clone()).strftime(format).to_string(),
        None => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["NAME", "USER", ""], ["müller", "-", ""], ["w", "anna", "disabled"]];
        let rows = rows.map(|row| row.map(str::to_owned));
        let lines = columns(&rows, [false, true, false]);
        assert_eq!(lines, ["NAME    USER", "müller     -", "w       anna  disabled"]);
    }
}
