//! Pure. How long to wait before trying again.
//!
//! Sources: Finagle `com.twitter.finagle.Backoff` (`const`, `decorrelatedJittered`, `equalJittered`),
//! after "Exponential Backoff And Jitter" (Brooker 2015).

use crate::config;
use crate::random::Rng;
use std::time::Duration;

/// A sequence of waits that never ends. Like an iterator, with the randomness as an argument.
///
/// ```
/// use heddle_core::{backoff::Backoff, random::Xoshiro};
/// use std::time::Duration;
/// let (base, max) = (Duration::from_millis(25), Duration::from_millis(250));
/// let mut waits = Backoff::decorrelated(base, max);
/// let rng = &mut Xoshiro::seeded(1);
/// assert_eq!(waits.next(rng), base);
/// assert!((0..100).all(|_| (base..=max).contains(&waits.next(rng))));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    kind: Kind,
    start: Duration,
    max: Duration,
    /// Decorrelated: the last wait.
    last: Option<Duration>,
    /// Equal jitter: how many waits were given.
    given: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Constant,
    Decorrelated,
    EqualJittered,
}

impl Backoff {
    /// Always the same wait.
    pub fn constant(wait: Duration) -> Self {
        Self {
            kind: Kind::Constant,
            start: wait,
            max: wait,
            last: None,
            given: 0,
        }
    }

    /// First `start`, then each uniformly between the last and three times the last, `max` at most.
    pub fn decorrelated(start: Duration, max: Duration) -> Self {
        Self {
            kind: Kind::Decorrelated,
            start,
            max: max.max(start),
            last: None,
            given: 0,
        }
    }

    /// First `start`, then `start·2ⁿ⁻¹` plus as much again at random, then `max`.
    pub fn equal_jittered(start: Duration, max: Duration) -> Self {
        Self {
            kind: Kind::EqualJittered,
            start,
            max: max.max(start),
            last: None,
            given: 0,
        }
    }

    /// The next wait.
    pub fn next(&mut self, rng: &mut impl Rng) -> Duration {
        match self.kind {
            Kind::Constant => self.start,
            Kind::Decorrelated => {
                let wait = match self.last {
                    None => self.start,
                    Some(last) => last + upto(last.saturating_mul(3).min(self.max) - last, rng),
                };
                self.last = Some(wait);
                wait
            }
            Kind::EqualJittered => {
                let wait = nth_equal_jittered(self.given, self.start, self.max, rng);
                self.given = self.given.saturating_add(1);
                wait
            }
        }
    }
}

impl From<config::Backoff> for Backoff {
    /// Retries wait with decorrelated jitter.
    fn from(backoff: config::Backoff) -> Self {
        Self::decorrelated(backoff.base, backoff.max)
    }
}

/// The wait number `n` (from 0) of [`Backoff::equal_jittered`], for those who keep only the number.
pub fn nth_equal_jittered(n: u32, start: Duration, max: Duration, rng: &mut impl Rng) -> Duration {
    if n == 0 {
        return start;
    }
    let half = 1_u32
        .checked_shl(n - 1)
        .map_or(max, |factor| start.saturating_mul(factor));
    half.saturating_add(upto(half, rng)).min(max.max(start))
}

/// A uniform duration in `[0, bound)`; zero when the bound is.
fn upto(bound: Duration, rng: &mut impl Rng) -> Duration {
    let nanos = usize::try_from(bound.as_nanos()).unwrap_or(usize::MAX);
    if nanos == 0 {
        Duration::ZERO
    } else {
        Duration::from_nanos(rng.below(nanos) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Xoshiro;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn constant_is_constant() {
        let mut waits = Backoff::constant(MS);
        assert!((0..3).all(|_| waits.next(&mut Xoshiro::seeded(1)) == MS));
    }

    #[test]
    fn no_wait_stays_no_wait() {
        let mut waits = Backoff::from(config::Backoff {
            base: Duration::ZERO,
            max: Duration::ZERO,
        });
        assert!((0..5).all(|_| waits.next(&mut Xoshiro::seeded(1)).is_zero()));
    }

    #[test]
    fn decorrelated_waits_start_at_the_base_grow_at_most_threefold_and_stop_at_the_maximum() {
        for seed in 0..200 {
            let rng = &mut Xoshiro::seeded(seed);
            let mut waits = Backoff::decorrelated(25 * MS, 250 * MS);
            let mut last = waits.next(rng);
            assert_eq!(last, 25 * MS);
            for _ in 0..50 {
                let wait = waits.next(rng);
                assert!(
                    wait >= last && wait <= (last * 3).min(250 * MS),
                    "seed {seed}: {last:?} then {wait:?}"
                );
                last = wait;
            }
        }
    }

    #[test]
    fn equal_jitter_doubles_its_lower_half() {
        for seed in 0..200 {
            let rng = &mut Xoshiro::seeded(seed);
            let (start, max) = (Duration::from_secs(1), Duration::from_secs(60));
            let mut waits = Backoff::equal_jittered(start, max);
            assert_eq!(waits.next(rng), start);
            for n in 0..40 {
                let (wait, low) = (waits.next(rng), start * 2_u32.pow(n.min(8)));
                assert!(
                    wait >= low.min(max) && wait <= (low * 2).min(max),
                    "seed {seed}, wait {n}: {wait:?}"
                );
            }
            assert_eq!(waits.next(rng), max);
        }
    }
}
