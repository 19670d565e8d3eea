//! A worker's view of names: what a path binds to now, and which clients that means.
//!
//! Names are bound again lazily: discovery has one generation number, and a binding that was made
//! under an older one is made anew by the next request that needs it (see the ADR on rebinding).

use super::PathEntry;
use crate::client::Client;
use crate::error::Error;
use crate::metrics::{CacheMetrics, Gauge};
use crate::shared::RunningListener;
use crate::worker::Worker;
use heddle_core::answer::Kind;
use heddle_core::name::{BindError, Bound, Dtab, NameTree, Path, bind};
use heddle_core::random::{Rng, Xoshiro};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tokio::time::timeout;

/// Delegations from a logical name to a bound one; Finagle's `namerMaxDepth`.
pub(crate) const MAX_DEPTH: usize = 100;

/// A bound name tree with its clients.
#[derive(Debug)]
pub(crate) enum Tree {
    /// One replica set.
    Leaf(Rc<Client>),
    /// A weighted choice for each attempt.
    Union {
        /// Branches with the running sum of their weights.
        branches: Vec<(f64, Tree)>,
        /// The whole sum.
        total: f64,
    },
    /// No such name.
    Neg,
    /// A name that is meant to fail.
    Fail,
    /// A name without replicas.
    Empty,
}

impl Tree {
    /// The client of one attempt.
    pub(crate) fn choose(&self, rng: &mut Xoshiro, path: &Path) -> Result<&Rc<Client>, Error> {
        match self {
            Self::Leaf(client) => Ok(client),
            Self::Union { branches, total } => {
                let point = rng.unit() * total;
                let index = branches
                    .partition_point(|(sum, _)| *sum <= point)
                    .min(branches.len() - 1);
                branches[index].1.choose(rng, path)
            }
            Self::Neg => Err(Error::new(
                Kind::NoSuchName,
                format!("{path} names nothing"),
            )),
            Self::Fail => Err(Error::new(
                Kind::NameFailed,
                format!("{path} is bound to fail (!)"),
            )),
            Self::Empty => Err(Error::new(
                Kind::NoEndpoints,
                format!("{path} is bound to nothing ($)"),
            )),
        }
    }

    /// Whether the name exists.
    pub(crate) fn is_neg(&self) -> bool {
        matches!(self, Self::Neg)
    }
}

/// One path and what it was bound to last.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) path: Path,
    generation: Cell<Option<u64>>,
    tree: RefCell<Option<Rc<Tree>>>,
    /// Set while a tree is held.
    counted: RefCell<Option<Gauge>>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(entries) = self.counted.borrow_mut().take() {
            entries.dec();
        }
    }
}

impl Slot {
    pub(crate) fn new(path: Path) -> Self {
        Self {
            path,
            generation: Cell::new(None),
            tree: RefCell::new(None),
            counted: RefCell::new(None),
        }
    }

    /// Holds a tree that was bound under `generation`.
    fn hold(&self, generation: u64, tree: Rc<Tree>, metrics: &CacheMetrics) {
        metrics.misses.inc();
        self.generation.set(Some(generation));
        *self.tree.borrow_mut() = Some(tree);
        self.counted.borrow_mut().get_or_insert_with(|| {
            metrics.entries.inc();
            metrics.entries.clone()
        });
    }

    /// The tree, if it is current.
    pub(super) fn current(&self, generation: u64) -> Option<Rc<Tree>> {
        if self.generation.get() == Some(generation) {
            self.tree.borrow().clone()
        } else {
            None
        }
    }
}

/// What a path is bound to; waits, within the bind time-out, while a namer does not know yet.
pub(crate) async fn bound(
    worker: &Worker,
    listener: &RunningListener,
    entry: &PathEntry,
    slot: &Slot,
) -> Result<Rc<Tree>, Error> {
    let generation = worker.shared.discovery.generation();
    if let Some(tree) = slot.current(generation) {
        return Ok(tree);
    }
    let limit = worker.running.borrow().config.limits.bind_timeout;
    let wait = async {
        loop {
            let generation = worker.shared.discovery.generation();
            match bind_now(worker, listener, entry, &slot.path) {
                Ok(tree) => {
                    let tree = Rc::new(tree);
                    slot.hold(
                        generation,
                        tree.clone(),
                        &worker.shared.metrics.caches().tree,
                    );
                    return Ok(tree);
                }
                Err(BindError::Pending) => {
                    // The last tree serves while the new one is being found out.
                    if let Some(tree) = slot.tree.borrow().clone() {
                        return Ok(tree);
                    }
                    worker.shared.discovery.changed(generation).await;
                }
                Err(error) => {
                    // After a first success later failures keep the last good tree (Finagle's `BindingFactory`).
                    if let Some(tree) = slot.tree.borrow().clone() {
                        return Ok(tree);
                    }
                    return Err(Error::new(Kind::NameFailed, error.to_string()));
                }
            }
        }
    };
    timeout(limit, wait).await.unwrap_or_else(|_| {
        let reason = format!(
            "{} could not be bound within {limit:?}: discovery has not answered",
            slot.path
        );
        Err(Error::new(Kind::Timeout, reason))
    })
}

fn bind_now(
    worker: &Worker,
    listener: &RunningListener,
    entry: &PathEntry,
    path: &Path,
) -> Result<Tree, BindError> {
    let namer = worker.shared.discovery.namer();
    let dtab = local(&listener.dtab, &entry.dtab);
    let bound = bind(&dtab, &*namer, path, MAX_DEPTH)?;
    Ok(compile(worker, entry, &bound))
}

fn local(base: &Dtab, local: &Dtab) -> Dtab {
    if local.is_empty() {
        base.clone()
    } else {
        base.concat(local)
    }
}

fn compile(worker: &Worker, entry: &PathEntry, tree: &NameTree<Bound>) -> Tree {
    match tree {
        NameTree::Leaf(bound) => worker
            .client(&bound.id, &entry.policy)
            .map_or(Tree::Empty, Tree::Leaf),
        NameTree::Union(branches) => {
            let mut total = 0.0;
            let branches = branches
                .iter()
                .map(|branch| {
                    total += branch.weight;
                    (total, compile(worker, entry, &branch.tree))
                })
                .collect();
            Tree::Union { branches, total }
        }
        NameTree::Alt(_) | NameTree::Neg => Tree::Neg,
        NameTree::Fail => Tree::Fail,
        NameTree::Empty => Tree::Empty,
    }
}
