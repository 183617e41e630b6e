//! The commands: plans from the command line carried out with a [`Client`](crate::Client), and what is said about them.

mod books;
mod check;
mod context;
mod convert;
mod exec;
mod expand;
mod fleet;
mod get;
mod hosts;
mod local_sum;
mod put;
mod receipt;
mod remote;
mod select;
mod setup;
mod shell;
mod sync;
mod terminal;
mod transfer;
mod tree;

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::{self, CheckPlan, Invocation, Plan};
use crate::client::ClientError;
use crate::config::ConfigError;
use crate::credentials::CredentialError;
use crate::exit::Exit;
use crate::known_hosts::KnownHostsError;
use crate::output::{ErrorReport, Output, is_broken_pipe, reason};
use crate::receipts::ReceiptError;
use crate::tty;
use context::{Context, CtrlC, Current, Server};
use terminal::Modes;

/// How long files and connections may take to be put away when a run is cut short.
const TIDY_UP: Duration = Duration::from_secs(3);

/// Runs the program: parses, carries out, and gives the exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if tty::is_asked_for(args.get(1).map(OsString::as_os_str)) {
        return written(tty::watch());
    }
    let invocation = match cli::parse(args) {
        Ok(invocation) => invocation,
        Err(stop) => {
            let said = stop.write(&mut io::stdout(), &mut io::stderr());
            return said.unwrap_or(Exit::Failure).into();
        }
    };
    match &invocation.plan {
        Plan::Completions(shell) => return written(cli::write_completions(*shell, &mut io::stdout())),
        Plan::Man(verb) => return written(cli::write_man(verb.as_deref(), &mut io::stdout())),
        _ => {}
    }
    // One connection needs one thread; hashing and files have their own. More would only pass messages around.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(_) => return Exit::Failure.into(),
    };
    let modes = Modes::of_stdin();
    let code = runtime.block_on(until_signalled(invocation));
    // A prompt that was cut off has left it without echo.
    modes.restore_echo();
    // Blocking halves of a transfer that was cut off remove or keep their files now.
    runtime.shutdown_timeout(TIDY_UP);
    code
}

fn written(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => Exit::Ok.into(),
        Err(_) => Exit::Failure.into(),
    }
}

async fn until_signalled(invocation: Invocation) -> ExitCode {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let (Ok(mut int), Ok(mut term), Ok(mut hup)) = (signal(kinds[0]), signal(kinds[1]), signal(kinds[2]))
    else {
        return Exit::Failure.into();
    };
    // A file-size limit is an error of that write (EFBIG), not the end of the program.
    let _file_size = signal(SignalKind::from_raw(Number::XFSZ.as_raw()));
    let (ctrl_c, current) = (CtrlC::default(), Current::default());
    let asked = report_when_asked(signal(SignalKind::user_defined1()).ok(), current.clone());
    let interrupted = async { while int.recv().await.is_some() && ctrl_c.is_taken_over() {} };
    let kind = tokio::select! {
        code = carry_out(invocation, ctrl_c.clone(), current.clone()) => return code.into(),
        never = asked => match never {},
        () = interrupted => SignalKind::interrupt(),
        _ = term.recv() => SignalKind::terminate(),
        _ = hup.recv() => SignalKind::hangup(),
    };
    let code = 128_u8.saturating_add(u8::try_from(kind.as_raw_value()).unwrap_or(0));
    current.cut_short(code).await;
    ExitCode::from(code)
}

/// SIGUSR1 asks how far the transfer is.
async fn report_when_asked(signals: Option<Signal>, current: Current) -> Infallible {
    if let Some(mut signals) = signals {
        while signals.recv().await.is_some() {
            current.report();
        }
    }
    std::future::pending().await
}

/// Gives the exit code.
async fn carry_out(invocation: Invocation, ctrl_c: CtrlC, current: Current) -> u8 {
    let data_on_stdout = matches!(&invocation.plan, Plan::Get(get) if get.target == cli::LocalTarget::Stdout);
    let options =
        crate::output::OutputOptions::detect(invocation.run.json, invocation.run.quiet, data_on_stdout);
    let output = Output::new(options);
    let done = async {
        let (context, plan, fleet) = Context::new(invocation, output.clone(), ctrl_c, current.clone())?;
        if let Some(fleet) = fleet {
            return fleet::run(context, plan, fleet).await;
        }
        if let Plan::Exec(plan) = plan {
            return Ok(exec::run(&context, plan).await);
        }
        let deadline = context.settings.deadline;
        let work = perform(&context, plan);
        match deadline {
            Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
                Err(Failed::new(Exit::Deadline, format!("the deadline of {limit:?} passed")))
            }),
            None => work.await,
        }
    };
    match done.await {
        Ok(code) => code,
        Err(failed) => {
            failed.report(&output, None, None);
            current.cut_short(failed.exit.code()).await;
            failed.exit.code()
        }
    }
}

async fn perform(context: &Context, plan: Plan) -> Result<u8, Failed> {
    match plan {
        Plan::Shell => shell::run(context).await,
        Plan::Join(plan) => setup::join(context, plan).await.map(Exit::code),
        Plan::Trust(plan) => setup::trust(context, plan).await.map(Exit::code),
        Plan::Key => setup::key(context).await.map(Exit::code),
        Plan::Hosts(plan) => hosts::run(context, plan).await.map(Exit::code),
        Plan::Check(CheckPlan::Sums { run, remote }) => receipt::sums(context, &run, remote).map(Exit::code),
        Plan::Check(CheckPlan::Receipt { run, sides }) => {
            receipt::check_alone(context, &run, sides).await.map(Exit::code)
        }

        plan => {
            let mut server = context.server().await?;
            let exit = work(context, &mut server, plan).await?;
            server.client.close().await;
            Ok(exit.code())
        }
    }
}

