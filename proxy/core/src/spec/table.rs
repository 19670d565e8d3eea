//! The tables of the proxy's own file: every key, its shape, its default and why.
//!
//! Pure. The checker, `schemas/`, and the reference parts of `docs/` are made from these.

use super::format;
use super::shape::{Field, Object, Shape};
use std::time::Duration;

pub(super) mod mesh;
pub(super) mod policy;
pub(super) mod rules;
pub(super) mod sight;
pub(super) mod tls;

pub(super) const fn required(key: &'static str, shape: Shape, about: &'static str) -> Field {
    Field {
        key,
        shape,
        required: true,
        default: "",
        about,
    }
}

pub(super) const fn optional(
    key: &'static str,
    shape: Shape,
    default: &'static str,
    about: &'static str,
) -> Field {
    Field {
        key,
        shape,
        required: false,
        default,
        about,
    }
}

pub(super) const fn object(
    name: &'static str,
    about: &'static str,
    fields: &'static [Field],
) -> Object {
    Object {
        name,
        about,
        fields,
        exactly_one: &[],
    }
}

pub(super) const fn one_of(
    name: &'static str,
    about: &'static str,
    exactly_one: &'static [&'static str],
    fields: &'static [Field],
) -> Object {
    Object {
        name,
        about,
        fields,
        exactly_one,
    }
}

pub(super) const DAY: Duration = Duration::from_secs(86_400);
/// From 0 to a day.
pub(super) const TIME: Shape = Shape::Time {
    min: Duration::ZERO,
    max: DAY,
};
/// From a millisecond to a day.
pub(super) const POSITIVE_TIME: Shape = Shape::Time {
    min: Duration::from_millis(1),
    max: DAY,
};
pub(super) const MILLION: u64 = 1_000_000;
pub(super) const PERCENT: Shape = Shape::Number {
    min: 0.0,
    max: 100.0,
};
pub(super) const WEIGHT: Shape = Shape::Number { min: 0.0, max: 1e6 };

pub(super) const fn count(min: u64, max: u64) -> Shape {
    Shape::Int { min, max }
}

/// A proxy's file.
pub(super) static PROXY: Object = object(
    "proxy file",
    "Everything one proxy runs by. All keys are optional: an empty map `{}` is the default proxy.",
    &[
        optional(
            "admin",
            Shape::Object(&ADMIN),
            "",
            "The admin HTTP server: health, metrics, explanations.",
        ),
        optional(
            "namespace",
            Shape::Text(&format::LABEL),
            "$POD_NAMESPACE, else default",
            "The namespace of the callers on this host. Routes of this namespace apply to the short names that they call.",
        ),
        optional(
            "locality",
            Shape::Object(&LOCALITY),
            "",
            "Where this proxy runs. Endpoints of the same node, then of the same zone, are preferred.",
        ),
        optional(
            "workers",
            count(1, 1024),
            "one per core",
            "Threads that carry traffic. They share nothing on the hot path, so one per core is best.",
        ),
        optional(
            "drain",
            Shape::Time {
                min: Duration::ZERO,
                max: Duration::from_secs(3600),
            },
            "30s",
            "How long SIGTERM waits for what is in flight. Orchestrators commonly kill after 30 s.",
        ),
        optional(
            "limits",
            Shape::Object(&LIMITS),
            "",
            "Bounds of the process as a whole.",
        ),
        optional(
            "accessLog",
            Shape::Object(&sight::ACCESS_LOG),
            "off",
            "A line of JSON for each request, with the decisions that were taken for it.",
        ),
        optional(
            "tracing",
            Shape::Object(&sight::TRACING),
            "off",
            "Spans of requests and attempts, exported over OTLP.",
        ),
        optional(
            "listeners",
            Shape::List {
                of: &Shape::Object(&LISTENER),
                min: 1,
            },
            "one outbound listener on 127.0.0.1:4140",
            "Where the proxy listens. Names and addresses are unique.",
        ),
        optional(
            "discovery",
            Shape::Object(&DISCOVERY),
            "",
            "Where replica sets come from.",
        ),
        optional(
            "rules",
            Shape::List { of: &RULES, min: 0 },
            "",
            "Rule documents: paths and patterns (`*` and `?`) relative to this file, or documents written here.",
        ),
    ],
);

static RULES: Shape = Shape::Choice(&[Shape::Text(&format::FILE), Shape::Document]);

