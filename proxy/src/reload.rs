//! Reloading: configuration files are watched, and what they say is applied when it is valid.
//!
//! Starting and reloading are one path (`Watcher::load`): read everything, collect all findings, and either
//! have a whole configuration or leave things as they are. A change applies within a second, written in place,
//! renamed over, or swapped behind a symbolic link as Kubernetes does with mounted ConfigMaps. Files are read
//! once they have kept quiet for a moment. A file that suddenly is empty or gone counts only after a second,
//! because that is what a file looks like while it is being replaced. An invalid change is refused as a whole
//! and reported in the log, the metrics and [`Watcher::status`]; the last good configuration stays.

mod changes;
mod fingerprint;
mod source;

pub(crate) use changes::Changes;
pub(crate) use fingerprint::Target;
pub use source::FileSystem;
pub(crate) use source::Mesh;

use crate::metrics::Metrics;
use arc_swap::ArcSwap;
use heddle_core::config::ProxyConfig;
use heddle_core::finding::Finding;
use heddle_core::spec::{self, Loaded, Source};
use source::{Reads, Recorded, voids};
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a file that held something must be empty or gone before that counts.
const VOID_COUNTS_AFTER: Duration = Duration::from_secs(1);

/// How loading went so far.
#[derive(Debug, Clone, Default)]
pub struct ReloadStatus {
    /// Number of the running configuration; the first is 1, and 0 stands for none yet.
    pub generation: u64,
    /// When it was applied.
    pub last_ok_at: Option<SystemTime>,
    /// When files were last loaded, whatever came of it.
    pub last_attempt_at: Option<SystemTime>,
    /// Warnings of the running configuration.
    pub warnings: Vec<Finding>,
    /// Why the last attempt was refused; `None` when it was applied.
    pub last_error: Option<Refusal>,
}

/// Why a configuration was not applied.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// It has errors; these are all findings.
    Invalid(Vec<Finding>),
    /// It is valid and cannot be applied, for instance because an address is in use; says why.
    NotApplied(String),
}

impl fmt::Display for Refusal {
    /// One finding a line, or the reason.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(findings) => {
                for (index, finding) in findings.iter().enumerate() {
                    let line = if index == 0 { "" } else { "\n" };
                    write!(f, "{line}{finding}")?;
                }
                Ok(())
            }
            Self::NotApplied(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Refusal {}

/// Loads the configuration, and again whenever its files change.
pub struct Watcher {
    main: Option<PathBuf>,
    source: Arc<dyn Source + Send + Sync>,
    metrics: Arc<Metrics>,
    status: ArcSwap<ReloadStatus>,
    /// What the last attempt and the last good one read; changed by attempts only.
    attempts: Mutex<Attempts>,
    forced: Notify,
    looked: Notify,
    attempted: Notify,
}

#[derive(Debug, Default)]
struct Attempts {
    targets: BTreeSet<Target>,
    last: Reads,
    good: Reads,
    void_since: Option<Instant>,
}

/// What came of reading the files.
enum Attempt {
    /// Nothing new.
    Same,
    /// A file is empty or gone, which counts only from then on.
    Void(Instant),
    /// A valid configuration.
    Valid(Arc<ProxyConfig>, Vec<Finding>, Reads),
    /// One with errors.
    Invalid(Vec<Finding>),
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher")
            .field("main", &self.main)
            .finish_non_exhaustive()
    }
}

impl Watcher {
    /// Watches the file `main` and everything that it names; without a file there is the built-in default,
    /// which never changes.
    pub fn new(main: Option<PathBuf>, metrics: Arc<Metrics>) -> Arc<Self> {
        Self::with_source(main, Arc::new(FileSystem), metrics)
    }

    /// The same, reading through `source`. Changes are still noticed in the file system.
    pub fn with_source(
        main: Option<PathBuf>,
        source: Arc<dyn Source + Send + Sync>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        Arc::new(Self {
            main,
            source,
            metrics,
            status: ArcSwap::default(),
            attempts: Mutex::default(),
            forced: Notify::new(),
            looked: Notify::new(),
            attempted: Notify::new(),
        })
    }

    /// How loading went so far.
    pub fn status(&self) -> Arc<ReloadStatus> {
        self.status.load_full()
    }

    /// Loads again although nothing has changed (`SIGHUP`). Never blocks; [`run`](Self::run) does it.
    pub fn reload(&self) {
        self.forced.notify_one();
    }

    /// Looks again, since something that is no file may have changed. Never blocks; [`run`](Self::run) does it.
    pub(crate) fn look(&self) {
        self.looked.notify_one();
    }

