//! Noticing that files may have changed: events of the kernel, and looking now and then.

use super::fingerprint::{Target, fingerprint};
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

/// How often files are looked at whatever the kernel says: it says nothing on network file systems, nor when
/// its watches are used up.
pub(crate) const POLL: Duration = Duration::from_millis(300);

/// Looking costs at most one part in this many of one thread's time, so large trees are looked at less often.
const POLL_SHARE: u32 = 20;

/// Files count as written once nothing has changed for so long.
const QUIET: Duration = Duration::from_millis(50);

/// Files that never keep quiet are taken as they are after this.
const SETTLE_MAX: Duration = Duration::from_millis(400);

/// Watches a set of [`Target`]s.
#[derive(Debug)]
pub(crate) struct Changes {
    targets: Arc<BTreeSet<Target>>,
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<(PathBuf, bool)>,
    signal: Arc<Notify>,
    seen: u64,
    poll: Duration,
}

impl Changes {
    /// Watches nothing yet. Without the kernel's help (which is logged) it only polls.
    pub(crate) fn new() -> Self {
        let signal = Arc::new(Notify::new());
        let watcher = notify::recommended_watcher({
            let signal = Arc::clone(&signal);
            move |event: notify::Result<Event>| {
                if event.map_or(true, |event| is_change(event.kind)) {
                    signal.notify_one();
                }
            }
        });
        let watcher = watcher
            .inspect_err(|error| {
                tracing::warn!(%error, "the kernel does not report file changes; files are polled");
            })
            .ok();
        Self::with(watcher, signal)
    }

    fn with(watcher: Option<RecommendedWatcher>, signal: Arc<Notify>) -> Self {
        Self {
            targets: Arc::default(),
            watcher,
            watched: BTreeSet::new(),
            signal,
            seen: fingerprint([]),
            poll: POLL,
        }
    }

    /// Watches `targets` from now on; what they look like at this moment counts as seen.
    pub(crate) async fn watch(&mut self, targets: BTreeSet<Target>) {
        if *self.targets != targets {
            self.arm(&targets);
            self.targets = Arc::new(targets);
        }
        self.seen = self.look().await;
    }

    /// Resolves when the targets look different from the last time, and have kept quiet since; or at
    /// `deadline`. Says whether they look different.
    pub(crate) async fn next(&mut self, deadline: Option<Instant>) -> bool {
        if self.targets.is_empty() && deadline.is_none() {
            std::future::pending::<()>().await;
        }
        loop {
            let mut wait = self.poll;
            if let Some(deadline) = deadline {
                wait = wait.min(deadline.saturating_duration_since(Instant::now()));
            }
            // Whether an event came or the time is up: look.
            let _event_or_time = timeout(wait, self.signal.notified()).await;
            let print = self.look().await;
            if print != self.seen {
                self.seen = self.settle(print).await;
                return true;
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return false;
            }
            // Events of other files in the same folder must not keep a thread busy.
            sleep(QUIET).await;
        }
    }

    async fn settle(&mut self, mut print: u64) -> u64 {
        let give_up = Instant::now() + SETTLE_MAX;
        loop {
            sleep(QUIET).await;
            let again = self.look().await;
            if again == print || Instant::now() >= give_up {
                return again;
            }
            print = again;
        }
    }

    async fn look(&mut self) -> u64 {
        let targets = Arc::clone(&self.targets);
        let started = std::time::Instant::now();
        let print = tokio::task::spawn_blocking(move || fingerprint(targets.iter())).await;
        self.poll = POLL.max(started.elapsed().saturating_mul(POLL_SHARE));
        // A look that panicked or was cancelled has seen nothing new.
        print.unwrap_or(self.seen)
    }

    /// Asks the kernel for events in every folder that leads to a target, directly or behind links. Folders
    /// that cannot be watched are polled as all others.
    fn arm(&mut self, targets: &BTreeSet<Target>) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let wanted: BTreeSet<(PathBuf, bool)> = targets.iter().flat_map(folders).collect();
        for (folder, _) in self.watched.difference(&wanted) {
            // It may be gone already, and then so is the watch.
            let _gone = watcher.unwatch(folder);
        }
        let mut watched: BTreeSet<_> = self.watched.intersection(&wanted).cloned().collect();
        for (folder, recursive) in wanted.difference(&self.watched) {
            let mode = if *recursive {
                RecursiveMode::Recursive
            } else {
                RecursiveMode::NonRecursive
            };
            match watcher.watch(folder, mode) {
                Ok(()) => {
                    watched.insert((folder.clone(), *recursive));
                }
                Err(error) => {
                    tracing::debug!(folder = %folder.display(), %error, "folder is polled only");
                }
            }
        }
        self.watched = watched;
    }
}

/// Opening and reading are no changes; our own looking would never end.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

/// The folders whose events concern a target, each with whether what is below does too.
fn folders(target: &Target) -> Vec<(PathBuf, bool)> {
    let parent = |path: &Path| path.parent().map(|parent| (not_empty(parent), false));
    match target {
        Target::File(path) => {
            let real = path.canonicalize().ok().filter(|real| real != path);
            parent(path)
                .into_iter()
                .chain(real.as_deref().and_then(parent))
                .collect()
        }
        Target::Folder(path) => vec![(path.clone(), false)],
        Target::Tree(path) => vec![(path.clone(), true)],
    }
}

fn not_empty(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        path.to_path_buf()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[tokio::test]
    async fn changes_are_found_without_the_kernel_and_nothing_is_no_change() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        fs::write(&file, "one").unwrap();
        let mut changes = Changes::with(None, Arc::default());
        changes
            .watch(BTreeSet::from([Target::File(file.clone())]))
            .await;
        let soon = || Some(Instant::now() + Duration::from_millis(700));
        assert!(!changes.next(soon()).await, "nothing has changed");
        fs::write(&file, "other").unwrap();
        let found = timeout(Duration::from_secs(10), changes.next(None)).await;
        assert!(found.expect("polling finds the change"));
        assert!(!changes.next(soon()).await, "a change is told once");
        let never = timeout(Duration::from_millis(700), changes.next(None)).await;
        assert!(never.is_err());
    }

    #[test]
    fn looking_is_no_change_and_links_lead_to_two_folders() {
        use notify::event::{CreateKind, DataChange, ModifyKind};
        let close = |mode| EventKind::Access(AccessKind::Close(mode));
        for (kind, expect) in [
            (EventKind::Access(AccessKind::Open(AccessMode::Read)), false),
            (EventKind::Access(AccessKind::Read), false),
            (close(AccessMode::Read), false),
            (close(AccessMode::Write), true),
            (EventKind::Create(CreateKind::File), true),
            (
                EventKind::Modify(ModifyKind::Data(DataChange::Content)),
                true,
            ),
        ] {
            assert_eq!(is_change(kind), expect, "{kind:?}");
        }
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir(root.join("real")).unwrap();
        fs::write(root.join("real/a"), "").unwrap();
        std::os::unix::fs::symlink("real/a", root.join("a")).unwrap();
        let of = |target| {
            folders(&target)
                .into_iter()
                .map(|(folder, _)| folder)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            of(Target::File(root.join("a"))),
            [root.clone(), root.join("real")]
        );
        assert_eq!(of(Target::File(root.join("real/a"))), [root.join("real")]);
        assert_eq!(of(Target::File("heddle.yaml".into())), [PathBuf::from(".")]);
    }
}
