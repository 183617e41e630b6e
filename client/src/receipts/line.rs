//! The lines of a receipt.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ft_protocol::RemotePath;
use serde::{Deserialize, Serialize};

/// Version of the format.
pub(super) const VERSION: u32 = 1;

/// One line. Readers ignore types and fields that they do not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Line {
    /// The first one.
    Run(RunLine),
    /// The files that follow are elsewhere.
    Base(BaseLine),
    /// A file that arrived.
    File(FileLine),
    /// Of a later version.
    #[serde(other, skip_serializing)]
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RunLine {
    pub(super) v: u32,
    pub(super) run: String,
    pub(super) time: String,
    pub(super) action: String,
    pub(super) host: String,
    #[serde(flatten)]
    pub(super) base: BaseLine,
}

/// What paths of files are beneath, at both ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BaseLine {
    /// Absolute; none where the file was a stream.
    pub(super) local: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) local_b64: Option<String>,
    /// Beneath the account's root.
    pub(super) remote: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) remote_b64: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileLine {
    /// Beneath both bases; empty where they are the file itself.
    pub(super) path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) path_b64: Option<String>,
    pub(super) size: u64,
    /// Of the source: seconds since 1970.
    pub(super) mtime: Option<i64>,
    pub(super) mtime_ns: Option<u32>,
    pub(super) digest: DigestLine,
    pub(super) verified: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DigestLine {
    pub(super) alg: String,
    pub(super) hex: String,
}

impl BaseLine {
    pub(super) fn new(local: Option<&Path>, remote: &RemotePath) -> Self {
        let here = local.map(|local| text(local.as_os_str().as_bytes()));
        let (local, local_b64) = here.map_or((None, None), |(text, b64)| (Some(text), b64));
        let (remote, remote_b64) = text(remote.as_bytes());
        Self { local, local_b64, remote, remote_b64 }
    }

    /// The local base, and the remote one.
    pub(super) fn paths(&self) -> Result<(Option<PathBuf>, RemotePath), String> {
        let local = match &self.local {
            None => None,
            Some(local) => Some(OsStr::from_bytes(&bytes(local, self.local_b64.as_deref())?).into()),
        };
        let remote = RemotePath::from_wire(&bytes(&self.remote, self.remote_b64.as_deref())?);
        Ok((local, remote.map_err(|error| error.to_string())?))
    }
}

/// Readable text, and the exact bytes in base64 where they are not UTF-8.
pub(super) fn text(bytes: &[u8]) -> (String, Option<String>) {
    let b64 = std::str::from_utf8(bytes).is_err().then(|| STANDARD.encode(bytes));
    (String::from_utf8_lossy(bytes).into_owned(), b64)
}

/// The opposite of [`text`].
pub(super) fn bytes(text: &str, b64: Option<&str>) -> Result<Vec<u8>, String> {
    match b64 {
        None => Ok(text.as_bytes().to_vec()),
        Some(b64) => STANDARD.decode(b64).map_err(|error| format!("bad base64: {error}")),
    }
}
