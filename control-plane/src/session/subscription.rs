//! Pure. What a client wants of one kind, and what it has.

use super::{Abuse, NAMES_MAX};
use crate::snapshot::{Kind, Resource, Set};
use heddle_core::Nanos;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A client's refusal of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// When.
    pub at: Nanos,
    /// What the client said.
    pub why: String,
}

/// An answer that the client has not spoken about.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) nonce: String,
    pub(super) since: Nanos,
}

#[derive(Debug, Default)]
pub(super) struct Subscription {
    /// Whether the client is told what is gone; otherwise absence means nothing to it.
    tells_gone: bool,
    /// Whether it wants all that is listed.
    pub(super) wildcard: bool,
    /// What it names.
    pub(super) names: BTreeSet<String>,
    /// Whether it ever named anything: from then on an empty list means nothing instead of everything.
    named: bool,
    /// Whether it has asked before.
    asked: bool,
    /// What it has been sent, by name, with the version.
    pub(super) known: BTreeMap<String, String>,
    /// What it must be told of although nothing differs.
    pub(super) fresh: BTreeSet<String>,
    /// What a whole answer held, for as long as something may name it.
    pub(super) lingering: BTreeMap<String, Arc<Resource>>,
    /// The nonce of the answer sent last.
    pub(super) nonce: String,
    pub(super) pending: Option<Pending>,
    pub(super) sent: Option<String>,
    pub(super) accepted: Option<String>,
    pub(super) refused: Option<Refusal>,
}

impl Subscription {
    pub(super) fn new(tells_gone: bool) -> Self {
        Self {
            tells_gone,
            ..Self::default()
        }
    }

    /// Forgets what does not exist any more, where that is not told, so that it is sent when it is back.
    pub(super) fn forget(&mut self, set: &Set) {
        if !self.tells_gone {
            self.known
                .retain(|name, _| set.resources.contains_key(name));
        }
    }

    /// Takes the verdict about the answer under way. What was refused is not sent again until it changes.
    pub(super) fn settle(&mut self, nonce: &str, refusal: Option<Refusal>) {
        let ours = self
            .pending
            .as_ref()
            .is_some_and(|pending| pending.nonce == nonce);
        if !ours {
            return;
        }
        self.pending = None;
        if refusal.is_none() {
            self.accepted.clone_from(&self.sent);
        }
        self.refused = refusal;
    }

    /// All names of a client that wants the state of the world.
    pub(super) fn replace(&mut self, kind: Kind, names: Vec<String>) -> Result<(), Abuse> {
        let star = names.iter().any(|name| name == "*");
        let names: BTreeSet<String> = names.into_iter().filter(|name| name != "*").collect();
        bounded(kind, names.len())?;
        self.named |= star || !names.is_empty();
        self.wildcard = kind.has_wildcard() && (star || !self.named);
        let new: Vec<_> = names.difference(&self.names).cloned().collect();
        self.fresh.extend(new);
        self.names = names;
        self.asked = true;
        let unwanted: Vec<_> = self
            .known
            .keys()
            .filter(|name| !self.wants(name))
            .cloned()
            .collect();
        for name in unwanted.iter().filter(|_| !self.wildcard) {
            self.known.remove(name);
            self.lingering.remove(name);
        }
        Ok(())
    }

    /// What a client that wants differences adds and takes away.
    pub(super) fn change(
        &mut self,
        kind: Kind,
        subscribe: Vec<String>,
        unsubscribe: &[String],
        initial: HashMap<String, String>,
    ) -> Result<(), Abuse> {
        bounded(kind, self.names.len() + subscribe.len())?;
        bounded(kind, initial.len())?;
        let first = !std::mem::replace(&mut self.asked, true);
        if first && kind.has_wildcard() && subscribe.is_empty() && unsubscribe.is_empty() {
            self.wildcard = true;
        }
        for name in subscribe {
            if name == "*" {
                self.wildcard = kind.has_wildcard();
                continue;
            }
            if !initial.contains_key(&name) {
                self.fresh.insert(name.clone());
            }
            self.names.insert(name);
        }
        for name in unsubscribe {
            if name == "*" {
                self.wildcard = false;
            } else if self.names.remove(name) && self.wildcard {
                // It must be told whether the name is part of everything.
                self.fresh.insert(name.clone());
            } else if !self.wildcard {
                self.fresh.remove(name);
                self.known.remove(name);
            }
        }
        self.known.extend(initial);
        if !self.wildcard {
            let names = &self.names;
            self.known.retain(|name, _| names.contains(name));
        }
        Ok(())
    }

    pub(super) fn wants_anything(&self) -> bool {
        self.wildcard || !self.names.is_empty()
    }

    /// Whether it names this.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    pub(super) fn wants_resource(&self, name: &str, resource: &Resource) -> bool {
        (self.wildcard && resource.listed) || self.wants(name)
    }

    /// What it is to be sent: new, different, or to be repeated.
    pub(super) fn added(&self, set: &Set) -> BTreeSet<String> {
        let differs = |name: &str, resource: &Resource| {
            self.fresh.contains(name) || self.known.get(name) != Some(&resource.version)
        };
        if self.wildcard {
            let wanted = set
                .resources
                .iter()
                .filter(|(name, resource)| self.wants_resource(name, resource));
            return wanted
                .filter(|(name, resource)| differs(name, resource))
                .map(|(name, _)| name.clone())
                .collect();
        }
        let there = self
            .names
            .iter()
            .filter_map(|name| Some((name, set.resources.get(name)?)));
        there
            .filter(|(name, resource)| differs(name, resource))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// What it has or asks for anew and what does not exist.
    pub(super) fn gone(&self, set: &Set) -> BTreeSet<String> {
        if !self.tells_gone {
            return BTreeSet::new();
        }
        let missing = |name: &&String| match set.resources.get(*name) {
            Some(resource) => !self.wants_resource(name, resource),
            None => true,
        };
        self.known
            .keys()
            .chain(&self.fresh)
            .filter(missing)
            .cloned()
            .collect()
    }
}

fn bounded(kind: Kind, names: usize) -> Result<(), Abuse> {
    if names <= NAMES_MAX {
        return Ok(());
    }
    Err(Abuse(format!(
        "a client may name {NAMES_MAX} resources of a kind; this one names {names} of {}",
        kind.label()
    )))
}
