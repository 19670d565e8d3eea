//! What files look like from outside, so that a change is noticed without reading them.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, Metadata};
use std::hash::{Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Entries of one folder that are looked at, and levels of a tree; what is beyond is not watched.
const ENTRIES_MAX: usize = 20_000;
const DEPTH_MAX: usize = 16;

/// Something that is watched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// One file, through symbolic links.
    File(PathBuf),
    /// The files directly in a folder.
    Folder(PathBuf),
    /// A folder with all that is below it, apart from names that begin with a dot.
    Tree(PathBuf),
}

impl Target {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Folder(path) | Self::Tree(path) => path,
        }
    }
}

/// A number that changes when any target does: another file behind the name, another size, another time of
/// change (which a program cannot set back), another list of names, or another error.
///
/// Blocking; two `stat` calls a file.
pub(crate) fn fingerprint<'a>(targets: impl IntoIterator<Item = &'a Target>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for target in targets {
        target.path().hash(&mut hasher);
        match target {
            Target::File(path) => file(path, &mut hasher),
            Target::Folder(path) => folder(path, 1, &mut hasher),
            Target::Tree(path) => folder(path, DEPTH_MAX, &mut hasher),
        }
    }
    hasher.finish()
}

fn file(path: &Path, hasher: &mut DefaultHasher) {
    stat(fs::symlink_metadata(path), hasher);
    stat(fs::metadata(path), hasher);
}

fn stat(metadata: io::Result<Metadata>, hasher: &mut DefaultHasher) {
    match metadata {
        Ok(m) => (
            m.dev(),
            m.ino(),
            m.mode(),
            m.size(),
            m.mtime(),
            m.mtime_nsec(),
            m.ctime(),
            m.ctime_nsec(),
        )
            .hash(hasher),
        Err(error) => error.raw_os_error().hash(hasher),
    }
}

fn folder(path: &Path, depth: usize, hasher: &mut DefaultHasher) {
    let mut names: Vec<_> = match fs::read_dir(path) {
        Ok(entries) => entries
            .filter_map(Result::ok)
            .map(|entry| entry.file_name())
            .take(ENTRIES_MAX)
            .collect(),
        Err(error) => return error.raw_os_error().hash(hasher),
    };
    names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
    names.sort();
    for name in names {
        name.hash(hasher);
        let path = path.join(name);
        match fs::metadata(&path) {
            // A directory's own times change with its listing, which is hashed below.
            Ok(metadata) if metadata.is_dir() => {
                if depth > 1 {
                    folder(&path, depth - 1, hasher);
                }
            }
            _ => file(&path, hasher),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn every_way_to_change_a_file_shows() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b, link) = (
            dir.path().join("a"),
            dir.path().join("b"),
            dir.path().join("link"),
        );
        let targets = [Target::File(a.clone()), Target::File(link.clone())];
        let mut seen = vec![fingerprint(&targets)];
        let mut step = |what: &str, change: &dyn Fn() -> io::Result<()>| {
            // File times are as fine as the kernel's tick, so equal sizes need it to pass.
            std::thread::sleep(std::time::Duration::from_millis(20));
            change().unwrap();
            let now = fingerprint(&targets);
            assert!(!seen.contains(&now), "{what} does not show");
            assert_eq!(now, fingerprint(&targets), "{what}");
            seen.push(now);
        };
        step("creation", &|| fs::write(&a, "one"));
        step("writing in place", &|| fs::write(&a, "two"));
        step("truncation", &|| fs::write(&a, ""));
        step("renaming over", &|| {
            fs::write(&b, "two").and_then(|()| fs::rename(&b, &a))
        });
        step("a link", &|| symlink("a", &link));
        step("a change behind the link", &|| fs::write(&a, "six"));
        step("another link", &|| {
            fs::write(&b, "two")
                .and_then(|()| fs::remove_file(&link))
                .and_then(|()| symlink("b", &link))
        });
        step("removal", &|| fs::remove_file(&a));
        assert_eq!(seen.len(), 9);
    }

    #[test]
    fn a_folder_shows_its_files_and_a_tree_what_is_below() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_path_buf();
        fs::create_dir(root.join("sub")).unwrap();
        let prints = || {
            (
                fingerprint(&[Target::Folder(root.clone())]),
                fingerprint(&[Target::Tree(root.clone())]),
            )
        };
        let before = prints();
        fs::write(root.join(".hidden"), "x").unwrap();
        assert_eq!(prints(), before);
        fs::write(root.join("sub/deep"), "x").unwrap();
        let deep = prints();
        assert_eq!(deep.0, before.0);
        assert_ne!(deep.1, before.1);
        fs::write(root.join("top"), "x").unwrap();
        assert_ne!(prints().0, deep.0);
        assert_ne!(prints().1, deep.1);
        let gone = Target::Tree(root.join("nowhere"));
        assert_eq!(fingerprint([&gone]), fingerprint([&gone]));
    }
}
