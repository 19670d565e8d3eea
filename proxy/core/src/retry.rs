//! Pure. Whether, and when, to try again.
//!
//! Promise: nothing is retried that could be done twice. A request is repeated only when its method
//! is idempotent (RFC 9110 §9.2.2), when somebody declared it so (the rule's `idempotent: true`, an
//! `idempotency-key` header), or when the upstream provably did not start it; and always within the
//! number of attempts, the retry tokens of the hop, the deadline, and the budget.

use crate::backoff::Backoff;
use crate::config::{Retries, RetryOn};
use crate::random::Rng;
use std::time::Duration;

pub mod hedge;

/// The longest wait that an upstream may ask for. A request told to come back later than this is
/// not retried here: holding it would keep the caller's connection for a guess.
pub const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How an attempt went wrong (or may have).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// No connection: refused, unreachable, TLS. Nothing was sent.
    ConnectFailed,
    /// No connection in time. Nothing was sent.
    ConnectTimeout,
    /// A pooled connection proved dead before any byte of the request was written to it.
    Unused,
    /// The upstream said that it did not look at the request: HTTP/2 `REFUSED_STREAM`, or a stream
    /// above the last one of its `GOAWAY`.
    RefusedStream,
    /// The connection or stream ended before a response began.
    Reset {
        /// Whether the connection had served another request before: then it most likely was closed
        /// by the upstream while idle.
        reused: bool,
    },
    /// The attempt was given up after `attemptTimeout`.
    AttemptTimeout,
    /// A response with this HTTP status.
    Status(u16),
    /// A response with this gRPC status code.
    Grpc(u32),
}

/// One finished attempt and what is left for another.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The request's method, in upper case.
    pub method: &'a str,
    /// Whether it was declared repeatable: by the rule or by an `idempotency-key` header.
    pub idempotent: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// The response's `retry-after`, as a time from now.
    pub retry_after: Option<Duration>,
    /// The response's `grpc-retry-pushback-ms`; negative: do not retry (gRFC A6).
    pub pushback_ms: Option<i64>,
    /// Whether the request's body can be sent again.
    pub replayable: bool,
    /// Attempts made so far, at least 1.
    pub attempts: u32,
    /// Retry tokens that the request brought from the hops before; `None`: no limit.
    pub tokens: Option<u32>,
    /// Time until the deadline; `None`: none.
    pub left: Option<Duration>,
}

/// The decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Once more, after this wait. The budget has been charged.
    Retry {
        /// How long to wait.
        after: Duration,
    },
    /// No; the attempt's outcome is the request's.
    Stop(Stop),
}

/// Why there is no further attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stop {
    /// The outcome is not among those to retry.
    NotListed,
    /// It could be done twice.
    NotIdempotent,
    /// The body was too long to keep.
    NotReplayable,
    /// The number of attempts is used up.
    Attempts,
    /// The tokens of the hop are used up.
    Tokens,
    /// The upstream asked not to, or not so soon.
    Pushback,
    /// The wait would pass the deadline.
    Deadline,
    /// The budget is empty.
    Budget,
}

/// Whether a further attempt may be made, and after which wait. `budget` is asked last and only
/// when everything else agrees; it takes a token when it says yes.
pub fn decide(
    retries: &Retries,
    attempt: &Attempt<'_>,
    backoff: &mut Backoff,
    rng: &mut impl Rng,
    budget: impl FnOnce() -> bool,
) -> Verdict {
    match wait_of(retries, attempt, backoff, rng) {
        Err(stop) => Verdict::Stop(stop),
        Ok(after) if budget() => Verdict::Retry { after },
        Ok(_) => Verdict::Stop(Stop::Budget),
    }
}

