//! What the server sends to a second stage: a length, the order itself, and four descriptors beside it.
//!
//! The order is a list as [`ft_protocol::exec::join`] makes it, so nothing in it needs a format of its own. Both
//! ends are the same program, so it needs no version either.

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;

use ft_protocol::exec::{join, split};
use ft_protocol::{Error, Result, Status};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use super::spec::{Io, ProcessLimits, RunAs, Spec};

/// A [`Spec`] without its descriptors.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) argv: Vec<OsString>,
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) terminal: bool,
    pub(super) new_privileges: bool,
    pub(super) run_as: Option<RunAs>,
    pub(super) limits: ProcessLimits,
}

/// Standard input, output and error of the command, and its working directory.
pub(super) struct Descriptors {
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    pub(super) cwd: OwnedFd,
}

/// The order as it travels, without its length. Errors: what no process can have.
pub(super) fn encode(spec: &Spec) -> Result<Vec<u8>> {
    let invalid = |message: &str| Err(Error::local(Status::Invalid, message));
    if spec.argv.is_empty() {
        return invalid("there is no program to run");
    }
    if spec.env.iter().any(|(name, _)| name.is_empty() || name.as_bytes().contains(&b'=')) {
        return invalid("a variable needs a name, and none holds '='");
    }
    // setresuid(2) and its like take it as "leave it as it is".
    if spec
        .run_as
        .as_ref()
        .is_some_and(|user| user.groups.iter().chain([&user.uid, &user.gid]).any(|id| *id == u32::MAX))
    {
        return invalid("4294967295 is no user and no group");
    }
    let number = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default().into_bytes();
    let ids = |user: &RunAs| {
        let all = [user.uid, user.gid].into_iter().chain(user.groups.iter().copied());
        all.map(|id| id.to_string()).collect::<Vec<_>>().join(" ")
    };
    let limits = &spec.limits;
    let mut items = vec![
        number(Some(u64::from(matches!(spec.io, Io::Terminal { .. })))),
        number(Some(u64::from(spec.new_privileges))),
        spec.run_as.as_ref().map(ids).unwrap_or_default().into_bytes(),
        number(limits.processes),
        number(limits.memory),
        number(limits.cpu_seconds),
        number(limits.file_size),
        number(limits.open_files),
        number(Some(spec.argv.len() as u64)),
    ];
    items.extend(spec.argv.iter().map(|word| word.as_bytes().to_vec()));
    for (name, value) in &spec.env {
        items.push(name.as_bytes().to_vec());
        items.push(value.as_bytes().to_vec());
    }
    join(items)
}

/// Takes apart what [`encode`] made. `None`: it is nothing of the kind.
pub(super) fn decode(bytes: &[u8]) -> Option<Order> {
    let mut items = split(bytes).ok()?.into_iter();
    let terminal = flag(&items.next()?)?;
    let new_privileges = flag(&items.next()?)?;
    let run_as = user(&items.next()?)?;
    let limits = ProcessLimits {
        processes: number(&items.next()?)?,
        memory: number(&items.next()?)?,
        cpu_seconds: number(&items.next()?)?,
        file_size: number(&items.next()?)?,
        open_files: number(&items.next()?)?,
    };
    let words = usize::try_from(number(&items.next()?)??).ok()?;
    let argv: Vec<OsString> = items.by_ref().take(words).map(OsString::from_vec).collect();
    let mut env = Vec::new();
    while let Some(name) = items.next() {
        env.push((OsString::from_vec(name), OsString::from_vec(items.next()?)));
    }
    (!argv.is_empty() && argv.len() == words).then_some(Order {
        argv,
        env,
        terminal,
        new_privileges,
        run_as,
        limits,
    })
}

fn flag(item: &[u8]) -> Option<bool> {
    number(item)?.map(|value| value != 0)
}

/// `Some(None)`: an empty item.
fn number(item: &[u8]) -> Option<Option<u64>> {
    if item.is_empty() {
        return Some(None);
    }
    OsStr::from_bytes(item).to_str()?.parse().ok().map(Some)
}

fn user(item: &[u8]) -> Option<Option<RunAs>> {
    if item.is_empty() {
        return Some(None);
    }
    let text = OsStr::from_bytes(item).to_str()?;
    let mut ids = text.split(' ').map(str::parse).collect::<Result<Vec<u32>, _>>().ok()?.into_iter();
    Some(Some(RunAs { uid: ids.next()?, gid: ids.next()?, groups: ids.collect() }))
}

