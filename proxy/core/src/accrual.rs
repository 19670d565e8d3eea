//! Pure. Failure accrual: when an endpoint is taken out of use, and how it comes back.
//!
//! An endpoint is ejected after failures in a row, or when too few of the recent requests succeeded,
//! whichever comes first. After a jittered, growing time exactly one request probes it; its success
//! brings the endpoint back (and slow start begins), its failure ejects it for longer. A floor holds
//! part of the set in use however bad it looks: when everything fails, the cause is rarely the endpoints.
//!
//! Sources: Finagle `FailureAccrualFactory` (the states) and `FailureAccrualPolicy` (consecutive,
//! windowed success rate, hybrid); Envoy's outlier detection (the floor).

use crate::backoff::nth_equal_jittered;
use crate::config::Accrual;
use crate::random::Rng;
use crate::{Nanos, status::Status};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

mod rate;
use rate::RateWindow;

/// A probe that has not reported back after this (or after `min_probe`, when that is longer) is
/// taken for lost, and another one is allowed.
pub const PROBE_PATIENCE: Duration = Duration::from_secs(10);

/// The share of traffic with which slow start begins (Envoy's `min_weight_percent`, 10 %).
pub const RAMP_FLOOR: f64 = 0.1;

/// What the endpoints of one replica set know of each other: how many there are, and how many are out.
#[derive(Debug, Default)]
pub struct SetHealth {
    total: AtomicUsize,
    ejected: AtomicUsize,
}

impl SetHealth {
    /// A set of `total` endpoints, none ejected.
    pub fn new(total: usize) -> Self {
        Self {
            total: AtomicUsize::new(total),
            ejected: AtomicUsize::new(0),
        }
    }

    /// The set has `total` endpoints from now on. Call [`EndpointHealth::leave`] on those that left.
    pub fn resize(&self, total: usize) {
        self.total.store(total, Relaxed);
    }

    /// Endpoints of the set.
    pub fn total(&self) -> usize {
        self.total.load(Relaxed)
    }

    /// Endpoints that are ejected, those on probation included.
    pub fn ejected(&self) -> usize {
        self.ejected.load(Relaxed)
    }

    /// Takes one of the places for ejected endpoints, if one is free: at most `percent` of the set,
    /// but always one.
    fn eject(&self, percent: f64) -> bool {
        let most = ((self.total() as f64 * percent / 100.0).floor() as usize).max(1);
        self.ejected
            .fetch_update(Relaxed, Relaxed, |ejected| {
                (ejected < most).then_some(ejected + 1)
            })
            .is_ok()
    }

    fn readmit(&self) {
        let _ = self
            .ejected
            .fetch_update(Relaxed, Relaxed, |ejected| ejected.checked_sub(1));
    }

    /// Whether no more than one endpoint is in use.
    fn is_last(&self) -> bool {
        self.ejected() + 1 >= self.total()
    }

    fn all_ejected(&self) -> bool {
        self.ejected() >= self.total()
    }
}

/// Why an endpoint was ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// So many failures in a row.
    Consecutive,
    /// Too low a success rate.
    SuccessRate,
    /// It was ejected, and its probe failed.
    Probe,
}

impl Cause {
    /// A word for metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Consecutive => "consecutive-failures",
            Self::SuccessRate => "success-rate",
            Self::Probe => "probe",
        }
    }
}

/// An ejection that just happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejected {
    /// When the first probe is allowed.
    pub until: Nanos,
    /// Why.
    pub cause: Cause,
}

/// The phases of an endpoint; see [`EndpointHealth`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// In use, since then.
    Alive(Nanos),
    /// Ejected until then; afterwards one probe is allowed.
    Dead(Nanos),
    /// The probe is under way; lost if it has not reported by then.
    Probing(Nanos),
    /// No longer of the set.
    Left,
}

impl Phase {
    /// Two bits of phase, 62 bits of time (146 years).
    fn pack(self) -> u64 {
        match self {
            Self::Alive(time) => time << 2,
            Self::Dead(time) => time << 2 | 1,
            Self::Probing(time) => time << 2 | 2,
            Self::Left => 3,
        }
    }

    fn unpack(word: u64) -> Self {
        match word & 3 {
            0 => Self::Alive(word >> 2),
            1 => Self::Dead(word >> 2),
            2 => Self::Probing(word >> 2),
            _ => Self::Left,
        }
    }
}

