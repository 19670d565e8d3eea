//! The service's line in the folder of the `files` namer.
//!
//! Several instances share one file, on one host or on several that share the folder. Each changes
//! only its own line, under a lock on the folder, by a rename, so that no reader sees half a file.
//! A line says who wrote it; those whose process has ended without taking them back are dropped by
//! whoever looks next, and every instance looks now and then.

use std::fs::{self, File, TryLockError};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What marks a line as one of ours.
const MARK: &str = "# heddle run:";
/// What an empty file says, so that the service is known and has no instance: 503, not 404.
const NOBODY: &str = "# no instance is announced";
/// How long another instance may hold the folder.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// How often it is tried.
const LOCK_POLL: Duration = Duration::from_millis(5);

/// An announcement, in the file as long as it has not been withdrawn.
#[derive(Debug)]
pub(super) struct Announcement {
    folder: PathBuf,
    name: String,
    line: String,
    host: String,
}

impl Announcement {
    /// Writes the line.
    ///
    /// # Errors
    /// When the folder cannot be written, or is locked for too long.
    pub(super) fn make(folder: &Path, name: &str, address: SocketAddr) -> io::Result<Self> {
        let host = host();
        let address = dialled(address);
        let id = std::process::id();
        let since = started(id).unwrap_or_default();
        let announcement = Self {
            line: format!(
                "{} {} {MARK} host {host} pid {id} since {since}",
                address.ip(),
                address.port()
            ),
            folder: folder.to_owned(),
            name: name.to_owned(),
            host,
        };
        announcement.change(true)?;
        Ok(announcement)
    }

    /// Takes the line back.
    ///
    /// # Errors
    /// As [`Announcement::make`].
    pub(super) fn withdraw(&self) -> io::Result<()> {
        self.change(false)
    }

    /// Drops the lines of instances that are gone, and writes the own one again if somebody took it.
    ///
    /// # Errors
    /// As [`Announcement::make`].
    pub(super) fn look_after(&self) -> io::Result<()> {
        self.change(true)
    }

    fn change(&self, present: bool) -> io::Result<()> {
        let _locked = locked(&self.folder)?;
        let file = self.folder.join(&self.name);
        let before = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let alive = |id| started(id);
        let after = changed(&before, &self.line, present, &self.host, &alive);
        if after == before {
            return Ok(());
        }
        // A name with a dot in front is no service to the namer.
        let draft = self
            .folder
            .join(format!(".{}.{}", self.name, std::process::id()));
        fs::write(&draft, after)?;
        fs::rename(&draft, &file)
    }
}

/// The file's text with or without a line, and without those of processes that are gone.
/// `alive` says when a process of this host started, if it runs.
fn changed(
    text: &str,
    own: &str,
    present: bool,
    host: &str,
    alive: &dyn Fn(u32) -> Option<u64>,
) -> String {
    let mut lines: Vec<&str> = text
        .lines()
        .filter(|line| *line != own && *line != NOBODY && !is_stale(line, host, alive))
        .collect();
    if present {
        lines.push(own);
    }
    if lines.is_empty() {
        lines.push(NOBODY);
    }
    lines.join("\n") + "\n"
}

/// Whether a line is that of an instance of this host that has ended.
fn is_stale(line: &str, host: &str, alive: &dyn Fn(u32) -> Option<u64>) -> bool {
    let Some((_, writer)) = line.split_once(MARK) else {
        return false;
    };
    let words: Vec<&str> = writer.split_whitespace().collect();
    let ["host", on, "pid", id, "since", since] = words[..] else {
        return false;
    };
    match (id.parse(), since.parse::<u64>()) {
        (Ok(id), Ok(since)) => on == host && alive(id) != Some(since),
        _ => false,
    }
}

/// The lock on a folder, held until it is dropped.
fn locked(folder: &Path) -> io::Result<File> {
    let lock = File::open(folder)?;
    let give_up = Instant::now() + LOCK_WAIT;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() > give_up => {
                let why = format!("{} is locked by another process", folder.display());
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_POLL),
        }
    }
}

/// An address that others can dial: loopback for "all addresses".
fn dialled(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        return SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port());
    }
    address
}

/// This host, as far as process ids are its own: containers have ids of their own.
fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let ids = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let ids: String = ids
        .to_string_lossy()
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    format!("{}/{ids}", name.split_whitespace().collect::<String>())
}

/// When a process started, in the kernel's ticks since boot (proc(5), field 22 of `stat`).
fn started(id: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_others_stay_and_those_of_the_dead_go() {
        let line = |port: u16, host: &str, id: u32| {
            format!("127.0.0.1 {port} {MARK} host {host} pid {id} since 7")
        };
        let alive = |id: u32| (id < 10).then_some(if id == 5 { 8 } else { 7 });
        let own = line(1, "h", 1);
        let (other, dead, again, far) = (
            line(2, "h", 2),
            line(3, "h", 30),
            line(4, "h", 5),
            line(5, "far", 30),
        );
        let text = format!("127.0.0.1 80 * 2 # by hand\n{other}\n{dead}\n{again}\n{far}\n");
        let with = changed(&text, &own, true, "h", &alive);
        assert_eq!(
            with,
            format!("127.0.0.1 80 * 2 # by hand\n{other}\n{far}\n{own}\n")
        );
        assert_eq!(changed(&with, &own, true, "h", &alive), with);
        let without = changed(&with, &own, false, "h", &alive);
        assert!(!without.contains(&own) && without.contains(&other));
        let nobody = changed(&own, &own, false, "h", &alive);
        assert_eq!(nobody, format!("{NOBODY}\n"));
        assert_eq!(
            changed(&nobody, &own, true, "h", &alive),
            format!("{own}\n")
        );
    }

    #[test]
    fn instances_share_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let make = |port: u16| {
            Announcement::make(folder.path(), "accounts", ([0, 0, 0, 0], port).into()).unwrap()
        };
        let text = || fs::read_to_string(folder.path().join("accounts")).unwrap();
        let threads: Vec<_> = (1..=8)
            .map(|port| std::thread::scope(|scope| scope.spawn(|| make(port)).join().unwrap()))
            .collect();
        assert_eq!(text().lines().count(), 8, "{}", text());
        assert!(text().starts_with("127.0.0.1 1 #"), "{}", text());
        for announcement in &threads {
            announcement.look_after().unwrap();
            announcement.withdraw().unwrap();
        }
        assert_eq!(text(), format!("{NOBODY}\n"));
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no draft is left"
        );
    }

    #[test]
    fn this_process_is_known_to_run() {
        assert!(started(std::process::id()).is_some_and(|ticks| ticks > 0));
        assert_eq!(started(u32::MAX), None);
    }
}
