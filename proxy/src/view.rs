//! What the running proxy shows of itself: plain values, filled by the data plane, read by the admin server.

mod config;
mod tree;

pub use config::{balancer_word, config_json, protocol_word};
pub(crate) use config::{duration, fault_words, identifier, key_word, match_words};
pub use tree::tree_json;

use heddle_core::status::Status;
use serde::Serialize;
use std::net::SocketAddr;

/// One replica set that the proxy uses now.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetView {
    /// Its bound id: `/#/static/accounts-v1`.
    pub id: String,
    /// What is spoken to it: `same`, `http1` or `http2`.
    pub protocol: String,
    /// `bound`, `pending`, `neg`, or why its addresses could not be found.
    pub state: String,
    /// The balancer's kind, as in configuration: `p2c-peak-ewma`.
    pub balancer: String,
    /// Its endpoints, in the set's order.
    pub endpoints: Vec<EndpointView>,
}

/// One endpoint of a replica set, over all workers.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointView {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its share relative to its siblings.
    pub weight: f64,
    /// Its failure domain, if known.
    pub zone: Option<String>,
    /// Its machine, if known.
    pub node: Option<String>,
    /// Whether it may be picked.
    #[serde(serialize_with = "status")]
    pub status: Status,
    /// Milliseconds until it is probed, while it is ejected.
    pub ejected_ms: Option<u64>,
    /// Peak EWMA of latency in milliseconds; `None` before the first answer.
    pub ewma_ms: Option<f64>,
    /// What peak EWMA balancing compares, less is better: nanoseconds of latency times one more than the attempts in flight.
    pub load: f64,
    /// Attempts in flight now.
    pub in_flight: u64,
    /// Attempts sent to it.
    pub requests: u64,
    /// Those that failed.
    pub failures: u64,
    /// Connections open to it now.
    pub connections: u64,
}

/// The word for a status in text and JSON.
pub fn status_word(status: Status) -> &'static str {
    match status {
        Status::Open => "open",
        Status::Busy => "busy",
        Status::Closed => "closed",
    }
}

fn status<S: serde::Serializer>(status: &Status, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(status_word(*status))
}
