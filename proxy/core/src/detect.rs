//! Which protocol a connection speaks, by its first bytes.
//!
//! Pure, and decided within [`DETECT_MAX`] bytes, so that nobody can hold detection up by sending more.

/// The client connection preface of HTTP/2 (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Methods of RFC 9110 and RFC 5789, after which a space is enough.
const METHODS: [&[u8]; 9] = [
    b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH",
];

/// Longest method that is looked for; the longest registered one (`UPDATEREDIRECTREF`) has 17.
const METHOD_MAX: usize = 32;

/// Empty lines before a request that are skipped (RFC 9112 section 2.2 asks for at least one).
const BLANK_LINES_MAX: usize = 2;

/// Blanks before a method that are looked through.
const DISGUISE_MAX: usize = 12;

/// Beginnings of a target that make an HTTP request of any token before it.
const TARGETS: [&[u8]; 3] = [b"/", b"*", b"http"];

/// No decision needs more bytes than this.
pub const DETECT_MAX: usize = 2 * BLANK_LINES_MAX + METHOD_MAX + 1 + 4;

/// A protocol, or none yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Detected {
    /// HTTP/1.0 or 1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// Anything else: bytes.
    Opaque,
    /// Cannot be told before more bytes come.
    NeedMore,
}

/// Looks at the first bytes of a connection.
///
/// An HTTP/1 request is a known method and a space, or any other token and a target that begins like
/// one of HTTP; commands such as `EHLO mail.example` stay opaque.
///
/// ```
/// use heddle_core::detect::{detect, Detected};
/// assert_eq!(detect(b"GET /"), Detected::Http1);
/// assert_eq!(detect(b"PRI * HTT"), Detected::NeedMore);
/// assert_eq!(detect(b"EHLO mail.example\r\n"), Detected::Opaque);
/// ```
pub fn detect(first: &[u8]) -> Detected {
    if first.starts_with(PREFACE) {
        Detected::Http2
    } else if PREFACE.starts_with(first) {
        Detected::NeedMore
    } else {
        match detect_http1(skip_blank_lines(first)) {
            Detected::Opaque => detect_disguised(first),
            found => found,
        }
    }
}

/// Requests that no parser should take and some do: blanks before a known method, or an odd one after it. Taken
/// for HTTP/1, they are refused; as opaque bytes they would reach a server that may understand them.
fn detect_disguised(bytes: &[u8]) -> Detected {
    let blanks = bytes
        .iter()
        .take_while(|byte| b"\r\n\t\x0b\x0c \xef\xbb\xbf".contains(byte))
        .count();
    if blanks > DISGUISE_MAX {
        return Detected::Opaque;
    }
    let rest = &bytes[blanks..];
    let follows = |method: &[u8]| {
        rest.strip_prefix(method)
            .and_then(<[u8]>::first)
            .is_some_and(|next| b" \t\x0b\x0c".contains(next))
    };
    if METHODS.iter().any(|method| follows(method)) {
        Detected::Http1
    } else if METHODS.iter().any(|method| method.starts_with(rest)) {
        Detected::NeedMore
    } else {
        Detected::Opaque
    }
}

fn skip_blank_lines(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    for _ in 0..BLANK_LINES_MAX {
        rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
    }
    // Half of a line end may still become one.
    if rest == b"\r" && bytes.len() < 2 * BLANK_LINES_MAX {
        &[]
    } else {
        rest
    }
}

fn detect_http1(bytes: &[u8]) -> Detected {
    let length = bytes.iter().take_while(|&&byte| is_token(byte)).count();
    let (method, rest) = bytes.split_at(length);
    if length > METHOD_MAX {
        return Detected::Opaque;
    }
    match rest.split_first() {
        None => Detected::NeedMore,
        Some((b' ', _)) if METHODS.contains(&method) => Detected::Http1,
        Some((b' ', target)) if !method.is_empty() => {
            if TARGETS.iter().any(|form| target.starts_with(form)) {
                Detected::Http1
            } else if TARGETS.iter().any(|form| form.starts_with(target)) {
                Detected::NeedMore
            } else {
                Detected::Opaque
            }
        }
        Some(_) => Detected::Opaque,
    }
}

/// A character of a token (RFC 9110 section 5.6.2).
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_protocols_apart_by_their_first_bytes() {
        let cases: &[(&[u8], Detected)] = &[
            (b"", Detected::NeedMore),
            (b"P", Detected::NeedMore),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", Detected::NeedMore),
            (PREFACE, Detected::Http2),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12", Detected::Http2),
            (b"PRI / HTTP/1.1\r\n", Detected::Http1),
            (b"PRI x", Detected::Opaque),
            (b"POST ", Detected::Http1),
            (b"GET", Detected::NeedMore),
            (b"GET x", Detected::Http1),
            (b"PROPFIND /", Detected::Http1),
            (b"PROPFIND http", Detected::Http1),
            (b"PROPFIND ht", Detected::NeedMore),
            (b"PROPFIND hx", Detected::Opaque),
            (b"EHLO mx", Detected::Opaque),
            (b"get key\r\n", Detected::Opaque),
            (b"*1\r\n$4\r\nPING\r\n", Detected::Opaque),
            (b"\x16\x03\x01\x02\x00", Detected::Opaque),
            (b" GET /", Detected::Http1),
            (b"\nGET /", Detected::Http1),
            (b"GET\t/", Detected::Http1),
            (b"\xef\xbb\xbfPOST /", Detected::Http1),
            (b"CONNECT\naccept-version:1.2\n", Detected::Opaque),
            (b"\r", Detected::NeedMore),
            (b"\r\nGET /", Detected::Http1),
            (b"\r\n\r\n\r\nGET /", Detected::Http1),
            (b"\0", Detected::Opaque),
        ];
        for (bytes, expected) in cases {
            assert_eq!(detect(bytes), *expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn decides_within_the_bound_whatever_comes() {
        let beginnings: [&[u8]; 5] = [b"", b"\r\n\r\n", b"GET", b"PRI * HTTP/2.0", b"A "];
        for beginning in beginnings {
            for filler in 0..=u8::MAX {
                let mut bytes = beginning.to_vec();
                bytes.resize(DETECT_MAX, filler);
                assert_ne!(
                    detect(&bytes),
                    Detected::NeedMore,
                    "{}",
                    bytes.escape_ascii()
                );
            }
        }
    }

    #[test]
    fn never_changes_its_mind_when_more_comes() {
        for text in [
            &b"\r\nPROPFIND http://x/ HTTP/1.1\r\n"[..],
            PREFACE,
            b"QUIT\r\n",
            b"PRI /",
        ] {
            let mut decided = None;
            for length in 0..=text.len() {
                let now = detect(&text[..length]);
                match decided {
                    None if now != Detected::NeedMore => decided = Some(now),
                    None => {}
                    Some(before) => assert_eq!(now, before, "{}", text[..length].escape_ascii()),
                }
            }
            assert!(decided.is_some());
        }
    }
}