/// Sends the length of an order together with the descriptors; the order is to follow. Never blocks on an empty
/// socket.
pub(super) fn send_head(socket: impl AsFd, length: usize, descriptors: &Descriptors) -> io::Result<()> {
    let all =
        [&descriptors.stdin, &descriptors.stdout, &descriptors.stderr, &descriptors.cwd].map(AsFd::as_fd);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let length = u32::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?.to_le_bytes();
    if !ancillary.push(SendAncillaryMessage::ScmRights(&all)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    match sendmsg(socket, &[IoSlice::new(&length)], &mut ancillary, SendFlags::NOSIGNAL)? {
        4 => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// Receives an order with its descriptors, which are all close-on-exec.
pub(super) fn receive(socket: BorrowedFd<'_>) -> io::Result<(Order, Descriptors)> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let mut length = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(socket, &mut [IoSliceMut::new(&mut length)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    if got.bytes != length.len() {
        return Err(invalid());
    }
    let mut descriptors = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten();
    let mut next = || descriptors.next().ok_or_else(invalid);
    let descriptors = Descriptors { stdin: next()?, stdout: next()?, stderr: next()?, cwd: next()? };
    let mut order = vec![0; u32::from_le_bytes(length) as usize];
    UnixStream::from(socket.try_clone_to_owned()?).read_exact(&mut order)?;
    Ok((decode(&order).ok_or_else(invalid)?, descriptors))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spec(
        argv: Vec<Vec<u8>>,
        env: Vec<(Vec<u8>, Vec<u8>)>,
        run_as: Option<RunAs>,
        limits: ProcessLimits,
    ) -> Spec {
        Spec {
            argv: argv.into_iter().map(OsString::from_vec).collect(),
            env: env.into_iter().map(|(n, v)| (OsString::from_vec(n), OsString::from_vec(v))).collect(),
            cwd: std::fs::File::open("/").unwrap(),
            io: Io::Terminal { rows: 1, columns: 1 },
            run_as,
            limits,
            new_privileges: false,
        }
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(1u8.., 0..9)
    }

    fn name() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec((1u8..).prop_filter("=", |byte| *byte != b'='), 1..9)
    }

    proptest! {
        #[test]
        fn an_order_comes_back_as_it_went(
            argv in proptest::collection::vec(bytes(), 1..6),
            env in proptest::collection::vec((name(), bytes()), 0..6),
            ids in proptest::option::of(proptest::collection::vec(0..u32::MAX, 2..6)),
            numbers in proptest::array::uniform5(proptest::option::of(any::<u64>())),
        ) {
            let run_as = ids.map(|ids| RunAs { uid: ids[0], gid: ids[1], groups: ids[2..].to_vec() });
            let [processes, memory, cpu_seconds, file_size, open_files] = numbers;
            let limits = ProcessLimits { processes, memory, cpu_seconds, file_size, open_files };
            let spec = spec(argv, env, run_as, limits);
            let order = decode(&encode(&spec).unwrap()).unwrap();
            let Spec { argv, env, run_as, limits, .. } = spec;
            prop_assert_eq!(order, Order { argv, env, terminal: true, new_privileges: false, run_as, limits });
        }
    }

    #[test]
    fn what_no_process_can_have_is_refused() {
        let none = ProcessLimits::default;
        let word = || vec![b"true".to_vec()];
        let user = |uid, gid, group| Some(RunAs { uid, gid, groups: vec![group] });
        let all = u32::MAX;
        for refused in [
            spec(vec![], vec![], None, none()),
            spec(vec![b"a\0b".to_vec()], vec![], None, none()),
            spec(word(), vec![(b"A=B".to_vec(), vec![])], None, none()),
            spec(word(), vec![(vec![], vec![])], None, none()),
            spec(word(), vec![(b"A".to_vec(), b"\0".to_vec())], None, none()),
            spec(word(), vec![], user(all, 1, 1), none()),
            spec(word(), vec![], user(1, all, 1), none()),
            spec(word(), vec![], user(1, 1, all), none()),
        ] {
            assert_eq!(encode(&refused).unwrap_err().status(), Status::Invalid, "{refused:?}");
        }
    }
}
