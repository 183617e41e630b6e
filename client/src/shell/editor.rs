//! The line editor, on a thread of its own: it blocks, and the connection's signs of life must go on.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::DirBuilder;
use std::io::{self, IsTerminal};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use etcetera::BaseStrategy;
use ft_protocol::RemotePath;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Behavior, CompletionType, Config, Editor, Helper};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::complete::{Name, complete};

/// Lines that the history keeps.
const HISTORY: usize = 1000;
/// How long the Tab key waits for a listing.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the editor reports.
#[derive(Debug)]
pub(crate) enum Event {
    /// A line was entered.
    Line(String),
    /// Ctrl-C: the line was thrown away.
    Interrupted,
    /// Ctrl-D on an empty line, or the terminal is gone.
    End,
    /// The editor wants the names in a remote directory, while the line is edited. It does not wait for ever.
    List(RemotePath, mpsc::Sender<Vec<Name>>),
}

enum Request {
    Edit { prompt: String, cwd: RemotePath },
    History(mpsc::Sender<Vec<String>>),
}

/// A line editor on the terminal.
#[derive(Debug)]
pub(crate) struct LineEditor {
    requests: mpsc::Sender<Request>,
    events: UnboundedReceiver<Event>,
}

impl LineEditor {
    /// Starts the thread; it ends with this value, or when the line that is being edited does. Also gives what is
    /// wrong with the history.
    pub(crate) fn start() -> io::Result<(Self, Option<String>)> {
        let (requests, asked) = mpsc::channel();
        let (events, heard) = unbounded_channel();
        let (mut editor, complaint) = editor(events.clone())?;
        let history = complaint.is_none().then(history_path).flatten();
        std::thread::Builder::new().name("line editor".into()).spawn(move || {
            while let Ok(request) = asked.recv() {
                match request {
                    Request::Edit { prompt, cwd } => {
                        let event = edit(&mut editor, &prompt, cwd, history.as_deref());
                        if events.send(event).is_err() {
                            return;
                        }
                    }
                    Request::History(reply) => {
                        let _ = reply.send(editor.history().iter().cloned().collect());
                    }
                }
            }
        })?;
        Ok((Self { requests, events: heard }, complaint))
    }

    /// Begins to edit a line; [`LineEditor::next`] gives what comes of it.
    pub(crate) fn edit(&self, prompt: String, cwd: RemotePath) {
        // A thread that has ended says so with the next event.
        let _ = self.requests.send(Request::Edit { prompt, cwd });
    }

    /// The next event. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Event {
        self.events.recv().await.unwrap_or(Event::End)
    }

    /// The lines that were entered, oldest first. Not while a line is edited.
    pub(crate) fn history(&self) -> Vec<String> {
        let (reply, lines) = mpsc::channel();
        let _ = self.requests.send(Request::History(reply));
        lines.recv().unwrap_or_default()
    }
}

fn editor(events: UnboundedSender<Event>) -> io::Result<(Editor<Prompter, FileHistory>, Option<String>)> {
    // The prompt is for the terminal, also where standard output is a file.
    let behavior = if io::stdout().is_terminal() { Behavior::Stdio } else { Behavior::PreferTerm };
    let config = Config::builder()
        .max_history_size(HISTORY)
        .and_then(|config| config.history_ignore_dups(true))
        .map_err(io::Error::other)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .completion_prompt_limit(200)
        .behavior(behavior)
        .build();
    let mut editor =
        Editor::with_history(config.clone(), FileHistory::with_config(&config)).map_err(io::Error::other)?;
    editor.set_helper(Some(Prompter { events, cwd: RemotePath::root(), listed: RefCell::default() }));
    let complaint = match history_path() {
        Some(path) => prepare(&path, &mut editor)
            .err()
            .map(|error| format!("the history is not kept: {}: {error}", path.display())),
        None => Some("the history is not kept: there is no home directory".into()),
    };
    Ok((editor, complaint))
}

/// `$XDG_STATE_HOME/ftclient/history`.
fn history_path() -> Option<PathBuf> {
    let base = etcetera::base_strategy::Xdg::new().ok()?;
    Some(base.state_dir()?.join("ftclient/history"))
}

fn prepare(path: &Path, editor: &mut Editor<Prompter, FileHistory>) -> Result<(), ReadlineError> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    match editor.load_history(path) {
        Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        loaded => loaded,
    }
}

fn edit(
    editor: &mut Editor<Prompter, FileHistory>,
    prompt: &str,
    cwd: RemotePath,
    history: Option<&Path>,
) -> Event {
    if let Some(helper) = editor.helper_mut() {
        helper.cwd = cwd;
        helper.listed.borrow_mut().clear();
    }
    match editor.readline(prompt) {
        Ok(line) => {
            // Written at once, so that it outlives whatever the command does. 0600 is the library's mode.
            if let (Ok(true), Some(path)) = (editor.add_history_entry(line.as_str()), history) {
                let _ = editor.append_history(path);
            }
            Event::Line(line)
        }
        Err(ReadlineError::Interrupted) => Event::Interrupted,
        Err(_) => Event::End,
    }
}

/// Completes lines; the names of a directory are asked for once a line.
struct Prompter {
    events: UnboundedSender<Event>,
    cwd: RemotePath,
    listed: RefCell<HashMap<RemotePath, Vec<Name>>>,
}

impl Prompter {
    fn list(&self, path: &RemotePath) -> Vec<Name> {
        if let Some(names) = self.listed.borrow().get(path) {
            return names.clone();
        }
        let (reply, names) = mpsc::channel();
        if self.events.send(Event::List(path.clone(), reply)).is_err() {
            return Vec::new();
        }
        let Ok(names) = names.recv_timeout(PATIENCE) else { return Vec::new() };
        self.listed.borrow_mut().insert(path.clone(), names.clone());
        names
    }
}

impl Completer for Prompter {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let completion =
            complete(line.get(..pos).unwrap_or_default(), &self.cwd, &mut |path| self.list(path));
        let pairs = completion.candidates.into_iter();
        let pairs = pairs.map(|candidate| Pair { display: candidate.shown, replacement: candidate.inserted });
        Ok((completion.start, pairs.collect()))
    }
}

impl Helper for Prompter {}
impl Highlighter for Prompter {}
impl Validator for Prompter {}
impl Hinter for Prompter {
    type Hint = String;
}
