//! Pure. What one client wants, has been sent and has said of it: xDS without a socket.
//!
//! A [`Session`] takes requests and a [`Snapshot`], and says what to send next. It holds names and versions only, so a slow
//! client costs what it subscribes to and nothing for what it does not read. At most one answer of a kind is under way: the
//! next is computed from the newest snapshot once the client has spoken, so changes in between are never sent at all.
//!
//! Order (make before break): clusters, their endpoints, listeners, routes; what is gone of clusters and endpoints is told
//! last, when nothing that a client has taken names it any more.

use crate::snapshot::{Kind, Snapshot, hash};
use heddle_core::Nanos;
use heddle_xds::cluster::{Cluster, cluster};
use heddle_xds::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use heddle_xds::rpc;
use std::collections::{BTreeMap, BTreeSet};
use subscription::{Pending, Subscription};

mod subscription;
pub use subscription::Refusal;

/// Names that one client may subscribe to of one kind: the services of a large mesh.
pub const NAMES_MAX: usize = 50_000;
/// An incremental answer is cut near this size, since gRPC clients refuse messages above 4 MiB.
const CHUNK_BYTES: usize = 2 * 1024 * 1024;
/// Routes wait this long for a client to ask for the endpoints of clusters that it was sent.
const WARMING: Nanos = 1_000_000_000;

/// How the client wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// All that it subscribes to, each time.
    World,
    /// What differs.
    Delta,
}

/// What to send.
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    /// To a client that wants the state of the world.
    World(DiscoveryResponse),
    /// To one that wants differences.
    Delta(DeltaDiscoveryResponse),
}

/// A request that ends the stream, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abuse(pub String);

/// How things stand with one kind, for people.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The kind.
    pub kind: Kind,
    /// Names subscribed to, or everything.
    pub names: Option<usize>,
    /// The version sent last.
    pub sent: Option<String>,
    /// The version accepted last.
    pub accepted: Option<String>,
    /// The refusal, if the last answer was refused.
    pub refused: Option<Refusal>,
    /// Since when an answer is under way.
    pub waiting: Option<Nanos>,
}

/// One client's side of things.
#[derive(Debug)]
pub struct Session {
    flavor: Flavor,
    kinds: BTreeMap<Kind, Subscription>,
    nonces: u64,
    /// Since when routes wait for endpoints to be asked for.
    warming: Option<Nanos>,
}

impl Session {
    /// A client that has said nothing yet.
    pub fn new(flavor: Flavor) -> Self {
        Self {
            flavor,
            kinds: BTreeMap::new(),
            nonces: 0,
            warming: None,
        }
    }

    /// Takes a request of a client that wants the state of the world.
    ///
    /// # Errors
    /// When it asks for more than a client may.
    pub fn world(&mut self, request: DiscoveryRequest, now: Nanos) -> Result<(), Abuse> {
        let Some(kind) = Kind::of_url(&request.type_url) else {
            return Ok(());
        };
        let of = Self::entry(&mut self.kinds, self.flavor, kind);
        if !request.response_nonce.is_empty() && request.response_nonce != of.nonce {
            return Ok(()); // about an answer that was replaced since
        }
        of.settle(&request.response_nonce, refusal(request.error_detail, now));
        of.replace(kind, request.resource_names)
    }

    /// Takes a request of a client that wants differences.
    ///
    /// # Errors
    /// When it asks for more than a client may.
    pub fn delta(&mut self, request: DeltaDiscoveryRequest, now: Nanos) -> Result<(), Abuse> {
        let Some(kind) = Kind::of_url(&request.type_url) else {
            return Ok(());
        };
        let of = Self::entry(&mut self.kinds, self.flavor, kind);
        // What it subscribes to counts even when its nonce is stale; only the verdict does not.
        if !request.response_nonce.is_empty() && request.response_nonce == of.nonce {
            of.settle(&request.response_nonce, refusal(request.error_detail, now));
        }
        of.change(
            kind,
            request.resource_names_subscribe,
            &request.resource_names_unsubscribe,
            request.initial_resource_versions,
        )
    }

    fn entry(
        kinds: &mut BTreeMap<Kind, Subscription>,
        flavor: Flavor,
        kind: Kind,
    ) -> &mut Subscription {
        let tells_gone = flavor == Flavor::Delta || kind.is_whole();
        kinds
            .entry(kind)
            .or_insert_with(|| Subscription::new(tells_gone))
    }

