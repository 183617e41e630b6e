//! What the Tab key offers: commands, their options, remote and local names.

use std::path::Path;

use ft_protocol::RemotePath;
use ft_protocol::display::Escaped;

use super::local;
use super::words::{Partial, Word, quote, unfinished};
use crate::address::RemoteArg;
use crate::cli::line_command;

/// A name in a directory, and whether it is one itself.
pub(crate) type Name = (Vec<u8>, bool);

/// What fits at the end of a line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Completion {
    /// Where in the line the candidates begin.
    pub(crate) start: usize,
    /// What could stand there.
    pub(crate) candidates: Vec<Candidate>,
}

/// One possibility.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// As it is listed; nothing in it moves a cursor.
    pub(crate) shown: String,
    /// As it is inserted, quoted.
    pub(crate) inserted: String,
}

/// What may stand at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Command,
    Remote(Which),
    Local(Which),
    /// Local names, or where none fits remote ones.
    LocalElseRemote,
    /// The other way round.
    RemoteElseLocal,
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    Directories,
}

/// Completes the end of `line`, where `cwd` is the remote directory. `list` gives the names in a remote one.
pub(crate) fn complete(
    line: &str,
    cwd: &RemotePath,
    list: &mut dyn FnMut(&RemotePath) -> Vec<Name>,
) -> Completion {
    // A '-' before a command of a script; '!' begins a local one.
    let (before, partial) = unfinished(line.as_bytes());
    let verb = before.first().map(|word| word.plain.to_string_lossy().into_owned());
    if partial.dir.is_empty() && partial.name.starts_with(b"-") {
        return words(&partial, options(verb.as_deref().unwrap_or_default()));
    }
    match wanted(line, verb.as_deref(), &before) {
        Wanted::Command => words(&partial, commands()),
        Wanted::Remote(which) => names(&partial, remote(&partial, cwd, list), which),
        Wanted::Local(which) => names(&partial, here(&partial), which),
        Wanted::LocalElseRemote => names(&partial, here(&partial), Which::All)
            .or_else(|| names(&partial, remote(&partial, cwd, list), Which::All)),
        Wanted::RemoteElseLocal => names(&partial, remote(&partial, cwd, list), Which::All)
            .or_else(|| names(&partial, here(&partial), Which::All)),
        Wanted::Nothing => Completion::default(),
    }
}

impl Completion {
    fn or_else(self, other: impl FnOnce() -> Self) -> Self {
        if self.candidates.is_empty() { other() } else { self }
    }
}

fn wanted(line: &str, verb: Option<&str>, before: &[Word]) -> Wanted {
    if line.trim_start().starts_with('!') {
        return Wanted::Local(Which::All);
    }
    let after_target = before.last().is_some_and(|word| word.is("-t") || word.is("--target-directory"));
    let operands =
        before.iter().skip(1).filter(|word| !word.plain.as_encoded_bytes().starts_with(b"-")).count();
    match (verb, operands) {
        (None, _) | (Some("help"), 0) => Wanted::Command,
        (Some("get"), _) if after_target => Wanted::Local(Which::Directories),
        (Some("put"), _) if after_target => Wanted::Remote(Which::Directories),
        (Some("get"), 0) | (Some("ls" | "stat" | "sum" | "mkdir" | "rm" | "mv"), _) => {
            Wanted::Remote(Which::All)
        }
        (Some("put" | "check" | "sync"), 0) => Wanted::Local(Which::All),
        (Some("get"), _) => Wanted::LocalElseRemote,
        (Some("put"), _) => Wanted::RemoteElseLocal,
        (Some("check"), 1) => Wanted::Remote(Which::All),
        (Some("sync"), 1) => Wanted::Local(Which::Directories),
        (Some("cd"), 0) => Wanted::Remote(Which::Directories),
        (Some("lcd"), 0) => Wanted::Local(Which::Directories),
        _ => Wanted::Nothing,
    }
}

/// The commands of the shell.
fn commands() -> Vec<String> {
    line_command()
        .get_subcommands()
        .flat_map(|command| [command.get_name()].into_iter().chain(command.get_visible_aliases()))
        .map(str::to_owned)
        .collect()
}

/// The long options of a command.
fn options(verb: &str) -> Vec<String> {
    let all = line_command();
    let options = all.find_subcommand(verb).into_iter().flat_map(|command| command.get_arguments());
    let options = options.filter_map(|option| option.get_long()).chain(["help"]);
    options.map(|option| format!("--{option}")).collect()
}

fn words(partial: &Partial, mut known: Vec<String>) -> Completion {
    known.retain(|word| partial.dir.is_empty() && word.as_bytes().starts_with(&partial.name));
    known.sort();
    let candidates = known.into_iter().map(|word| Candidate { inserted: format!("{word} "), shown: word });
    Completion { start: partial.start, candidates: candidates.collect() }
}

