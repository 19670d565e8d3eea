//! Which page answers which request.

use super::answer::{self, Answer};
use super::{AdminState, host, stats, text};
use crate::explain;
use heddle_core::name::Path;
use http::header::{ACCEPT, HOST, ORIGIN};
use http::{HeaderMap, Method, Request, StatusCode};
use std::borrow::Cow;
use std::fmt::Write as _;

/// A page: its path, its method, and what it shows.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Its path.
    pub path: &'static str,
    /// `GET` (then also `HEAD`) or `POST`.
    pub method: &'static str,
    /// What it shows or does, in a few words.
    pub what: &'static str,
}

const fn page(path: &'static str, method: &'static str, what: &'static str) -> Page {
    Page { path, method, what }
}

/// Every page there is.
pub const PAGES: &[Page] = &[
    page("/", "GET", "the dashboard"),
    page("/app.js", "GET", "the dashboard's script"),
    page("/app.css", "GET", "the dashboard's style"),
    page(
        "/stats.json",
        "GET",
        "what the dashboard and `heddle top` show: counters, latencies, replicas, findings",
    ),
    page(
        "/routes",
        "GET",
        "every logical name, its rules, and where it binds now; ?format=json",
    ),
    page(
        "/ready",
        "GET",
        "200 when the proxy takes traffic, 503 and why while it starts or drains",
    ),
    page("/live", "GET", "200 as long as the process answers"),
    page(
        "/metrics",
        "GET",
        "counters, gauges and histograms in Prometheus' text format",
    ),
    page(
        "/config",
        "GET",
        "the running configuration, and why the last load was refused; ?format=json",
    ),
    page(
        "/clusters",
        "GET",
        "replica sets with the state of each endpoint; ?format=json",
    ),
    page(
        "/explain",
        "GET",
        "why a request goes where it goes: ?url=http://accounts/x or ?path=/svc/accounts, with method=, \
         header=name:value (repeatable), dtab=, listener=, format=json",
    ),
    page(
        "/drain",
        "POST",
        "stop taking new traffic, finish what is in flight, then exit",
    ),
];

/// A request's parameters, decoded, in order.
type Parameters<'r> = Vec<(Cow<'r, str>, Cow<'r, str>)>;

pub(super) fn answer<B>(state: &AdminState, request: &Request<B>) -> Answer {
    if let Err(reason) = host::check(request, || state.proxy.config().config.admin_hosts.clone()) {
        return answer::text(StatusCode::MISDIRECTED_REQUEST, reason);
    }
    let path = request.uri().path();
    let Some(page) = PAGES.iter().find(|page| page.path == path) else {
        return answer::text(
            StatusCode::NOT_FOUND,
            format!("there is no page {path:?}; there are:\n{}", list()),
        );
    };
    let fits = match page.method {
        "POST" => request.method() == Method::POST,
        _ => request.method() == Method::GET || request.method() == Method::HEAD,
    };
    if !fits {
        return answer::not_allowed(if page.method == "POST" {
            "POST"
        } else {
            "GET, HEAD"
        });
    }
    let query = request.uri().query().unwrap_or_default();
    let parameters: Parameters<'_> = form_urlencoded::parse(query.as_bytes()).collect();
    let json = wants_json(&parameters, request.headers());
    match path {
        "/" => answer::dashboard(answer::HTML, include_str!("page/index.html")),
        "/app.js" => answer::dashboard(answer::SCRIPT, include_str!("page/app.js")),
        "/app.css" => answer::dashboard(answer::STYLE, include_str!("page/app.css")),
        "/stats.json" => answer::compact(&stats::stats(state)),
        "/routes" => {
            let routes = state.routes();
            match json {
                true => answer::json(&routes.to_json()),
                false => answer::text(StatusCode::OK, routes.to_text()),
            }
        }
        "/ready" => match state.proxy.ready() {
            Ok(()) => answer::text(StatusCode::OK, "ready"),
            Err(reason) => answer::text(StatusCode::SERVICE_UNAVAILABLE, reason),
        },
        "/live" => answer::text(StatusCode::OK, "live"),
        "/metrics" => {
            state.proxy.refresh_gauges();
            answer::of(StatusCode::OK, answer::EXPOSITION, state.metrics.render())
        }
        "/config" if json => answer::json(&text::config_json(&state.proxy.config())),
        "/config" => answer::text(StatusCode::OK, text::config(&state.proxy.config())),
        "/clusters" if json => answer::json(&text::clusters_json(&state.proxy.clusters())),
        "/clusters" => answer::text(StatusCode::OK, text::clusters(&state.proxy.clusters())),
        "/explain" => explained(state, &parameters, json),
        "/drain" => drain(state, request.headers()),
        _ => answer::text(StatusCode::NOT_FOUND, "there is no such page"),
    }
}

