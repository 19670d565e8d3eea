//! What all workers share: snapshots behind one pointer, and atomics.
//!
//! Invariant: a request touches the locks in here only when it meets a name or a replica set for
//! the first time on its worker.

use crate::access::Recorder;
use crate::discovery::{Discovery, ReplicaSet};
use crate::hold::Hold;
use crate::joined::Joined;
use crate::metrics::{ListenerMetrics, Metrics, ServiceMetrics, SetMetrics};
use crate::resources::{Descriptors, Memory};
use crate::router::Admission;
use crate::tls::{Origination, Originations, Termination};
use arc_swap::{ArcSwap, ArcSwapOption};
use heddle_core::Nanos;
use heddle_core::accrual::{EndpointHealth, SetHealth};
use heddle_core::budget::RetryBudget;
use heddle_core::config::{self, Listener, ProxyConfig};
use heddle_core::ewma::PeakEwma;
use heddle_core::leaving::Leaving;
use heddle_core::name::{Dtab, Path};
use heddle_core::retry::hedge::LatencyTracker;
use heddle_core::status::Status;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One applied configuration.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    pub(crate) generation: u64,
    pub(crate) config: Arc<ProxyConfig>,
    pub(crate) listeners: HashMap<String, Arc<RunningListener>>,
    /// When it was applied; faults end relative to this.
    pub(crate) applied: Nanos,
    /// TLS towards endpoints.
    pub(crate) originations: Originations,
}

/// A listener of the running configuration.
#[derive(Debug, Clone)]
pub(crate) struct RunningListener {
    pub(crate) spec: Arc<Listener>,
    /// Base dtab and `Dtab` documents.
    pub(crate) dtab: Dtab,
    pub(crate) metrics: Arc<ListenerMetrics>,
    /// In front of a service: who may go to it now.
    pub(crate) admission: Option<Arc<Admission>>,
    /// `None`: plaintext.
    pub(crate) tls: Option<Arc<Termination>>,
}

impl Running {
    /// Makes a configuration ready to run; what stays as it was in `before` keeps its TLS sessions.
    ///
    /// # Errors
    /// When TLS cannot be made ready; says why.
    pub(crate) fn new(
        config: Arc<ProxyConfig>,
        generation: u64,
        metrics: &Metrics,
        hold: &Arc<Hold>,
        before: Option<&Self>,
    ) -> Result<Self, String> {
        let mut listeners = HashMap::new();
        for spec in &config.listeners {
            let known = before.and_then(|before| before.listeners.get(&spec.name));
            let running = RunningListener {
                spec: spec.clone(),
                dtab: spec.base_dtab.concat(&config.dtab),
                metrics: metrics.listener(&spec.name),
                admission: Admission::of(
                    spec,
                    hold,
                    known.and_then(|known| known.admission.as_ref()),
                ),
                tls: termination(spec, known.and_then(|known| known.tls.as_ref()))?,
            };
            listeners.insert(spec.name.clone(), Arc::new(running));
        }
        let none = Originations::default();
        let known = before.map_or(&none, |before| &before.originations);
        Ok(Self {
            generation,
            originations: Originations::new(&config.tls, known)?,
            config,
            listeners,
            applied: crate::clock::now(),
        })
    }

    /// Exposes when the certificates of all listeners end.
    fn expose_certificates(&self, metrics: &Metrics) {
        let ends = self.listeners.values().flat_map(|listener| {
            let ends = listener.tls.iter().flat_map(|tls| tls.ends());
            ends.map(|(file, seconds)| (listener.spec.name.as_str(), file, seconds))
        });
        metrics.certificates_end(ends);
    }
}

fn termination(
    spec: &Listener,
    known: Option<&Arc<Termination>>,
) -> Result<Option<Arc<Termination>>, String> {
    let Some(tls) = &spec.tls else {
        return Ok(None);
    };
    if let Some(same) = known.filter(|known| known.is_of(tls)) {
        return Ok(Some(same.clone()));
    }
    let made = Termination::new(tls).map_err(|what| format!("listener {}: {what}", spec.name))?;
    Ok(Some(Arc::new(made)))
}

