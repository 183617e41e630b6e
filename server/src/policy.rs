//! Who may do what: one table, one check, before a verb runs. What is not granted is denied.

use ft_protocol::auth::Rights;
use ft_protocol::{Error, Result, Status};

use crate::verbs::Verb;

/// What a verb needs before it runs. Whether a put or a move replaces something is known only when the target
/// was looked at; [`may_place`] decides it there.
enum Need {
    All(Rights),
    AnyOf(Rights),
    /// One of the first, and all of the second.
    AnyOfAnd(Rights, Rights),
}

/// The table. A verb without a row does not compile.
fn need(verb: &Verb) -> Need {
    match verb {
        Verb::Get(_) | Verb::List(_) | Verb::Stat(_) | Verb::Sum(_) => Need::All(Rights::READ),
        Verb::Put(_) => Need::AnyOf(Rights::WRITE),
        Verb::TreeGet(_) => Need::All(Rights::READ),
        Verb::TreePut(put) if put.delete => Need::AnyOfAnd(Rights::WRITE, Rights::DELETE),
        Verb::TreePut(_) => Need::AnyOf(Rights::WRITE),
        Verb::MakeDir(_) => Need::All(Rights::CREATE),
        Verb::Remove(_) => Need::All(Rights::DELETE),
        Verb::Rename(_) => Need::All(Rights::DELETE.union(Rights::CREATE)),
        Verb::Exec(exec) if exec.shell => Need::All(Rights::SHELL),
        Verb::Exec(_) => Need::All(Rights::EXEC),
    }
}

/// The one check.
pub(crate) fn authorize(verb: &Verb, rights: Rights) -> Result<()> {
    match need(verb) {
        Need::All(needed) if rights.contains(needed) => Ok(()),
        Need::AnyOf(needed) if rights.intersects(needed) => Ok(()),
        Need::AnyOfAnd(any, all) if rights.intersects(any) && rights.contains(all) => Ok(()),
        Need::AnyOfAnd(any, all) if rights.intersects(any) => {
            Err(denied(verb.name(), &all.names().collect::<Vec<_>>().join(" and ")))
        }
        Need::All(needed) => {
            let missing: Vec<_> =
                needed.names().filter(|name| !rights.names().any(|has| has == *name)).collect();
            Err(denied(verb.name(), &missing.join(" and ")))
        }
        Need::AnyOf(needed) | Need::AnyOfAnd(needed, _) => {
            Err(denied(verb.name(), &needed.names().collect::<Vec<_>>().join(" or ")))
        }
    }
}

/// Whether a file may be placed where something `exists` or nothing does.
pub(crate) fn may_place(exists: bool, rights: Rights, shown: impl std::fmt::Display) -> Result<()> {
    match exists {
        true if !rights.contains(Rights::OVERWRITE) => Err(Error::local(
            Status::Denied,
            format!(
                "'{shown}' exists and the account lacks the right 'overwrite'; choose another name or ask the server's operator"
            ),
        )),
        false if !rights.contains(Rights::CREATE) => Err(Error::local(
            Status::Denied,
            format!(
                "'{shown}' does not exist and the account lacks the right 'create'; ask the server's operator"
            ),
        )),
        _ => Ok(()),
    }
}

fn denied(verb: &str, missing: &str) -> Error {
    Error::local(
        Status::Denied,
        format!(
            "{verb}: the account lacks the right {missing}; ask the server's operator ('ftserver user allow')"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use ft_protocol::wire::message::{
        Exec, Get, List, MakeDir, Put, Remove, Rename, Stat, Sum, TreeGet, TreePut,
    };

    #[test]
    fn every_combination_of_rights_opens_exactly_its_verbs() {
        let verbs = [
            Verb::Get(Get::default()),
            Verb::Put(Put::default()),
            Verb::List(List::default()),
            Verb::Stat(Stat::default()),
            Verb::Sum(Sum::default()),
            Verb::MakeDir(MakeDir::default()),
            Verb::Remove(Remove::default()),
            Verb::Rename(Rename::default()),
            Verb::Exec(Exec::default()),
            Verb::Exec(Exec { shell: true, ..Exec::default() }),
            Verb::TreeGet(TreeGet::default()),
            Verb::TreePut(TreePut::default()),
            Verb::TreePut(TreePut { delete: true, ..TreePut::default() }),
        ];
        for bits in 0..64 {
            let rights = Rights::from_bits(bits);
            let (read, create, overwrite, delete) =
                (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0, bits & 8 != 0);
            let (exec, shell) = (bits & 16 != 0, bits & 32 != 0);
            let write = create || overwrite;
            let expected = [
                read,
                write,
                read,
                read,
                read,
                create,
                delete,
                delete && create,
                exec,
                shell,
                read,
                write,
                write && delete,
            ];
            for (verb, expected) in verbs.iter().zip(expected) {
                let allowed = authorize(verb, rights);
                assert_eq!(allowed.is_ok(), expected, "{} with {rights}", verb.name());
                assert!(allowed.is_ok() || allowed.unwrap_err().status() == Status::Denied);
            }
            assert_eq!(may_place(true, rights, "x").is_ok(), overwrite);
            assert_eq!(may_place(false, rights, "x").is_ok(), create);
        }
    }
}