fn wants_json(parameters: &Parameters<'_>, headers: &HeaderMap) -> bool {
    match parameters.iter().find(|(name, _)| name == "format") {
        Some((_, format)) => format == "json",
        None => headers
            .get(ACCEPT)
            .and_then(|accept| accept.to_str().ok())
            .is_some_and(|accept| {
                accept
                    .split(',')
                    .any(|kind| kind.trim().starts_with(answer::JSON))
            }),
    }
}

fn list() -> String {
    PAGES.iter().fold(String::new(), |mut list, page| {
        // Writing to a string cannot fail.
        let _ = writeln!(list, "  {:4} {:9} {}", page.method, page.path, page.what);
        list
    })
}

fn explained(state: &AdminState, parameters: &Parameters<'_>, json: bool) -> Answer {
    let bad = |reason: String| answer::text(StatusCode::BAD_REQUEST, reason);
    let request = match asked(parameters) {
        Ok(request) => request,
        Err(reason) => return bad(reason),
    };
    match state.explain(&request) {
        Ok(explanation) if json => answer::json(&explanation.to_json()),
        Ok(explanation) => answer::text(StatusCode::OK, explanation.to_text()),
        Err(reason) => bad(reason),
    }
}

/// The request that the parameters of `/explain` describe.
fn asked(parameters: &Parameters<'_>) -> Result<explain::Request, String> {
    let one = |wanted: &str| {
        let mut values = parameters
            .iter()
            .filter(|(name, _)| name == wanted)
            .map(|(_, value)| value.as_ref());
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(format!("{wanted}= is given more than once")),
            (value, None) => Ok(value),
        }
    };
    let known = [
        "url", "path", "method", "header", "dtab", "listener", "format",
    ];
    if let Some((name, _)) = parameters
        .iter()
        .find(|(name, _)| !known.contains(&name.as_ref()))
    {
        return Err(format!(
            "/explain does not know the parameter {name:?}; it takes {}",
            known.join(", ")
        ));
    }
    let name = one("path")?;
    let url = one("url")?
        .or(name.map(|_| "/"))
        .ok_or("/explain needs the request's url=, such as /explain?url=http://accounts/path")?;
    let mut request = explain::Request::new(one("method")?.unwrap_or("GET"), url)?;
    for (_, header) in parameters.iter().filter(|(name, _)| name == "header") {
        request.add_header(header)?;
    }
    if let Some(dtab) = one("dtab")? {
        request.set_dtab(dtab)?;
    }
    if let Some(name) = name {
        let parsed =
            Path::parse(name).map_err(|error| format!("{name:?} is not a path: {error}"))?;
        request.name = Some(parsed);
    }
    request.listener = one("listener")?.map(ToOwned::to_owned);
    Ok(request)
}

/// A page of another site can make a browser post here, but cannot keep it from saying so.
fn drain(state: &AdminState, headers: &HeaderMap) -> Answer {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let foreign = headers.contains_key(ORIGIN)
        && text(ORIGIN)
            .and_then(|origin| origin.split_once("://"))
            .map(|(_, host)| host)
            != text(HOST);
    if foreign {
        return answer::text(
            StatusCode::FORBIDDEN,
            "a page of another site may not drain this proxy",
        );
    }
    state.proxy.drain();
    answer::text(StatusCode::ACCEPTED, "draining")
}
