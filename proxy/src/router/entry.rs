//! The path level's cache: one entry a logical name, per listener and worker.

use super::names::Slot;
use crate::client::Policy;
use crate::io::Order;
use crate::metrics::{CacheMetrics, ListenerMetrics};
use crate::shared::{Running, RunningListener, ServiceShared, Shared};
use heddle_core::Nanos;
use heddle_core::config::{Fault, Mode, Retries, Route};
use heddle_core::name::{Dtab, Path};
use heddle_core::route;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// A logical name as one listener of one worker knows it.
#[derive(Debug)]
pub(crate) struct PathEntry {
    pub(crate) path: Path,
    /// Overrides of the request, part of the cache's key.
    pub(crate) dtab: Dtab,
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) policy: Policy,
    pub(crate) retries: Retries,
    pub(crate) faults: Vec<Arc<Fault>>,
    pub(crate) service: Arc<ServiceShared>,
    /// The name itself, for requests that no `Route` meets.
    pub(crate) own: Slot,
    /// Destinations, by rule.
    pub(crate) rules: Vec<RuleSlots>,
    used: Cell<Nanos>,
}

/// The destinations of one rule.
#[derive(Debug)]
pub(crate) struct RuleSlots {
    pub(crate) to: Vec<Slot>,
    pub(crate) mirror: Option<Slot>,
}

impl PathEntry {
    fn new(
        shared: &Shared,
        running: &Running,
        listener: &RunningListener,
        path: Path,
        dtab: Dtab,
        inbound: Option<Path>,
    ) -> Self {
        let spec = &listener.spec;
        let route = match inbound {
            Some(_) => None,
            None => route::find(&running.config.routes, &spec.namespace, &path).cloned(),
        };
        let policy = if inbound.is_some() {
            Policy::single()
        } else {
            Policy::of(route.as_deref())
        };
        let retries = route
            .as_ref()
            .map_or_else(Retries::default, |route| route.retries.clone());
        let faults = running
            .config
            .faults
            .iter()
            .filter(|fault| {
                inbound.is_none()
                    && route::is_about(&fault.namespace, &fault.service, &spec.namespace, &path)
            })
            .cloned()
            .collect();
        let rules = route.as_ref().map_or_else(Vec::new, |route| {
            let slot = |destination: &heddle_core::config::Destination| {
                Slot::new(destination.path.clone())
            };
            route
                .rules
                .iter()
                .map(|rule| RuleSlots {
                    to: rule.to.iter().map(slot).collect(),
                    mirror: rule.mirror.as_ref().map(|mirror| slot(&mirror.to)),
                })
                .collect()
        });
        let service = shared.service(&spec.name, &path, &retries.budget);
        Self {
            own: Slot::new(inbound.unwrap_or_else(|| path.clone())),
            path,
            dtab,
            route,
            policy,
            retries,
            faults,
            service,
            rules,
            used: Cell::new(0),
        }
    }

    /// Remembers that it was used.
    pub(crate) fn touch(&self, now: Nanos) {
        self.used.set(now);
    }
}

/// A listener on one worker.
#[derive(Debug)]
pub(crate) struct ListenerState {
    pub(crate) name: String,
    pub(crate) running: RefCell<Rc<RunningListener>>,
    /// The same for every configuration of this listener.
    pub(crate) metrics: Arc<ListenerMetrics>,
    /// What its connections are told that begin now.
    pub(crate) order: Cell<Order>,
    /// By the authority as it was sent, for listeners that identify by host alone; by nothing, for
    /// those that have one name.
    hosts: RefCell<HashMap<Box<str>, Rc<PathEntry>>>,
    paths: RefCell<HashMap<(Path, String), Rc<PathEntry>>>,
}

impl ListenerState {
    pub(crate) fn new(running: Arc<RunningListener>) -> Self {
        Self {
            name: running.spec.name.clone(),
            metrics: running.metrics.clone(),
            order: Cell::new(Order::Go),
            running: RefCell::new(Rc::new(RunningListener::clone(&running))),
            hosts: RefCell::default(),
            paths: RefCell::default(),
        }
    }

    /// Takes over a new configuration. Requests in flight keep what they hold.
    pub(crate) fn configure(&self, running: &RunningListener, metrics: &CacheMetrics) {
        *self.running.borrow_mut() = Rc::new(running.clone());
        metrics.entries.add(-(self.paths.borrow().len() as i64));
        self.hosts.borrow_mut().clear();
        self.paths.borrow_mut().clear();
    }

    /// The entry for an authority that was met before.
    pub(crate) fn by_host(&self, authority: &str) -> Option<Rc<PathEntry>> {
        self.hosts.borrow().get(authority).cloned()
    }

    /// The entry for a logical name, made when it is new.
    pub(crate) fn entry(
        &self,
        shared: &Shared,
        running: &Running,
        path: Path,
        dtab: Dtab,
    ) -> Rc<PathEntry> {
        let metrics = &shared.metrics.caches().path;
        let key = (
            path,
            if dtab.is_empty() {
                String::new()
            } else {
                dtab.to_string()
            },
        );
        if let Some(entry) = self.paths.borrow().get(&key) {
            metrics.hits.inc();
            return entry.clone();
        }
        metrics.misses.inc();
        let listener = self.running.borrow().clone();
        let inbound = match &listener.spec.mode {
            Mode::Inbound { forward_to } => Path::from_elements([
                b"$".as_slice(),
                b"inet",
                forward_to.ip().to_string().as_bytes(),
                forward_to.port().to_string().as_bytes(),
            ]),
            _ => None,
        };
        let entry = Rc::new(PathEntry::new(
            shared,
            running,
            &listener,
            key.0.clone(),
            dtab,
            inbound,
        ));
        let mut paths = self.paths.borrow_mut();
        make_room(&mut paths, running.config.limits.cache_entries, metrics);
        paths.insert(key, entry.clone());
        metrics.entries.inc();
        entry
    }

    /// Remembers an authority's entry.
    pub(crate) fn remember_host(&self, authority: &str, entry: &Rc<PathEntry>, most: usize) {
        let mut hosts = self.hosts.borrow_mut();
        if hosts.len() >= most {
            hosts.clear();
        }
        hosts.insert(authority.into(), entry.clone());
    }

    /// Drops entries that have not been used since `oldest`.
    pub(crate) fn sweep(&self, oldest: Nanos, metrics: &CacheMetrics) {
        self.hosts
            .borrow_mut()
            .retain(|_, entry| entry.used.get() >= oldest);
        let mut paths = self.paths.borrow_mut();
        let before = paths.len();
        paths.retain(|_, entry| entry.used.get() >= oldest || Rc::strong_count(entry) > 1);
        let gone = before - paths.len();
        metrics.evictions.add(gone as u64);
        metrics.entries.add(-(gone as i64));
    }
}

/// Makes room for one: a tenth of the entries goes at once, the longest unused first, so that the
/// search is paid for rarely.
fn make_room(
    paths: &mut HashMap<(Path, String), Rc<PathEntry>>,
    most: usize,
    metrics: &CacheMetrics,
) {
    if paths.len() < most {
        return;
    }
    let mut ages: Vec<Nanos> = paths.values().map(|entry| entry.used.get()).collect();
    ages.sort_unstable();
    let bar = ages[ages.len() / 10];
    let before = paths.len();
    paths.retain(|_, entry| entry.used.get() > bar);
    metrics.evictions.add((before - paths.len()) as u64);
    metrics.entries.add(-((before - paths.len()) as i64));
}
