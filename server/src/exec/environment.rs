//! The environment of a command: these variables, and nothing of the server's own.

use std::ffi::OsString;

use super::account::Identity;
use super::plan::Who;

/// Where programs without a `/` are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `PATH`; `HOME`, `USER`, `LOGNAME` and `SHELL` of the operating-system user; `FT_USER`, the account; `FT_CLIENT`,
/// address and port of the client, empty behind ssh; `TERM` where there is a terminal. Then what the request sets,
/// which replaces what is there.
pub(super) fn environment(
    identity: &Identity,
    who: Who<'_>,
    term: Option<OsString>,
    set: Vec<(OsString, OsString)>,
) -> Vec<(OsString, OsString)> {
    let client = who.source.map(|source| source.to_string()).unwrap_or_default();
    let mut all: Vec<(OsString, OsString)> = [
        ("PATH", PATH.into()),
        ("HOME", identity.home.clone()),
        ("USER", identity.name.clone()),
        ("LOGNAME", identity.name.clone()),
        ("SHELL", identity.shell.clone()),
        ("FT_USER", who.user.into()),
        ("FT_CLIENT", client.into()),
    ]
    .into_iter()
    .map(|(name, value)| (name.into(), value))
    .collect();
    all.extend(term.map(|term| ("TERM".into(), term)));
    for (name, value) in set {
        all.retain(|(there, _)| *there != name);
        all.push((name, value));
    }
    all
}
