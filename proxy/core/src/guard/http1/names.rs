//! Field names: their characters, and which of them may not appear where.

use crate::guard::Refusal;
use crate::headers::{is_hop_by_hop, protected};

/// Longest field name. The longest in use have about 50 bytes; HAProxy's CVE-2021-40346 began at 256.
pub(super) const NAME_MAX: usize = 128;

/// A character of a token (RFC 9110 section 5.6.2).
pub(super) const TOKEN: u8 = 1;
/// A character that gateways such as CGI and WSGI make the same as `-`.
const TWIN: u8 = 2;

/// Classes of bytes.
pub(super) static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let tokens = b"!#$%&'*+-.^_`|~";
    let mut i = 0;
    while i < tokens.len() {
        table[tokens[i] as usize] = if tokens[i] == b'-' {
            TOKEN
        } else {
            TOKEN | TWIN
        };
        i += 1;
    }
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric() {
            table[byte] = TOKEN;
        }
        byte += 1;
    }
    table
}

/// Checks a field's name.
pub(in crate::guard) fn check(name: &[u8]) -> Result<(), Refusal> {
    let (mut all, mut any) = (TOKEN, 0);
    for &byte in name {
        let class = CLASS[usize::from(byte)];
        all &= class;
        any |= class;
    }
    if name.is_empty() {
        return Err(bad("a header field has no name"));
    }
    if all & TOKEN == 0 {
        return Err(bad("a header field's name has characters that no name has"));
    }
    if name.len() > NAME_MAX {
        return Err(bad("a header field's name is longer than 128 bytes"));
    }
    if any & TWIN != 0 {
        return with_lower_case(name, |twin| {
            if protected(twin) || is_hop_by_hop(twin) {
                Err(bad(
                    "a header field's name becomes another one where servers read - for its other signs",
                ))
            } else {
                Ok(())
            }
        });
    }
    Ok(())
}

/// Whether a field must not stand in a trailer section: framing, routing, identity, and what changes how the
/// message is understood (RFC 9110 section 6.5.1).
pub(in crate::guard) fn forbidden_in_trailers(name: &[u8]) -> bool {
    with_lower_case(name, |name| {
        protected(name)
            || is_hop_by_hop(name)
            || matches!(
                name,
                "age" | "expires" | "location" | "max-forwards" | "pragma" | "proxy" | "x-real-ip"
            )
            || name.starts_with("if-")
            || name.starts_with("proxy-")
            || name.starts_with("content-")
    })
}

/// Whether `Connection` must not name this.
pub(super) fn forbidden_in_connection(name: &[u8]) -> bool {
    with_lower_case(name, protected)
}

/// The name as servers that are careless with it see it: lower case, and `-` for all that is no letter or digit.
fn with_lower_case<T>(name: &[u8], look: impl FnOnce(&str) -> T) -> T {
    let mut lower = [0; NAME_MAX];
    // A longer one is no field that is known.
    let length = name.len().min(NAME_MAX);
    for (to, from) in lower.iter_mut().zip(name) {
        *to = match from.to_ascii_lowercase() {
            byte if byte.is_ascii_alphanumeric() => byte,
            _ => b'-',
        };
    }
    look(std::str::from_utf8(&lower[..length]).unwrap_or_default())
}

const fn bad(text: &'static str) -> Refusal {
    Refusal::bad("name", text)
}
