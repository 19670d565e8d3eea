//! Memory: how much there may be, how much there is, and what follows.

use super::Seldom;
use crate::clock;
use heddle_core::overload::{Pressure, pressure};
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::sleep;

/// How often memory is looked at, where there is a limit; it costs some ten microseconds.
pub(crate) const LOOK: Duration = Duration::from_millis(20);
/// Looks for which a connection may have to wait.
const LOOKS: usize = 50;
/// How often a limit is looked for, where there is none: groups and configurations change.
pub(crate) const LOOK_FOR_LIMIT: Duration = Duration::from_secs(5);
/// A limit of this or more is none: what the kernel shows where nothing is set.
const NO_LIMIT: u64 = 1 << 60;

/// How close the process is to its limit, as it was found last.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// 0: there is none.
    limit: AtomicU64,
    level: AtomicU8,
    /// What the last look found.
    resident: AtomicU64,
    /// What connections may take that were accepted a moment ago, and is not seen yet.
    promised: AtomicU64,
    told: Seldom,
}

impl Memory {
    /// Looks at what is used; `configured` comes before the limit of the control group.
    pub(crate) fn look(&self, configured: Option<u64>) {
        let limit = configured.or_else(of_control_group).unwrap_or(0);
        self.limit.store(limit, Relaxed);
        let Some(resident) = resident().filter(|_| limit > 0) else {
            self.level.store(Pressure::Low as u8, Relaxed);
            return;
        };
        self.resident.store(resident, Relaxed);
        // A promise is forgotten within some tenths of a second: by then it is kept, or will not be soon.
        let promised = self.promised.load(Relaxed);
        self.promised.fetch_sub(promised.div_ceil(16), Relaxed);
        let before = self.pressure();
        let level = pressure(resident, limit, before);
        self.level.store(level as u8, Relaxed);
        if level > before && self.told.due(clock::now()).is_some() {
            let what = match level {
                Pressure::Full => "new connections and requests are refused",
                _ => "idle and stalled connections are closed early",
            };
            tracing::warn!(resident, limit, "memory is short: {what}");
        }
    }

    /// Resolves when a connection that may take so many bytes fits with those that came a moment ago, or when memory
    /// is full, so that connections are refused, and after a second at the latest. A crowd that comes between two looks
    /// waits in the kernel's queue.
    pub(crate) async fn admission(&self, bytes: usize) {
        for _ in 0..LOOKS {
            if self.admits(bytes) || self.is_full() {
                return;
            }
            sleep(LOOK).await;
        }
    }

    /// Whether so many bytes fit; then they are promised.
    fn admits(&self, bytes: usize) -> bool {
        let limit = self.limit.load(Relaxed);
        if limit == 0 {
            return true;
        }
        let promised = self.promised.load(Relaxed) + bytes as u64;
        let sum = self.resident.load(Relaxed).saturating_add(promised);
        let admits = pressure(sum, limit, Pressure::Low) != Pressure::Full && !self.is_full();
        if admits {
            self.promised.fetch_add(bytes as u64, Relaxed);
        }
        admits
    }

    /// How close it is.
    pub(crate) fn pressure(&self) -> Pressure {
        Pressure::from_number(self.level.load(Relaxed))
    }

    /// Whether no new work is taken.
    pub(crate) fn is_full(&self) -> bool {
        self.pressure() == Pressure::Full
    }

    /// The limit in bytes; 0: there is none.
    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Relaxed)
    }
}

/// Resident memory of this process, in bytes.
fn resident() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = pages.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// The least limit of the control groups that this process is in, if one has any.
fn of_control_group() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    groups
        .lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            // Version 2 has one hierarchy and no names; version 1 has one for memory.
            match controllers {
                "" => least("/sys/fs/cgroup", path, "memory.max"),
                "memory" => least("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes"),
                _ => None,
            }
        })
        .min()
}

/// The least limit of a group and of those above it. In a container the path may be that of the host, which is not
/// there; then what is at the root is the container's own.
fn least(root: &str, path: &str, file: &str) -> Option<u64> {
    let path = path.trim_start_matches('/');
    Path::new(path)
        .ancestors()
        .filter_map(|group| {
            let limit = std::fs::read_to_string(Path::new(root).join(group).join(file)).ok()?;
            limit.trim().parse().ok()
        })
        .filter(|limit| *limit < NO_LIMIT)
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_follows_what_is_used() {
        let memory = Memory::default();
        let used = resident().expect("Linux has statm");
        assert!(used > 1 << 20);
        for (limit, expected) in [
            (used * 100, Pressure::Low),
            (used / 2, Pressure::Full),
            (used * 100, Pressure::Low),
        ] {
            memory.look(Some(limit));
            assert_eq!((memory.pressure(), memory.limit()), (expected, limit));
        }
    }

    #[test]
    fn a_crowd_between_two_looks_is_bounded() {
        let memory = Memory::default();
        assert!(memory.admits(usize::MAX >> 1), "there is no limit");
        let used = resident().expect("Linux has statm");
        let limit = used * 2;
        memory.look(Some(limit));
        let admitted = (0..10_000).take_while(|_| memory.admits(1 << 16)).count();
        let room = (limit * heddle_core::overload::FULL / 100 - used) >> 16;
        assert!(
            (1..=room as usize + 1).contains(&admitted),
            "{admitted} of {room}"
        );
        for _ in 0..400 {
            memory.look(Some(limit));
        }
        assert!(memory.admits(1 << 16), "promises are forgotten");
    }

    #[test]
    fn the_least_limit_of_nested_groups_counts() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let write = |group: &str, text: &str| {
            let folder = root.path().join(group);
            std::fs::create_dir_all(&folder).expect("the folder is ours");
            std::fs::write(folder.join("memory.max"), text).expect("the folder is ours");
        };
        let found = |path| least(&root.path().display().to_string(), path, "memory.max");
        write("a/b", "max\n");
        assert_eq!(found("/a/b"), None);
        write("a", "1000\n");
        assert_eq!(found("/a/b"), Some(1000));
        write("a/b", "500\n");
        assert_eq!(found("/a/b"), Some(500));
        write("", "200\n");
        assert_eq!(found("/of/the/host"), Some(200));
        write("", "9223372036854771712\n");
        assert_eq!(found("/of/the/host"), None);
    }
}
