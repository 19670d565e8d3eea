//! Rule documents: `Route`, `Dtab`, `Cluster` and `Fault`.
//!
//! Pure.

use super::codes;
use super::fields::Fields;
use super::format::{self, Host, HostPort};
use super::report::{Report, Spot};
use super::shape::{Checker, Shape, list_of_words, nearest, shorten};
use super::table::rules::{API_VERSION, DOCUMENT, KINDS, LATER_KINDS, METADATA};
use super::table::tls::UPSTREAM_TLS;
use super::table::{self, rules};
use super::tls::{self, Reader};
use super::yaml::{Node, Value};
use crate::config::{
    Cluster, ClusterSource, Fault, FaultKind, Route, UpstreamProtocol, WrittenEndpoint,
};
use crate::endpoint::{Endpoint, Locality};
use crate::name::Dtab;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

mod policy;
mod rule;

pub(super) use rule::matches;

/// Checks one document: what stands around `spec`, then `spec` by its kind.
pub(super) fn check(node: &Node, checker: &mut Checker<'_>) {
    if !checker.keys(node, &DOCUMENT) {
        return;
    }
    if let Some(metadata) = node.get("metadata") {
        checker.check(metadata, &Shape::Object(&METADATA));
    }
    if let Some(version) = node
        .get("apiVersion")
        .filter(|node| node.text() != Some(API_VERSION))
    {
        checker.report.add(
            &codes::UNKNOWN_KIND,
            version.place,
            format!(
                "`{}` is not a version of the rule language",
                shorten(version.text().unwrap_or("?"))
            ),
            "a document of another version may mean something else",
            format!("write `apiVersion: {API_VERSION}`"),
        );
    }
    let Some(kind) = node.get("kind") else { return };
    match object_of(kind) {
        Some(object) => {
            if let Some(spec) = node.get("spec") {
                checker.check(spec, &Shape::Object(object));
            }
        }
        None => unknown_kind(kind, checker.report),
    }
}

fn object_of(kind: &Node) -> Option<&'static super::shape::Object> {
    KINDS
        .iter()
        .find(|(name, _)| kind.text() == Some(name))
        .map(|(_, object)| *object)
}

fn unknown_kind(kind: &Node, report: &mut Report) {
    let text = kind.text().unwrap_or("?");
    if let Some((_, with)) = LATER_KINDS.iter().find(|(name, _)| *name == text) {
        return report.add(
            &codes::NOT_YET,
            kind.place,
            format!("`{text}` documents are known, but this version cannot apply them"),
            format!("they come with {with}"),
            "remove the document",
        );
    }
    let known = || {
        KINDS
            .iter()
            .chain(&[])
            .map(|(name, _)| *name)
            .chain(LATER_KINDS.iter().map(|(name, _)| *name))
    };
    report.add(
        &codes::UNKNOWN_KIND,
        kind.place,
        format!("`{}` is not a kind of document", shorten(text)),
        "what the document says would silently do nothing",
        match nearest(text, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write one of {}", list_of_words(known())),
        },
    );
}

/// A value and where it was written.
#[derive(Debug, Clone)]
pub(super) struct Written<T> {
    pub(super) value: T,
    /// The offending value of findings about the whole.
    pub(super) spot: Spot,
}

/// A destination and where it was written, to be checked when all replica sets are known.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) path: crate::name::Path,
    pub(super) spot: Spot,
}

/// Everything that the documents say.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) routes: Vec<Written<Route>>,
    /// With (namespace, name).
    pub(super) dtabs: Vec<Written<(String, String, Dtab)>>,
    pub(super) clusters: Vec<Written<Cluster>>,
    pub(super) faults: Vec<Written<Fault>>,
    pub(super) targets: Vec<Target>,
    /// Every (kind, namespace, name).
    pub(super) names: Vec<Written<(String, String, String)>>,
}

/// Decodes a checked document into `collected`; what is not sound is left out.
pub(super) fn decode(
    node: &Node,
    reader: &mut Reader<'_>,
    report: &mut Report,
    collected: &mut Collected,
) {
    let document = Fields::new(node, &DOCUMENT);
    let Some(metadata) = document.child("metadata", &METADATA) else {
        return;
    };
    let (Some(kind), Some(name)) = (document.get("kind"), metadata.owned("name")) else {
        return;
    };
    let namespace = metadata
        .owned("namespace")
        .unwrap_or_else(|| "default".to_owned());
    let place = metadata.get("name").map_or(node.place, |node| node.place);
    let Some(object) = object_of(kind) else {
        return;
    };
    collected.names.push(Written {
        value: (object.name.to_owned(), namespace.clone(), name.clone()),
        spot: report.spot(place),
    });
    let Some(spec) = document
        .child("spec", object)
        .filter(|spec| matches!(spec.node.value, Value::Map(_)))
    else {
        return;
    };
    let spot = report.spot(place);
    match object.name {
        "Route" => rule::route(spec, namespace, name, report, collected),
        "Dtab" => {
            if let Some(dtab) = spec.parse("dtab", format::dtab) {
                let spot = spec
                    .get("dtab")
                    .map_or(spot, |node| report.spot(node.place));
                collected.dtabs.push(Written {
                    value: (namespace, name, dtab),
                    spot,
                });
            }
        }
        "Cluster" => {
            let value = cluster(spec, name, reader, report);
            collected.clusters.push(Written { value, spot });
        }
        _ => {
            if let Some(value) = fault(spec, namespace, name, report) {
                collected.faults.push(Written { value, spot });
            }
        }
    }
}

