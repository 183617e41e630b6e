//! The supervisor process: the ancestor of a command, which lets nothing of it stay behind.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, getpid, set_child_subreaper};

use super::BECOME;
use super::spec::Ended;
use super::tree::Tree;

/// On the lifeline: end the command.
pub(super) const END: u8 = b'E';

/// How long what a command left running has to end by itself, as the rest of a pipeline does.
const LINGER: Duration = Duration::from_secs(1);
/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(5);
/// From the first SIGKILL to the admission that some processes cannot be ended.
const PATIENCE: Duration = Duration::from_secs(5);
/// From one SIGKILL to the next.
const AGAIN: Duration = Duration::from_millis(20);
/// The same after that admission.
const SELDOM: Duration = Duration::from_secs(10);

/// Bytes of a [`Report`].
pub(super) const REPORT_SIZE: usize = 9;

/// What a supervisor says, once, on the lifeline.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) outcome: Outcome,
    /// Processes that are left.
    pub(super) left: u32,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Ended(Ended),
    /// There was no command.
    Failed(io::Error),
}

impl Report {
    fn encode(&self) -> [u8; REPORT_SIZE] {
        let (kind, value) = match &self.outcome {
            Outcome::Ended(Ended::Exited(status)) => (b'X', i32::from(*status)),
            Outcome::Ended(Ended::Signalled(signal)) => (b'S', i32::from(*signal)),
            Outcome::Failed(error) => {
                (b'F', error.raw_os_error().unwrap_or(rustix::io::Errno::IO.raw_os_error()))
            }
        };
        let mut bytes = [kind; REPORT_SIZE];
        let numbers = value.to_le_bytes().into_iter().chain(self.left.to_le_bytes());
        bytes.iter_mut().skip(1).zip(numbers).for_each(|(to, from)| *to = from);
        bytes
    }

    /// Takes apart what a supervisor said.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (value, left) = rest.split_first_chunk::<4>()?;
        let value = i32::from_le_bytes(*value);
        let outcome = match kind {
            b'X' => Outcome::Ended(Ended::Exited(u8::try_from(value).ok()?)),
            b'S' => Outcome::Ended(Ended::Signalled(u8::try_from(value).ok()?)),
            b'F' => Outcome::Failed(io::Error::from_raw_os_error(value)),
            _ => return None,
        };
        Some(Self { outcome, left: u32::from_le_bytes(left.try_into().ok()?) })
    }
}

/// Supervises one command; standard input is the lifeline, standard output the control socket of the stage.
pub(super) fn run(terminal: bool) -> ExitCode {
    let Ok(lifeline) = rustix::stdio::stdin().try_clone_to_owned() else { return ExitCode::FAILURE };
    let mut lifeline = UnixStream::from(lifeline);
    match Watch::begin(&lifeline, terminal) {
        Ok(watch) => watch.until_the_end(),
        Err(error) => {
            let _ = lifeline.write_all(&Report { outcome: Outcome::Failed(error), left: 0 }.encode());
        }
    }
    ExitCode::SUCCESS
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// The command has ended, its leftovers may.
    Lingering,
    Terminating,
    Killing,
    /// Reported, with processes left.
    Haunted,
}

struct Watch {
    /// `None`: at its end.
    lifeline: Option<UnixStream>,
    report_to: UnixStream,
    terminal: bool,
    tree: Tree,
    /// Readable when a child has ended.
    children: UnixStream,
    /// Readable when somebody wants this process to end.
    asked: UnixStream,
    phase: Phase,
    since: Instant,
}

impl Watch {
    /// Starts the stage.
    fn begin(lifeline: &UnixStream, terminal: bool) -> io::Result<Self> {
        let null: OwnedFd = std::fs::File::options().read(true).write(true).open("/dev/null")?.into();
        let control = rustix::stdio::stdout().try_clone_to_owned()?;
        // The server waits for the end of the control socket, so only the stage may have it.
        rustix::stdio::dup2_stdout(&null)?;
        // Away from the server's session: Ctrl-C there is for the server, which then lets go of its lifelines.
        rustix::process::setsid()?;
        std::env::set_current_dir("/")?;
        set_child_subreaper(Some(getpid()))?;
        Tree::check()?;
        let (children, asked) = (on_signals(&[Signal::CHILD])?, on_signals(&ENDING)?);
        let report_to = lifeline.try_clone()?;
        let lifeline = Some(lifeline.try_clone()?);
        let tree = Tree::new(start_stage(control)?);
        let (phase, since) = (Phase::Running, Instant::now());
        Ok(Self { lifeline, report_to, terminal, tree, children, asked, phase, since })
    }

