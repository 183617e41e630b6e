//! Trees as messages, for peers that send them by hand.

use std::collections::HashMap;

use bytes::Bytes;
use ft_protocol::digest::Algorithm;
use ft_protocol::wire::Message;
use ft_protocol::wire::message::{
    Accept, Done, End, Keep, Node, NodeResult, Pass, Piece, TreeGet, TreePut, Walked,
};

use crate::content::{blocks, proof};
use crate::hostile::Action;

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
        Message::Block(block) => ft_protocol::wire::message::Block { file, ..block }.into(),
        other => other,
    });
    numbered.chain([large_done(file, content).into()]).collect()
}

/// DONE of a file of more than one block.
pub fn large_done(file: u32, content: &[u8]) -> Done {
    Done { file, ..crate::content::done(content) }
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
    /// Ends the connection after what it said at once.
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
        let first = matches!(message, Message::TreeGet(_));
        let mut actions: Vec<Action> =
            self.answer(message).into_iter().map(|message| Action::Send(op, message)).collect();
        if first && self.closes {
            actions.push(Action::Close);
        }
        actions
    }
}
