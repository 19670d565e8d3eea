//! The parsers behind the formats: from a text to the value it stands for.

use super::super::shape::Problem;
use crate::config::{Key, RetryOn};
use crate::name::{Dtab, Path};
use regex::{Regex, RegexBuilder};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A compiled regular expression may not take more than this (the crate's default is 10 MiB):
/// every worker holds a copy of its caches.
const REGEX_BYTES: usize = 256 * 1024;
/// The longest name that DNS carries (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;
/// The longest label of a DNS name.
const MAX_LABEL: usize = 63;
/// The highest weight: Finagle's weights are of the order of 1, and sums must stay exact.
const MAX_WEIGHT: f64 = 1e6;

type Parsed<T> = Result<T, Problem>;

pub(in crate::spec) fn ok(holds: bool, otherwise: &str) -> Parsed<()> {
    if holds {
        Ok(())
    } else {
        Err(Problem::new(otherwise))
    }
}

/// A host name or an IP address, with its port and perhaps a weight.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::spec) struct HostPort {
    pub(in crate::spec) host: Host,
    pub(in crate::spec) port: u16,
    pub(in crate::spec) weight: f64,
}

/// Where a [`HostPort`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::spec) enum Host {
    Address(IpAddr),
    Name(String),
}

/// A DNS label (RFC 1123), as namespaces and listeners have them.
pub(in crate::spec) fn label(text: &str) -> Parsed<()> {
    ok(text.len() <= MAX_LABEL, "is longer than 63 characters")?;
    ok(!text.is_empty(), "is empty")?;
    let wrong = text
        .char_indices()
        .find(|(_, c)| !matches!(c, 'a'..='z' | '0'..='9' | '-'));
    if let Some((_, c)) = wrong {
        return Err(Problem::new(format!(
            "is not a DNS label: `{c}` cannot stand in one"
        )));
    }
    ok(
        !text.starts_with('-') && !text.ends_with('-'),
        "begins or ends with `-`",
    )
}

/// Labels joined by dots.
pub(in crate::spec) fn subdomain(text: &str) -> Parsed<()> {
    ok(text.len() <= MAX_NAME, "is longer than 253 characters")?;
    text.split('.').try_for_each(label)
}

/// Where spans are sent: `http://host:port`.
pub(in crate::spec) fn collector(text: &str) -> Parsed<()> {
    let rest = text.strip_prefix("http://");
    let authority = rest.map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    ok(
        authority.is_some_and(|authority| host_port(authority).is_ok()),
        "is not `http://host:port`",
    )
}

/// The name of a service as callers write it: a host name (with `_`, which container networks
/// allow) and perhaps a port; or several elements joined by `/`, as some identifiers make them.
pub(in crate::spec) fn service(text: &str) -> Parsed<()> {
    ok(!text.is_empty(), "is empty")?;
    ok(text.len() <= MAX_NAME, "is longer than 253 characters")?;
    if text.contains('/') {
        let elements: Vec<_> = text.split('/').collect();
        let legal = |e: &&str| !e.is_empty() && e.bytes().all(|b| b.is_ascii_graphic());
        return ok(
            elements.iter().all(legal),
            "has an empty element, or one with blanks",
        );
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    if let Some(upper) = host.chars().find(char::is_ascii_uppercase) {
        return Err(Problem::new(format!(
            "has the capital `{upper}`, which no host has once it is lower-cased"
        )));
    }
    let legal = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    ok(host.split('.').all(legal), "is not a host name")?;
    port.map_or(Ok(()), |port| self::port(port).map(|_| ()))
}

/// Where a rule sends: `/svc/<service>`, or the absolute path that is written.
pub(in crate::spec) fn destination(text: &str) -> Parsed<Path> {
    if !text.starts_with('/') {
        service(text)?;
    }
    let path = if text.starts_with('/') {
        text.to_owned()
    } else {
        format!("/svc/{text}")
    };
    let path =
        Path::parse(&path).map_err(|error| Problem::new(format!("is not a path: {error}")))?;
    ok(!path.elements().is_empty(), "is the empty path")?;
    Ok(path)
}

/// A dtab of the naming language.
pub(in crate::spec) fn dtab(text: &str) -> Parsed<Dtab> {
    Dtab::parse(text).map_err(|error| Problem {
        offset: Some(error.offset),
        what: format!("is not a dtab: {error}"),
    })
}

/// A path that bound names may begin with.
pub(in crate::spec) fn name_prefix(text: &str) -> Parsed<Path> {
    let path = Path::parse(text).map_err(|error| Problem {
        offset: Some(error.offset),
        what: format!("is not a path: {error}"),
    })?;
    ok(!path.is_empty(), "is the path of everything")?;
    Ok(path)
}

/// A port that something can be reached at.
fn port(text: &str) -> Parsed<u16> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    ok(digits, "has no port number after the colon")?;
    match text.parse::<u16>() {
        Ok(0) => Err(Problem::new("has port 0, which nothing can be reached at")),
        Ok(port) => Ok(port),
        Err(_) => Err(Problem::new(format!("has port {text}, above 65535"))),
    }
}

