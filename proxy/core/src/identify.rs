//! From a request's head to a logical name.
//!
//! Pure. A request that names two destinations is refused ([`Identified::Bad`]) rather than
//! routed by one of them.

use crate::config::Identifier;
use crate::name::Path;
use std::borrow::Cow;
use std::net::Ipv6Addr;

/// Longest host that names a service, in bytes: the limit of the DNS (RFC 1035 section 2.3.4).
pub const HOST_MAX: usize = 255;

/// What the core sees of a request's head.
pub trait RequestView {
    /// The method, as sent.
    fn method(&self) -> &str;
    /// The path without the query, as sent.
    fn path(&self) -> &str;
    /// The query without `?`.
    fn query(&self) -> Option<&str>;
    /// Whether the request came as HTTP/1.0.
    fn http10(&self) -> bool;
    /// The authority of an absolute target or of `:authority`, else the `Host` header.
    fn authority(&self) -> Option<&str>;
    /// The first value of a header; the name in lower case.
    fn header(&self, name: &str) -> Option<&[u8]>;
    /// All values of a header, in order; the name in lower case.
    fn headers_all(&self, name: &str) -> Vec<&[u8]>;
}

/// What an identifier makes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identified {
    /// A logical name.
    Name {
        /// The name.
        path: Path,
        /// How many segments to remove from the forwarded path, see [`consume_path`].
        consumed_segments: usize,
    },
    /// Nothing it could use; the next identifier may try.
    Unidentified,
    /// Something that must not be routed, and why.
    Bad(String),
}

impl Identified {
    fn named(path: Path) -> Self {
        Self::Name {
            path,
            consumed_segments: 0,
        }
    }
}

/// Runs one identifier.
///
/// ```
/// use heddle_core::{config::Identifier, identify::{host_name, identify, Identified, RequestView}, name::Path};
///
/// struct To(&'static str);
/// impl RequestView for To {
///     fn method(&self) -> &str { "GET" }
///     fn path(&self) -> &str { "/" }
///     fn query(&self) -> Option<&str> { None }
///     fn http10(&self) -> bool { false }
///     fn authority(&self) -> Option<&str> { Some(self.0) }
///     fn header(&self, _: &str) -> Option<&[u8]> { None }
///     fn headers_all(&self, _: &str) -> Vec<&[u8]> { Vec::new() }
/// }
///
/// let path = Path::parse("/svc/accounts:8080")?;
/// assert_eq!(identify(&Identifier::Host, &To("Accounts.:8080")), Identified::Name { path, consumed_segments: 0 });
/// assert!(matches!(identify(&Identifier::Host, &To("user@accounts")), Identified::Bad(_)));
/// # Ok::<(), heddle_core::name::ParseError>(())
/// ```
pub fn identify(identifier: &Identifier, request: &dyn RequestView) -> Identified {
    match identifier {
        Identifier::Host => by_host(request),
        Identifier::Header(name) => by_header(name, request),
        Identifier::HeaderToken(name) => by_token(name, request),
        Identifier::Path { segments, consume } => by_path(*segments, *consume, request),
        Identifier::MethodHost { uri } => by_method_and_host(*uri, request),
        Identifier::Static(name) => {
            match Path::parse(&format!("/{}", name.trim_start_matches('/'))) {
                Ok(path) => Identified::named(service(&[]).concat(&path)),
                Err(error) => {
                    Identified::Bad(format!("the static name `{name}` is no path: {error}"))
                }
            }
        }
    }
}

/// Runs identifiers in order until one identifies, or refuses.
pub fn identify_first(identifiers: &[Identifier], request: &dyn RequestView) -> Identified {
    identifiers
        .iter()
        .map(|identifier| identify(identifier, request))
        .find(|identified| *identified != Identified::Unidentified)
        .unwrap_or(Identified::Unidentified)
}

/// `/svc` and these elements, none of which is empty.
fn service(elements: &[&str]) -> Path {
    Path::below("svc", elements).expect("the callers checked that no element is empty")
}

fn by_host(request: &dyn RequestView) -> Identified {
    match request.authority() {
        None | Some("") => Identified::Unidentified,
        Some(authority) => match canonical(authority) {
            Some(name) => Identified::named(service(&[&name])),
            None => Identified::Bad(format!(
                "`{}` is no host and port",
                authority.escape_debug()
            )),
        },
    }
}

fn by_header(name: &str, request: &dyn RequestView) -> Identified {
    match only_value(name, request) {
        Err(bad) => bad,
        Ok(value) => match Path::parse(&value) {
            Ok(path) => Identified::named(service(&[]).concat(&path)),
            Err(error) => Identified::Bad(format!("header {name} holds no path: {error}")),
        },
    }
}

fn by_token(name: &str, request: &dyn RequestView) -> Identified {
    only_value(name, request).map_or_else(|bad| bad, |value| Identified::named(service(&[&value])))
}

