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
mod state;

pub use names::Names;
pub use replica_set::{Addr, ReplicaSet};
pub use state::NAMES_MAX;

use crate::metrics::Metrics;
use crate::reload::{Changes, Target};
use arc_swap::ArcSwap;
use dns::question::{Answer, Effect, Failure, Question};
use dns::resolver::{Hickory, Resolve};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use heddle_core::Nanos;
use heddle_core::config::{Cluster, Dns, ProxyConfig};
use heddle_core::name::Path;
use names::{ASKS_MAX, Asking, Table};
use state::{Event, State};
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};

/// DNS questions on their way at once.
const ASKING_MAX: usize = 64;

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
        Self::build(metrics, Box::new(Hickory::new(&Dns::default())), true)
    }

    #[cfg(test)]
    fn with_resolver(resolver: Box<dyn Resolve>) -> Arc<Self> {
        Self::build(Metrics::new(100), resolver, false)
    }

    fn build(
        metrics: Arc<Metrics>,
        resolver: Box<dyn Resolve>,
        resolver_follows: bool,
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
            state: Mutex::new(State::new()),
            asking,
            inbox: Mutex::new(Some(inbox)),
            resolver: ArcSwap::from_pointee(resolver),
            resolver_follows,
            folder: Mutex::new(None),
            questions: Notify::new(),
            folder_changed: Notify::new(),
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
        if let Some(set) = self
            .names
            .load()
            .table
            .sets
            .get(id)
            .and_then(|shared| shared.take(now))
        {
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

    /// Files of the `files` namer that do not count at the moment, each with the reason, by bound name.
    pub fn file_errors(&self) -> Vec<(String, String)> {
        self.lock().file_errors()
    }

    /// Seconds since DNS last confirmed the content of a set; `None` for sets that need no DNS.
    pub fn age(&self, id: &Path) -> Option<f64> {
        let now = self.asking.now();
        self.lock().age(id, now)
    }

    /// Keeps everything current until `shutdown`: asks DNS, watches the files' folder, drops what is unused.
    ///
    /// To be called once; a second call has nothing to do and only waits.
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
        *self.inbox.lock().unwrap_or_else(PoisonError::into_inner) = Some(inbox);
    }

    async fn ask_dns(&self, inbox: &mut mpsc::Receiver<Path>) {
        let mut asking = FuturesUnordered::new();
        let mut asks = Vec::new();
        loop {
            let room = ASKING_MAX - asking.len();
            let (due, wake) = self.with(|state, now| {
                state.tick(now);
                (state.due(now, room), state.next_wake(now))
            });
            for question in due {
                let answer = self.resolver.load().ask(&question);
                asking.push(async move { (question, answer.await) });
            }
            // Without room, what is due waits for an answer instead of for time.
            let wake = if asking.len() < ASKING_MAX {
                self.at(wake)
            } else {
                Instant::now() + Duration::from_secs(1)
            };
            tokio::select! {
                Some((question, result)) = asking.next() => self.answered(&question, result),
                _count = inbox.recv_many(&mut asks, ASKS_MAX) => self.asked(&mut asks),
                () = self.questions.notified() => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    fn asked(&self, asks: &mut Vec<Path>) {
        self.with(|state, now| {
            for id in asks.drain(..) {
                if let Some(Ok(named)) = recipe::of_name(&id) {
                    // Whether it was taken shows in the next snapshot.
                    let _set = state.named(&id, named, now);
                }
            }
        });
        if self.asking.overflowed.swap(false, Ordering::Relaxed) {
            // Whose ask was lost must ask again.
            self.bump();
        }
    }

    fn answered(&self, question: &Question, result: Result<Answer, Failure>) {
        let discovery = self.metrics.discovery();
        match &result {
            Ok(_) => discovery.dns_ok.inc(),
            Err(Failure::NoSuchName(_) | Failure::NoRecords(_)) => discovery.dns_empty.inc(),
            Err(Failure::Broken(_)) => discovery.dns_failed.inc(),
        }
        let failure = result.as_ref().err().cloned();
        match (
            self.with(|state, now| state.answered(question, result, now)),
            failure,
        ) {
            (Some(Effect::Kept), Some(why)) => {
                tracing::warn!(%question, %why, "DNS fails; the last good answer stays")
            }
            (Some(Effect::Changed), Some(why)) => {
                tracing::warn!(%question, %why, "DNS has no answer")
            }
            (Some(Effect::Changed), None) => tracing::info!(%question, "DNS has a new answer"),
            _ => {}
        }
    }

    async fn follow_files(&self) {
        let mut changes = Changes::new();
        loop {
            let folder = self
                .folder
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            let Some(folder) = folder else {
                self.folder_changed.notified().await;
                continue;
            };
            changes
                .watch(BTreeSet::from([Target::Tree(folder.clone())]))
                .await;
            tokio::select! {
                () = self.folder_changed.notified() => {}
                () = self.follow_folder(&folder, &mut changes) => {}
            }
        }
    }

    /// Looks at the folder now, and whenever it changes. Never ends.
    async fn follow_folder(&self, folder: &std::path::Path, changes: &mut Changes) {
        loop {
            let look = {
                let folder = folder.to_path_buf();
                tokio::task::spawn_blocking(move || files::look(&folder)).await
            };
            let again = match look {
                Ok(look) => self.with(|state, now| state.files_seen(&look, now)),
                Err(error) => {
                    tracing::error!(%error, "reading the folder of the files namer ended early");
                    None
                }
            };
            changes.next(again.map(|nanos| self.at(nanos))).await;
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

    fn bump(&self) {
        self.generation.fetch_add(1, Ordering::Release);
        self.changed.notify_waiters();
    }

    fn report(&self, event: &Event) {
        let metrics = self.metrics.discovery();
        match event {
            Event::Held { question, lost } => {
                metrics.guard_holds.inc();
                tracing::warn!(%question, lost, "an answer that loses most endpoints is held for at most {:?}", guard::HOLD);
            }
            Event::Released { question } => {
                metrics.guard_releases.inc();
                tracing::warn!(%question, "the held answer is used now");
            }
            Event::FileRead { name } => {
                metrics.files_read.inc();
                tracing::info!(%name, "endpoint file read");
            }
            Event::FileFailed { name, why } => {
                metrics.files_failed.inc();
                tracing::warn!(%name, %why, "an endpoint file does not count; its last good content stays");
            }
            Event::Full => {
                self.metrics.refused("discovery-names");
                tracing::warn!(
                    "all {NAMES_MAX} names that discovery keeps are in use; further ones are not looked up"
                );
            }
        }
    }

    fn at(&self, nanos: Nanos) -> Instant {
        self.asking.epoch + Duration::from_nanos(nanos)
    }
}

#[cfg(test)]
mod tests;
