//! The `ftserver` program: parse, call, exit.

use std::process::ExitCode;

use clap::Parser;
use ft_protocol::display::Escaped;
use ft_protocol::exit;
use ftserver::admin::{self, CommandError};
use ftserver::cli::{Cli, Command};
use ftserver::config::{self, Config};
use ftserver::logging;
use ftserver::state::StateDir;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => {
            admin::say(format_args!("ftserver: {}", Escaped::from(error.to_string().as_str())));
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<(), CommandError> {
    let state = StateDir::new(cli.state.as_deref());
    match cli.command {
        Command::Serve(args) => {
            let config = Config::load(args.settings(), args.config.as_deref())?;
            let (format, level) = (config.settings.log_format, config.settings.log_level);
            logging::init(format.unwrap_or_default(), level.unwrap_or_default());
            let options = config.into_serve_options(state?)?;
            runtime()?.block_on(ftserver::serve::run(options)).map_err(CommandError::Serve)
        }
        Command::Stdio(args) => {
            let level = args.log.log_level.unwrap_or(logging::LogLevel::Warn);
            logging::init(args.log.log_format.unwrap_or_default(), level);
            let options = config::stdio_options(&args.root, args.allow, &state?)?;
            runtime()?.block_on(ftserver::serve::run_stdio(options)).map_err(CommandError::Serve)
        }
        Command::User(command) => admin::user(command, &state?),
        Command::Invite(args) => admin::invite(&args, &state?),
        Command::Fingerprint => admin::fingerprint(&state?),
        Command::Check(args) => admin::check(&args, &state?),
        Command::Completions { shell } => admin::completions(shell),
        Command::Man => admin::man(),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, CommandError> {
    tokio::runtime::Runtime::new().map_err(|e| CommandError::Serve(ft_protocol::Error::io("start", &e)))
}
