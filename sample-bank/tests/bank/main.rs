//! The bank's services as processes: the same tests on SQLite and PostgreSQL, on the embedded locks and etcd.
//!
//! A server that is missing is a failure where `CI=true`, and elsewhere a skip with its name and reason
//! (`e2e/setup/install.sh bank` installs both). `HEDDLE_KILLS` says how many kills the kill test wants.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bad_input;
mod book;
mod customers;
mod engine;
mod http;
mod kills;
mod laws;
mod locks;
mod outbox;
mod paused;
mod process;
mod street;

use engine::{Engine, Engines};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;

/// A test of the bank. It panics if something is wrong.
type Test = fn(&Engines, Engine);

#[rustfmt::skip]
const TABLES: [(&str, Test); 20] = [
    ("book_keeps_both_sides", book::keeps_both_sides),
    ("book_holds_captures_releases", book::holds_captures_releases),
    ("book_holds_expire", book::holds_expire),
    ("book_entries_are_never_changed", book::entries_are_never_changed),
    ("book_refuses_stale_fencing_tokens", book::refuses_stale_fencing_tokens),
    ("book_answers_a_key_once", book::answers_a_key_once),
    ("bad_input_of_the_ledger", bad_input::of_the_ledger),
    ("bad_input_of_the_other_services", bad_input::of_the_other_services),
    ("law_same_key_at_once_is_done_once", laws::same_key_at_once_is_done_once),
    ("law_no_account_falls_below_its_floor", laws::no_account_falls_below_its_floor),
    ("law_debits_equal_credits", laws::debits_equal_credits),
    ("law_a_disturbed_database_loses_nothing", laws::a_disturbed_database_loses_nothing),
    ("outbox_is_published_in_order", outbox::is_published_in_order),
    ("outbox_waits_for_the_queue", outbox::waits_for_the_queue),
    ("kills_of_the_ledger_lose_nothing", kills::of_the_ledger_lose_nothing),
    ("kills_of_accounts_and_cards_lose_nothing", kills::of_accounts_and_cards_lose_nothing),
    ("customers_bank", customers::bank),
    ("customers_see_only_their_own", customers::see_only_their_own),
    ("customers_are_staged_by_the_gateway_only", customers::are_staged_by_the_gateway_only),
    ("payments_are_settled_once", customers::payments_are_settled_once),
];

#[rustfmt::skip]
const LOCKS: [(&str, Test); 5] = [
    ("locks_have_one_holder", locks::have_one_holder),
    ("locks_are_waited_for", locks::are_waited_for),
    ("locks_end_with_their_lease", locks::end_with_their_lease),
    ("a_paused_holder_is_refused", locks::a_paused_holder_is_refused),
    ("a_settlement_paused_beyond_its_lease_is_refused", paused::beyond_its_lease),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let engines = Arc::new(Engines::default());
    let mut trials = Vec::new();
    for (name, test) in TABLES {
        for engine in [Engine::Sqlite, Engine::Postgres] {
            trials.push(trial(name, test, engine, &engines));
        }
    }
    for (name, test) in LOCKS {
        for engine in [Engine::Embedded, Engine::Etcd] {
            trials.push(trial(name, test, engine, &engines));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    engines.stop();
    conclusion.exit_code()
}

fn trial(name: &str, test: Test, engine: Engine, engines: &Arc<Engines>) -> Trial {
    let engines = Arc::clone(engines);
    let name = format!("{name}_on_{}", engine.name());
    let shown = name.clone();
    Trial::ignorable_test(name, move || {
        if let Err(missing) = engines.start(engine) {
            if std::env::var("CI").is_ok_and(|value| value == "true") {
                return Err(Failed::from(missing));
            }
            eprintln!("skipped {shown}: {missing}");
            return Ok(Completion::ignored_with(missing));
        }
        match catch_unwind(AssertUnwindSafe(|| test(&engines, engine))) {
            Ok(()) => Ok(Completion::Completed),
            Err(_) => Err(Failed::from("it panicked, as told above")),
        }
    })
}
