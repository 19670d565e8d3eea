//! The head of an HTTP/2 request: what would be another request when it is written down as HTTP/1.
//!
//! The parser has refused upper case, unknown, repeated and misplaced pseudo fields, and control characters. The
//! rules on methods, targets, hosts, names and values are those of the HTTP/1 guard: a request has the same fate by
//! either protocol.

use crate::guard::Refusal;
use crate::guard::http1::authority::Authority;
use crate::guard::http1::{fields, line, names, target};
use memchr::memchr3;

/// The pseudo fields of a request (RFC 9113 section 8.3.1).
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// `:method`.
    pub method: &'a str,
    /// `:scheme`; `CONNECT` has none.
    pub scheme: Option<&'a str>,
    /// `:authority`.
    pub authority: Option<&'a str>,
    /// `:path`; `CONNECT` has none.
    pub path: &'a str,
}

/// Refuses a head that is not the same to every server. Each of `fields` counts, also the crumbs of a cookie
/// (RFC 9113 section 8.2.3), whatever their sum.
///
/// ```
/// use heddle_core::guard::http2::{Head, check_request};
/// let head = Head { method: "GET", scheme: Some("http"), authority: Some("accounts"), path: "/" };
/// assert!(check_request(&head, [("accept", &b"*/*"[..])], 100).is_ok());
/// assert!(check_request(&head, [("host", &b"payments"[..])], 100).is_err());
/// ```
///
/// # Errors
///
/// Why it is refused.
pub fn check_request<'a>(
    head: &Head<'_>,
    fields: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    header_count: usize,
) -> Result<(), Refusal> {
    if head.method.len() > line::METHOD_MAX {
        return Err(Refusal::bad(
            "request-line",
            "the method is longer than 32 characters",
        ));
    }
    if head.method.as_bytes() == line::PRI {
        return Err(Refusal::bad("request-line", line::PRI_TEXT));
    }
    let mut seen = Seen::default();
    for (name, value) in fields {
        seen.count += 1;
        if seen.count > header_count {
            return Err(Refusal::with(
                431,
                "size",
                "the head has more fields than this listener's headerCount",
            ));
        }
        names::check(name.as_bytes())?;
        seen.field(name, value)?;
    }
    if head.method != "CONNECT" {
        if !matches!(head.scheme, None | Some("http" | "https")) {
            return Err(Refusal::bad("target", ":scheme is neither http nor https"));
        }
        if head.path.len() > target::MAX {
            return Err(Refusal::with(414, "size", "the path is longer than 16 KiB"));
        }
        if head.path != "*" && !head.path.starts_with('/') {
            return Err(Refusal::bad("target", "the path does not begin with /"));
        }
        target::check(head.method.as_bytes(), head.path.as_bytes(), 0)?;
    }
    hosts(head, seen.host)
}

fn hosts(head: &Head<'_>, host: Option<&[u8]>) -> Result<(), Refusal> {
    let authority = head.authority.map(|authority| {
        Authority::read(authority.as_bytes())
            .ok_or_else(|| bad_host(":authority is not a host with or without a port"))
    });
    let host = host.map(|host| {
        Authority::read(host)
            .ok_or_else(|| bad_host("the Host is not a host with or without a port"))
    });
    match (authority.transpose()?, host.transpose()?) {
        (None, None) => Err(bad_host("the request has neither :authority nor Host")),
        (Some(authority), Some(host)) => {
            let port = if head.scheme == Some("https") {
                443
            } else {
                80
            };
            if authority.equals(&host, port) {
                Ok(())
            } else {
                Err(bad_host("Host and :authority differ"))
            }
        }
        _ => Ok(()),
    }
}

/// What was found in the fields.
#[derive(Debug, Default)]
struct Seen<'a> {
    count: usize,
    host: Option<&'a [u8]>,
    length: bool,
    authorization: bool,
    content_type: bool,
    expect: bool,
}

