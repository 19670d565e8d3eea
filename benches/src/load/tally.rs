//! Counting samples.

use super::Sample;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest latency that is told apart, in microseconds: 2 minutes. Longer ones count as it.
const LONGEST: u64 = 120_000_000;

/// Counts and latencies of samples.
#[derive(Debug, Clone)]
pub struct Tally {
    latencies: Histogram<u64>,
    succeeded: u64,
    /// Requests by outcome: a status, or [`super::Failure::label`].
    pub outcomes: BTreeMap<String, u64>,
    /// Requests by who answered.
    pub answered: BTreeMap<String, u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            latencies: Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are in order"),
            succeeded: 0,
            outcomes: BTreeMap::new(),
            answered: BTreeMap::new(),
        }
    }
}

impl Tally {
    /// Counts one sample.
    pub fn record(&mut self, sample: &Sample) {
        let micros = u64::try_from(sample.latency.as_micros()).unwrap_or(LONGEST);
        self.latencies.saturating_record(micros.clamp(1, LONGEST));
        self.succeeded += u64::from(sample.succeeded());
        match &sample.outcome {
            Ok(200) => count(&mut self.outcomes, "200"),
            Ok(status) => count(&mut self.outcomes, &status.to_string()),
            Err(failure) => count(&mut self.outcomes, failure.label()),
        }
        if let Some(by) = sample
            .answered_by
            .as_ref()
            .and_then(|value| value.to_str().ok())
        {
            count(&mut self.answered, by);
        }
    }

    /// Samples counted.
    pub fn requests(&self) -> u64 {
        self.latencies.len()
    }

    /// Those answered with 2xx or 3xx.
    pub fn succeeded(&self) -> u64 {
        self.succeeded
    }

    /// Those that were not.
    pub fn failed(&self) -> u64 {
        self.requests() - self.succeeded
    }

    /// The latency that a share `q` (`0.0..=1.0`) of the requests did not exceed; zero without any.
    pub fn quantile(&self, q: f64) -> Duration {
        if self.latencies.is_empty() {
            return Duration::ZERO;
        }
        Duration::from_micros(self.latencies.value_at_quantile(q))
    }
}

fn count(counts: &mut BTreeMap<String, u64>, key: &str) {
    if let Some(n) = counts.get_mut(key) {
        *n += 1;
    } else {
        counts.insert(key.to_owned(), 1);
    }
}
