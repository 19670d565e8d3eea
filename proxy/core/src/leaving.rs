//! Pure. Whether an endpoint is about to leave, told by its own answers.
//!
//! A server that drains says with each answer that the connection ends (`Connection: close`, RFC 9112
//! section 9.6) before it closes its listening socket. What reaches that socket at the very moment it
//! closes is reset by the kernel after the connection seemed to stand, and nobody can tell whether a
//! request over it was done. So an endpoint that announces its end gets no new connection while
//! another one is open. A single `close` announces nothing: servers end connections after a number
//! of requests, or after an error, and some never keep one.

use crate::Nanos;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Answers in a row, each of which ends its connection, after which an endpoint is taken to leave.
/// One or two are everyday: a connection that has served its number of requests.
pub const CLOSES: u32 = 3;

/// How long it is taken to leave after the last such answer, in nanoseconds: 5 s, what a drain
/// commonly lasts. Then a request looks whether it is back, which its first answer tells.
pub const LEAVES_FOR: Nanos = 5_000_000_000;

/// Set once an answer has kept its connection: who never does says nothing by ending one.
const KEEPS: u32 = 1 << 31;

/// What the answers of one endpoint say about its staying; shared by all workers.
///
/// ```
/// use heddle_core::leaving::{CLOSES, LEAVES_FOR, Leaving};
/// let endpoint = Leaving::default();
/// endpoint.answered(0, true);
/// let told = (0..CLOSES).filter(|_| endpoint.answered(7, false)).count();
/// assert_eq!(told, 1); // the last of them tells
/// assert!(endpoint.is_leaving(7) && !endpoint.is_leaving(7 + LEAVES_FOR));
/// endpoint.answered(8, true); // it stays after all, or is back
/// assert!(!endpoint.is_leaving(8));
/// ```
#[derive(Debug, Default)]
pub struct Leaving {
    /// Answers in a row that ended their connection, and [`KEEPS`].
    closes: AtomicU32,
    /// Until when it is taken to leave; 0: it is not.
    until: AtomicU64,
}

impl Leaving {
    /// It answered at `now`, and keeps the connection or ends it. `true` when it is taken to leave
    /// since this very answer.
    pub fn answered(&self, now: Nanos, keeps: bool) -> bool {
        let before = self.closes.load(Relaxed);
        if keeps {
            // Most answers end here: look before writing to a shared cache line.
            if before != KEEPS {
                self.closes.store(KEEPS, Relaxed);
                self.until.store(0, Relaxed);
            }
            return false;
        }
        if before & KEEPS == 0 {
            return false;
        }
        let row = (before & !KEEPS).saturating_add(1).min(CLOSES);
        self.closes.store(KEEPS | row, Relaxed);
        if row < CLOSES {
            return false;
        }
        let until = self.until.swap(now.saturating_add(LEAVES_FOR), Relaxed);
        until <= now
    }

    /// Whether it is taken to leave at `now`.
    pub fn is_leaving(&self, now: Nanos) -> bool {
        self.until.load(Relaxed) > now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers as a line: `k` keeps its connection, `c` ends it; `+` lets five seconds pass.
    /// After each, `x` where the endpoint is taken to leave.
    #[test]
    fn answers_in_a_row_tell() {
        for (answers, leaving) in [
            ("kkkk", "...."),
            // Who never keeps a connection says nothing by ending it.
            ("cccccc", "......"),
            ("kcckcck", "......."),
            ("kccc", "...x"),
            ("kccccc", "...xxx"),
            // Back, or it was a coincidence.
            ("kccckccc", "...x...x"),
            // The time is over; one more such answer renews it.
            ("kccc+c", "...x.x"),
            ("kccc+kcc", "...x...."),
        ] {
            let endpoint = Leaving::default();
            let mut now = 1;
            let seen: String = answers
                .chars()
                .map(|answer| {
                    now += 1;
                    match answer {
                        '+' => now += LEAVES_FOR,
                        answer => {
                            endpoint.answered(now, answer == 'k');
                        }
                    }
                    if endpoint.is_leaving(now) { 'x' } else { '.' }
                })
                .collect();
            assert_eq!(seen, leaving, "{answers}");
        }
    }

    #[test]
    fn it_is_told_once_as_long_as_it_lasts() {
        let endpoint = Leaving::default();
        endpoint.answered(1, true);
        let told: Vec<bool> = (0..6).map(|i| endpoint.answered(10 + i, false)).collect();
        assert_eq!(told, [false, false, true, false, false, false]);
        assert!(endpoint.answered(20 + LEAVES_FOR, false), "once more");
    }
}
