//! `heddle top`: services and replicas of a running proxy, live.

mod figures;
mod live;
mod table;

use crate::admin;
use crate::names::fail;
use figures::Figures;
use serde_json::Value;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;
use table::{Order, View};

/// Width of a table that goes to no terminal.
const PLAIN_WIDTH: usize = 120;
/// Readings are at least so far apart: faster ones would be noise, and load.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
const MAX_INTERVAL: Duration = Duration::from_secs(3600);

/// Watch a running proxy: services and replicas, live
///
/// For each service its requests a second, success, latency percentiles and retries; for each replica its state, latency and
/// load.
///
/// On a terminal it is live: Tab changes between services and replicas, the arrows choose the column to sort by, r turns
/// the order, p pauses, q quits. When its output is piped, or with --once, it prints one table of two readings and ends.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Admin address of a running proxy
    #[arg(long, value_name = "ADMIN", default_value = admin::DEFAULT)]
    admin: String,
    /// What to list first
    #[arg(long, value_enum, default_value = "services")]
    view: View,
    /// Column to sort by: name, rate, success, p50, p95, p99, flight, retries, budget, requests; of replicas name,
    /// status, ewma, rate, flight, failures, connections, requests
    #[arg(long, value_name = "COLUMN")]
    sort: Option<String>,
    /// Print one table and end
    #[arg(long)]
    once: bool,
    /// Time between two readings, such as 1s or 500ms
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> ExitCode {
    match shown(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(message),
    }
}

fn shown(args: &Args) -> Result<(), String> {
    let order = order(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    let terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if args.once || !terminal {
        print!("{}", runtime.block_on(once(args, order))?);
        return Ok(());
    }
    let live = live::Live::new(&args.admin, args.view, order);
    runtime.block_on(live::run(live, args.interval))
}

fn order(args: &Args) -> Result<Order, String> {
    let Some(key) = &args.sort else {
        return Ok(Order::by(match args.view {
            View::Services => 1,
            View::Replicas => 0,
        }));
    };
    args.view.column(key).map(Order::by).ok_or_else(|| {
        let keys: Vec<_> = args
            .view
            .columns()
            .iter()
            .map(|column| column.key)
            .collect();
        format!(
            "there is no column {key:?} to sort by; there are {}",
            keys.join(", ")
        )
    })
}

/// A duration as configuration has them, within bounds.
fn interval(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time; write it as 1s or 500ms");
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    let seconds = number.parse::<f64>().map_err(|_| wrong())? * unit;
    let time = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
    if time < MIN_INTERVAL || time > MAX_INTERVAL {
        return Err(format!(
            "{text} is not between {MIN_INTERVAL:?} and {MAX_INTERVAL:?}"
        ));
    }
    Ok(time)
}

async fn read(admin: &str) -> Result<Value, String> {
    figures::parse(&admin::ask(admin, "/stats.json").await?)
}

async fn once(args: &Args, order: Order) -> Result<String, String> {
    let before = read(&args.admin).await?;
    tokio::time::sleep(args.interval).await;
    let now = read(&args.admin).await?;
    let figures = figures::figures(&now, Some(&before));
    let width = width();
    let (head, rows) = table::lines(&figures, args.view, order, width);
    let mut text = head + "\n";
    for (line, _) in &rows {
        text.push_str(line);
        text.push('\n');
    }
    if rows.is_empty() {
        text.push_str(nothing(args.view));
        text.push('\n');
    }
    for line in remarks(&figures) {
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

/// `COLUMNS` when it is set, else the terminal's width, else wide.
fn width() -> usize {
    let set = std::env::var("COLUMNS")
        .ok()
        .and_then(|text| text.parse().ok());
    let terminal = || {
        let size = std::io::stdout()
            .is_terminal()
            .then(crossterm::terminal::size);
        size.and_then(Result::ok).map(|(columns, _)| columns.into())
    };
    set.or_else(terminal).unwrap_or(PLAIN_WIDTH).clamp(20, 1000)
}

/// What to say in place of rows.
fn nothing(view: View) -> &'static str {
    match view {
        View::Services => "no request has come yet; send one to a listener of the proxy",
        View::Replicas => "no replica set is in use; one appears with the first request",
    }
}

/// What deserves attention beside the table.
fn remarks(figures: &Figures) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(reason) = &figures.not_ready {
        remarks.push(format!("the proxy is not ready: {reason}"));
    }
    if figures.refused {
        remarks.push(format!(
            "the last change of the configuration was refused, generation {} stays; /config says why",
            figures.generation
        ));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read_and_bounded() {
        let cases = [
            ("1s", Some(1000)),
            ("500ms", Some(500)),
            ("2", Some(2000)),
            ("0.5s", Some(500)),
            ("10ms", None),
            ("-1s", None),
            ("soon", None),
            ("1e9s", None),
            ("NaN", None),
        ];
        for (text, expected) in cases {
            let read = interval(text).ok().map(|time| time.as_millis());
            assert_eq!(read, expected, "{text}");
        }
    }
}
