//! The configuration of a proxy that was given none.

use super::Source;
use crate::config::{
    Dns, Identifier, Limits, ListenProtocol, Listener, ListenerLimits, Mode, Overrides, ProxyConfig,
};
use crate::endpoint::Locality;
use crate::name::Dtab;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Where the admin server listens unless it is told otherwise: loopback, linkerd's port.
pub(super) const ADMIN_PORT: u16 = 9990;
/// Where the outbound listener listens unless it is told otherwise: loopback, linkerd's port.
pub(super) const OUTBOUND_PORT: u16 = 4140;
/// How long a drain waits.
pub(super) const DRAIN: Duration = Duration::from_secs(30);

pub(super) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// `$POD_NAMESPACE`, else `default`.
pub(super) fn namespace(source: &dyn Source) -> String {
    source
        .env("POD_NAMESPACE")
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "default".to_owned())
}

/// The base dtab without Kubernetes: names are looked up in `static`, then in `files` if a folder is configured.
pub(super) fn base_dtab(files: bool) -> Dtab {
    let text = if files {
        "/svc => /#/files ; /svc => /#/static ;"
    } else {
        "/svc => /#/static ;"
    };
    Dtab::parse(text).expect("the text is a constant, which a test parses")
}

/// The outbound listener of a proxy that was given none.
pub(super) fn outbound(namespace: &str, files: bool) -> Listener {
    Listener {
        name: "outbound".to_owned(),
        listen: loopback(OUTBOUND_PORT),
        mode: Mode::Outbound,
        protocol: ListenProtocol::Auto,
        namespace: namespace.to_owned(),
        identify: vec![Identifier::Host],
        overrides: Overrides::Strip,
        base_dtab: base_dtab(files),
        trust: Vec::new(),
        limits: ListenerLimits::default(),
        tls: None,
    }
}

/// Everything by default.
pub(super) fn config(source: &dyn Source) -> ProxyConfig {
    let namespace = namespace(source);
    ProxyConfig {
        admin: loopback(ADMIN_PORT),
        admin_hosts: Vec::new(),
        listeners: vec![Arc::new(outbound(&namespace, false))],
        namespace,
        locality: Locality::default(),
        workers: None,
        clusters: BTreeMap::new(),
        tls: Vec::new(),
        files: None,
        dns: Dns::default(),
        control_plane: None,
        routes: BTreeMap::new(),
        dtab: Dtab::empty(),
        faults: Vec::new(),
        drain: DRAIN,
        access_log: None,
        tracing: None,
        limits: Limits::default(),
        files_read: Vec::new(),
        folders_read: Vec::new(),
    }
}
