//! What supervises commands in tests whose server is not a process of its own.

fn main() -> std::process::ExitCode {
    ftserver::process::become_helper().unwrap_or(std::process::ExitCode::from(2))
}
