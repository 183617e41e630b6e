//! From a request to what is started, or why nothing is.

use std::ffi::OsString;
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use ft_protocol::display::Escaped;
use ft_protocol::fs::{Links, Root};
use ft_protocol::wire::message::Exec;
use ft_protocol::{Error, RemotePath, Result, Status, exec};

use super::Grant;
use super::account::identity;
use super::environment::environment;
use super::variables::is_name;
use crate::process::{Io, Spec};

/// Longest kind of terminal in bytes.
const MAX_TERM: usize = 64;

/// What is to run, and until when.
#[derive(Debug)]
pub struct Plan {
    /// What is started.
    pub spec: Spec,
    /// It is ended after so long.
    pub time_limit: Option<Duration>,
    /// It is ended when it has written so many bytes, standard output and standard error together.
    pub output_limit: Option<u64>,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// The account.
    pub user: &'a str,
    /// Where from; `None` behind ssh.
    pub source: Option<SocketAddr>,
}

impl Grant {
    /// Decides whether a request may run, and with what. It opens the working directory and looks up the
    /// operating-system user, so it blocks. Nothing is started, whatever comes of it.
    ///
    /// Errors: [`Status::Denied`] for what is not granted, which never tells what would be; [`Status::Invalid`];
    /// those of opening a directory; [`Status::Failed`] where the server is not configured well.
    pub fn plan(&self, request: &Exec, root: &Root, who: Who<'_>) -> Result<Plan> {
        let argv = self.argv(request)?;
        let io = self.io(request)?;
        let term = if request.tty { Some(term(&request.term)?) } else { None };
        let set = self.set(request)?;
        let cwd = self.directory(request, root)?;
        let identity = identity(self.user()).map_err(|why| {
            tracing::error!(user = who.user, why, "cannot run commands as the account's [exec] table says");
            Error::local(
                Status::Failed,
                "the server cannot run commands as configured; ask the server's operator",
            )
        })?;
        let env = environment(&identity, who, term, set);
        Ok(Plan {
            spec: Spec {
                argv,
                env,
                cwd,
                io,
                run_as: identity.run_as,
                limits: self.process_limits(),
                new_privileges: self.new_privileges(),
            },
            time_limit: self.time_limit(),
            output_limit: self.output_limit(),
        })
    }

    pub(super) fn argv(&self, request: &Exec) -> Result<Vec<OsString>> {
        let argv = exec::split(&request.argv)?;
        if request.shell {
            let [line] = <[Vec<u8>; 1]>::try_from(argv)
                .map_err(|_| Error::local(Status::Invalid, "a shell runs exactly one command line"))?;
            // Accounts with named commands cannot have the right; this does not rest on it.
            if self.is_limited() {
                return Err(not_this_command());
            }
            return Ok(vec![self.shell().into(), "-c".into(), OsString::from_vec(no_option(line))]);
        }
        if argv.first().is_none_or(Vec::is_empty) {
            return Err(Error::local(Status::Invalid, "no program is named"));
        }
        if self.commands().is_some_and(|commands| !commands.allow(&argv)) {
            // True of every account with named commands, so no rule is told.
            if argv.first().is_some_and(|program| !program.starts_with(b"/")) {
                return Err(denied("run this command: it may run programs by their full path only"));
            }
            return Err(not_this_command());
        }
        Ok(argv.into_iter().map(OsString::from_vec).collect())
    }

    /// A terminal takes input, whatever is said about standard input.
    fn io(&self, request: &Exec) -> Result<Io> {
        if request.tty {
            if !self.tty() {
                return Err(denied("have a terminal for its commands"));
            }
            let size = |characters| {
                u16::try_from(characters)
                    .map_err(|_| Error::local(Status::Invalid, "no terminal is as large as that"))
            };
            return Ok(Io::Terminal { rows: size(request.rows)?, columns: size(request.columns)? });
        }
        if request.stdin && !self.stdin() {
            return Err(denied("give its commands standard input"));
        }
        Ok(Io::Pipes { stdin: request.stdin })
    }

    fn set(&self, request: &Exec) -> Result<Vec<(OsString, OsString)>> {
        let mut set = Vec::new();
        for mut item in exec::split(&request.env)? {
            let at = item.iter().position(|byte| *byte == b'=');
            let value = at.map(|at| item.split_off(at)).unwrap_or_default();
            let name = String::from_utf8_lossy(&item).into_owned();
            let Some(value) = value.strip_prefix(b"=").filter(|_| is_name(&name)) else {
                return Err(Error::local(
                    Status::Invalid,
                    format!("'{}' is no name of a variable", Escaped::new(&item).brief()),
                ));
            };
            if !self.may_set(&name) {
                return Err(denied(&format!(
                    "set the variable '{}' for its commands",
                    Escaped::new(&item).brief()
                )));
            }
            set.push((name.into(), OsString::from_vec(value.to_vec())));
        }
        Ok(set)
    }

    fn directory(&self, request: &Exec, root: &Root) -> Result<File> {
        if !request.cwd.is_empty() && !self.cwd() {
            return Err(denied("choose the directory of its commands"));
        }
        let dir = root.dir(&RemotePath::from_wire(&request.cwd)?, Links::Refuse)?;
        let fd = dir.as_fd().try_clone_to_owned();
        fd.map(File::from).map_err(|error| Error::io("hold the working directory", &error))
    }
}

/// A line that begins like an option would be taken for one; a blank before it changes nothing else.
fn no_option(mut line: Vec<u8>) -> Vec<u8> {
    if line.starts_with(b"-") || line.starts_with(b"+") {
        line.insert(0, b' ');
    }
    line
}

fn term(term: &[u8]) -> Result<OsString> {
    let fine = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._+".contains(byte);
    match term {
        [] => Ok("dumb".into()),
        _ if term.len() <= MAX_TERM && term.iter().all(fine) => Ok(OsString::from_vec(term.to_vec())),
        _ => Err(Error::local(Status::Invalid, "bad kind of terminal (TERM)")),
    }
}

fn not_this_command() -> Error {
    Error::local(Status::Denied, "the account may not run this command; ask the server's operator")
}

fn denied(what: &str) -> Error {
    Error::local(Status::Denied, format!("the account may not {what}; ask the server's operator"))
}
