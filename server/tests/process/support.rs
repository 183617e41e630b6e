//! What the tests of commands share.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ftserver::process::{Ended, Io, Launcher, ProcessLimits, Running, Spec, Supervisor};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

/// Longer than any machine needs, for what is waited for.
const DEADLINE: Duration = Duration::from_secs(120);

/// Variable by which a command and what it starts are told from all other processes.
const MARK: &str = "FT_TEST_MARK";

pub(crate) fn launcher() -> Launcher {
    Launcher::new(PathBuf::from(env!("CARGO_BIN_EXE_ftserver")))
}

pub(crate) fn spec(argv: &[&str]) -> Spec {
    Spec {
        argv: argv.iter().map(OsString::from).collect(),
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        cwd: File::open("/").unwrap(),
        io: Io::Pipes { stdin: false },
        run_as: None,
        limits: ProcessLimits::default(),
        new_privileges: true,
    }
}

pub(crate) fn sh(script: &str) -> Spec {
    spec(&["/bin/sh", "-c", script])
}

pub(crate) fn terminal(mut spec: Spec) -> Spec {
    spec.io = Io::Terminal { rows: 33, columns: 101 };
    spec.env.push(("TERM".into(), "dumb".into()));
    spec
}

/// What a command wrote to both outputs, and how it ended.
pub(crate) async fn output(spec: Spec) -> (Ended, Vec<u8>, Vec<u8>) {
    let Running { stdin, mut stdout, stderr, mut supervisor } = launcher().start(spec).await.unwrap();
    drop(stdin);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let errors = async {
        if let Some(mut stderr) = stderr {
            stderr.read_to_end(&mut err).await.unwrap();
        }
    };
    let (read, ()) = tokio::join!(stdout.read_to_end(&mut out), errors);
    read.unwrap();
    (ended(&mut supervisor).await, out, err)
}

pub(crate) async fn text(spec: Spec) -> String {
    let (ended, out, err) = output(spec).await;
    assert_eq!(ended, Ended::Exited(0), "{}", String::from_utf8_lossy(&err));
    String::from_utf8(out).unwrap()
}

pub(crate) async fn ended(supervisor: &mut Supervisor) -> Ended {
    tokio::time::timeout(DEADLINE, supervisor.ended()).await.expect("it never ends").unwrap()
}

/// Reads up to a line that holds these words; gives that line.
pub(crate) async fn line_with(from: &mut (impl AsyncRead + Unpin), words: &str) -> String {
    let mut lines = BufReader::with_capacity(1, from).lines();
    loop {
        let line = tokio::time::timeout(DEADLINE, lines.next_line()).await.expect("it never comes").unwrap();
        let line = line.unwrap_or_else(|| panic!("the output ends before {words:?}"));
        if line.contains(words) {
            return line;
        }
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < DEADLINE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A name of its own for what one test starts.
#[derive(Debug, Clone)]
pub(crate) struct Mark(pub(crate) String);

impl Mark {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Self(format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    pub(crate) fn on(&self, mut spec: Spec) -> Spec {
        spec.env.push((MARK.into(), (&self.0).into()));
        spec
    }

    /// Processes that are alive and carry the mark; those that run `program`, where one is given.
    pub(crate) fn alive(&self, program: &str) -> Vec<i32> {
        let variable = format!("{MARK}={}", self.0);
        let carries = |pid: &i32| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            environ.split(|byte| *byte == 0).any(|item| item == variable.as_bytes())
                && (program.is_empty() || name.trim_end() == program)
        };
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(carries).collect()
    }

    pub(crate) async fn until_running(&self, program: &str, count: usize) {
        until(&format!("{count} of {program}"), || self.alive(program).len() == count).await;
    }

    pub(crate) async fn until_gone(&self) {
        until("all have ended", || self.alive("").is_empty()).await;
    }
}

/// A field of proc_pid_status(5).
pub(crate) fn field<'a>(status: &'a str, name: &str) -> &'a str {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().trim()
}
