//! Lines of the log for what happens thousands of times.

use heddle_core::Nanos;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Lets one line through in a while, with the number of those that were held back.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    /// When the last one was let through, and 1; 0: never.
    last: AtomicU64,
    held_back: AtomicU64,
}

/// How long is a while.
const WHILE: Nanos = 10_000_000_000;

impl Seldom {
    /// Whether a line is due: how many there were since the last one, this one included.
    pub(crate) fn due(&self, now: Nanos) -> Option<u64> {
        let last = self.last.load(Relaxed);
        let early = last != 0 && now.saturating_sub(last - 1) < WHILE;
        if early
            || self
                .last
                .compare_exchange(last, now + 1, Relaxed, Relaxed)
                .is_err()
        {
            self.held_back.fetch_add(1, Relaxed);
            return None;
        }
        Some(self.held_back.swap(0, Relaxed) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_ten_seconds_tells_of_all() {
        let seldom = Seldom::default();
        assert_eq!(seldom.due(0), Some(1));
        for now in 1..500 {
            assert_eq!(seldom.due(now * 1_000_000), None);
        }
        assert_eq!(seldom.due(WHILE), Some(500));
        assert_eq!(seldom.due(3 * WHILE), Some(1));
    }
}
