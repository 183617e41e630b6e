//! Parts of a job that count for themselves.

/// Where a job was when a part of it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub(super) bytes_done: u64,
    pub(super) bytes_kept: u64,
    pub(super) bytes_total: u64,
    pub(super) files_done: u64,
    pub(super) files_total: u64,
}

/// How far a part of a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position<'a> {
    /// Bytes that need nothing more.
    pub bytes_done: u64,
    /// Those of them that did not travel, and count for no rate.
    pub bytes_kept: u64,
    /// Bytes that were found so far.
    pub bytes_total: u64,
    /// Files that need nothing more.
    pub files_done: u64,
    /// Files that were found so far.
    pub files_total: u64,
    /// No more will be found.
    pub is_final: bool,
    /// What is being transferred; shown escaped.
    pub name: &'a [u8],
}
