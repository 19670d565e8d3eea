//! `docs/clients.md`: the rows as a table.

use crate::Row;
use heddle_e2e::binary::repository;
use libtest_mimic::Failed;
use std::fmt::Write as _;
use std::path::PathBuf;

/// The table's first two lines.
const HEAD: &str = "\
| client | version tested | way | what the test shows | result | test |
|---|---|---|---|---|---|
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

fn read() -> Result<String, Failed> {
    std::fs::read_to_string(file()).map_err(|error| format!("{}: {error}", file().display()).into())
}

fn is_of_the_table(line: &str) -> bool {
    line.starts_with('|')
}

/// Writes the table over the one that is there, and leaves the text around it.
pub(crate) fn write(rows: &[Row], tested: &[Tested]) {
    let mut table = HEAD.to_owned();
    for row in rows {
        let name = row.name();
        let passed = tested.iter().find(|tested| tested.row.name() == name);
        let (version, result) = match passed {
            Some(tested) => (tested.version.as_str(), "passes"),
            None => ("", "does not pass"),
        };
        writeln!(
            table,
            "| {} | {version} | {} | {} | {result} | `{name}` |",
            row.client, row.way, row.shows
        )
        .expect("a string takes all");
    }
    let text = read().expect("docs/clients.md holds the text around the table");
    let lines = || text.lines().map(|line| format!("{line}\n"));
    let before: String = lines().take_while(|line| !is_of_the_table(line)).collect();
    let after: String = lines()
        .skip_while(|line| !is_of_the_table(line))
        .skip_while(|line| is_of_the_table(line))
        .collect();
    std::fs::write(file(), before + &table + &after).expect("docs/ can be written");
}

/// Compares the rows in the file with those that are run: all of them, in order, word for word.
pub(crate) fn check(rows: &[Row]) -> Result<(), Failed> {
    let text = read()?;
    let written: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| is_of_the_table(line))
        .skip(HEAD.lines().count())
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let mut wrong = Vec::new();
    for (position, row) in rows.iter().enumerate() {
        let (name, found) = (row.name(), written.get(position));
        let expected = [
            row.client,
            row.way,
            row.shows,
            "passes",
            &format!("`{name}`"),
        ];
        let cells = |found: &Vec<&str>| {
            found.len() == 6
                && !found[1].is_empty()
                && [found[0], found[2], found[3], found[4], found[5]] == expected
        };
        if !found.is_some_and(cells) {
            wrong.push(format!("row {}: not {name}: {found:?}", position + 1));
        }
    }
    if written.len() > rows.len() {
        wrong.push(format!("too many: {:?}", &written[rows.len()..]));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "docs/clients.md does not show what is tested; HEDDLE_WRITE_DOCS=1 cargo test -p heddle-e2e --test clients \
         writes it:\n{}",
        wrong.join("\n")
    )
    .into())
}
