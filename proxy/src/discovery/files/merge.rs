//! Pure. What a look at the folder of the `files` namer means, given what was known before.
//!
//! A file that cannot be read or understood keeps its last good content. One that is suddenly empty or gone
//! counts only after [`VOID_COUNTS_AFTER`]: until then it is more likely to be half written or about to be
//! replaced.

use crate::discovery::files_format;
use heddle_core::Nanos;
use heddle_core::config::WrittenEndpoint;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a file that held something must be empty or gone before that counts.
pub(crate) const VOID_COUNTS_AFTER: Duration = Duration::from_secs(1);

/// The elements of a name below `/#/files`: folders, then the file.
pub(crate) type Elements = Vec<Vec<u8>>;

/// What one look saw.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// Every file, with its text or why it cannot be read.
    pub files: BTreeMap<Elements, Result<Arc<str>, String>>,
    /// Folders that cannot be listed (the root is the empty list), with the reason.
    pub unlisted: BTreeMap<Elements, String>,
}

/// What is known of one file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct File {
    /// Its last good content; `None`: there never was any.
    pub good: Option<Vec<WrittenEndpoint>>,
    /// Why its content of now does not count.
    pub error: Option<String>,
    /// Since when it is empty or gone while its last good content was not.
    void_since: Option<Nanos>,
}

/// All files of the folder.
pub(crate) type Files = BTreeMap<Elements, File>;

/// The state after a look at `now`, and when to look again although nothing changes.
pub(crate) fn merge(before: &Files, look: &Look, now: Nanos) -> (Files, Option<Nanos>) {
    let mut after = Files::new();
    for (name, read) in &look.files {
        let known = before.get(name).cloned().unwrap_or_default();
        after.insert(name.clone(), found(known, read, now));
    }
    for (name, known) in before {
        if look.files.contains_key(name) {
            continue;
        }
        let reason = look
            .unlisted
            .iter()
            .find(|(folder, _)| name.starts_with(folder));
        match reason {
            Some((_, reason)) => {
                let error = Some(reason.clone());
                after.insert(
                    name.clone(),
                    File {
                        error,
                        void_since: None,
                        ..known.clone()
                    },
                );
            }
            None => {
                if let Some(waiting) = missing(known, now) {
                    after.insert(name.clone(), waiting);
                }
            }
        }
    }
    let next = after.values().filter_map(|file| file.void_since).min();
    (
        after,
        next.map(|since| since.saturating_add(VOID_COUNTS_AFTER.as_nanos() as Nanos)),
    )
}

fn found(known: File, read: &Result<Arc<str>, String>, now: Nanos) -> File {
    let text = match read {
        Ok(text) => text,
        Err(reason) => {
            return File {
                error: Some(reason.clone()),
                void_since: None,
                ..known
            };
        }
    };
    let had_some = known
        .good
        .as_ref()
        .is_some_and(|endpoints| !endpoints.is_empty());
    if had_some && text.trim().is_empty() {
        let since = known.void_since.unwrap_or(now);
        if !counts(since, now) {
            return File {
                error: None,
                void_since: Some(since),
                ..known
            };
        }
    }
    match files_format::parse(text) {
        Ok(endpoints) => File {
            good: Some(endpoints),
            error: None,
            void_since: None,
        },
        Err(malformed) => File {
            error: Some(malformed.to_string()),
            void_since: None,
            ..known
        },
    }
}

/// A file that is gone stays known until that counts; one without good content is gone at once.
fn missing(known: &File, now: Nanos) -> Option<File> {
    let since = known.void_since.unwrap_or(now);
    let stays = known.good.is_some() && !counts(since, now);
    stays.then(|| File {
        error: None,
        void_since: Some(since),
        ..known.clone()
    })
}

