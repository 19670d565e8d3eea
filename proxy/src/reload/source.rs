//! Where configuration is read from: the file system, and a record of what was read.

use crate::control::Control;
use heddle_core::config::ControlPlane;
use heddle_core::spec::set::Sound;
use heddle_core::spec::{Flaw, MAX_FILE_BYTES, Material, Source};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The files and the environment of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileSystem;

impl Source for FileSystem {
    /// The content of one moment: a file that changes while it is read is read again.
    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        for _ in 0..TORN_READS_MAX {
            let mut open = File::open(file)?;
            let before = open.metadata()?;
            let bytes = read_at_once(&mut open, before.len())?;
            if !before.is_file() {
                return Ok(bytes); // a pipe has no length to compare
            }
            // By its path: a rename over it counts as a change as well.
            let after = fs::metadata(file)?;
            let whole = before.len().min(MAX_FILE_BYTES as u64 + 1);
            let same = bytes.len() as u64 == whole
                && before.len() == after.len()
                && before.ino() == after.ino()
                && before.modified().ok() == after.modified().ok();
            if same {
                return Ok(bytes);
            }
            std::thread::sleep(TORN_READ_PAUSE);
        }
        let why = "it changed each time it was read; it is being written all the time";
        Err(io::Error::other(why))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let name = |entry: io::Result<fs::DirEntry>| {
            Some(entry.ok()?.file_name().to_string_lossy().into_owned())
        };
        Ok(fs::read_dir(folder)?.filter_map(name).collect())
    }

    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn inspect(&self, material: &Material<'_>) -> Vec<Flaw> {
        crate::tls::inspect(material)
    }
}

/// The same, with the documents of a control plane.
#[derive(Debug, Clone)]
pub(crate) struct Mesh(pub(crate) Arc<Control>);

impl Source for Mesh {
    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        FileSystem.read(file)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        FileSystem.list(folder)
    }

    fn env(&self, name: &str) -> Option<String> {
        FileSystem.env(name)
    }

    fn inspect(&self, material: &Material<'_>) -> Vec<Flaw> {
        FileSystem.inspect(material)
    }

    fn remote(&self, from: &ControlPlane) -> Vec<Sound> {
        self.0.documents(from)
    }
}

/// What stands for the control plane's documents among the files of a load; no file has this name.
const REMOTE: &str = "\0control plane";

/// How often a file that changes under the reader is read before it counts as unreadable.
const TORN_READS_MAX: usize = 10;
/// What a writer gets to finish in.
const TORN_READ_PAUSE: Duration = Duration::from_millis(5);

/// Reads a file in one call where the system allows it: pieces read one by one could be of two versions.
fn read_at_once(file: &mut File, length: u64) -> io::Result<Vec<u8>> {
    let most = MAX_FILE_BYTES as u64 + 1;
    let room = usize::try_from(length.min(most)).unwrap_or(MAX_FILE_BYTES) + 1;
    let mut bytes = Vec::with_capacity(room.max(64));
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What one file was when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Something, by its hash.
    Content(u64),
    /// Nothing but white space.
    Blank,
    /// It was not there.
    Missing,
    /// It could not be read.
    Unreadable,
}

/// Every file of one load.
pub(super) type Reads = BTreeMap<PathBuf, Seen>;

/// The hash of what all files hold, whatever they are called: equal files, equal hash, on every proxy.
pub(super) fn hash_of(reads: &Reads) -> u64 {
    let contents: Vec<[u8; 8]> = reads
        .values()
        .map(|seen| match seen {
            Seen::Content(hash) => hash.to_le_bytes(),
            Seen::Blank | Seen::Missing | Seen::Unreadable => [0; 8],
        })
        .collect();
    let parts: Vec<&[u8]> = contents.iter().map(<[u8; 8]>::as_slice).collect();
    heddle_core::sticky::hash(&parts)
}

/// A source that records what is read through it.
pub(super) struct Recorded<'s> {
    source: &'s dyn Source,
    reads: RefCell<Reads>,
}

impl<'s> Recorded<'s> {
    pub(super) fn new(source: &'s dyn Source) -> Self {
        Self {
            source,
            reads: RefCell::default(),
        }
    }