/// The health of one endpoint, shared by all workers.
///
/// | phase | status | leaves it by |
/// |---|---|---|
/// | alive | open | too many failures, if the floor allows: dead |
/// | dead, time not over | busy | time |
/// | dead, time over | open | [`try_probe`](Self::try_probe): probing |
/// | probing | busy | success: alive; failure: dead for longer; ignorable: dead, time over; nothing for [`PROBE_PATIENCE`]: as dead, time over |
///
/// ```
/// use heddle_core::accrual::{EndpointHealth, SetHealth};
/// use heddle_core::{config::Accrual, random::Xoshiro, status::Status};
/// let (rules, set, rng) = (Accrual::default(), SetHealth::new(3), &mut Xoshiro::seeded(1));
/// let endpoint = EndpointHealth::new(0);
/// let ejected = (0..5).find_map(|_| endpoint.failure(0, &rules, &set, rng)).expect("five in a row");
/// assert_eq!(endpoint.status(0), Status::Busy);
/// assert!(endpoint.try_probe(ejected.until, &rules)); // one probe ..
/// assert!(!endpoint.try_probe(ejected.until, &rules)); // .. and no second
/// assert!(endpoint.success(ejected.until, &rules, &set)); // revived
/// assert_eq!(endpoint.status(ejected.until), Status::Open);
/// ```
#[derive(Debug)]
pub struct EndpointHealth {
    phase: AtomicU64,
    consecutive: AtomicU32,
    /// Ejections since the endpoint was last alive.
    ejections: AtomicU32,
    window: RateWindow,
}

impl EndpointHealth {
    /// An endpoint that joins its set at `now`, alive.
    pub fn new(now: Nanos) -> Self {
        Self {
            phase: AtomicU64::new(Phase::Alive(now).pack()),
            consecutive: AtomicU32::new(0),
            ejections: AtomicU32::new(0),
            window: RateWindow::default(),
        }
    }

    /// Whether it may be picked: open when alive or due for a probe, busy when ejected or being
    /// probed, closed once it left the set.
    pub fn status(&self, now: Nanos) -> Status {
        match self.phase() {
            Phase::Alive(_) => Status::Open,
            Phase::Dead(until) | Phase::Probing(until) if now >= until => Status::Open,
            Phase::Dead(_) | Phase::Probing(_) => Status::Busy,
            Phase::Left => Status::Closed,
        }
    }

    /// Whether the next request would be a probe.
    pub fn probe_due(&self, now: Nanos) -> bool {
        matches!(self.phase(), Phase::Dead(until) | Phase::Probing(until) if now >= until)
    }

    /// Whether it is in use, neither ejected nor being probed.
    pub fn is_alive(&self) -> bool {
        matches!(self.phase(), Phase::Alive(_))
    }

    /// While ejected: until when; `None` in use or under a probe.
    pub fn ejected_until(&self) -> Option<Nanos> {
        match self.phase() {
            Phase::Dead(until) => Some(until),
            _ => None,
        }
    }

    /// Asked right before a request is sent: `true` for an endpoint in use, and for the one caller
    /// that may probe; `false` when somebody else is probing or the time is not over.
    ///
    /// Whoever got `true` must report by [`success`](Self::success), [`failure`](Self::failure) or
    /// [`ignorable`](Self::ignorable).
    pub fn try_probe(&self, now: Nanos, rules: &Accrual) -> bool {
        let word = self.phase.load(Relaxed);
        match Phase::unpack(word) {
            Phase::Alive(_) => true,
            Phase::Dead(until) | Phase::Probing(until) if now >= until => {
                let lost = after(now, rules.min_probe.max(PROBE_PATIENCE));
                self.change(word, Phase::Probing(lost))
            }
            _ => false,
        }
    }

    /// A request succeeded. `true` when that revived the endpoint: slow start begins, and the caller
    /// should forget the latencies of before ([`PeakEwma::forget`](crate::ewma::PeakEwma::forget)).
    pub fn success(&self, now: Nanos, rules: &Accrual, set: &SetHealth) -> bool {
        let word = self.phase.load(Relaxed);
        match Phase::unpack(word) {
            Phase::Alive(_) => {
                // Most calls end here: look before writing to a shared cache line.
                if self.consecutive.load(Relaxed) != 0 {
                    self.consecutive.store(0, Relaxed);
                }
                if let Some(rate) = &rules.success_rate {
                    self.window.record(now, rate.window, true);
                }
                false
            }
            Phase::Probing(_) if self.change(word, Phase::Alive(now)) => {
                set.readmit();
                self.start_over();
                self.ejections.store(0, Relaxed);
                true
            }
            _ => false,
        }
    }

