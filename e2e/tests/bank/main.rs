//! The bank as people run it: `heddle-bank demo` through the mesh, its page in a browser, the routing of its guides, and
//! rounds in which services are killed at every boundary between an effect and its acknowledgement.
//!
//! A component that is missing is a failure where `CI=true`, and elsewhere a skip with its name and reason.
//! `HEDDLE_SCALE` multiplies payments and kills; with 10 there are at least 500.

mod browser;
mod demo;
mod guides;
mod http;
mod kills;
mod page;
mod subscribers;

use heddle_e2e::needs::Need;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::process::ExitCode;

/// Name, what must be installed, and the test, which panics if something is wrong.
type Row = (&'static str, &'static [Need], fn());

#[rustfmt::skip]
const ROWS: [Row; 11] = [
    ("subscriber_merchants_in_python", &[Need::Python], subscribers::merchants_in_python),
    ("subscriber_merchants_in_go", &[Need::GoCompiler], subscribers::merchants_in_go),
    ("subscriber_feed_in_node", &[Need::Node], subscribers::feed_in_node),
    ("subscriber_feed_in_java", &[Need::Javac], subscribers::feed_in_java),
    ("subscriber_notifications_in_go", &[Need::GoCompiler], subscribers::notifications_in_go),
    ("subscriber_notifications_in_node", &[Need::Node], subscribers::notifications_in_node),
    ("page_pays_and_shows_it_in_the_feed", &[Need::Bank, Need::Chromium, Need::Node, Need::Python], page::pays_and_shows_it_in_the_feed),
    ("guides_route_as_they_say", &[Need::Bank, Need::Curl, Need::Node, Need::Python, Need::GoCompiler, Need::Javac], guides::route_as_they_say),
    ("once_ends_clean", &[Need::Bank], kills::once_ends_clean),
    ("once_ends_clean_with_a_proxy_beside_each", &[Need::Bank], kills::beside_each),
    ("kills_at_every_boundary_lose_nothing", &[Need::Bank], kills::at_every_boundary),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each of these fills the machine by itself.
    arguments.test_threads = Some(1);
    let trials = ROWS.into_iter().map(trial).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    conclusion.exit_code()
}

fn trial((name, needs, test): Row) -> Trial {
    Trial::ignorable_test(name, move || {
        let missing = needs.iter().find_map(|need| need.version().err());
        match missing {
            Some(missing) if std::env::var("CI").as_deref() == Ok("true") => {
                Err(Failed::from(missing))
            }
            Some(missing) => {
                eprintln!("skipped {name}: {missing}");
                Ok(Completion::ignored_with(missing))
            }
            None => {
                test();
                Ok(Completion::Completed)
            }
        }
    })
}
