//! Trees as messages, for peers that send them by hand.

use std::collections::HashMap;
use std::path::Path;

use bytes::Bytes;
use ft_protocol::Status;
use ft_protocol::auth::Rights;
use ft_protocol::digest::Algorithm;
use ft_protocol::wire::Message;
use ft_protocol::wire::message::{
    Accept, Block, Done, End, Keep, Node, NodeResult, Pass, Piece, Stat, TreeGet, TreePut, Walked,
};

use crate::content::{blocks, done, proof};
use crate::hostile::Action;
use crate::peer::{RawPeer, frame};
use crate::server::TestServer;

/// A TREE_GET with the default digest, of this path, and nothing else asked for.
pub fn tree_get(path: impl AsRef<[u8]>) -> TreeGet {
    TreeGet { path: path.as_ref().to_vec(), digest: Algorithm::Md5 as u32, ..TreeGet::default() }
}

/// A TREE_PUT with the default digest, to this path, and nothing else asked for.
pub fn tree_put(path: impl AsRef<[u8]>) -> TreePut {
    TreePut { path: path.as_ref().to_vec(), digest: Algorithm::Md5 as u32, ..TreePut::default() }
}

/// NODE of the directory itself.
pub fn root() -> Node {
    Node { mtime: 1_000_000_000, kind: 2, mode: 0o755, ..Node::default() }
}

/// NODE of a directory.
pub fn dir(depth: u32, name: impl AsRef<[u8]>) -> Node {
    Node { depth, name: name.as_ref().to_vec(), ..root() }
}

/// NODE of a file.
pub fn file(depth: u32, name: impl AsRef<[u8]>, size: usize) -> Node {
    Node { kind: 1, mode: 0o644, size: size as u64, ..dir(depth, name) }
}

