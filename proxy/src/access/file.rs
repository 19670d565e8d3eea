//! Where lines go, and what happens when they cannot.

use heddle_core::config::LogTarget;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// An output that is never trusted to work.
#[derive(Debug)]
pub(super) enum Output {
    Stdout,
    Stderr,
    File {
        path: PathBuf,
        /// Closed while it cannot be opened.
        file: Option<File>,
        /// What is missing of a line of which a part was written.
        rest: Vec<u8>,
    },
}

/// What became of lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) lines: u64,
    pub(super) lost: u64,
}

impl Output {
    pub(super) fn open(target: &LogTarget) -> Self {
        match target {
            LogTarget::Stdout => Self::Stdout,
            LogTarget::Stderr => Self::Stderr,
            LogTarget::File(path) => {
                let mut output = Self::File {
                    path: path.clone(),
                    file: None,
                    rest: Vec::new(),
                };
                output.reopen();
                output
            }
        }
    }

    /// Opens the file by its name again.
    pub(super) fn reopen(&mut self) {
        if let Self::File { path, file, rest } = self {
            match append_to(path) {
                Ok(opened) => *file = Some(opened),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "the access log cannot be opened; its lines are dropped until it can");
                    *file = None;
                }
            }
            rest.clear();
        }
    }

    /// Opens the file again when its name leads elsewhere: it was rotated, or is back.
    pub(super) fn look(&mut self) {
        if let Self::File { path, file, .. } = self
            && !file.as_ref().is_some_and(|file| is_same(file, path))
        {
            self.reopen();
        }
    }

    /// Writes whole lines. What cannot be written is lost, except for the end of a line that was begun.
    pub(super) fn write(&mut self, lines: &[u8]) -> (Written, io::Result<()>) {
        let all = count(lines);
        let none = |error| {
            let written = Written {
                lines: 0,
                lost: all,
            };
            (written, Err(error))
        };
        match self {
            Self::Stdout => whole(&mut io::stdout().lock(), lines, all),
            Self::Stderr => whole(&mut io::stderr().lock(), lines, all),
            Self::File { file: None, .. } => none(io::ErrorKind::NotFound.into()),
            Self::File {
                file: Some(file),
                rest,
                ..
            } => {
                let (gone, result) = push(file, rest);
                rest.drain(..gone);
                if let Err(error) = result {
                    return none(error);
                }
                let (done, result) = push(file, lines);
                let begun = lines[..done].last().is_some_and(|&byte| byte != b'\n');
                if begun {
                    let left = &lines[done..];
                    let end = left.iter().position(|&byte| byte == b'\n');
                    rest.extend_from_slice(&left[..end.map_or(left.len(), |end| end + 1)]);
                }
                let whole = if done == lines.len() {
                    all
                } else {
                    count(&lines[..done])
                };
                let written = whole + u64::from(begun);
                let lost = all.saturating_sub(written);
                (
                    Written {
                        lines: written,
                        lost,
                    },
                    result,
                )
            }
        }
    }
}

fn count(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

fn whole(out: &mut impl Write, lines: &[u8], all: u64) -> (Written, io::Result<()>) {
    match out.write_all(lines).and_then(|()| out.flush()) {
        Ok(()) => (
            Written {
                lines: all,
                lost: 0,
            },
            Ok(()),
        ),
        Err(error) => (
            Written {
                lines: 0,
                lost: all,
            },
            Err(error),
        ),
    }
}

/// Writes as much as the system takes; how much that was.
fn push(file: &mut File, mut bytes: &[u8]) -> (usize, io::Result<()>) {
    let all = bytes.len();
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return (all - bytes.len(), Err(io::ErrorKind::WriteZero.into())),
            Ok(done) => bytes = &bytes[done..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (all - bytes.len(), Err(error)),
        }
    }
    (all, Ok(()))
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

fn is_same(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn a_rotated_file_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("log"), folder.path().join("log.1"));
        let mut output = Output::open(&LogTarget::File(path.clone()));
        let one = Written { lines: 1, lost: 0 };
        assert_eq!(output.write(b"a\n").0, one);
        std::fs::rename(&path, &old).unwrap();
        assert_eq!(output.write(b"b\n").0, one, "until it is noticed");
        output.look();
        assert_eq!(output.write(b"c\n").0, one);
        assert_eq!((text(&old), text(&path)), ("a\nb\n".into(), "c\n".into()));
        std::fs::remove_file(&path).unwrap();
        output.look();
        output.write(b"d\n").1.unwrap();
        assert_eq!(text(&path), "d\n");
    }

    #[test]
    fn a_full_disk_loses_lines_and_counts_them() {
        let mut output = Output::open(&LogTarget::File("/dev/full".into()));
        let (written, result) = output.write(b"a\nb\n");
        assert_eq!(written, Written { lines: 0, lost: 2 });
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_folder_that_comes_later_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("later/log");
        let mut output = Output::open(&LogTarget::File(path.clone()));
        assert_eq!(output.write(b"a\n").0, Written { lines: 0, lost: 1 });
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        output.look();
        assert_eq!(output.write(b"b\n").0, Written { lines: 1, lost: 0 });
        assert_eq!(text(&path), "b\n");
    }
}
