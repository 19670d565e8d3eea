//! An immutable snapshot of every name that discovery knows, as a namer.

use super::recipe::{self, Named, Part};
use super::replica_set::ReplicaSet;
use super::state::remote::is_remote;
use heddle_core::Nanos;
use heddle_core::name::{Found, Lookup, NameTree, Namer, Path, utility};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Names that may be asked for before discovery has taken them up. Whoever finds it full asks again at the
/// next generation.
pub(super) const ASKS_MAX: usize = 1024;

/// How a name of discovery's own namers binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// To a replica set.
    Bound,
    /// Not known yet.
    Pending,
    /// There is no such name.
    Neg,
}

/// A replica set with what tells whether anybody uses it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) set: Arc<ReplicaSet>,
    used: AtomicU64,
    /// When its content was last confirmed or changed; 0: never.
    confirmed: AtomicU64,
    dropped: AtomicBool,
}

impl Shared {
    pub(super) fn new(set: ReplicaSet, now: Nanos) -> Self {
        Self {
            set: Arc::new(set),
            used: AtomicU64::new(now),
            confirmed: AtomicU64::new(0),
            dropped: AtomicBool::new(false),
        }
    }

    pub(super) fn touch(&self, now: Nanos) {
        self.used.fetch_max(now, Ordering::Relaxed);
    }

    pub(super) fn used(&self) -> Nanos {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn confirm(&self, now: Nanos) {
        self.confirmed.store(now.max(1), Ordering::Relaxed);
    }

    /// How long ago its content was last confirmed or changed, if ever.
    pub(super) fn age(&self, now: Nanos) -> Option<Duration> {
        let confirmed = self.confirmed.load(Ordering::Relaxed);
        (confirmed > 0).then(|| Duration::from_nanos(now.saturating_sub(confirmed)))
    }

    /// Whether anybody but discovery holds the set.
    pub(super) fn held(&self) -> bool {
        Arc::strong_count(&self.set) > 1
    }

    /// The set for a user; `None` when it is being dropped, so that nobody holds one that is never updated.
    pub(super) fn take(&self, now: Nanos) -> Option<Arc<ReplicaSet>> {
        self.touch(now);
        let set = Arc::clone(&self.set);
        // Pairs with the fence in `drop_unless_held`: either this sees the drop or that sees the holder.
        fence(Ordering::SeqCst);
        (!self.dropped.load(Ordering::Relaxed)).then_some(set)
    }

    /// Marks the set as dropped, unless somebody holds it.
    pub(super) fn drop_unless_held(&self) -> bool {
        self.dropped.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let held = self.held();
        if held {
            self.dropped.store(false, Ordering::Relaxed);
        }
        !held
    }
}

/// What is known at one moment.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Names by bound id.
    pub(super) standing: HashMap<Path, Standing>,
    /// Replica sets by bound id, also those whose name is gone but which somebody still uses.
    pub(super) sets: HashMap<Path, Arc<Shared>>,
    /// Whether no further DNS name is taken.
    pub(super) full: bool,
    /// Whether there is a control plane to ask.
    pub(super) remote: bool,
}

/// How the snapshots reach back to discovery.
pub(super) struct Asking {
    pub(super) asks: mpsc::Sender<Path>,
    /// Whether an ask has been lost since the last look.
    pub(super) overflowed: AtomicBool,
    /// When time began.
    pub(super) epoch: Instant,
    /// Counts what is refused.
    pub(super) refused: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking")
            .field("overflowed", &self.overflowed)
            .finish_non_exhaustive()
    }
}

impl Asking {
    pub(super) fn now(&self) -> Nanos {
        Nanos::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(Nanos::MAX)
    }

    fn ask(&self, id: Path) {
        if self.asks.try_send(id).is_err() {
            (self.refused)();
            self.overflowed.store(true, Ordering::Relaxed);
        }
    }
}

