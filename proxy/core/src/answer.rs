//! Every answer that is the proxy's own.
//!
//! Pure. One closed list of kinds gives the HTTP status, the gRPC status, the metric label and the
//! `heddle-err` header, so that all of them say the same.

use std::fmt::Write;

/// Bytes of a reason that are shown; names can be long, and a header must fit the peer's bounds.
pub const REASON_MAX: usize = 512;

/// The word for an answer that a `Fault` gives.
pub const FAULT: &str = "fault";

/// The word for an answer that a rule of a `Route` gives itself, a redirect or a status; it is no error.
pub const RULE: &str = "rule";

/// Every word that `heddle-err` may begin with: those of [`Kind::ALL`], [`FAULT`] and [`RULE`].
pub fn words() -> impl Iterator<Item = &'static str> {
    Kind::ALL.into_iter().map(Kind::label).chain([FAULT, RULE])
}

/// The value of `heddle-err`: a word, and the reason as a quoted string of printable ASCII.
pub fn error_header(word: &str, reason: &str) -> String {
    let mut value = format!("{word}; reason=\"");
    escape(&mut value, shortened(reason), |value, byte| {
        if matches!(byte, b'"' | b'\\') {
            value.push('\\');
        }
    });
    value.push('"');
    value
}

/// Why the proxy answers itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Hostile or malformed; with the HTTP status: 400, 408, 413, 414, 417, 421, 431, 501 or 505.
    Refused(u16),
    /// No identifier makes a name of it.
    Unidentified,
    /// The caller may not.
    Denied,
    /// A limit is reached.
    Limited,
    /// The name resolves to nothing (neg).
    NoSuchName,
    /// The name resolves to fail, or cannot be bound.
    NameFailed,
    /// No endpoint, or all of them ejected.
    NoEndpoints,
    /// A pool or queue is full, or load is shed.
    Overloaded,
    /// The proxy is going away.
    Draining,
    /// No connection to the endpoint.
    Connect,
    /// The endpoint closed or reset before it answered.
    UpstreamReset,
    /// The endpoint broke the protocol.
    Protocol,
    /// Binding, connecting, an attempt or the whole request took too long.
    Timeout,
    /// The caller's deadline has passed.
    Deadline,
}

impl Kind {
    /// One of each, for tables; `Refused` with its most common status.
    pub const ALL: [Self; 14] = [
        Self::Refused(400),
        Self::Unidentified,
        Self::Denied,
        Self::Limited,
        Self::NoSuchName,
        Self::NameFailed,
        Self::NoEndpoints,
        Self::Overloaded,
        Self::Draining,
        Self::Connect,
        Self::UpstreamReset,
        Self::Protocol,
        Self::Timeout,
        Self::Deadline,
    ];

    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::Refused(status) => status,
            Self::Unidentified => 400,
            Self::Denied => 403,
            Self::Limited => 429,
            Self::NoSuchName => 404,
            Self::NameFailed | Self::Connect | Self::UpstreamReset | Self::Protocol => 502,
            Self::NoEndpoints | Self::Overloaded | Self::Draining => 503,
            Self::Timeout | Self::Deadline => 504,
        }
    }

    /// The gRPC status code.
    pub fn grpc(self) -> u32 {
        match self {
            Self::Refused(_) | Self::Unidentified => 13,
            Self::Denied => 7,
            Self::Limited => 8,
            Self::NoSuchName => 12,
            Self::NameFailed
            | Self::NoEndpoints
            | Self::Overloaded
            | Self::Draining
            | Self::Connect
            | Self::UpstreamReset
            | Self::Protocol => 14,
            Self::Timeout | Self::Deadline => 4,
        }
    }

    /// The word for it, in `heddle-err`, metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Unidentified => "unidentified",
            Self::Denied => "denied",
            Self::Limited => "limited",
            Self::NoSuchName => "no-such-name",
            Self::NameFailed => "name-failed",
            Self::NoEndpoints => "no-endpoints",
            Self::Overloaded => "overloaded",
            Self::Draining => "draining",
            Self::Connect => "connect",
            Self::UpstreamReset => "upstream-reset",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
            Self::Deadline => "deadline",
        }
    }

    /// The body as `application/problem+json` (RFC 9457), with the kind as an extension member.
    pub fn problem_json(self, reason: &str) -> String {
        let status = self.status();
        serde_json::json!({
            "title": title(status),
            "status": status,
            "detail": shortened(reason),
            "kind": self.label(),
        })
        .to_string()
    }

    /// The value of `heddle-err`: the kind, and the reason as a quoted string of printable ASCII.
    ///
    /// ```
    /// use heddle_core::answer::Kind;
    /// let value = Kind::NoSuchName.error_header("no name /svc/\"x\"\r\nset-cookie: a=b");
    /// assert_eq!(value, r#"no-such-name; reason="no name /svc/\"x\"%0d%0aset-cookie: a=b""#);
    /// ```
    pub fn error_header(self, reason: &str) -> String {
        error_header(self.label(), reason)
    }
}

