//! The proxy's own file.
//!
//! Pure.

use super::codes;
use super::defaults;
use super::document::{self, Target, Written};
use super::fields::{Fields, set};
use super::format;
use super::mesh;
use super::report::{Report, Spot};
use super::table;
use super::table::tls::{LISTENER_TLS, UPSTREAM_TLS};
use super::tls::{self, Reader};
use super::yaml::{Node, Value};
use crate::config::{
    Cluster, ClusterSource, Dns, Identifier, Limits, ListenProtocol, Listener, ListenerLimits,
    Mode, Overrides, ProxyConfig, TlsScope, UpstreamProtocol,
};
mod sight;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the proxy's file says beside its rules.
#[derive(Debug, Default)]
pub(super) struct Main {
    /// In the order written, with the spots of their names and addresses.
    pub(super) listeners: Vec<ListenerWritten>,
    pub(super) clusters: Vec<Written<Cluster>>,
    pub(super) targets: Vec<Target>,
    pub(super) admin: Option<(SocketAddr, Spot)>,
}

#[derive(Debug)]
pub(super) struct ListenerWritten {
    pub(super) value: Arc<Listener>,
    pub(super) name: Spot,
    pub(super) address: Spot,
    /// Where its dtab is written, if it is.
    pub(super) dtab: Option<Spot>,
}

/// Decodes the checked file into `config`, except for its rules.
pub(super) fn decode(
    root: Fields<'_>,
    folder: &Path,
    config: &mut ProxyConfig,
    reader: &mut Reader<'_>,
    report: &mut Report,
) -> Main {
    let mut main = Main::default();
    let admin = root.child("admin", &table::ADMIN);
    if let Some(admin) = admin {
        let hosts = admin.items("hosts").iter().filter_map(Node::text);
        config.admin_hosts = hosts.map(str::to_ascii_lowercase).collect();
    }
    if let Some(node) = admin.and_then(|admin| admin.get("listen")) {
        main.admin = node
            .text()
            .and_then(|text| format::address(text).ok())
            .map(|a| (a, report.spot(node.place)));
        set(&mut config.admin, main.admin.map(|(address, _)| address));
    }
    set(&mut config.namespace, root.owned("namespace"));
    if let Some(locality) = root.child("locality", &table::LOCALITY) {
        config.locality = document::locality(locality);
    }
    config.workers = root.count("workers");
    set(&mut config.drain, root.time("drain"));
    if let Some(log) = root.child("accessLog", &table::sight::ACCESS_LOG) {
        config.access_log = Some(sight::access_log(log, folder));
    }
    if let Some(tracing) = root.child("tracing", &table::sight::TRACING) {
        config.tracing = Some(sight::tracing(tracing));
    }
    if let Some(limits) = root.child("limits", &table::LIMITS) {
        config.limits = self::limits(limits);
    }
    if let Some(discovery) = root.child("discovery", &table::DISCOVERY) {
        self::discovery(discovery, folder, config, reader, report, &mut main);
    }
    let files = config.files.is_some();
    config.listeners = match root.get("listeners") {
        None => vec![Arc::new(defaults::outbound(&config.namespace, files))],
        Some(list) => {
            let maps = list
                .items()
                .iter()
                .filter(|node| matches!(node.value, Value::Map(_)));
            for node in maps {
                let fields = Fields::new(node, &table::LISTENER);
                let value = Arc::new(listener(
                    fields,
                    &config.namespace,
                    files,
                    reader,
                    report,
                    &mut main.targets,
                ));
                let spot = |key: &'static str| {
                    report.spot(fields.get(key).map_or(node.place, |n| n.place))
                };
                main.listeners.push(ListenerWritten {
                    value,
                    name: spot("name"),
                    address: spot("listen"),
                    dtab: fields.get("dtab").map(|node| report.spot(node.place)),
                });
            }
            main.listeners
                .iter()
                .map(|listener| listener.value.clone())
                .collect()
        }
    };
    main
}

fn limits(fields: Fields<'_>) -> Limits {
    let mut limits = Limits::default();
    set(&mut limits.cache_entries, fields.count("cacheEntries"));
    set(&mut limits.cache_idle, fields.time("cacheIdle"));
    set(&mut limits.metric_series, fields.count("metricSeries"));
    limits.memory = fields.count("memoryBytes");
    set(&mut limits.bind_timeout, fields.time("bindTimeout"));
    limits
}

