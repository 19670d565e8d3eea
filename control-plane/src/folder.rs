//! A folder of YAML as a source: what is in it, and when that has changed.
//!
//! Changes are found by looking, not by being told: it works on every file system (mounted ConfigMaps, NFS, overlays), has
//! no limit on watches, and cannot miss anything. A look compares times and sizes; files are read when those have stood
//! still for one look, so that none is read while somebody writes it.

use crate::model::Look;
use heddle_core::spec::MAX_FILE_BYTES;
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Files that are read; a mesh of 10,000 services fits with a file for each.
const FILES_MAX: usize = 20_000;
/// Folders within folders are followed so deep; a loop of links must end.
const DEPTH_MAX: usize = 16;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Looking takes at most one part in so many of the time.
const PART: u32 = 20;
/// What never stands still is read after this all the same.
const RESTLESS: Duration = Duration::from_secs(2);

/// What tells whether a file is as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Print {
    modified: (i64, i64),
    changed: (i64, i64),
    size: u64,
    inode: u64,
}

impl Print {
    fn of(metadata: &Metadata) -> Self {
        Self {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            size: metadata.size(),
            inode: metadata.ino(),
        }
    }
}

/// Files, and what could not be looked at with the reason.
type Prints = BTreeMap<PathBuf, Result<Print, String>>;

/// A folder that is looked at again and again.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    /// What was there when its files were read last.
    read: Option<Prints>,
    seen: Prints,
    restless_since: Option<Instant>,
}

impl Folder {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self {
            root,
            read: None,
            seen: Prints::new(),
            restless_since: None,
        }
    }

    /// Looks once; what it holds, if that may differ from the last time or `anew`, and how long to wait for the next look.
    /// Blocking.
    pub(crate) fn look(&mut self, anew: bool) -> (Option<Look>, Duration) {
        let start = Instant::now();
        let prints = prints(&self.root);
        let still = prints == self.seen || self.read.is_none();
        let restless = *self.restless_since.get_or_insert(start);
        let differs = self.read.as_ref() != Some(&prints);
        let mut found = None;
        if anew || (differs && (still || start.duration_since(restless) >= RESTLESS)) {
            found = Some(read(&prints));
            self.read = Some(prints.clone());
        }
        if !differs || found.is_some() {
            self.restless_since = None;
        }
        self.seen = prints;
        (found, PAUSE.max(start.elapsed() * PART))
    }
}

fn prints(root: &Path) -> Prints {
    let mut prints = Prints::new();
    walk(root, DEPTH_MAX, &mut prints);
    prints
}

fn walk(folder: &Path, depth: usize, prints: &mut Prints) {
    if depth == 0 {
        return;
    }
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            prints.insert(
                folder.to_owned(),
                Err(format!("the folder cannot be listed: {error}")),
            );
            return;
        }
    };
    for entry in entries {
        let Ok(entry) = entry else {
            prints.insert(
                folder.to_owned(),
                Err("the folder could not be listed to its end".to_owned()),
            );
            return;
        };
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let yaml = path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => walk(&path, depth.saturating_sub(1), prints),
            // A link to nowhere is no file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            metadata if yaml && prints.len() < FILES_MAX => {
                let print = metadata.map(|metadata| Print::of(&metadata));
                prints.insert(path, print.map_err(|error| error.to_string()));
            }
            _ if yaml => {
                prints.insert(
                    folder.to_owned(),
                    Err(format!(
                        "there are more than {FILES_MAX} files; the rest is not read"
                    )),
                );
            }
            _ => {}
        }
    }
}

fn read(prints: &Prints) -> Look {
    let one = |(path, print): (&PathBuf, &Result<Print, String>)| {
        let text = print
            .clone()
            .and_then(|_| text(path).map_err(|error| error.to_string()));
        (path.display().to_string(), text)
    };
    prints.iter().map(one).collect()
}

fn text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_FILE_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(io::Error::other(format!(
            "it is larger than {} MiB",
            MAX_FILE_BYTES / 1024 / 1024
        )));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(look: &Look, root: &Path) -> Vec<String> {
        let root = format!("{}/", root.display());
        look.keys()
            .map(|name| name.trim_start_matches(&root).to_owned())
            .collect()
    }

    #[test]
    fn reads_yaml_below_it_once_and_again_when_it_stands_still() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("bank/.git")).unwrap();
        for file in [
            "a.yaml",
            "bank/b.yml",
            "bank/.git/c.yaml",
            ".d.yaml",
            "e.txt",
        ] {
            fs::write(root.join(file), "x").unwrap();
        }
        std::os::unix::fs::symlink("..", root.join("bank/up")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("f.yaml")).unwrap();
        let mut folder = Folder::new(root.to_owned());
        let (first, _) = folder.look(false);
        let first = first.unwrap();
        assert!(first.values().all(Result::is_ok), "{first:?}");
        assert_eq!(&names(&first, root)[..2], ["a.yaml", "bank/b.yml"]);
        assert!(folder.look(false).0.is_none());
        assert!(folder.look(true).0.is_some(), "anew");
        fs::write(root.join("a.yaml"), "changed").unwrap();
        assert!(folder.look(false).0.is_none(), "it may still be written");
        let (second, _) = folder.look(false);
        assert!(
            second
                .unwrap()
                .values()
                .any(|text| text.as_deref() == Ok("changed"))
        );
    }

    #[test]
    fn what_cannot_be_read_is_said_so() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.yaml"), [0xff]).unwrap();
        let (look, _) = Folder::new(dir.path().to_owned()).look(false);
        assert!(
            look.unwrap()
                .values()
                .all(|text| text.as_ref().is_err_and(|why| why.contains("UTF-8")))
        );
        let missing = dir.path().join("missing");
        let (look, _) = Folder::new(missing.clone()).look(false);
        assert!(look.unwrap()[&missing.display().to_string()].is_err());
    }
}
