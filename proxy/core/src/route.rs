//! Which rule a request meets, and what that rule makes of the request.
//!
//! Pure. Paths are compared as they came, without percent-decoding: what a rule sees is what
//! the endpoint will see. Query parameters are compared decoded, since their encoding is the
//! client's choice.

use crate::config::{Key, Match, PathRewrite, Route, Rule, StringMatch};
use crate::identify::RequestView;
use crate::name::Path;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Who sent a request, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// Namespace of the listener that the request came to.
    pub namespace: &'a str,
    /// The calling service, if something vouches for it.
    pub service: Option<&'a str>,
}

/// The `Route` for a logical name as the identifier made it (`/svc/<service>`), if there is one.
///
/// `accounts` belongs to the caller's namespace; `accounts.bank` is the service `accounts` of the
/// namespace `bank`, whoever calls. A port (`accounts:8080`) is part of the service's name.
/// A name written in full for the caller's namespace wins over the reading with a namespace in it.
pub fn find<'c>(
    routes: &'c BTreeMap<(String, String), Arc<Route>>,
    namespace: &str,
    name: &Path,
) -> Option<&'c Arc<Route>> {
    if routes.is_empty() {
        return None;
    }
    let service = service_of(name)?;
    let own = routes.get(&(namespace.to_owned(), service.clone()));
    own.or_else(|| {
        let (namespace, short) = elsewhere(&service)?;
        routes.get(&(namespace.to_owned(), short))
    })
}

/// Whether a document that names a service of its namespace is about a logical name, by the rules of [`find`].
///
/// ```
/// use heddle_core::{name::Path, route::is_about};
/// let name = |text| Path::parse(text).unwrap();
/// assert!(is_about("bank", "accounts", "bank", &name("/svc/accounts")));
/// assert!(is_about("bank", "accounts", "shop", &name("/svc/accounts.bank")));
/// assert!(!is_about("bank", "accounts", "shop", &name("/svc/accounts")));
/// ```
pub fn is_about(namespace: &str, service: &str, caller_namespace: &str, name: &Path) -> bool {
    let Some(name) = service_of(name) else {
        return false;
    };
    (namespace == caller_namespace && service == name)
        || elsewhere(&name).is_some_and(|(of, short)| of == namespace && short == service)
}

/// The reading of a service's name with a namespace in it, as (namespace, service).
fn elsewhere(service: &str) -> Option<(&str, String)> {
    let (host, port) = match service.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (service, None),
    };
    let (short, namespace) = host.rsplit_once('.')?;
    let short = port.map_or_else(|| short.to_owned(), |port| format!("{short}:{port}"));
    Some((namespace, short))
}

/// The part of a logical name below `/svc`, joined by `/`.
pub fn service_of(name: &Path) -> Option<String> {
    let mut elements = name
        .elements()
        .iter()
        .map(|e| String::from_utf8_lossy(e.as_ref()));
    (elements.next()? == "svc").then_some(())?;
    let rest: Vec<_> = elements.collect();
    (!rest.is_empty()).then(|| rest.join("/"))
}

/// The first rule that a request meets; `None` when it meets none.
pub fn choose<'r>(
    route: &'r Route,
    request: &dyn RequestView,
    caller: &Caller<'_>,
) -> Option<&'r Rule> {
    route
        .rules
        .iter()
        .find(|rule| matches(&rule.matches, request, caller))
}

/// Whether a request meets all conditions of a match; an empty match is met by all.
pub fn matches(conditions: &Match, request: &dyn RequestView, caller: &Caller<'_>) -> bool {
    let Match {
        methods,
        path,
        headers,
        query,
        from,
    } = conditions;
    (methods.is_empty() || methods.iter().any(|m| m == request.method()))
        && path
            .as_ref()
            .is_none_or(|m| path_matches(m, request.path()))
        && headers
            .iter()
            .all(|(name, m)| header_matches(name, m, request))
        && query
            .iter()
            .all(|(name, m)| query_matches(name, m, request.query().unwrap_or_default()))
        && from.as_ref().is_none_or(|m| caller_matches(m, caller))
}

fn path_matches(condition: &StringMatch, path: &str) -> bool {
    match condition {
        StringMatch::Prefix(prefix) => after_prefix(path, prefix).is_some(),
        other => value_matches(other, path.as_bytes()),
    }
}

/// What is left of a path after a prefix of whole segments; `/v1` and `/v1/` are the same prefix.
fn after_prefix<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(prefix.strip_suffix('/').unwrap_or(prefix))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// A header that occurs several times matches when one of its values does.
fn header_matches(name: &str, condition: &StringMatch, request: &dyn RequestView) -> bool {
    let first = match name {
        "host" => request.authority().map(str::as_bytes),
        _ => request.header(name),
    };
    match (condition, first) {
        (StringMatch::Present(wanted), first) => first.is_some() == *wanted,
        (_, None) => false,
        (condition, Some(first)) => {
            value_matches(condition, first)
                || request
                    .headers_all(name)
                    .iter()
                    .skip(1)
                    .any(|value| value_matches(condition, value))
        }
    }
}

