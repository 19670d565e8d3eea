//! The tables of the rule documents.

use super::{
    DAY, ENDPOINT, MILLION, PERCENT, POSITIVE_TIME, TIME, WEIGHT, count, object, one_of, optional,
    required,
};
use crate::spec::format;
use crate::spec::shape::{Object, Shape};
use std::time::Duration;

/// The version of every document.
pub(in crate::spec) const API_VERSION: &str = "heddle.dev/v1alpha1";

/// The kinds of documents that this version understands, with the shapes of their `spec`.
pub(in crate::spec) static KINDS: &[(&str, &Object)] = &[
    ("Route", &ROUTE),
    ("Dtab", &DTAB),
    ("Cluster", &CLUSTER),
    ("Fault", &FAULT),
];

/// The kinds that are known but refused, with what they come with.
pub(in crate::spec) static LATER_KINDS: &[(&str, &str)] = &[
    ("Canary", "the canary engine"),
    ("Limit", "rate limits"),
    ("Access", "access rules"),
];

/// What stands around every `spec`; `kind` decides which.
pub(in crate::spec) static DOCUMENT: Object = object(
    "document",
    "One rule document, in the shape of Kubernetes objects.",
    &[
        required(
            "apiVersion",
            Shape::Text(&format::TEXT),
            "The version of the rule language, `heddle.dev/v1alpha1`.",
        ),
        required(
            "kind",
            Shape::Text(&format::TEXT),
            "What the document is: `Route`, `Dtab`, `Cluster` or `Fault`.",
        ),
        required("metadata", Shape::Object(&METADATA), "The document's name."),
        required(
            "spec",
            Shape::Document,
            "What the document says; its keys depend on `kind`.",
        ),
    ],
);

pub(in crate::spec) static METADATA: Object = object(
    "metadata",
    "The document's name, as in Kubernetes.",
    &[
        required(
            "name",
            Shape::Text(&format::OBJECT_NAME),
            "Unique for the kind in its namespace.",
        ),
        optional(
            "namespace",
            Shape::Text(&format::LABEL),
            "default",
            "The namespace that the document belongs to.",
        ),
        optional(
            "labels",
            Shape::Map {
                key: &format::TEXT,
                value: &Shape::Text(&format::ANY),
            },
            "",
            "Free labels; not interpreted.",
        ),
        optional(
            "annotations",
            Shape::Map {
                key: &format::TEXT,
                value: &Shape::Text(&format::ANY),
            },
            "",
            "Free remarks; not interpreted.",
        ),
    ],
);

static ROUTE: Object = object(
    "Route",
    "Where the requests for one service go, and how they are tried.",
    &[
        required(
            "service",
            Shape::Text(&format::SERVICE),
            "The service whose requests this is about. `accounts` means that name as called from this namespace, and `accounts.<namespace>` as called from anywhere.",
        ),
        required(
            "rules",
            Shape::List {
                of: &Shape::Object(&RULE),
                min: 1,
            },
            "The rules, of which the first that matches is used. The last should have no `match`; a request that no rule matches is answered 404.",
        ),
        optional(
            "timeout",
            POSITIVE_TIME,
            "none",
            "Bound on the whole request, retries included. None by default: no proxy knows how long a request may take, and a stream may flow for ever.",
        ),
        optional(
            "attemptTimeout",
            POSITIVE_TIME,
            "none",
            "Bound on each attempt, up to the response's head.",
        ),
        optional(
            "retries",
            Shape::Object(&RETRIES),
            "",
            "What is tried again, how often and how fast.",
        ),
        optional(
            "hedge",
            Shape::Object(&HEDGE),
            "",
            "A second attempt while the first is still running; only for requests that may be repeated, and inside the retry budget.",
        ),
        optional(
            "balancer",
            Shape::Object(&BALANCER),
            "",
            "How an endpoint is chosen.",
        ),
        optional(
            "accrual",
            Shape::Object(&ACCRUAL),
            "",
            "When an endpoint is left out because it fails, and for how long.",
        ),
        optional(
            "pool",
            Shape::Object(&POOL),
            "",
            "Connections to the endpoints, and caps.",
        ),
    ],
);

pub(in crate::spec) static RULE: Object = object(
    "rule",
    "What some requests look like, and what is done with them.",
    &[
        optional(
            "match",
            Shape::Object(&MATCH),
            "every request",
            "What a request must look like. All conditions must hold.",
        ),
        optional(
            "to",
            Shape::Choice(&[
                Shape::Text(&format::DESTINATION),
                Shape::Object(&DESTINATION),
                Shape::List { of: &TO, min: 1 },
            ]),
            "",
            "Where the requests go: a service's name, an absolute path, or a list with weights. Required unless `set` answers by itself.",
        ),
        optional(
            "stickyBy",
            Shape::Text(&format::STICKY_KEY),
            "random",
            "What decides between several destinations: `header:<name>`, `cookie:<name>` or `address`. The same key goes to the same destination on every proxy, and raising a weight only adds keys to it. A request without the key is sent at random.",
        ),
        optional(
            "mirror",
            Shape::Object(&MIRROR),
            "",
            "Copies of the requests to somewhere else; the answers are dropped.",
        ),
        optional(
            "set",
            Shape::Object(&SET),
            "",
            "What is changed in the request and its response.",
        ),
        optional(
            "idempotent",
            Shape::Bool,
            "false",
            "The requests of this rule may be repeated whatever their method.",
        ),
    ],
);

