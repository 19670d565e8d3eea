//! Pure. Load estimates: exponential moving averages over irregular samples, and Finagle's peak EWMA.
//!
//! [`PeakEwma`] is the cost that `p2c-peak-ewma` compares: latency times requests in flight, where
//! the latency estimate jumps up at once and comes down with time. It is shared by all workers of a
//! proxy, so its state is a handful of relaxed atomics. Two workers that observe at the same instant
//! may lose one of the two samples; the next sample, or the decay, repairs that.
//!
//! Sources: Finagle `com.twitter.finagle.util.Ema` and
//! `com.twitter.finagle.loadbalancer.p2c.P2CPeakEwma` (the metric inside it).

use crate::Nanos;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The load of an endpoint that has requests in flight and no history: 2⁴⁷−1, beyond any latency in
/// nanoseconds (39 hours) and still exact in an `f64` when requests in flight are added.
///
/// It makes a new endpoint take one request and no further one before it has answered.
pub const PENALTY: f64 = (i64::MAX >> 16) as f64;

/// What a failed attempt counts as, at least, in nanoseconds: 100 ms.
///
/// An endpoint that fails at once looks fast; without this, peak EWMA sends it the more traffic the
/// quicker it fails, until accrual ejects it, and for good where it fails too rarely for that. In the
/// simulator a replica that fails every tenth request loses 97 % of the errors it caused, at the
/// price of 4 % in the 99th percentile (ADR 0004). linkerd2 has the same idea, with 5 s, as an
/// option; 100 ms is enough to be avoided and is made up for within a few decay times.
pub const FAILURE_COST: u64 = 100_000_000;

/// Marks an average that has seen no sample yet.
const UNSET: u64 = u64::MAX;

/// One step of an average: `value` moves towards `sample` the more, the longer ago the last step was.
fn step(value: f64, sample: f64, elapsed: f64, window: f64) -> f64 {
    let kept = if window > 0.0 {
        (-elapsed / window).exp()
    } else {
        0.0
    };
    sample * (1.0 - kept) + value * kept
}

/// An exponential moving average over samples that come at any time.
///
/// ```
/// use heddle_core::ewma::Ema;
/// let mut ema = Ema::new(1000.0);
/// assert_eq!(ema.update(10, 10.0), 10.0);
/// assert!(ema.update(40, 5.0) < 10.0);
/// ema.reset();
/// assert_eq!(ema.last(), 0.0);
/// ```
#[derive(Debug, Clone)]
pub struct Ema {
    window: f64,
    stamp: Option<u64>,
    value: f64,
}

impl Ema {
    /// An average that forgets 63 % of its past over `window`, in the unit of the stamps.
    pub fn new(window: f64) -> Self {
        Self {
            window,
            stamp: None,
            value: 0.0,
        }
    }

    /// Adds a sample and returns the new average. The first sample is taken as it is; a stamp
    /// before the last one counts as simultaneous.
    pub fn update(&mut self, stamp: u64, sample: f64) -> f64 {
        self.value = match self.stamp {
            None => sample,
            Some(last) => step(
                self.value,
                sample,
                stamp.saturating_sub(last) as f64,
                self.window,
            ),
        };
        self.stamp = Some(self.stamp.map_or(stamp, |last| last.max(stamp)));
        self.value
    }

    /// The average so far; 0 without a sample.
    pub fn last(&self) -> f64 {
        self.value
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.stamp = None;
        self.value = 0.0;
    }
}

/// Finagle's peak EWMA of one endpoint, with its count of requests in flight.
///
/// ```
/// use heddle_core::ewma::{PeakEwma, PENALTY};
/// use std::time::Duration;
/// let cost = PeakEwma::new(0, Duration::from_secs(10));
/// assert_eq!(cost.load(0), 0.0); // idle and unknown: worth trying
/// cost.start();
/// assert_eq!(cost.load(0), PENALTY + 1.0); // unknown, and already being tried
/// cost.end(0, 5_000_000);
/// assert_eq!(cost.load(5_000_000), 5_000_000.0); // 5 ms, nothing in flight
/// ```
#[derive(Debug)]
pub struct PeakEwma {
    /// Over how many nanoseconds 63 % of a peak is forgotten.
    decay: f64,
    /// The latest time seen.
    stamp: AtomicU64,
    /// When `value` was computed; `UNSET` before the first sample.
    updated: AtomicU64,
    /// The latency estimate in nanoseconds, as the bits of an `f64`.
    value: AtomicU64,
    pending: AtomicU32,
}

impl PeakEwma {
    /// An endpoint without history, first seen at `now`. Finagle's default `decay` is 10 s.
    pub fn new(now: Nanos, decay: Duration) -> Self {
        Self {
            decay: decay.as_nanos() as f64,
            stamp: AtomicU64::new(now),
            updated: AtomicU64::new(UNSET),
            value: AtomicU64::new(0_f64.to_bits()),
            pending: AtomicU32::new(0),
        }
    }

    /// A request is sent (or a connection for it is asked for).
    pub fn start(&self) {
        self.pending.fetch_add(1, Relaxed);
    }

    /// A request that [`start`](Self::start)ed at `started` is over, answered or not.
    pub fn end(&self, started: Nanos, now: Nanos) {
        self.release();
        self.observe(now, now.saturating_sub(started));
    }

