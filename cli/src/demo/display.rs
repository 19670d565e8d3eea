//! The tour as text: a table that refreshes itself on a terminal, plain lines elsewhere.

use super::board::{Phase, split};
use super::promises::Verdict;
use super::stage::Counters;
use heddle_bench::load::Tally;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::time::Duration;

/// A line of the live table for one replica.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) language: &'static str,
    pub(super) port: u16,
    pub(super) note: &'static str,
}

/// What the live table shows.
#[derive(Debug)]
pub(super) struct Live<'a> {
    pub(super) title: &'a str,
    pub(super) elapsed: Duration,
    pub(super) tally: &'a Tally,
    pub(super) over: Duration,
    pub(super) counters: Counters,
    pub(super) rows: &'a [Row],
}

/// Where the tour is shown.
#[derive(Debug)]
pub(super) struct Display {
    terminal: bool,
    /// Lines of the table on the screen, to be overwritten.
    drawn: usize,
    /// Plain lines are shown every so many refreshes.
    skipped: usize,
}

/// Refreshes for each plain line.
const PLAIN_EVERY: usize = 4;

impl Display {
    pub(super) fn new() -> Self {
        Self {
            terminal: io::stdout().is_terminal(),
            drawn: 0,
            skipped: 0,
        }
    }

    /// A line that stays.
    pub(super) fn say(&mut self, line: &str) -> io::Result<()> {
        self.clear()?;
        writeln!(io::stdout(), "{line}")
    }

    /// Refreshes the table.
    pub(super) fn refresh(&mut self, live: &Live<'_>) -> io::Result<()> {
        if !self.terminal {
            self.skipped += 1;
            if self.skipped.is_multiple_of(PLAIN_EVERY) {
                return writeln!(io::stdout(), "  {}", summary_line(live));
            }
            return Ok(());
        }
        let table = live_table(live);
        self.clear()?;
        let mut out = io::stdout();
        out.write_all(table.as_bytes())?;
        self.drawn = table.lines().count();
        out.flush()
    }

    fn clear(&mut self) -> io::Result<()> {
        if self.drawn > 0 {
            // Up to the table's first line, and away with all below.
            write!(io::stdout(), "\x1b[{}A\x1b[J", self.drawn)?;
            self.drawn = 0;
        }
        Ok(())
    }
}

fn share(part: u64, all: u64) -> f64 {
    part as f64 * 100.0 / all.max(1) as f64
}

fn success(ok: u64, all: u64) -> String {
    if ok == all {
        "100 %".into()
    } else {
        format!("{:.3} %", share(ok, all).min(99.999))
    }
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn summary_line(live: &Live<'_>) -> String {
    let tally = live.tally;
    let (v2, all) = split(&tally.answered, "v2");
    format!(
        "{:>3} s  {:.0} requests/s  success {}  p50 {}  p99 {}  v2 {:.1} %  retries {}  ejected {}",
        live.elapsed.as_secs(),
        tally.requests() as f64 / live.over.as_secs_f64().max(0.001),
        success(tally.succeeded(), tally.requests()),
        millis(tally.quantile(0.5)),
        millis(tally.quantile(0.99)),
        share(v2, all),
        live.counters.retries,
        live.counters.ejected,
    )
}

fn live_table(live: &Live<'_>) -> String {
    let (_, all) = split(&live.tally.answered, "");
    let mut text = format!("\n  {}\n  {}\n\n", live.title, summary_line(live));
    for row in live.rows {
        let own = live.tally.answered.get(&row.name).copied().unwrap_or(0);
        let percent = share(own, all);
        let bar = "█".repeat((percent / 2.0).round() as usize);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "  {:<5} {:<7} :{:<6} {percent:>5.1} % {bar} {}",
            row.name, row.language, row.port, row.note
        );
    }
    text
}

/// The table of a whole tour.
pub(super) fn final_table(phases: &[Phase], replicas: &[Row]) -> String {
    let mut text = format!(
        "\n{:<20} {:>8} {:>9} {:>9} {:>9} {:>9} {:>7}",
        "phase", "requests", "success", "p50", "p99", "max", "v2"
    );
    for row in replicas {
        let _ = write!(text, " {:>6}", row.name);
    }
    text.push('\n');
    for phase in phases {
        let (v2, placed) = phase.split("v2");
        let _ = write!(
            text,
            "{:<20} {:>8} {:>9} {:>9} {:>9} {:>9} {:>6.1}%",
            phase.theme.title(),
            phase.all.requests(),
            success(phase.all.succeeded(), phase.all.requests()),
            millis(phase.all.quantile(0.5)),
            millis(phase.all.quantile(0.99)),
            millis(phase.all.quantile(1.0)),
            share(v2, placed)
        );
        for row in replicas {
            let own = phase.placed.get(&row.name).copied().unwrap_or(0);
            let _ = write!(text, " {:>5.1}%", share(own, placed));
        }
        text.push('\n');
    }
    text.push_str("Shares of v2 and of each replica count from when a phase had settled: a shift after the reload, the slow replica after 5 s.\n");
    text
}

/// The verdicts and, last, whether all promises were kept.
pub(super) fn verdict_lines(verdicts: &[Verdict]) -> String {
    let mut text = String::from("\n");
    for verdict in verdicts {
        let _ = writeln!(
            text,
            "{}  {}",
            if verdict.kept { "kept  " } else { "BROKEN" },
            verdict.text
        );
    }
    let broken = verdicts.iter().filter(|verdict| !verdict.kept).count();
    text.push_str(&match broken {
        0 => "\nPROMISES KEPT\n".to_owned(),
        1 => "\n1 PROMISE BROKE\n".to_owned(),
        n => format!("\n{n} PROMISES BROKE\n"),
    });
    text
}
