//! Bounded rounds with deaths, judged by the bank's own audit.

use super::demo::heddle_bank;
use heddle_e2e::process::{Finished, run};
use std::time::Duration;

/// How long a round may take, per unit of scale.
const ROUND: Duration = Duration::from_secs(420);

/// Every boundary between an effect and its acknowledgement, and at how many times there a service dies at the latest (one
/// that is not in Rust: once in so many).
const BOUNDARIES: [(&str, u64); 20] = [
    ("ledger.received", 240),
    ("ledger.written", 240),
    ("ledger.committed", 160),
    ("relay.read", 120),
    ("relay.published", 120),
    ("accounts.posted", 160),
    ("cards.held", 120),
    ("cards.captured", 120),
    ("lock.granted", 240),
    ("gateway.answered", 300),
    ("merchants.received", 120),
    ("merchants.published", 80),
    ("merchants.written", 80),
    ("merchants.kept", 80),
    ("feed.received", 120),
    ("feed.written", 80),
    ("feed.kept", 80),
    ("notifications.received", 120),
    ("notifications.written", 80),
    ("notifications.kept", 80),
];

fn scale() -> u64 {
    let told = std::env::var("HEDDLE_SCALE")
        .ok()
        .and_then(|text| text.parse().ok());
    told.unwrap_or(1)
}

/// A round of the demo; panics unless it is clean. Gives what it said.
fn round(arguments: &[&str]) -> String {
    let mut command = heddle_bank();
    command
        .args([
            "demo",
            "--once",
            "--port",
            "0",
            "--proxy-port",
            "0",
            "--admin-port",
            "0",
        ])
        .args(arguments);
    let limit = ROUND * u32::try_from(scale()).unwrap_or(1);
    let Finished {
        code,
        stdout,
        stderr,
    } = run(&mut command, limit);
    assert_eq!(code, Some(0), "{stdout}\n{stderr}");
    let verdict = stdout
        .lines()
        .rev()
        .find(|line| line.starts_with("audit: "))
        .unwrap_or_default();
    assert!(
        verdict.starts_with("audit: clean, ") && verdict.ends_with(", 0 lost, 0 doubled"),
        "{stdout}\n{stderr}"
    );
    stdout
}

/// The number before a word of a line of the output.
fn number(output: &str, line: &str) -> u64 {
    let rest = output.lines().find_map(|text| text.strip_prefix(line));
    let digits = rest.and_then(|rest| rest.split_whitespace().next());
    digits
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_else(|| panic!("no '{line} N' in:\n{output}"))
}

pub(crate) fn once_ends_clean() {
    let transfers = (300 * scale()).to_string();
    let output = round(&["--transfers", &transfers, "--kills", "6", "--rate", "40"]);
    assert!(number(&output, "deaths: ") >= 5, "{output}");
}

pub(crate) fn beside_each() {
    round(&[
        "--transfers",
        "120",
        "--kills",
        "3",
        "--rate",
        "25",
        "--topology",
        "sidecar",
    ]);
}

pub(crate) fn at_every_boundary() {
    let points: Vec<_> = BOUNDARIES
        .iter()
        .map(|(name, one_in)| format!("{name}=1/{one_in}"))
        .collect();
    let transfers = (250 * scale()).to_string();
    let seed = std::env::var("HEDDLE_SEED").unwrap_or_else(|_| "7".to_owned());
    let output = round(&[
        "--transfers",
        &transfers,
        "--kills",
        "4",
        "--rate",
        "25",
        "--seed",
        &seed,
        "--fail-points",
        &points.join(","),
    ]);
    // At scale 10 these are the 500 deaths that are promised.
    let deaths = number(&output, "deaths: ");
    assert!(deaths >= 50 * scale(), "only {deaths} deaths:\n{output}");
}
