//! Pure. The retry budget: how many retries the traffic of a name can carry.
//!
//! A request deposits, a retry withdraws, and both are forgotten after the window; a reserve allows
//! a minimum of retries per second whatever the traffic. So retries stay a bounded share of the
//! load just when everything fails, which is when they would multiply it.
//!
//! Source: Finagle `com.twitter.finagle.service.RetryBudget` and util's leaky token bucket.

use crate::{Nanos, config};
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What one request deposits (Finagle's `ScaleFactor`).
const DEPOSIT: i64 = 1000;

/// Parts of the window; what is older than the window leaves in steps of a tenth of it.
const SLOTS: usize = 10;

/// A budget shared by all workers.
///
/// ```
/// use heddle_core::{budget::RetryBudget, config::Budget};
/// let budget = RetryBudget::new(&Budget::default()).expect("the default is within the bounds");
/// assert_eq!(budget.balance(0), 100); // the reserve: 10 a second over 10 s
/// for _ in 0..5 {
///     budget.deposit(0);
/// }
/// assert_eq!(budget.balance(0), 101); // five requests buy one retry
/// assert!(budget.try_withdraw(0));
/// ```
#[derive(Debug)]
pub struct RetryBudget {
    deposit: i64,
    cost: i64,
    reserve: i64,
    slot_nanos: u64,
    slots: [Slot; SLOTS],
}

/// A tenth of the window.
#[derive(Debug, Default)]
struct Slot {
    /// Which tenth, counted from the origin of time.
    tick: AtomicU64,
    sum: AtomicI64,
}

/// Why a budget cannot be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BudgetError {
    /// The window is not within 1 s..=60 s.
    Window(Duration),
    /// The minimum per second is negative.
    MinPerSecond(i64),
    /// The ratio is not within 0..=1000.
    Ratio(f64),
}

impl fmt::Display for BudgetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Window(window) => {
                write!(
                    f,
                    "the window of a retry budget is {window:?}; it must be from 1s to 60s"
                )
            }
            Self::MinPerSecond(min) => {
                write!(
                    f,
                    "the minimum of a retry budget is {min} per second; it must not be negative"
                )
            }
            Self::Ratio(ratio) => {
                write!(
                    f,
                    "the ratio of a retry budget is {ratio}; it must be from 0 to 1000 retries per request"
                )
            }
        }
    }
}

impl std::error::Error for BudgetError {}

impl RetryBudget {
    /// A full budget.
    ///
    /// # Errors
    /// When a value is out of Finagle's bounds.
    pub fn new(budget: &config::Budget) -> Result<Self, BudgetError> {
        Self::from_parts(
            budget.window,
            i64::from(budget.min_per_second),
            budget.ratio,
        )
    }

    /// As [`new`](Self::new), from values that no configuration has looked at.
    ///
    /// # Errors
    /// When a value is out of Finagle's bounds.
    pub fn from_parts(
        window: Duration,
        min_per_second: i64,
        ratio: f64,
    ) -> Result<Self, BudgetError> {
        if !(Duration::from_secs(1)..=Duration::from_secs(60)).contains(&window) {
            return Err(BudgetError::Window(window));
        }
        if min_per_second < 0 {
            return Err(BudgetError::MinPerSecond(min_per_second));
        }
        if !(0.0..=1000.0).contains(&ratio) {
            return Err(BudgetError::Ratio(ratio));
        }
        let (deposit, cost) = match ratio {
            0.0 => (0, 1),
            // Saturates for the tiniest ratios: such a budget buys nothing but its reserve.
            _ => (
                DEPOSIT,
                ((DEPOSIT as f64 / ratio).floor() as i64).clamp(1, i64::MAX / 1_000_000),
            ),
        };
        // Finagle counts the window in whole seconds; fractions are kept here.
        let retries = (min_per_second as f64 * window.as_secs_f64()).floor() as i64;
        Ok(Self {
            deposit,
            cost,
            reserve: retries.saturating_mul(cost),
            slot_nanos: (window.as_nanos() as u64).div_ceil(SLOTS as u64),
            slots: Default::default(),
        })
    }

    /// A request (not a retry) begins.
    pub fn deposit(&self, now: Nanos) {
        if self.deposit != 0 {
            self.current(now).sum.fetch_add(self.deposit, Relaxed);
        }
    }

    /// Asks for one retry; `true` when it is granted, and then it is spent.
    ///
    /// Withdrawals within a tenth of the window see each other exactly; at its edge two workers may
    /// both be granted the last retry.
    pub fn try_withdraw(&self, now: Nanos) -> bool {
        let slot = self.current(now);
        loop {
            let before = slot.sum.load(Relaxed);
            if self.available(now) < self.cost {
                return false;
            }
            let after = before.saturating_sub(self.cost);
            if slot
                .sum
                .compare_exchange_weak(before, after, Relaxed, Relaxed)
                .is_ok()
            {
                return true;
            }
        }
    }

