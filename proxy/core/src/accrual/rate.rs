//! Pure. Successes and failures of the recent past, in buckets.

use crate::Nanos;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Buckets of a window; what is older than the window leaves in steps of a tenth of it.
const BUCKETS: u64 = 10;
/// Bits of each of the two counts of a bucket: up to a million requests in a tenth of the window.
const BITS: u32 = 20;
const FULL: u64 = (1 << BITS) - 1;

/// Counts over a sliding window, lock free.
///
/// A bucket is one word: which tenth of the window it holds (24 bits), requests and failures
/// (20 bits each). A full bucket stops counting.
#[derive(Debug, Default)]
pub(super) struct RateWindow([AtomicU64; BUCKETS as usize]);

impl RateWindow {
    pub(super) fn record(&self, now: Nanos, window: Duration, success: bool) {
        let tick = tick(now, window);
        let bucket = &self.0[(tick % BUCKETS) as usize];
        let one = 1 << BITS | u64::from(!success);
        let _ = bucket.fetch_update(Relaxed, Relaxed, |word| {
            match word >> (2 * BITS) == label(tick) {
                true if word >> BITS & FULL == FULL => None,
                true => Some(word + one),
                false => Some(label(tick) << (2 * BITS) | one),
            }
        });
    }

    /// Requests and failures within the window.
    pub(super) fn sum(&self, now: Nanos, window: Duration) -> (u64, u64) {
        let tick = tick(now, window);
        let mut sum = (0, 0);
        for tick in tick.saturating_sub(BUCKETS - 1)..=tick {
            let word = self.0[(tick % BUCKETS) as usize].load(Relaxed);
            if word >> (2 * BITS) == label(tick) {
                sum = (sum.0 + (word >> BITS & FULL), sum.1 + (word & FULL));
            }
        }
        sum
    }

    pub(super) fn clear(&self) {
        for bucket in &self.0 {
            bucket.store(0, Relaxed);
        }
    }
}

fn tick(now: Nanos, window: Duration) -> u64 {
    let width = (window.as_nanos() as u64 / BUCKETS).max(1);
    now / width
}

/// 24 bits of the tick, with which stale buckets are told from fresh ones.
fn label(tick: u64) -> u64 {
    tick & 0xff_ffff
}