/// A literal address to listen on; port 0 takes a free one.
pub(in crate::spec) fn address(text: &str) -> Parsed<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(Problem::new("has no port"));
    };
    if port
        .parse::<u64>()
        .is_ok_and(|port| port > u64::from(u16::MAX))
    {
        return Err(Problem::new(format!("has port {port}, above 65535")));
    }
    Err(Problem::new(match host {
        "localhost" => "is a host name: write `127.0.0.1`".to_owned(),
        "" | "*" => format!("has no address: write `0.0.0.0:{port}` for every one"),
        _ => "is not an IP address with a port".to_owned(),
    }))
}

/// A literal address to connect to.
pub(in crate::spec) fn target(text: &str) -> Parsed<SocketAddr> {
    let address = address(text)?;
    ok(
        address.port() != 0,
        "has port 0, which nothing can be reached at",
    )?;
    Ok(address)
}

/// `host:port`.
pub(in crate::spec) fn host_port(text: &str) -> Parsed<HostPort> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let Some(port) = port else {
        return Err(Problem::new("has no port"));
    };
    if port.contains(':') {
        return Err(Problem::new(
            "is an IPv6 address without brackets, or has several ports",
        ));
    }
    let port = self::port(port)?;
    let host = match host.parse() {
        Ok(address) => Host::Address(address),
        Err(_) => Host::Name(host_name(host)?),
    };
    Ok(HostPort {
        host,
        port,
        weight: 1.0,
    })
}

/// A host name for DNS, which does not tell case apart.
fn host_name(text: &str) -> Parsed<String> {
    let lower = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let numeric = lower
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    ok(!numeric, "is neither an IP address nor a host name")?;
    let legal = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    ok(
        lower.len() <= MAX_NAME && lower.split('.').all(legal),
        "is neither an IP address nor a host name",
    )?;
    Ok(lower)
}

/// `host:port` or `host:port * weight`.
pub(in crate::spec) fn endpoint(text: &str) -> Parsed<HostPort> {
    let Some((address, weight)) = text.split_once('*') else {
        return host_port(text.trim());
    };
    let weight = weight.trim();
    let number = weight
        .bytes()
        .all(|b| b.is_ascii_digit() || b == b'.')
        .then(|| weight.parse::<f64>().ok());
    match number.flatten() {
        Some(number) if (0.0..=MAX_WEIGHT).contains(&number) => Ok(HostPort {
            weight: number,
            ..host_port(address.trim())?
        }),
        _ => Err(Problem::new(format!(
            "has the weight `{weight}`, which is not a number from 0 to {MAX_WEIGHT}"
        ))),
    }
}

/// An address or a network in CIDR notation, as address and prefix length.
pub(in crate::spec) fn network(text: &str) -> Parsed<(IpAddr, u8)> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address
        .parse()
        .map_err(|_| Problem::new("does not begin with an IP address"))?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = match length.map(str::parse::<u8>) {
        None => most,
        Some(Ok(length)) if length <= most => length,
        _ => {
            return Err(Problem::new(format!(
                "has no prefix length from 0 to {most}"
            )));
        }
    };
    let bits = match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    };
    let host_bits = bits.checked_shl(u32::from(length)).unwrap_or_default();
    ok(
        host_bits == 0 || length == most,
        "has bits beyond its prefix length",
    )?;
    Ok((address, length))
}

/// A token of RFC 9110 section 5.6.2.
pub(in crate::spec) fn token(text: &str) -> Parsed<()> {
    ok(!text.is_empty(), "is empty")?;
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    match text.chars().find(|c| !c.is_ascii() || !legal(*c as u8)) {
        Some(c) => Err(Problem::new(format!(
            "is not a token: `{c}` cannot stand in one"
        ))),
        None => Ok(()),
    }
}

/// The path of a request.
pub(in crate::spec) fn url_path(text: &str) -> Parsed<()> {
    ok(text.starts_with('/'), "does not begin with `/`")?;
    match text
        .chars()
        .find(|c| !c.is_ascii_graphic() || matches!(c, '?' | '#'))
    {
        Some(c) => Err(Problem::new(format!(
            "has `{}`, which no path holds unencoded",
            c.escape_debug()
        ))),
        None => Ok(()),
    }
}