/// A parameter that occurs several times matches when one of its values does.
fn query_matches(name: &str, condition: &StringMatch, query: &str) -> bool {
    let mut values = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(key).as_ref() == name.as_bytes()).then_some(value)
        });
    match condition {
        StringMatch::Present(wanted) => values.next().is_some() == *wanted,
        condition => values.any(|value| value_matches(condition, &decoded(value))),
    }
}

/// A query component without `+` and percent-encoding; a broken escape stays as it is.
fn decoded(component: &str) -> Cow<'_, [u8]> {
    let bytes = component.as_bytes();
    if !bytes.iter().any(|b| matches!(b, b'%' | b'+')) {
        return Cow::Borrowed(bytes);
    }
    let nibble = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, nibble(at + 1), nibble(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                plain.push((high * 16 + low) as u8);
                at += 3;
                continue;
            }
            (b'+', ..) => plain.push(b' '),
            _ => plain.push(byte),
        }
        at += 1;
    }
    Cow::Owned(plain)
}

/// `from` is compared with the caller's namespace, its service, and `service.namespace`.
fn caller_matches(condition: &StringMatch, caller: &Caller<'_>) -> bool {
    let Caller { namespace, service } = *caller;
    if let StringMatch::Present(wanted) = condition {
        return service.is_some() == *wanted;
    }
    value_matches(condition, namespace.as_bytes())
        || service.is_some_and(|service| {
            value_matches(condition, service.as_bytes())
                || value_matches(condition, format!("{service}.{namespace}").as_bytes())
        })
}

fn value_matches(condition: &StringMatch, value: &[u8]) -> bool {
    match condition {
        StringMatch::Exact(wanted) => value == wanted.as_bytes(),
        StringMatch::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
        StringMatch::Regex(regex) => {
            std::str::from_utf8(value).is_ok_and(|value| regex.is_match(value))
        }
        StringMatch::Present(wanted) => *wanted,
    }
}

/// The key of a sticky choice or a ring hash; `None` when the request does not carry it.
pub fn key_of(key: &Key, request: &dyn RequestView, peer: IpAddr) -> Option<Vec<u8>> {
    let value = match key {
        Key::Header(name) if name == "host" => request.authority()?.as_bytes().to_vec(),
        Key::Header(name) => request.header(name)?.trim_ascii().to_vec(),
        Key::Cookie(name) => {
            let headers = request.headers_all("cookie");
            headers
                .iter()
                .find_map(|header| cookie(header, name))
                .map(<[u8]>::to_vec)?
        }
        Key::Address => match peer.to_canonical() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        },
    };
    (!value.is_empty()).then_some(value)
}

/// The value of a cookie in one `cookie` header (RFC 6265 section 4.2.1).
fn cookie<'h>(header: &'h [u8], name: &str) -> Option<&'h [u8]> {
    header.split(|b| *b == b';').find_map(|pair| {
        let pair = pair.trim_ascii();
        let at = pair.iter().position(|b| *b == b'=')?;
        (pair[..at].trim_ascii_end() == name.as_bytes()).then(|| pair[at + 1..].trim_ascii_start())
    })
}

/// The path and query that a rule forwards; the argument itself when the rule does not rewrite it.
///
/// A prefix rewrite replaces what `match.path.prefix` matched, or goes in front of the path when
/// the rule has no such match. `*` (of `OPTIONS *`) is never rewritten.
pub fn rewrite_path<'p>(rule: &Rule, path_and_query: &'p str) -> Cow<'p, str> {
    let Some(rewrite) = &rule.set.path else {
        return Cow::Borrowed(path_and_query);
    };
    let (path, query) = match path_and_query.find('?') {
        Some(at) => path_and_query.split_at(at),
        None => (path_and_query, ""),
    };
    if !path.starts_with('/') {
        return Cow::Borrowed(path_and_query);
    }
    let new = match rewrite {
        PathRewrite::Full(whole) => whole.clone(),
        PathRewrite::Prefix(new) => {
            let matched = match &rule.matches.path {
                Some(StringMatch::Prefix(prefix)) => prefix.as_str(),
                _ => "/",
            };
            let Some(rest) = after_prefix(path, matched) else {
                return Cow::Borrowed(path_and_query);
            };
            let joined = format!("{}{rest}", new.strip_suffix('/').unwrap_or(new));
            if joined.is_empty() {
                "/".to_owned()
            } else {
                joined
            }
        }
    };
    Cow::Owned(new + query)
}

#[cfg(test)]
mod tests;