/// A reason as `grpc-message` writes it: printable ASCII, the rest and `%` percent-encoded.
pub fn grpc_message(reason: &str) -> String {
    let mut value = String::new();
    escape(&mut value, shortened(reason), |_, _| {});
    value
}

/// Appends `text`, everything but printable ASCII percent-encoded; `before` may prefix a printable byte.
fn escape(value: &mut String, text: &str, before: impl Fn(&mut String, u8)) {
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            before(value, byte);
            value.push(char::from(byte));
        } else {
            write!(value, "%{byte:02x}").expect("writing to a string does not fail");
        }
    }
}

fn shortened(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_MAX)]
}

fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        413 => "Content Too Large",
        414 => "URI Too Long",
        408 => "Request Timeout",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_answer_of_the_table() {
        let table = [
            (Kind::Refused(431), 431, 13, "refused"),
            (Kind::Unidentified, 400, 13, "unidentified"),
            (Kind::Denied, 403, 7, "denied"),
            (Kind::Limited, 429, 8, "limited"),
            (Kind::NoSuchName, 404, 12, "no-such-name"),
            (Kind::NameFailed, 502, 14, "name-failed"),
            (Kind::NoEndpoints, 503, 14, "no-endpoints"),
            (Kind::Overloaded, 503, 14, "overloaded"),
            (Kind::Draining, 503, 14, "draining"),
            (Kind::Connect, 502, 14, "connect"),
            (Kind::UpstreamReset, 502, 14, "upstream-reset"),
            (Kind::Protocol, 502, 14, "protocol"),
            (Kind::Timeout, 504, 4, "timeout"),
            (Kind::Deadline, 504, 4, "deadline"),
        ];
        assert_eq!(table.len(), Kind::ALL.len());
        for (kind, status, grpc, label) in table {
            assert_eq!(
                (kind.status(), kind.grpc(), kind.label()),
                (status, grpc, label)
            );
        }
    }

    #[test]
    fn no_byte_that_could_end_a_header_gets_through() {
        let every: String = (0..=0x2ff_u32).filter_map(char::from_u32).collect();
        for chunk in [&every[..256], "ä\r\n\0", &every] {
            let header = Kind::Protocol.error_header(chunk);
            assert!(
                header.bytes().all(|byte| matches!(byte, b' '..=b'~')),
                "{header}"
            );
            assert!(
                grpc_message(chunk)
                    .bytes()
                    .all(|byte| matches!(byte, b' '..=b'~'))
            );
        }
    }

    #[test]
    fn bodies_are_problem_documents_of_bounded_size() {
        let body = Kind::Timeout.problem_json(&"ü\"".repeat(1000));
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (&json["status"], &json["kind"]),
            (&504.into(), &"timeout".into())
        );
        assert!(json["detail"].as_str().unwrap().len() <= REASON_MAX);
    }
}
