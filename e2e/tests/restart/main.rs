//! Restarts: of the proxy, of what is behind it, and what systemd sees of them.
//!
//! A component that is missing is a failure where `CI=true`, and elsewhere a skip with its name and reason.

mod binary;
mod drain;
mod handover;
mod load;
mod notify;
mod replica;
mod rolling;
mod streams;
mod systemd;

use heddle_e2e::needs::Need;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::process::ExitCode;

/// A test: its name, what must be installed, and what panics if something is wrong.
struct Case(&'static str, &'static [Need], fn());

impl Case {
    fn trial(&self) -> Trial {
        let &Self(name, needs, run) = self;
        Trial::ignorable_test(name, move || {
            let missing = needs.iter().find_map(|need| need.version().err());
            match missing {
                None => run(),
                Some(missing) if std::env::var("CI").is_ok_and(|value| value == "true") => {
                    return Err(Failed::from(missing));
                }
                Some(missing) => {
                    eprintln!("skipped {name}: {missing}");
                    return Ok(Completion::ignored_with(missing));
                }
            }
            Ok(Completion::Completed)
        })
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They wait more than they compute.
    arguments.test_threads.get_or_insert(3);
    let cases = [
        drain::CASES,
        handover::CASES,
        binary::CASES,
        notify::CASES,
        streams::CASES,
        systemd::CASES,
        rolling::CASES,
    ];
    let trials = cases.into_iter().flatten().map(Case::trial).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
