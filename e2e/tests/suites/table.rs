//! `docs/conformance.md`: its first table names the suites, its second what they find and we keep.

use crate::Suite;
use heddle_e2e::binary::repository;
use libtest_mimic::Failed;
use std::collections::BTreeSet;

/// The heading under which the suites stand.
const SUITES: &str = "## Suites";

/// The heading under which the exceptions stand.
const EXCEPTIONS: &str = "## Exceptions";

/// The cells of the rows of the one table under a heading, without backticks, head and rule left out.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let file = repository().join("docs/conformance.md");
    let text = std::fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    text.lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().replace('`', "")).collect()
        })
        .collect()
}

/// The cases of one suite, by the name of its test, that may fail.
pub(crate) fn exceptions(suite: &str) -> BTreeSet<String> {
    let rows = rows(EXCEPTIONS);
    let of_the_suite = rows.iter().filter(|cells| cells[0] == suite);
    of_the_suite.map(|cells| cells[1].clone()).collect()
}

/// Asserts that exactly the exceptions of a suite failed; `detail` tells of a case what was found.
///
/// # Panics
///
/// When more failed, or less.
pub(crate) fn only_exceptions(
    suite: &str,
    failed: &BTreeSet<String>,
    detail: impl Fn(&str) -> String,
) {
    let allowed = exceptions(suite);
    let found: Vec<_> = failed
        .difference(&allowed)
        .map(|case| detail(case))
        .collect();
    assert!(
        found.is_empty(),
        "{suite} finds fault with:\n{}",
        found.join("\n")
    );
    let passed: Vec<_> = allowed.difference(failed).collect();
    assert!(
        passed.is_empty(),
        "{suite} no longer finds fault with {passed:?}: take them out of docs/conformance.md"
    );
}

/// Compares the document with what is run.
pub(crate) fn check(suites: &[Suite]) -> Result<(), Failed> {
    let run: BTreeSet<_> = suites.iter().map(|suite| suite.name.to_owned()).collect();
    let written = rows(SUITES);
    let listed: BTreeSet<_> = written
        .iter()
        .filter_map(|cells| cells.last().cloned())
        .collect();
    if listed != run || written.len() != suites.len() {
        return Err(format!("docs/conformance.md lists {listed:?}, run are {run:?}").into());
    }
    for cells in rows(EXCEPTIONS) {
        if cells.len() != 4 || !run.contains(&cells[0]) || cells.iter().any(String::is_empty) {
            return Err(
                format!("an exception needs a suite, case, finding and reason: {cells:?}").into(),
            );
        }
    }
    Ok(())
}
