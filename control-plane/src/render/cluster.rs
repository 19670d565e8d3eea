//! Pure. Clusters and their endpoints.

use heddle_core::config::{Cluster as Written, ClusterSource, UpstreamProtocol, WrittenEndpoint};
use heddle_core::endpoint::Locality as Place;
use heddle_xds::cluster::{Cluster, cluster};
use heddle_xds::core::{
    Address, AggregatedConfigSource, ApiVersion, ConfigSource, Http1ProtocolOptions,
    Http2ProtocolOptions, Locality, Metadata, SocketAddress, address, config_source,
    socket_address,
};
use heddle_xds::endpoint::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint,
};
use heddle_xds::protobuf::{Struct, UInt32Value, Value, value};
use heddle_xds::upstream::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig,
    explicit_http_config::ProtocolConfig,
};
use heddle_xds::{duration, pack, upstream};
use std::collections::BTreeMap;
use std::time::Duration;

/// Where Envoy looks for a cluster's protocol.
const PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// Time to connect, as our own proxies have it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Weights with fractions are whole numbers of so many parts.
const PARTS: f64 = 1000.0;

/// The same stream that this came over.
pub(super) fn same_stream() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::Ads(
            AggregatedConfigSource {},
        )),
        ..ConfigSource::default()
    }
}

/// The cluster of a written set: its endpoints follow on a path of their own, unless DNS is to be asked for them.
pub(super) fn of_written(name: &str, written: &Written) -> Cluster {
    let protocol = written.protocol;
    match hosts(&written.source) {
        None => Cluster {
            cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(
                cluster::DiscoveryType::Eds.into(),
            )),
            eds_cluster_config: Some(cluster::EdsClusterConfig {
                eds_config: Some(same_stream()),
                service_name: String::new(),
            }),
            ..base(name, protocol)
        },
        Some(hosts) => by_dns(name, protocol, &hosts),
    }
}

/// The cluster of one host.
pub(super) fn of_host(name: &str, host: &str, port: u16) -> Cluster {
    by_dns(
        name,
        UpstreamProtocol::Same,
        &[Spot::new(host, port, 1.0, &Place::default())],
    )
}

/// A cluster without endpoints, for ever.
pub(super) fn of_nobody(name: &str) -> Cluster {
    Cluster {
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(
            cluster::DiscoveryType::Static.into(),
        )),
        load_assignment: Some(assignment(name, &[])),
        ..base(name, UpstreamProtocol::Same)
    }
}

/// The endpoints of a written set; `None` where DNS is to be asked.
pub(super) fn endpoints(name: &str, written: &Written) -> Option<ClusterLoadAssignment> {
    let ClusterSource::Endpoints(all) = &written.source else {
        return None;
    };
    let spots: Option<Vec<_>> = all
        .iter()
        .map(|endpoint| match endpoint {
            WrittenEndpoint::Address(endpoint) => {
                let ip = endpoint.address.ip().to_string();
                Some(Spot::new(
                    &ip,
                    endpoint.address.port(),
                    endpoint.weight,
                    &endpoint.locality,
                ))
            }
            WrittenEndpoint::Host { .. } => None,
        })
        .collect();
    Some(assignment(name, &spots?))
}

fn base(name: &str, protocol: UpstreamProtocol) -> Cluster {
    let options = upstream::HttpProtocolOptions {
        upstream_protocol_options: Some(protocol_options(protocol)),
        ..upstream::HttpProtocolOptions::default()
    };
    Cluster {
        name: name.to_owned(),
        connect_timeout: Some(duration(CONNECT_TIMEOUT)),
        // What every client of xDS understands; our own proxies choose by the Route's `balancer`.
        lb_policy: cluster::LbPolicy::RoundRobin.into(),
        typed_extension_protocol_options: [(PROTOCOL_OPTIONS.to_owned(), pack(&options))].into(),
        ..Cluster::default()
    }
}

fn protocol_options(protocol: UpstreamProtocol) -> UpstreamProtocolOptions {
    let explicit = |config| {
        UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(config),
        })
    };
    match protocol {
        UpstreamProtocol::Same => {
            UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
                http_protocol_options: Some(Http1ProtocolOptions::default()),
                http2_protocol_options: Some(Http2ProtocolOptions::default()),
                http3_protocol_options: None,
            })
        }
        UpstreamProtocol::Http1 => explicit(ProtocolConfig::HttpProtocolOptions(
            Http1ProtocolOptions::default(),
        )),
        UpstreamProtocol::Http2 => explicit(ProtocolConfig::Http2ProtocolOptions(
            Http2ProtocolOptions::default(),
        )),
    }
}