fn remote(partial: &Partial, cwd: &RemotePath, list: &mut dyn FnMut(&RemotePath) -> Vec<Name>) -> Vec<Name> {
    // Without a name behind it the directory is one, however it is written.
    match RemoteArg::within(cwd, &[&partial.dir, &b"."[..]].concat(), b"").literal() {
        Ok(dir) => list(&dir),
        Err(_) => Vec::new(),
    }
}

fn here(partial: &Partial) -> Vec<Name> {
    use std::os::unix::ffi::OsStrExt;
    let dir = std::ffi::OsStr::from_bytes(&partial.dir);
    if partial.tilde { local::entries(&local::at_home(dir)) } else { local::entries(Path::new(dir)) }
}

fn names(partial: &Partial, mut names: Vec<Name>, which: Which) -> Completion {
    let hidden = partial.name.starts_with(b".");
    names.retain(|(name, is_dir)| {
        name.starts_with(&partial.name)
            && (hidden || !name.starts_with(b"."))
            && (*is_dir || which == Which::All)
    });
    let alone = names.len() == 1;
    let candidates = names.iter().map(|(name, is_dir)| {
        // What begins with a '-' would be an option, and with a '~' somebody's home.
        let guarded = partial.dir.is_empty() && (name.starts_with(b"-") || name.starts_with(b"~"));
        let safe = if guarded { [b"./", name.as_slice()].concat() } else { name.clone() };
        let mut inserted = quote(&safe, partial.quote, alone && !is_dir);
        match (is_dir, alone) {
            (true, _) => inserted.push('/'),
            (false, true) => inserted.push(' '),
            (false, false) => {}
        }
        let slash = if *is_dir { "/" } else { "" };
        Candidate { shown: format!("{}{slash}", Escaped::new(name)), inserted }
    });
    Completion { start: partial.start, candidates: candidates.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Tab makes of a line, with a server that has these names in `sub`, and the same in the root.
    fn tab(line: &str) -> Vec<String> {
        let cwd = RemotePath::from_typed(b"sub").unwrap();
        let completion = complete(line, &cwd, &mut |path| {
            assert!(path.as_bytes() == b"sub" || path.is_root(), "{path}");
            let names: [(&[u8], bool); 8] = [
                (b"-rf", false),
                (b".hid", false),
                (b"a\x1b[2J", false),
                (b"b\xff", false),
                (b"my dir", true),
                (b"my file", false),
                (b"plain", false),
                (b"q'uote", false),
            ];
            names.map(|(name, is_dir)| (name.to_vec(), is_dir)).into()
        });
        let lines = completion.candidates.iter().map(|candidate| {
            assert_eq!(Escaped::from(candidate.shown.as_str()).to_string(), candidate.shown);
            format!("{}{}", &line[..completion.start], candidate.inserted)
        });
        lines.collect()
    }

    #[test]
    fn names_are_completed_and_quoted_as_far_as_they_are_typed() {
        for (line, expected) in [
            ("get pl", vec!["get plain "]),
            ("get my", vec![r"get my\ dir/", r"get my\ file"]),
            (r"get my\ f", vec![r"get my\ file "]),
            ("get 'my f", vec![r"get my\ file "]),
            ("get ../'my f", vec![r"get ../my\ file "]),
            ("get '../my f", vec!["get '../my file' "]),
            ("get \"../my f", vec!["get \"../my file\" "]),
            ("get a", vec![r"get $'a\x1b[2J' "]),
            ("get b", vec![r"get $'b\xff' "]),
            ("get '../b", vec![r"get '../'$'b\xff' "]),
            ("get q", vec![r"get q\'uote "]),
            ("get .", vec!["get .hid "]),
            ("get ./-", vec!["get ./-rf "]),
            ("cd ", vec![r"cd my\ dir/"]),
            ("put x pl", vec!["put x plain "]),
            ("get -p pl", vec!["get -p plain "]),
            ("put -t ", vec![r"put -t my\ dir/"]),
            ("pwd ", vec![]),
            ("nonsense ", vec![]),
        ] {
            assert_eq!(tab(line), expected, "{line}");
        }
    }

    #[test]
    fn commands_and_their_options_are_completed() {
        assert_eq!(tab("mk"), ["mkdir "]);
        assert_eq!(tab("l"), ["lcd ", "lpwd ", "ls "]);
        assert_eq!(tab("help mk"), ["help mkdir "]);
        assert_eq!(tab("ls --l"), ["ls --long "]);
        assert_eq!(tab("put --no-c"), ["put --no-clobber "]);
        assert_eq!(tab("ex"), ["exec ", "exit "]);
    }
}
