//! Header rules of a proxy: what belongs to one hop, and what a hop adds.
//!
//! Pure, on names in lower case and values as bytes.

use crate::detect::is_token;
use std::net::{IpAddr, SocketAddr};

/// Fields that belong to one connection (RFC 9110 section 7.6.1, and the `proxy-` fields, which are meant for
/// the proxy they reach). `trailer` is not among them: trailers are forwarded.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Fields that `Connection` must not name away: framing, routing, identity and what the proxy itself writes.
const PROTECTED: [&str; 22] = [
    "accept",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "grpc-timeout",
    "host",
    "idempotency-key",
    "origin",
    "range",
    "set-cookie",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "via",
];

/// Families of such fields.
const PROTECTED_PREFIXES: [&str; 4] = ["heddle-", "l5d-", "x-forwarded-", "x-b3-"];

/// Whether a field belongs to one connection and is not forwarded.
pub fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.contains(&name)
}

/// Whether a field stays even when `Connection` names it.
///
/// ```
/// use heddle_core::headers::protected;
/// assert!(protected("x-forwarded-for") && protected("authorization"));
/// assert!(!protected("x-hop-note"));
/// ```
pub fn protected(name: &str) -> bool {
    PROTECTED.contains(&name)
        || PROTECTED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// The names in one value of `Connection`, as written; what is no token is left out.
pub fn connection_tokens(value: &[u8]) -> impl Iterator<Item = &str> {
    value
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty() && token.iter().all(|&byte| is_token(byte)))
        .filter_map(|token| std::str::from_utf8(token).ok())
}

/// What a hop knows of the request that it forwards.
#[derive(Debug, Clone, Copy)]
pub struct Hop<'a> {
    /// Who sent it.
    pub peer: SocketAddr,
    /// The authority it was sent to.
    pub host: Option<&'a str>,
    /// The scheme it was sent by, `http` or `https`.
    pub scheme: &'a str,
}

impl Hop<'_> {
    /// One element of `Forwarded` (RFC 7239): `for`, `host` if known, and `proto`.
    ///
    /// ```
    /// use heddle_core::headers::Hop;
    /// let peer = "[2001:db8::1]:4711".parse().unwrap();
    /// let hop = Hop { peer, host: Some("accounts:8080"), scheme: "http" };
    /// assert_eq!(hop.forwarded(), r#"for="[2001:db8::1]";host="accounts:8080";proto=http"#);
    /// ```
    pub fn forwarded(&self) -> String {
        let node = match self.peer.ip().to_canonical() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("\"[{address}]\""),
        };
        let host = self
            .host
            .map(|host| format!(";host={}", token_or_quoted(host)))
            .unwrap_or_default();
        format!("for={node}{host};proto={}", token_or_quoted(self.scheme))
    }
}

/// A list with one element more at its end; the values of several header lines become one.
///
/// ```
/// use heddle_core::headers::appended;
/// assert_eq!(appended(&[b"1.1 a", b"2 b"], "1.1 heddle"), b"1.1 a, 2 b, 1.1 heddle");
/// assert_eq!(appended(&[], "1.1 heddle"), b"1.1 heddle");
/// ```
pub fn appended(values: &[&[u8]], element: &str) -> Vec<u8> {
    let mut list = values
        .iter()
        .copied()
        .filter(|value| !value.is_empty())
        .collect::<Vec<_>>();
    list.push(element.as_bytes());
    list.join(&b", "[..])
}

/// How many elements a list header has, over all its lines; commas within quotes do not count.
pub fn list_length(values: &[&[u8]]) -> usize {
    values.iter().map(|value| elements(value)).sum()
}

fn elements(value: &[u8]) -> usize {
    let (mut count, mut quoted, mut escaped, mut something) = (0, false, false, false);
    for &byte in value {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => (quoted, something) = (!quoted, true),
            b',' if !quoted => {
                count += usize::from(something);
                something = false;
            }
            b' ' | b'\t' => {}
            _ => something = true,
        }
    }
    count + usize::from(something)
}

