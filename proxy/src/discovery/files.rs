//! The folder of the `files` namer: one file a replica set, folders recurse.

pub(super) mod merge;

use super::files_format::FILE_BYTES_MAX;
use merge::{Elements, Look};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

/// Files that are read; what is beyond is reported and left out.
pub(super) const FILES_MAX: usize = 10_000;

/// Levels of folders below the root.
const DEPTH_MAX: usize = 8;

/// Reads the folder. Names that begin with a dot are left out: editors and Kubernetes keep their own files
/// under such names. Symbolic links are followed, but never round in a circle. Blocking.
pub(super) fn look(root: &Path) -> Look {
    let mut walk = Walk {
        look: Look::default(),
        name: Elements::new(),
        above: Vec::new(),
    };
    walk.folder(root);
    walk.look
}

struct Walk {
    look: Look,
    /// The elements of where it is.
    name: Elements,
    /// Device and inode of the folders that lead here.
    above: Vec<(u64, u64)>,
}

impl Walk {
    fn folder(&mut self, folder: &Path) {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                let reason = format!("{}: the folder cannot be listed: {error}", folder.display());
                self.look.unlisted.insert(self.name.clone(), reason);
                return;
            }
        };
        let mut paths: Vec<_> = entries
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .collect();
        paths.sort();
        for path in paths {
            let Some(element) = path.file_name().map(|name| name.to_os_string().into_vec()) else {
                continue;
            };
            if element.starts_with(b".") {
                continue;
            }
            if self.look.files.len() >= FILES_MAX {
                let reason = format!(
                    "{}: more than {FILES_MAX} files; the rest is not read",
                    folder.display()
                );
                self.look.unlisted.insert(self.name.clone(), reason);
                return;
            }
            self.name.push(element);
            self.entry(&path);
            self.name.pop();
        }
    }

    fn entry(&mut self, path: &Path) {
        let text = match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                let identity = (metadata.dev(), metadata.ino());
                if self.name.len() <= DEPTH_MAX && !self.above.contains(&identity) {
                    self.above.push(identity);
                    self.folder(path);
                    self.above.pop();
                }
                return;
            }
            Ok(metadata) if metadata.is_file() => read(path),
            Ok(_) => Err(io::Error::other("is neither a file nor a folder")),
            // A link to nowhere is no file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => Err(error),
        };
        let text = text.map_err(|error| format!("{}: {error}", path.display()));
        self.look.files.insert(self.name.clone(), text);
    }
}

fn read(path: &Path) -> io::Result<Arc<str>> {
    let mut text = String::new();
    File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "is larger than {FILE_BYTES_MAX} bytes"
        )));
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn reads_files_folders_and_links_but_nothing_hidden() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("bank/inner")).unwrap();
        fs::create_dir(root.join("..data")).unwrap();
        fs::write(root.join("..data/accounts"), "127.0.0.1 1").unwrap();
        symlink("..data/accounts", root.join("accounts")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        symlink("..", root.join("bank/loop")).unwrap();
        fs::write(root.join("bank/ledger"), "127.0.0.1 2").unwrap();
        fs::write(root.join("bank/inner/deep"), "127.0.0.1 3").unwrap();
        fs::write(root.join(".ledger.swp"), "x").unwrap();
        fs::write(root.join("binary"), [0xff, 0xfe]).unwrap();
        let look = look(root);
        let of = |name: &[&str]| {
            let name: Elements = name.iter().map(|part| part.as_bytes().to_vec()).collect();
            look.files.get(&name).map(|read| {
                read.as_ref()
                    .map(|text| text.to_string())
                    .map_err(String::clone)
            })
        };
        assert_eq!(of(&["accounts"]), Some(Ok("127.0.0.1 1".into())));
        assert_eq!(of(&["bank", "ledger"]), Some(Ok("127.0.0.1 2".into())));
        assert_eq!(
            of(&["bank", "inner", "deep"]),
            Some(Ok("127.0.0.1 3".into()))
        );
        assert!(matches!(of(&["binary"]), Some(Err(_))));
        assert_eq!(
            (
                of(&["dangling"]),
                of(&[".ledger.swp"]),
                of(&["..data", "accounts"])
            ),
            (None, None, None)
        );
        assert!(
            look.files.keys().all(|name| name.len() <= 6),
            "links in a circle end: {:?}",
            look.files.keys()
        );
        assert!(look.unlisted.is_empty());
    }

    #[test]
    fn a_missing_root_is_a_folder_that_cannot_be_listed() {
        let dir = tempfile::tempdir().unwrap();
        let look = look(&dir.path().join("nowhere"));
        assert!(look.files.is_empty());
        assert_eq!(look.unlisted.keys().collect::<Vec<_>>(), [&Elements::new()]);
    }
}
