//! What a prompt needs besides the commands: words, completion, a line editor. No connection here.

pub(crate) mod complete;
pub(crate) mod editor;
pub(crate) mod local;
pub(crate) mod words;
