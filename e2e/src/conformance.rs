//! Runs conformance vectors: one JSON object a line, saying how Finagle and linkerd behave.
//!
//! Driven by the input alone: a file that was never seen before runs as well. Each area has a
//! module with `run(input) -> Outcome`; comparing, counting and reporting happen here.

mod budget;
mod classifier;
mod delegate;
mod encoding;
mod ewma;
mod files;
mod identifier;
mod language;
mod namer;

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// What an area makes of an input.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Exactly this; a member that is not expected is a difference.
    Is(Value),
    /// This and more; members that are not expected are beside the point.
    Shows(Value),
    /// Heddle has no such thing; what it is called.
    Skipped(String),
    /// The input makes no sense; why.
    Malformed(String),
}

impl Outcome {
    /// The input was refused, as it should be or not.
    pub fn error() -> Self {
        Self::Is(serde_json::json!({"error": true}))
    }
}

/// Runs one input; of what is expected, areas see only which members are asked for.
pub fn run(area: &str, input: &Value, expect: &Value) -> Outcome {
    match area {
        "path-parse" => language::parse_path(input),
        "dtab-parse" => language::parse_dtab(input),
        "nametree-parse" => language::parse_tree(input),
        "nametree-show" => language::show(input),
        "nametree-eval" => language::evaluate(input),
        "delegate" => delegate::run(input),
        "namer" => namer::run(input),
        "identifier" => identifier::run(input, expect),
        "ewma" => ewma::run(input),
        "retry-budget" => budget::run(input),
        "classifier" => classifier::run(input),
        _ => Outcome::Malformed(format!("unknown area `{area}`")),
    }
}

/// What happened to the cases of some files.
#[derive(Debug, Default)]
pub struct Report {
    /// Cases that agree.
    pub passed: usize,
    /// One line for each case that differs or cannot be read.
    pub failures: Vec<String>,
    /// How many cases were skipped, by area and what Heddle does not have.
    pub skipped: BTreeMap<String, usize>,
    /// Doubtful cases that agree.
    pub unsure_passed: usize,
    /// One line for each doubtful case that differs.
    pub unsure_failures: Vec<String>,
}

impl Report {
    /// Runs every line of these files; what cannot be read is a failure.
    pub fn of_files<P: AsRef<Path>>(files: &[P]) -> Self {
        let mut report = Self::default();
        for file in files {
            let file = file.as_ref();
            match std::fs::read_to_string(file) {
                Ok(text) => report.add(&file.display().to_string(), &text),
                Err(error) => report
                    .failures
                    .push(format!("{}: cannot be read: {error}", file.display())),
            }
        }
        report
    }

    /// Runs every line of a text.
    pub fn add(&mut self, file: &str, text: &str) {
        let lines = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty());
        for (index, line) in lines {
            self.add_line(&format!("{file}:{}", index + 1), line);
        }
    }

    fn add_line(&mut self, place: &str, line: &str) {
        let case: Value = match serde_json::from_str(line) {
            Ok(case) => case,
            Err(error) => return self.failures.push(format!("{place}: no JSON: {error}")),
        };
        let (Some(area), Some(input), Some(expect)) =
            (case["area"].as_str(), case.get("input"), case.get("expect"))
        else {
            return self
                .failures
                .push(format!("{place}: a case has `area`, `input` and `expect`"));
        };
        let source = case["source"].as_str().unwrap_or("no source");
        let unsure = case["unsure"] == true;
        let failure = match run(area, input, expect) {
            Outcome::Skipped(kind) => {
                *self.skipped.entry(format!("{area}: {kind}")).or_default() += 1;
                return;
            }
            Outcome::Malformed(reason) => Some(reason),
            Outcome::Is(actual) if agrees(expect, &actual, false, tolerance(expect)) => None,
            Outcome::Shows(actual) if agrees(expect, &actual, true, tolerance(expect)) => None,
            Outcome::Is(actual) | Outcome::Shows(actual) => Some(format!(
                "expected {expect}, got {actual}, for {}",
                shortened(input)
            )),
        };
        match (failure, unsure) {
            (None, false) => self.passed += 1,
            (None, true) => self.unsure_passed += 1,
            (Some(failure), false) => self
                .failures
                .push(format!("{place}: {area}: {failure} ({source})")),
            (Some(failure), true) => self
                .unsure_failures
                .push(format!("{place}: {area}: {failure} ({source})")),
        }
    }

    /// How many cases were skipped.
    pub fn skipped(&self) -> usize {
        self.skipped.values().sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in &self.failures {
            writeln!(f, "failed {failure}")?;
        }
        for (kind, count) in &self.skipped {
            writeln!(f, "skipped {count} of {kind}")?;
        }
        for failure in &self.unsure_failures {
            writeln!(f, "unsure {failure}")?;
        }
        let unsure = self.unsure_passed + self.unsure_failures.len();
        if unsure > 0 {
            writeln!(
                f,
                "unsure and not counted: {unsure}, of which {} agree",
                self.unsure_passed
            )?;
        }
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed,
            self.failures.len(),
            self.skipped()
        )
    }
}

