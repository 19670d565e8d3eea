//! The heads that go on: what is removed, what is added (RFC 9110 section 7.6, RFC 7239).

use super::tunnel::upgrade_token;
use heddle_core::headers as decide;
use http::header::{
    CONNECTION, COOKIE, Entry, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, UPGRADE, VIA,
};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Uri, Version};
use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};

const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// What one connection adds to each request that came over it, made once.
#[derive(Debug, Clone)]
pub(crate) struct Hop {
    peer: IpAddr,
    trusted: bool,
    /// `http` or `https`.
    scheme: &'static str,
    x_forwarded_for: HeaderValue,
    /// The last `forwarded` element, for as long as the host stays the same.
    forwarded: RefCell<(HeaderValue, HeaderValue)>,
}

impl Hop {
    pub(crate) fn new(peer: SocketAddr, trust: &[(IpAddr, u8)], secure: bool) -> Self {
        let ip = peer.ip().to_canonical();
        let none = HeaderValue::from_static("");
        Self {
            peer: ip,
            scheme: if secure { "https" } else { "http" },
            trusted: trust.iter().any(|&network| decide::in_network(ip, network)),
            x_forwarded_for: HeaderValue::from_str(&ip.to_string())
                .unwrap_or_else(|_| none.clone()),
            forwarded: RefCell::new((none.clone(), none)),
        }
    }

    /// Whether what the caller says of the hops before it counts.
    pub(crate) fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// The caller's address.
    pub(crate) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// The host as a field value, and the `forwarded` element that goes with it: made anew only when
    /// the host is another one than last time.
    fn with_host(&self, host: &[u8]) -> (HeaderValue, HeaderValue) {
        let mut last = self.forwarded.borrow_mut();
        if last.0.as_bytes() != host || last.1.is_empty() {
            let value =
                HeaderValue::from_bytes(host).unwrap_or_else(|_| HeaderValue::from_static(""));
            let hop = decide::Hop {
                peer: SocketAddr::new(self.peer, 0),
                host: value.to_str().ok(),
                scheme: self.scheme,
            };
            let element = HeaderValue::from_str(&hop.forwarded())
                .unwrap_or_else(|_| HeaderValue::from_static("for=unknown"));
            *last = (value, element);
        }
        last.clone()
    }

    /// Adds what this hop says of the caller.
    fn add(&self, headers: &mut HeaderMap, host: &HeaderValue, forwarded: HeaderValue) {
        if self.trusted {
            append(headers, X_FORWARDED_FOR, &self.x_forwarded_for);
            append(headers, FORWARDED, &forwarded);
            if !headers.contains_key(X_FORWARDED_PROTO) {
                headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(self.scheme));
            }
            if !headers.contains_key(X_FORWARDED_HOST) {
                headers.insert(X_FORWARDED_HOST, host.clone());
            }
            return;
        }
        headers.remove(X_FORWARDED_CLIENT_CERT);
        headers.insert(X_FORWARDED_FOR, self.x_forwarded_for.clone());
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(self.scheme));
        headers.insert(X_FORWARDED_HOST, host.clone());
        headers.insert(FORWARDED, forwarded);
    }
}

/// Appends to a list header: to the last line, as a list (RFC 9110 section 5.3).
fn append(headers: &mut HeaderMap, name: HeaderName, value: &HeaderValue) {
    if let Entry::Vacant(vacant) = headers.entry(&name) {
        vacant.insert(value.clone());
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
/// upgrade that it asks for, if it is one that we pass on. The authority stays where it was, in the
/// target or in `Host`; an absolute target of HTTP/1 becomes a path.
pub(crate) fn outgoing_head(parts: &mut Parts, hop: &Hop) -> Option<HeaderValue> {
    // Ours and the caller's: one growth of the map instead of several.
    parts.headers.reserve(OWN_FIELDS);
    let mut upgrade = None;
    if has_hop_by_hop(&parts.headers) {
        upgrade = upgrade_token(&parts.headers, parts.version);
        let trailers = accepts_trailers(&parts.headers);
        remove_hop_by_hop(&mut parts.headers);
        if trailers {
            parts
                .headers
                .insert(TE, HeaderValue::from_static("trailers"));
        }
    }
    let absolute = parts.uri.authority().is_some();
    let (host, forwarded) = hop.with_host(match (parts.uri.authority(), parts.headers.get(HOST)) {
        (Some(authority), _) => authority.as_str().as_bytes(),
        (None, Some(host)) => host.as_bytes(),
        (None, None) => b"",
    });
    hop.add(&mut parts.headers, &host, forwarded);
    via(&mut parts.headers, parts.version);
    if absolute && parts.version != Version::HTTP_2 {
        parts.uri = origin_form(&parts.uri, &parts.method);
        parts.headers.insert(HOST, host);
    } else if !absolute && !parts.headers.contains_key(HOST) {
        parts.headers.insert(HOST, host);
    }
    upgrade
}

/// Fields that a hop adds at most: four of the caller, `via`, `host`, `heddle-context` and `te`.
const OWN_FIELDS: usize = 8;

/// Turns a prepared head into what an HTTP/1 upstream gets.
pub(crate) fn for_http1(parts: &mut Parts, upgrade: Option<&HeaderValue>) {
    if let Some(authority) = parts.uri.authority() {
        // A field that came beside it says the same; the authority counts (RFC 9113 section 8.3.1).
        let host = HeaderValue::from_str(authority.as_str());
        if let Ok(host) = host {
            parts.headers.insert(HOST, host);
        }
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
pub(crate) fn for_http2(parts: &mut Parts, secure: bool) {
    parts.version = Version::HTTP_2;
    let host = parts.headers.remove(HOST);
    let scheme = if secure { Scheme::HTTPS } else { Scheme::HTTP };
    let is_ready = parts.uri.authority().is_some() && parts.uri.scheme() == Some(&scheme);
    if is_ready {
        return;
    }
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.scheme = Some(scheme);
    if uri.authority.is_none() {
        let host = host.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
        uri.authority = Authority::try_from(host).ok();
    }
    uri.authority
        .get_or_insert_with(|| Authority::from_static("unknown"));
    uri.path_and_query
        .get_or_insert_with(|| PathAndQuery::from_static("/"));
    if let Ok(uri) = Uri::from_parts(uri) {
        parts.uri = uri;
    }
}

fn origin_form(uri: &Uri, method: &Method) -> Uri {
    let target = match uri.path_and_query() {
        // `OPTIONS http://host` without a path means the server itself (RFC 9112 section 3.2.4).
        Some(target) if method == Method::OPTIONS && target.as_str() == "*" => target.clone(),
        Some(target) if target.as_str().starts_with('?') => format!("/{}", target.as_str())
            .parse()
            .unwrap_or_else(|_| PathAndQuery::from_static("/")),
        Some(target) => target.clone(),
        None => PathAndQuery::from_static("/"),
    };
    Uri::from(target)
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

/// Whether any field is one of a single hop; most heads have none, and one look tells.
fn has_hop_by_hop(headers: &HeaderMap) -> bool {
    headers
        .keys()
        .any(|name| decide::is_hop_by_hop(name.as_str()))
}

/// Removes the fields of one hop: the fixed ones, and those that `Connection` names unless they are
/// protected (a caller must not make the proxy drop what it relies on).
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let mut named: Vec<HeaderName> = Vec::new();
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
    if has_hop_by_hop(headers) {
        remove_hop_by_hop(headers);
    }
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
