//! `shell`: one connection, many commands, typed at a prompt or read from a script.

use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use ft_protocol::display::Escaped;
use ft_protocol::{Error, RemotePath, Status};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::context::{Context, Server};
use super::terminal::TerminalGuard;
use super::{Failed, exec, work};
use crate::cli::{ExecPlan, LinePlan, Plan, Stop, parse_line};
use crate::client::{ClientError, EntryType};
use crate::exit::Exit;
use crate::output::{ErrorReport, reason};
use crate::shell::complete::Name;
use crate::shell::editor::{Event, LineEditor};
use crate::shell::words;

/// How long a listing for the Tab key may take; the editor waits a little longer.
const LISTING: Duration = Duration::from_millis(2500);

/// Gives the exit code.
pub(super) async fn run(context: &Context) -> Result<u8, Failed> {
    let mut server = context.server().await?;
    // Whoever must be asked for a password is asked before the first prompt.
    server.client.login().await.map_err(|error| Failed::from(error).told(&context.output, &server.name))?;
    let shell = Shell { context, server, cwd: RemotePath::root(), lost: None };
    if io::stdin().is_terminal() { shell.converse().await } else { shell.follow(script()).await }
}

struct Shell<'a> {
    context: &'a Context,
    server: Server,
    /// The remote directory.
    cwd: RemotePath,
    /// Why the session ended while nothing was asked of it.
    lost: Option<ClientError>,
}

/// What comes after a line.
enum Next {
    /// The next one; this is the code with which it ended.
    Line(u8),
    Quit,
}

