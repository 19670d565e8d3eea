//! Pure. Success or failure: what an answer counts as, and what its endpoint is charged with.
//!
//! Two views live here. [`http_class`], [`grpc_class`] and [`charge`] are Heddle's own, for success
//! rates and failure accrual: a failure is the endpoint's fault. [`linkerd`] holds the classifiers of
//! linkerd 1 by their `kind` names, for configurations that come from there.

use std::time::Duration;

pub mod linkerd;

/// What an answer, or its absence, counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The endpoint did its work, whatever it answered.
    Success,
    /// It did not.
    Failure,
    /// It did not, and another attempt may help.
    RetryableFailure,
}

/// A cancelled request that ran at least this long counts as a failure, where no attempt timeout
/// says otherwise: nobody hangs up on an endpoint that answers.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// The class of an HTTP status: 500 to 599 is a failure, and 4xx is the caller's own.
///
/// ```
/// use heddle_core::classify::{Class, http_class};
/// assert_eq!(http_class(404), Class::Success);
/// assert_eq!(http_class(503), Class::Failure);
/// ```
pub fn http_class(status: u16) -> Class {
    if (500..600).contains(&status) {
        Class::Failure
    } else {
        Class::Success
    }
}

/// The class of a gRPC status code.
///
/// Failures are UNKNOWN (2), DEADLINE_EXCEEDED (4), RESOURCE_EXHAUSTED (8), INTERNAL (13),
/// UNAVAILABLE (14), DATA_LOSS (15), and numbers that gRPC does not know, which it treats as UNKNOWN.
/// These are the codes that OpenTelemetry's RPC conventions call errors of the server, without
/// UNIMPLEMENTED (which no other replica would implement) and with RESOURCE_EXHAUSTED (which
/// linkerd2 counts against the endpoint, since another one may have resources left).
pub fn grpc_class(code: u32) -> Class {
    match code {
        0 | 1 | 3 | 5 | 6 | 7 | 9 | 10 | 11 | 12 | 16 => Class::Success,
        _ => Class::Failure,
    }
}

/// How an attempt ended, as far as its endpoint is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// A complete response with this HTTP status.
    Http(u16),
    /// A complete response with this gRPC status code.
    Grpc(u32),
    /// No connection, or it broke before the response was complete, or it broke the protocol.
    Broken,
    /// The proxy gave up: attempt timeout, total timeout or deadline.
    GivenUp,
    /// The upstream refused the stream before looking at it: it is alive, and busy or leaving.
    RefusedStream,
    /// The caller hung up, or its side broke, after the attempt had run for so long.
    Cancelled {
        /// How long.
        ran: Duration,
    },
}

/// What accrual is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// [`success`](crate::accrual::EndpointHealth::success).
    Success,
    /// [`failure`](crate::accrual::EndpointHealth::failure), and for the load
    /// [`PeakEwma::end_failed`](crate::ewma::PeakEwma::end_failed).
    Failure,
    /// [`ignorable`](crate::accrual::EndpointHealth::ignorable).
    Ignorable,
}

/// What an endpoint is told to have done, for accrual. The time of the attempt is an observation of
/// its latency in every case: also a time that was cut short shows how long it took at least.
///
/// ```
/// use heddle_core::classify::{Ending, Verdict, charge};
/// use std::time::Duration;
/// let cancelled = |millis| charge(Ending::Cancelled { ran: Duration::from_millis(millis) }, None);
/// assert_eq!(cancelled(30), Verdict::Ignorable); // a user who closed the page
/// assert_eq!(cancelled(1200), Verdict::Failure); // a caller who had to give up
/// ```
pub fn charge(ending: Ending, attempt_timeout: Option<Duration>) -> Verdict {
    let verdict = |class| {
        if class == Class::Success {
            Verdict::Success
        } else {
            Verdict::Failure
        }
    };
    match ending {
        Ending::Http(status) => verdict(http_class(status)),
        Ending::Grpc(code) => verdict(grpc_class(code)),
        Ending::Broken | Ending::GivenUp => Verdict::Failure,
        Ending::RefusedStream => Verdict::Ignorable,
        Ending::Cancelled { ran } if ran > attempt_timeout.unwrap_or(PATIENCE) => Verdict::Failure,
        Ending::Cancelled { .. } => Verdict::Ignorable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_hundreds_are_the_callers_and_five_hundreds_the_endpoints() {
        for status in 100..=999 {
            let expected = if status / 100 == 5 {
                Class::Failure
            } else {
                Class::Success
            };
            assert_eq!(http_class(status), expected, "{status}");
        }
    }

    #[test]
    fn grpc_codes_that_are_failures() {
        let failures: Vec<u32> = (0..20)
            .filter(|code| grpc_class(*code) == Class::Failure)
            .collect();
        assert_eq!(failures, [2, 4, 8, 13, 14, 15, 17, 18, 19]);
    }

    #[test]
    fn an_endpoint_is_charged_with_what_it_did() {
        let ms = Duration::from_millis;
        let cancelled = |ran| Ending::Cancelled { ran: ms(ran) };
        for (ending, timeout, expected) in [
            (Ending::Http(200), None, Verdict::Success),
            (Ending::Http(429), None, Verdict::Success),
            (Ending::Http(500), None, Verdict::Failure),
            (Ending::Grpc(0), None, Verdict::Success),
            (Ending::Grpc(5), None, Verdict::Success),
            (Ending::Grpc(14), None, Verdict::Failure),
            (Ending::Broken, None, Verdict::Failure),
            (Ending::GivenUp, Some(ms(50)), Verdict::Failure),
            (Ending::RefusedStream, None, Verdict::Ignorable),
            (cancelled(10), None, Verdict::Ignorable),
            (cancelled(1000), None, Verdict::Ignorable),
            (cancelled(1001), None, Verdict::Failure),
            (cancelled(40), Some(ms(50)), Verdict::Ignorable),
            (cancelled(60), Some(ms(50)), Verdict::Failure),
            (cancelled(1500), Some(ms(2000)), Verdict::Ignorable),
        ] {
            assert_eq!(
                charge(ending, timeout),
                expected,
                "{ending:?} with attempt timeout {timeout:?}"
            );
        }
    }
}
