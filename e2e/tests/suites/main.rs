//! Conformance suites that others wrote, against the proxy: each row of the first table of
//! `docs/conformance.md` is one test here.
//!
//! What a suite finds fault with is either mended or stands in the document's table of exceptions with
//! its reason; the tests compare both ways, so an exception that is no longer one fails as well.
//! A suite that is missing is a failure where `CI=true`, and elsewhere a skip with its name and reason.

mod autobahn;
mod grpc;
mod h2spec;
mod metrics;
mod place;
mod scanner;
mod slow;
mod table;

use heddle_e2e::needs::Need;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::process::ExitCode;

/// One suite, in one place.
#[derive(Debug, Clone, Copy)]
struct Suite {
    /// The name of the test, and of the row in the document.
    name: &'static str,
    /// What must be installed; the suite itself first.
    needs: &'static [Need],
    /// Panics if something is wrong.
    run: fn(),
}

impl Suite {
    fn trial(self) -> Trial {
        Trial::ignorable_test(self.name, move || {
            let missing = self.needs.iter().find_map(|need| need.version().err());
            match missing {
                None => {
                    (self.run)();
                    Ok(Completion::Completed)
                }
                Some(missing) if std::env::var("CI").is_ok_and(|value| value == "true") => {
                    Err(Failed::from(missing))
                }
                Some(missing) => {
                    eprintln!("skipped {}: {missing}", self.name);
                    Ok(Completion::ignored_with(missing))
                }
            }
        })
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They wait more than they compute, but some count time.
    arguments.test_threads.get_or_insert(2);
    let suites: Vec<Suite> = [
        h2spec::SUITES,
        grpc::SUITES,
        autobahn::SUITES,
        slow::SUITES,
        scanner::SUITES,
        metrics::SUITES,
    ]
    .concat();
    let mut trials: Vec<_> = suites.iter().map(|suite| suite.trial()).collect();
    trials.push(Trial::test(
        "docs_conformance_md_lists_exactly_these_suites",
        move || table::check(&suites),
    ));
    libtest_mimic::run(&arguments, trials).exit_code()
}
