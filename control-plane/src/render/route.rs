//! Pure. Route configurations: virtual hosts and the names under which they are asked for.

use super::{DEFAULT_NAMESPACE, OUTBOUND};
use crate::snapshot::{Resource, Set};
use heddle_xds::pack;
use heddle_xds::route::{Route, RouteConfiguration, VirtualHost};
use std::collections::{BTreeMap, BTreeSet};

/// The route configuration of one service, for clients that dial it by name.
pub(super) fn resource_of(service: &str) -> String {
    format!("service/{service}")
}

/// Every route configuration, given the routes of each service by namespace and name.
pub(super) fn all(hosts: BTreeMap<(String, String), Vec<Route>>) -> Set {
    let mut taken = BTreeSet::new();
    let mut outbound = Vec::new();
    let mut all = BTreeMap::new();
    for ((namespace, service), routes) in &hosts {
        let is_default = namespace == DEFAULT_NAMESPACE;
        if is_default {
            let only = VirtualHost {
                name: service.clone(),
                domains: vec!["*".to_owned()],
                routes: routes.clone(),
                ..VirtualHost::default()
            };
            let name = resource_of(service);
            let configuration = configuration(&name, vec![only]);
            all.insert(name, Resource::unlisted(pack(&configuration)));
        }
        let short = is_default.then(|| service.clone());
        let names = short.into_iter().chain([format!("{service}.{namespace}")]);
        // A name that two services would have is the first one's; a client refuses it twice.
        let domains: Vec<_> = names
            .flat_map(|name| domains(&name))
            .filter(|domain| taken.insert(domain.clone()))
            .collect();
        if !domains.is_empty() {
            outbound.push(VirtualHost {
                name: format!("{namespace}/{service}"),
                domains,
                routes: routes.clone(),
                ..VirtualHost::default()
            });
        }
    }
    let whole = configuration(OUTBOUND, outbound);
    all.insert(OUTBOUND.to_owned(), Resource::new(pack(&whole)));
    all.into_iter().collect()
}

fn configuration(name: &str, virtual_hosts: Vec<VirtualHost>) -> RouteConfiguration {
    RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts,
        ..RouteConfiguration::default()
    }
}

/// How callers write a name: identifiers drop the ports 80 and 443.
fn domains(name: &str) -> Vec<String> {
    if name.contains(':') {
        return vec![name.to_owned()];
    }
    ["", ":80", ":443"]
        .map(|port| format!("{name}{port}"))
        .into()
}
