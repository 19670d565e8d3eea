//! Pure. When a change is published: at once when it is the first for a while, and together with others when they come
//! in numbers.
//!
//! A single failure of one replica must be known everywhere at once; a rollout of a thousand must not be a thousand
//! messages to each proxy.

use heddle_core::Nanos;

const MILLISECOND: Nanos = 1_000_000;

/// How changes are gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// A change after so much quiet goes out at once.
    pub idle: Nanos,
    /// Others wait for so much quiet behind them.
    pub quiet: Nanos,
    /// But none waits longer than this.
    pub most: Nanos,
}

/// Endpoints: at once when idle for 100 ms, else 25 ms of quiet, at most 250 ms.
pub const ENDPOINTS: Pace = Pace {
    idle: 100 * MILLISECOND,
    quiet: 25 * MILLISECOND,
    most: 250 * MILLISECOND,
};

/// Decides when to publish.
#[derive(Debug, Clone)]
pub struct Debounce {
    pace: Pace,
    published: Option<Nanos>,
    /// When the first and the last change came that are not published.
    waiting: Option<(Nanos, Nanos)>,
}

impl Debounce {
    /// Nothing was published yet.
    pub fn new(pace: Pace) -> Self {
        Self {
            pace,
            published: None,
            waiting: None,
        }
    }

    /// Something changed.
    pub fn changed(&mut self, now: Nanos) {
        let first = self.waiting.map_or(now, |(first, _)| first);
        self.waiting = Some((first, now));
    }

    /// When to publish; `None` when there is nothing to.
    pub fn due(&self) -> Option<Nanos> {
        let (first, last) = self.waiting?;
        let idle = self
            .published
            .is_none_or(|at| first.saturating_sub(at) >= self.pace.idle);
        Some(if idle {
            first
        } else {
            (last + self.pace.quiet).min(first + self.pace.most)
        })
    }

    /// Takes what is due at `now`: whether to publish.
    pub fn take(&mut self, now: Nanos) -> bool {
        let due = self.due().is_some_and(|at| at <= now);
        if due {
            self.waiting = None;
            self.published = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heddle_core::random::{Rng, Xoshiro};

    const MS: Nanos = MILLISECOND;

    /// When things are published that change at these times, in milliseconds.
    fn published(changes: &[u64]) -> Vec<u64> {
        let mut debounce = Debounce::new(ENDPOINTS);
        let mut out = Vec::new();
        let last = changes.last().copied().unwrap_or_default();
        for now in 0..=last + 300 {
            if changes.contains(&now) {
                debounce.changed(now * MS);
            }
            if debounce.take(now * MS) {
                out.push(now);
            }
        }
        out
    }

    #[test]
    fn the_first_goes_at_once_and_a_crowd_goes_together() {
        let table: &[(&[u64], &[u64])] = &[
            (&[], &[]),
            (&[5], &[5]),
            (&[5, 10], &[5, 35]),
            (&[5, 10, 20, 30], &[5, 55]),
            (&[5, 104], &[5, 129]),
            (&[5, 105], &[5, 105]),
        ];
        for (changes, expected) in table {
            assert_eq!(published(changes), *expected, "{changes:?}");
        }
        let storm: Vec<u64> = (0..500).map(|n| n * 2).collect();
        let out = published(&storm);
        assert!(out.len() <= 6, "{out:?}");
    }

    #[test]
    fn nothing_waits_longer_than_the_most_and_nothing_is_forgotten() {
        for seed in 0..200 {
            let mut rng = Xoshiro::seeded(seed);
            let mut debounce = Debounce::new(ENDPOINTS);
            let (mut oldest, mut now) = (None, 0);
            for _ in 0..300 {
                now += rng.next_u64() % (40 * MS);
                if rng.next_u64().is_multiple_of(3) {
                    debounce.changed(now);
                    oldest = oldest.or(Some(now));
                }
                let due = debounce.due();
                assert_eq!(due.is_some(), oldest.is_some(), "seed {seed}");
                if let (Some(due), Some(oldest)) = (due, oldest) {
                    assert!(due <= oldest + ENDPOINTS.most, "seed {seed}");
                }
                if debounce.take(now) {
                    oldest = None;
                }
            }
        }
    }
}
