//! CPU time and memory of a process and its children, read from `/proc`; and children that do not outlive us.

use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::io;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How long a process may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(3);

/// A started process that ends, with its children, when this is dropped.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts `command`.
    ///
    /// # Errors
    /// When it cannot be started; the error names the program.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let started = command.spawn().map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot start {}: {error}", command.get_program().display()),
            )
        })?;
        Ok(Self(started))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Ends it at once, as a crash would (SIGKILL).
    pub fn kill(&mut self) {
        // An error means that it has ended already, which is what is wanted.
        if self.0.kill().is_ok() {
            drop(self.0.wait());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let children = tree(self.id());
        if self.is_running() {
            signal(self.id(), Signal::TERM);
            let deadline = Instant::now() + GRACE;
            while self.is_running() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        self.kill();
        let left = stats();
        for child in children
            .into_iter()
            .filter(|child| left.get(child).is_some_and(|stat| stat.parent <= 1))
        {
            signal(child, Signal::KILL);
        }
    }
}

fn signal(id: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        // An error means that it has ended already.
        let _ = kill_process(pid, signal);
    }
}

/// CPU time (user and system) that a process, its threads and its children have used.
pub fn cpu_time(id: u32) -> Duration {
    let stats = stats();
    let ticks: u64 = tree_of(&stats, id)
        .iter()
        .filter_map(|id| stats.get(id))
        .map(|stat| stat.ticks)
        .sum();
    from_ticks(ticks)
}

/// Resident memory of a process and its children, in bytes.
pub fn resident_bytes(id: u32) -> u64 {
    let page = rustix::param::page_size() as u64;
    tree(id)
        .iter()
        .filter_map(|id| std::fs::read_to_string(format!("/proc/{id}/statm")).ok())
        .filter_map(|text| text.split(' ').nth(1)?.parse::<u64>().ok())
        .map(|pages| pages * page)
        .sum()
}

/// CPU time that the whole machine has spent on anything since it started, time stolen by its host included.
pub fn machine_busy() -> Duration {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    // user nice system idle iowait irq softirq steal
    let fields: Vec<u64> = text
        .lines()
        .next()
        .map(|line| {
            line.split_whitespace()
                .skip(1)
                .filter_map(|field| field.parse().ok())
                .collect()
        })
        .unwrap_or_default();
    from_ticks(
        [0, 1, 2, 5, 6, 7]
            .iter()
            .filter_map(|&index| fields.get(index))
            .sum(),
    )
}

fn from_ticks(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: u32,
    ticks: u64,
}

/// Parses `/proc/<pid>/stat`; the command's name may hold anything, so fields count from the last `)`.
fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text
        .get(text.rfind(')')? + 1..)?
        .split_whitespace()
        .collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        ticks: number(11)? + number(12)?,
    })
}

fn stats() -> BTreeMap<u32, Stat> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return BTreeMap::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            let text = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            Some((id, parse_stat(&text)?))
        })
        .collect()
}

fn tree(id: u32) -> Vec<u32> {
    tree_of(&stats(), id)
}

/// A process and all its descendants; parents come before their children.
fn tree_of(stats: &BTreeMap<u32, Stat>, id: u32) -> Vec<u32> {
    let mut tree = vec![id];
    let mut next = 0;
    while let Some(&parent) = tree.get(next) {
        tree.extend(
            stats
                .iter()
                .filter(|(_, stat)| stat.parent == parent)
                .map(|(id, _)| *id),
        );
        next += 1;
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_past_any_command_name() {
        let text = "42 (a) b) c) S 7 42 42 0 -1 4194560 100 0 0 0 150 50 3 4 20 0 1 0 12 0 0";
        assert_eq!(
            parse_stat(text),
            Some(Stat {
                parent: 7,
                ticks: 200
            })
        );
        assert_eq!(parse_stat("42 (cut off"), None);
    }

    #[test]
    fn descendants_are_found_at_any_depth() {
        let stat = |parent| Stat { parent, ticks: 0 };
        let stats = BTreeMap::from([
            (2, stat(1)),
            (3, stat(2)),
            (4, stat(3)),
            (5, stat(1)),
            (6, stat(2)),
        ]);
        assert_eq!(tree_of(&stats, 2), [2, 3, 6, 4]);
    }

    #[test]
    fn a_process_ends_with_its_children_when_dropped() {
        // The shell ends at SIGTERM and leaves its child behind.
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 30 & wait"]);
        let running = Running::start(&mut command).expect("sh starts");
        let mut all = tree(running.id());
        for _ in 0..200 {
            if all.len() > 1 {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
            all = tree(running.id());
        }
        assert_eq!(all.len(), 2, "the shell and its sleep");
        drop(running);
        for _ in 0..200 {
            let left = stats();
            if all.iter().all(|id| {
                left.get(id)
                    .is_none_or(|stat| stat.parent <= 1 && is_zombie(*id))
            }) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("still running: {all:?}");
    }

    fn is_zombie(id: u32) -> bool {
        std::fs::read_to_string(format!("/proc/{id}/stat"))
            .map_or(true, |text| text.contains(") Z "))
    }
}
