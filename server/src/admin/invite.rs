//! `ftserver invite`.

use std::net::{Ipv6Addr, SocketAddr};

use ft_protocol::auth::JoinString;

use super::{CommandError, print, say, say_what_exec_means};
use crate::accounts::Accounts;
use crate::cli::InviteArgs;
use crate::config::DEFAULT_PORT;
use crate::exec::Grant;
use crate::identity::Identity;
use crate::invites::{Invitation, Invites};
use crate::roots::canonical_root;
use crate::state::StateDir;

/// Makes an invite and prints its join string.
pub fn invite(args: &InviteArgs, state: &StateDir) -> Result<(), CommandError> {
    let address = match &args.address {
        Some(typed) => with_port(typed, state.listen()?),
        None => listening(state.listen()?)?,
    };
    let fingerprint = Identity::load_or_create(state)?.fingerprint();
    let join = |secret| {
        JoinString::new(address.clone(), fingerprint, args.name.clone(), secret)
            .map_err(|e| CommandError::Usage(e.to_string()))
    };
    // A bad address must not leave an invite behind that nobody can use.
    join([0; 32])?;
    let rights = args.rights.given();
    let root = args.root.as_ref().map(|root| canonical_root(root, state)).transpose()?;
    let invitation = Invitation { user: args.name.clone(), rights, root, lifetime: args.expires };
    let invite = Invites::new(state).create(&invitation)?;
    if is_loopback(&address) {
        say(format_args!("warning: only this machine can reach {address}: for others, give --address HOST"));
    }
    print(&format!("{}\n", join(*invite.secret)?))?;
    say(format_args!(
        "On the other machine: ftclient join  (and paste the line above); it works once, until {}",
        invite.expires
    ));
    say_what_exec_means(&args.name, rights.unwrap_or_default(), &Grant::default(), &Accounts::new(state));
    Ok(())
}

/// What was typed, with a port and an IPv6 address in brackets. Whether it is an address is seen later.
fn with_port(typed: &str, listen: Option<SocketAddr>) -> String {
    let port = listen.map_or(DEFAULT_PORT, |address| address.port());
    if typed.parse::<Ipv6Addr>().is_ok() {
        return format!("[{typed}]:{port}");
    }
    if typed.ends_with(']') || !typed.contains(':') { format!("{typed}:{port}") } else { typed.to_owned() }
}

/// The address that the server listens on, where a client can use it.
fn listening(listen: Option<SocketAddr>) -> Result<String, CommandError> {
    match listen {
        None => Err(CommandError::Usage(
            "the address is not known, as no server ran with this state yet: give --address HOST[:PORT], or start \
             the server first"
                .to_owned(),
        )),
        Some(address) if address.ip().is_unspecified() => Err(CommandError::Usage(format!(
            "the server listens on every address ({address}): give --address HOST[:PORT], the name that the client \
             reaches it by"
        ))),
        Some(address) => Ok(address.to_string()),
    }
}

fn is_loopback(address: &str) -> bool {
    match address.parse::<SocketAddr>() {
        Ok(address) => address.ip().is_loopback(),
        Err(_) => address.starts_with("localhost:"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_added_where_none_was_typed() {
        let listen = Some("0.0.0.0:4711".parse().unwrap());
        let cases = [
            ("h", listen, "h:4711"),
            ("h", None, "h:26228"),
            ("h:5", listen, "h:5"),
            ("::1", listen, "[::1]:4711"),
            ("[::1]", listen, "[::1]:4711"),
            ("[::1]:5", listen, "[::1]:5"),
        ];
        for (typed, listen, expected) in cases {
            assert_eq!(with_port(typed, listen), expected);
        }
    }
}