    /// Resolves at the end of the next attempt that changes the status, from when this is called.
    pub fn attempted(&self) -> impl Future<Output = ()> + '_ {
        self.attempted.notified()
    }

    /// Loads once, for the start, and gives the configuration to `apply`. Blocking.
    ///
    /// # Errors
    ///
    /// Says why there is no configuration: all findings, or what `apply` said.
    pub fn start<T>(
        &self,
        apply: impl FnOnce(Arc<ProxyConfig>) -> Result<T, String>,
    ) -> Result<T, Refusal> {
        match self.load(true) {
            Attempt::Valid(config, findings, reads) => {
                let applied = apply(config);
                let refused = applied.as_ref().err().cloned();
                self.finish(findings, reads, refused);
                applied.map_err(Refusal::NotApplied)
            }
            Attempt::Invalid(findings) => Err(self.refuse(Refusal::Invalid(findings))),
            Attempt::Same | Attempt::Void(_) => unreachable!("a forced load never waits"),
        }
    }

    /// Applies every valid change of the files, for ever. What `apply` refuses counts as refused; it must leave
    /// everything as it was.
    pub async fn run<F>(self: Arc<Self>, mut apply: impl FnMut(Arc<ProxyConfig>) -> F)
    where
        F: Future<Output = Result<(), String>>,
    {
        let mut changes = Changes::new();
        let mut watched = None;
        let mut forced = false;
        loop {
            // Watched first, then loaded: no change can fall between the two.
            let targets = self.attempts().targets.clone();
            if watched.as_ref() != Some(&targets) {
                changes.watch(targets.clone()).await;
                watched = Some(targets);
            }
            let mut deadline = None;
            match self.load_elsewhere(std::mem::take(&mut forced)).await {
                Attempt::Same => {}
                Attempt::Void(until) => deadline = Some(until),
                Attempt::Valid(config, findings, reads) => {
                    let refused = apply(config).await.err();
                    self.finish(findings, reads, refused);
                }
                Attempt::Invalid(findings) => {
                    self.refuse(Refusal::Invalid(findings));
                }
            }
            if watched.as_ref() != Some(&self.attempts().targets) {
                continue;
            }
            tokio::select! {
                () = self.forced.notified() => forced = true,
                () = self.looked.notified() => {}
                _differs = changes.next(deadline) => {}
            }
        }
    }

    /// [`load`](Self::load) on a thread that may block.
    async fn load_elsewhere(self: &Arc<Self>, forced: bool) -> Attempt {
        let this = Arc::clone(self);
        let loaded = tokio::task::spawn_blocking(move || this.load(forced)).await;
        loaded.unwrap_or_else(|error| {
            tracing::error!(%error, "loading the configuration ended early; the last good one stays");
            Attempt::Same
        })
    }

    /// Reads everything. Unless `forced`, files that are as at the last attempt are nothing new, and files that
    /// have just become empty or vanished are waited for.
    fn load(&self, forced: bool) -> Attempt {
        let recorded = Recorded::new(&*self.source);
        let Loaded {
            config,
            findings,
            files_read,
            folders_read,
        } = spec::load(self.main.as_deref(), &recorded);
        let reads = recorded.into_reads();
        let mut attempts = self.attempts();
        let files = files_read.into_iter().map(Target::File);
        attempts.targets = files
            .chain(folders_read.into_iter().map(Target::Folder))
            .collect();
        let void = voids(&attempts.good, &reads, |path| path.exists());
        if void.is_empty() {
            attempts.void_since = None;
        }
        if !forced {
            if reads == attempts.last {
                return Attempt::Same;
            }
            if !void.is_empty() {
                let since = *attempts.void_since.get_or_insert_with(Instant::now);
                let until = since + VOID_COUNTS_AFTER;
                if Instant::now() < until {
                    return Attempt::Void(until);
                }
            }
        }
        attempts.last.clone_from(&reads);
        match config {
            Some(config) => Attempt::Valid(Arc::new(config), findings, reads),
            None => Attempt::Invalid(findings),
        }
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a valid configuration was applied, or why it was not.
    fn finish(&self, warnings: Vec<Finding>, reads: Reads, refused: Option<String>) {
        if let Some(why) = refused {
            self.refuse(Refusal::NotApplied(why));
            return;
        }
        let (hash, now) = (source::hash_of(&reads), SystemTime::now());
        self.attempts().good = reads;
        let generation = self.status.load().generation + 1;
        self.metrics
            .config()
            .applied(generation, hash, warnings.len(), now);
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        tracing::info!(generation, "configuration applied");
        self.status.store(Arc::new(ReloadStatus {
            generation,
            last_ok_at: Some(now),
            last_attempt_at: Some(now),
            warnings,
            last_error: None,
        }));
        self.attempted.notify_waiters();
    }

    /// Records a refusal; the running configuration stays.
    fn refuse(&self, refusal: Refusal) -> Refusal {
        let now = SystemTime::now();
        let count = match &refusal {
            Refusal::Invalid(findings) => findings.len(),
            Refusal::NotApplied(_) => 1,
        };
        self.metrics.config().refused(count, now);
        let before = self.status.load();
        // At the start, whoever starts the proxy says so.
        if before.generation > 0 {
            tracing::error!(
                running = before.generation,
                "configuration refused:\n{refusal}"
            );
        }
        self.status.store(Arc::new(ReloadStatus {
            last_attempt_at: Some(now),
            last_error: Some(refusal.clone()),
            ..ReloadStatus::clone(&before)
        }));
        self.attempted.notify_waiters();
        refusal
    }
}

#[cfg(test)]
mod tests;