static TO: Shape = Shape::Choice(&[
    Shape::Text(&format::DESTINATION),
    Shape::Object(&DESTINATION),
]);

pub(in crate::spec) static DESTINATION: Object = object(
    "destination",
    "One destination with its share.",
    &[
        required(
            "service",
            Shape::Text(&format::DESTINATION),
            "A service's name or an absolute path.",
        ),
        optional(
            "weight",
            WEIGHT,
            "1",
            "Its share relative to the others, of any sum. 0 is legal beside a positive one.",
        ),
    ],
);

pub(in crate::spec) static MATCH: Object = object(
    "match",
    "Conditions on a request, all of which must hold.",
    &[
        optional(
            "method",
            Shape::Choice(&[
                Shape::Text(&format::METHOD),
                Shape::List {
                    of: &Shape::Text(&format::METHOD),
                    min: 1,
                },
            ]),
            "",
            "One of these methods.",
        ),
        optional(
            "path",
            Shape::Choice(&[
                Shape::Text(&format::URL_PATH),
                Shape::Object(&PATH_CONDITION),
            ]),
            "",
            "The path without the query. Text is exact; prefixes match whole segments.",
        ),
        optional(
            "headers",
            Shape::Map {
                key: &format::HEADER,
                value: &CONDITION,
            },
            "",
            "Headers by name. A header that occurs several times matches when one of its values does.",
        ),
        optional(
            "query",
            Shape::Map {
                key: &format::TEXT,
                value: &CONDITION,
            },
            "",
            "Query parameters by name, decoded.",
        ),
        optional(
            "from",
            CONDITION_SHAPE,
            "",
            "The caller: its namespace, its service, or `service.namespace`.",
        ),
    ],
);

const CONDITION_SHAPE: Shape =
    Shape::Choice(&[Shape::Text(&format::ANY), Shape::Object(&CONDITION_OBJECT)]);
static CONDITION: Shape = CONDITION_SHAPE;

pub(in crate::spec) static CONDITION_OBJECT: Object = one_of(
    "condition",
    "A condition on one value; a text alone is `exact`.",
    &["exact", "prefix", "regex", "present"],
    &[
        optional("exact", Shape::Text(&format::ANY), "", "The value is this."),
        optional(
            "prefix",
            Shape::Text(&format::TEXT),
            "",
            "The value begins with this.",
        ),
        optional(
            "regex",
            Shape::Text(&format::REGEX),
            "",
            "The whole value matches this expression.",
        ),
        optional(
            "present",
            Shape::Bool,
            "",
            "The value is there at all (`true`), or is not (`false`).",
        ),
    ],
);

pub(in crate::spec) static PATH_CONDITION: Object = one_of(
    "path condition",
    "A condition on the path; a text alone is `exact`.",
    &["exact", "prefix", "regex"],
    &[
        optional(
            "exact",
            Shape::Text(&format::URL_PATH),
            "",
            "The path is this.",
        ),
        optional(
            "prefix",
            Shape::Text(&format::URL_PATH),
            "",
            "The path begins with these whole segments: `/v1` matches `/v1` and `/v1/x`, not `/v10`.",
        ),
        optional(
            "regex",
            Shape::Text(&format::REGEX),
            "",
            "The whole path matches this expression.",
        ),
    ],
);

pub(in crate::spec) static MIRROR: Object = object(
    "mirror",
    "Copies without effect on the answer.",
    &[
        required(
            "to",
            Shape::Text(&format::DESTINATION),
            "Where the copies go.",
        ),
        optional(
            "percent",
            PERCENT,
            "100",
            "How many of the requests are copied.",
        ),
    ],
);

pub(in crate::spec) static SET: Object = object(
    "set",
    "What is changed in the request and its response.",
    &[
        optional(
            "requestHeaders",
            HEADERS,
            "",
            "Request headers to set. They replace what the caller sent.",
        ),
        optional("responseHeaders", HEADERS, "", "Response headers to set."),
        optional("remove", Shape::Object(&REMOVE), "", "Headers to remove."),
        optional(
            "path",
            Shape::Object(&SET_PATH),
            "",
            "Replaces the path or its prefix; the query stays.",
        ),
        optional(
            "host",
            Shape::Text(&format::AUTHORITY),
            "",
            "Replaces the host that the endpoint sees.",
        ),
        optional(
            "redirect",
            Shape::Choice(&[Shape::Text(&format::LOCATION), Shape::Object(&REDIRECT)]),
            "",
            "Answers with a redirect; nothing is forwarded.",
        ),
        optional(
            "status",
            count(200, 599),
            "",
            "Answers with this status and no body; nothing is forwarded.",
        ),
    ],
);