impl<'a> Seen<'a> {
    fn field(&mut self, name: &str, value: &'a [u8]) -> Result<(), Refusal> {
        if value.first().is_some_and(is_blank) || value.last().is_some_and(is_blank) {
            return Err(Refusal::bad(
                "value",
                "a header field's value begins or ends with a blank",
            ));
        }
        if memchr3(b'\r', b'\n', 0, value).is_some() {
            return Err(Refusal::bad(
                "value",
                "a header field's value has a line end or a NUL",
            ));
        }
        if value.len() > fields::VALUE_MAX {
            return Err(fields::VALUE_TOO_LONG);
        }
        match name {
            "expect" => fields::expectation(&mut self.expect, value),
            "authorization" => fields::once(&mut self.authorization),
            "content-type" => fields::once(&mut self.content_type),
            "trailer" => fields::announced(value),
            "host" if self.host.replace(value).is_some() => {
                Err(bad_host("the request has more than one Host"))
            }
            "content-length" if std::mem::replace(&mut self.length, true) => {
                Err(framing("the request has more than one Content-Length"))
            }
            "content-length" => fields::length(value).map(drop),
            "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" => {
                Err(framing(
                    "the request has a field that belongs to an HTTP/1 connection",
                ))
            }
            "te" if !value.eq_ignore_ascii_case(b"trailers") => {
                Err(framing("TE is other than trailers"))
            }
            "proxy" => Err(Refusal::bad(
                "name",
                "a field named Proxy becomes the server's own http_proxy where CGI is spoken",
            )),
            _ => Ok(()),
        }
    }
}

/// Trailers of one request; as many as a head may have fields unless a listener says otherwise.
const TRAILERS_MAX: usize = 100;

/// Refuses trailers that would change what was decided by the head. In a request they are no accident: a server that
/// merges them into the head reads another request.
///
/// ```
/// use heddle_core::guard::http2::check_trailers;
/// assert!(check_trailers([("grpc-status", &b"0"[..])]).is_ok());
/// assert!(check_trailers([("host", &b"payments"[..])]).is_err());
/// ```
///
/// # Errors
///
/// Why they are refused.
pub fn check_trailers<'a>(
    trailers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<(), Refusal> {
    for (number, (name, value)) in trailers.into_iter().enumerate() {
        if number >= TRAILERS_MAX {
            return Err(Refusal::with(
                431,
                "trailers",
                "there are more than 100 trailers",
            ));
        }
        names::check(name.as_bytes())?;
        if names::forbidden_in_trailers(name.as_bytes()) {
            return Err(Refusal::bad(
                "trailers",
                "a trailer names framing, host, identity or routing",
            ));
        }
        if memchr3(b'\r', b'\n', 0, value).is_some() {
            return Err(Refusal::bad(
                "trailers",
                "a trailer's value has a line end or a NUL",
            ));
        }
    }
    Ok(())
}

const fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

const fn bad_host(text: &'static str) -> Refusal {
    Refusal::bad("host", text)
}

