//! What the proxy counts, and its exposition to Prometheus.
//!
//! Handles are resolved once and cached by their callers: on the hot path counting is a relaxed
//! addition, without a look-up. Every metric has a hard cap on its label sets
//! (`limits.metric_series`); a name that finds no room shares the handle labelled `overflow`, and
//! `heddle_metric_series_overflow_total` counts it. `docs/metrics.md` describes each metric, and a
//! test compares it with what is registered here.

mod family;
mod latency;
#[cfg(test)]
mod lint;
mod listener;
mod process;
mod service;
mod set;
mod sight;
#[cfg(test)]
mod tests;

pub use family::{Counter, Described, Gauge, OVERFLOW, Reasons};
pub use latency::{BUCKETS, Latency};
pub use listener::ListenerMetrics;
pub use process::{
    CacheMetrics, CachesMetrics, ConfigMetrics, ControlMetrics, DiscoveryMetrics, HandoverMetrics,
};
pub use service::ServiceMetrics;
pub use set::SetMetrics;
pub use sight::SightMetrics;

use family::Families;
use heddle_core::overload::Pressure;
use prometheus::TextEncoder;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A name that nobody has held for this long is no longer exposed. Default of linkerd2's proxy.
const IDLE: Duration = Duration::from_secs(600);

/// All metrics of one proxy.
#[derive(Debug)]
pub struct Metrics {
    families: Families,
    listeners: listener::ListenerFamilies,
    services: service::ServiceFamilies,
    sets: set::SetFamilies,
    process: process::Process,
    sight: SightMetrics,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    listeners: HashMap<Box<str>, Slot<ListenerMetrics>>,
    services: HashMap<(Box<str>, Box<str>), Slot<ServiceMetrics>>,
    sets: HashMap<Box<str>, Slot<SetMetrics>>,
}

/// A handle, and since when it has been seen to be held by nobody else.
#[derive(Debug)]
struct Slot<T> {
    handle: Arc<T>,
    idle: Option<Instant>,
}

impl<T> Slot<T> {
    fn new(handle: T) -> Self {
        Self {
            handle: Arc::new(handle),
            idle: None,
        }
    }
}

impl Metrics {
    /// Metrics of which each may have `max_series` label sets, at least 1.
    pub fn new(max_series: usize) -> Arc<Self> {
        let mut families = Families::new(max_series);
        Arc::new(Self {
            listeners: listener::ListenerFamilies::new(&mut families),
            services: service::ServiceFamilies::new(&mut families),
            sets: set::SetFamilies::new(&mut families),
            process: process::Process::new(&mut families, env!("CARGO_PKG_VERSION")),
            sight: SightMetrics::new(&mut families),
            families,
            held: Mutex::default(),
        })
    }

    /// Changes the cap. What is exposed already stays.
    pub fn set_max_series(&self, max_series: usize) {
        self.families
            .cap
            .store(max_series.max(1), Ordering::Relaxed);
    }

    /// The handle of a listener.
    pub fn listener(&self, name: &str) -> Arc<ListenerMetrics> {
        let mut held = self.held();
        let slot = held
            .listeners
            .entry(name.into())
            .or_insert_with(|| Slot::new(self.listeners.handle(name)));
        Arc::clone(&slot.handle)
    }

