//! Whether a request that cannot go to the service at once may wait for its turn.
//!
//! Pure: time is an argument. A queue absorbs a burst; a queue that never empties only makes every
//! answer late. So the wait is generous while the queue comes and goes, and short once it stands
//! (controlled delay: K. Nichols and V. Jacobson, "Controlling Queue Delay", ACM Queue 2012, in the
//! form that servers use it: B. Maurer, "Fail at Scale", ACM Queue 2015).

use crate::Nanos;
use crate::config::Admission;
use std::time::Duration;

/// How long a request waits for a service that has just been started: slow runtimes take this long,
/// and callers commonly give up then.
pub const HELD_WAIT: Duration = Duration::from_secs(30);
/// What is left of the wait, as a divisor, once the queue stands.
const STANDING: u32 = 10;

/// The queue as a request finds it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Queue {
    /// Requests that wait already.
    pub waiting: usize,
    /// Since when there has always been one waiting.
    pub since: Option<Nanos>,
    /// The service has not answered yet since it was started.
    pub held: bool,
}

/// What becomes of a request that cannot go at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It waits so long at most.
    Wait(Duration),
    /// As many wait as may.
    Full,
    /// Its caller has stopped waiting.
    Expired,
}

/// Whether a caller's deadline has passed.
pub fn is_expired(deadline: Option<Nanos>, now: Nanos) -> bool {
    deadline.is_some_and(|deadline| deadline <= now)
}

/// Decides about a request that cannot go at once.
pub fn decide(rules: &Admission, queue: &Queue, deadline: Option<Nanos>, now: Nanos) -> Decision {
    if is_expired(deadline, now) {
        return Decision::Expired;
    }
    if queue.waiting >= rules.queue {
        return Decision::Full;
    }
    let wait = if queue.held {
        HELD_WAIT
    } else if stands(rules, queue, now) {
        rules.queue_wait / STANDING
    } else {
        rules.queue_wait
    };
    let left = deadline.map(|deadline| Duration::from_nanos(deadline.saturating_sub(now)));
    Decision::Wait(left.map_or(wait, |left| left.min(wait)))
}

/// A queue stands when it has not been empty for as long as one may wait in it.
fn stands(rules: &Admission, queue: &Queue, now: Nanos) -> bool {
    queue
        .since
        .is_some_and(|since| u128::from(now.saturating_sub(since)) >= rules.queue_wait.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    #[test]
    fn what_becomes_of_a_request() {
        let rules = Admission {
            concurrency: Some(1),
            queue: 10,
            queue_wait: Duration::from_secs(1),
        };
        let wait = |millis| Decision::Wait(Duration::from_millis(millis));
        let now = 100 * SECOND;
        // waiting, in a queue since, held, deadline, expected
        let table = [
            (0, None, false, None, wait(1000)),
            (9, Some(now - SECOND + 1), false, None, wait(1000)),
            (9, Some(now - SECOND), false, None, wait(100)),
            (10, Some(now), false, None, Decision::Full),
            (0, None, false, Some(now + SECOND / 2), wait(500)),
            (0, None, false, Some(now), Decision::Expired),
            (10, None, false, Some(now - 1), Decision::Expired),
            (5, Some(now - 9 * SECOND), true, None, wait(30_000)),
            (10, None, true, None, Decision::Full),
            (0, None, true, Some(now + 2 * SECOND), wait(2000)),
        ];
        for (waiting, since, held, deadline, expect) in table {
            let queue = Queue {
                waiting,
                since,
                held,
            };
            let found = decide(&rules, &queue, deadline, now);
            assert_eq!(found, expect, "{queue:?} {deadline:?}");
        }
    }
}
