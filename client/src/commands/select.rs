//! What of a directory takes part: patterns and names, read from where they are.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ft_protocol::RemotePath;
use ft_protocol::display::Escaped;
use ft_protocol::fs::{Filter, MAX_FILTER, MAX_NAMES_BYTES, Names, Rule};
use tokio::sync::oneshot;

use super::Failed;
use crate::cli::select::negated;
use crate::cli::{NameList, RuleSource, Selection};
use crate::exit::Exit;
use crate::output::reason;

/// Reads what was not on the command line. What cannot be understood is an error of usage, before anything is done.
pub(super) async fn read(selection: &Selection) -> Result<(Filter, Option<Names>), Failed> {
    let mut rules = Vec::new();
    for source in &selection.rules {
        match source {
            RuleSource::Pattern { include, pattern } => {
                rules.push(Rule { include: *include, pattern: pattern.as_bytes().to_vec() });
            }
            RuleSource::File(file) => {
                rules.extend(patterns(file, &contents(file, MAX_FILTER).await?)?);
            }
        }
    }
    let filter = Filter::new(rules).map_err(|error| wrong(error.to_string()))?;
    let Some(NameList { file, zero }) = &selection.names else { return Ok((filter, None)) };
    let bytes = contents(file, MAX_NAMES_BYTES).await?;
    Ok((filter, Some(names(file, &bytes, *zero)?)))
}

/// Patterns to exclude, one a line.
fn patterns(file: &Path, bytes: &[u8]) -> Result<Vec<Rule>, Failed> {
    let mut rules = Vec::new();
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line {
            [] | [b'#', ..] => {}
            [b'!', ..] => {
                let message = negated(std::ffi::OsStr::from_bytes(line));
                return Err(wrong(format!("{}:{}: {message}", named(file), number + 1)));
            }
            pattern => rules.push(Rule { include: false, pattern: pattern.to_vec() }),
        }
    }
    Ok(rules)
}

/// Paths beneath the directory, each ended by a line feed or a zero byte.
fn names(file: &Path, bytes: &[u8], zero: bool) -> Result<Names, Failed> {
    let end = if zero { 0 } else { b'\n' };
    let mut paths = Vec::new();
    for (number, line) in bytes.split(|byte| *byte == end).enumerate() {
        let typed = if zero { line } else { line.strip_suffix(b"\r").unwrap_or(line) };
        if typed.is_empty() {
            continue;
        }
        let path = RemotePath::from_typed(typed)
            .map_err(|error| wrong(format!("{}:{}: {error}", named(file), number + 1)))?;
        paths.push(path);
    }
    Ok(Names::new(paths))
}

/// The file, or standard input: read by a thread of its own, as a pipe may stand still and Ctrl-C must not.
async fn contents(file: &Path, limit: usize) -> Result<Vec<u8>, Failed> {
    let (send, receive) = oneshot::channel();
    let path = file.to_owned();
    std::thread::spawn(move || send.send(read_all(&path, limit)));
    let bytes = receive.await.unwrap_or_else(|_| Err(io::Error::other("its reader ended")));
    let bytes = bytes.map_err(|error| wrong(format!("{}: {}", named(file), reason(&error))))?;
    if bytes.len() > limit {
        return Err(wrong(format!("{}: it holds more than {limit} bytes", named(file))));
    }
    Ok(bytes)
}

fn read_all(file: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = limit as u64 + 1;
    match file.as_os_str().as_bytes() {
        b"-" => io::stdin().take(most).read_to_end(&mut bytes)?,
        _ => File::open(file)?.take(most).read_to_end(&mut bytes)?,
    };
    Ok(bytes)
}

fn named(file: &Path) -> String {
    match file.as_os_str().as_bytes() {
        b"-" => "standard input".to_owned(),
        bytes => Escaped::new(bytes).to_string(),
    }
}

fn wrong(message: String) -> Failed {
    Failed::alone(Exit::Usage, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn of_file(text: &[u8], zero: Option<bool>) -> Result<(Filter, Option<Names>), String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("list");
        std::fs::write(&file, text).unwrap();
        let selection = match zero {
            None => Selection { rules: vec![RuleSource::File(file)], names: None },
            Some(zero) => Selection { rules: Vec::new(), names: Some(NameList { file, zero }) },
        };
        read(&selection).await.map_err(|failed| {
            assert_eq!(failed.exit, Exit::Usage);
            failed.message
        })
    }

    #[tokio::test]
    async fn a_file_of_patterns_has_comments_and_no_negation() {
        let (filter, _) = of_file(b"# old things\n*.tmp\n\n/cache/\r\n", None).await.unwrap();
        let excludes = |path: &[u8], is_dir| filter.excludes(&RemotePath::from_wire(path).unwrap(), is_dir);
        assert!(excludes(b"d/a.tmp", false) && excludes(b"cache", true));
        assert!(!excludes(b"d/cache", true) && !excludes(b"# old things", false));
        let message = of_file(b"a\n!b\n", None).await.err().unwrap();
        assert!(message.contains("list:2: ") && message.contains("--include"), "{message}");
        assert!(of_file(b"a[\n", None).await.is_err());
    }

    #[tokio::test]
    async fn names_end_in_a_line_feed_or_a_zero_byte() {
        let paths = |names: Option<Names>| -> Vec<String> {
            names.unwrap().paths().iter().map(|path| path.to_string()).collect()
        };
        let (_, names) = of_file(b"./b\r\n\r\nd//a \n#c\n", Some(false)).await.unwrap();
        assert_eq!(paths(names), ["#c", "b", "d/a "]);
        let (_, names) = of_file(b"x\ny\0d\r\0", Some(true)).await.unwrap();
        assert_eq!(paths(names), ["d\\x0d", "x\\x0ay"]);
        let message = of_file(b"a\n../b\n", Some(false)).await.err().unwrap();
        assert!(message.contains("list:2: "), "{message}");
    }

    #[tokio::test]
    async fn a_list_that_is_not_there_is_an_error() {
        let names = Some(NameList { file: "/nonexistent/list".into(), zero: false });
        let failed = read(&Selection { rules: Vec::new(), names }).await.err().unwrap();
        assert_eq!(failed.exit, Exit::Usage);
        assert!(failed.message.contains("/nonexistent/list: No such file"), "{}", failed.message);
    }
}
