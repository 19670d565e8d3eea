//! The tables of TLS.

use super::super::format;
use super::super::shape::{Object, Shape};
use super::{object, optional, required};

/// `listeners[].tls`.
pub(in crate::spec) static LISTENER_TLS: Object = object(
    "listener TLS",
    "Connections to this listener are TLS, and nothing else is served on it.",
    &[
        required(
            "certificates",
            Shape::List {
                of: &Shape::Object(&KEY_PAIR),
                min: 1,
            },
            "Certificates with their keys, chosen by the caller's server name (SNI): an exact name before a wildcard. Callers that name none or an unknown one get the first.",
        ),
        optional(
            "clientAuth",
            Shape::Object(&CLIENT_AUTH),
            "",
            "Asks callers for a certificate.",
        ),
        optional(
            "minVersion",
            Shape::Word(VERSIONS),
            "1.2",
            "The oldest version that is spoken.",
        ),
        optional(
            "alpn",
            Shape::List {
                of: &Shape::Word(ALPN),
                min: 1,
            },
            "[h2, http/1.1], none with `mode: tcp` or `protocol: tcp`",
            "Protocols that are offered, best first.",
        ),
    ],
);

pub(in crate::spec) static KEY_PAIR: Object = object(
    "certificate",
    "A certificate and its key, PEM files.",
    &[
        required(
            "cert",
            Shape::Text(&format::FILE),
            "The certificate chain, leaf first, relative to this file. Read again when it changes.",
        ),
        required(
            "key",
            Shape::Text(&format::FILE),
            "The private key of the leaf: PKCS#8, PKCS#1 or SEC1, not encrypted.",
        ),
    ],
);

pub(in crate::spec) static CLIENT_AUTH: Object = object(
    "client authentication",
    "Certificates of callers.",
    &[
        required(
            "ca",
            Shape::Text(&format::FILE),
            "The certificates of those who may have issued a caller's.",
        ),
        optional(
            "mode",
            Shape::Word(CLIENT_AUTH_MODES),
            "require",
            "What a caller without a certificate gets.",
        ),
    ],
);

static CLIENT_AUTH_MODES: &[(&str, &str)] = &[
    ("require", "no connection"),
    (
        "optional",
        "a connection without an identity; a certificate that is shown must be good all the same",
    ),
];
static VERSIONS: &[(&str, &str)] = &[
    (
        "1.2",
        "TLS 1.2 with forward-secret AEAD suites, and TLS 1.3",
    ),
    ("1.3", "TLS 1.3 alone"),
];
static ALPN: &[(&str, &str)] = &[("h2", "HTTP/2"), ("http/1.1", "HTTP/1.1")];

/// `tls` of a replica set, and the values of `discovery.tls`.
pub(in crate::spec) static UPSTREAM_TLS: Object = object(
    "upstream TLS",
    "Connections to the endpoints are TLS. Their certificate is always verified; `{}` verifies it against the system's authorities.",
    &[
        optional(
            "serverName",
            Shape::Text(&format::AUTHORITY),
            "the host name of the endpoints, else each one's address",
            "The name that the certificate must cover; also sent as SNI.",
        ),
        optional(
            "ca",
            Shape::Text(&format::FILE),
            "system",
            "The certificates of those who may have issued the server's; `system` takes the operating system's.",
        ),
        optional(
            "cert",
            Shape::Text(&format::FILE),
            "",
            "A certificate chain to show to servers that ask for one; with `key`.",
        ),
        optional(
            "key",
            Shape::Text(&format::FILE),
            "",
            "The private key of `cert`.",
        ),
        optional(
            "minVersion",
            Shape::Word(VERSIONS),
            "1.2",
            "The oldest version that is spoken.",
        ),
    ],
);
