//! The tables of retries, hedging, balancing, accrual and pools of a `Route`.

use super::{DAY, MILLION, PERCENT, POSITIVE_TIME, TIME, count, object, optional, required};
use crate::spec::format;
use crate::spec::shape::{Object, Shape};
use std::time::Duration;

pub(in crate::spec) static RETRIES: Object = object(
    "retries",
    "What is tried again. A request that might be done twice never is: only idempotent methods, requests with an `idempotency-key`, those of a rule with `idempotent: true`, and what an endpoint provably did not start.",
    &[
        optional(
            "on",
            Shape::List {
                of: &Shape::Text(&format::RETRY_ON),
                min: 0,
            },
            "[connect, refused-stream, unused-connection, reset]",
            "Failures worth another try: `connect`, `refused-stream`, `unused-connection`, `reset`, `attempt-timeout`, `5xx`, a status from 400 to 599, or a gRPC status as `grpc:unavailable`. The default holds those that come before an answer; after a `reset`, only what may be done twice is repeated.",
        ),
        optional(
            "max",
            count(0, 10),
            "2",
            "Extra attempts of one request. More multiply load just when there is too much of it.",
        ),
        optional(
            "budget",
            Shape::Object(&BUDGET),
            "",
            "The share of retries over all requests for the name (Finagle's retry budget).",
        ),
        optional(
            "backoff",
            Shape::Object(&BACKOFF),
            "",
            "The wait before an extra attempt.",
        ),
    ],
);

pub(in crate::spec) static BUDGET: Object = object(
    "retry budget",
    "How many retries there may be beside ordinary requests.",
    &[
        optional(
            "ratio",
            Shape::Number {
                min: 0.0,
                max: 1000.0,
            },
            "0.2",
            "Retries per request; 0.2 adds at most a fifth to the load.",
        ),
        optional(
            "minPerSecond",
            count(0, MILLION),
            "10",
            "Retries per second that are always allowed, so that a name with little traffic can retry at all.",
        ),
        optional(
            "window",
            Shape::Time {
                min: Duration::from_secs(1),
                max: Duration::from_secs(60),
            },
            "10s",
            "The time over which both are counted.",
        ),
    ],
);

pub(in crate::spec) static BACKOFF: Object = object(
    "backoff",
    "Random waits between `base` and `max` that grow with each attempt (decorrelated jitter).",
    &[
        optional(
            "base",
            TIME,
            "0s",
            "The first wait. None by default: the next attempt goes to another endpoint.",
        ),
        optional("max", TIME, "0s, or ten times `base`", "The longest wait."),
    ],
);

pub(in crate::spec) static HEDGE: Object = object(
    "hedge",
    "Backup requests (Dean and Barroso 2013).",
    &[required(
        "percentile",
        Shape::Number {
            min: 50.0,
            max: 99.99,
        },
        "The second attempt starts when the first has taken longer than this percentage of past requests.",
    )],
);

pub(in crate::spec) static BALANCER: Object = object(
    "balancer",
    "How an endpoint is chosen.",
    &[
        optional(
            "kind",
            Shape::Word(BALANCERS),
            "p2c-peak-ewma",
            "The algorithm.",
        ),
        optional(
            "decay",
            POSITIVE_TIME,
            "10s",
            "With `p2c-peak-ewma`: how long a latency is remembered. The default is Finagle's.",
        ),
        optional(
            "by",
            Shape::Text(&format::STICKY_KEY),
            "",
            "With `ring-hash`, and required there: what is hashed.",
        ),
        optional(
            "lowLoad",
            Shape::Number { min: 0.0, max: 1e6 },
            "0.5",
            "With `aperture`: below this load per endpoint the window shrinks.",
        ),
        optional(
            "highLoad",
            Shape::Number { min: 0.0, max: 1e6 },
            "2",
            "With `aperture`: above this load per endpoint the window grows.",
        ),
        optional(
            "min",
            count(1, 100_000),
            "1",
            "With `aperture`: the smallest window.",
        ),
        optional(
            "smooth",
            POSITIVE_TIME,
            "5s",
            "With `aperture`: the time over which the load is smoothed.",
        ),
        optional(
            "slowStart",
            Shape::Time {
                min: Duration::ZERO,
                max: Duration::from_secs(3600),
            },
            "10s",
            "A new or returning endpoint gets its full share after this, so that cold caches are not flooded. `0s`: at once.",
        ),
        optional(
            "preferNear",
            Shape::Bool,
            "true",
            "Prefer endpoints of the same node, then of the same zone, as long as they can take the load.",
        ),
    ],
);
static BALANCERS: &[(&str, &str)] = &[
    (
        "p2c-peak-ewma",
        "the better of two random endpoints by latency and requests in flight",
    ),
    (
        "p2c-least-loaded",
        "the better of two random endpoints by requests in flight",
    ),
    ("round-robin", "each in turn"),
    (
        "ring-hash",
        "the same endpoint for the same key, as far as possible",
    ),
    (
        "aperture",
        "the better of two within a window over the endpoints that follows the load",
    ),
];