    pub(super) fn into_reads(self) -> Reads {
        self.reads.into_inner()
    }
}

impl Source for Recorded<'_> {
    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        let result = self.source.read(file);
        self.reads
            .borrow_mut()
            .insert(file.to_path_buf(), seen(&result));
        result
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.source.list(folder)
    }

    fn env(&self, name: &str) -> Option<String> {
        self.source.env(name)
    }

    fn inspect(&self, material: &Material<'_>) -> Vec<Flaw> {
        self.source.inspect(material)
    }

    /// Counts as a file, so that other documents are a change.
    fn remote(&self, from: &ControlPlane) -> Vec<Sound> {
        let documents = self.source.remote(from);
        let texts: Vec<&[u8]> = documents
            .iter()
            .map(|sound| sound.text.as_bytes())
            .collect();
        let seen = Seen::Content(heddle_core::sticky::hash(&texts));
        self.reads.borrow_mut().insert(PathBuf::from(REMOTE), seen);
        documents
    }
}

fn seen(result: &io::Result<Vec<u8>>) -> Seen {
    match result {
        Ok(bytes) if bytes.trim_ascii().is_empty() => Seen::Blank,
        Ok(bytes) => {
            let hash = heddle_core::sticky::hash(&[bytes]);
            Seen::Content(hash)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Seen::Missing,
        Err(_) => Seen::Unreadable,
    }
}

/// The files that held something at the last good load and hold nothing now. Files that are no longer part of
/// the configuration count only when they are gone, which `exists` tells.
pub(super) fn voids(good: &Reads, now: &Reads, exists: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let had_content = good
        .iter()
        .filter(|(_, seen)| matches!(seen, Seen::Content(_)));
    let is_void = |path: &&PathBuf| match now.get(*path) {
        Some(Seen::Blank | Seen::Missing) => true,
        Some(Seen::Content(_) | Seen::Unreadable) => false,
        None => !exists(path),
    };
    had_content
        .map(|(path, _)| path)
        .filter(is_void)
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_rewritten_meanwhile_is_never_read_in_pieces_of_two_versions() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        let versions = ["a".repeat(3000), "b".repeat(3000)];
        fs::write(&file, &versions[0]).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..2000 {
                    fs::write(&file, &versions[round % 2]).unwrap();
                }
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
            });
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                // Never still is an answer as well; empty is what a writer may leave for a moment.
                let Ok(bytes) = FileSystem.read(&file) else {
                    continue;
                };
                let whole = versions.iter().any(|version| version.as_bytes() == bytes);
                assert!(
                    whole || bytes.is_empty(),
                    "{} bytes of a mixture",
                    bytes.len()
                );
            }
        });
    }

    #[test]
    fn only_what_held_something_can_become_void() {
        let reads = |entries: &[(&str, Seen)]| -> Reads {
            entries
                .iter()
                .map(|(path, seen)| (PathBuf::from(path), *seen))
                .collect()
        };
        let (one, two) = (Seen::Content(1), Seen::Content(2));
        let good = reads(&[("main", one), ("rule", two), ("blank", Seen::Blank)]);
        type Row<'t> = (&'t [(&'t str, Seen)], &'t [&'t str], &'t [&'t str]);
        let table: &[Row<'_>] = &[
            // (reads now, files that exist, void)
            (&[("main", one), ("rule", two)], &[], &[]),
            (&[("main", two), ("rule", one)], &[], &[]),
            (&[("main", Seen::Blank), ("rule", two)], &[], &["main"]),
            (&[("main", Seen::Missing)], &[], &["main", "rule"]),
            (&[("main", Seen::Unreadable), ("rule", one)], &[], &[]),
            (&[("main", one)], &["rule"], &[]),
            (&[("main", one)], &[], &["rule"]),
            (
                &[("main", one), ("rule", two), ("blank", Seen::Missing)],
                &[],
                &[],
            ),
        ];
        for (now, existing, expect) in table {
            let void = voids(&good, &reads(now), |path| {
                existing.iter().any(|file| Path::new(file) == path)
            });
            assert_eq!(
                void,
                expect.iter().map(PathBuf::from).collect::<Vec<_>>(),
                "{now:?}"
            );
        }
    }
}
