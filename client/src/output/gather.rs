//! Output of many hosts, kept until all have ended, and shown once for all that gave the same.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};

use super::Output;
use super::scope::{Lines, Stream};
use crate::inventory::fold;

/// Of a stream so many bytes are kept in memory; what is more goes to a file without a name.
const IN_MEMORY: usize = 16 << 10;
/// Above and below the names.
const RULE: &str = "---------------";

/// What many hosts write. Clones are the same.
#[derive(Clone)]
pub struct Gather(Arc<Mutex<Kept>>);

struct Kept {
    names: Vec<String>,
    streams: HashMap<(usize, bool), Gathered>,
    spilled: Option<Spilled>,
}

/// One stream of one host.
struct Gathered {
    hash: Context,
    /// Where its beginning is in the file: start and length.
    parts: Vec<(u64, usize)>,
    rest: Vec<u8>,
}

struct Spilled {
    file: File,
    end: u64,
}

impl Gather {
    /// For hosts of these names, which are known by their place among them.
    pub fn new(names: Vec<String>) -> Self {
        Self(Arc::new(Mutex::new(Kept { names, streams: HashMap::new(), spilled: None })))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a piece of a host's output.
    pub(super) fn take(&self, number: usize, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let mut kept = self.kept();
        let Kept { streams, spilled, .. } = &mut *kept;
        let gathered = streams.entry((number, stream == Stream::Stderr)).or_insert_with(|| Gathered {
            hash: Context::new(&SHA256),
            parts: Vec::new(),
            rest: Vec::new(),
        });
        gathered.hash.update(bytes);
        gathered.rest.extend_from_slice(bytes);
        if gathered.rest.len() >= IN_MEMORY {
            let spilled = match spilled {
                Some(spilled) => spilled,
                None => spilled.insert(Spilled { file: tempfile::tempfile()?, end: 0 }),
            };
            let at = spilled.end;
            spilled.file.write_all_at(&gathered.rest, at)?;
            spilled.end += gathered.rest.len() as u64;
            gathered.parts.push((at, gathered.rest.len()));
            gathered.rest.clear();
        }
        Ok(())
    }

    /// Shows all of it: each different output once, under the names of the hosts that gave it.
    pub fn show(&self, output: &Output) -> io::Result<()> {
        let mut kept = self.kept();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let is_stderr = stream == Stream::Stderr;
            // In the order of the first host that gave it.
            let mut groups: Vec<([u8; 32], Vec<usize>)> = Vec::new();
            let mut at = HashMap::new();
            for number in 0..kept.names.len() {
                let Some(gathered) = kept.streams.get(&(number, is_stderr)) else { continue };
                let mut digest = [0; 32];
                digest.copy_from_slice(gathered.hash.clone().finish().as_ref());
                let group = *at.entry(digest).or_insert(groups.len());
                match groups.get_mut(group) {
                    Some((_, hosts)) => hosts.push(number),
                    None => groups.push((digest, vec![number])),
                }
            }
            for (_, hosts) in groups {
                kept.show(output, stream, &hosts)?;
            }
        }
        kept.streams.clear();
        Ok(())
    }
}

impl Kept {
    fn show(&self, output: &Output, stream: Stream, hosts: &[usize]) -> io::Result<()> {
        let first = hosts.first().and_then(|first| self.streams.get(&(*first, stream == Stream::Stderr)));
        let Some(gathered) = first else { return Ok(()) };
        let names: Vec<String> = hosts.iter().filter_map(|number| self.names.get(*number).cloned()).collect();
        let count = if names.len() > 1 { format!(" ({})", names.len()) } else { String::new() };
        let mut text = format!("{RULE}\n{}{count}\n{RULE}\n", fold(&names)).into_bytes();
        let mut lines = Lines::default();
        for (at, length) in &gathered.parts {
            let Some(spilled) = &self.spilled else { continue };
            let mut bytes = vec![0; *length];
            spilled.file.read_exact_at(&mut bytes, *at)?;
            lines.take(None, &bytes, &mut text);
            output.write(output.sink(stream), &text)?;
            text.clear();
        }
        lines.take(None, &gathered.rest, &mut text);
        lines.end(None, &mut text);
        output.write(output.sink(stream), &text)
    }
}
