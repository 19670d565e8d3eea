//! What rounds add up to. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

/// A spread wider than this share of the median concludes nothing.
pub(super) const TOO_NOISY: f64 = 0.25;

/// One contender in one round.
#[derive(Debug, Clone, Copy, Default)]
pub struct Round {
    /// Requests answered or failed.
    pub requests: u64,
    /// Those that failed.
    pub failed: u64,
    /// Measured time.
    pub elapsed: Duration,
    /// CPU time of the proxy in it; none without a proxy.
    pub cpu: Option<Duration>,
    /// Median latency.
    pub p50: Duration,
    /// 99th percentile.
    pub p99: Duration,
    /// 99.9th percentile.
    pub p999: Duration,
    /// Resident memory of the proxy after it, in bytes.
    pub resident: Option<u64>,
    /// Whether an open loop kept its rate.
    pub kept_rate: bool,
    /// Cores that others kept busy meanwhile.
    pub others: f64,
}

impl Round {
    /// CPU-seconds of the proxy per million requests.
    pub fn cpu_per_million(&self) -> Option<f64> {
        Some(self.cpu?.as_secs_f64() / (self.requests.max(1) as f64) * 1e6)
    }

    /// Requests per second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    pub(super) fn line(&self) -> String {
        let cpu = self
            .cpu_per_million()
            .map_or("no proxy".into(), |cpu| format!("{cpu:6.1} CPU-s/M"));
        format!(
            "{cpu}  {:7.0}/s  p50 {:?}  p99 {:?}  failed {}  others {:.2} cores",
            self.rate(),
            self.p50,
            self.p99,
            self.failed,
            self.others
        )
    }
}

/// Several readings of one figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The middle one (the mean of the two middle ones of an even number).
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
}

impl Spread {
    /// Of at least one reading.
    pub fn of(readings: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = readings.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (&least, &most) = (sorted.first()?, sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            (sorted[middle - 1] + sorted[middle]) / 2.0
        };
        Some(Self {
            median,
            least,
            most,
        })
    }

    /// How far the readings lie apart, as a share of their median.
    pub fn width(&self) -> f64 {
        (self.most - self.least) / self.median.abs().max(f64::MIN_POSITIVE)
    }

    /// Whether they lie too far apart to conclude anything.
    pub fn is_noisy(&self) -> bool {
        self.width() > TOO_NOISY
    }
}

/// One contender over all rounds of a scenario.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Its rounds.
    pub rounds: Vec<Round>,
    /// CPU-seconds per million requests.
    pub cpu: Option<Spread>,
    /// Requests per second.
    pub rate: Spread,
    /// Median latency in microseconds.
    pub p50: Spread,
    /// 99th percentile in microseconds.
    pub p99: Spread,
    /// 99.9th percentile in microseconds.
    pub p999: Spread,
    /// CPU per request over that of other contenders in the same round, by the other's name.
    pub ratios: BTreeMap<String, Spread>,
}

impl Figures {
    /// The figures of every contender that has rounds.
    pub fn over(rounds: &BTreeMap<String, Vec<Round>>) -> BTreeMap<String, Self> {
        rounds
            .iter()
            .filter_map(|(name, own)| Some((name.clone(), Self::of(own, rounds)?)))
            .collect()
    }

    fn of(own: &[Round], all: &BTreeMap<String, Vec<Round>>) -> Option<Self> {
        let over = |figure: &dyn Fn(&Round) -> f64| Spread::of(own.iter().map(figure));
        let ratio =
            |other: &[Round]| {
                Spread::of(own.iter().zip(other).filter_map(|(own, other)| {
                    Some(own.cpu_per_million()? / other.cpu_per_million()?)
                }))
            };
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        Some(Self {
            rounds: own.to_vec(),
            cpu: Spread::of(own.iter().filter_map(Round::cpu_per_million)),
            rate: over(&Round::rate)?,
            p50: over(&|round| micros(round.p50))?,
            p99: over(&|round| micros(round.p99))?,
            p999: over(&|round| micros(round.p999))?,
            ratios: all
                .iter()
                .filter_map(|(name, other)| Some((name.clone(), ratio(other)?)))
                .collect(),
        })
    }

    /// Requests that failed in all rounds.
    pub fn failed(&self) -> u64 {
        self.rounds.iter().map(|round| round.failed).sum()
    }

    /// Largest resident memory after a round, in bytes.
    pub fn resident(&self) -> Option<u64> {
        self.rounds.iter().filter_map(|round| round.resident).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(cpu_micros: u64) -> Round {
        Round {
            requests: 1000,
            elapsed: Duration::from_secs(1),
            cpu: Some(Duration::from_micros(cpu_micros)),
            ..Round::default()
        }
    }

    #[test]
    fn medians_and_noise() {
        for (readings, median, noisy) in [
            (vec![1.0], 1.0, false),
            (vec![3.0, 1.0, 2.0], 2.0, true),
            (vec![100.0, 110.0, 104.0, 106.0], 105.0, false),
        ] {
            let spread = Spread::of(readings.clone()).expect("readings");
            assert_eq!(
                (spread.median, spread.is_noisy()),
                (median, noisy),
                "{readings:?}"
            );
        }
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn ratios_pair_rounds_so_that_drift_cancels() {
        // The machine becomes half as fast in the second round; the ratio stays.
        let rounds = BTreeMap::from([
            ("one".to_owned(), vec![round(30_000), round(60_000)]),
            ("two".to_owned(), vec![round(20_000), round(40_000)]),
        ]);
        let figures = Figures::over(&rounds);
        let ratio = figures["one"].ratios["two"];
        assert!(
            (ratio.median - 1.5).abs() < 1e-9 && !ratio.is_noisy(),
            "{ratio:?}"
        );
        assert!(figures["one"].cpu.expect("a proxy").is_noisy());
        assert!((figures["one"].cpu.expect("a proxy").median - 45.0).abs() < 1e-9);
    }
}
