//! Pure. What a proxy knows of its control plane, asks for and answers: xDS without a socket.
//!
//! What was once accepted stays until something else is accepted or it is plainly taken away; a connection that ends
//! changes nothing. A resource that makes no sense is refused with the reason, the others of its answer count, and what it
//! said before stays.

use super::content::{Content, Topic, read, set_of};
use crate::discovery::Told;
use heddle_core::config::UpstreamProtocol;
use heddle_core::name::Path;
use heddle_core::spec::set::Sound;
use heddle_xds::core::Node;
use heddle_xds::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use heddle_xds::protobuf::Any;
use heddle_xds::{Kept, KeptResource, rpc};
use std::collections::{BTreeMap, BTreeSet};

/// What a proxy has not used for so many seconds it does not keep across its restart: 30 days.
const KEEP_SECONDS: u64 = 30 * 24 * 3600;
/// gRPC's `INVALID_ARGUMENT`.
const INVALID: i32 = 3;
/// Documents that a proxy takes; a mesh of 10,000 services with as many Routes fits.
const DOCUMENTS_MAX: usize = 50_000;

#[derive(Debug)]
struct Known {
    version: String,
    any: Any,
    content: Content,
    used: u64,
}

/// What an answer changed.
#[derive(Debug)]
pub(super) struct Taken {
    /// What to say to it.
    pub(super) reply: DeltaDiscoveryRequest,
    /// Sets about which something else is known now.
    pub(super) sets: BTreeSet<String>,
    /// Whether rules differ.
    pub(super) documents: bool,
    /// Why something was refused.
    pub(super) refused: Option<String>,
}

/// A proxy's side of things.
#[derive(Debug, Default)]
pub(super) struct Session {
    known: BTreeMap<(Topic, String), Known>,
    /// Sets that are asked for.
    wanted: BTreeSet<String>,
    /// What was asked for and does not exist.
    missing: BTreeSet<(Topic, String)>,
    /// Whether rules were ever told, if only that there are none.
    pub(super) told_rules: bool,
}

impl Session {
    /// Begins with what was kept, at a time in seconds; what has not been used for long is left out.
    pub(super) fn new(kept: Kept, now: u64) -> Self {
        let mut session = Self::default();
        for KeptResource {
            name,
            version,
            resource,
            used,
        } in kept.resources
        {
            let Some(any) = resource else { continue };
            let Some(topic) = Topic::of_url(&any.type_url) else {
                continue;
            };
            let stale = topic != Topic::Document && now.saturating_sub(used) > KEEP_SECONDS;
            // What a later version of this program kept may not make sense to this one.
            let Ok(content) = read(topic, &name, &any) else {
                continue;
            };
            if !stale {
                session.told_rules |= topic == Topic::Document;
                if topic != Topic::Document {
                    session.wanted.insert(name.clone());
                }
                session.known.insert(
                    (topic, name),
                    Known {
                        version,
                        any,
                        content,
                        used,
                    },
                );
            }
        }
        session
    }

    /// What to keep; `idle` says for how many seconds sets have not been used.
    pub(super) fn kept(&mut self, now: u64, idle: impl Fn(&str) -> Option<u64>) -> Kept {
        let one = |((_, name), known): (&(Topic, String), &mut Known)| {
            known.used =
                idle(name).map_or(known.used, |idle| known.used.max(now.saturating_sub(idle)));
            KeptResource {
                name: name.clone(),
                version: known.version.clone(),
                resource: Some(known.any.clone()),
                used: known.used,
            }
        };
        Kept {
            resources: self.known.iter_mut().map(one).collect(),
        }
    }

    /// The first requests of a connection: everything that is wanted, and what is known of it.
    pub(super) fn hello(&mut self, node: &Node) -> Vec<DeltaDiscoveryRequest> {
        // Nothing that a connection before this one said is missing need be so any more.
        self.missing.clear();
        let one = |topic: Topic| {
            let versions = self.known.iter().filter(|((of, _), _)| *of == topic);
            let names = match topic {
                Topic::Document => vec!["*".to_owned()],
                Topic::Cluster | Topic::Endpoints => self.wanted.iter().cloned().collect(),
            };
            DeltaDiscoveryRequest {
                node: Some(node.clone()),
                type_url: topic.url().into(),
                resource_names_subscribe: names,
                initial_resource_versions: versions
                    .map(|((_, name), known)| (name.clone(), known.version.clone()))
                    .collect(),
                ..DeltaDiscoveryRequest::default()
            }
        };
        let said = Topic::ALL.into_iter().map(one);
        // An empty list of clusters would ask for all of them.
        said.filter(|request| !request.resource_names_subscribe.is_empty())
            .collect()
    }

