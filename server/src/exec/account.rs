//! Whose rights a command has: the operating system's users.

use std::ffi::{CString, OsString};

use nix::unistd::{Uid, User, geteuid, getgrouplist};

use crate::process::RunAs;

/// The operating-system user that a command runs as.
#[derive(Debug)]
pub(super) struct Identity {
    /// What has to be changed to; `None`: it is the server's own.
    pub(super) run_as: Option<RunAs>,
    pub(super) name: OsString,
    pub(super) home: OsString,
    pub(super) shell: OsString,
}

/// Finds the user of this name; `None`: the one that the server runs as. Looks into the password and group
/// databases (nsswitch.conf(5)). The error is for the operator.
pub(super) fn identity(named: Option<&str>) -> Result<Identity, String> {
    identity_for(named, geteuid())
}

pub(super) fn identity_for(named: Option<&str>, server: Uid) -> Result<Identity, String> {
    let Some(name) = named else {
        let user = User::from_uid(server).map_err(|errno| format!("user {server}: {errno}"))?;
        return Ok(match user {
            Some(user) => known(user, None),
            None => Identity {
                run_as: None,
                name: server.to_string().into(),
                home: "/".into(),
                shell: "/bin/sh".into(),
            },
        });
    };
    let user = user(name)?;
    if !server.is_root() {
        if user.uid == server {
            return Ok(known(user, None));
        }
        return Err(format!("the server runs as user {server}; only root can run commands as {name}"));
    }
    let c_name = CString::new(name).map_err(|_| format!("bad user {name}"))?;
    let groups = getgrouplist(&c_name, user.gid).map_err(|errno| format!("groups of {name}: {errno}"))?;
    let run_as = RunAs {
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        groups: groups.into_iter().map(nix::unistd::Gid::as_raw).collect(),
    };
    Ok(known(user, Some(run_as)))
}

/// Says why nobody could run commands as the user of this name.
pub(crate) fn check(name: &str) -> Result<(), String> {
    user(name).map(drop)
}

fn user(name: &str) -> Result<User, String> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(format!("there is no operating-system user {name}")),
        Err(errno) => Err(format!("operating-system user {name}: {errno}")),
    }
}

/// Empty fields mean what passwd(5) says.
fn known(user: User, run_as: Option<RunAs>) -> Identity {
    let or = |field: std::path::PathBuf, default: &str| match field.into_os_string() {
        field if field.is_empty() => default.into(),
        field => field,
    };
    Identity { run_as, name: user.name.into(), home: or(user.dir, "/"), shell: or(user.shell, "/bin/sh") }
}
