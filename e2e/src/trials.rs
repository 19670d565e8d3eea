//! Tests that may find that something is missing: a named skip on a developer's machine, a failure where `CI=true`.
//!
//! Rust's own harness knows no test that skips itself: it would count as passed. Test binaries in which a component may
//! be missing name their tests in [`trials!`](macro@crate::trials) instead. A test that is left out there is dead code, which
//! the compiler tells.

use crate::needs::Need;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::process::ExitCode;

/// A test that needs nothing but this repository.
pub fn plain(path: &str, run: fn()) -> Trial {
    Trial::test(name(path), move || {
        run();
        Ok(())
    })
}

/// A test that needs foreign components.
pub fn with(needs: &'static [Need], path: &str, run: fn()) -> Trial {
    let found = move || needs.iter().try_for_each(|need| need.version().map(|_| ()));
    when(found, path, run)
}

/// A test that can run only where `possible` finds what it needs; otherwise that says what is missing.
pub fn when(
    possible: impl FnOnce() -> Result<(), String> + Send + 'static,
    path: &str,
    run: fn(),
) -> Trial {
    let name = name(path);
    Trial::ignorable_test(name.clone(), move || match possible() {
        Ok(()) => {
            run();
            Ok(Completion::Completed)
        }
        Err(missing) if std::env::var("CI").is_ok_and(|value| value == "true") => {
            Err(Failed::from(missing))
        }
        Err(missing) => {
            eprintln!("skipped {name}: {missing}");
            Ok(Completion::ignored_with(missing))
        }
    })
}

/// Runs them as the command line asks.
pub fn run(trials: Vec<Trial>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They wait more than they compute.
    arguments.test_threads.get_or_insert(4);
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// `module :: test`, as the harness of Rust writes it.
fn name(path: &str) -> String {
    path.replace(' ', "")
}

/// Whether this machine can listen on `::1`.
///
/// # Errors
///
/// Says that it cannot.
pub fn ipv6() -> Result<(), String> {
    std::net::TcpListener::bind("[::1]:0")
        .map(|_| ())
        .map_err(|error| format!("this machine has no IPv6 loopback: {error}"))
}

/// Trials of test functions that need nothing, by their paths.
#[macro_export]
macro_rules! trials {
    ($($test:path),* $(,)?) => {
        vec![$($crate::trials::plain(stringify!($test), $test)),*]
    };
}
