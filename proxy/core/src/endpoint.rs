//! Endpoints: one address of a replica set, with its attributes.

use std::net::SocketAddr;
use std::sync::Arc;

/// Where something runs; both parts are opaque labels that are compared for equality.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Locality {
    /// Failure domain, such as `eu-west-1a`.
    pub zone: Option<Arc<str>>,
    /// Machine, such as a Kubernetes node name.
    pub node: Option<Arc<str>>,
}

/// One replica.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its share of traffic relative to its siblings; finite and not negative, 1 by default.
    pub weight: f64,
    /// Where it runs, if known.
    pub locality: Locality,
}

impl Endpoint {
    /// An endpoint of weight 1 without attributes.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            weight: 1.0,
            locality: Locality::default(),
        }
    }
}