fn wait_of(
    retries: &Retries,
    attempt: &Attempt<'_>,
    backoff: &mut Backoff,
    rng: &mut impl Rng,
) -> Result<Duration, Stop> {
    let when = |fine: bool, stop: Stop| if fine { Ok(()) } else { Err(stop) };
    when(is_listed(retries, attempt.outcome), Stop::NotListed)?;
    when(
        is_safe(attempt.method, attempt.idempotent, attempt.outcome),
        Stop::NotIdempotent,
    )?;
    when(attempt.replayable, Stop::NotReplayable)?;
    when(attempt.attempts <= retries.max, Stop::Attempts)?;
    when(attempt.tokens != Some(0), Stop::Tokens)?;
    let told = match attempt.pushback_ms {
        Some(millis) => Some(Duration::from_millis(
            u64::try_from(millis).map_err(|_| Stop::Pushback)?,
        )),
        None => attempt.retry_after,
    };
    when(told.is_none_or(|told| told <= LONGEST_WAIT), Stop::Pushback)?;
    let after = backoff.next(rng).max(told.unwrap_or_default());
    when(attempt.left.is_none_or(|left| after < left), Stop::Deadline)?;
    Ok(after)
}

/// Whether `outcome` may be followed by another attempt as far as its kind and promise 3 go: it is
/// listed in `retries.on` (see [`is_listed`]) and nothing would be done twice (see [`is_safe`]).
pub fn may_retry(retries: &Retries, method: &str, idempotent: bool, outcome: Outcome) -> bool {
    retries.max > 0 && is_listed(retries, outcome) && is_safe(method, idempotent, outcome)
}

/// Whether the outcome is one that `retries.on` covers.
///
/// * A dead pooled connection, unused or reused, is the proxy's own affair: it is covered by
///   whatever is listed, and only an empty list excludes it.
/// * A status also covers the failures that the proxy itself would answer with it: 502 covers
///   connect failures and resets, 504 time-outs, `5xx` all of them, 14 and 4 the same in gRPC.
pub fn is_listed(retries: &Retries, outcome: Outcome) -> bool {
    retries.on.iter().any(|on| covers(*on, outcome))
}

fn covers(on: RetryOn, outcome: Outcome) -> bool {
    if matches!(outcome, Outcome::Unused | Outcome::Reset { reused: true }) {
        return true;
    }
    match on {
        RetryOn::Connect => matches!(outcome, Outcome::ConnectFailed | Outcome::ConnectTimeout),
        RetryOn::RefusedStream => outcome == Outcome::RefusedStream,
        RetryOn::UnusedConnection => false,
        RetryOn::Reset => matches!(outcome, Outcome::Reset { .. }),
        RetryOn::AttemptTimeout => outcome == Outcome::AttemptTimeout,
        RetryOn::Status(status) => http_status(outcome) == Some(status),
        RetryOn::ServerError => {
            http_status(outcome).is_some_and(|status| (500..600).contains(&status))
        }
        RetryOn::Grpc(code) => grpc_code(outcome) == Some(code),
    }
}

/// The status that the caller sees.
fn http_status(outcome: Outcome) -> Option<u16> {
    match outcome {
        Outcome::Status(status) => Some(status),
        Outcome::ConnectTimeout | Outcome::AttemptTimeout => Some(504),
        Outcome::Grpc(_) => None,
        _ => Some(502),
    }
}

/// The gRPC code that a gRPC caller sees.
fn grpc_code(outcome: Outcome) -> Option<u32> {
    match outcome {
        Outcome::Grpc(code) => Some(code),
        Outcome::ConnectTimeout | Outcome::AttemptTimeout => Some(4),
        Outcome::Status(_) => None,
        _ => Some(14),
    }
}

/// Whether another attempt cannot do anything twice: the method is idempotent, it was declared so,
/// or the upstream provably did not start.
pub fn is_safe(method: &str, idempotent: bool, outcome: Outcome) -> bool {
    idempotent || is_idempotent(method) || never_started(outcome)
}

/// Idempotent methods of RFC 9110 §9.2.2. `CONNECT` and methods nobody knows are not.
pub fn is_idempotent(method: &str) -> bool {
    matches!(
        method,
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"
    )
}

/// Whether the upstream provably did not start on the request.
pub fn never_started(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::ConnectFailed | Outcome::ConnectTimeout | Outcome::Unused | Outcome::RefusedStream
    )
}

#[cfg(test)]
mod tests;