/// Every name that discovery knew at one moment, implementing core's [`Namer`].
///
/// | path | known | otherwise |
/// |---|---|---|
/// | `/#/static/<name>` | bound | neg; with a control plane pending until it answers |
/// | `/#/k8s/<namespace>/<port>/<service>` | bound | the same |
/// | `/#/files/<name>[/<sub>…]` | bound at the first prefix that is a file | neg |
/// | `/#/dns/<host>/<port>`, `/#/dns-srv/<name>` | bound once there ever was an answer | pending until the first answer, then neg |
/// | `/$/…` | as [`utility`] | |
/// | anything else | neg | |
///
/// Looking up a DNS name that nobody has asked for yet asks for it; that never blocks.
#[derive(Debug)]
pub struct Names {
    pub(super) table: Table,
    pub(super) asking: Arc<Asking>,
}

impl Namer for Names {
    fn lookup(&self, path: &Path) -> Lookup {
        if let Some(found) = utility(path) {
            return found;
        }
        match path.elements() {
            [first, namer, rest @ ..] if &**first == b"#" && !rest.is_empty() => {
                match namer.as_str() {
                    Some("static") => self.remote(path, 3),
                    Some("k8s") => self.remote(path, 5),
                    Some("files") => (3..=path.len())
                        .find_map(|taken| self.known(path, taken))
                        .unwrap_or(Lookup::NEG),
                    Some("dns") => self.resolved(path, 4),
                    Some("dns-srv") => self.resolved(path, 3),
                    _ => Lookup::NEG,
                }
            }
            _ => Lookup::NEG,
        }
    }
}

impl Names {
    /// The first `taken` elements as a name of configuration or of a file.
    fn known(&self, path: &Path, taken: usize) -> Option<Lookup> {
        self.table
            .standing
            .contains_key(&path.take(taken))
            .then(|| Lookup::bound(path, taken))
    }

    /// The first `taken` elements as a name of configuration or of the control plane, which is asked for what is not known.
    fn remote(&self, path: &Path, taken: usize) -> Lookup {
        if path.len() < taken {
            return Lookup::NEG;
        }
        let id = path.take(taken);
        if let Some(shared) = self.table.sets.get(&id).filter(|_| self.table.remote) {
            shared.touch(self.asking.now());
        }
        match self.table.standing.get(&id) {
            Some(Standing::Bound) => Lookup::bound(path, taken),
            Some(Standing::Pending) => Lookup::Pending,
            None if self.table.remote && self.table.full => Lookup::Failed(format!(
                "the control plane is not asked for {id}: all {} names that are kept are in use",
                super::NAMES_MAX
            )),
            None if self.table.remote && is_remote(&id) => {
                self.asking.ask(id);
                Lookup::Pending
            }
            Some(Standing::Neg) | None => Lookup::NEG,
        }
    }

    /// The first `taken` elements as a name for DNS.
    fn resolved(&self, path: &Path, taken: usize) -> Lookup {
        let id = recipe::canonical(&path.take(taken));
        if let Some(shared) = self.table.sets.get(&id) {
            shared.touch(self.asking.now());
        }
        match self.table.standing.get(&id) {
            Some(Standing::Bound) => Lookup::Tree(NameTree::Leaf(Found::Bound {
                id,
                residual: path.drop(taken),
            })),
            Some(Standing::Pending) => Lookup::Pending,
            Some(Standing::Neg) => Lookup::NEG,
            None => self.unasked(id, path.drop(taken)),
        }
    }

    /// A name for DNS that is not in the table.
    fn unasked(&self, id: Path, residual: Path) -> Lookup {
        match recipe::of_name(&id) {
            // A literal address is an answer by itself, and nobody would ever tell of another.
            Some(Ok(Named {
                part: Part::Literal(_),
                ..
            })) => Lookup::Tree(NameTree::Leaf(Found::Bound { id, residual })),
            Some(Ok(_)) if self.table.full => Lookup::Failed(format!(
                "{id} is not looked up: all {} DNS names that are kept are in use",
                super::NAMES_MAX
            )),
            Some(Ok(_)) => {
                self.asking.ask(id);
                Lookup::Pending
            }
            Some(Err(_)) | None => Lookup::NEG,
        }
    }

    /// Every name that binds now, for people to look at: `/#/static/…`, `/#/files/…`, and the DNS names in use.
    pub fn bound_names(&self) -> Vec<Path> {
        let bound = self
            .table
            .standing
            .iter()
            .filter(|(_, standing)| **standing == Standing::Bound);
        let mut names: Vec<Path> = bound.map(|(id, _)| id.clone()).collect();
        names.sort();
        names
    }
}
