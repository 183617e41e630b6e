//! What a hostile server does, and the error that its client must report.

use std::time::Duration;

use bytes::Bytes;
use ft_protocol::Status;
use ft_protocol::wire::Message;
use ft_protocol::wire::message::{Block, End, Keep};
use ft_tests::hostile::{Action, HostileServer};
use ftclient::Client;
use ftclient::client::Result;

use crate::common::builder;

/// Nothing of this ends by time, except where that is the point.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const BRIEF: Duration = Duration::from_secs(1);

/// What a server does, and the error that it must be.
pub(crate) struct Lie {
    pub(crate) name: &'static str,
    pub(crate) actions: Vec<Action>,
    pub(crate) expected: Status,
}

/// In operation 1.
pub(crate) fn say(name: &'static str, messages: Vec<Message>, expected: Status) -> Lie {
    Lie { name, actions: messages.into_iter().map(|message| Action::Send(1, message)).collect(), expected }
}

pub(crate) fn then(mut lie: Lie, action: Action) -> Lie {
    lie.actions.push(action);
    lie
}

pub(crate) fn raw(name: &'static str, bytes: Vec<u8>) -> Lie {
    Lie { name, actions: vec![Action::Raw(bytes)], expected: Status::Protocol }
}

pub(crate) fn block(number: u64, digest: &[u8], last: bool) -> Message {
    Block { file: 0, block: number, digest: digest.to_vec(), last }.into()
}

pub(crate) fn data(bytes: &[u8]) -> Message {
    Message::Data(Bytes::copy_from_slice(bytes))
}

pub(crate) fn keep(first: u64, count: u64) -> Message {
    Keep { file: 0, first, count }.into()
}

pub(crate) fn end(status: u32, message: &str) -> Message {
    End { status, message: message.into() }.into()
}

pub(crate) const OK: u32 = 0;
pub(crate) const SMALL: &[u8] = b"a file of one block";

/// Starts the server, which says its lie after the first request, and its client.
pub(crate) async fn met_by(lie: &Lie) -> (HostileServer, Client) {
    let mut actions = Some(lie.actions.clone());
    let server = HostileServer::start(move |_, _| actions.take().unwrap_or_default()).await;
    let patience = if lie.expected == Status::TimedOut { BRIEF } else { PATIENCE };
    let client = builder(server.address(), server.fingerprint(), patience).build().unwrap();
    (server, client)
}

pub(crate) fn assert_found<T: std::fmt::Debug>(lie: &Lie, outcome: Result<T>) {
    let error = outcome.expect_err(lie.name);
    assert_eq!(error.status(), lie.expected, "{}: {error}", lie.name);
    let text = error.to_string();
    assert!(!text.contains(['\u{1b}', '\n']), "{}: {text:?}", lie.name);
    // The cap of END, escaped.
    assert!(text.len() < 100_000, "{}: {} bytes", lie.name, text.len());
}
