//! Names without a running proxy: what configuration and files say by themselves.

use super::{EndpointExplained, SetExplained};
use crate::discovery::{Addr, Discovery, Names};
use crate::metrics::Metrics;
use crate::view::protocol_word;
use heddle_core::config::{Cluster, ClusterSource, ProxyConfig, WrittenEndpoint};
use heddle_core::endpoint::Endpoint;
use heddle_core::name::{Element, Lookup, Namer, Path, utility};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many elements the bound ids of the namers have, `/#` and the namer's own name included.
const KINDS: [(&str, usize); 5] = [
    ("static", 3),
    ("files", 3),
    ("dns", 4),
    ("dns-srv", 3),
    ("k8s", 5),
];

/// Binds every name of the known namers, so that a dtab can be tried without a proxy: `/#/static/<x>`,
/// `/#/files/<x>`, `/#/dns/<host>/<port>`, `/#/dns-srv/<name>`, `/#/k8s/<namespace>/<port>/<service>`. Names that
/// are shorter are neg, and so is every other namer.
///
/// ```
/// use heddle_core::name::{bind, Dtab, Path, MAX_DEPTH};
/// use heddle_proxy::explain::Vocabulary;
/// let tree = bind(&Dtab::parse("/svc => /#/static")?, &Vocabulary, &Path::parse("/svc/accounts/x")?, MAX_DEPTH);
/// assert_eq!(tree.unwrap().to_string(), "/#/static/accounts[/x]");
/// # Ok::<(), heddle_core::name::ParseError>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Vocabulary;

impl Namer for Vocabulary {
    fn lookup(&self, path: &Path) -> Lookup {
        utility(path).unwrap_or_else(|| match kind_of(path) {
            Some((_, taken)) if path.len() >= taken => Lookup::bound(path, taken),
            _ => Lookup::NEG,
        })
    }
}

/// The namer that a path below `/#` belongs to, and the length of its ids.
fn kind_of(path: &Path) -> Option<(&'static str, usize)> {
    let [root, name, ..] = path.elements() else {
        return None;
    };
    KINDS
        .into_iter()
        .find(|(kind, _)| root.as_str() == Some("#") && name.as_str() == Some(kind))
}

/// The names of one configuration, as far as they are known without asking anybody: written replica sets, the files
/// of the `files` namer as they are now, and DNS names, which bind although their addresses stay unknown.
#[derive(Debug)]
pub struct Offline {
    discovery: Arc<Discovery>,
    names: Arc<Names>,
    clusters: BTreeMap<String, Arc<Cluster>>,
}

impl Offline {
    /// Takes the written replica sets, and reads the folder of the `files` namer. Blocking.
    pub fn new(config: &ProxyConfig) -> Self {
        let discovery = Discovery::new(Metrics::new(1));
        discovery.configure(config);
        let names = discovery.namer();
        Self {
            discovery,
            names,
            clusters: config.clusters.clone(),
        }
    }

    /// Files of the `files` namer that cannot be read or understood, each with the reason, by bound name.
    pub fn file_errors(&self) -> Vec<(String, String)> {
        self.discovery.file_errors()
    }

    /// What is known of a replica set, by its bound id.
    pub fn set(&self, id: &Path) -> Option<SetExplained> {
        let name = id.elements().get(2).and_then(Element::as_str);
        if let (Some(("static", _)), Some(cluster)) =
            (kind_of(id), name.and_then(|name| self.clusters.get(name)))
        {
            return Some(written(id, cluster));
        }
        let set = self.discovery.replica_set(id)?;
        let (state, endpoints) = match &*set.addr() {
            Addr::Bound(known) => ("bound".to_owned(), known.iter().map(address).collect()),
            Addr::Pending => (UNRESOLVED.to_owned(), Vec::new()),
            Addr::Neg => ("neg".to_owned(), Vec::new()),
            Addr::Failed(reason) => (reason.clone(), Vec::new()),
        };
        let protocol = Some(protocol_word(set.protocol()).to_owned());
        Some(SetExplained {
            id: id.to_string(),
            state,
            protocol,
            endpoints,
        })
    }
}

/// State of a set whose addresses DNS would have to tell.
const UNRESOLVED: &str = "not resolved, since nothing was asked offline";

impl Namer for Offline {
    fn lookup(&self, path: &Path) -> Lookup {
        match (self.names.lookup(path), kind_of(path)) {
            (Lookup::Pending, Some((_, taken))) => Lookup::bound(path, taken),
            (found, _) => found,
        }
    }
}

/// A written replica set with its host names as they are.
fn written(id: &Path, cluster: &Cluster) -> SetExplained {
    let (state, endpoints) = match &cluster.source {
        ClusterSource::Endpoints(endpoints) => {
            let host =
                |endpoint: &WrittenEndpoint| matches!(endpoint, WrittenEndpoint::Host { .. });
            let state = if endpoints.iter().any(host) {
                "bound, host names not resolved"
            } else {
                "bound"
            };
            (
                state.to_owned(),
                endpoints.iter().map(written_endpoint).collect(),
            )
        }
        ClusterSource::Dns { host, port } => (
            format!("all addresses of {host}:{port}, {UNRESOLVED}"),
            Vec::new(),
        ),
    };
    SetExplained {
        id: id.to_string(),
        state,
        protocol: Some(protocol_word(cluster.protocol).to_owned()),
        endpoints,
    }
}

fn written_endpoint(endpoint: &WrittenEndpoint) -> EndpointExplained {
    match endpoint {
        WrittenEndpoint::Address(endpoint) => address(endpoint),
        WrittenEndpoint::Host {
            host, port, weight, ..
        } => EndpointExplained {
            address: format!("{host}:{port}"),
            weight: *weight,
            live: None,
        },
    }
}

fn address(endpoint: &Endpoint) -> EndpointExplained {
    EndpointExplained {
        address: endpoint.address.to_string(),
        weight: endpoint.weight,
        live: None,
    }
}
