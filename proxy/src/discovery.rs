//! Discovery: from bound names to endpoints, kept current in the background.
//!
//! One [`Discovery`] serves the whole process. Workers take [`Names`], an immutable snapshot that binds names
//! without blocking, and [`ReplicaSet`]s, whose content changes under them and whose version they compare with
//! one relaxed load. What costs time (DNS, files) happens in [`Discovery::run`], on the admin runtime: there is
//! never a question to a server per request.
//!
//! What every namer answers when something is empty or broken stands in `docs/discovery.md`. In short: a name
//! that ever had endpoints keeps the last good ones, whatever its source does afterwards.

mod dns;
mod files;
mod files_format;
mod guard;
mod names;
mod recipe;
mod replica_set;
mod run;
mod state;

pub use names::Names;
pub use replica_set::{Addr, ReplicaSet};
pub use state::NAMES_MAX;
pub(crate) use state::remote::Told;

use crate::metrics::Metrics;
use arc_swap::ArcSwap;
use dns::resolver::{Hickory, Resolve};
use heddle_core::Nanos;
use heddle_core::config::{Cluster, Dns, ProxyConfig};
use heddle_core::name::Path;
use names::{ASKS_MAX, Asking, Table};
use state::State;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

/// Names and replica sets of the whole process.
pub struct Discovery {
    metrics: Arc<Metrics>,
    names: ArcSwap<Names>,
    generation: AtomicU64,
    changed: Notify,
    state: Mutex<State>,
    asking: Arc<Asking>,
    inbox: Mutex<Option<mpsc::Receiver<Path>>>,
    resolver: ArcSwap<Box<dyn Resolve>>,
    /// Whether the resolver follows the configuration; a test's own does not.
    resolver_follows: bool,
    folder: Mutex<Option<PathBuf>>,
    /// There is something new for [`Discovery::run`]: a question, or another folder.
    questions: Notify,
    folder_changed: Notify,
    /// There may be something new to ask the control plane for.
    remote_asked: Notify,
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery")
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}