    /// Retries left.
    pub fn balance(&self, now: Nanos) -> u64 {
        u64::try_from(self.available(now) / self.cost).unwrap_or(0)
    }

    fn available(&self, now: Nanos) -> i64 {
        let tick = now / self.slot_nanos;
        let live = |slot: &&Slot| tick.abs_diff(slot.tick.load(Relaxed)) < SLOTS as u64;
        let sum = self.slots.iter().filter(live).fold(0_i64, |sum, slot| {
            sum.saturating_add(slot.sum.load(Relaxed))
        });
        sum.saturating_add(self.reserve)
    }

    /// The slot of `now`, emptied of what it held a window ago.
    fn current(&self, now: Nanos) -> &Slot {
        let tick = now / self.slot_nanos;
        let slot = &self.slots[(tick % SLOTS as u64) as usize];
        let held = slot.tick.load(Relaxed);
        if held < tick
            && slot
                .tick
                .compare_exchange(held, tick, Relaxed, Relaxed)
                .is_ok()
        {
            slot.sum.store(0, Relaxed);
        }
        slot
    }
}

/// How often one request may be sent again by a client-side requeue: Finagle's
/// `ceil(share × balance)`, taken when the request begins.
pub fn requeues_per_request(balance: u64, share: f64) -> u64 {
    (share * balance as f64).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    fn budget(window: u64, min: i64, ratio: f64) -> RetryBudget {
        RetryBudget::from_parts(Duration::from_secs(window), min, ratio).unwrap()
    }

    #[test]
    fn values_out_of_bounds_are_refused_with_a_reason() {
        let of = |window, min, ratio| {
            RetryBudget::from_parts(Duration::from_millis(window), min, ratio).err()
        };
        assert_eq!(
            of(999, 1, 0.2),
            Some(BudgetError::Window(Duration::from_millis(999)))
        );
        assert_eq!(
            of(60_001, 1, 0.2),
            Some(BudgetError::Window(Duration::from_millis(60_001)))
        );
        assert_eq!(of(1000, -1, 0.2), Some(BudgetError::MinPerSecond(-1)));
        assert_eq!(of(1000, 0, 1000.5), Some(BudgetError::Ratio(1000.5)));
        assert_eq!(of(1000, 0, -0.1), Some(BudgetError::Ratio(-0.1)));
        assert!(of(1000, 0, f64::NAN).is_some());
        let text = of(1000, 0, 1000.5).unwrap().to_string();
        assert!(
            text.contains("1000.5") && text.contains("from 0 to 1000"),
            "{text}"
        );
    }

    #[test]
    fn five_requests_buy_one_retry() {
        let budget = budget(10, 0, 0.2);
        assert!(!budget.try_withdraw(0));
        (0..5).for_each(|_| budget.deposit(0));
        assert!(budget.try_withdraw(0));
        assert!(!budget.try_withdraw(0));
    }

    #[test]
    fn nothing_at_all_is_never_granted() {
        let budget = budget(10, 0, 0.0);
        (0..100).for_each(|_| budget.deposit(0));
        assert_eq!((budget.balance(0), budget.try_withdraw(0)), (0, false));
    }

    #[test]
    fn the_reserve_comes_back_after_the_window() {
        let budget = budget(10, 1, 0.2);
        assert_eq!((0..20).filter(|_| budget.try_withdraw(0)).count(), 10);
        assert_eq!(budget.balance(9 * SECOND), 0);
        assert_eq!(budget.balance(10 * SECOND), 10);
    }

    #[test]
    fn deposits_leak_away_part_by_part() {
        let budget = budget(10, 0, 1.0);
        (0..10).for_each(|second| budget.deposit(second * SECOND));
        for second in 10..20 {
            assert_eq!(
                budget.balance(second * SECOND),
                19 - second,
                "at {second} s"
            );
        }
    }

    #[test]
    fn a_tiny_ratio_does_not_overflow() {
        let budget = budget(60, 1000, 1e-300);
        budget.deposit(0);
        assert_eq!(budget.balance(0), 60_000);
        assert_eq!(
            (0..60_001).filter(|_| budget.try_withdraw(0)).count(),
            60_000
        );
    }

    #[test]
    fn workers_cannot_overdraw() {
        let budget = budget(10, 10, 0.2);
        let granted: usize = std::thread::scope(|scope| {
            let worker = || (0..1000).filter(|_| budget.try_withdraw(0)).count();
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(worker)).collect();
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap())
                .sum()
        });
        assert_eq!(granted, 100);
    }
}
