//! Foreign clients through the proxy: each row of `docs/clients.md` is one test here.
//!
//! A component that is missing is a failure where `CI=true`, and elsewhere a skip with its name and
//! reason. `HEDDLE_DIRECT=1` runs the rows without the proxy, client against server, where that makes
//! sense: what fails then is not the proxy's fault. `HEDDLE_WRITE_DOCS=1` writes `docs/clients.md`.

mod beside;
mod curl;
mod grpc;
mod http;
mod interim;
mod load;
mod netcat;
mod place;
mod secured;
mod steps;
mod table;
mod websocket;

use heddle_e2e::needs::Need;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use table::Tested;

/// One row: a client, the way it goes through the proxy, and what that shows.
#[derive(Debug, Clone, Copy)]
struct Row {
    /// The client, for people.
    client: &'static str,
    /// How it is told about the proxy.
    way: &'static str,
    /// What the test asserts, in a few words.
    shows: &'static str,
    /// What must be installed; the first one's version is that of the row.
    needs: &'static [Need],
    /// Panics if something is wrong.
    run: fn(),
}

impl Row {
    /// The name of the test: client and way, with `_` for all that is no letter or digit.
    fn name(&self) -> String {
        let text = format!("{} {}", self.client, self.way).to_lowercase();
        let words = text.split(|c: char| !c.is_ascii_alphanumeric());
        let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
        words.join("_")
    }

    fn trial(self, results: &Arc<Mutex<Vec<Tested>>>) -> Trial {
        let results = Arc::clone(results);
        Trial::ignorable_test(self.name(), move || {
            let version = match self.find() {
                Ok(version) => version,
                Err(missing) if std::env::var("CI").is_ok_and(|value| value == "true") => {
                    return Err(Failed::from(missing));
                }
                Err(missing) => {
                    eprintln!("skipped {}: {missing}", self.name());
                    return Ok(Completion::ignored_with(missing));
                }
            };
            (self.run)();
            results
                .lock()
                .expect("no row panics while it holds this")
                .push(Tested { row: self, version });
            Ok(Completion::Completed)
        })
    }

    /// The version of the first need, if all are there.
    fn find(&self) -> Result<String, String> {
        let mut versions = self
            .needs
            .iter()
            .map(|need| need.version())
            .collect::<Result<Vec<_>, _>>()?;
        Ok(versions.swap_remove(0))
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Rows wait more than they compute.
    arguments.test_threads.get_or_insert(3);
    let rows: Vec<Row> = [
        curl::ROWS,
        http::ROWS,
        load::ROWS,
        grpc::ROWS,
        websocket::ROWS,
        netcat::ROWS,
        interim::ROWS,
        beside::ROWS,
        secured::ROWS,
    ]
    .concat();
    let results = Arc::new(Mutex::new(Vec::new()));
    let mut trials: Vec<_> = rows.iter().map(|row| row.trial(&results)).collect();
    let listed = rows.clone();
    if !table::wanted() {
        trials.push(Trial::test(
            "docs_clients_md_lists_exactly_these_rows",
            move || table::check(&listed),
        ));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if table::wanted() {
        table::write(&rows, &results.lock().expect("no row is running"));
    }
    conclusion.exit_code()
}
