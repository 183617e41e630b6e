//! The `ftserver` program: parse, call, exit.

use std::process::ExitCode;

use clap::Parser;
use ft_protocol::display::Escaped;
use ft_protocol::exit;
use ftserver::admin::{self, CommandError};
use ftserver::cli::{Cli, Command};
use ftserver::config::{self, Config};
use ftserver::state::StateDir;
use ftserver::{logging, process, serve};

fn main() -> ExitCode {
    if let Some(code) = process::become_helper() {
        return code;
    }
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
            let runtime =
                serve::runtime(options.limits.max_connections.get()).map_err(CommandError::Serve)?;
            runtime.block_on(serve::run(options)).map_err(CommandError::Serve)
        }
        Command::Stdio(args) => {
            let level = args.log.log_level.unwrap_or(logging::LogLevel::Warn);
            logging::init(args.log.log_format.unwrap_or_default(), level);
            let options = config::stdio_options(&args.root, args.allow, &state?)?;
            let runtime = serve::runtime(1).map_err(CommandError::Serve)?;
            let ended = runtime.block_on(serve::run_stdio(options)).map_err(CommandError::Serve);
            // A read of standard input cannot be called back; it must not keep the program alive.
            runtime.shutdown_background();
            ended
        }
        Command::User(command) => admin::user(command, &state?),
        Command::Invite(args) => admin::invite(&args, &state?),
        Command::Fingerprint => admin::fingerprint(&state?),
        Command::Check(args) => admin::check(&args, &state?),
        Command::Completions { shell } => admin::completions(shell),
        Command::Man => admin::man(),
    }
}
