//! What the proxy decides by itself: refusals, fixed answers, tunnels.

use super::entry::PathEntry;
use super::exchange::Exchange;
use super::names::{Tree, bound};
use super::{Conn, Slot};
use crate::accept;
use crate::error::Error;
use crate::http::{HeadView, ResponseBody};
use crate::shared::RunningListener;
use crate::worker::Worker;
use heddle_core::answer::Kind;
use heddle_core::config::{Route, Rule};
use heddle_core::guard::Refusal;
use heddle_core::guard::http2::{self as guard, Head, check_request};
use heddle_core::headers as decide;
use heddle_core::identify::RequestView;
use http::header::{HeaderValue, LOCATION, VIA};
use http::request::Parts;
use http::uri::Scheme;
use hyper::upgrade::OnUpgrade;
use hyper::{Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use std::rc::Rc;

/// Proxies that a request may have passed, by its `Via`. Real call graphs are a few hops deep; linkerd's
/// `maxCallDepth` of 1000 would let one looping request occupy a thousand connections.
const MAX_HOPS: usize = 100;

/// Refuses requests that run in circles and, of HTTP/2, what could be understood in two ways; of HTTP/1 the
/// guard has let nothing through that could.
pub(super) fn check(conn: &Conn, parts: &Parts, header_count: usize) -> Result<(), Error> {
    if parts.headers.contains_key(VIA) {
        let hops: Vec<&[u8]> = parts
            .headers
            .get_all(VIA)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect();
        if decide::list_length(&hops) >= MAX_HOPS {
            return Err(Error::refused(TOO_MANY_HOPS));
        }
    }
    if parts.version == Version::HTTP_2 {
        check_http2(parts, header_count)?;
        check_scheme(conn, parts)?;
    }
    Ok(())
}

/// Refuses a scheme that the connection does not have. Without an authority the parser has dropped it; then it is
/// enough that one request of the connection had a wrong one.
fn check_scheme(conn: &Conn, parts: &Parts) -> Result<(), Error> {
    // A proxy that ends TLS in front of this one says so, if it is one that we trust.
    let encrypted = conn.secured.is_some() || conn.hop.is_trusted();
    let scheme = match parts.uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => guard::Scheme::Https,
        Some(_) => guard::Scheme::Http,
        None => conn.state.streams.hidden_scheme(),
    };
    match scheme {
        guard::Scheme::Https if !encrypted => Err(Error::refused(NOT_ENCRYPTED)),
        guard::Scheme::Other => Err(Error::refused(ODD_SCHEME)),
        _ => Ok(()),
    }
}

const TOO_MANY_HOPS: Refusal = Refusal {
    status: 400,
    reason: "loop",
    text: "the request has passed too many proxies: names that lead back to the proxy make a loop",
};

const NOT_ENCRYPTED: Refusal = Refusal {
    status: 400,
    reason: "target",
    text: ":scheme is https, but the connection is not encrypted and the caller is none that this listener trusts",
};

const ODD_SCHEME: Refusal = Refusal {
    status: 400,
    reason: "target",
    text: ":scheme is neither http nor https",
};

const MISDIRECTED: Refusal = Refusal {
    status: 421,
    reason: "misdirected",
    text: "the connection was made to another name, and its certificate does not cover this host",
};

/// Refuses what another protocol's parser would understand in another way.
fn check_http2(parts: &Parts, header_count: usize) -> Result<(), Error> {
    let head = Head {
        method: parts.method.as_str(),
        scheme: parts.uri.scheme_str(),
        authority: parts.uri.authority().map(http::uri::Authority::as_str),
        path: parts
            .uri
            .path_and_query()
            .map_or("", http::uri::PathAndQuery::as_str),
    };
    let fields = parts.headers.iter();
    let fields = fields.map(|(name, value)| (name.as_str(), value.as_bytes()));
    check_request(&head, fields, header_count).map_err(Error::refused)
}

