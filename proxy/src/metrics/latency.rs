//! A histogram of durations that is cheap enough for every request.

use super::family::Sample;
use prometheus::proto;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds in seconds: two to three a decade, from what a proxy adds by itself to the longest sensible timeout.
pub const BUCKETS: [f64; 20] = [
    0.0002, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0,
    2.0, 5.0, 10.0, 30.0, 60.0,
];

/// [`BUCKETS`] in nanoseconds.
const BOUNDS: [u64; BUCKETS.len()] = {
    let (mut bounds, mut i) = ([0; BUCKETS.len()], 0);
    while i < bounds.len() {
        // The smallest bound has four decimals; adding half a nanosecond rounds what binary fractions left over.
        bounds[i] = (BUCKETS[i] * 1e9 + 0.5) as u64;
        i += 1;
    }
    bounds
};

#[derive(Debug, Default)]
struct Cells {
    /// One more than bounds: the last is beyond all.
    buckets: [AtomicU64; BUCKETS.len() + 1],
    /// Wraps after 584 years of waiting.
    sum: AtomicU64,
}

/// Durations by bucket. Clones share it; observing is a search in 20 integers and two relaxed additions.
#[derive(Debug, Clone, Default)]
pub struct Latency(Arc<Cells>);

impl Latency {
    /// Counts one duration.
    #[inline]
    pub fn observe(&self, duration: Duration) {
        self.observe_nanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts one duration given in nanoseconds.
    #[inline]
    pub fn observe_nanos(&self, nanos: u64) {
        let bucket = BOUNDS.partition_point(|&bound| bound < nanos);
        self.0.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.0.sum.fetch_add(nanos, Ordering::Relaxed);
    }

    /// How many were counted in each bucket: one for each of [`BUCKETS`], not cumulated, and one beyond all.
    pub fn counts(&self) -> [u64; BUCKETS.len() + 1] {
        std::array::from_fn(|bucket| self.0.buckets[bucket].load(Ordering::Relaxed))
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.0
            .buckets
            .iter()
            .map(|bucket| bucket.load(Ordering::Relaxed))
            .sum()
    }

    /// The sum of all that was counted, in seconds.
    pub fn sum(&self) -> f64 {
        self.0.sum.load(Ordering::Relaxed) as f64 / 1e9
    }
}

impl Sample for Latency {
    const KIND: proto::MetricType = proto::MetricType::HISTOGRAM;

    fn sample(&self) -> proto::Metric {
        let (mut metric, mut histogram) = (proto::Metric::default(), proto::Histogram::default());
        let (mut buckets, mut cumulative) = (Vec::with_capacity(BUCKETS.len()), 0);
        for (bound, cell) in BUCKETS.iter().zip(&self.0.buckets) {
            cumulative += cell.load(Ordering::Relaxed);
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(cumulative);
            buckets.push(bucket);
        }
        histogram.set_bucket(buckets);
        histogram
            .set_sample_count(cumulative + self.0.buckets[BUCKETS.len()].load(Ordering::Relaxed));
        histogram.set_sample_sum(self.sum());
        metric.set_histogram(histogram);
        metric
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_is_not_below_it() {
        let cases = [
            (0, 0),
            (200_000, 0),
            (200_001, 1),
            (1_000_000, 2),
            (59_999_999_999, 19),
            (60_000_000_001, 20),
        ];
        for (nanos, bucket) in cases {
            let latency = Latency::default();
            latency.observe_nanos(nanos);
            assert_eq!(
                latency.0.buckets[bucket].load(Ordering::Relaxed),
                1,
                "{nanos} ns"
            );
        }
    }

    #[test]
    fn bounds_are_whole_and_rising() {
        assert!(BOUNDS.is_sorted_by(|a, b| a < b));
        assert!(
            BOUNDS.iter().all(|bound| bound % 100_000 == 0),
            "{BOUNDS:?}"
        );
    }

    #[test]
    fn buckets_are_cumulative_and_the_count_includes_what_is_beyond_all() {
        let latency = Latency::default();
        for millis in [1, 1, 40, 100_000] {
            latency.observe(Duration::from_millis(millis));
        }
        let metric = latency.sample();
        let histogram = metric.get_histogram();
        let counts: Vec<u64> = histogram
            .get_bucket()
            .iter()
            .map(proto::Bucket::cumulative_count)
            .collect();
        assert_eq!((counts[1], counts[2], counts[9], counts[19]), (0, 2, 3, 3));
        assert_eq!(histogram.get_sample_count(), 4);
        assert!((histogram.get_sample_sum() - 100.042).abs() < 1e-9);
    }
}
