//! A disk that is soon full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A small file system; unmounted when dropped.
pub(crate) struct TinyDisk(pub(crate) PathBuf);

impl TinyDisk {
    /// With these options, as in `size=1m`. `None`, said aloud, where this process may not mount.
    pub(crate) fn mount(at: &Path, size: &str) -> Option<Self> {
        fs::create_dir(at).unwrap();
        match mount(at, size) {
            Ok(done) if done.status.success() => Some(Self(at.to_owned())),
            other => {
                eprintln!("SKIPPED the full disk: no tmpfs can be mounted here ({other:?})");
                None
            }
        }
    }

    /// Gives it another size.
    pub(crate) fn resize(&self, size: &str) {
        let done = mount(&self.0, &format!("remount,{size}")).unwrap();
        assert!(done.status.success(), "{done:?}");
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(at: &Path, options: &str) -> std::io::Result<Output> {
    Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output()
}
