//! The wire between Heddle's control plane and those that it serves: xDS, and a few messages of our own.
//!
//! The types of xDS come from a maintained crate and are only given shorter paths here. Ours are one resource type,
//! [`Document`], which carries rules in the language in which people wrote them, and [`Kept`], what a proxy keeps on disk.

use prost::{Message, Name};

mod names;
mod own;

pub use envoy_types::pb::envoy::config::{
    cluster::v3 as cluster, core::v3 as core, endpoint::v3 as endpoint, listener::v3 as listener,
    route::v3 as route,
};
pub use envoy_types::pb::envoy::extensions::filters::http::router::v3 as router;
pub use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as http;
pub use envoy_types::pb::envoy::extensions::upstreams::http::v3 as upstream;
pub use envoy_types::pb::envoy::service::discovery::v3 as discovery;
pub use envoy_types::pb::envoy::r#type::{matcher::v3 as matcher, v3 as kinds};
pub use envoy_types::pb::google::protobuf;
pub use envoy_types::pb::google::rpc;
pub use names::{k8s_set, set_of_path, static_set};
pub use own::{Document, Kept, KeptResource};
pub use prost;
pub use tonic;

/// `type.googleapis.com/envoy.config.listener.v3.Listener`.
pub const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
/// `type.googleapis.com/envoy.config.route.v3.RouteConfiguration`.
pub const ROUTES: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
/// `type.googleapis.com/envoy.config.cluster.v3.Cluster`.
pub const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
/// `type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment`.
pub const ENDPOINTS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
/// `type.googleapis.com/heddle.v1.Document`.
pub const DOCUMENT: &str = "type.googleapis.com/heddle.v1.Document";

/// A message as a resource: its type and its bytes.
pub fn pack<M: Message + Name>(message: &M) -> protobuf::Any {
    protobuf::Any {
        type_url: M::type_url(),
        value: message.encode_to_vec(),
    }
}

/// Reads a message of a known type out of a resource.
///
/// # Errors
/// Says what it is instead, or that its bytes do not make sense.
pub fn unpack<M: Message + Name + Default>(any: &protobuf::Any) -> Result<M, String> {
    let wanted = M::type_url();
    if any.type_url != wanted {
        return Err(format!("a {} where a {wanted} is expected", any.type_url));
    }
    M::decode(any.value.as_slice()).map_err(|error| format!("not a readable {wanted}: {error}"))
}

/// A length of time as protobuf has it; what is longer than 68 years is cut.
pub fn duration(time: std::time::Duration) -> protobuf::Duration {
    protobuf::Duration {
        seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(time.subsec_nanos()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_types_are_called_what_the_wire_calls_them() {
        assert_eq!(listener::Listener::type_url(), LISTENER);
        assert_eq!(route::RouteConfiguration::type_url(), ROUTES);
        assert_eq!(cluster::Cluster::type_url(), CLUSTER);
        assert_eq!(endpoint::ClusterLoadAssignment::type_url(), ENDPOINTS);
        assert_eq!(Document::type_url(), DOCUMENT);
    }

    #[test]
    fn what_is_packed_is_unpacked_and_nothing_else() {
        let document = Document {
            kind: "Route".into(),
            namespace: "bank".into(),
            name: "accounts".into(),
            text: "kind: Route".into(),
        };
        let any = pack(&document);
        assert_eq!(unpack(&any), Ok(document));
        assert!(
            unpack::<cluster::Cluster>(&any)
                .unwrap_err()
                .contains("heddle.v1.Document")
        );
        let torn = protobuf::Any {
            value: vec![0xff],
            ..any
        };
        assert!(
            unpack::<Document>(&torn)
                .unwrap_err()
                .contains("not a readable")
        );
    }
}