/// The commands that a server carries out, for a command line of their own or for a line of the shell.
async fn work(context: &Context, server: &mut Server, plan: Plan) -> Result<Exit, Failed> {
    match plan {
        Plan::Get(plan) => get::run(context, server, plan).await,
        Plan::Put(plan) => put::run(context, server, plan).await,
        Plan::Sync(plan) => sync::run(context, server, plan).await,
        Plan::Check(plan) => check::run(context, server, plan).await,
        Plan::Ls(plan) => remote::ls(context, server, plan).await,
        Plan::Stat(plan) => remote::stat(context, server, plan).await,
        Plan::Sum(plan) => remote::sum(context, server, plan).await,
        Plan::Mkdir(plan) => remote::mkdir(context, server, plan).await,
        Plan::Rm(plan) => remote::rm(context, server, plan).await,
        Plan::Mv(plan) => remote::mv(context, server, plan).await,
        // Carried out elsewhere, so this is a mistake of ours and no success.
        Plan::Exec(_)
        | Plan::Shell
        | Plan::Join(_)
        | Plan::Trust(_)
        | Plan::Key
        | Plan::Hosts(_)
        | Plan::Completions(_)
        | Plan::Man(_) => Err(Failed::new(Exit::Failure, "internal error: no server carries this out")),
    }
}

/// Why a command, or one file of it, failed.
#[derive(Debug)]
struct Failed {
    exit: Exit,
    message: String,
    retry_safe: bool,
    about: About,
}

/// What a failure is about, so what belongs before its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// Something on the server: host and file.
    Server,
    /// A file of this end: for a person no host.
    Here,
    /// What the server says to a file of this end: for a person the host after the file.
    Sent,
    /// The way to the server, or what the words themselves say: neither.
    Itself,
}

impl Failed {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), retry_safe: true, about: About::Server }
    }

    /// As [`Failed::new`], with neither host nor file before it.
    fn alone(exit: Exit, message: impl Into<String>) -> Self {
        Self { about: About::Itself, ..Self::new(exit, message) }
    }

    /// Says it, so that only the exit code is left.
    fn told(self, output: &Output, host: &str) -> Self {
        self.report(output, Some(host), None);
        Self { message: String::new(), ..self }
    }

    fn report(&self, output: &Output, host: Option<&str>, path: Option<&[u8]>) {
        if self.message.is_empty() {
            return;
        }
        let (host, path) = if self.about == About::Itself { (None, None) } else { (host, path) };
        let report = ErrorReport {
            host,
            path,
            exit: self.exit,
            message: &self.message,
            retry_safe: self.retry_safe,
            here: self.about == About::Here,
            local: self.about == About::Sent,
        };
        // There is nowhere left to complain to.
        let _ = output.error(&report);
    }
}

impl From<ClientError> for Failed {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Usage(_) => Exit::Usage,
            // 5 says that doing it again is safe.
            other if !other.is_retry_safe() && Exit::from(other.status()).is_temporary() => Exit::Failure,
            other => Exit::from(other.status()),
        };
        Self {
            exit,
            message: reason(&error),
            retry_safe: error.is_retry_safe(),
            about: match error {
                ClientError::Untrusted(_) | ClientError::Via(_) | ClientError::NoSuchHost(_) => About::Itself,
                _ => About::Server,
            },
        }
    }
}

/// Failures of our own output; a reader that went away needs no words.
impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        let message = if is_broken_pipe(&error) {
            String::new()
        } else {
            format!("cannot write the output: {}", reason(&error))
        };
        Self::new(Exit::Failure, message)
    }
}

impl From<ConfigError> for Failed {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Usage, error.to_string())
    }
}

impl From<ReceiptError> for Failed {
    fn from(error: ReceiptError) -> Self {
        let exit = if matches!(error, ReceiptError::None { .. }) { Exit::NotFound } else { Exit::Usage };
        Self::alone(exit, error.to_string())
    }
}

impl From<KnownHostsError> for Failed {
    fn from(error: KnownHostsError) -> Self {
        Self::new(Exit::Usage, error.to_string())
    }
}

impl From<CredentialError> for Failed {
    fn from(error: CredentialError) -> Self {
        Self::new(Exit::Denied, error.to_string())
    }
}

/// Whether nothing else of the job can succeed after this error.
fn ends_the_job(error: &ClientError) -> bool {
    use ft_protocol::{Error, Status};
    match error {
        ClientError::Protocol(Error::Connection(_) | Error::Protocol(_) | Error::Version { .. }) => true,
        ClientError::Protocol(error) => {
            matches!(
                error.status(),
                Status::DiskFull | Status::Unavailable | Status::TimedOut | Status::AuthFailed
            )
        }
        ClientError::Login(_)
        | ClientError::Untrusted(_)
        | ClientError::Credential(_)
        | ClientError::Via(_)
        | ClientError::NoSuchHost(_) => true,
        ClientError::OutcomeUnknown(_) | ClientError::Interrupted(_) | ClientError::Usage(_) => false,
    }
}
