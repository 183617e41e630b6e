//! Finding receipts and reading them.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ft_protocol::RemotePath;
use ft_protocol::display::Escaped;
use ft_protocol::fs::Mtime;

use super::SUFFIX;
use super::line::{BaseLine, FileLine, Line, RunLine, VERSION, bytes};
use crate::output::reason;

/// Longest line that is read: a path in base64, as text with escapes, and its base.
const MAX_LINE: u64 = 1 << 20;

/// A receipt cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// None fits.
    #[error("no receipt of run '{run}' in {}; 'last' is the last run that put something in place", directory.display())]
    None {
        /// What was asked for.
        run: String,
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// Several fit.
    #[error("'{run}' fits several receipts, {first} and {second}; write more of the name")]
    Several {
        /// What was asked for.
        run: String,
        /// One of them.
        first: String,
        /// Another one.
        second: String,
    },
    /// The system refused.
    #[error("{}: {}", path.display(), reason(error))]
    Io {
        /// The receipt, or where they are.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A line is none of a receipt.
    #[error("{}:{line}: {what}", path.display())]
    Syntax {
        /// The receipt.
        path: PathBuf,
        /// Line number from 1.
        line: u64,
        /// What is wrong.
        what: String,
    },
}

/// The receipt that `run` means: `last`, a file (with a `/` in it or `.jsonl` at its end), or the beginning of a run's
/// number or of a receipt's name.
pub fn find(directory: &Path, run: &OsStr) -> Result<PathBuf, ReceiptError> {
    let typed = run.as_bytes();
    if typed.contains(&b'/') || typed.ends_with(SUFFIX.as_bytes()) {
        return Ok(run.into());
    }
    let mut fit = names(directory)?;
    if typed != b"last" {
        fit.retain(|name| {
            let name = name.as_bytes();
            let number = name.iter().position(|byte| *byte == b'-').and_then(|at| name.get(at + 1..));
            name.starts_with(typed) || number.is_some_and(|number| number.starts_with(typed))
        });
    }
    let shown = |text: &OsStr| Escaped::new(text.as_bytes()).to_string();
    match fit.as_slice() {
        [] => Err(ReceiptError::None { run: shown(run), directory: directory.to_owned() }),
        [.., last] if typed == b"last" => Ok(directory.join(last)),
        [only] => Ok(directory.join(only)),
        [first, .., second] => {
            Err(ReceiptError::Several { run: shown(run), first: shown(first), second: shown(second) })
        }
    }
}

/// Names of receipts, the oldest first.
fn names(directory: &Path) -> Result<Vec<OsString>, ReceiptError> {
    let failed = |error| ReceiptError::Io { path: directory.to_owned(), error };
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        if name.as_bytes().ends_with(SUFFIX.as_bytes()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// A receipt that is being read, one file at a time.
#[derive(Debug)]
pub struct Receipt {
    path: PathBuf,
    lines: BufReader<File>,
    number: u64,
    run: RunLine,
    base: (Option<PathBuf>, RemotePath),
    cut: bool,
}

/// A file of a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Where it was here; none for a stream.
    pub local: Option<PathBuf>,
    /// Where it was on the server.
    pub remote: RemotePath,
    /// Bytes.
    pub size: u64,
    /// Modification time of the source, where known.
    pub mtime: Option<Mtime>,
    /// Algorithm.
    pub alg: String,
    /// Printed form of the digest.
    pub hex: String,
}

impl Receipt {
    /// Opens a receipt.
    pub fn open(path: &Path) -> Result<Self, ReceiptError> {
        let failed = |error| ReceiptError::Io { path: path.to_owned(), error };
        let mut lines = BufReader::new(File::open(path).map_err(failed)?);
        let syntax =
            |what: &str| ReceiptError::Syntax { path: path.to_owned(), line: 1, what: what.to_owned() };
        let first = read_line(&mut lines).map_err(failed)?;
        let run = match parse(&first) {
            Ok(Line::Run(run)) if run.v == VERSION => run,
            Ok(Line::Run(_)) => return Err(syntax("a receipt of a later release; use that one")),
            _ => return Err(syntax("this is no receipt")),
        };
        let base = run.base.paths().map_err(|what| syntax(&what))?;
        Ok(Self { path: path.to_owned(), lines, number: 1, run, base, cut: false })
    }

    /// The host as it was named.
    pub fn host(&self) -> &str {
        &self.run.host
    }

    /// The last line is not complete: the run was cut short while it wrote it.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// The next file; `None` at the end.
    pub fn next_file(&mut self) -> Result<Option<Recorded>, ReceiptError> {
        loop {
            let failed = |error| ReceiptError::Io { path: self.path.clone(), error };
            let line = read_line(&mut self.lines).map_err(failed)?;
            self.number += 1;
            if line.is_empty() {
                return Ok(None);
            }
            let parsed = match parse(&line) {
                Err(_) if !line.ends_with(b"\n") => {
                    self.cut = true;
                    return Ok(None);
                }
                parsed => parsed.map_err(|what| self.syntax(what))?,
            };
            match parsed {
                Line::Run(RunLine { base, .. }) | Line::Base(base) => self.rebase(&base)?,
                Line::File(file) => return self.recorded(file).map(Some),
                Line::Unknown => {}
            }
        }
    }

    fn rebase(&mut self, base: &BaseLine) -> Result<(), ReceiptError> {
        self.base = base.paths().map_err(|what| self.syntax(what))?;
        Ok(())
    }

    fn recorded(&self, file: FileLine) -> Result<Recorded, ReceiptError> {
        let path = bytes(&file.path, file.path_b64.as_deref()).map_err(|what| self.syntax(what))?;
        let (local, remote) = &self.base;
        // Nothing of it may lead out of its base.
        let beneath = RemotePath::from_wire(&path).map_err(|error| self.syntax(error.to_string()))?;
        let local = local.as_ref().map(|local| match beneath.is_root() {
            true => local.clone(),
            false => local.join(beneath.as_os_str()),
        });
        let remote = beneath.components().try_fold(remote.clone(), |path, name| path.join(name));
        Ok(Recorded {
            local,
            remote: remote.map_err(|error| self.syntax(error.to_string()))?,
            size: file.size,
            mtime: file.mtime.zip(file.mtime_ns).map(|(secs, nanos)| Mtime { secs, nanos }),
            alg: file.digest.alg,
            hex: file.digest.hex,
        })
    }

    fn syntax(&self, what: String) -> ReceiptError {
        ReceiptError::Syntax { path: self.path.clone(), line: self.number, what }
    }
}

fn read_line(lines: &mut BufReader<File>) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    io::Read::take(lines, MAX_LINE).read_until(b'\n', &mut line)?;
    Ok(line)
}

fn parse(line: &[u8]) -> Result<Line, String> {
    serde_json::from_slice(line).map_err(|error| format!("this is no line of a receipt: {error}"))
}
