//! The heads that go on: what is removed, what is added (RFC 9110 section 7.6, RFC 7239).

use super::tunnel::upgrade_token;
use super::view::authority;
use heddle_core::headers as decide;
use http::header::{
    CONNECTION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, UPGRADE, VIA,
};
use http::request::Parts;
use http::{Method, Uri, Version};
use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};

const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// What one connection adds to each request that came over it, made once.
#[derive(Debug, Clone)]
pub(crate) struct Hop {
    peer: IpAddr,
    trusted: bool,
    x_forwarded_for: HeaderValue,
    /// The last `forwarded` element, for as long as the host stays the same.
    forwarded: RefCell<(HeaderValue, HeaderValue)>,
}

impl Hop {
    pub(crate) fn new(peer: SocketAddr, trust: &[(IpAddr, u8)]) -> Self {
        let ip = peer.ip().to_canonical();
        let none = HeaderValue::from_static("");
        Self {
            peer: ip,
            trusted: trust.iter().any(|&network| decide::in_network(ip, network)),
            x_forwarded_for: HeaderValue::from_str(&ip.to_string())
                .unwrap_or_else(|_| none.clone()),
            forwarded: RefCell::new((none.clone(), none)),
        }
    }

    /// The caller's address.
    pub(crate) fn peer(&self) -> IpAddr {
        self.peer
    }

    fn forwarded(&self, host: &HeaderValue) -> HeaderValue {
        let mut last = self.forwarded.borrow_mut();
        if last.0 != host {
            let hop = decide::Hop {
                peer: SocketAddr::new(self.peer, 0),
                host: host.to_str().ok(),
                scheme: "http",
            };
            let element = hop.forwarded();
            let element = HeaderValue::from_str(&element)
                .unwrap_or_else(|_| HeaderValue::from_static("for=unknown"));
            *last = (host.clone(), element);
        }
        last.1.clone()
    }

    fn add(&self, headers: &mut HeaderMap, host: &HeaderValue) {
        if self.trusted {
            append(headers, X_FORWARDED_FOR, &self.x_forwarded_for);
            append(headers, FORWARDED, &self.forwarded(host));
            if !headers.contains_key(X_FORWARDED_PROTO) {
                headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
            }
            if !headers.contains_key(X_FORWARDED_HOST) {
                headers.insert(X_FORWARDED_HOST, host.clone());
            }
            return;
        }
        headers.insert(X_FORWARDED_FOR, self.x_forwarded_for.clone());
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
        headers.insert(X_FORWARDED_HOST, host.clone());
        headers.insert(FORWARDED, self.forwarded(host));
    }
}

/// Appends to a list header: to the last line, as a list (RFC 9110 section 5.3).
fn append(headers: &mut HeaderMap, name: HeaderName, value: &HeaderValue) {
    if !headers.contains_key(&name) {
        headers.insert(name, value.clone());
        return;
    }
    let old: Vec<&[u8]> = headers
        .get_all(&name)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let element = value.to_str().unwrap_or_default();
    if let Ok(list) = HeaderValue::from_bytes(&decide::appended(&old, element)) {
        headers.insert(name, list);
    }
}

/// Prepares a request's head for any upstream: hop-by-hop fields go, the hop's own come. Returns the
/// upgrade that it asks for, if it is one that we pass on.
pub(crate) fn outgoing_head(parts: &mut Parts, hop: &Hop) -> Option<HeaderValue> {
    let upgrade = upgrade_token(&parts.headers, parts.version);
    let host = match authority(parts).map(HeaderValue::from_str) {
        Some(Ok(host)) => host,
        _ => HeaderValue::from_static(""),
    };
    let trailers = accepts_trailers(&parts.headers);
    remove_hop_by_hop(&mut parts.headers);
    if trailers {
        parts
            .headers
            .insert(TE, HeaderValue::from_static("trailers"));
    }
    hop.add(&mut parts.headers, &host);
    via(&mut parts.headers, parts.version);
    if !parts.headers.contains_key(HOST) || parts.uri.authority().is_some() {
        parts.headers.insert(HOST, host);
    }
    upgrade
}

/// Turns a prepared head into what an HTTP/1 upstream gets.
pub(crate) fn for_http1(parts: &mut Parts, upgrade: Option<&HeaderValue>) {
    if parts.uri.scheme().is_some() || parts.uri.authority().is_some() {
        parts.uri = origin_form(&parts.uri, &parts.method);
    }
    if parts.version == Version::HTTP_2 {
        join_cookies(&mut parts.headers);
    }
    parts.version = Version::HTTP_11;
    if let Some(token) = upgrade {
        parts.headers.insert(UPGRADE, token.clone());
        parts
            .headers
            .insert(CONNECTION, HeaderValue::from_static("upgrade"));
    } else if parts.headers.contains_key(TE) {
        parts
            .headers
            .insert(CONNECTION, HeaderValue::from_static("te"));
    }
}