    /// What to send next, if anything. To be asked again after each answer until there is nothing.
    pub fn next(&mut self, snapshot: &Snapshot, now: Nanos) -> Option<Response> {
        for kind in Kind::ALL {
            if self.is_held(kind, snapshot, now) {
                continue;
            }
            if let Some(response) = self.of_kind(kind, snapshot, now, false) {
                return Some(response);
            }
        }
        let users = [Kind::Listener, Kind::Routes];
        // A client that refused the new routes goes by the old ones.
        let refused = users
            .iter()
            .any(|kind| self.kinds.get(kind).is_some_and(|of| of.refused.is_some()));
        if refused || !self.is_settled(&users, snapshot) {
            return None;
        }
        [Kind::Cluster, Kind::Endpoints]
            .into_iter()
            .find_map(|kind| self.of_kind(kind, snapshot, now, true))
    }

    /// When to ask [`next`](Self::next) again although nothing happens.
    pub fn wake(&self) -> Option<Nanos> {
        self.warming.map(|since| since + WARMING)
    }

    /// Whether the client has accepted everything that it is to have.
    pub fn is_synced(&self, snapshot: &Snapshot) -> bool {
        let refused = self.kinds.values().any(|of| of.refused.is_some());
        !refused && self.is_settled(&Kind::ALL, snapshot)
    }

    /// How things stand, by kind.
    pub fn standing(&self) -> Vec<Standing> {
        let of = |(kind, of): (&Kind, &Subscription)| Standing {
            kind: *kind,
            names: (!of.wildcard).then_some(of.names.len()),
            sent: of.sent.clone(),
            accepted: of.accepted.clone(),
            refused: of.refused.clone(),
            waiting: of.pending.as_ref().map(|pending| pending.since),
        };
        self.kinds.iter().map(of).collect()
    }

    /// Whether nothing of these kinds is under way or to be sent, removals included.
    fn is_settled(&self, kinds: &[Kind], snapshot: &Snapshot) -> bool {
        let of = kinds
            .iter()
            .filter_map(|kind| Some((*kind, self.kinds.get(kind)?)));
        of.into_iter().all(|(kind, of)| {
            let set = snapshot.set(kind);
            of.pending.is_none() && of.added(set).is_empty() && of.gone(set).is_empty()
        })
    }

    /// Whether listeners and routes must wait for clusters and endpoints.
    fn is_held(&mut self, kind: Kind, snapshot: &Snapshot, now: Nanos) -> bool {
        if !matches!(kind, Kind::Listener | Kind::Routes) {
            return false;
        }
        let before = [Kind::Cluster, Kind::Endpoints];
        let under_way = before.iter().any(|kind| {
            self.kinds
                .get(kind)
                .is_some_and(|of| of.pending.is_some() || !of.added(snapshot.set(*kind)).is_empty())
        });
        if under_way {
            return true;
        }
        if self.lacks_endpoints(snapshot) {
            let since = *self.warming.get_or_insert(now);
            if now < since + WARMING {
                return true;
            }
        }
        self.warming = None;
        false
    }

    /// Whether a client that takes clusters has some whose endpoints it has not asked for yet.
    fn lacks_endpoints(&self, snapshot: &Snapshot) -> bool {
        let (Some(clusters), Some(routes)) = (
            self.kinds.get(&Kind::Cluster),
            self.kinds.get(&Kind::Routes),
        ) else {
            return false;
        };
        let something =
            routes.wants_anything() && !routes.added(snapshot.set(Kind::Routes)).is_empty();
        if !something || !clusters.wildcard {
            return false;
        }
        let asked = self.kinds.get(&Kind::Endpoints);
        clusters.known.keys().any(|name| {
            let resource = snapshot.set(Kind::Cluster).resources.get(name);
            let is_eds =
                resource.is_some_and(|resource| endpoints_of(&resource.any.value).is_some());
            is_eds && !asked.is_some_and(|of| of.wants(name))
        })
    }

    /// The next answer of one kind; what is gone of clusters and endpoints only when `last`.
    fn of_kind(
        &mut self,
        kind: Kind,
        snapshot: &Snapshot,
        now: Nanos,
        last: bool,
    ) -> Option<Response> {
        let set = snapshot.set(kind);
        let of = self.kinds.get_mut(&kind)?;
        of.forget(set);
        if of.pending.is_some() {
            return None;
        }
        let removes = last || !matches!(kind, Kind::Cluster | Kind::Endpoints);
        let added = of.added(set);
        let mut gone = of.gone(set);
        if !removes {
            // That a name does not exist is news to who asks for it, and breaks nothing.
            gone.retain(|name| of.fresh.contains(name) && !of.known.contains_key(name));
        }
        // Nothing is an answer too: whoever asked first waits for one.
        let owed = self.flavor == Flavor::Delta || kind.is_whole();
        let unanswered = owed && of.sent.is_none() && of.wants_anything();
        if added.is_empty() && gone.is_empty() && !unanswered {
            return None;
        }
        self.nonces += 1;
        let nonce = format!("{}-{}", kind.label(), self.nonces);
        let response = match self.flavor {
            Flavor::World => Response::World(of.world(kind, set, &added, &gone, &nonce)),
            Flavor::Delta => Response::Delta(of.delta(kind, set, &added, &gone, &nonce)),
        };
        of.nonce.clone_from(&nonce);
        of.pending = Some(Pending { nonce, since: now });
        if kind == Kind::Cluster {
            self.warm_again(&added, snapshot);
        }
        Some(response)
    }

