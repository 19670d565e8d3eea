//! Pure. A mesh in the words of xDS.
//!
//! Each resource is a function of the documents alone and never of the client, so it is encoded once for all; a client that
//! needs less names less. Maps in messages have one entry at most, since their encoding would have no fixed order.
//!
//! | kind | names |
//! |---|---|
//! | CDS, EDS | `static/<name>` for each written set; `dns/<host>/<port>` and `inet/<host>/<port>` where rules lead there |
//! | LDS | `outbound`, which a proxy listens on; and each service's name, for gRPC clients that dial it |
//! | RDS | `outbound` with a virtual host for each service; and `service/<service>` |
//! | documents | `<kind>/<namespace>/<name>` for each Route, Dtab and Fault |

use crate::snapshot::{Resource, Rules, Set};
use heddle_core::config::{Cluster, Route};
use heddle_core::name::Dtab;
use heddle_core::spec::set::{Meaning, Sound};
use heddle_xds::{Document, pack, static_set};
use names::Names;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

mod cluster;
mod listener;
mod names;
mod route;
mod rule;

/// The route configuration and the listener of a proxy for its host's calls.
pub const OUTBOUND: &str = "outbound";
/// The namespace whose services have short names for clients that say nothing of theirs.
const DEFAULT_NAMESPACE: &str = "default";

/// The documents of a mesh, by what they say.
#[derive(Debug, Default)]
pub struct Mesh<'m> {
    routes: BTreeMap<(&'m str, &'m str), &'m Route>,
    clusters: BTreeMap<&'m str, &'m Arc<Cluster>>,
    dtab: Dtab,
    documents: Vec<&'m Sound>,
}

impl<'m> Mesh<'m> {
    /// Of documents that do not contradict each other.
    pub fn new(documents: impl IntoIterator<Item = &'m Sound>) -> Self {
        let mut mesh = Self::default();
        let mut dtabs = BTreeMap::new();
        for sound in documents {
            match &sound.meaning {
                Meaning::Route(route) => {
                    mesh.routes
                        .insert((&route.namespace, &route.service), route);
                }
                Meaning::Cluster(cluster) => {
                    mesh.clusters.insert(&cluster.name, cluster);
                }
                Meaning::Dtab(dtab) => {
                    dtabs.insert((&sound.id.namespace, &sound.id.name), dtab);
                }
                Meaning::Fault(_) => {}
            }
            if !matches!(sound.meaning, Meaning::Cluster(_)) {
                mesh.documents.push(sound);
            }
        }
        let base = Dtab::parse("/svc => /#/static ;").expect("a constant, which tests parse");
        mesh.dtab = dtabs.values().fold(base, |all, dtab| all.concat(dtab));
        mesh
    }

    /// What changes seldom; proxies that take their listener from here listen on `outbound`.
    pub fn rules(&self, outbound: SocketAddr) -> Rules {
        let names = Names::new(&self.dtab, &self.clusters);
        let hosts = self.virtual_hosts(&names);
        let mut clusters: BTreeMap<_, _> = self
            .clusters
            .iter()
            .map(|(name, cluster)| {
                let name = static_set(name);
                (
                    name.clone(),
                    Resource::new(pack(&cluster::of_written(&name, cluster))),
                )
            })
            .collect();
        for (name, host, port) in names.literals() {
            clusters.insert(
                name.clone(),
                Resource::new(pack(&cluster::of_host(&name, &host, port))),
            );
        }
        if names.needs_nowhere() {
            let nobody = cluster::of_nobody(names::NOWHERE);
            clusters.insert(nobody.name.clone(), Resource::new(pack(&nobody)));
        }
        Rules {
            clusters: clusters.into_iter().collect(),
            listeners: listener::all(outbound, hosts.keys().map(|(_, service)| service.as_str())),
            routes: route::all(hosts),
            documents: self.documents.iter().map(|sound| document(sound)).collect(),
        }
    }

    /// The endpoints of every written set.
    pub fn endpoints(&self) -> Set {
        let sets = self.clusters.iter().filter_map(|(name, cluster)| {
            let name = static_set(name);
            let assignment = cluster::endpoints(&name, cluster)?;
            Some((name, Resource::new(pack(&assignment))))
        });
        sets.collect()
    }

    /// The routes of every service, by namespace and name.
    fn virtual_hosts(
        &self,
        names: &Names<'_>,
    ) -> BTreeMap<(String, String), Vec<heddle_xds::route::Route>> {
        let own = self.routes.iter().map(|((namespace, service), route)| {
            (
                ((*namespace).to_owned(), (*service).to_owned()),
                rule::of_route(route, names),
            )
        });
        let mut hosts: BTreeMap<_, _> = own.collect();
        let sets: BTreeSet<&str> = self
            .clusters
            .keys()
            .copied()
            .chain(names.delegated())
            .collect();
        for name in sets {
            let key = (DEFAULT_NAMESPACE.to_owned(), name.to_owned());
            hosts
                .entry(key)
                .or_insert_with(|| vec![rule::of_name(name, names)]);
        }
        hosts
    }
}

fn document(sound: &Sound) -> (String, Resource) {
    let document = Document {
        kind: sound.id.kind.clone(),
        namespace: sound.id.namespace.clone(),
        name: sound.id.name.clone(),
        text: sound.text.to_string(),
    };
    (document.resource_name(), Resource::new(pack(&document)))
}

#[cfg(test)]
mod tests;