/// The one value of a header; several different ones contradict each other.
fn only_value<'r>(name: &str, request: &'r dyn RequestView) -> Result<Cow<'r, str>, Identified> {
    if matches!(name, "host" | ":authority") {
        let authority = request
            .authority()
            .filter(|authority| !authority.is_empty());
        return authority.map(Cow::Borrowed).ok_or(Identified::Unidentified);
    }
    if name == ":path" {
        return Ok(Cow::Borrowed(request.path()));
    }
    let values = request.headers_all(name);
    let Some(first) = values.first().filter(|value| !value.is_empty()) else {
        return Err(Identified::Unidentified);
    };
    if values.iter().any(|value| value != first) {
        return Err(Identified::Bad(format!(
            "header {name} occurs with different values"
        )));
    }
    let text = std::str::from_utf8(first)
        .map_err(|_| Identified::Bad(format!("header {name} is not UTF-8")))?;
    Ok(Cow::Borrowed(text))
}

fn by_path(wanted: usize, consume: bool, request: &dyn RequestView) -> Identified {
    let segments = segments(request.path());
    let Some(taken) = segments.get(..wanted).filter(|taken| !taken.is_empty()) else {
        return Identified::Unidentified;
    };
    if taken.contains(&"") {
        return Identified::Bad(format!(
            "one of the path's first {wanted} segments is empty"
        ));
    }
    Identified::Name {
        path: service(taken),
        consumed_segments: if consume { wanted } else { 0 },
    }
}

/// The parts between slashes, without trailing empty ones.
fn segments(path: &str) -> Vec<&str> {
    let path = path.trim_end_matches('/');
    path.split('/').skip(1).collect()
}

fn by_method_and_host(uri: bool, request: &dyn RequestView) -> Identified {
    let name = if request.http10() {
        service(&["1.0", request.method()])
    } else {
        match request.authority() {
            None | Some("") => return Identified::Unidentified,
            Some(host) => service(&["1.1", request.method(), &host.to_lowercase()]),
        }
    };
    if !uri {
        return Identified::named(name);
    }
    match Path::parse(request.path()) {
        Ok(path) => Identified::named(name.concat(&path)),
        Err(error) => Identified::Bad(format!(
            "the request's path cannot be part of a name: {error}"
        )),
    }
}

/// The service that an authority names: lower case, without a trailing dot, without ports 80 and 443.
///
/// `None` for anything but a host of letters, digits and `-._~`, or an IPv6 address in brackets, with an
/// optional port: user names, escapes and separators in a host are how requests are made to mean two
/// things.
///
/// ```
/// use heddle_core::identify::host_name;
/// assert_eq!(host_name("Accounts.Bank.:80").as_deref(), Some("accounts.bank"));
/// assert_eq!(host_name("[0::1]:8080").as_deref(), Some("[::1]:8080"));
/// assert_eq!(host_name("accounts/x"), None);
/// ```
pub fn host_name(authority: &str) -> Option<String> {
    canonical(authority).map(Cow::into_owned)
}

/// [`host_name`] without a copy where the authority is in its last form already, as most are.
fn canonical(authority: &str) -> Option<Cow<'_, str>> {
    let (host, port) = split_port(authority)?;
    let plain = match host.strip_prefix('[') {
        Some(rest) => Cow::Owned(format!(
            "[{}]",
            rest.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?
        )),
        None => plain_host(host)?,
    };
    match port {
        None | Some(80 | 443) => Some(plain),
        Some(_) if plain == host && !authority[host.len()..].starts_with(":0") => {
            Some(Cow::Borrowed(authority))
        }
        Some(port) => Some(Cow::Owned(format!("{plain}:{port}"))),
    }
}

/// Host and port; an empty port is none (RFC 3986 section 3.2.3).
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let end_of_host = authority.rfind(']').unwrap_or(0);
    match authority[end_of_host..].find(':') {
        None => Some((authority, None)),
        Some(colon) => {
            let (host, port) = authority.split_at(end_of_host + colon);
            let port = &port[1..];
            if port.is_empty() {
                return Some((host, None));
            }
            let digits = port.bytes().all(|byte| byte.is_ascii_digit());
            port.parse()
                .ok()
                .filter(|&port| digits && port > 0)
                .map(|port| (host, Some(port)))
        }
    }
}

fn plain_host(host: &str) -> Option<Cow<'_, str>> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let named = !host.is_empty() && host.len() <= HOST_MAX && host.bytes().all(legal);
    if !named || host.split('.').any(str::is_empty) {
        return None;
    }
    let lower = !host.bytes().any(|byte| byte.is_ascii_uppercase());
    Some(if lower {
        Cow::Borrowed(host)
    } else {
        Cow::Owned(host.to_ascii_lowercase())
    })
}

/// A target without its first segments; a trailing slash and the query stay.
///
/// ```
/// use heddle_core::identify::consume_path;
/// assert_eq!(consume_path("/accounts/v1/list/?page=2", 2), "/list/?page=2");
/// assert_eq!(consume_path("/accounts", 1), "/");
/// ```
pub fn consume_path(path_and_query: &str, consumed: usize) -> String {
    if consumed == 0 {
        return path_and_query.to_owned();
    }
    let (path, query) =
        path_and_query.split_at(path_and_query.find('?').unwrap_or(path_and_query.len()));
    let rest = segments(path);
    let rest = rest.get(consumed..).unwrap_or_default();
    if rest.is_empty() {
        return format!("/{query}");
    }
    let slash = if path.ends_with('/') { "/" } else { "" };
    format!("/{}{slash}{query}", rest.join("/"))
}

#[cfg(test)]
mod tests;