fn discovery(
    fields: Fields<'_>,
    folder: &Path,
    config: &mut ProxyConfig,
    reader: &mut Reader<'_>,
    report: &mut Report,
    main: &mut Main,
) {
    for (name, node) in fields.get("static").map(Node::entries).unwrap_or_default() {
        let value = match &node.value {
            Value::List(items) => Cluster {
                name: name.text.to_string(),
                source: ClusterSource::Endpoints(document::endpoints(items, report)),
                protocol: UpstreamProtocol::Same,
                tls: None,
            },
            Value::Map(_) => {
                let fields = Fields::new(node, &table::rules::CLUSTER);
                document::cluster(fields, name.text.to_string(), reader, report)
            }
            _ => continue,
        };
        main.clusters.push(Written {
            value,
            spot: report.spot(name.place),
        });
    }
    for (name, node) in fields.get("tls").map(Node::entries).unwrap_or_default() {
        let (Ok(prefix), Value::Map(_)) = (format::name_prefix(&name.text), &node.value) else {
            continue;
        };
        let tls = tls::upstream(Fields::new(node, &UPSTREAM_TLS), None, reader, report);
        config.tls.push(TlsScope {
            prefix,
            tls: Arc::new(tls),
        });
    }
    let dir = fields
        .child("files", &table::FILES)
        .and_then(|files| files.text("dir"));
    config.files = dir.map(|dir| folder.join(dir));
    config.control_plane = fields
        .child("control-plane", &table::mesh::CONTROL_PLANE)
        .and_then(|fields| mesh::of_proxy(fields, folder));
    if let Some(dns) = fields.child("dns", &table::DNS) {
        config.dns = self::dns(dns, report);
    }
}

fn dns(fields: Fields<'_>, report: &mut Report) -> Dns {
    let mut dns = Dns::default();
    let servers = fields.items("servers").iter();
    dns.servers = servers
        .filter_map(|node| format::target(node.text()?).ok())
        .collect();
    set(&mut dns.min_ttl, fields.time("minTtl"));
    set(&mut dns.max_ttl, fields.time("maxTtl"));
    set(&mut dns.timeout, fields.time("timeout"));
    if dns.min_ttl > dns.max_ttl {
        report.add(
            &codes::BOUNDS_CROSS,
            fields
                .get("minTtl")
                .map_or(fields.node.place, |node| node.place),
            "`minTtl` is above `maxTtl`",
            "the one is the lower bound of the other",
            "lower `minTtl`, or raise `maxTtl`",
        );
    }
    dns
}

fn listener(
    fields: Fields<'_>,
    namespace: &str,
    files: bool,
    reader: &mut Reader<'_>,
    report: &mut Report,
    targets: &mut Vec<Target>,
) -> Listener {
    let default = defaults::outbound(namespace, files);
    let listen = fields
        .parse("listen", format::address)
        .unwrap_or(default.listen);
    let mode = mode(fields, listen, report, targets);
    let identify = fields
        .items("identify")
        .iter()
        .filter_map(identifier)
        .collect::<Vec<_>>();
    let trust = fields.items("trust").iter();
    let limits = fields.child("limits", &table::LISTENER_LIMITS);
    if let Some(limits) = limits.filter(|_| !matches!(mode, Mode::Inbound { .. })) {
        only_inbound(limits, report);
    }
    let protocol = protocol(fields, &mode, report);
    let tls = fields.child("tls", &LISTENER_TLS).and_then(|tls| {
        let opaque = protocol == ListenProtocol::Tcp;
        tls::listener(tls, opaque, reader, report)
    });
    Listener {
        tls,
        name: fields.owned("name").unwrap_or(default.name),
        listen,
        protocol,
        namespace: fields.owned("namespace").unwrap_or(default.namespace),
        identify: if identify.is_empty() {
            default.identify
        } else {
            identify
        },
        overrides: match fields.text("overrides") {
            Some("accept") => Overrides::Accept,
            _ => Overrides::Strip,
        },
        base_dtab: fields
            .parse("dtab", format::dtab)
            .unwrap_or(default.base_dtab),
        trust: trust
            .filter_map(|node| format::network(node.text()?).ok())
            .collect(),
        limits: limits.map(listener_limits).unwrap_or_default(),
        mode,
    }
}

fn mode(
    fields: Fields<'_>,
    listen: SocketAddr,
    report: &mut Report,
    targets: &mut Vec<Target>,
) -> Mode {
    let mode = fields.text("mode").unwrap_or("outbound");
    for (key, of) in [("forwardTo", "inbound"), ("to", "tcp")] {
        match fields.get(key) {
            Some(node) if of != mode => report.add(
                &codes::KEYS_EXCLUDE,
                node.place,
                format!("`{key}` stands beside `mode: {mode}`"),
                format!("only `mode: {of}` has it, so it would do nothing"),
                format!("remove it, or write `mode: {of}`"),
            ),
            None if of == mode => report.add(
                &codes::MISSING_KEY,
                fields.node.place,
                format!("`{key}` is missing from the listener"),
                format!("with `mode: {of}` it says where everything goes"),
                format!("add `{key}:`"),
            ),
            _ => {}
        }
    }
    match mode {
        "inbound" => {
            let forward_to = fields.parse("forwardTo", format::target).unwrap_or(listen);
            if let Some(node) = fields.get("forwardTo").filter(|_| forward_to == listen) {
                report.add(
                    &codes::LOOP,
                    node.place,
                    "the listener forwards to its own address",
                    "every request would go round until something breaks",
                    "write the address of the service, with another port",
                );
            }
            Mode::Inbound { forward_to }
        }
        "tcp" => {
            for key in ["identify", "overrides", "trust"] {
                if let Some(node) = fields.get(key) {
                    report.add(
                        &codes::NO_EFFECT,
                        node.place,
                        format!("`{key}` does nothing with `mode: tcp`"),
                        "opaque connections have no requests and no headers",
                        "remove it",
                    );
                }
            }
            let to = fields.get("to");
            let path = to.and_then(|node| format::destination(node.text()?).ok());
            if let (Some(node), Some(path)) = (to, path) {
                targets.push(Target {
                    path,
                    spot: report.spot(node.place),
                });
            }
            Mode::Tcp {
                to: fields.owned("to").unwrap_or_default(),
            }
        }
        _ => Mode::Outbound,
    }
}