/// A `Cluster`, or a map in `discovery.static`.
pub(super) fn cluster(
    spec: Fields<'_>,
    name: String,
    reader: &mut Reader<'_>,
    report: &mut Report,
) -> Cluster {
    let source = match spec.parse("dns", format::host_port) {
        Some(HostPort {
            host: Host::Name(host),
            port,
            ..
        }) => ClusterSource::Dns { host, port },
        Some(HostPort {
            host: Host::Address(address),
            port,
            ..
        }) => ClusterSource::Endpoints(vec![WrittenEndpoint::Address(Endpoint::new(
            (address, port).into(),
        ))]),
        None => ClusterSource::Endpoints(endpoints(spec.items("endpoints"), report)),
    };
    let tls = spec.child("tls", &UPSTREAM_TLS).map(|fields| {
        let host = tls::shared_host(&source);
        if host.is_err() && fields.get("serverName").is_none() {
            report.add(
                &codes::MISSING_KEY,
                fields.node.place,
                "`serverName` is missing, and the endpoints have several host names",
                "the certificates of all endpoints are checked for one name",
                "add `serverName:`, or write a set for each name",
            );
        }
        Arc::new(tls::upstream(
            fields,
            host.unwrap_or_default(),
            reader,
            report,
        ))
    });
    Cluster {
        name,
        source,
        tls,
        protocol: match spec.text("protocol") {
            Some("http1") => UpstreamProtocol::Http1,
            Some("http2") => UpstreamProtocol::Http2,
            _ => UpstreamProtocol::Same,
        },
    }
}

/// A list of endpoints.
pub(super) fn endpoints(items: &[Node], report: &mut Report) -> Vec<WrittenEndpoint> {
    let mut seen = HashSet::new();
    let mut endpoints = Vec::with_capacity(items.len());
    let mut weights = Vec::with_capacity(items.len());
    for item in items {
        let Some((
            HostPort {
                host,
                port,
                weight: own,
            },
            locality,
        )) = endpoint(item)
        else {
            continue;
        };
        weights.push(own);
        if !seen.insert((format!("{host:?}"), port)) {
            report.add(
                &codes::DUPLICATE_ENDPOINT,
                item.place,
                "this endpoint stands in the set a second time",
                "an endpoint counts once; only one of the weights would apply",
                "remove it, or write a weight: `host:port * 2`",
            );
            continue;
        }
        endpoints.push(match host {
            Host::Address(address) => WrittenEndpoint::Address(Endpoint {
                address: SocketAddr::new(address, port),
                weight: own,
                locality,
            }),
            Host::Name(host) => WrittenEndpoint::Host {
                host,
                port,
                weight: own,
                locality,
            },
        });
    }
    let nothing = weights.len() == items.len() && weights.iter().all(|weight| *weight == 0.0);
    if let Some(first) = items.first().filter(|_| nothing) {
        report.add(
            &codes::NO_WEIGHT,
            first.place,
            "no endpoint of this set has a positive weight",
            "no request could go anywhere",
            "give at least one a weight above 0",
        );
    }
    endpoints
}

fn endpoint(node: &Node) -> Option<(HostPort, Locality)> {
    if let Some(text) = node.text() {
        return Some((format::endpoint(text).ok()?, Locality::default()));
    }
    let fields = Fields::new(node, &table::ENDPOINT_OBJECT);
    let mut address = fields.parse("address", format::host_port)?;
    address.weight = fields.number("weight").unwrap_or(1.0);
    Some((address, locality(fields)))
}

/// `zone` and `node` of an endpoint or a proxy.
pub(super) fn locality(fields: Fields<'_>) -> Locality {
    Locality {
        zone: fields.text("zone").map(Into::into),
        node: fields.text("node").map(Into::into),
    }
}

fn fault(spec: Fields<'_>, namespace: String, name: String, report: &mut Report) -> Option<Fault> {
    let abort = spec.child("abort", &rules::ABORT);
    let kind = match abort {
        _ if spec.flag("reset") == Some(true) => FaultKind::Reset,
        Some(abort) => match (abort.count("status"), abort.parse("grpc", format::grpc)) {
            (Some(status), _) => FaultKind::Status(status),
            (None, Some(code)) => FaultKind::Grpc(code),
            (None, None) => FaultKind::None,
        },
        None => FaultKind::None,
    };
    if let (Some(abort), FaultKind::Reset) = (abort, kind) {
        report.add(
            &codes::KEYS_EXCLUDE,
            abort.node.place,
            "`abort` stands beside `reset: true`",
            "a request can be answered or reset, not both",
            "remove one of the two",
        );
    }
    let (delay, percent) = (spec.time("delay"), spec.number("percent").unwrap_or(100.0));
    if (kind == FaultKind::None && delay.is_none() && abort.is_none()) || percent == 0.0 {
        report.add(
            &codes::NO_EFFECT,
            spec.node.place,
            "this fault does nothing",
            "it has neither `delay`, `abort` nor `reset`, or meets 0 percent of the requests",
            "say what should happen, or remove the document",
        );
    }
    Some(Fault {
        namespace,
        name,
        service: spec.owned("service")?,
        matches: spec
            .child("match", &rules::MATCH)
            .map(matches)
            .unwrap_or_default(),
        percent,
        delay,
        kind,
        until: spec.time("until")?,
    })
}
