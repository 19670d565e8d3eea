//! The tables of the access log and of tracing.
//!
//! Pure.

use super::super::format;
use super::super::shape::{Object, Shape};
use super::{object, optional, required};

/// A share from none to all.
const SHARE: Shape = Shape::Number { min: 0.0, max: 1.0 };

pub(in super::super) static ACCESS_LOG: Object = object(
    "access log",
    "A line of JSON for each request. `docs/observability.md` lists its fields.",
    &[
        required(
            "file",
            Shape::Text(&format::FILE),
            "Where lines are appended: a file, relative to this one, or `stdout` or `stderr`. A file that was renamed or removed is opened anew within a second, and on SIGHUP.",
        ),
        optional(
            "sample",
            SHARE,
            "1",
            "The share of the requests that went well which are written. Those that did not are always written.",
        ),
        optional(
            "only",
            Shape::Word(ONLY),
            "all",
            "Which requests are written.",
        ),
        optional(
            "query",
            Shape::Bool,
            "false",
            "Whether the query of a target is written. Queries may hold what nobody should read in a log.",
        ),
    ],
);

static ONLY: &[(&str, &str)] = &[
    ("all", "every request, as far as `sample` takes it"),
    (
        "errors",
        "answers of 500 and above, answers of the proxy's own, failed gRPC calls, and requests that ended early",
    ),
];

pub(in super::super) static TRACING: Object = object(
    "tracing",
    "Spans exported over OTLP. Trace contexts (W3C, B3) are passed on with or without it.",
    &[
        required(
            "otlp",
            Shape::Text(&format::COLLECTOR),
            "The collector's OTLP/gRPC address, such as `http://127.0.0.1:4317`.",
        ),
        optional(
            "sample",
            SHARE,
            "0.01",
            "The share of the traces that begin at this proxy which are exported. When the caller has decided, its decision stands.",
        ),
        optional(
            "service",
            Shape::Text(&format::TEXT),
            "heddle",
            "`service.name` of the spans.",
        ),
    ],
);