/// All vector files of a folder, sorted by name.
///
/// # Errors
/// When the folder cannot be read.
pub fn files_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let mut files: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "jsonl")
    });
    files.sort();
    Ok(files)
}

fn tolerance(expect: &Value) -> f64 {
    expect["tolerance"].as_f64().unwrap_or(0.0)
}

/// Whether `actual` is what is expected: numbers within a relative tolerance, sets in any order.
fn agrees(expect: &Value, actual: &Value, more_allowed: bool, tolerance: f64) -> bool {
    match (expect, actual) {
        (Value::Number(expected), Value::Number(found)) => {
            match (expected.as_f64(), found.as_f64()) {
                (Some(expected), Some(found)) => {
                    (expected - found).abs() <= tolerance * expected.abs().max(1.0)
                }
                _ => expected == found,
            }
        }
        (Value::Array(expected), Value::Array(found)) => {
            let agree = |(expected, found)| agrees(expected, found, more_allowed, tolerance);
            expected.len() == found.len() && expected.iter().zip(found).all(agree)
        }
        // A branch of an explained union, as a pair or spelt out.
        (Value::Array(pair), Value::Object(branch)) => {
            match (&pair[..], branch.get("weight"), branch.get("tree")) {
                ([weight, tree], Some(found_weight), Some(found_tree)) => {
                    agrees(weight, found_weight, more_allowed, tolerance)
                        && agrees(tree, found_tree, more_allowed, tolerance)
                }
                _ => false,
            }
        }
        // A bound name by its id alone.
        (Value::String(id), Value::Object(bound)) if more_allowed => {
            bound.get("id").is_some_and(|found| found == id)
        }
        (Value::Object(expected), Value::Object(found)) => {
            let mut members = expected.iter().filter(|(key, _)| *key != "tolerance");
            let agree = members.all(|(key, value)| match (key.as_str(), found.get(key)) {
                ("set" | "addrs" | "removedHeaders", Some(found)) => same_members(value, found),
                (_, Some(found)) => agrees(value, found, more_allowed, tolerance),
                (_, None) => false,
            });
            agree && (more_allowed || found.keys().all(|key| expected.contains_key(key)))
        }
        _ => expect == actual,
    }
}

fn same_members(expected: &Value, found: &Value) -> bool {
    match (expected.as_array(), found.as_array()) {
        (Some(expected), Some(found)) => {
            let contains =
                |all: &[Value], one| all.iter().any(|other| agrees(one, other, false, 0.0));
            expected.len() == found.len()
                && expected.iter().all(|one| contains(found, one))
                && found.iter().all(|one| contains(expected, one))
        }
        _ => expected == found,
    }
}

fn shortened(input: &Value) -> String {
    const SHOWN: usize = 400;
    let text = input.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
