//! Pure. What resources of a control plane say, ours or another's.

use heddle_core::config::{UpstreamProtocol, WrittenEndpoint};
use heddle_core::endpoint::{Endpoint, Locality};
use heddle_core::name::Path;
use heddle_core::spec::set::{Sound, judge};
use heddle_xds::cluster::{Cluster, cluster};
use heddle_xds::core::{Metadata, SocketAddress, address, socket_address};
use heddle_xds::endpoint::{ClusterLoadAssignment, LbEndpoint, lb_endpoint};
use heddle_xds::protobuf::{Any, value};
use heddle_xds::upstream::HttpProtocolOptions;
use heddle_xds::upstream::http_protocol_options::{
    UpstreamProtocolOptions, explicit_http_config::ProtocolConfig,
};
use heddle_xds::{CLUSTER, DOCUMENT, Document, ENDPOINTS, unpack};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Where other control planes put a cluster's protocol.
const PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// `DRAINING`, `UNHEALTHY` and `TIMEOUT` of xDS: no new requests.
const UNFIT: [i32; 3] = [2, 3, 4];
/// Endpoints of one set; above Kubernetes's largest Services.
const ENDPOINTS_MAX: usize = 20_000;

/// The kinds of resources that a proxy asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Topic {
    /// How to speak to a set.
    Cluster,
    /// Its endpoints.
    Endpoints,
    /// Rules.
    Document,
}

impl Topic {
    pub(super) const ALL: [Self; 3] = [Self::Cluster, Self::Endpoints, Self::Document];

    pub(super) fn of_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.url() == url)
    }

    pub(super) fn url(self) -> &'static str {
        match self {
            Self::Cluster => CLUSTER,
            Self::Endpoints => ENDPOINTS,
            Self::Document => DOCUMENT,
        }
    }
}

/// What a resource says.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// A set's protocol, and its endpoints unless they come apart.
    Cluster(UpstreamProtocol, Option<Vec<WrittenEndpoint>>),
    /// A set's endpoints.
    Endpoints(Vec<WrittenEndpoint>),
    /// A rule.
    Document(Box<Sound>),
}

/// Reads a resource.
///
/// # Errors
/// Says what is wrong with it, for whoever sent it.
pub(super) fn read(topic: Topic, name: &str, any: &Any) -> Result<Content, String> {
    match topic {
        Topic::Cluster => of_cluster(&unpack(any)?),
        Topic::Endpoints => Ok(Content::Endpoints(endpoints(&unpack(any)?)?)),
        Topic::Document => of_document(name, &unpack(any)?),
    }
}

fn of_document(name: &str, document: &Document) -> Result<Content, String> {
    let mut judged = judge(&[(format!("control plane: {name}"), document.text.clone())]);
    if let Some(error) = judged.findings.iter().find(|finding| finding.is_error()) {
        return Err(error.to_string());
    }
    match judged.sound.pop() {
        Some(sound)
            if judged.sound.is_empty()
                && sound.id.to_string() == document.resource_name()
                && name == document.resource_name() =>
        {
            Ok(Content::Document(Box::new(sound)))
        }
        _ => Err(format!(
            "{name} is not the one document that its text holds"
        )),
    }
}

fn of_cluster(cluster: &Cluster) -> Result<Content, String> {
    use cluster::DiscoveryType::{Eds, LogicalDns, Static, StrictDns};
    let kind = match &cluster.cluster_discovery_type {
        Some(cluster::ClusterDiscoveryType::Type(kind)) => *kind,
        Some(cluster::ClusterDiscoveryType::ClusterType(custom)) => {
            return Err(format!(
                "the cluster type {} is not known here",
                custom.name
            ));
        }
        None => Static.into(),
    };
    let protocol = protocol(cluster)?;
    if kind == i32::from(Eds) {
        return Ok(Content::Cluster(protocol, None));
    }
    if [Static, StrictDns, LogicalDns]
        .map(i32::from)
        .contains(&kind)
    {
        let assignment = cluster.load_assignment.clone().unwrap_or_default();
        return Ok(Content::Cluster(protocol, Some(endpoints(&assignment)?)));
    }
    Err(format!(
        "clusters of the discovery type {kind} are not known here"
    ))
}