fn protocol(fields: Fields<'_>, mode: &Mode, report: &mut Report) -> ListenProtocol {
    let written = fields.get("protocol");
    let exclude = |report: &mut Report, why: &str, fix: &str| {
        if let Some(node) = written {
            let what = format!(
                "`protocol: {}` stands beside `mode: {}`",
                node.text().unwrap_or_default(),
                fields.text("mode").unwrap_or("outbound")
            );
            report.add(&codes::KEYS_EXCLUDE, node.place, what, why, fix);
        }
    };
    match (mode, written.and_then(Node::text)) {
        (Mode::Tcp { .. }, Some("http" | "auto")) => {
            exclude(
                report,
                "`mode: tcp` carries opaque bytes only",
                "remove it, or choose another mode",
            );
            ListenProtocol::Tcp
        }
        (Mode::Tcp { .. }, _) => ListenProtocol::Tcp,
        (Mode::Outbound, Some("tcp")) => {
            exclude(
                report,
                "opaque bytes do not say which service they are for",
                "write `mode: tcp` with `to`, or remove it",
            );
            ListenProtocol::Tcp
        }
        (_, Some("http")) => ListenProtocol::Http,
        (_, Some("tcp")) => ListenProtocol::Tcp,
        _ => ListenProtocol::Auto,
    }
}

fn identifier(node: &Node) -> Option<Identifier> {
    match node.text() {
        Some("host") => return Some(Identifier::Host),
        Some("method-host") => return Some(Identifier::MethodHost { uri: false }),
        Some(_) => return None,
        None => {}
    }
    let fields = Fields::new(node, &table::IDENTIFIER_OBJECT);
    let lower = |name: String| name.to_ascii_lowercase();
    let header = fields.owned("header").map(lower).map(Identifier::Header);
    let token = fields
        .owned("header-token")
        .map(lower)
        .map(Identifier::HeaderToken);
    let path = fields
        .child("path", &table::IDENTIFIER_PATH)
        .map(|path| Identifier::Path {
            segments: path.count("segments").unwrap_or(1),
            consume: path.flag("consume").unwrap_or(false),
        });
    let method = fields
        .child("method-host", &table::IDENTIFIER_METHOD)
        .map(|method| Identifier::MethodHost {
            uri: method.flag("uri").unwrap_or(false),
        });
    let fixed = fields.owned("static").map(Identifier::Static);
    header.or(token).or(path).or(method).or(fixed)
}

/// Admission has a meaning in front of a service only.
fn only_inbound(limits: Fields<'_>, report: &mut Report) {
    for key in ["concurrency", "queue", "queueWait"] {
        if let Some(node) = limits.get(key) {
            report.add(
                &codes::NO_EFFECT,
                node.place,
                format!("`{key}` does nothing on this listener"),
                "only `mode: inbound` stands in front of a service that could be overrun",
                "remove it, or write it at the service's own listener",
            );
        }
    }
}

fn listener_limits(fields: Fields<'_>) -> ListenerLimits {
    let mut limits = ListenerLimits::default();
    set(&mut limits.connections, fields.count("connections"));
    set(&mut limits.requests, fields.count("requests"));
    set(&mut limits.detect_timeout, fields.time("detectTimeout"));
    set(&mut limits.header_timeout, fields.time("headerTimeout"));
    set(&mut limits.body_timeout, fields.time("bodyTimeout"));
    set(&mut limits.write_timeout, fields.time("writeTimeout"));
    set(&mut limits.header_bytes, fields.count("headerBytes"));
    set(&mut limits.header_count, fields.count("headerCount"));
    set(&mut limits.streams, fields.count("streams"));
    set(&mut limits.idle, fields.time("idle"));
    limits.admission.concurrency = fields.count("concurrency");
    set(&mut limits.admission.queue, fields.count("queue"));
    set(&mut limits.admission.queue_wait, fields.time("queueWait"));
    limits
}

/// The folder that relative paths of a file start from.
pub(super) fn folder_of(file: &Path) -> PathBuf {
    file.parent().map(Path::to_owned).unwrap_or_default()
}
