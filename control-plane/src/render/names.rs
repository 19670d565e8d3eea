//! Pure. Where a name leads, as clusters with shares.

use heddle_core::config::Cluster;
use heddle_core::name::{
    Bound, Dtab, Lookup, MAX_DEPTH, NameTree, Namer, Path, PrefixElement, bind, inet_address,
    utility,
};
use heddle_xds::static_set;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A cluster and its share of the requests.
pub(super) type Share = (String, f64);

/// Why a name leads nowhere, as the status that a proxy answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nowhere {
    /// There is no such name.
    Neg,
    /// It fails on purpose, or never ends.
    Fail,
    /// It exists and nobody is there.
    Empty,
}

impl Nowhere {
    pub(super) fn status(self) -> u32 {
        match self {
            Self::Neg => 404,
            Self::Fail => 502,
            Self::Empty => 503,
        }
    }
}

/// The cluster that nobody is in.
pub(super) const NOWHERE: &str = "nowhere";

/// The names of a mesh.
pub(super) struct Names<'n> {
    dtab: &'n Dtab,
    clusters: &'n BTreeMap<&'n str, &'n Arc<Cluster>>,
    /// Hosts that rules lead to directly: cluster, host, port.
    literals: RefCell<BTreeSet<(String, String, u16)>>,
    /// Whether a rule gives a share to what leads nowhere.
    nowhere: Cell<bool>,
}

impl Namer for Names<'_> {
    fn lookup(&self, path: &Path) -> Lookup {
        if let Some(lookup) = utility(path) {
            return lookup;
        }
        let elements: Vec<_> = path
            .elements()
            .iter()
            .map(|element| element.as_str())
            .collect();
        match elements.as_slice() {
            [Some("#"), Some("static"), Some(name), ..] if self.clusters.contains_key(name) => {
                Lookup::bound(path, 3)
            }
            [Some("#"), Some("dns"), Some(_), Some(_), ..] => Lookup::bound(path, 4),
            _ => Lookup::NEG,
        }
    }
}

impl<'n> Names<'n> {
    pub(super) fn new(dtab: &'n Dtab, clusters: &'n BTreeMap<&'n str, &'n Arc<Cluster>>) -> Self {
        Self {
            dtab,
            clusters,
            literals: RefCell::default(),
            nowhere: Cell::new(false),
        }
    }

    /// Where a path leads.
    pub(super) fn shares(&self, path: &Path) -> Result<Vec<Share>, Nowhere> {
        let tree = bind(self.dtab, self, path, MAX_DEPTH).map_err(|_| Nowhere::Fail)?;
        self.of_tree(&tree)
    }

    fn of_tree(&self, tree: &NameTree<Bound>) -> Result<Vec<Share>, Nowhere> {
        match tree {
            NameTree::Leaf(bound) => Ok(vec![(self.cluster(&bound.id).ok_or(Nowhere::Neg)?, 1.0)]),
            // What a proxy of ours would decide per request is decided here: the first that is somewhere.
            NameTree::Alt(trees) => {
                let mut answers = trees.iter().map(|tree| self.of_tree(tree));
                answers
                    .find(|answer| *answer != Err(Nowhere::Neg))
                    .unwrap_or(Err(Nowhere::Neg))
            }
            NameTree::Union(trees) => {
                let mut all: BTreeMap<String, f64> = BTreeMap::new();
                let mut nowhere = Nowhere::Neg;
                for branch in trees.iter().filter(|branch| branch.weight > 0.0) {
                    match self.of_tree(&branch.tree) {
                        Ok(shares) => {
                            let sum: f64 = shares.iter().map(|(_, share)| share).sum();
                            for (name, share) in shares {
                                *all.entry(name).or_default() += share / sum * branch.weight;
                            }
                        }
                        Err(why) => nowhere = why,
                    }
                }
                if all.is_empty() {
                    Err(nowhere)
                } else {
                    Ok(all.into_iter().collect())
                }
            }
            NameTree::Neg => Err(Nowhere::Neg),
            NameTree::Fail => Err(Nowhere::Fail),
            NameTree::Empty => Err(Nowhere::Empty),
        }
    }

    /// The cluster of a bound name.
    fn cluster(&self, id: &Path) -> Option<String> {
        let elements: Vec<_> = id
            .elements()
            .iter()
            .map(|element| element.as_str())
            .collect::<Option<_>>()?;
        match elements.as_slice() {
            ["#", "static", name] => Some(static_set(name)),
            ["#", "dns", host, port] => self.literal("dns", host, port.parse().ok()?),
            _ => {
                let (host, port) = inet_address(id)?.ok()?;
                self.literal("inet", &host, port)
            }
        }
    }

    fn literal(&self, kind: &str, host: &str, port: u16) -> Option<String> {
        if port == 0 || host.is_empty() {
            return None;
        }
        let name = format!("{kind}/{host}/{port}");
        self.literals
            .borrow_mut()
            .insert((name.clone(), host.to_owned(), port));
        Some(name)
    }

    /// The cluster that nobody is in, for shares that lead nowhere.
    pub(super) fn nowhere(&self) -> String {
        self.nowhere.set(true);
        NOWHERE.to_owned()
    }

    /// Whether some share leads nowhere.
    pub(super) fn needs_nowhere(&self) -> bool {
        self.nowhere.get()
    }

    /// Clusters of hosts that rules lead to directly.
    pub(super) fn literals(&self) -> Vec<(String, String, u16)> {
        self.literals.borrow().iter().cloned().collect()
    }

    /// The services that a dtab names outright: `/svc/<name>` on the left of a rule.
    pub(super) fn delegated(&self) -> impl Iterator<Item = &str> {
        self.dtab
            .dentries()
            .iter()
            .filter_map(|dentry| match dentry.prefix.elements() {
                [PrefixElement::Label(svc), PrefixElement::Label(name)]
                    if svc.as_str() == Some("svc") =>
                {
                    name.as_str()
                }
                _ => None,
            })
    }
}
