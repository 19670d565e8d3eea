//! Pure. What an answer of a subscriber means for the event that was delivered.

use std::time::Duration;

/// The longest wait between two tries: a subscriber that comes back after an outage is noticed within it.
pub(super) const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// What came of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// An HTTP status.
    Status(u16),
    /// None: no connection, a connection lost, or a timeout.
    Nothing,
}

/// How many tries of an event have failed, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tries {
    /// All of them; the backoff grows with them.
    pub(super) made: u32,
    /// Those that count against the event: the subscriber itself said no, or it served others meanwhile.
    pub(super) counted: u32,
}

/// What to do with the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It had its effect.
    Done,
    /// Try again after this time.
    Again(Duration),
    /// Set it aside: trying again will not help, or was tried often enough.
    Park,
}

/// Judges a try. `others` says whether the subscriber served any other event since the first try of this one: while it
/// serves nobody it is away, and an outage must not empty a topic into the dead letters. `limit` is the number of counted
/// tries after which an event is parked.
pub(super) fn judge(
    answer: &Answer,
    tries: &mut Tries,
    others: bool,
    limit: u32,
    backoff: Duration,
) -> Verdict {
    let away = match answer {
        Answer::Status(200..=299) => return Verdict::Done,
        // The event is at fault, the subscriber says; it will be tomorrow.
        Answer::Status(400 | 409 | 422) => {
            tries.made = tries.made.saturating_add(1);
            tries.counted = tries.counted.saturating_add(1);
            return Verdict::Park;
        }
        Answer::Status(429 | 502..=504) | Answer::Nothing => true,
        Answer::Status(_) => false,
    };
    let grown = backoff.saturating_mul(1 << tries.made.min(16));
    tries.made = tries.made.saturating_add(1);
    if !away || others {
        tries.counted = tries.counted.saturating_add(1);
    }
    if tries.counted >= limit {
        return Verdict::Park;
    }
    Verdict::Again(grown.min(LONGEST_BACKOFF))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Duration = Duration::from_millis(100);

    #[test]
    fn answers_are_judged() {
        let again = |ms| Verdict::Again(Duration::from_millis(ms));
        for (answer, made, counted, others, verdict) in [
            (Answer::Status(200), 0, 0, false, Verdict::Done),
            (Answer::Status(204), 7, 4, true, Verdict::Done),
            (Answer::Status(400), 0, 0, false, Verdict::Park),
            (Answer::Status(409), 0, 0, false, Verdict::Park),
            (Answer::Status(422), 0, 0, false, Verdict::Park),
            (Answer::Status(500), 0, 0, false, again(100)),
            (Answer::Status(500), 2, 2, false, again(400)),
            (Answer::Status(500), 4, 4, false, Verdict::Park),
            (Answer::Status(404), 4, 4, false, Verdict::Park),
            // Away: however often, unless others are served.
            (Answer::Status(503), 90, 0, false, again(10_000)),
            (Answer::Nothing, 90, 4, false, again(10_000)),
            (Answer::Nothing, 90, 4, true, Verdict::Park),
            (Answer::Status(502), 3, 3, true, again(800)),
            (Answer::Status(429), u32::MAX, 0, false, again(10_000)),
        ] {
            let mut tries = Tries { made, counted };
            let judged = judge(&answer, &mut tries, others, 5, BACKOFF);
            assert_eq!(judged, verdict, "{answer:?} after {made}");
        }
    }

    #[test]
    fn an_event_that_fails_is_parked_after_its_tries() {
        let mut tries = Tries::default();
        let mut waits = Vec::new();
        while let Verdict::Again(wait) = judge(&Answer::Status(500), &mut tries, false, 4, BACKOFF)
        {
            waits.push(wait.as_millis());
        }
        assert_eq!(waits, [100, 200, 400]);
        assert_eq!(tries.counted, 4);
    }
}
