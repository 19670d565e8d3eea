//! `docs/clients.md`: the rows as a table.

use crate::Row;
use heddle_e2e::binary::repository;
use libtest_mimic::Failed;
use std::fmt::Write as _;
use std::path::PathBuf;

const INTRODUCTION: &str = "\
# Clients that work through Heddle

Each row is a test of its own (`cargo test -p heddle-e2e --test clients`), run against the real binary with the real
client. `Host` style means that the client connects to the proxy's listener and puts the service's name into `Host` or
`:authority`. `HEDDLE_WRITE_DOCS=1` makes that command write this table; without it, a test compares the rows.
";

/// A row that passed, with the version of its client.
#[derive(Debug, Clone)]
pub(crate) struct Tested {
    pub(crate) row: Row,
    pub(crate) version: String,
}

/// Whether the table is to be written instead of compared.
pub(crate) fn wanted() -> bool {
    std::env::var_os("HEDDLE_WRITE_DOCS").is_some()
}

fn file() -> PathBuf {
    repository().join("docs/clients.md")
}

/// Writes the table.
pub(crate) fn write(rows: &[Row], tested: &[Tested]) {
    let mut text = format!(
        "{INTRODUCTION}\n| client | version tested | way | what the test shows | result |\n|---|---|---|---|---|\n"
    );
    for row in rows {
        let passed = tested.iter().find(|tested| tested.row.name() == row.name());
        let (version, result) = match passed {
            Some(tested) => (tested.version.as_str(), "passes"),
            None => ("", "does not pass"),
        };
        writeln!(
            text,
            "| {} | {version} | {} | {} | {result} |",
            row.client, row.way, row.shows
        )
        .expect("a string takes all");
    }
    std::fs::write(file(), text).expect("docs/ can be written");
}

/// Compares the rows in the file with those that are run.
pub(crate) fn check(rows: &[Row]) -> Result<(), Failed> {
    let text = std::fs::read_to_string(file())
        .map_err(|error| format!("{}: {error}", file().display()))?;
    let cells = |line: &str| -> Vec<String> {
        line.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let written: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(cells)
        .collect();
    let listed: Vec<_> = written
        .iter()
        .map(|row| format!("{}: {}", row[1], row[3]))
        .collect();
    let run: Vec<_> = rows.iter().map(Row::name).collect();
    if listed != run {
        let missing: Vec<_> = run.iter().filter(|name| !listed.contains(name)).collect();
        let stale: Vec<_> = listed.iter().filter(|name| !run.contains(name)).collect();
        return Err(format!(
            "docs/clients.md lacks {missing:?} and has {stale:?} too many (or the order differs): run \
             HEDDLE_WRITE_DOCS=1 cargo test -p heddle-e2e --test clients"
        )
        .into());
    }
    let failing: Vec<_> = written
        .iter()
        .filter(|row| row[5] != "passes")
        .map(|row| &row[1])
        .collect();
    if failing.is_empty() {
        Ok(())
    } else {
        Err(format!("docs/clients.md says these do not pass: {failing:?}").into())
    }
}
