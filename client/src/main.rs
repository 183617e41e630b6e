//! The `ftclient` program: parse, call, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    ftclient::commands::run(std::env::args_os())
}
