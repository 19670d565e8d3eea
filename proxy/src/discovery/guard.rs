//! Pure. The mass-loss guard: whether a smaller answer may replace a discovered set at once.
//!
//! A discovery backend that has a bad moment answers with a part of the truth. The guard holds such an
//! answer for at most [`HOLD`], and shorter when the endpoints that it drops refuse connections, because
//! then they really are gone. It never sees written sets (static ones, files): what a person wrote counts.
//!
//! Envoy's panic threshold and Eureka's self-preservation mode guard against the same; both look at health
//! or at renewals, while this one needs nothing but the two sets.

use heddle_core::Nanos;
use std::time::Duration;

/// Sets smaller than this are not guarded: half of three is a rolling restart.
pub(crate) const GUARDED_SIZE: usize = 4;

/// The longest time an answer is held.
pub(crate) const HOLD: Duration = Duration::from_secs(10);

/// What to do with a new answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Use it now.
    Apply,
    /// Keep what there is; see [`ended`].
    Hold,
}

/// Judges an answer of `new` distinct endpoints that is to replace `current` ones.
///
/// Holds it when it leaves fewer than half of at least [`GUARDED_SIZE`]. Endpoints that replace others count
/// as much as those that stay, so a rollout that changes every address passes.
pub(crate) fn judge(current: usize, new: usize) -> Verdict {
    if current >= GUARDED_SIZE && new.saturating_mul(2) < current {
        Verdict::Hold
    } else {
        Verdict::Apply
    }
}

/// Whether a hold that began at `since` is over at `now`: after [`HOLD`], or once at least half of the `lost`
/// endpoints have `refused` a connection.
pub(crate) fn ended(since: Nanos, now: Nanos, lost: usize, refused: usize) -> bool {
    now.saturating_sub(since) >= HOLD.as_nanos() as Nanos
        || (refused > 0 && refused.saturating_mul(2) >= lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_only_the_loss_of_more_than_half_of_at_least_four() {
        use Verdict::{Apply, Hold};
        let table = [
            // (current, new, verdict)
            (0, 0, Apply),
            (1, 0, Apply),
            (3, 0, Apply),
            (3, 1, Apply),
            (4, 0, Hold),
            (4, 1, Hold),
            (4, 2, Apply),
            (4, 4, Apply),
            (4, 9, Apply),
            (5, 2, Hold),
            (5, 3, Apply),
            (100, 49, Hold),
            (100, 50, Apply),
            (usize::MAX, usize::MAX, Apply),
        ];
        for (current, new, verdict) in table {
            assert_eq!(
                judge(current, new),
                verdict,
                "{current} endpoints, then {new}"
            );
        }
    }

    #[test]
    fn ends_by_time_or_when_half_of_the_lost_refuse() {
        let second = 1_000_000_000;
        let table = [
            // (since, now, lost, refused, ended)
            (0, 0, 4, 0, false),
            (0, 9 * second, 4, 0, false),
            (0, 10 * second, 4, 0, true),
            (5 * second, 14 * second, 4, 0, false),
            (5 * second, 15 * second, 4, 0, true),
            (5 * second, 4 * second, 4, 0, false), // a clock that stands never ends it by underflow
            (0, second, 4, 1, false),
            (0, second, 4, 2, true),
            (0, second, 5, 2, false),
            (0, second, 5, 3, true),
            (0, second, 0, 0, false),
        ];
        for (since, now, lost, refused, expect) in table {
            assert_eq!(
                ended(since, now, lost, refused),
                expect,
                "{since} {now} {lost} {refused}"
            );
        }
    }
}
