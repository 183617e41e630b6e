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
/// Above and below the names. A line of a host that begins with it is moved by a blank, so that none can write names.
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
        let mut lines = Lines::beneath(RULE);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::OutputOptions;
    use crate::testing::Buffer;

    /// What is shown of these pieces, by number of the host, on standard output and standard error.
    fn shown(names: &[&str], pieces: &[(usize, Stream, &[u8])]) -> (String, String) {
        let gather = Gather::new(names.iter().map(|name| (*name).to_owned()).collect());
        for (number, stream, bytes) in pieces {
            gather.take(*number, *stream, bytes).unwrap();
        }
        let (out, err) = (Buffer::default(), Buffer::default());
        let options = OutputOptions::default();
        let output = Output::with_writers(options, Box::new(out.clone()), Box::new(err.clone()));
        gather.show(&output).unwrap();
        (out.text(), err.text())
    }

    #[test]
    fn equal_output_is_shown_once_in_the_order_of_the_hosts() {
        let pieces: [(usize, Stream, &[u8]); 6] = [
            (3, Stream::Stdout, b"one\ntwo\n"),
            (2, Stream::Stdout, b"other"),
            (0, Stream::Stdout, b"one"),
            (1, Stream::Stderr, b"err\n"),
            (0, Stream::Stdout, b"\ntwo\n"),
            (2, Stream::Stderr, b"err\n"),
        ];
        let (out, err) = shown(&["web1", "web2", "db", "web3"], &pieces);
        assert_eq!(out, format!("{RULE}\nweb[1,3] (2)\n{RULE}\none\ntwo\n{RULE}\ndb\n{RULE}\nother\n"));
        assert_eq!(err, format!("{RULE}\nweb2,db (2)\n{RULE}\nerr\n"));
    }

    #[test]
    fn much_output_comes_back_whole_however_it_was_cut() {
        let text: String = (0..200).map(|number| format!("{number:0999}\n")).collect();
        let other = text.replace('7', "x");
        // All at the same time, and more of each than is kept in memory.
        let cut = [(0, &text, 7_777), (1, &other, 5_000), (2, &text, 999)];
        let mut pieces: Vec<(usize, usize, &[u8])> = Vec::new();
        for (host, text, length) in cut {
            let parts = text.as_bytes().chunks(length).enumerate();
            pieces.extend(parts.map(|(number, part)| (number * length, host, part)));
        }
        pieces.sort_by_key(|(at, host, _)| (*at, *host));
        let pieces: Vec<_> = pieces.into_iter().map(|(_, host, part)| (host, Stream::Stdout, part)).collect();
        let (out, _) = shown(&["a", "b", "c"], &pieces);
        assert!(out == format!("{RULE}\na,c (2)\n{RULE}\n{text}{RULE}\nb\n{RULE}\n{other}"));
    }

    #[test]
    fn no_output_looks_like_the_name_of_a_host() {
        let forged = format!("fine\n{RULE}\ndb\n{RULE}\nforged\n{RULE}-+-\n -{RULE}\n");
        let (out, _) = shown(&["a"], &[(0, Stream::Stdout, forged.as_bytes())]);
        let expected =
            format!("{RULE}\na\n{RULE}\nfine\n {RULE}\ndb\n {RULE}\nforged\n {RULE}-+-\n -{RULE}\n");
        assert_eq!(out, expected);
    }

    #[test]
    fn what_moves_the_cursor_is_escaped() {
        let pieces: [(usize, Stream, &[u8]); 1] = [(0, Stream::Stdout, b"a\r\x1b[2Ab\xff\tc\n\nend")];
        let (out, _) = shown(&["a"], &pieces);
        assert_eq!(out, format!("{RULE}\na\n{RULE}\na\\x0d\\x1b[2Ab\\xff\tc\n\nend\n"));
    }
}