/// NODE of a symbolic link.
pub fn link(depth: u32, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Node {
    Node { kind: 3, mode: 0o777, target: target.as_ref().to_vec(), ..dir(depth, name) }
}

/// WALKED after everything was listed.
pub fn walked() -> Message {
    Walked { complete: true }.into()
}

/// PIECE of this content.
pub fn piece(file: u32, content: &[u8]) -> Piece {
    Piece { file, size: content.len() as u32, digest: proof(content).to_vec(), grew: false }
}

/// PACK.
pub fn pack(content: &[u8]) -> Message {
    Message::Pack(Bytes::copy_from_slice(content))
}

/// PIECEs and the PACK of these files.
pub fn packed(files: &[(u32, &[u8])]) -> Vec<Message> {
    let pieces = files.iter().map(|(file, content)| piece(*file, content).into());
    let content: Vec<u8> = files.iter().flat_map(|(_, content)| content.iter().copied()).collect();
    pieces.chain([pack(&content)]).collect()
}

/// BLOCK, DATA and DONE of a file of more than one block.
pub fn large(file: u32, content: &[u8]) -> Vec<Message> {
    let numbered = blocks(content).into_iter().map(|message| match message {
        Message::Block(block) => Block { file, ..block }.into(),
        other => other,
    });
    numbered.chain([large_done(file, content).into()]).collect()
}

/// DONE of a file of more than one block.
pub fn large_done(file: u32, content: &[u8]) -> Done {
    Done { file, ..done(content) }
}

/// KEEP of these blocks.
pub fn keep(file: u32, first: u64, count: u64) -> Message {
    Keep { file, first, count }.into()
}

/// ACCEPT of a file of which nothing is there.
pub fn accept(file: u32) -> Message {
    Accept { file, have: 0 }.into()
}

/// PASS.
pub fn pass(upto: u32) -> Message {
    Pass { upto }.into()
}

/// NODE_RESULT of a file that was created.
pub fn created(file: u32, content: &[u8]) -> NodeResult {
    NodeResult { file, action: 1, digest: proof(content).to_vec(), ..NodeResult::default() }
}

/// A sender that gives a file up.
pub fn given_up(file: u32, status: u32) -> NodeResult {
    NodeResult { file, status, message: "it cannot be read".into(), ..NodeResult::default() }
}

/// A sender of a tree, true or lying: what it says at once, and what it answers.
#[derive(Debug, Clone, Default)]
pub struct Teller {
    /// Follows the request at once.
    pub listing: Vec<Message>,
    /// Follows the ACCEPT of this number.
    pub content: HashMap<u32, Vec<Message>>,
    /// Follows an AGAIN for this number; an empty list answers nothing.
    pub again: HashMap<u32, Vec<Message>>,
    /// Ends the connection when all this is said.
    pub closes: bool,
    /// Times that a block was asked for again.
    pub asked_again: u32,
}

impl Teller {
    /// One that says only this.
    pub fn says(listing: impl IntoIterator<Item = Message>) -> Self {
        Self { listing: listing.into_iter().collect(), ..Self::default() }
    }

    /// And this where that file is accepted.
    #[must_use]
    pub fn with(mut self, file: u32, content: Vec<Message>) -> Self {
        self.content.insert(file, content);
        self
    }

    /// And this where it is asked for again.
    #[must_use]
    pub fn again(mut self, file: u32, content: Vec<Message>) -> Self {
        self.again.insert(file, content);
        self
    }

    /// What it answers to a message of the receiver.
    pub fn answer(&mut self, message: &Message) -> Vec<Message> {
        match message {
            Message::TreeGet(_) => std::mem::take(&mut self.listing),
            Message::Accept(accept) => self.content.remove(&accept.file).unwrap_or_default(),
            Message::Again(again) => {
                self.asked_again += 1;
                self.again.get(&again.file).cloned().unwrap_or_default()
            }
            Message::End(_) => vec![End::default().into()],
            _ => Vec::new(),
        }
    }

    /// As the script of a [`crate::hostile::HostileServer`].
    pub fn act(&mut self, op: u32, message: &Message) -> Vec<Action> {
        let mut actions: Vec<Action> =
            self.answer(message).into_iter().map(|message| Action::Send(op, message)).collect();
        if self.closes && self.listing.is_empty() && self.content.is_empty() {
            actions.push(Action::Close);
        }
        actions
    }
}

/// What a server said to a tree: all of it, and how it ended the operation, or the session.
#[derive(Debug)]
pub struct Said {
    /// Everything but the end.
    pub messages: Vec<Message>,
    /// Of the end; [`Status::Unavailable`] where there was none.
    pub status: Status,
    /// Its text.
    pub text: String,
    /// It was the end of the session.
    pub fatal: bool,
}

impl Said {
    /// What became of the names, as it was told.
    pub fn results(&self) -> Vec<&NodeResult> {
        let results = self.messages.iter();
        results
            .filter_map(|message| match message {
                Message::NodeResult(result) => Some(result),
                _ => None,
            })
            .collect()
    }

    /// Path, action and status of what has no number.
    pub fn named(&self) -> Vec<(String, u32, Status)> {
        let named = self.results().into_iter().filter(|result| result.file == 0);
        let shown = |result: &NodeResult| {
            let path = String::from_utf8(result.path.clone()).unwrap();
            (path, result.action, Status::from_wire(result.status))
        };
        named.map(shown).collect()
    }
}

/// Sends a tree, answering as the teller does, until the server ends the operation or the session.
pub async fn put(peer: &mut RawPeer, op: u32, request: TreePut, mut teller: Teller) -> Said {
    let frames = |messages: Vec<Message>| -> Vec<u8> {
        messages.into_iter().flat_map(|message| frame(op, message)).collect()
    };
    let listing = frames(std::mem::take(&mut teller.listing));
    // A server that does not like what it reads closes before it has read all of it.
    let _ = peer.send_bytes(&[frame(op, request), listing].concat()).await;
    let mut said =
        Said { messages: Vec::new(), status: Status::Unavailable, text: String::new(), fatal: true };
    while let Some((of, message)) = peer.next().await {
        if let Message::End(End { status, message }) = message {
            (said.status, said.text, said.fatal) = (Status::from_wire(status), message, of == 0);
            break;
        }
        assert_eq!(of, op, "{message:?}");
        let answer = frames(teller.answer(&message));
        if !answer.is_empty() {
            let _ = peer.send_bytes(&answer).await;
        }
        said.messages.push(message);
    }
    said
}

/// A put of a tree to a fresh server whose root was set up so, and what the server said.
pub async fn put_to(
    rights: Rights,
    request: TreePut,
    teller: Teller,
    set_up: impl FnOnce(&Path),
) -> (TestServer, Said) {
    let server = TestServer::builder().rights(rights).start().await;
    set_up(server.root());
    let mut peer = RawPeer::logged_in(&server).await;
    let said = put(&mut peer, 1, request, teller).await;
    if !said.fatal {
        let (_, end) = peer.ask(2, Stat::default()).await;
        assert!(end.status != Status::Protocol as u32, "the session goes on");
    }
    (server, said)
}

/// A sender that lists these and says nothing more.
pub fn says(nodes: impl IntoIterator<Item = Node>) -> Teller {
    Teller::says(nodes.into_iter().map(Message::from).chain([walked()]))
}

/// Names in a directory, in order; none where there is no directory.
pub fn names_in(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