    /// A request that [`start`](Self::start)ed at `started` failed in a way that is the endpoint's
    /// fault: at least [`FAILURE_COST`] is observed.
    pub fn end_failed(&self, started: Nanos, now: Nanos) {
        self.release();
        self.observe(now, now.saturating_sub(started).max(FAILURE_COST));
    }

    /// A started request is over and says nothing about latency.
    pub fn release(&self) {
        // `fetch_update` and not `fetch_sub`: an unmatched call must not wrap to four billion.
        let _ = self
            .pending
            .fetch_update(Relaxed, Relaxed, |pending| pending.checked_sub(1));
    }

    /// A latency of `rtt` nanoseconds was seen at `now`, apart from any started request.
    pub fn observe(&self, now: Nanos, rtt: u64) {
        self.sample(now, rtt as f64);
    }

    /// The cost at `now`: the decayed latency in nanoseconds times one more than the requests in flight.
    ///
    /// Asking is what makes the estimate decay, as in Finagle: it is a sample of zero.
    pub fn load(&self, now: Nanos) -> f64 {
        let value = self.sample(now, 0.0);
        let pending = f64::from(self.pending.load(Relaxed));
        if value == 0.0 && pending != 0.0 {
            PENALTY + pending
        } else {
            value * (pending + 1.0)
        }
    }

    /// The latency estimate in nanoseconds as last computed; 0 without history. Does not decay it.
    pub fn latency(&self) -> f64 {
        f64::from_bits(self.value.load(Relaxed))
    }

    /// Requests in flight.
    pub fn pending(&self) -> u32 {
        self.pending.load(Relaxed)
    }

    /// Forgets the latency and keeps the requests in flight: for an endpoint that comes back from an
    /// ejection, whose time-outs would otherwise keep traffic away for many decay times.
    pub fn forget(&self) {
        self.updated.store(UNSET, Relaxed);
        self.value.store(0_f64.to_bits(), Relaxed);
    }

    fn sample(&self, now: Nanos, rtt: f64) -> f64 {
        let last = self.stamp.load(Relaxed);
        let stamp = last.max(now);
        if stamp != last {
            self.stamp.store(stamp, Relaxed);
        }
        let value = f64::from_bits(self.value.load(Relaxed));
        let updated = self.updated.load(Relaxed);
        let new = if updated == UNSET || rtt > value {
            rtt
        } else if updated >= stamp {
            return value; // no time has passed: the sample has no weight
        } else {
            step(value, rtt, (stamp - updated) as f64, self.decay)
        };
        self.value.store(new.to_bits(), Relaxed);
        self.updated.store(stamp, Relaxed);
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn peak() -> PeakEwma {
        PeakEwma::new(0, Duration::from_secs(10))
    }

    #[test]
    fn a_peak_counts_at_once_and_fades_by_asking() {
        let cost = peak();
        cost.observe(MS, 5 * MS);
        cost.observe(2 * MS, 1000 * MS);
        assert_eq!(cost.load(2 * MS), 1000.0 * MS as f64);
        let after = cost.load(10_002 * MS); // one decay time later
        assert!(
            (after / (1000.0 * MS as f64) - (-1.0_f64).exp()).abs() < 1e-9,
            "{after}"
        );
    }

    #[test]
    fn load_is_multiplied_by_what_is_in_flight() {
        let cost = peak();
        cost.observe(0, 7);
        (0..3).for_each(|_| cost.start());
        assert_eq!(cost.load(0), 28.0);
        cost.release();
        assert_eq!(cost.load(0), 21.0);
    }

    #[test]
    fn an_unknown_endpoint_is_tried_once_and_then_waited_for() {
        let cost = peak();
        assert_eq!(cost.load(0), 0.0);
        cost.start();
        assert_eq!(cost.load(1), PENALTY + 1.0);
        cost.end(0, 3 * MS);
        assert_eq!(cost.load(3 * MS), 3.0 * MS as f64);
    }

    #[test]
    fn what_was_forgotten_is_unknown_again() {
        let cost = peak();
        cost.start();
        cost.observe(0, 1000 * MS);
        cost.forget();
        assert_eq!((cost.pending(), cost.latency()), (1, 0.0));
        cost.end(0, 2 * MS);
        assert_eq!(
            cost.load(2 * MS),
            2.0 * MS as f64,
            "the first sample afterwards is taken whole"
        );
    }

    #[test]
    fn a_quick_failure_is_no_good_latency() {
        let cost = peak();
        cost.start();
        cost.end_failed(0, MS);
        assert_eq!((cost.pending(), cost.load(MS)), (0, FAILURE_COST as f64));
        cost.start();
        cost.end_failed(MS, 1001 * MS);
        assert_eq!(
            cost.load(1001 * MS),
            1000.0 * MS as f64,
            "a slow failure counts in full"
        );
    }

    #[test]
    fn time_that_goes_back_and_unmatched_ends_do_no_harm() {
        let cost = peak();
        cost.observe(10 * MS, 8 * MS);
        cost.end(20 * MS, 5 * MS); // started in its own future
        assert_eq!((cost.pending(), cost.load(MS)), (0, 8.0 * MS as f64));
    }

    #[test]
    fn workers_may_observe_at_once() {
        let cost = peak();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for step in 0..10_000_u64 {
                        cost.start();
                        cost.end(step * MS, step * MS + 5 * MS);
                    }
                });
            }
        });
        assert_eq!(cost.pending(), 0);
        let load = cost.load(10_005 * MS);
        assert!(
            (4.0 * MS as f64..=5.1 * MS as f64).contains(&load),
            "{load}"
        );
    }
}
