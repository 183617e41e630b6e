//! Writing a receipt while a run goes on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ft_protocol::RemotePath;
use ft_protocol::fs::Mtime;
use jiff::Timestamp;

use super::SUFFIX;
use super::line::{BaseLine, DigestLine, FileLine, Line, RunLine, VERSION, text};

/// What was written longest ago and is still in memory is at most about so old.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// Writes the receipt of one run. The file is made with its first line, so a run that put nothing in place leaves none
/// and `last` stays the last that did.
#[derive(Debug)]
pub struct Recorder {
    directory: PathBuf,
    run: String,
    action: &'static str,
    host: String,
    base: Option<BaseLine>,
    file: Option<BufWriter<File>>,
    flushed: Instant,
}

/// A file that is in place.
#[derive(Debug, Clone, Copy)]
pub struct Concluded<'a> {
    /// Where it is here; none for a stream.
    pub local: Option<&'a Path>,
    /// Where it is on the server.
    pub remote: &'a RemotePath,
    /// How many components, counted from the end, the two have in common and are to be told for each file; the rest is
    /// told once for many. 0 where their names differ.
    pub beneath: usize,
    /// Bytes.
    pub size: u64,
    /// Modification time of the source, where known.
    pub mtime: Option<Mtime>,
    /// Algorithm and printed form.
    pub digest: (&'a str, &'a str),
    /// Both ends agree on it.
    pub verified: bool,
}

impl Recorder {
    /// For a run that writes no receipt before something was put in place.
    pub fn new(directory: PathBuf, run: &[u8; 16], action: &'static str, host: &str) -> Self {
        let run = run.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            directory,
            run,
            action,
            host: host.to_owned(),
            base: None,
            file: None,
            flushed: Instant::now(),
        }
    }

    /// Where receipts are kept.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Adds a file.
    pub fn add(&mut self, done: &Concluded<'_>) -> io::Result<()> {
        let (base, path) = split(done);
        if self.file.is_none() {
            self.begin(&base)?;
        } else if self.base.as_ref() != Some(&base) {
            self.line(&Line::Base(base.clone()))?;
        }
        self.base = Some(base);
        let (path, path_b64) = text(&path);
        let (alg, hex) = done.digest;
        self.line(&Line::File(FileLine {
            path,
            path_b64,
            size: done.size,
            mtime: done.mtime.map(|mtime| mtime.secs),
            mtime_ns: done.mtime.map(|mtime| mtime.nanos),
            digest: DigestLine { alg: alg.to_owned(), hex: hex.to_owned() },
            verified: done.verified,
        }))?;
        if self.flushed.elapsed() >= FLUSH_EVERY { self.finish() } else { Ok(()) }
    }

    /// Writes what is still in memory.
    pub fn finish(&mut self) -> io::Result<()> {
        self.flushed = Instant::now();
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }

    fn begin(&mut self, base: &BaseLine) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let now = Timestamp::now();
        let path =
            self.directory.join(format!("{}-{}{SUFFIX}", now.strftime("%Y%m%dT%H%M%S.%6fZ"), self.run));
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        self.file = Some(BufWriter::new(file));
        self.line(&Line::Run(RunLine {
            v: VERSION,
            run: self.run.clone(),
            time: now.to_string(),
            action: self.action.to_owned(),
            host: self.host.clone(),
            base: base.clone(),
        }))
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(&bytes))
    }
}

/// The base, and the path beneath it.
fn split(done: &Concluded<'_>) -> (BaseLine, Vec<u8>) {
    let remote = done.remote.as_bytes();
    let names: Vec<&[u8]> = done.remote.components().collect();
    let path = names.get(names.len().saturating_sub(done.beneath)..).unwrap_or_default().join(&b'/');
    let local_base = |local: &Path| {
        let bytes = local.as_os_str().as_bytes();
        let rest = bytes.strip_suffix(path.as_slice())?;
        // Of '/a' without 'a' the root is left, of 'b/a' the directory without its slash.
        let rest = rest.strip_suffix(b"/").filter(|rest| !rest.is_empty()).unwrap_or(rest);
        Some(PathBuf::from(std::ffi::OsStr::from_bytes(rest)))
    };
    let cut = remote.len().saturating_sub(path.len());
    let above = remote.get(..cut).map(|above| above.strip_suffix(b"/").unwrap_or(above)).unwrap_or_default();
    let beneath = (RemotePath::from_wire(above), done.local.map(local_base));
    match beneath {
        (Ok(remote), None) if !path.is_empty() => (BaseLine::new(None, &remote), path),
        (Ok(remote), Some(Some(local))) if !path.is_empty() => (BaseLine::new(Some(&local), &remote), path),
        _ => (BaseLine::new(done.local, done.remote), Vec::new()),
    }
}