    /// A client that replaces a cluster waits for its endpoints again, even if they are as before.
    fn warm_again(&mut self, clusters: &BTreeSet<String>, snapshot: &Snapshot) {
        let Some(endpoints) = self.kinds.get_mut(&Kind::Endpoints) else {
            return;
        };
        for name in clusters {
            if snapshot.endpoints.resources.contains_key(name) && endpoints.wants(name) {
                endpoints.fresh.insert(name.clone());
            }
        }
    }
}

/// The name of the endpoints that a cluster takes from here, if it does.
fn endpoints_of(cluster: &[u8]) -> Option<String> {
    let cluster: Cluster = heddle_xds::prost::Message::decode(cluster).ok()?;
    let eds = cluster::ClusterDiscoveryType::Type(cluster::DiscoveryType::Eds.into());
    (cluster.cluster_discovery_type == Some(eds)).then_some(cluster.name)
}

fn refusal(detail: Option<rpc::Status>, now: Nanos) -> Option<Refusal> {
    detail.map(|status| Refusal {
        at: now,
        why: status.message,
    })
}

impl Subscription {
    /// An answer with the state of the world, as far as the protocol wants it.
    fn world(
        &mut self,
        kind: Kind,
        set: &crate::snapshot::Set,
        added: &BTreeSet<String>,
        gone: &BTreeSet<String>,
        nonce: &str,
    ) -> DiscoveryResponse {
        for name in gone {
            self.known.remove(name);
            self.lingering.remove(name);
        }
        if !kind.is_whole() {
            self.lingering.clear();
        }
        let mut resources = Vec::new();
        let mut parts = Vec::new();
        for (name, resource) in &set.resources {
            if !self.wants_resource(name, resource) {
                continue;
            }
            parts.extend([name.clone(), resource.version.clone()]);
            if kind.is_whole() || added.contains(name) {
                self.known.insert(name.clone(), resource.version.clone());
                if kind.is_whole() {
                    self.lingering.insert(name.clone(), resource.clone());
                }
                resources.push(resource.any.clone());
            }
        }
        // What is gone stays until nothing names it any more.
        let staying = self
            .lingering
            .iter()
            .filter(|(name, _)| !set.resources.contains_key(*name));
        for (name, resource) in staying {
            parts.extend([name.clone(), resource.version.clone()]);
            resources.push(resource.any.clone());
        }
        self.fresh.clear();
        let version = hash(parts.iter().map(String::as_bytes));
        self.sent = Some(version.clone());
        DiscoveryResponse {
            version_info: version,
            resources,
            type_url: kind.url().into(),
            nonce: nonce.into(),
            ..DiscoveryResponse::default()
        }
    }

    /// An answer with what differs.
    fn delta(
        &mut self,
        kind: Kind,
        set: &crate::snapshot::Set,
        added: &BTreeSet<String>,
        gone: &BTreeSet<String>,
        nonce: &str,
    ) -> DeltaDiscoveryResponse {
        let (mut resources, mut bytes) = (Vec::new(), 0);
        for name in added {
            let Some(resource) = set.resources.get(name) else {
                continue;
            };
            if bytes > CHUNK_BYTES {
                break; // the rest follows when this is accepted
            }
            bytes += resource.any.value.len();
            self.fresh.remove(name);
            self.known.insert(name.clone(), resource.version.clone());
            resources.push(Resource {
                name: name.clone(),
                version: resource.version.clone(),
                resource: Some(resource.any.clone()),
                ..Resource::default()
            });
        }
        for name in gone {
            self.fresh.remove(name);
            self.known.remove(name);
        }
        self.sent = Some(set.version.clone());
        DeltaDiscoveryResponse {
            system_version_info: set.version.clone(),
            resources,
            type_url: kind.url().into(),
            removed_resources: gone.iter().cloned().collect(),
            nonce: nonce.into(),
            ..DeltaDiscoveryResponse::default()
        }
    }
}

#[cfg(test)]
mod tests;
