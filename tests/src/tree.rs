//! Trees of files for tests, and what is compared of them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use crate::content::pattern;

/// What is known of one name: kind and permission bits, modification time, and content or target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// As `st_mode` has it.
    pub mode: u32,
    /// Seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Of a file the content, of a link the target.
    pub content: Vec<u8>,
}

/// Everything beneath a directory, by its path. Staging files are there too, so that leftovers are seen.
pub fn seen(root: &Path) -> BTreeMap<Vec<u8>, Seen> {
    let mut all = BTreeMap::new();
    look(root, root, &mut all);
    all
}

/// As [`seen`], names and contents alone.
pub fn contents(root: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    seen(root).into_iter().map(|(path, seen)| (path, seen.content)).collect()
}

fn look(root: &Path, dir: &Path, all: &mut BTreeMap<Vec<u8>, Seen>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        // Staging files come and go while a server puts away what a client left.
        let Ok(meta) = path.symlink_metadata() else { continue };
        let content = if meta.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().into_vec()
        } else if meta.is_file() {
            let Ok(content) = fs::read(&path) else { continue };
            content
        } else {
            Vec::new()
        };
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        let mtime = (meta.mtime(), meta.mtime_nsec());
        all.insert(name, Seen { mode: meta.mode(), mtime, content });
        if meta.is_dir() {
            look(root, &path, all);
        }
    }
}

/// Makes a tree with some of everything: sizes around a block, empty files and directories, links, odd names, modes.
pub fn plant(root: &Path) {
    fs::create_dir_all(root.join("sub/deeper/deepest")).unwrap();
    fs::create_dir_all(root.join("empty")).unwrap();
    for (name, size) in [
        ("a", 0),
        ("a.txt", 5),
        ("block", 1 << 20),
        ("more", (1 << 20) + 1),
        ("large", 5 * (1 << 20) + 77),
        ("sub/one", 1),
        ("sub/deeper/two", 32_768),
        ("sub/deeper/deepest/three", 70_000),
        ("z", 12),
    ] {
        fs::write(root.join(name), pattern(size)).unwrap();
    }
    for number in 0..40 {
        fs::write(root.join(format!("sub/file {number}")), pattern(number * 331)).unwrap();
    }
    fs::write(root.join(OsStr::from_bytes(b"\xff\xfe odd\nname")), "odd").unwrap();
    fs::write(root.join("n".repeat(255)), "long").unwrap();
    symlink("../nowhere", root.join("link")).unwrap();
    symlink("sub", root.join("link-to-dir")).unwrap();
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(3 << 20).unwrap();
    fs::set_permissions(root.join("a.txt"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(root.join("sub/deeper"), fs::Permissions::from_mode(0o750)).unwrap();
}