fn counts(since: Nanos, now: Nanos) -> bool {
    now.saturating_sub(since) >= VOID_COUNTS_AFTER.as_nanos() as Nanos
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanos = 1_000_000;

    fn name(text: &str) -> Elements {
        text.split('/')
            .filter(|part| !part.is_empty())
            .map(|part| part.as_bytes().to_vec())
            .collect()
    }

    /// One look: `a=text` is a file, `a!` an unreadable file, `a/!` an unreadable folder.
    fn look(entries: &[&str]) -> Look {
        let mut look = Look::default();
        for entry in entries {
            if let Some((file, text)) = entry.split_once('=') {
                look.files.insert(name(file), Ok(text.into()));
            } else if let Some(folder) = entry.strip_suffix("/!") {
                look.unlisted
                    .insert(name(folder), "folder unreadable".into());
            } else if let Some(file) = entry.strip_suffix('!') {
                look.files.insert(name(file), Err("unreadable".into()));
            }
        }
        look
    }

    fn show(files: &Files) -> String {
        let one = |(name, file): (&Elements, &File)| {
            let name: Vec<_> = name
                .iter()
                .map(|part| String::from_utf8_lossy(part))
                .collect();
            let good = file
                .good
                .as_ref()
                .map_or("-".into(), |good| good.len().to_string());
            format!(
                "{}:{good}{}",
                name.join("/"),
                if file.error.is_some() { "!" } else { "" }
            )
        };
        files.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    const ONE: &str = "127.0.0.1 80";
    const TWO: &str = "127.0.0.1 80\n127.0.0.1 81";

    #[test]
    fn a_sequence_of_looks_gives_the_last_good_state() {
        let one = &format!("a={ONE}");
        let two = &format!("a={TWO}");
        let sub = &format!("d/b={ONE}");
        type Step<'t> = (Nanos, &'t [&'t str], &'t str);
        let table: &[(&str, &[Step<'_>])] = &[
            ("changes", &[(0, &[one], "a:1"), (1, &[two], "a:2")]),
            (
                "never good",
                &[
                    (0, &["a=oops"], "a:-!"),
                    (1, &["a!"], "a:-!"),
                    (2, &[one], "a:1"),
                ],
            ),
            (
                "malformed later",
                &[
                    (0, &[two], "a:2"),
                    (1, &["a=oops"], "a:2!"),
                    (2000, &["a=oops"], "a:2!"),
                    (2001, &[one], "a:1"),
                ],
            ),
            (
                "unreadable later",
                &[
                    (0, &[two], "a:2"),
                    (5000, &["a!"], "a:2!"),
                    (9000, &["a!"], "a:2!"),
                ],
            ),
            (
                "emptied",
                &[
                    (0, &[two], "a:2"),
                    (1, &["a="], "a:2"),
                    (1000, &["a="], "a:2"),
                    (1001, &["a=\n"], "a:0"),
                ],
            ),
            (
                "truncated, then written",
                &[
                    (0, &[two], "a:2"),
                    (1, &["a="], "a:2"),
                    (500, &[one], "a:1"),
                    (1600, &["a="], "a:1"),
                    (2599, &["a="], "a:1"),
                    (2600, &["a="], "a:0"),
                ],
            ),
            (
                "empty from the start",
                &[(0, &["a="], "a:0"), (1, &[one], "a:1")],
            ),
            (
                "only comments is said on purpose",
                &[(0, &[two], "a:2"), (1, &["a=# nobody"], "a:0")],
            ),
            (
                "deleted",
                &[
                    (0, &[one], "a:1"),
                    (1, &[], "a:1"),
                    (1000, &[], "a:1"),
                    (1001, &[], ""),
                ],
            ),
            (
                "deleted and recreated",
                &[
                    (0, &[one], "a:1"),
                    (1, &[], "a:1"),
                    (900, &[two], "a:2"),
                    (1900, &[], "a:2"),
                    (2000, &[two], "a:2"),
                ],
            ),
            (
                "a broken file is deleted",
                &[(0, &["a=oops"], "a:-!"), (1, &[], "")],
            ),
            (
                "emptied, then deleted",
                &[
                    (0, &[one], "a:1"),
                    (1, &["a="], "a:1"),
                    (800, &[], "a:1"),
                    (1001, &[], ""),
                ],
            ),
            (
                "folder unreadable",
                &[
                    (0, &[one, sub], "a:1 d/b:1"),
                    (5000, &[one, "d/!"], "a:1 d/b:1!"),
                    (9000, &[one, "d/!"], "a:1 d/b:1!"),
                    (9001, &[one, sub], "a:1 d/b:1"),
                ],
            ),
            (
                "root unreadable",
                &[
                    (0, &[one, sub], "a:1 d/b:1"),
                    (5000, &["/!"], "a:1! d/b:1!"),
                ],
            ),
        ];
        for (what, looks) in table {
            let mut files = Files::new();
            for (at, seen, expect) in *looks {
                files = merge(&files, &look(seen), at * MS).0;
                assert_eq!(show(&files), *expect, "{what} at {at} ms");
            }
        }
    }

    #[test]
    fn says_when_to_look_again() {
        let (files, next) = merge(&Files::new(), &look(&[&format!("a={ONE}")]), 0);
        assert_eq!(next, None);
        let (files, next) = merge(&files, &look(&[]), 7 * MS);
        assert_eq!(next, Some(1007 * MS));
        let (files, next) = merge(&files, &look(&[]), 500 * MS);
        assert_eq!(next, Some(1007 * MS));
        let (_, next) = merge(&files, &look(&[]), 1007 * MS);
        assert_eq!(next, None);
    }
}