/// Refuses a request for a host that the connection's certificate is not for. A forward proxy's targets are
/// other hosts by nature: they say `http`, or `CONNECT`.
pub(super) fn misdirected(conn: &Conn, parts: &Parts) -> Result<(), Error> {
    let Some(secured) = &conn.secured else {
        return Ok(());
    };
    let forward =
        parts.method == http::Method::CONNECT || parts.uri.scheme() == Some(&Scheme::HTTP);
    let view = HeadView(parts);
    let host = view.authority().map_or("", without_port);
    if forward || !secured.is_misdirected(host) {
        return Ok(());
    }
    Err(Error::refused(MISDIRECTED))
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// The answer of a rule that sends nowhere: a redirect or a fixed status.
pub(super) fn fixed(rule: &Rule) -> Option<Response<ResponseBody>> {
    let mut response = Response::new(ResponseBody::own(""));
    if let Some(redirect) = &rule.set.redirect {
        *response.status_mut() = StatusCode::from_u16(redirect.status).unwrap_or(StatusCode::FOUND);
        response
            .headers_mut()
            .insert(LOCATION, HeaderValue::from_str(&redirect.location).ok()?);
    } else {
        *response.status_mut() = StatusCode::from_u16(rule.set.status?).ok()?;
    }
    for (name, value) in &rule.set.response_headers {
        super::exchange::put(response.headers_mut(), name, value);
    }
    Some(response)
}

/// Which rule of which `Route` answers.
pub(super) fn which(route: Option<&Route>, index: Option<usize>) -> String {
    route.zip(index).map_or_else(String::new, |(route, index)| {
        format!("rule {index} of Route {}/{}", route.namespace, route.name)
    })
}

/// `CONNECT`: a tunnel to a known name, in which HTTP is routed request by request and anything
/// else goes to an endpoint of that name as it is.
pub(super) async fn connect(
    exchange: &Exchange,
    entry: &Rc<PathEntry>,
    parts: &mut Parts,
) -> Result<Response<ResponseBody>, Error> {
    if exchange.http2 {
        return Err(Error::new(
            Kind::Refused(501),
            "CONNECT is understood over HTTP/1 only",
        ));
    }
    let tree = connect_target(&exchange.conn.worker, &exchange.listener, entry).await?;
    if !is_known(&tree) {
        let reason = format!(
            "{} is not a name of the mesh: CONNECT goes to replica sets that configuration names, never to other addresses",
            entry.path
        );
        return Err(Error::new(Kind::Denied, reason));
    }
    let Some(upgrade) = parts.extensions.remove::<OnUpgrade>() else {
        return Err(Error::new(
            Kind::Refused(501),
            "this connection cannot become a tunnel",
        ));
    };
    let (conn, entry) = (exchange.conn.clone(), entry.clone());
    tokio::task::spawn_local(async move {
        if let Ok(upgraded) = upgrade.await {
            accept::inside_tunnel(conn, TokioIo::new(upgraded), entry).await;
        }
    });
    Ok(Response::new(ResponseBody::own("")))
}

/// What an entry's first destination is bound to.
pub(crate) async fn connect_target(
    worker: &Worker,
    listener: &RunningListener,
    entry: &PathEntry,
) -> Result<Rc<Tree>, Error> {
    let slot: &Slot = entry
        .rules
        .last()
        .and_then(|rule| rule.to.first())
        .unwrap_or(&entry.own);
    let tree = bound(worker, listener, entry, slot).await?;
    if tree.is_neg() {
        return Err(Error::new(
            Kind::NoSuchName,
            format!("{} names nothing", entry.path),
        ));
    }
    Ok(tree)
}

/// Whether a tree leads to configured replica sets only, not to addresses that a caller chose.
pub(crate) fn is_known(tree: &Tree) -> bool {
    match tree {
        Tree::Leaf(client) => client
            .set
            .id()
            .elements()
            .first()
            .is_some_and(|first| first.as_str() == Some("#")),
        Tree::Union { branches, .. } => branches.iter().all(|(_, tree)| is_known(tree)),
        Tree::Neg | Tree::Fail | Tree::Empty => true,
    }
}

impl Conn {
    /// The connection inside a tunnel of this one.
    pub(crate) fn tunnelled(&self, serial: bool) -> Self {
        Self {
            worker: self.worker.clone(),
            listener: self.listener.clone(),
            hop: self.hop.clone(),
            secured: self.secured.clone(),
            state: self.state.clone(),
            serial,
            interim: std::cell::OnceCell::new(),
            passed: std::cell::RefCell::default(),
            registered: self.registered.clone(),
        }
    }
}