/// Shared by the workers, the admin server and whoever applies configurations.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) running: ArcSwap<Running>,
    pub(crate) generation: AtomicU64,
    pub(crate) discovery: Arc<Discovery>,
    pub(crate) metrics: Arc<Metrics>,
    /// Takes what is told about each request.
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) joined: Arc<Joined>,
    pub(crate) draining: AtomicBool,
    /// Whether another process holds the listening sockets as well, so that they outlive this one.
    pub(crate) sockets_outlive: AtomicBool,
    pub(crate) descriptors: Arc<Descriptors>,
    pub(crate) memory: Memory,
    /// Holds what arrives for the service behind until it answers.
    pub(crate) hold: Arc<Hold>,
    /// Connections that are open, by worker: what hand-over looks at.
    pub(crate) connections: Vec<AtomicUsize>,
    sets: Mutex<HashMap<Path, Arc<SetShared>>>,
    services: Mutex<HashMap<(String, Path), Arc<ServiceShared>>>,
}

impl Shared {
    pub(crate) fn new(
        config: Arc<ProxyConfig>,
        workers: usize,
        discovery: Arc<Discovery>,
        metrics: Arc<Metrics>,
        hold: Arc<Hold>,
    ) -> Result<Self, String> {
        let recorder = Recorder::new(metrics.sight().clone());
        recorder.configure(&config);
        let running = Running::new(config, 1, &metrics, &hold, None)?;
        running.expose_certificates(&metrics);
        Ok(Self {
            running: ArcSwap::from_pointee(running),
            generation: AtomicU64::new(1),
            discovery,
            metrics,
            recorder,
            joined: Arc::default(),
            draining: AtomicBool::new(false),
            sockets_outlive: AtomicBool::new(false),
            descriptors: Descriptors::new(),
            memory: Memory::default(),
            hold,
            connections: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
            sets: Mutex::default(),
            services: Mutex::default(),
        })
    }

    /// The statistics of a replica set, the same for all workers.
    pub(crate) fn set(&self, id: &Path) -> Arc<SetShared> {
        let mut sets = lock(&self.sets);
        if let Some(set) = sets.get(id) {
            return set.clone();
        }
        let set = Arc::new(SetShared::new(
            id.clone(),
            self.metrics.replica_set(&id.to_string()),
            self.descriptors.clone(),
        ));
        set.secure(self.running.load().originations.of(id));
        sets.insert(id.clone(), set.clone());
        set
    }

    /// Publishes a configuration to all workers.
    pub(crate) fn run(&self, running: Arc<Running>) {
        let generation = running.generation;
        self.running.store(running.clone());
        running.expose_certificates(&self.metrics);
        // A set that is met from here on sees the new one; these are the others.
        for set in lock(&self.sets).values() {
            set.secure(running.originations.of(&set.id));
        }
        self.generation.store(generation, Ordering::Release);
    }

    /// Every replica set in use.
    pub(crate) fn sets(&self) -> Vec<Arc<SetShared>> {
        let mut sets: Vec<_> = lock(&self.sets).values().cloned().collect();
        sets.sort_by(|a, b| a.id.cmp(&b.id));
        sets
    }

    /// What is counted for a logical name of a listener, the same for all workers.
    pub(crate) fn service(
        &self,
        listener: &str,
        name: &Path,
        budget: &config::Budget,
    ) -> Arc<ServiceShared> {
        let mut services = lock(&self.services);
        let key = (listener.to_owned(), name.clone());
        if let Some(service) = services
            .get(&key)
            .filter(|service| service.budget_rules == *budget)
        {
            return service.clone();
        }
        let service = Arc::new(ServiceShared {
            metrics: self.metrics.service(listener, &name.to_string()),
            budget: RetryBudget::new(budget).ok(),
            budget_rules: *budget,
            latency: LatencyTracker::default(),
        });
        services.insert(key, service.clone());
        service
    }