/// The lines of the script on standard input, read by a thread of its own as a pipe may stand still.
fn script() -> Receiver<io::Result<Vec<u8>>> {
    let (send, lines) = channel(1);
    std::thread::spawn(move || {
        for line in io::stdin().lock().split(b'\n') {
            if send.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

impl Shell<'_> {
    /// Obeys a person.
    async fn converse(mut self) -> Result<u8, Failed> {
        let (mut editor, complaint) = LineEditor::start()
            .map_err(|error| Failed::new(Exit::Failure, format!("the terminal: {}", reason(&error))))?;
        if let Some(complaint) = complaint {
            self.context.output.info(&complaint)?;
        }
        let mut guard = TerminalGuard::new();
        self.context.ctrl_c.take_over();
        loop {
            guard.editing(true);
            editor.edit(self.prompt(), self.cwd.clone());
            let event = loop {
                match self.idle(editor.next()).await {
                    // An editor that gave up waiting needs no answer.
                    Event::List(path, reply) => drop(reply.send(self.list(&path).await)),
                    event => break event,
                }
            };
            guard.editing(false);
            match event {
                Event::Line(line) => {
                    if let Next::Quit = self.line(line.trim_start().as_bytes(), Some(&editor)).await? {
                        break;
                    }
                    guard.restore();
                }
                Event::End => break,
                Event::Interrupted | Event::List(..) => {}
            }
        }
        self.server.client.close().await;
        Ok(Exit::Ok.code())
    }

    /// Obeys a script: the first failure ends it.
    async fn follow(mut self, mut lines: Receiver<io::Result<Vec<u8>>>) -> Result<u8, Failed> {
        let mut number = 0;
        while let Some(line) = self.idle(lines.recv()).await {
            number += 1;
            let line = line.map_err(|error| {
                Failed::new(Exit::Failure, format!("cannot read the commands: {}", reason(&error)))
            })?;
            // The end of a line may be a blank behind a backslash.
            let line = line.strip_suffix(b"\r").unwrap_or(&line).trim_ascii_start();
            if line.starts_with(b"#") {
                continue;
            }
            // As for sftp(1): this one may fail.
            let (line, may_fail) = line.strip_prefix(b"-").map_or((line, false), |line| (line, true));
            match self.line(line.trim_ascii_start(), None).await? {
                Next::Quit => break,
                Next::Line(code) if code == Exit::Ok.code() || may_fail => {}
                Next::Line(code) => {
                    self.stopped(number, line, code)?;
                    self.server.client.close().await;
                    return Ok(code);
                }
            }
        }
        self.server.client.close().await;
        Ok(Exit::Ok.code())
    }

    fn stopped(&self, number: u64, line: &[u8], code: u8) -> io::Result<()> {
        let line = Escaped::new(line);
        let message = format!("line {number}: '{line}' failed with code {code}; nothing after it was done");
        let report = ErrorReport {
            host: None,
            path: None,
            exit: Exit::ALL.into_iter().find(|exit| exit.code() == code).unwrap_or(Exit::Failure),
            message: &message,
            // The lines before it would be carried out a second time.
            retry_safe: false,
            here: false,
            local: false,
        };
        self.context.output.error(&report)
    }

    /// One line. An error ends the shell; a command that fails does not.
    async fn line(&mut self, line: &[u8], editor: Option<&LineEditor>) -> Result<Next, Failed> {
        if let Some(command) = line.strip_prefix(b"!") {
            return Ok(Next::Line(self.local(command, editor.is_some()).await));
        }
        let parsed = match words::split(line) {
            Ok(words) if words.is_empty() => return Ok(Next::Line(Exit::Ok.code())),
            Ok(words) => parse_line(words, &self.cwd, self.context.settings.json),
            Err(missing) => {
                Err(Stop::Usage { message: format!("error: {missing}"), json: self.context.settings.json })
            }
        };
        let plan = match parsed {
            Ok(LinePlan::Quit) => return Ok(Next::Quit),
            Ok(plan) => plan,
            Err(Stop::Show(text)) => {
                self.say(text.as_bytes())?;
                return Ok(Next::Line(Exit::Ok.code()));
            }
            Err(stop) => return Ok(Next::Line(stop.write(&mut io::stdout(), &mut io::stderr())?.code())),
        };
        let code = match self.obey(plan, editor).await {
            Ok(code) => code,
            Err(failed) => {
                failed.report(&self.context.output, Some(&self.server.name), None);
                self.context.current.cut_short(failed.exit.code()).await;
                failed.exit.code()
            }
        };
        Ok(Next::Line(code))
    }

    async fn obey(&mut self, plan: LinePlan, editor: Option<&LineEditor>) -> Result<u8, Failed> {
        match plan {
            LinePlan::Work(Plan::Exec(plan)) => return self.exec(plan).await,
            LinePlan::Work(plan) => return self.work(plan).await.map(Exit::code),
            LinePlan::Cd(path) => return self.change_directory(path).await.map(Exit::code),
            LinePlan::Lcd(path) => {
                let failed = |error| {
                    let exit = Exit::from(Error::io("", &error).status());
                    Failed::alone(exit, format!("cannot change to '{}': {}", path.display(), reason(&error)))
                };
                std::env::set_current_dir(&path).map_err(failed)?;
            }
            LinePlan::Pwd => {
                self.say(format!("{}\n", self.place()).as_bytes())?;
            }
            LinePlan::Lpwd => {
                let path = std::env::current_dir()?;
                self.say(format!("{}\n", Escaped::new(path.as_os_str().as_bytes())).as_bytes())?;
            }
            LinePlan::History => {
                for (number, line) in editor.map(LineEditor::history).unwrap_or_default().iter().enumerate() {
                    self.say(format!("{:5}  {}\n", number + 1, Escaped::from(line.as_str())).as_bytes())?;
                }
            }
            LinePlan::Quit => {}
        }
        Ok(Exit::Ok.code())
    }

    /// A command of the server. Ctrl-C ends it, and the session goes on.
    async fn work(&mut self, plan: Plan) -> Result<Exit, Failed> {
        self.tell_of_loss()?;
        let unsure = matches!(plan, Plan::Rm(_) | Plan::Mv(_) | Plan::Mkdir(_));
        let mut ctrl_c = signal(SignalKind::interrupt())?;
        let done = tokio::select! {
            done = work(self.context, &mut self.server, plan) => Some(done),
            _ = ctrl_c.recv(), if self.context.ctrl_c.is_taken_over() => None,
        };
        if let Some(done) = done {
            return done;
        }
        let left = if unsure { "; look at the server for what was done" } else { "" };
        self.context.output.info(&format!("interrupted{left}"))?;
        self.context.current.cut_short(Exit::Failure.code()).await;
        // Whoever does not want to wait for the server's answer loses the connection.
        let settled = tokio::select! {
            () = self.server.client.settle() => true,
            _ = ctrl_c.recv() => false,
        };
        if !settled {
            self.server.client.abandon().await;
        }
        Ok(Exit::Failure)
    }

    /// A program on the server. The first Ctrl-C ends it there, the second does not wait for that.
    async fn exec(&mut self, plan: ExecPlan) -> Result<u8, Failed> {
        self.tell_of_loss()?;
        let cancel = CancellationToken::new();
        let mut ctrl_c = signal(SignalKind::interrupt())?;
        let running = exec::run_on(self.context, &mut self.server, plan, cancel.clone());
        tokio::pin!(running);
        loop {
            tokio::select! {
                code = &mut running => return Ok(code),
                _ = ctrl_c.recv(), if self.context.ctrl_c.is_taken_over() => {
                    if cancel.is_cancelled() {
                        return Ok(Exit::Failure.code());
                    }
                    cancel.cancel();
                }
            }
        }
    }

    async fn change_directory(&mut self, path: RemotePath) -> Result<Exit, Failed> {
        self.tell_of_loss()?;
        let mut ctrl_c = signal(SignalKind::interrupt())?;
        let entry = if path.is_root() {
            None
        } else {
            tokio::select! {
                entry = self.server.client.stat(&path) => Some(entry),
                _ = ctrl_c.recv(), if self.context.ctrl_c.is_taken_over() => return Ok(Exit::Failure),
            }
        };
        let error = match entry {
            Some(Ok(entry)) if entry.kind != EntryType::Dir => {
                Error::local(Status::NotDirectory, "is not a directory").into()
            }
            Some(Err(error)) => error,
            Some(Ok(_)) | None => {
                self.cwd = path;
                return Ok(Exit::Ok);
            }
        };
        let failed = Failed::from(error);
        failed.report(&self.context.output, Some(&self.server.name), Some(path.as_bytes()));
        Ok(failed.exit)
    }

    /// A command of this machine's shell, or without one the shell itself.
    async fn local(&mut self, command: &[u8], attended: bool) -> u8 {
        let shell =
            std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into());
        let mut process = tokio::process::Command::new(&shell);
        if !command.trim_ascii().is_empty() {
            process.arg("-c").arg(std::ffi::OsStr::from_bytes(command));
        }
        if !attended {
            // The script is ours to read.
            process.stdin(Stdio::null());
        }
        if self.context.settings.json {
            process.stdout(io::stderr());
        }
        let status = match process.spawn() {
            Ok(mut child) => self.idle(child.wait()).await,
            Err(error) => Err(error),
        };
        let (code, message) = match status {
            Ok(status) if status.success() => return Exit::Ok.code(),
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => (code, format!("the local command exited with status {code}")),
                (None, signal) => {
                    let signal = signal.unwrap_or(0);
                    (signal + 128, format!("the local command was ended by signal {signal}"))
                }
            },
            Err(error) => (1, format!("cannot run '{}': {}", shell.display(), reason(&error))),
        };
        Failed::new(Exit::Failure, message).report(&self.context.output, None, None);
        u8::try_from(code).unwrap_or(u8::MAX)
    }

    /// Names for the Tab key. What goes wrong is the next command's to say.
    async fn list(&mut self, path: &RemotePath) -> Vec<Name> {
        let retries = self.server.client.set_retries(0);
        let listed = timeout(LISTING, self.server.client.list(path)).await;
        self.server.client.set_retries(retries);
        let entries = listed.unwrap_or(Ok(Vec::new())).unwrap_or_default();
        entries.into_iter().map(|entry| (entry.name, entry.kind == EntryType::Dir)).collect()
    }

    /// Keeps the session while something else is waited for.
    async fn idle<T>(&mut self, wait: impl Future<Output = T>) -> T {
        let (done, lost) = self.server.client.idle(wait).await;
        self.lost = lost.or(self.lost.take());
        done
    }

    fn tell_of_loss(&mut self) -> Result<(), Failed> {
        let Some(lost) = self.lost.take() else { return Ok(()) };
        let line =
            format!("{}: the session had ended ({}); beginning another", self.server.name, reason(&lost));
        Ok(self.context.output.info(&line)?)
    }

    /// Text that was asked for; standard output is for JSON alone where that was asked for.
    fn say(&self, text: &[u8]) -> io::Result<()> {
        if self.context.settings.json { io::stderr().write_all(text) } else { self.context.output.data(text) }
    }

    /// The remote directory, from the root.
    fn place(&self) -> String {
        format!("/{}", Escaped::new(self.cwd.as_bytes()))
    }

    fn prompt(&self) -> String {
        let user =
            self.server.user.as_deref().map_or(String::new(), |user| format!("{}@", Escaped::from(user)));
        format!("{user}{}:{}> ", Escaped::from(self.server.name.as_str()), self.place())
    }
}