pub(in crate::spec) static ACCRUAL: Object = object(
    "accrual",
    "When an endpoint is left out because it fails, and for how long.",
    &[
        optional(
            "consecutiveFailures",
            Shape::Choice(&[count(1, 10_000), Shape::Word(OFF)]),
            "5",
            "Left out after so many failures in a row, or `off`. The default is linkerd's.",
        ),
        optional(
            "successRate",
            Shape::Choice(&[Shape::Object(&SUCCESS_RATE), Shape::Word(OFF)]),
            "",
            "Left out when too few requests succeed, or `off`.",
        ),
        optional(
            "minProbe",
            POSITIVE_TIME,
            "1s",
            "The first time out. After it a single request probes.",
        ),
        optional(
            "maxProbe",
            POSITIVE_TIME,
            "60s",
            "The longest time out; it doubles, with jitter, as long as probes fail.",
        ),
        optional(
            "maxEjectedPercent",
            PERCENT,
            "50",
            "At most so much of a set is left out at once, but always at least one endpoint.",
        ),
        optional(
            "failOpen",
            Shape::Bool,
            "false",
            "When no endpoint is left: send to those left out all the same (`true`), or answer 503 at once (`false`).",
        ),
    ],
);
static OFF: &[(&str, &str)] = &[("off", "never by this")];

pub(in crate::spec) static SUCCESS_RATE: Object = object(
    "success rate",
    "When the rate of success is too low.",
    &[
        optional(
            "below",
            Shape::Number { min: 0.0, max: 1.0 },
            "0.8",
            "The least acceptable rate.",
        ),
        optional(
            "window",
            Shape::Time {
                min: Duration::from_secs(1),
                max: DAY,
            },
            "10s",
            "The time over which it is measured.",
        ),
        optional(
            "minRequests",
            count(1, MILLION),
            "5",
            "Fewer requests in the window decide nothing.",
        ),
    ],
);

pub(in crate::spec) static POOL: Object = object(
    "pool",
    "Connections to the endpoints of one replica set, and caps. What is over a cap is refused with 503 at once.",
    &[
        optional(
            "connectTimeout",
            POSITIVE_TIME,
            "1s",
            "Time to connect. The default is linkerd2's.",
        ),
        optional(
            "idle",
            POSITIVE_TIME,
            "3s",
            "An idle HTTP/1 connection is dropped after this. It is shorter than common servers' own limit (Node's is 5 s), so that a request does not meet a closing connection.",
        ),
        optional(
            "lifetime",
            Shape::Choice(&[Shape::Word(OFF), POSITIVE_TIME]),
            "off",
            "A connection older than this takes no further request.",
        ),
        optional(
            "maxConnections",
            count(1, MILLION),
            "10000",
            "Connections per replica set.",
        ),
        optional(
            "maxRequests",
            count(1, 10 * MILLION),
            "100000",
            "Requests in flight per replica set.",
        ),
        optional(
            "maxPending",
            count(0, MILLION),
            "10000",
            "Requests that wait for a connection.",
        ),
        optional(
            "maxStreams",
            count(1, 10_000),
            "100",
            "HTTP/2 streams on a connection before another is opened.",
        ),
        optional(
            "ping",
            POSITIVE_TIME,
            "10s",
            "HTTP/2: the time between pings, which find dead peers.",
        ),
        optional(
            "pingTimeout",
            POSITIVE_TIME,
            "5s",
            "HTTP/2: a ping unanswered for this long closes the connection.",
        ),
        optional(
            "replayBytes",
            count(0, 16 * MILLION),
            "65536",
            "Bytes of a request's body kept for another attempt; a larger body is sent once. The default is linkerd2's.",
        ),
    ],
);