/// Turns a prepared head into what an HTTP/2 upstream gets: the host becomes `:authority`.
pub(crate) fn for_http2(parts: &mut Parts) {
    let host = parts.headers.remove(HOST);
    let authority = host
        .as_ref()
        .and_then(|host| host.to_str().ok())
        .unwrap_or("");
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let mut builder = Uri::builder().scheme("http").path_and_query(target);
    builder = builder.authority(if authority.is_empty() {
        "unknown"
    } else {
        authority
    });
    if let Ok(uri) = builder.build() {
        parts.uri = uri;
    }
    parts.version = Version::HTTP_2;
}

fn origin_form(uri: &Uri, method: &Method) -> Uri {
    let target = match uri.path_and_query() {
        // `OPTIONS http://host` without a path means the server itself (RFC 9112 section 3.2.4).
        Some(target) if method == Method::OPTIONS && target.as_str() == "*" => "*",
        Some(target) if target.as_str().starts_with('?') => {
            return format!("/{}", target.as_str())
                .parse()
                .unwrap_or_else(|_| Uri::from_static("/"));
        }
        Some(target) => target.as_str(),
        None => "/",
    };
    target.parse().unwrap_or_else(|_| Uri::from_static("/"))
}

/// HTTP/2 may split `cookie`; HTTP/1 has one line (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if crumbs.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(TE).iter().any(|value| {
        value.to_str().is_ok_and(|text| {
            text.split(',')
                .any(|part| part.trim().eq_ignore_ascii_case("trailers"))
        })
    })
}

/// Removes the fields of one hop: the fixed ones, and those that `Connection` names unless they are
/// protected (a caller must not make the proxy drop what it relies on).
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let mut named: Vec<HeaderName> = Vec::new();
    let mut found = false;
    for name in headers.keys() {
        if decide::is_hop_by_hop(name.as_str()) {
            found = true;
            break;
        }
    }
    if !found {
        return;
    }
    for value in headers.get_all(CONNECTION) {
        for token in decide::connection_tokens(value.as_bytes()) {
            if !decide::protected(&token.to_ascii_lowercase())
                && !decide::is_hop_by_hop(&token.to_ascii_lowercase())
                && let Ok(name) = HeaderName::from_bytes(token.as_bytes())
            {
                named.push(name);
            }
        }
    }
    for name in [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        TE,
        UPGRADE,
        HTTP2_SETTINGS,
    ] {
        headers.remove(name);
    }
    headers.remove(http::header::TRANSFER_ENCODING);
    headers.remove(http::header::PROXY_AUTHENTICATE);
    headers.remove(http::header::PROXY_AUTHORIZATION);
    for name in named {
        headers.remove(name);
    }
}

fn via(headers: &mut HeaderMap, received: Version) {
    let value = match received {
        Version::HTTP_2 => HeaderValue::from_static("2 heddle"),
        Version::HTTP_10 => HeaderValue::from_static("1.0 heddle"),
        _ => HeaderValue::from_static("1.1 heddle"),
    };
    append(headers, VIA, &value);
}

/// Prepares an upstream's response head for the caller.
pub(crate) fn response_head(headers: &mut HeaderMap, received: Version, to: Version) {
    let trailer = if to == Version::HTTP_2 {
        None
    } else {
        headers.get(TRAILER).cloned()
    };
    remove_hop_by_hop(headers);
    if let Some(trailer) = trailer {
        headers.insert(TRAILER, trailer);
    }
    via(headers, received);
}

/// Removes from trailers what must not stand there (RFC 9110 section 6.5.1): framing, routing and
/// authentication.
pub(crate) fn clean_trailers(trailers: &mut HeaderMap) {
    let bad: Vec<HeaderName> = trailers
        .keys()
        .filter(|name| is_forbidden_trailer(name.as_str()))
        .cloned()
        .collect();
    for name in bad {
        trailers.remove(name);
    }
}

/// Fields that decide framing, routing or access: in trailers they would come after the decision.
fn is_forbidden_trailer(name: &str) -> bool {
    decide::is_hop_by_hop(name)
        || matches!(
            name,
            "content-length"
                | "host"
                | "content-encoding"
                | "content-type"
                | "content-range"
                | "trailer"
        )
        || matches!(
            name,
            "authorization"
                | "cookie"
                | "set-cookie"
                | "cache-control"
                | "expect"
                | "max-forwards"
                | "te"
        )
        || decide::protected(name) && !name.starts_with("grpc-") && name != "via"
}
