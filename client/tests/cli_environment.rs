//! Environment names of options. Each case runs in a process of its own, because all tests of one process share
//! their environment.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

use std::ffi::OsString;
use std::process::Command;

use ftclient::cli::{Plan, Stop, parse};

/// Holds the command line that the child parses.
const PROBE: &str = "FT_TEST_LINE";

/// Parses a line in a child with these variables, and returns what [`probe`] printed.
fn parsed(line: &str, environment: &[(&str, &str)]) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "probe", "--ignored", "--nocapture"])
        .env(PROBE, line)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "the other half of the tests below"]
fn probe() {
    let Ok(line) = std::env::var(PROBE) else { return };
    match parse(line.split(' ').map(OsString::from)) {
        Ok(invocation) => {
            let Plan::Get(plan) = invocation.plan else { panic!("not a get") };
            println!(
                "named={:?} host={:?} port={:?} digest={:?} clobber={} accept={} password={:?}",
                invocation.host.map(|host| host.to_string()),
                invocation.connection.hosts.as_ref().map(|host| host.to_string()),
                invocation.connection.port,
                plan.transfer.digest,
                !plan.transfer.no_clobber,
                invocation.connection.accept_new,
                invocation.connection.password(),
            );
        }
        Err(Stop::Usage { message, .. }) => println!("refused: {message}"),
        Err(Stop::Show(_)) => println!("shown"),
    }
}

#[test]
fn the_environment_fills_what_was_not_typed() {
    let environment = [("FTCLIENT_HOSTS", "nas"), ("FTCLIENT_PORT", "99"), ("FTCLIENT_DIGEST", "md5-tree")];
    let all = parsed("ftclient get a", &environment);
    assert!(all.contains("named=None host=Some(\"nas\") port=Some(99) digest=Some(Md5Tree)"), "{all}");
    let typed = parsed("ftclient get -P 7 --digest sha256 a", &environment);
    assert!(typed.contains("port=Some(7) digest=Some(Sha256)"), "{typed}");
}

#[test]
fn a_host_in_an_operand_overrides_the_environment_without_conflict() {
    let text = parsed("ftclient get other:a", &[("FTCLIENT_HOSTS", "nas")]);
    assert!(text.contains("named=Some(\"other\")"), "{text}");
}

#[test]
fn a_bad_variable_is_an_error() {
    let text = parsed("ftclient get a", &[("FTCLIENT_RETRIES", "many")]);
    assert!(text.contains("refused"), "{text}");
}

#[test]
fn no_variable_changes_what_a_run_means() {
    let text = parsed("ftclient get a", &[("FTCLIENT_NO_CLOBBER", "true"), ("FTCLIENT_ACCEPT_NEW", "true")]);
    assert!(text.contains("clobber=true accept=false"), "{text}");
}

#[test]
fn a_typed_password_option_beats_the_variable_of_the_other_one() {
    let environment = [("FTCLIENT_PASSWORD_FILE", "pw")];
    let typed = parsed("ftclient get --password-command pass a", &environment);
    assert!(typed.contains("password=Some(Command(\"pass\"))"), "{typed}");
    assert!(parsed("ftclient get a", &environment).contains("password=Some(File(\"pw\"))"));
}