impl Discovery {
    /// Knows no name yet; see [`configure`](Self::configure) and [`run`](Self::run).
    pub fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        let resolver = Box::new(Hickory::new(&Dns::default()));
        Self::build(metrics, resolver, true, NAMES_MAX)
    }

    #[cfg(test)]
    fn with_resolver(resolver: Box<dyn Resolve>, names_max: usize) -> Arc<Self> {
        Self::build(Metrics::new(100), resolver, false, names_max)
    }

    fn build(
        metrics: Arc<Metrics>,
        resolver: Box<dyn Resolve>,
        resolver_follows: bool,
        names_max: usize,
    ) -> Arc<Self> {
        let (asks, inbox) = mpsc::channel(ASKS_MAX);
        let asking = Arc::new(Asking {
            asks,
            overflowed: AtomicBool::new(false),
            epoch: Instant::now(),
            refused: Box::new({
                let metrics = Arc::clone(&metrics);
                move || metrics.refused("discovery-asks")
            }),
        });
        let names = Names {
            table: Table::default(),
            asking: Arc::clone(&asking),
        };
        Arc::new(Self {
            metrics,
            names: ArcSwap::from_pointee(names),
            generation: AtomicU64::new(1),
            changed: Notify::new(),
            state: Mutex::new(State::new(names_max)),
            asking,
            inbox: Mutex::new(Some(inbox)),
            resolver: ArcSwap::from_pointee(resolver),
            resolver_follows,
            folder: Mutex::new(None),
            questions: Notify::new(),
            folder_changed: Notify::new(),
            remote_asked: Notify::new(),
        })
    }

    /// Takes what the configuration says of replica sets, the files' folder and DNS, and binds by it at once.
    ///
    /// Sets whose name stays keep their object, and content that is still to be found out (by DNS) replaces
    /// the old one when it is there. The folder is read before this returns if it is another one.
    pub fn configure(&self, config: &ProxyConfig) {
        let clusters = config.clusters.values().map(Arc::as_ref);
        self.apply(
            clusters,
            &config.dns,
            config.limits.cache_idle,
            config.files.clone(),
        );
    }

    fn apply<'c>(
        &self,
        clusters: impl Iterator<Item = &'c Cluster>,
        dns: &Dns,
        idle: Duration,
        folder: Option<PathBuf>,
    ) {
        // The system's resolver is read anew each time, so that a reload follows /etc/resolv.conf.
        if self.resolver_follows && (dns.servers.is_empty() || *self.lock().dns() != *dns) {
            self.resolver.store(Arc::new(Box::new(Hickory::new(dns))));
        }
        let moved = {
            let mut current = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
            let moved = *current != folder;
            current.clone_from(&folder);
            moved
        };
        let look = if moved {
            Some(folder.as_deref().map(files::look).unwrap_or_default())
        } else {
            None
        };
        self.with(|state, now| {
            state.configure(clusters, dns, idle, now);
            if let Some(look) = look {
                state.forget_files();
                state.files_seen(&look, now);
            }
        });
        self.questions.notify_one();
        if moved {
            self.folder_changed.notify_one();
        }
    }

    /// The names as they are now. The snapshot never changes; take another when [`generation`](Self::generation) has.
    pub fn namer(&self) -> Arc<Names> {
        self.names.load_full()
    }

    /// Changes whenever something may bind differently than before. Never 0.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Resolves once the generation differs from `seen`.
    pub async fn changed(&self, seen: u64) {
        loop {
            let notified = self.changed.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.generation() != seen {
                return;
            }
            notified.await;
        }
    }

    /// The replica set of a bound name; always the same object while anybody holds it.
    ///
    /// Names that say themselves what they stand for (`/#/dns/…`, `/#/dns-srv/…`, `/$/inet/…` and its
    /// variants) are taken up when they are new, and are pending until DNS has answered. `None` when there is
    /// no such name (any more).
    pub fn replica_set(&self, id: &Path) -> Option<Arc<ReplicaSet>> {
        let now = self.asking.now();
        if let Some(shared) = self.names.load().table.sets.get(id)
            && let Some(set) = shared.take(now)
        {
            if let Some(age) = shared.age(now) {
                self.show_age(id, age);
            }
            return Some(set);
        }
        let id = &recipe::canonical(id);
        let named = match recipe::of_name(id)? {
            Ok(named) => named,
            Err(why) => return Some(Arc::new(state::failed(id.clone(), why))),
        };
        let part = named.part.clone();
        let set = self.with(|state, now| state.named(id, named, now));
        self.questions.notify_one();
        Some(set.unwrap_or_else(|| Arc::new(state::unkept(id.clone(), &part))))
    }

    /// Says whether there is a control plane to ask.
    pub(crate) fn remote_exists(&self, exists: bool) {
        self.with(|state, _| state.remote_exists(exists));
    }

    /// Takes what the control plane says of its sets.
    pub(crate) fn remote_told(&self, told: Vec<(Path, Told)>) {
        self.with(|state, now| {
            for (id, told) in told {
                state.remote_told(&id, told, now);
            }
        });
        self.questions.notify_one();
    }

    /// The names that the control plane is to be asked for, and those that nobody needs any more. Waits until there are any.
    pub(crate) async fn remote_asked(&self) -> (Vec<Path>, Vec<Path>) {
        loop {
            let (asked, dropped) = self.lock().take_asked();
            if !asked.is_empty() || !dropped.is_empty() {
                return (asked, dropped);
            }
            self.remote_asked.notified().await;
        }
    }

    /// For how long each of the control plane's sets has not been used.
    pub(crate) fn remote_idle(&self) -> Vec<(Path, Duration)> {
        let now = self.asking.now();
        self.lock().remote_idle(now)
    }

    /// Files of the `files` namer that do not count at the moment, each with the reason, by bound name.
    pub fn file_errors(&self) -> Vec<(String, String)> {
        self.lock().file_errors()
    }

    /// Keeps everything current until `shutdown`: asks DNS, watches the files' folder, drops what is unused.
    ///
    /// To be called once; a second call only waits for its `shutdown`.
    pub async fn run(self: Arc<Self>, shutdown: impl Future<Output = ()>) {
        let inbox = self
            .inbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut inbox) = inbox else {
            return shutdown.await;
        };
        tokio::select! {
            () = shutdown => {}
            () = self.ask_dns(&mut inbox) => {}
            () = self.follow_files() => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, then publishes and reports what follows from it.
    fn with<T>(&self, change: impl FnOnce(&mut State, Nanos) -> T) -> T {
        let now = self.asking.now();
        let mut state = self.lock();
        let outcome = change(&mut state, now);
        let changes = state.take_changes();
        if changes.table {
            let names = Names {
                table: state.table(),
                asking: Arc::clone(&self.asking),
            };
            self.names.store(Arc::new(names));
        }
        let (questions, sets) = state.sizes();
        let events = state.take_events();
        if state.has_asked() {
            self.remote_asked.notify_one();
        }
        drop(state);
        if changes.bindings {
            self.bump();
        }
        let metrics = self.metrics.discovery();
        metrics
            .dns_names
            .set(i64::try_from(questions).unwrap_or(i64::MAX));
        metrics
            .replica_sets
            .set(i64::try_from(sets).unwrap_or(i64::MAX));
        events.iter().for_each(|event| self.report(event));
        outcome
    }

    /// Says in the metrics when the content of a set was last confirmed or changed.
    fn show_age(&self, id: &Path, age: Duration) {
        let at = SystemTime::now()
            .checked_sub(age)
            .unwrap_or(SystemTime::UNIX_EPOCH);
        self.metrics.replica_set(&id.to_string()).updated(at);
    }

    fn bump(&self) {
        self.generation.fetch_add(1, Ordering::Release);
        self.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
