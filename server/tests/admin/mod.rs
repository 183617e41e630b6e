//! A place to run the administration commands in.
#![allow(dead_code, reason = "not every test needs all of it")]

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use ftserver::state::StateDir;

pub(crate) const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti a@b\n";

/// A directory with `state` (not made yet), `data` and `key.pub` in it.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        fs::write(dir.path().join("key.pub"), KEY).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn state(&self) -> StateDir {
        StateDir::new(Some(&self.path("state"))).unwrap()
    }

    pub(crate) fn command(&self, line: &str) -> assert_cmd::Command {
        let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_ftserver"));
        command.current_dir(self.dir.path()).env_clear().env("FTSERVER_STATE", self.path("state"));
        command.args(line.split_whitespace());
        command
    }

    /// Runs a command line; returns exit code, standard output and standard error.
    pub(crate) fn run(&self, line: &str) -> (i32, String, String) {
        parts(self.command(line).output().unwrap())
    }

    pub(crate) fn ok(&self, line: &str) -> String {
        let (code, out, err) = self.run(line);
        assert_eq!(code, 0, "{line}: {err}");
        out
    }

    /// Runs a command line that must fail with this exit code and say this.
    pub(crate) fn refused(&self, line: &str, expected: i32, saying: &str) {
        let (code, out, err) = self.run(line);
        assert_eq!(code, expected, "{line}: {err}");
        assert!(err.contains(saying), "{line}: {err}");
        assert_eq!(out, "", "{line}");
    }
}

pub(crate) fn parts(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}