    /// A request failed. `Some` when that ejected the endpoint.
    ///
    /// Failures of requests that were sent before an ejection count for nothing while it lasts.
    pub fn failure(
        &self,
        now: Nanos,
        rules: &Accrual,
        set: &SetHealth,
        rng: &mut impl Rng,
    ) -> Option<Ejected> {
        let word = self.phase.load(Relaxed);
        let cause = match Phase::unpack(word) {
            Phase::Alive(_) => {
                let cause = self.count_failure(now, rules)?;
                if cause == Cause::SuccessRate && set.is_last() {
                    return None; // half of something is better than all of nothing
                }
                if !set.eject(rules.max_ejected_percent) {
                    return None; // over the floor: stays in use, and is judged again at its next failure
                }
                cause
            }
            Phase::Probing(_) => Cause::Probe,
            Phase::Dead(_) | Phase::Left => return None,
        };
        let until = after(now, self.next_wait(rules, set, rng));
        if self.change(word, Phase::Dead(until)) {
            self.start_over();
            return Some(Ejected { until, cause });
        }
        if cause != Cause::Probe {
            set.readmit(); // another worker was first: give the place back
        }
        None
    }

    /// A request ended in a way that says nothing, such as a caller that hung up at once: a probe is
    /// given back, so that the next request may take it.
    pub fn ignorable(&self, now: Nanos) {
        let word = self.phase.load(Relaxed);
        if matches!(Phase::unpack(word), Phase::Probing(_)) {
            self.change(word, Phase::Dead(now));
        }
    }

    /// The endpoint leaves its set. Whatever is reported later counts for nothing.
    pub fn leave(&self, set: &SetHealth) {
        match Phase::unpack(self.phase.swap(Phase::Left.pack(), Relaxed)) {
            Phase::Dead(_) | Phase::Probing(_) => set.readmit(),
            Phase::Alive(_) | Phase::Left => {}
        }
    }

    /// When it joined, or was last revived; `None` when it is not in use.
    pub fn revived_at(&self) -> Option<Nanos> {
        match self.phase() {
            Phase::Alive(since) => Some(since),
            _ => None,
        }
    }

    /// The share of its traffic that slow start grants: grows evenly from [`RAMP_FLOOR`] to 1 over
    /// `slow_start` since it joined or was revived. 1 when `slow_start` is zero, the floor when ejected.
    pub fn ramp(&self, now: Nanos, slow_start: Duration) -> f64 {
        match self.revived_at() {
            _ if slow_start.is_zero() => 1.0,
            None => RAMP_FLOOR,
            Some(since) => {
                let elapsed = now.saturating_sub(since) as f64;
                (elapsed / slow_start.as_nanos() as f64).clamp(RAMP_FLOOR, 1.0)
            }
        }
    }

    fn phase(&self) -> Phase {
        Phase::unpack(self.phase.load(Relaxed))
    }

    fn change(&self, from: u64, to: Phase) -> bool {
        self.phase
            .compare_exchange(from, to.pack(), Relaxed, Relaxed)
            .is_ok()
    }

    fn start_over(&self) {
        self.consecutive.store(0, Relaxed);
        self.window.clear();
    }

    /// Counts a failure and says which rule it breaks.
    fn count_failure(&self, now: Nanos, rules: &Accrual) -> Option<Cause> {
        let row = self.consecutive.fetch_add(1, Relaxed).saturating_add(1);
        let low = rules.success_rate.as_ref().is_some_and(|rate| {
            self.window.record(now, rate.window, false);
            let (total, failed) = self.window.sum(now, rate.window);
            total >= u64::from(rate.min_requests)
                && (total - failed) as f64 / (total as f64) < rate.below
        });
        match rules.consecutive_failures {
            Some(most) if row >= most => Some(Cause::Consecutive),
            _ => low.then_some(Cause::SuccessRate),
        }
    }

    /// The time out of an ejection: grows with each, unless nothing of the set is left in use. Then
    /// it is `min_probe`, so that an outage that ends is noticed at once.
    fn next_wait(&self, rules: &Accrual, set: &SetHealth, rng: &mut impl Rng) -> Duration {
        if set.all_ejected() {
            return rules.min_probe;
        }
        let before = self.ejections.fetch_add(1, Relaxed);
        nth_equal_jittered(before, rules.min_probe, rules.max_probe, rng)
    }
}

fn after(now: Nanos, wait: Duration) -> Nanos {
    now.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX))
        .min(u64::MAX >> 2)
}

#[cfg(test)]
mod tests;