/// A token as is, anything else as a quoted string (RFC 9110 section 5.6.4).
fn token_or_quoted(text: &str) -> String {
    if !text.is_empty() && text.bytes().all(is_token) {
        return text.to_owned();
    }
    let escaped = text
        .chars()
        .filter(|character| matches!(character, ' '..='~'))
        .fold(
            String::with_capacity(text.len() + 2),
            |mut escaped, character| {
                if matches!(character, '"' | '\\') {
                    escaped.push('\\');
                }
                escaped.push(character);
                escaped
            },
        );
    format!("\"{escaped}\"")
}

/// Whether an address is of a network, given as an address and the length of its prefix in bits. IPv4 addresses
/// written as IPv6 count as IPv4; addresses of different families never match.
///
/// ```
/// use heddle_core::headers::in_network;
/// let network = ("10.0.0.0".parse().unwrap(), 25);
/// assert!(in_network("10.0.0.127".parse().unwrap(), network));
/// assert!(!in_network("10.0.0.128".parse().unwrap(), network));
/// ```
pub fn in_network(address: IpAddr, (network, prefix): (IpAddr, u8)) -> bool {
    let (address, network) = match (address.to_canonical(), network.to_canonical()) {
        (IpAddr::V4(address), IpAddr::V4(network)) => (
            u128::from(address.to_bits()) << 96,
            u128::from(network.to_bits()) << 96,
        ),
        (IpAddr::V6(address), IpAddr::V6(network)) => (address.to_bits(), network.to_bits()),
        _ => return false,
    };
    let mask = u128::MAX
        .checked_shl(128 - u32::from(prefix.min(128)))
        .unwrap_or(0);
    address & mask == network & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_names_are_tokens() {
        let cases: &[(&[u8], &[&str])] = &[
            (b"close", &["close"]),
            (b" keep-alive , X-Note,,", &["keep-alive", "X-Note"]),
            (b"a b, c", &["c"]),
            (b"\xff, d", &["d"]),
            (b"", &[]),
        ];
        for (value, expected) in cases {
            assert_eq!(connection_tokens(value).collect::<Vec<_>>(), *expected);
        }
    }

    #[test]
    fn forwarded_quotes_what_is_no_token() {
        let cases = [
            (
                "192.0.2.1:9",
                Some("web"),
                "http",
                "for=192.0.2.1;host=web;proto=http",
            ),
            (
                "[::ffff:192.0.2.1]:9",
                None,
                "https",
                "for=192.0.2.1;proto=https",
            ),
            (
                "[::1]:9",
                Some("[::1]:80"),
                "http",
                "for=\"[::1]\";host=\"[::1]:80\";proto=http",
            ),
            (
                "127.0.0.1:9",
                Some("a\"b\r\n"),
                "http",
                "for=127.0.0.1;host=\"a\\\"b\";proto=http",
            ),
        ];
        for (peer, host, scheme, expected) in cases {
            let hop = Hop {
                peer: peer.parse().unwrap(),
                host,
                scheme,
            };
            assert_eq!(hop.forwarded(), expected);
        }
    }

    #[test]
    fn lists_are_counted_over_lines_and_quotes() {
        assert_eq!(list_length(&[b"1.1 a, 1.1 b", b"2 c"]), 3);
        assert_eq!(list_length(&[b"for=\"[::1]\", for=\"a,b\\\",c\""]), 2);
        assert_eq!(list_length(&[b" , ", b""]), 0);
    }

    #[test]
    fn networks_match_within_a_family() {
        let cases = [
            ("10.1.2.3", "10.0.0.0", 8, true),
            ("11.1.2.3", "10.0.0.0", 8, false),
            ("::ffff:10.1.2.3", "10.0.0.0", 8, true),
            ("fe80::1", "fe80::", 10, true),
            ("fe80::1", "10.0.0.0", 0, false),
            ("1.2.3.4", "0.0.0.0", 0, true),
            ("1.2.3.4", "1.2.3.4", 32, true),
            ("1.2.3.5", "1.2.3.4", 32, false),
        ];
        for (address, network, prefix, expected) in cases {
            let network = (network.parse().unwrap(), prefix);
            assert_eq!(
                in_network(address.parse().unwrap(), network),
                expected,
                "{address} {network:?}"
            );
        }
    }
}