pub(super) static ADMIN: Object = object(
    "admin server",
    "The admin HTTP server.",
    &[
        optional(
            "listen",
            Shape::Text(&format::ADDRESS),
            "127.0.0.1:9990",
            "The address to listen on. Loopback by default, since whoever reaches it can drain the proxy; port 0 takes a free one.",
        ),
        optional(
            "hosts",
            Shape::List {
                of: &Shape::Text(&format::OBJECT_NAME),
                min: 0,
            },
            "[]",
            "Names that its callers may use in `Host`, without a port. Addresses and `localhost` always may; other names are refused, so that no web page reaches it by pointing its own name here.",
        ),
    ],
);

pub(super) static LOCALITY: Object = object(
    "locality",
    "Where something runs.",
    &[
        optional(
            "zone",
            Shape::Text(&format::TEXT),
            "",
            "The failure domain, such as `eu-west-1a`. Zones are compared for equality.",
        ),
        optional(
            "node",
            Shape::Text(&format::TEXT),
            "",
            "The machine. Nodes are compared for equality.",
        ),
    ],
);

pub(super) static LIMITS: Object = object(
    "limits",
    "Bounds of the process as a whole.",
    &[
        optional(
            "cacheEntries",
            count(1, MILLION),
            "1000",
            "Entries of each cache of names. The default is that of linkerd's binding cache.",
        ),
        optional(
            "cacheIdle",
            POSITIVE_TIME,
            "10m",
            "Cache entries unused for this long are dropped. The default is linkerd's.",
        ),
        optional(
            "metricSeries",
            count(1, MILLION),
            "2000",
            "Label sets of any one metric. What is beyond is counted together under `overflow`, so that names invented by strangers cannot fill memory.",
        ),
        optional(
            "memoryBytes",
            count(16 * MILLION, 1_000_000 * MILLION),
            "the limit of the control group, if there is one",
            "Memory that the process may use. From 80 % of it on, idle and stalled connections are closed early; from 88 % on, new connections and requests are refused with 503.",
        ),
        optional(
            "bindTimeout",
            POSITIVE_TIME,
            "10s",
            "How long a request may wait for its name to resolve for the first time. The default is linkerd's.",
        ),
    ],
);

pub(super) static LISTENER: Object = object(
    "listener",
    "One listening socket and how its connections are treated.",
    &[
        required(
            "name",
            Shape::Text(&format::LABEL),
            "A unique name, which labels metrics.",
        ),
        required(
            "listen",
            Shape::Text(&format::ADDRESS),
            "The address to listen on. Port 0 takes a free one.",
        ),
        optional(
            "mode",
            Shape::Word(MODES),
            "outbound",
            "What kind of traffic arrives.",
        ),
        optional(
            "forwardTo",
            Shape::Text(&format::TARGET_ADDRESS),
            "",
            "With `mode: inbound`, and required there: the address of the service behind.",
        ),
        optional(
            "to",
            Shape::Text(&format::DESTINATION),
            "",
            "With `mode: tcp`, and required there: where connections go, a service's name or an absolute path.",
        ),
        optional(
            "identify",
            Shape::List {
                of: &IDENTIFIER,
                min: 1,
            },
            "[host]",
            "How a request becomes a logical name; the first that finds one wins.",
        ),
        optional(
            "protocol",
            Shape::Word(PROTOCOLS),
            "auto",
            "Which protocols are spoken. `tcp` is for protocols where the server speaks first, which no detection can know.",
        ),
        optional(
            "overrides",
            Shape::Word(OVERRIDES),
            "strip",
            "Whether callers may change routing by `heddle-dtab`, `l5d-dtab` or `heddle-context`. A stranger must not.",
        ),
        optional(
            "dtab",
            Shape::Text(&format::DTAB),
            "/svc => /#/static ;",
            "Replaces the base dtab. With `discovery.files` the default is `/svc => /#/files ; /svc => /#/static ;`, so that written sets win over files. `Dtab` documents are appended.",
        ),
        optional(
            "namespace",
            Shape::Text(&format::LABEL),
            "that of the file",
            "The namespace of this listener's callers.",
        ),
        optional(
            "trust",
            Shape::List {
                of: &Shape::Text(&format::NETWORK),
                min: 0,
            },
            "[]",
            "Networks whose `x-forwarded-*` and `forwarded` headers are kept. By default nobody's are: they are replaced by what the proxy saw.",
        ),
        optional(
            "limits",
            Shape::Object(&LISTENER_LIMITS),
            "",
            "Bounds of this listener.",
        ),
        optional(
            "tls",
            Shape::Object(&tls::LISTENER_TLS),
            "",
            "Terminates TLS: certificates, and perhaps those of callers. Without it the listener is plaintext.",
        ),
    ],
);