    /// Brings the gauges up to date that change with time alone, or that are cheaper to read than to keep.
    pub(crate) fn refresh_gauges(&self) {
        let now = crate::clock::now();
        for service in lock(&self.services).values() {
            let tokens = service
                .budget
                .as_ref()
                .map_or(0, |budget| budget.balance(now));
            let gauge = &service.metrics.retry_budget_balance;
            gauge.set(i64::try_from(tokens).unwrap_or(i64::MAX));
        }
        for set in lock(&self.sets).values() {
            set.metrics
                .endpoints_ejected
                .set(set.health.ejected() as i64);
        }
    }

    /// Forgets what only this registry still holds.
    pub(crate) fn sweep(&self) {
        self.descriptors.look();
        lock(&self.services).retain(|_, service| Arc::strong_count(service) > 1);
        lock(&self.sets).retain(|_, set| Arc::strong_count(set) > 1);
    }
}

/// A poisoned lock holds data that is still whole: nothing here panics half-way through a change.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A logical name, as far as all workers share it.
#[derive(Debug)]
pub(crate) struct ServiceShared {
    pub(crate) metrics: Arc<ServiceMetrics>,
    /// `None`: no retries at all.
    pub(crate) budget: Option<RetryBudget>,
    budget_rules: config::Budget,
    /// Latencies, for hedging.
    pub(crate) latency: LatencyTracker,
}

/// A replica set, as far as all workers share it.
#[derive(Debug)]
pub(crate) struct SetShared {
    pub(crate) id: Path,
    pub(crate) metrics: Arc<SetMetrics>,
    pub(crate) health: SetHealth,
    pub(crate) connections: AtomicUsize,
    pub(crate) requests: AtomicUsize,
    pub(crate) pending: AtomicUsize,
    /// Where connections to its endpoints get their descriptors.
    pub(crate) descriptors: Arc<Descriptors>,
    /// TLS towards its endpoints; `None`: plaintext.
    tls: ArcSwapOption<Origination>,
    /// Counts changes of `tls`: a connection that was made under another number takes no more requests.
    tls_version: AtomicU64,
    members: Mutex<Members>,
}

#[derive(Debug, Default)]
struct Members {
    version: Option<u64>,
    current: HashMap<SocketAddr, Arc<EndpointShared>>,
    departed: HashMap<SocketAddr, (Arc<EndpointShared>, Nanos)>,
    /// What the balancer last used was built for; shown by `/clusters`.
    shown: Option<(Arc<ReplicaSet>, &'static str)>,
}

/// A discovered set, the word for its balancer, and its members.
pub(crate) type Shown = (
    Arc<ReplicaSet>,
    &'static str,
    HashMap<SocketAddr, Arc<EndpointShared>>,
);

/// How long the latency of an endpoint that left is remembered, should it return.
const REMEMBER: Duration = Duration::from_secs(600);
/// How many of them.
const MAX_DEPARTED: usize = 1000;

impl SetShared {
    fn new(id: Path, metrics: Arc<SetMetrics>, descriptors: Arc<Descriptors>) -> Self {
        Self {
            id,
            metrics,
            health: SetHealth::new(0),
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            pending: AtomicUsize::new(0),
            descriptors,
            tls: ArcSwapOption::empty(),
            tls_version: AtomicU64::new(0),
            members: Mutex::default(),
        }
    }

    /// TLS towards its endpoints is this from now on.
    fn secure(&self, tls: Option<Arc<Origination>>) {
        let same = match (&*self.tls.load(), &tls) {
            (None, None) => true,
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            _ => false,
        };
        if !same {
            self.tls.store(tls);
            self.tls_version.fetch_add(1, Ordering::Release);
        }
    }

    /// TLS towards its endpoints, with its version. The version is read first, so that a connection is
    /// never taken for newer than it is.
    pub(crate) fn tls(&self) -> (u64, Option<Arc<Origination>>) {
        let version = self.tls_version.load(Ordering::Acquire);
        (version, self.tls.load_full())
    }

    /// Whether endpoints are spoken to by TLS; for sets that never were, one relaxed load.
    pub(crate) fn is_secure(&self) -> bool {
        self.tls_version() != 0 && self.tls.load().is_some()
    }