const HEADERS: Shape = Shape::Map {
    key: &format::HEADER,
    value: &Shape::Text(&format::HEADER_VALUE),
};
const HEADER_NAMES: Shape = Shape::List {
    of: &Shape::Text(&format::HEADER),
    min: 0,
};

pub(in crate::spec) static REMOVE: Object = object(
    "remove",
    "Headers to remove.",
    &[
        optional("requestHeaders", HEADER_NAMES, "[]", "Of the request."),
        optional("responseHeaders", HEADER_NAMES, "[]", "Of the response."),
    ],
);

pub(in crate::spec) static SET_PATH: Object = one_of(
    "path rewrite",
    "How the path changes.",
    &["prefix", "full"],
    &[
        optional(
            "prefix",
            Shape::Text(&format::URL_PATH),
            "",
            "Replaces the prefix that `match.path.prefix` matched; without such a match it goes in front of the path.",
        ),
        optional(
            "full",
            Shape::Text(&format::URL_PATH),
            "",
            "Replaces the whole path.",
        ),
    ],
);

pub(in crate::spec) static REDIRECT: Object = object(
    "redirect",
    "A redirect.",
    &[
        required(
            "location",
            Shape::Text(&format::LOCATION),
            "The value of the Location header.",
        ),
        optional(
            "status",
            Shape::Text(&format::REDIRECT_STATUS),
            "302",
            "301, 302, 303, 307 or 308.",
        ),
    ],
);

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
            "[connect, refused-stream, unused-connection]",
            "Failures worth another try: `connect`, `refused-stream`, `unused-connection`, `reset`, `attempt-timeout`, `5xx`, a status from 400 to 599, or a gRPC status as `grpc:unavailable`. The default holds those that are safe for every request.",
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

static DTAB: Object = object(
    "Dtab",
    "Raw power: dentries that are appended to the base dtab of every listener, in the order of (namespace, name).",
    &[required(
        "dtab",
        Shape::Text(&format::DTAB),
        "The dentries, as text. Later ones win.",
    )],
);

/// A `Cluster`, and an entry of `discovery.static`.
pub(in crate::spec) static CLUSTER: Object = one_of(
    "Cluster",
    "A replica set that is written in configuration: `/#/static/<name>`.",
    &["endpoints", "dns"],
    &[
        optional(
            "endpoints",
            Shape::List {
                of: &ENDPOINT,
                min: 0,
            },
            "",
            "The endpoints, each `host:port`, `host:port * weight` or a map with attributes. An empty list is a set that exists and has no endpoint.",
        ),
        optional(
            "dns",
            Shape::Text(&format::HOST_PORT),
            "",
            "A host and port: all its addresses are the endpoints.",
        ),
        optional(
            "protocol",
            Shape::Word(UPSTREAM),
            "same",
            "What the endpoints speak.",
        ),
    ],
);
static UPSTREAM: &[(&str, &str)] = &[
    ("same", "what the caller spoke"),
    ("http1", "HTTP/1.1"),
    ("http2", "HTTP/2 with prior knowledge"),
];

static FAULT: Object = object(
    "Fault",
    "A failure on purpose, always with an end.",
    &[
        required(
            "service",
            Shape::Text(&format::SERVICE),
            "The service whose requests it meets.",
        ),
        optional(
            "match",
            Shape::Object(&MATCH),
            "every request",
            "Which of them.",
        ),
        optional("percent", PERCENT, "100", "How many of those."),
        optional("delay", POSITIVE_TIME, "", "A wait before anything else."),
        optional(
            "abort",
            Shape::Object(&ABORT),
            "",
            "An answer instead of the service's.",
        ),
        optional(
            "reset",
            Shape::Bool,
            "false",
            "Reset the connection or the stream instead of an answer.",
        ),
        required(
            "until",
            Shape::Time {
                min: Duration::from_secs(1),
                max: DAY,
            },
            "It ends so long after it was applied. Every fault has an end, so that none is forgotten.",
        ),
    ],
);

pub(in crate::spec) static ABORT: Object = one_of(
    "abort",
    "The answer of a fault.",
    &["status", "grpc"],
    &[
        optional("status", count(200, 599), "", "An HTTP status."),
        optional(
            "grpc",
            Shape::Text(&format::GRPC),
            "",
            "A gRPC status by name.",
        ),
    ],
);
