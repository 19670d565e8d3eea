//! The tables of the rule documents.

use super::policy::{ACCRUAL, BALANCER, HEDGE, POOL, RETRIES};
use super::tls::UPSTREAM_TLS;
use super::{
    DAY, ENDPOINT, PERCENT, POSITIVE_TIME, WEIGHT, count, object, one_of, optional, required,
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
        optional(
            "tls",
            Shape::Object(&UPSTREAM_TLS),
            "plaintext",
            "TLS towards the endpoints. Files are relative to the file of the document.",
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
