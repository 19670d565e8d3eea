//! Runs conformance vectors and says what differs.
//!
//! `conformance FILE.jsonl…`; exits 1 when a case failed, 2 when no file was named.

use heddle_e2e::conformance::Report;
use std::process::ExitCode;

fn main() -> ExitCode {
    let files: Vec<_> = std::env::args_os().skip(1).collect();
    if files.is_empty() {
        eprintln!("usage: conformance FILE.jsonl…");
        return ExitCode::from(2);
    }
    let report = Report::of_files(&files);
    println!("{report}");
    if report.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
