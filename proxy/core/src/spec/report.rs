//! Collecting the findings of one load; there is no first one that stops.

use super::codes::Code;
use super::yaml::Place;
use crate::finding::Finding;

/// A place in one of the files of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    file: usize,
    pub(super) place: Place,
}

/// The findings so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    files: Vec<String>,
    findings: Vec<(usize, Finding)>,
    errors: usize,
}

/// More findings than this help nobody; what follows is counted as an error, but not told.
const MAX_FINDINGS: usize = 1000;

impl Report {
    /// Findings from here on are about this file.
    pub(super) fn enter(&mut self, file: impl Into<String>) {
        self.files.push(file.into());
    }

    /// A place in the file that was entered last.
    pub(super) fn spot(&self, place: Place) -> Spot {
        Spot {
            file: self.files.len().saturating_sub(1),
            place,
        }
    }

    /// How a spot of another file is named: `file:line`.
    pub(super) fn name(&self, spot: Spot) -> String {
        let file = self.files.get(spot.file).map_or("", String::as_str);
        format!("{file}:{}", spot.place.line)
    }

    /// Adds a finding in the file that was entered last: what is wrong, why that matters, what to write instead.
    pub(super) fn add(
        &mut self,
        code: &Code,
        place: Place,
        what: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.add_at(code, self.spot(place), what, why, fix);
    }

    /// Adds a finding in any of the files.
    pub(super) fn add_at(
        &mut self,
        code: &Code,
        spot: Spot,
        what: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let finding = Finding {
            code: code.id,
            severity: code.severity,
            file: self.files.get(spot.file).cloned().unwrap_or_default(),
            line: spot.place.line,
            column: spot.place.column,
            what: what.into(),
            why: why.into(),
            fix: fix.into(),
        };
        self.errors += usize::from(finding.is_error());
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push((spot.file, finding));
        }
    }

    /// Whether further findings would not be told, so that composing them is idle.
    pub(super) fn is_full(&self) -> bool {
        self.findings.len() >= MAX_FINDINGS
    }

    /// How many errors there are, those included that are not told.
    pub(super) fn errors(&self) -> usize {
        self.errors
    }

    /// The findings in the order of files and places.
    pub(super) fn into_findings(mut self) -> Vec<Finding> {
        self.findings
            .sort_by_key(|(file, f)| (*file, f.line, f.column));
        self.findings
            .into_iter()
            .map(|(_, finding)| finding)
            .collect()
    }
}