    /// Wants sets, and others no longer; what to say, if there is anything to.
    pub(super) fn want(&mut self, names: &[String], not: &[String]) -> Vec<DeltaDiscoveryRequest> {
        let new: Vec<String> = names
            .iter()
            .filter(|name| self.wanted.insert((*name).clone()))
            .cloned()
            .collect();
        let gone: Vec<String> = not
            .iter()
            .filter(|name| self.wanted.remove(*name))
            .cloned()
            .collect();
        for name in &gone {
            for topic in [Topic::Cluster, Topic::Endpoints] {
                self.known.remove(&(topic, name.clone()));
                self.missing.remove(&(topic, name.clone()));
            }
        }
        if new.is_empty() && gone.is_empty() {
            return Vec::new();
        }
        let one = |topic: Topic| DeltaDiscoveryRequest {
            type_url: topic.url().into(),
            resource_names_subscribe: new.clone(),
            resource_names_unsubscribe: gone.clone(),
            ..DeltaDiscoveryRequest::default()
        };
        [Topic::Cluster, Topic::Endpoints].map(one).into()
    }

    /// Takes an answer, at a time in seconds.
    pub(super) fn take(&mut self, answer: DeltaDiscoveryResponse, now: u64) -> Taken {
        let mut taken = Taken {
            reply: DeltaDiscoveryRequest {
                type_url: answer.type_url.clone(),
                response_nonce: answer.nonce,
                ..DeltaDiscoveryRequest::default()
            },
            sets: BTreeSet::new(),
            documents: false,
            refused: None,
        };
        let Some(topic) = Topic::of_url(&answer.type_url) else {
            return taken;
        };
        let mut refused = Vec::new();
        for resource in answer.resources {
            let (name, version) = (resource.name, resource.version);
            let Some(any) = resource.resource else {
                continue;
            };
            let full = topic == Topic::Document && self.known.len() >= DOCUMENTS_MAX;
            let content = if full {
                Err("there are more documents than a proxy takes".to_owned())
            } else {
                read(topic, &name, &any)
            };
            match content {
                Ok(content) => {
                    self.missing.remove(&(topic, name.clone()));
                    self.known.insert(
                        (topic, name.clone()),
                        Known {
                            version,
                            any,
                            content,
                            used: now,
                        },
                    );
                    self.note(topic, name, &mut taken);
                }
                Err(why) => refused.push(format!("{name}: {why}")),
            }
        }
        for name in answer.removed_resources {
            self.known.remove(&(topic, name.clone()));
            if topic != Topic::Document {
                self.missing.insert((topic, name.clone()));
            }
            self.note(topic, name, &mut taken);
        }
        if topic == Topic::Document && !std::mem::replace(&mut self.told_rules, true) {
            taken.documents = true;
        }
        if !refused.is_empty() {
            let why = refused.join("; ");
            taken.reply.error_detail = Some(rpc::Status {
                code: INVALID,
                message: why.clone(),
                details: Vec::new(),
            });
            taken.refused = Some(why);
        }
        taken
    }

    fn note(&self, topic: Topic, name: String, taken: &mut Taken) {
        match topic {
            Topic::Document => taken.documents = true,
            Topic::Cluster | Topic::Endpoints => {
                if self.wanted.contains(&name) {
                    taken.sets.insert(name);
                }
            }
        }
    }

    /// What is known of a set.
    pub(super) fn set(&self, name: &str) -> Told {
        let of = |topic: Topic| {
            self.known
                .get(&(topic, name.to_owned()))
                .map(|known| &known.content)
        };
        let missing = |topic: Topic| self.missing.contains(&(topic, name.to_owned()));
        let (protocol, inline) = match of(Topic::Cluster) {
            Some(Content::Cluster(protocol, inline)) => (*protocol, inline.clone()),
            // Others may serve endpoints without a cluster that speaks of them.
            _ => (UpstreamProtocol::Same, None),
        };
        if let Some(endpoints) = inline {
            return Told::Known(endpoints, protocol);
        }
        let told = of(Topic::Cluster).is_some() || missing(Topic::Cluster);
        match of(Topic::Endpoints) {
            Some(Content::Endpoints(endpoints)) if told => Told::Known(endpoints.clone(), protocol),
            None if missing(Topic::Endpoints) && told => Told::Missing,
            _ => Told::Waiting,
        }
    }

    /// The names of all sets that are asked for.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &String> {
        self.wanted.iter()
    }

    /// All rules.
    pub(super) fn documents(&self) -> Vec<Sound> {
        let sound = self
            .known
            .values()
            .filter_map(|known| match &known.content {
                Content::Document(sound) => Some(Sound::clone(sound)),
                Content::Cluster(..) | Content::Endpoints(_) => None,
            });
        sound.collect()
    }

    /// How many resources are known.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

/// The sets of bound names.
pub(super) fn sets_of(ids: &[Path]) -> Vec<String> {
    ids.iter().filter_map(set_of).collect()
}

#[cfg(test)]
mod tests;
