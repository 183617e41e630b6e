//! A server of its own: this test program once more, where a test needs one that it can kill or start oddly.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::{Mark, launcher, sh, spec, text};

const MODE: &str = "FT_TEST_INNER";
const INNER_MARK: &str = "FT_TEST_INNER_MARK";

/// Runs [`the_inner_server`] in a process that a shell prepares.
pub(crate) fn inner(preparation: &str, mode: &str, mark: &Mark) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", &format!("{preparation}; exec \"$0\" --exact inner::the_inner_server --nocapture")])
        .arg(std::env::current_exe().unwrap())
        .env(MODE, mode)
        .env(INNER_MARK, &mark.0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

#[tokio::test]
async fn the_inner_server() {
    let Ok(mode) = std::env::var(MODE) else { return };
    let mark = Mark(std::env::var(INNER_MARK).unwrap());
    if mode == "status" {
        println!("\n{}", text(spec(&["cat", "/proc/self/status"])).await);
        return;
    }
    let _running = launcher().start(mark.on(sh("setsid sleep 1000 & sleep 1000"))).await.unwrap();
    println!("\nready");
    std::io::stdout().flush().unwrap();
    std::future::pending::<()>().await;
}