const fn framing(text: &'static str) -> Refusal {
    Refusal::bad("framing", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Head<'_> = Head {
        method: "GET",
        scheme: Some("http"),
        authority: Some("echo"),
        path: "/",
    };

    #[test]
    fn heads() {
        let good = [
            HEAD,
            Head {
                path: "/a?b=c",
                ..HEAD
            },
            Head {
                method: "OPTIONS",
                path: "*",
                ..HEAD
            },
            Head {
                authority: Some("[::1]:80"),
                ..HEAD
            },
            Head {
                method: "CONNECT",
                scheme: None,
                path: "",
                authority: Some("echo:80"),
            },
        ];
        for head in good {
            assert_eq!(check_request(&head, [], 10), Ok(()), "{head:?}");
        }
        let bad = [
            (
                Head {
                    method: "PRI",
                    ..HEAD
                },
                "request-line",
            ),
            (
                Head {
                    method: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                    ..HEAD
                },
                "request-line",
            ),
            (
                Head {
                    authority: None,
                    ..HEAD
                },
                "host",
            ),
            (
                Head {
                    authority: Some("u@echo"),
                    ..HEAD
                },
                "host",
            ),
            (
                Head {
                    authority: Some("echo/x"),
                    ..HEAD
                },
                "host",
            ),
            (
                Head {
                    authority: Some(""),
                    ..HEAD
                },
                "host",
            ),
            (
                Head {
                    scheme: Some("gopher"),
                    ..HEAD
                },
                "target",
            ),
            (Head { path: "*", ..HEAD }, "target"),
            (Head { path: "", ..HEAD }, "target"),
            (
                Head {
                    path: "http://other/",
                    ..HEAD
                },
                "target",
            ),
            (
                Head {
                    path: "/a#b",
                    ..HEAD
                },
                "target",
            ),
            (
                Head {
                    path: "/a b",
                    ..HEAD
                },
                "target",
            ),
            (
                Head {
                    path: "/a\\b",
                    ..HEAD
                },
                "target",
            ),
            (
                Head {
                    path: "/a%00",
                    ..HEAD
                },
                "target",
            ),
            (
                Head {
                    path: "/a/%2e%2e/b",
                    ..HEAD
                },
                "target",
            ),
        ];
        for (head, reason) in bad {
            let found = check_request(&head, [], 10).expect_err(head.path);
            assert_eq!(found.reason, reason, "{head:?}");
        }
    }

    #[test]
    fn fields() {
        let good: [&[(&str, &[u8])]; 5] = [
            &[("host", b"ECHO:80")],
            &[("te", b"trailers")],
            &[("content-length", b"0")],
            &[("x-note", b"a b"), ("x-note", b"")],
            &[("cookie", b"a=b"), ("cookie", b"c=d")],
        ];
        for fields in good {
            assert_eq!(
                check_request(&HEAD, fields.iter().copied(), 10),
                Ok(()),
                "{fields:?}"
            );
        }
        type Row<'a> = (&'a [(&'a str, &'a [u8])], &'a str);
        let long = [b'a'; fields::VALUE_MAX + 1];
        let bad: [Row<'_>; 21] = [
            (&[("host", b"other")], "host"),
            (&[("host", b"echo:81")], "host"),
            (&[("host", b"echo"), ("host", b"echo")], "host"),
            (&[("content-length", b"+1")], "framing"),
            (
                &[("content-length", b"1"), ("content-length", b"1")],
                "framing",
            ),
            (&[("content-length", b"")], "framing"),
            (&[("content-length", b"01")], "framing"),
            (&[("connection", b"close")], "framing"),
            (&[("transfer-encoding", b"chunked")], "framing"),
            (&[("upgrade", b"h2c")], "framing"),
            (&[("te", b"gzip")], "framing"),
            (&[("x_forwarded_for", b"1")], "name"),
            (&[("x-note", b" a")], "value"),
            (&[("x-note", b"a\t")], "value"),
            (&[("x-note", b"a\r\nb: c")], "value"),
            (&[("x-note", &long)], "size"),
            (&[("expect", b"200-ok")], "expectation"),
            (
                &[("expect", b"100-continue"), ("expect", b"100-continue")],
                "expectation",
            ),
            (
                &[("authorization", b"a"), ("authorization", b"a")],
                "duplicate",
            ),
            (
                &[("content-type", b"a"), ("content-type", b"b")],
                "duplicate",
            ),
            (&[("trailer", b"x-a, host")], "trailers"),
        ];
        for (fields, reason) in bad {
            let found = check_request(&HEAD, fields.iter().copied(), 10).expect_err(reason);
            assert_eq!(found.reason, reason, "{fields:?}");
        }
        let crumbs = [("cookie", &b"a"[..]); 11];
        assert_eq!(check_request(&HEAD, crumbs, 10).unwrap_err().status, 431);
    }

    #[test]
    fn trailers() {
        for good in ["grpc-status", "x-checksum", "server-timing"] {
            assert_eq!(check_trailers([(good, &b"0"[..])]), Ok(()), "{good}");
        }
        for bad in [
            "content-length",
            "host",
            "transfer-encoding",
            "authorization",
            "cookie",
            "te",
            "x_forwarded_for",
        ] {
            assert!(check_trailers([(bad, &b"0"[..])]).is_err(), "{bad}");
        }
        for (count, fits) in [(TRAILERS_MAX, true), (TRAILERS_MAX + 1, false)] {
            let many = std::iter::repeat_n(("x-note", &b"0"[..]), count);
            assert_eq!(check_trailers(many).is_ok(), fits, "{count}");
        }
    }
}
