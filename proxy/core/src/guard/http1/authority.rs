//! Hosts and ports, as `Host` and targets carry them.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Longest host: that of a DNS name.
const HOST_MAX: usize = 255;

/// A host and its port.
#[derive(Debug, Clone, Copy)]
pub(in crate::guard) struct Authority<'a> {
    host: &'a [u8],
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Reads `host`, `host:port` or `[IPv6]:port`; nothing else is one (no user information, no list, no path).
    pub(in crate::guard) fn read(text: &'a [u8]) -> Option<Self> {
        let (host, rest) = if text.first() == Some(&b'[') {
            let end = text.iter().position(|&byte| byte == b']')?;
            std::str::from_utf8(&text[1..end])
                .ok()?
                .parse::<Ipv6Addr>()
                .ok()?;
            text.split_at(end + 1)
        } else {
            let end = text
                .iter()
                .position(|&byte| byte == b':')
                .unwrap_or(text.len());
            let (host, rest) = text.split_at(end);
            if !is_name(host) {
                return None;
            }
            (host, rest)
        };
        let port = match rest {
            [] => None,
            [b':', digits @ ..] => Some(port(digits)?),
            _ => return None,
        };
        Some(Self { host, port })
    }

    /// Whether a port is written.
    pub(super) fn has_port(&self) -> bool {
        self.port.is_some()
    }

    /// Whether both mean the same where `default` is the port of who does not say one.
    pub(in crate::guard) fn equals(&self, other: &Authority<'_>, default: u16) -> bool {
        self.port.unwrap_or(default) == other.port.unwrap_or(default) && self.same_host(other)
    }

    /// Whether the hosts are the same; a dot at the end does not count.
    pub(super) fn same_host(&self, other: &Authority<'_>) -> bool {
        let without_dot = |host: &'_ [u8]| host.len() - usize::from(host.ends_with(b"."));
        self.host[..without_dot(self.host)]
            .eq_ignore_ascii_case(&other.host[..without_dot(other.host)])
    }
}

fn port(digits: &[u8]) -> Option<u16> {
    if digits.first() == Some(&b'0') || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A registered name: labels of letters, digits, `-`, `_` and `~`, or an IPv4 address. Names that end in a
/// number and are no address are refused: some resolvers read `127.1` as one.
fn is_name(host: &[u8]) -> bool {
    let (mut label, mut dots, mut good) = (0, 0, true);
    for &byte in host {
        match byte {
            b'.' => {
                good &= label > 0;
                label = 0;
                dots += 1;
            }
            b'-' | b'_' | b'~' => label += 1,
            _ => {
                good &= byte.is_ascii_alphanumeric();
                label += 1;
            }
        }
    }
    good && !host.is_empty()
        && host.len() <= HOST_MAX
        && host != b"."
        && (dots == 0 || !ends_in_number(host) || is_ipv4(host))
}

fn ends_in_number(host: &[u8]) -> bool {
    let host = host.strip_suffix(b".").unwrap_or(host);
    let last = host.rsplit(|&byte| byte == b'.').next().unwrap_or(host);
    let hexadecimal = last.strip_prefix(b"0x").or(last.strip_prefix(b"0X"));
    last.iter().all(u8::is_ascii_digit)
        || hexadecimal.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

fn is_ipv4(host: &[u8]) -> bool {
    std::str::from_utf8(host).is_ok_and(|text| text.parse::<Ipv4Addr>().is_ok())
}