fn protocol(cluster: &Cluster) -> Result<UpstreamProtocol, String> {
    let Some(any) = cluster
        .typed_extension_protocol_options
        .get(PROTOCOL_OPTIONS)
    else {
        return Ok(UpstreamProtocol::Same);
    };
    let options: HttpProtocolOptions = unpack(any)?;
    Ok(match options.upstream_protocol_options {
        Some(UpstreamProtocolOptions::ExplicitHttpConfig(explicit)) => {
            match explicit.protocol_config {
                Some(ProtocolConfig::Http2ProtocolOptions(_)) => UpstreamProtocol::Http2,
                Some(ProtocolConfig::HttpProtocolOptions(_)) => UpstreamProtocol::Http1,
                Some(ProtocolConfig::Http3ProtocolOptions(_)) => {
                    return Err("HTTP/3 towards endpoints is not spoken here".to_owned());
                }
                None => UpstreamProtocol::Same,
            }
        }
        _ => UpstreamProtocol::Same,
    })
}

fn endpoints(assignment: &ClusterLoadAssignment) -> Result<Vec<WrittenEndpoint>, String> {
    let mut all = Vec::new();
    // Of several priorities the first that has anybody; the balancer's own preferences come after.
    let priorities = assignment
        .endpoints
        .iter()
        .filter(|l| l.lb_endpoints.iter().any(is_fit))
        .map(|l| l.priority);
    let first = priorities.min().unwrap_or_default();
    for locality in assignment
        .endpoints
        .iter()
        .filter(|locality| locality.priority == first)
    {
        let zone = locality
            .locality
            .as_ref()
            .map(|l| l.zone.as_str())
            .filter(|zone| !zone.is_empty());
        for endpoint in locality
            .lb_endpoints
            .iter()
            .filter(|endpoint| is_fit(endpoint))
        {
            all.push(of_endpoint(endpoint, zone)?);
        }
    }
    if all.len() > ENDPOINTS_MAX {
        return Err(format!(
            "{} endpoints are more than the {ENDPOINTS_MAX} that a set may have",
            all.len()
        ));
    }
    Ok(all)
}

fn is_fit(endpoint: &LbEndpoint) -> bool {
    !UNFIT.contains(&endpoint.health_status)
}

fn of_endpoint(endpoint: &LbEndpoint, zone: Option<&str>) -> Result<WrittenEndpoint, String> {
    let Some(SocketAddress {
        address,
        port_specifier: Some(socket_address::PortSpecifier::PortValue(port)),
        ..
    }) = socket(endpoint)
    else {
        return Err("an endpoint has no socket address with a port number".to_owned());
    };
    let port = u16::try_from(*port)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| format!("{port} is no port"))?;
    let weight = endpoint
        .load_balancing_weight
        .as_ref()
        .map_or(1.0, |weight| f64::from(weight.value));
    let locality = Locality {
        zone: zone.map(Arc::from),
        node: node(endpoint.metadata.as_ref()).map(Arc::from),
    };
    if let Ok(ip) = address.parse::<IpAddr>() {
        return Ok(WrittenEndpoint::Address(Endpoint {
            address: SocketAddr::new(ip, port),
            weight,
            locality,
        }));
    }
    let legal = !address.is_empty()
        && address.len() <= 253
        && address
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if !legal {
        return Err(format!(
            "`{address}` is neither an IP address nor a host name"
        ));
    }
    Ok(WrittenEndpoint::Host {
        host: address.clone(),
        port,
        weight,
        locality,
    })
}

fn socket(endpoint: &LbEndpoint) -> Option<&SocketAddress> {
    let lb_endpoint::HostIdentifier::Endpoint(endpoint) = endpoint.host_identifier.as_ref()? else {
        return None;
    };
    match endpoint.address.as_ref()?.address.as_ref()? {
        address::Address::SocketAddress(socket) => Some(socket),
        _ => None,
    }
}

fn node(metadata: Option<&Metadata>) -> Option<&str> {
    let ours = metadata?.filter_metadata.get("heddle")?;
    match ours.fields.get("node")?.kind.as_ref()? {
        value::Kind::StringValue(node) => Some(node),
        _ => None,
    }
}

/// The set of a bound name.
pub(super) fn set_of(id: &Path) -> Option<String> {
    let elements: Vec<&str> = id
        .elements()
        .iter()
        .map(|element| element.as_str())
        .collect::<Option<_>>()?;
    heddle_xds::set_of_path(&elements)
}

/// The bound name of a set.
pub(super) fn path_of(set: &str) -> Option<Path> {
    let (namer, rest) = set.split_once('/')?;
    let elements: Vec<&str> = match namer {
        "static" => vec!["#", "static", rest],
        "k8s" => {
            let [namespace, service, port] = rest.split('/').collect::<Vec<_>>().try_into().ok()?;
            vec!["#", "k8s", namespace, port, service]
        }
        _ => return None,
    };
    Path::from_elements(elements.iter().map(|element| element.as_bytes()))
}