    /// Records when each certificate in use ends, in seconds since 1970: listener, file and end. Others are no longer
    /// exposed.
    pub fn certificates_end<'c>(&self, all: impl IntoIterator<Item = (&'c str, String, i64)>) {
        self.listeners.forget_certificates();
        for (listener, file, seconds) in all {
            self.listeners.certificate_end(listener, &file).set(seconds);
        }
    }

    /// The handle of a logical name on a listener, the same for all workers.
    pub fn service(&self, listener: &str, name: &str) -> Arc<ServiceMetrics> {
        let mut held = self.held();
        let key: (Box<str>, Box<str>) = (listener.into(), name.into());
        if let Some(slot) = held.services.get(&key) {
            return Arc::clone(&slot.handle);
        }
        if !self.services.has_room() {
            self.sweep_services(&mut held, Instant::now(), Duration::ZERO);
        }
        let name = if self.services.has_room() {
            name
        } else {
            self.services.overflow()
        };
        let slot = held.services.entry((key.0, name.into()));
        Arc::clone(
            &slot
                .or_insert_with(|| Slot::new(self.services.handle(listener, name)))
                .handle,
        )
    }

    /// Every listener that has a handle, with it, by name.
    pub fn listeners(&self) -> Vec<(String, Arc<ListenerMetrics>)> {
        let held = self.held();
        let listeners = held.listeners.iter();
        let mut all: Vec<_> = listeners
            .map(|(name, slot)| (name.to_string(), Arc::clone(&slot.handle)))
            .collect();
        drop(held);
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// Every logical name that has a handle: listener, name and handle, in this order.
    pub fn services(&self) -> Vec<(String, String, Arc<ServiceMetrics>)> {
        let held = self.held();
        let services = held.services.iter();
        let mut all: Vec<_> = services
            .map(|((listener, name), slot)| {
                (listener.to_string(), name.to_string(), slot.handle.clone())
            })
            .collect();
        drop(held);
        all.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        all
    }

    /// The handle of a replica set that has one, by the text of its bound id.
    pub fn known_set(&self, id: &str) -> Option<Arc<SetMetrics>> {
        self.held().sets.get(id).map(|slot| slot.handle.clone())
    }

    /// The handle of a replica set, by the text of its bound id.
    pub fn replica_set(&self, id: &str) -> Arc<SetMetrics> {
        let mut held = self.held();
        if let Some(slot) = held.sets.get(id) {
            return Arc::clone(&slot.handle);
        }
        if !self.sets.has_room() {
            self.sweep_sets(&mut held, Instant::now(), Duration::ZERO);
        }
        let key = if self.sets.has_room() {
            id
        } else {
            self.sets.overflow()
        };
        let slot = held
            .sets
            .entry(key.into())
            .or_insert_with(|| Slot::new(self.sets.handle(key)));
        Arc::clone(&slot.handle)
    }

    /// Counts what a bound of the whole proxy refused.
    pub fn refused(&self, reason: &'static str) {
        self.process.refused.inc(reason);
    }

    /// How much memory there may be, and how close that is.
    pub fn memory(&self, limit: u64, pressure: Pressure) {
        let process = &self.process;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        process.memory_limit.set(limit);
        process.memory_pressure.set(pressure as i64);
    }

    /// Handles of restarts.
    pub fn handovers(&self) -> &HandoverMetrics {
        &self.process.handovers
    }

    /// The running configuration.
    pub fn config(&self) -> &ConfigMetrics {
        &self.process.config
    }

    /// The caches.
    pub fn caches(&self) -> &CachesMetrics {
        &self.process.caches
    }

    /// The access log and traces.
    pub fn sight(&self) -> &SightMetrics {
        &self.sight
    }

    /// Discovery.
    pub fn discovery(&self) -> &DiscoveryMetrics {
        &self.process.discovery
    }

    /// The control plane, as this proxy has it.
    pub fn control(&self) -> &ControlMetrics {
        &self.process.control
    }

    /// Everything in Prometheus' text format. Names that have been idle for ten minutes are shown for the last time.
    pub fn render(&self) -> String {
        self.process.refresh();
        let mut text = String::new();
        TextEncoder::new()
            .encode_utf8(&self.families.registry.gather(), &mut text)
            .expect("every family has a name, and one kind of samples");
        self.forget_idle(Instant::now(), IDLE);
        text
    }

    /// Stops exposing the listeners, names and replica sets whose handles nobody has held for `idle` before `now`, as far as this
    /// is called: the first call that finds a handle alone starts its time.
    pub fn forget_idle(&self, now: Instant, idle: Duration) {
        let mut held = self.held();
        self.sweep_services(&mut held, now, idle);
        self.sweep_sets(&mut held, now, idle);
        for listener in expired(&mut held.listeners, now, idle) {
            self.listeners.forget(&listener);
        }
    }

    /// Name, kind and labels of every metric.
    pub fn described(&self) -> &[Described] {
        self.families.described()
    }

    fn sweep_services(&self, held: &mut Held, now: Instant, idle: Duration) {
        for (listener, service) in expired(&mut held.services, now, idle) {
            self.services.forget(&listener, &service);
        }
    }

    fn sweep_sets(&self, held: &mut Held, now: Instant, idle: Duration) {
        for id in expired(&mut held.sets, now, idle) {
            self.sets.forget(&id);
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes out the handles that nobody else has held for `idle`.
fn expired<K: Eq + Hash + Clone, T>(
    slots: &mut HashMap<K, Slot<T>>,
    now: Instant,
    idle: Duration,
) -> Vec<K> {
    let mut expired = Vec::new();
    slots.retain(|key, slot| {
        if Arc::strong_count(&slot.handle) > 1 {
            slot.idle = None;
            return true;
        }
        let keep = now.saturating_duration_since(*slot.idle.get_or_insert(now)) < idle;
        if !keep {
            expired.push(key.clone());
        }
        keep
    });
    expired
}