/// A regular expression for whole values.
pub(in crate::spec) fn regex(text: &str) -> Parsed<Regex> {
    let build = |pattern: &str| {
        RegexBuilder::new(pattern)
            .size_limit(REGEX_BYTES)
            .dfa_size_limit(REGEX_BYTES)
            .build()
    };
    // Alone first: anchoring must not be able to complete a pattern that is broken.
    build(text)
        .and_then(|_| build(&format!("^(?:{text})$")))
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                Problem::new(format!("compiles to more than {} KiB", REGEX_BYTES / 1024))
            }
            other => {
                let text = other.to_string();
                let reason = text
                    .lines()
                    .last()
                    .unwrap_or_default()
                    .trim_start_matches("error: ")
                    .to_owned();
                Problem::new(format!("is not a regular expression: {reason}"))
            }
        })
}

/// What a sticky choice or a ring hash is keyed by.
pub(in crate::spec) fn key(text: &str) -> Parsed<Key> {
    if text == "address" {
        return Ok(Key::Address);
    }
    let named = |name: &str| {
        token(name).map_err(|problem| Problem::new(format!("names a field that {}", problem.what)))
    };
    match text.split_once(':') {
        Some(("header", name)) => named(name).map(|()| Key::Header(name.to_ascii_lowercase())),
        Some(("cookie", name)) => named(name).map(|()| Key::Cookie(name.to_owned())),
        _ => Err(Problem::new("names no source of keys")),
    }
}

/// A reason to retry.
pub(in crate::spec) fn retry_on(text: &str) -> Parsed<RetryOn> {
    Ok(match text {
        "connect" => RetryOn::Connect,
        "refused-stream" => RetryOn::RefusedStream,
        "unused-connection" => RetryOn::UnusedConnection,
        "reset" => RetryOn::Reset,
        "attempt-timeout" => RetryOn::AttemptTimeout,
        "5xx" => RetryOn::ServerError,
        _ => {
            if let Some(code) = text.strip_prefix("grpc:") {
                return grpc(code).map(RetryOn::Grpc);
            }
            match text.parse::<u16>() {
                Ok(status @ 400..=599) => RetryOn::Status(status),
                Ok(_) => return Err(Problem::new("is not a status from 400 to 599")),
                Err(_) => return Err(Problem::new("is not a reason to retry")),
            }
        }
    })
}

/// The names of the gRPC statuses, by number.
pub(in crate::spec) const GRPC_NAMES: [&str; 17] = [
    "ok",
    "cancelled",
    "unknown",
    "invalid-argument",
    "deadline-exceeded",
    "not-found",
    "already-exists",
    "permission-denied",
    "resource-exhausted",
    "failed-precondition",
    "aborted",
    "out-of-range",
    "unimplemented",
    "internal",
    "unavailable",
    "data-loss",
    "unauthenticated",
];

/// A gRPC status that is not OK, by name (`unavailable`, `DEADLINE_EXCEEDED`) or number.
pub(in crate::spec) fn grpc(text: &str) -> Parsed<u32> {
    let name = text.to_ascii_lowercase().replace('_', "-");
    let by_name = GRPC_NAMES.iter().position(|known| *known == name);
    match by_name.or_else(|| text.parse().ok()) {
        Some(code @ 1..=16) => Ok(code as u32),
        Some(0) => Err(Problem::new("is the gRPC status OK, which is no failure")),
        _ => Err(Problem::new("is not a gRPC status")),
    }
}

/// Numbers with units, largest first: `500ms`, `2s`, `1h30m`.
///
/// # Errors
/// What is wrong, to follow "is not a duration:".
pub(in crate::spec) fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let mut rest = text;
    let mut total: u64 = 0;
    let mut largest = u64::MAX;
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.len() - tail.trim_start_matches(|c: char| !c.is_ascii_digit()).len();
        let (unit, tail) = tail.split_at(letters);
        if number.is_empty() {
            return Err("it does not begin with a whole number".to_owned());
        }
        if unit.is_empty() {
            return Err("it has no unit".to_owned());
        }
        let Some((_, milliseconds)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!(
                "`{}` is no unit; there are `ms`, `s`, `m` and `h`",
                unit.trim()
            ));
        };
        if *milliseconds >= largest {
            return Err("its units do not go from large to small".to_owned());
        }
        largest = *milliseconds;
        let part = number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(*milliseconds));
        total = part
            .and_then(|part| total.checked_add(part))
            .ok_or("it is too long")?;
        rest = tail;
    }
    Ok(Duration::from_millis(total))
}

/// A duration in the largest unit that holds it without a fraction.
pub(in crate::spec) fn show(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    match milliseconds {
        0 => "0s".to_owned(),
        n if n % 3_600_000 == 0 => format!("{}h", n / 3_600_000),
        n if n % 60_000 == 0 => format!("{}m", n / 60_000),
        n if n % 1000 == 0 => format!("{}s", n / 1000),
        n => format!("{n}ms"),
    }
}

#[cfg(test)]
mod tests;
