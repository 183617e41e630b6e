//! Many starts and drops leave nothing in the server. Alone in its program, because it counts descriptors.
#![allow(
    missing_docs,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "process/support.rs"]
mod support;

use std::fs;

use support::{Mark, launcher, output, sh, spec, terminal, until};

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn children() -> String {
    let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
    threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starts_and_drops_leave_no_process_and_no_descriptor() {
    output(spec(&["true"])).await;
    let before = descriptors();
    let mark = Mark::new();
    let rounds = if std::env::var_os("FT_SOAK").is_some() { 500 } else { 120 };
    for round in 0..rounds {
        let given = mark.on(sh("setsid sleep 1000 & sleep 1000"));
        let given = if round % 3 == 0 { terminal(given) } else { given };
        let running = launcher().start(given).await.unwrap();
        if round % 2 == 0 {
            drop(running);
        } else {
            tokio::spawn(async move {
                let mut running = running;
                running.supervisor.end();
                let _ = running.supervisor.ended().await;
            });
        }
    }
    mark.until_gone().await;
    // Neither running nor a zombie.
    until("every supervisor is reaped", || children().is_empty()).await;
    until("every descriptor is closed", || descriptors() <= before).await;
}
