//! Pure. When to send a second attempt beside one that is slow.
//!
//! A [`LatencyTracker`] counts how long the attempts of one name took, in buckets that grow by an
//! eighth of a power of two, and tells a percentile of the last minute or so. All workers share it.
//! It is a thousand bytes, whatever the traffic.
//!
//! Source: "The Tail at Scale" (Dean and Barroso 2013), hedged requests.

use crate::Nanos;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Fewer observations than this decide nothing.
pub const MIN_SAMPLES: u64 = 50;

/// Counts are halved this often, so half of what counts is younger than this.
pub const HALF_LIFE: Duration = Duration::from_secs(30);

/// How long a computed percentile is used.
const FRESH: Nanos = 100_000_000;

/// Buckets for each power of two: a bucket is at most an eighth wider than its lower bound.
const SUB: u64 = 8;
/// The smallest power of two told apart: 2¹⁴ ns, 16 µs.
const LOWEST: u64 = 14;
/// Powers of two covered: the last bucket holds 2³⁸ ns (275 s) and more.
const POWERS: u64 = 24;
const BUCKETS: usize = (SUB * POWERS) as usize + 1;

/// Latencies of the recent past.
///
/// ```
/// use heddle_core::retry::hedge::LatencyTracker;
/// use std::time::Duration;
/// let tracker = LatencyTracker::default();
/// assert_eq!(tracker.percentile(95.0, 0), None); // nothing is known yet
/// for millis in 1..=100 {
///     tracker.record(0, Duration::from_millis(millis));
/// }
/// let after = tracker.percentile(95.0, 0).expect("a hundred samples");
/// assert!((Duration::from_millis(95)..Duration::from_millis(108)).contains(&after));
/// ```
#[derive(Debug)]
pub struct LatencyTracker {
    counts: [AtomicU32; BUCKETS],
    /// When counts were last halved.
    halved: AtomicU64,
    /// The last answer: for which percentile (its bits), when, and what in nanoseconds.
    asked: AtomicU64,
    answered: AtomicU64,
    answer: AtomicU64,
}

/// No answer: too few samples.
const UNKNOWN: u64 = u64::MAX;

impl Default for LatencyTracker {
    fn default() -> Self {
        Self {
            counts: [const { AtomicU32::new(0) }; BUCKETS],
            halved: AtomicU64::new(0),
            asked: AtomicU64::new(UNKNOWN),
            answered: AtomicU64::new(0),
            answer: AtomicU64::new(UNKNOWN),
        }
    }
}

impl LatencyTracker {
    /// An attempt took `latency`, up to the response's head.
    pub fn record(&self, now: Nanos, latency: Duration) {
        self.age(now);
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        let _ =
            self.counts[bucket(nanos)].fetch_update(Relaxed, Relaxed, |count| count.checked_add(1));
    }

    /// The latency that `percent` (0..100) of recent attempts did not exceed: the upper bound of
    /// its bucket. `None` below [`MIN_SAMPLES`]. Computed anew at most every 100 ms.
    pub fn percentile(&self, percent: f64, now: Nanos) -> Option<Duration> {
        let asked = percent.to_bits();
        let fresh = now.saturating_sub(self.answered.load(Relaxed)) < FRESH;
        let known = self.answer.load(Relaxed);
        if known != UNKNOWN && fresh && self.asked.load(Relaxed) == asked {
            return Some(Duration::from_nanos(known));
        }
        self.age(now);
        let answer = self.compute(percent);
        self.answer.store(answer.unwrap_or(UNKNOWN), Relaxed);
        self.answered.store(now, Relaxed);
        self.asked.store(asked, Relaxed);
        answer.map(Duration::from_nanos)
    }

    fn compute(&self, percent: f64) -> Option<u64> {
        let total: u64 = self
            .counts
            .iter()
            .map(|count| u64::from(count.load(Relaxed)))
            .sum();
        if total < MIN_SAMPLES {
            return None;
        }
        let rank = ((percent.clamp(0.0, 100.0) / 100.0 * total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += u64::from(count.load(Relaxed));
            seen >= rank
        });
        Some(upper(at.unwrap_or(BUCKETS - 1)))
    }

    /// Halves the counts once per half life that has passed.
    fn age(&self, now: Nanos) {
        let half_life = HALF_LIFE.as_nanos() as u64;
        let last = self.halved.load(Relaxed);
        let lives = now.saturating_sub(last) / half_life;
        if lives > 0
            && self
                .halved
                .compare_exchange(last, last + lives * half_life, Relaxed, Relaxed)
                .is_ok()
        {
            for count in &self.counts {
                let halve =
                    |count: u32| (count > 0).then(|| count.checked_shr(lives as u32).unwrap_or(0));
                let _ = count.fetch_update(Relaxed, Relaxed, halve);
            }
        }
    }
}

fn bucket(nanos: u64) -> usize {
    let power = u64::from((nanos | 1).ilog2());
    if power < LOWEST {
        return 0;
    }
    let sub = (nanos >> (power - 3)) & (SUB - 1);
    (((power - LOWEST) * SUB + sub) as usize + 1).min(BUCKETS - 1)
}

/// The first nanosecond beyond a bucket.
fn upper(bucket: usize) -> u64 {
    let (power, sub) = (bucket as u64 / SUB + LOWEST, bucket as u64 % SUB);
    (SUB + sub) << (power - 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Rng, Xoshiro};

    #[test]
    fn a_bucket_holds_what_lies_below_its_bound() {
        for nanos in [
            0,
            1,
            16_383,
            16_384,
            16_385,
            18_432,
            1_000_000,
            5_000_000,
            999_999_999,
            200_000_000_000,
        ] {
            let at = bucket(nanos);
            assert!(
                nanos < upper(at),
                "{nanos} in bucket {at} below {}",
                upper(at)
            );
            assert!(
                at == 0 || nanos >= upper(at - 1),
                "{nanos} in bucket {at} from {}",
                upper(at - 1)
            );
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_right_within_a_bucket() {
        let (tracker, mut rng) = (LatencyTracker::default(), Xoshiro::seeded(1));
        let mut all: Vec<u64> = (0..10_000)
            .map(|_| 20_000 + rng.below(80_000_000) as u64)
            .collect();
        all.iter()
            .for_each(|nanos| tracker.record(0, Duration::from_nanos(*nanos)));
        all.sort_unstable();
        for percent in [1, 50, 90, 95, 99] {
            let exact = all[all.len() * percent / 100 - 1] as f64;
            let told = tracker.percentile(percent as f64, 0).unwrap().as_nanos() as f64;
            assert!(
                (exact..exact * 1.13).contains(&told),
                "p{percent}: {told} for {exact}"
            );
        }
    }

    #[test]
    fn few_samples_decide_nothing_and_the_past_fades() {
        let tracker = LatencyTracker::default();
        (1..MIN_SAMPLES).for_each(|_| tracker.record(0, Duration::from_millis(5)));
        assert_eq!(tracker.percentile(95.0, 0), None);
        (0..1000).for_each(|_| tracker.record(0, Duration::from_millis(5)));
        assert!(tracker.percentile(95.0, 1).unwrap() < Duration::from_millis(6));
        let later = HALF_LIFE.as_nanos() as u64 * 4;
        (0..1000).for_each(|_| tracker.record(later, Duration::from_millis(50)));
        assert!(tracker.percentile(95.0, later).unwrap() > Duration::from_millis(50));
        assert_eq!(
            tracker.percentile(95.0, later * 10),
            None,
            "after long silence nothing is known"
        );
    }
}
