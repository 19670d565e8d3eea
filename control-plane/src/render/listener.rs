//! Pure. Listeners: one that a proxy binds, and one without an address for each name that gRPC clients dial.

use super::OUTBOUND;
use super::cluster::{same_stream, socket};
use super::route::resource_of;
use crate::snapshot::{Resource, Set};
use heddle_xds::http::http_connection_manager::{CodecType, RouteSpecifier, UpgradeConfig};
use heddle_xds::http::{HttpConnectionManager, HttpFilter, Rds, http_filter};
use heddle_xds::listener::{ApiListener, Filter, FilterChain, Listener, filter};
use heddle_xds::{pack, router};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Every listener of a mesh with these services.
pub(super) fn all<'s>(outbound: SocketAddr, services: impl Iterator<Item = &'s str>) -> Set {
    let services: BTreeSet<&str> = services.filter(|name| *name != OUTBOUND).collect();
    let dialled = services.into_iter().map(|service| {
        let listener = Listener {
            name: service.to_owned(),
            api_listener: Some(ApiListener {
                api_listener: Some(pack(&manager(&resource_of(service)))),
            }),
            ..Listener::default()
        };
        (service.to_owned(), Resource::unlisted(pack(&listener)))
    });
    let bound = Listener {
        name: OUTBOUND.to_owned(),
        address: Some(socket(&outbound.ip().to_string(), outbound.port())),
        filter_chains: vec![FilterChain {
            filters: vec![Filter {
                name: "envoy.filters.network.http_connection_manager".to_owned(),
                config_type: Some(filter::ConfigType::TypedConfig(pack(
                    &HttpConnectionManager {
                        upgrade_configs: vec![UpgradeConfig {
                            upgrade_type: "websocket".to_owned(),
                            ..UpgradeConfig::default()
                        }],
                        strip_trailing_host_dot: true,
                        ..manager(OUTBOUND)
                    },
                ))),
            }],
            ..FilterChain::default()
        }],
        ..Listener::default()
    };
    let bound = (OUTBOUND.to_owned(), Resource::new(pack(&bound)));
    dialled.chain([bound]).collect()
}

fn manager(routes: &str) -> HttpConnectionManager {
    HttpConnectionManager {
        codec_type: CodecType::Auto.into(),
        stat_prefix: OUTBOUND.to_owned(),
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: Some(same_stream()),
            route_config_name: routes.to_owned(),
        })),
        http_filters: vec![HttpFilter {
            name: "envoy.filters.http.router".to_owned(),
            config_type: Some(http_filter::ConfigType::TypedConfig(pack(
                &router::Router::default(),
            ))),
            ..HttpFilter::default()
        }],
        ..HttpConnectionManager::default()
    }
}