static MODES: &[(&str, &str)] = &[
    (
        "outbound",
        "for this host's services to call others: requests are routed by name",
    ),
    (
        "inbound",
        "in front of one service of this host: everything goes to `forwardTo`",
    ),
    ("tcp", "opaque connections to one name, `to`"),
];
static PROTOCOLS: &[(&str, &str)] = &[
    (
        "auto",
        "HTTP/1, HTTP/2 or opaque bytes, detected by the first bytes",
    ),
    ("http", "HTTP/1 or HTTP/2; anything else is refused"),
    ("tcp", "opaque bytes"),
];
static OVERRIDES: &[(&str, &str)] = &[
    (
        "strip",
        "removed; only deadlines are kept, since they can but shorten",
    ),
    ("accept", "honoured"),
];

static IDENTIFIER: Shape =
    Shape::Choice(&[Shape::Word(IDENTIFIERS), Shape::Object(&IDENTIFIER_OBJECT)]);
static IDENTIFIERS: &[(&str, &str)] = &[
    (
        "host",
        "the host, lower-cased, without a trailing dot and without the ports 80 and 443: `/svc/<host>`",
    ),
    (
        "method-host",
        "`/svc/1.1/<METHOD>/<host>`, as linkerd's `io.l5d.methodAndHost`",
    ),
];
pub(super) static IDENTIFIER_OBJECT: Object = one_of(
    "identifier",
    "An identifier with settings.",
    &["header", "header-token", "path", "method-host", "static"],
    &[
        optional(
            "header",
            Shape::Text(&format::HEADER),
            "",
            "The value of this header, parsed as a path below `/svc` (linkerd's `io.l5d.header`).",
        ),
        optional(
            "header-token",
            Shape::Text(&format::HEADER),
            "",
            "The value of this header as one element (linkerd's `io.l5d.header.token`).",
        ),
        optional(
            "path",
            Shape::Object(&IDENTIFIER_PATH),
            "",
            "The first segments of the path.",
        ),
        optional(
            "method-host",
            Shape::Object(&IDENTIFIER_METHOD),
            "",
            "Method and host, perhaps with the path's segments.",
        ),
        optional(
            "static",
            Shape::Text(&format::SERVICE),
            "",
            "Always this name.",
        ),
    ],
);
pub(super) static IDENTIFIER_PATH: Object = object(
    "path identifier",
    "The first segments of the path name the service.",
    &[
        optional("segments", count(1, 16), "1", "How many segments."),
        optional(
            "consume",
            Shape::Bool,
            "false",
            "Whether they are removed from the path that is forwarded.",
        ),
    ],
);
pub(super) static IDENTIFIER_METHOD: Object = object(
    "method-host identifier",
    "Method and host name the service.",
    &[optional(
        "uri",
        Shape::Bool,
        "false",
        "Whether the path's segments follow.",
    )],
);

pub(super) static LISTENER_LIMITS: Object = object(
    "listener limits",
    "Bounds of one listener.",
    &[
        optional(
            "connections",
            count(1, MILLION),
            "10000",
            "Connections open at once. Beyond, new ones are closed at once, and idle ones after 5 s.",
        ),
        optional(
            "requests",
            count(1, 10 * MILLION),
            "100000",
            "Requests in flight at once. Beyond, they are refused with 503. The default is linkerd2-proxy's.",
        ),
        optional(
            "concurrency",
            count(1, MILLION),
            "as many as come",
            "With `mode: inbound`: requests that the service works on at once. Others wait for their turn.",
        ),
        optional(
            "queue",
            count(0, MILLION),
            "1000",
            "With `mode: inbound`: requests that may wait for their turn, or for a service that is starting. Beyond, they are refused with 503.",
        ),
        optional(
            "queueWait",
            POSITIVE_TIME,
            "1s",
            "With `mode: inbound`: how long a request may wait for its turn, and a tenth of it once the queue has not been empty for that long. Then it is refused with 503.",
        ),
        optional(
            "detectTimeout",
            POSITIVE_TIME,
            "1s",
            "How long the first bytes may take before `protocol: auto` decides for opaque.",
        ),
        optional(
            "headerTimeout",
            POSITIVE_TIME,
            "10s",
            "How long the head of a request may take, against clients that dribble.",
        ),
        optional(
            "bodyTimeout",
            POSITIVE_TIME,
            "60s",
            "How long the body of a request may stand still while more of it is waited for; then the request is ended, over HTTP/1 with 408, over HTTP/2 by a reset of its stream. gRPC calls may be quiet for as long as they like. The default is nginx's `client_body_timeout`.",
        ),
        optional(
            "writeTimeout",
            POSITIVE_TIME,
            "60s",
            "How long a caller may take nothing of an answer that is there for it: over HTTP/1 its connection is closed then, over HTTP/2 the stream is reset. The default is nginx's `send_timeout`.",
        ),
        optional(
            "headerBytes",
            count(1024, MILLION),
            "65536",
            "Size of the head of a request in bytes; beyond is 431.",
        ),
        optional(
            "headerCount",
            count(1, 1000),
            "100",
            "Header fields of a request; beyond is 431.",
        ),
        optional(
            "streams",
            count(1, 10_000),
            "256",
            "HTTP/2 streams at once on a connection.",
        ),
        optional(
            "idle",
            POSITIVE_TIME,
            "5m",
            "A connection without a request is closed after this. Longer than clients keep theirs, so that they close first.",
        ),
    ],
);

