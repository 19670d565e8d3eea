//! Pure. The mesh as it counts: every document in its last good form.
//!
//! A [`Model`] takes looks at a source. What is sound counts at once; what has errors, cannot be read, or is suddenly empty
//! leaves the last good form of the documents concerned in place. Only a document that is plainly no longer there goes.

use heddle_core::Nanos;
use heddle_core::finding::{Finding, Severity};
use heddle_core::spec::set::{DocumentId, Sound, judge};
use std::collections::{BTreeMap, BTreeSet};

/// How long a file that held something must be empty or gone before that counts: a file looks so while it is replaced.
pub const VOID_COUNTS_AFTER: Nanos = 1_000_000_000;

/// What a look at a source saw: the files by name, each with its text or why it cannot be read. A folder that cannot be
/// listed stands for all files below it.
pub type Look = BTreeMap<String, Result<String, String>>;

/// The documents of a mesh.
#[derive(Debug, Default)]
pub struct Model {
    good: BTreeMap<DocumentId, Sound>,
    kept: BTreeSet<DocumentId>,
    findings: Vec<Finding>,
    /// Files that held documents and hold nothing now, since when.
    void: BTreeMap<String, Nanos>,
}

/// What a look changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Whether any document differs.
    pub changed: bool,
    /// When to look again although nothing changes.
    pub again: Option<Nanos>,
}

impl Model {
    /// Knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The documents that count, in order of their ids.
    pub fn documents(&self) -> impl Iterator<Item = &Sound> {
        self.good.values()
    }

    /// Those of them that count in an older form, or although their file is void, until what is wrong is mended.
    pub fn kept(&self) -> &BTreeSet<DocumentId> {
        &self.kept
    }

    /// What is wrong, by file and place.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Takes a look at the source.
    pub fn take(&mut self, look: &Look, now: Nanos) -> Taken {
        let readable: Vec<(String, String)> = look
            .iter()
            .filter_map(|(file, text)| Some((file.clone(), text.as_ref().ok()?.clone())))
            .collect();
        let judged = judge(&readable);
        let mut findings = judged.findings;
        for (file, text) in look {
            if let Err(why) = text {
                findings.push(unreadable(file, why));
            }
        }
        let mut good: BTreeMap<DocumentId, Sound> = BTreeMap::new();
        let mut claims = BTreeSet::new();
        for sound in judged.sound {
            claims.extend(sound.claim());
            good.insert(sound.id.clone(), sound);
        }
        // Whose documents cannot all be named, or not at all, loses none.
        let unclear: BTreeSet<&str> = judged
            .unsound
            .iter()
            .filter(|u| u.id.is_none())
            .map(|u| u.file.as_str())
            .collect();
        let unsound: BTreeSet<&DocumentId> = judged
            .unsound
            .iter()
            .filter_map(|u| u.id.as_ref())
            .collect();
        let unread: Vec<&str> = look
            .iter()
            .filter(|(_, text)| text.is_err())
            .map(|(file, _)| file.as_str())
            .collect();
        self.note_void(look, now);
        let mut kept = BTreeSet::new();
        for (id, sound) in &self.good {
            let file = sound.file.as_str();
            let stays = unsound.contains(id)
                || unclear.contains(file)
                || unread.iter().any(|unread| is_below(file, unread))
                || self
                    .void
                    .get(file)
                    .is_some_and(|since| now < since + VOID_COUNTS_AFTER);
            let claim = sound.claim();
            let free = claim.as_ref().is_none_or(|claim| !claims.contains(claim));
            if stays && free && !good.contains_key(id) {
                claims.extend(claim);
                kept.insert(id.clone());
                good.insert(id.clone(), sound.clone());
            }
        }
        let changed = good.len() != self.good.len()
            || good.iter().any(|(id, sound)| {
                self.good
                    .get(id)
                    .is_none_or(|before| before.text != sound.text)
            });
        let again = self
            .void
            .values()
            .map(|since| since + VOID_COUNTS_AFTER)
            .filter(|at| *at > now)
            .min();
        self.good = good;
        self.kept = kept;
        self.findings = findings;
        Taken { changed, again }
    }

    /// Notes since when files are void that hold documents which count.
    fn note_void(&mut self, look: &Look, now: Nanos) {
        let files: BTreeSet<&str> = self
            .good
            .values()
            .map(|sound| sound.file.as_str())
            .collect();
        let is_void = |file: &&str| match look.get(*file) {
            None => true,
            Some(Ok(text)) => text.trim().is_empty(),
            Some(Err(_)) => false,
        };
        let void = files
            .into_iter()
            .filter(is_void)
            .map(|file| (file.to_owned(), *self.void.get(file).unwrap_or(&now)));
        self.void = void.collect();
    }
}

/// Whether a file is this one, or below this folder.
fn is_below(file: &str, folder: &str) -> bool {
    file.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn unreadable(file: &str, why: &str) -> Finding {
    Finding {
        code: "HED101",
        severity: Severity::Error,
        file: file.to_owned(),
        line: 1,
        column: 1,
        what: format!("the file cannot be read: {why}"),
        why: "what it says may have changed".to_owned(),
        fix: "look at its permissions; its last good documents count until then".to_owned(),
    }
}

#[cfg(test)]
mod tests;