    fn until_the_end(mut self) {
        loop {
            let left = self.tree.reap();
            match self.tree.ended() {
                Some(ended) if left == 0 => {
                    if self.tree.bury() {
                        return self.report(ended, 0);
                    }
                    continue;
                }
                Some(_) if self.phase == Phase::Running => self.enter(Phase::Lingering),
                _ => {}
            }
            self.act(left);
            self.wait();
        }
    }

    fn act(&mut self, left: usize) {
        let passed = self.since.elapsed();
        match self.phase {
            Phase::Lingering if passed >= LINGER => self.terminate(),
            Phase::Terminating if passed >= GRACE => {
                self.enter(Phase::Killing);
                self.tree.kill();
            }
            Phase::Killing => {
                self.tree.kill();
                if passed >= PATIENCE {
                    // A command that itself cannot be ended was to be.
                    let ended = self.tree.ended().unwrap_or(Ended::Signalled(9));
                    self.report(ended, left);
                    self.enter(Phase::Haunted);
                }
            }
            Phase::Haunted => self.tree.kill(),
            _ => {}
        }
    }

    fn terminate(&mut self) {
        // A stopped process acts on a signal only when it is continued.
        let signals: &[Signal] = match self.terminal {
            true => &[Signal::HUP, Signal::TERM, Signal::CONT],
            false => &[Signal::TERM, Signal::CONT],
        };
        self.enter(Phase::Terminating);
        self.tree.signal(signals);
    }

    fn enter(&mut self, phase: Phase) {
        (self.phase, self.since) = (phase, Instant::now());
    }

    /// Until a child ends, somebody asks for the end, or the time of the phase is over.
    fn wait(&mut self) {
        let rest = |whole: Duration| Some(whole.saturating_sub(self.since.elapsed()));
        let timeout = match self.phase {
            Phase::Running => None,
            Phase::Lingering => rest(LINGER),
            Phase::Terminating => rest(GRACE),
            Phase::Killing => Some(AGAIN),
            Phase::Haunted => Some(SELDOM),
        };
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut fds: Vec<PollFd<'_>> = [Some(&self.children), Some(&self.asked), self.lifeline.as_ref()]
            .into_iter()
            .flatten()
            .map(|socket| PollFd::new(socket, PollFlags::IN))
            .collect();
        // Interrupted: by a signal whose socket is readable now.
        let _ = poll(&mut fds, timeout.as_ref());
        let is_ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        let (children, asked, lifeline) = (is_ready(0), is_ready(1), is_ready(2));
        if children {
            drain(&mut self.children);
        }
        if asked {
            drain(&mut self.asked);
        }
        if lifeline
            && self.lifeline.as_mut().is_none_or(|lifeline| !matches!(lifeline.read(&mut [0; 16]), Ok(1..)))
        {
            self.lifeline = None;
        }
        if (asked || lifeline) && matches!(self.phase, Phase::Running | Phase::Lingering) {
            self.terminate();
        }
    }

    fn report(&mut self, ended: Ended, left: usize) {
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        let _ = self.report_to.write_all(&Report { outcome: Outcome::Ended(ended), left }.encode());
    }
}

/// What a service manager or a person would send to end this process.
const ENDING: [Signal; 4] = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT];

/// A socket that is readable once any of the signals came.
fn on_signals(signals: &[Signal]) -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    for signal in signals {
        signal_hook::low_level::pipe::register(signal.as_raw(), theirs.try_clone()?)?;
    }
    Ok(ours)
}

fn drain(socket: &mut UnixStream) {
    let mut bytes = [0; 64];
    while matches!(socket.read(&mut bytes), Ok(1..)) {}
}

fn start_stage(control: OwnedFd) -> io::Result<Pid> {
    let stage = Command::new("/proc/self/exe")
        .arg0("ftserver")
        .arg(BECOME)
        .env_clear()
        .stdin(control)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    // Never waited for through `Child`: its zombie keeps its number, and its group's, from being used again.
    i32::try_from(stage.id()).ok().and_then(Pid::from_raw).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