pub(super) static DISCOVERY: Object = object(
    "discovery",
    "Where replica sets come from.",
    &[
        optional(
            "static",
            Shape::Map {
                key: &format::SERVICE,
                value: &STATIC,
            },
            "",
            "Replica sets by name, written out: `/#/static/<name>`.",
        ),
        optional(
            "files",
            Shape::Object(&FILES),
            "",
            "Replica sets as files of a watched folder, `host port` or `host port * weight` a line: `/#/files/<name>`.",
        ),
        optional(
            "dns",
            Shape::Object(&DNS),
            "",
            "How `/#/dns/<host>/<port>` and `/#/dns-srv/<name>` are resolved.",
        ),
        optional(
            "tls",
            Shape::Map {
                key: &format::NAME_PREFIX,
                value: &Shape::Object(&tls::UPSTREAM_TLS),
            },
            "",
            "TLS towards the replica sets below a name, such as `/#/dns/api.example` or `/#/files`; the longest prefix counts, and a set's own `tls` counts more.",
        ),
        optional(
            "control-plane",
            Shape::Object(&mesh::CONTROL_PLANE),
            "",
            "Rules and replica sets from a control plane, kept on disk for when it is away.",
        ),
    ],
);

static STATIC: Shape = Shape::Choice(&[
    Shape::List {
        of: &ENDPOINT,
        min: 0,
    },
    Shape::Object(&rules::CLUSTER),
]);

pub(super) static ENDPOINT: Shape = Shape::Choice(&[
    Shape::Text(&format::ENDPOINT),
    Shape::Object(&ENDPOINT_OBJECT),
]);

pub(super) static ENDPOINT_OBJECT: Object = object(
    "endpoint",
    "One replica with attributes.",
    &[
        required(
            "address",
            Shape::Text(&format::HOST_PORT),
            "Where it listens, `host:port`. All addresses of a host name become endpoints.",
        ),
        optional(
            "weight",
            WEIGHT,
            "1",
            "Its share of traffic relative to its siblings. 0 takes no traffic.",
        ),
        optional(
            "zone",
            Shape::Text(&format::TEXT),
            "",
            "Its failure domain.",
        ),
        optional("node", Shape::Text(&format::TEXT), "", "Its machine."),
    ],
);

pub(super) static FILES: Object = object(
    "files namer",
    "One file per replica set.",
    &[required(
        "dir",
        Shape::Text(&format::FILE),
        "The folder, relative to this file. It is watched.",
    )],
);

pub(super) static DNS: Object = object(
    "dns settings",
    "How DNS is asked.",
    &[
        optional(
            "servers",
            Shape::List {
                of: &Shape::Text(&format::TARGET_ADDRESS),
                min: 0,
            },
            "those of the system",
            "Servers to ask, as `address:port`.",
        ),
        optional(
            "minTtl",
            TIME,
            "1s",
            "A shorter time to live is raised to this, so that 0 does not mean a query per request.",
        ),
        optional(
            "maxTtl",
            POSITIVE_TIME,
            "5m",
            "A longer time to live is lowered to this, so that a change is seen at last.",
        ),
        optional("timeout", POSITIVE_TIME, "2s", "Time for one question."),
    ],
);