    /// The version of its TLS settings.
    pub(crate) fn tls_version(&self) -> u64 {
        self.tls_version.load(Ordering::Relaxed)
    }

    /// The members for `addresses`, which is what `version` of the set holds. The first worker to
    /// see a version changes the membership, the others find it done.
    pub(crate) fn members(
        &self,
        version: u64,
        addresses: &[SocketAddr],
        decay: Duration,
    ) -> Vec<Arc<EndpointShared>> {
        let mut members = lock(&self.members);
        if members.version != Some(version) {
            members.version = Some(version);
            self.change(&mut members, addresses);
        }
        let now = crate::clock::now();
        addresses
            .iter()
            .map(|address| {
                let known = members.current.get(address).cloned();
                known.unwrap_or_else(|| {
                    let endpoint = match members.departed.remove(address) {
                        Some((endpoint, _)) => {
                            Arc::new(EndpointShared::returning(&endpoint, now, decay))
                        }
                        None => Arc::new(EndpointShared::new(*address, now, decay)),
                    };
                    members.current.insert(*address, endpoint.clone());
                    endpoint
                })
            })
            .collect()
    }

    fn change(&self, members: &mut Members, addresses: &[SocketAddr]) {
        let now = crate::clock::now();
        let wanted: std::collections::HashSet<_> = addresses.iter().copied().collect();
        let gone: Vec<SocketAddr> = members
            .current
            .keys()
            .filter(|a| !wanted.contains(a))
            .copied()
            .collect();
        for address in gone {
            if let Some(endpoint) = members.current.remove(&address) {
                endpoint.health.leave(&self.health);
                members.departed.insert(address, (endpoint, now));
            }
        }
        let oldest = now.saturating_sub(crate::clock::nanos(REMEMBER));
        members.departed.retain(|_, (_, left)| *left >= oldest);
        if members.departed.len() > MAX_DEPARTED {
            members.departed.clear();
        }
        self.health.resize(wanted.len());
        self.metrics.endpoints.set(wanted.len() as i64);
    }

    /// Remembers what `/clusters` shows of this set.
    pub(crate) fn show(&self, set: &Arc<ReplicaSet>, balancer: &'static str) {
        lock(&self.members).shown = Some((set.clone(), balancer));
    }

    /// The discovered set, its balancer and its members, for `/clusters`.
    pub(crate) fn shown(&self) -> Option<Shown> {
        let members = lock(&self.members);
        let (set, balancer) = members.shown.clone()?;
        Some((set, balancer, members.current.clone()))
    }
}

/// An endpoint, as far as all workers share it: every worker learns from every response.
#[derive(Debug)]
pub(crate) struct EndpointShared {
    pub(crate) address: SocketAddr,
    pub(crate) ewma: PeakEwma,
    pub(crate) health: EndpointHealth,
    pub(crate) leaving: Leaving,
    pub(crate) requests: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) connections: AtomicU32,
}

impl EndpointShared {
    fn new(address: SocketAddr, now: Nanos, decay: Duration) -> Self {
        Self {
            address,
            ewma: PeakEwma::new(now, decay),
            health: EndpointHealth::new(now),
            leaving: Leaving::default(),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            connections: AtomicU32::new(0),
        }
    }

    /// Whether it may be picked: one that leaves only when no other is open.
    pub(crate) fn status(&self, now: Nanos) -> Status {
        match self.health.status(now) {
            Status::Open if self.leaving.is_leaving(now) => Status::Busy,
            status => status,
        }
    }

    /// An endpoint that was there before: its latency is a better guess than none.
    fn returning(before: &Self, now: Nanos, decay: Duration) -> Self {
        let endpoint = Self::new(before.address, now, decay);
        let latency = before.ewma.latency();
        if latency > 0.0 {
            endpoint.ewma.observe(now, latency as u64);
        }
        endpoint
            .requests
            .store(before.requests.load(Ordering::Relaxed), Ordering::Relaxed);
        endpoint
            .failures
            .store(before.failures.load(Ordering::Relaxed), Ordering::Relaxed);
        endpoint
    }
}
