//! The control plane, as the proxy has it: rules and replica sets over xDS, and what was last known of both.
//!
//! Nothing of this runs unless the configuration names a control plane. Losing it changes nothing: what is known stays,
//! for ever and across a restart ([`kept`]), and another replica is tried. What is decided is in [`session`] and [`content`],
//! which are pure; [`run`] is the connection.

mod content;
mod kept;
mod run;
mod session;

use crate::discovery::{Discovery, Told};
use crate::metrics::Metrics;
use crate::reload::Watcher;
use heddle_core::config::{ControlPlane, ProxyConfig};
use heddle_core::name::Path;
use heddle_core::spec::set::Sound;
use session::Session;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::time::Instant;

/// A proxy that never heard of its rules is not ready, but not for longer than this: its own file may be all it needs.
const RULES_WAIT: Duration = Duration::from_secs(15);

/// The proxy's control plane.
#[derive(Debug)]
pub(crate) struct Control {
    metrics: Arc<Metrics>,
    session: Mutex<Session>,
    /// Where the session's state was read from.
    loaded: Mutex<Option<PathBuf>>,
    /// What the running configuration says of it.
    config: watch::Sender<Option<ControlPlane>>,
    /// What this proxy is called.
    node: Mutex<Arc<heddle_xds::core::Node>>,
    started: Instant,
    /// Whether the running configuration holds rules of the control plane, or it is known that there are none.
    has_rules: AtomicBool,
}

impl Control {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            metrics,
            session: Mutex::default(),
            loaded: Mutex::default(),
            config: watch::Sender::new(None),
            node: Mutex::default(),
            started: Instant::now(),
            has_rules: AtomicBool::new(false),
        })
    }

    /// The rules that the control plane last sent, from disk when it has not been asked yet. Blocking.
    pub(crate) fn documents(&self, config: &ControlPlane) -> Vec<Sound> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.as_ref() != Some(&config.snapshot) {
            match kept::load(&config.snapshot) {
                Ok(kept) => {
                    // What is known already is newer than what another folder holds.
                    if self.session().len() == 0 {
                        *self.session() = Session::new(kept, unix_seconds());
                    }
                }
                Err(error) => {
                    tracing::error!(folder = %config.snapshot.display(), %error, "the last good state cannot be used")
                }
            }
            *loaded = Some(config.snapshot.clone());
        }
        self.session().documents()
    }

    /// Takes what the running configuration says, and tells discovery what is known.
    pub(crate) fn configure(&self, config: &ProxyConfig, discovery: &Discovery) {
        discovery.remote_exists(config.control_plane.is_some());
        if config.control_plane.is_some() {
            *self.node.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(run::node(config));
            self.has_rules
                .fetch_or(self.session().told_rules, Ordering::Relaxed);
            let all: BTreeSet<String> = self.session().wanted().cloned().collect();
            self.tell(&all, discovery);
        }
        self.config.send_if_modified(|current| {
            let differs = *current != config.control_plane;
            current.clone_from(&config.control_plane);
            differs
        });
    }

    /// Why the proxy is not ready for want of rules, if it is not.
    pub(crate) fn why_not_ready(&self) -> Option<String> {
        let waits = self.config.borrow().is_some()
            && !self.has_rules.load(Ordering::Relaxed)
            && self.started.elapsed() < RULES_WAIT;
        waits.then(|| "waiting for the rules of the control plane".to_owned())
    }

    /// Follows the control plane, for ever.
    pub(crate) async fn run(self: Arc<Self>, discovery: Arc<Discovery>, watcher: Arc<Watcher>) {
        let mut configs = self.config.subscribe();
        loop {
            let config = configs.borrow_and_update().clone();
            let follow = async {
                match config {
                    Some(config) => self.follow(&config, &discovery, &watcher).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = follow => {}
                changed = configs.changed() => if changed.is_err() { return },
            }
        }
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells discovery what is known of sets.
    fn tell(&self, sets: &BTreeSet<String>, discovery: &Discovery) {
        let session = self.session();
        let of = |set: &String| Some((content::path_of(set)?, session.set(set)));
        let told: Vec<(Path, Told)> = sets.iter().filter_map(of).collect();
        drop(session);
        if !told.is_empty() {
            discovery.remote_told(told);
        }
    }
}

/// The wall clock, for what is kept for days.
fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