fn by_dns(name: &str, protocol: UpstreamProtocol, spots: &[Spot]) -> Cluster {
    Cluster {
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(
            cluster::DiscoveryType::StrictDns.into(),
        )),
        load_assignment: Some(assignment(name, spots)),
        ..base(name, protocol)
    }
}

/// Where an endpoint is.
struct Spot {
    host: String,
    port: u16,
    weight: f64,
    zone: String,
    node: String,
}

impl Spot {
    fn new(host: &str, port: u16, weight: f64, place: &Place) -> Self {
        let text =
            |label: &Option<std::sync::Arc<str>>| label.as_deref().unwrap_or_default().to_owned();
        Self {
            host: host.to_owned(),
            port,
            weight,
            zone: text(&place.zone),
            node: text(&place.node),
        }
    }
}

/// All endpoints when any of them needs DNS; `None` when none does.
fn hosts(source: &ClusterSource) -> Option<Vec<Spot>> {
    match source {
        ClusterSource::Dns { host, port } => {
            Some(vec![Spot::new(host, *port, 1.0, &Place::default())])
        }
        ClusterSource::Endpoints(all) => {
            let named = all
                .iter()
                .any(|endpoint| matches!(endpoint, WrittenEndpoint::Host { .. }));
            named.then(|| {
                all.iter()
                    .map(|endpoint| match endpoint {
                        WrittenEndpoint::Host {
                            host,
                            port,
                            weight,
                            locality,
                        } => Spot::new(host, *port, *weight, locality),
                        WrittenEndpoint::Address(endpoint) => {
                            let ip = endpoint.address.ip().to_string();
                            Spot::new(
                                &ip,
                                endpoint.address.port(),
                                endpoint.weight,
                                &endpoint.locality,
                            )
                        }
                    })
                    .collect()
            })
        }
    }
}

/// Endpoints by zone. One of weight 0 takes no traffic, which xDS can only say by leaving it out.
fn assignment(name: &str, spots: &[Spot]) -> ClusterLoadAssignment {
    let whole = spots.iter().all(|spot| spot.weight.fract() == 0.0);
    let parts = if whole { 1.0 } else { PARTS };
    let mut zones: BTreeMap<&str, Vec<LbEndpoint>> = BTreeMap::new();
    let mut sums: BTreeMap<&str, u32> = BTreeMap::new();
    for spot in spots.iter().filter(|spot| spot.weight > 0.0) {
        let weight = (spot.weight * parts).round().max(1.0) as u32;
        zones
            .entry(&spot.zone)
            .or_default()
            .push(endpoint(spot, weight));
        let sum = sums.entry(&spot.zone).or_default();
        *sum = sum.saturating_add(weight);
    }
    let localities = zones
        .into_iter()
        .map(|(zone, lb_endpoints)| LocalityLbEndpoints {
            locality: Some(Locality {
                zone: zone.to_owned(),
                ..Locality::default()
            }),
            load_balancing_weight: sums.get(zone).map(|sum| UInt32Value { value: *sum }),
            lb_endpoints,
            ..LocalityLbEndpoints::default()
        });
    ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: localities.collect(),
        ..ClusterLoadAssignment::default()
    }
}

fn endpoint(spot: &Spot, weight: u32) -> LbEndpoint {
    let node = Value {
        kind: Some(value::Kind::StringValue(spot.node.clone())),
    };
    let ours = Struct {
        fields: [("node".to_owned(), node)].into(),
    };
    let metadata = (!spot.node.is_empty()).then(|| Metadata {
        filter_metadata: [("heddle".to_owned(), ours)].into(),
        ..Metadata::default()
    });
    LbEndpoint {
        metadata,
        load_balancing_weight: Some(UInt32Value { value: weight }),
        host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(Endpoint {
            address: Some(socket(&spot.host, spot.port)),
            ..Endpoint::default()
        })),
        ..LbEndpoint::default()
    }
}

/// A host and port.
pub(super) fn socket(host: &str, port: u16) -> Address {
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: host.to_owned(),
            port_specifier: Some(socket_address::PortSpecifier::PortValue(port.into())),
            ..SocketAddress::default()
        })),
    }
}
