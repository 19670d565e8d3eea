//! What a load tells at its end.

use super::journal::Outcome;
use super::order::Order;
use super::proxies::Cost;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Longest time that is told apart, in the histogram's unit: an hour of milliseconds, or 3.6 s of microseconds below.
const LONGEST: u64 = 3_600_000_000;

/// A histogram with three digits.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3)
        .expect("the bounds are in order, and 3 digits are allowed")
}

/// Counted while it runs.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Microseconds from when a request was due to its answer, by name.
    times: BTreeMap<&'static str, Times>,
    counts: BTreeMap<String, u64>,
    tries: u64,
    pub(super) not_sent: u64,
}

#[derive(Debug)]
struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        Self(histogram())
    }
}

impl Tally {
    pub(super) fn count(&mut self, order: &Order, outcome: &Outcome, tries: u64, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.times
            .entry(order.name)
            .or_default()
            .0
            .saturating_record(took);
        self.tries += tries - 1;
        let what = match outcome {
            Outcome::Acknowledged { .. } => format!("{} acknowledged", order.name),
            Outcome::Declined { reason } => format!("{} declined: {reason}", order.name),
            Outcome::Refused { status, code } => format!("{} refused: {status} {code}", order.name),
            Outcome::Unknown { .. } => format!("{} without an answer", order.name),
        };
        if order.payment.is_some() || !matches!(outcome, Outcome::Acknowledged { .. }) {
            *self.counts.entry(what).or_default() += 1;
        }
    }

    pub(super) fn report(self, feed: Histogram<u64>, proxies: Vec<Cost>) -> Report {
        Report {
            tally: self,
            feed,
            proxies,
        }
    }
}

/// A load that is over, for people.
#[derive(Debug)]
pub struct Report {
    tally: Tally,
    /// Milliseconds.
    feed: Histogram<u64>,
    proxies: Vec<Cost>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "latency, in ms, from when a request was due to its answer\n{:<16}{:>9}{:>10}{:>10}{:>10}",
            "", "count", "p50", "p99", "p99.9"
        )?;
        for (name, Times(times)) in &self.tally.times {
            row(f, name, times, 1000.0)?;
        }
        if !self.feed.is_empty() {
            row(f, "event to feed", &self.feed, 1.0)?;
        }
        writeln!(f, "\nanswers to payments, and refusals")?;
        for (what, count) in &self.tally.counts {
            writeln!(f, "{count:>9} {what}")?;
        }
        writeln!(f, "{:>9} times somebody asked again", self.tally.tries)?;
        if self.tally.not_sent > 0 {
            writeln!(
                f,
                "{:>9} not sent: too many were in flight",
                self.tally.not_sent
            )?;
        }
        if !self.proxies.is_empty() {
            writeln!(
                f,
                "\ntime in the two proxies of a call\n{:<16}{:>9}{:>10}{:>18}",
                "", "calls", "ms each", "share of the call"
            )?;
        }
        for cost in &self.proxies {
            writeln!(
                f,
                "{:<16}{:>9}{:>10.2}{:>16.0} %",
                cost.service,
                cost.calls,
                cost.proxies.as_secs_f64() * 1000.0,
                cost.share * 100.0
            )?;
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, times: &Histogram<u64>, unit: f64) -> fmt::Result {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let at = |quantile: f64| times.value_at_quantile(quantile) as f64 / unit;
    writeln!(
        f,
        "{name:<16}{:>9}{:>10.1}{:>10.1}{:>10.1}",
        times.len(),
        at(0.5),
        at(0.99),
        at(0.999)
    )
}
