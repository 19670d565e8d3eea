//! Pure. Whether a caller that left an attempt had waited in vain.
//!
//! Nobody says why it goes. Most callers have a time-out, and one that fires shows an endpoint that does not
//! answer; others watch for what may never happen, and have seen enough. Which it was is told by what the
//! request says of itself.

use std::time::Duration;

/// A caller that left after this has a reason in the endpoint, where nothing says how long it meant to wait.
pub const UNTOLD: Duration = Duration::from_secs(1);

/// How long a caller waits before it is let down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// This long, whatever it waits for.
    Bounded(Duration),
    /// It is a gRPC call with this deadline, if it has one: an answer may be quiet until then.
    Call(Option<Duration>),
}

/// Why a caller left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Before anything was late; the time that it waited was spent by the endpoint all the same.
    Early,
    /// It had waited for something that did not come in time.
    LetDown,
    /// It had watched for a while, which says nothing of the endpoint.
    Watch,
}

impl Default for Patience {
    fn default() -> Self {
        Self::Bounded(UNTOLD)
    }
}

impl Patience {
    /// That of a request: `attempt` is its rule's attempt time-out, `grpc` says that it is a gRPC call, and
    /// `deadline` is what is left until its caller's deadline.
    pub fn new(attempt: Option<Duration>, grpc: bool, deadline: Option<Duration>) -> Self {
        match attempt {
            Some(limit) => Self::Bounded(limit),
            None if grpc => Self::Call(deadline),
            None => Self::default(),
        }
    }

    /// Judges a caller that left after having waited for so long.
    ///
    /// A gRPC client resets its call when its deadline passes, and may be a little ahead of the one that the
    /// proxy keeps; the last tenth of the time is taken for that.
    ///
    /// ```
    /// use heddle_core::patience::{Left, Patience};
    /// use std::time::Duration;
    /// let seconds = Duration::from_secs;
    /// assert_eq!(Patience::default().judge(seconds(5)), Left::LetDown);
    /// assert_eq!(Patience::Call(None).judge(seconds(5)), Left::Watch);
    /// ```
    pub fn judge(self, waited: Duration) -> Left {
        let limit = match self {
            Self::Bounded(limit) => limit,
            // A deadline below a second is a time-out like any other.
            Self::Call(Some(deadline)) => (deadline - deadline / 10).max(UNTOLD),
            Self::Call(None) => Duration::MAX,
        };
        if waited >= limit {
            Left::LetDown
        } else if matches!(self, Self::Call(_)) && waited >= UNTOLD {
            Left::Watch
        } else {
            Left::Early
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_caller_that_leaves_says_of_the_endpoint() {
        let ms = Duration::from_millis;
        let rows = [
            ("nothing is known", None, false, None, 999, Left::Early),
            ("nothing is known", None, false, None, 1000, Left::LetDown),
            (
                "a deadline of no gRPC call",
                None,
                false,
                Some(9000),
                1000,
                Left::LetDown,
            ),
            (
                "an attempt time-out",
                Some(5000),
                false,
                None,
                4999,
                Left::Early,
            ),
            (
                "an attempt time-out",
                Some(5000),
                true,
                None,
                4999,
                Left::Early,
            ),
            (
                "an attempt time-out",
                Some(200),
                true,
                None,
                200,
                Left::LetDown,
            ),
            ("a watch", None, true, None, 999, Left::Early),
            ("a watch", None, true, None, 3_600_000, Left::Watch),
            (
                "a deadline far off",
                None,
                true,
                Some(30_000),
                5000,
                Left::Watch,
            ),
            (
                "a deadline that is near",
                None,
                true,
                Some(30_000),
                27_000,
                Left::LetDown,
            ),
            ("a short deadline", None, true, Some(300), 290, Left::Early),
            (
                "no deadline can be too long",
                None,
                true,
                Some(u64::MAX),
                5000,
                Left::Watch,
            ),
        ];
        for (case, attempt, grpc, deadline, waited, left) in rows {
            let patience = Patience::new(attempt.map(ms), grpc, deadline.map(ms));
            assert_eq!(
                patience.judge(ms(waited)),
                left,
                "{case}, after {waited} ms"
            );
        }
    }
}
