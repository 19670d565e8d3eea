//! Another binary at the same path: the next restart runs it, and one that is broken changes nothing.

use crate::Case;
use crate::handover::{Line, ask};
use heddle_e2e::binary::heddle;
use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::within;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const CASES: &[Case] = &[
    Case(
        "binary::a_replaced_binary_is_what_the_next_restart_runs",
        &[],
        a_replaced_binary_is_what_the_next_restart_runs,
    ),
    Case(
        "binary::a_broken_binary_leaves_the_old_one_serving",
        &[],
        a_broken_binary_leaves_the_old_one_serving,
    ),
];

const PATIENCE: Duration = Duration::from_secs(40);

/// A copy of the binary in a folder of its own, which is replaced as package managers do: by a rename.
struct Installed {
    folder: TempDir,
}

impl Installed {
    fn new() -> Self {
        let installed = Self {
            folder: TempDir::with_prefix("heddle-e2e-").expect("a folder"),
        };
        installed.replace(|draft| {
            fs::copy(heddle(), draft).expect("the binary can be copied");
        });
        installed
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("heddle")
    }

    fn replace(&self, write: impl FnOnce(&Path)) {
        let draft = self.folder.path().join("draft");
        write(&draft);
        fs::set_permissions(&draft, Permissions::from_mode(0o755)).expect("ours");
        fs::rename(draft, self.path()).expect("ours");
    }
}

/// The file that a process runs; one that was replaced is marked as deleted.
fn running(id: &str) -> PathBuf {
    fs::read_link(format!("/proc/{id}/exe")).expect("it runs")
}

fn start(installed: &Installed, echo: &Echo) -> Proxy {
    let setup = Setup::new()
        .top("drain: 2s")
        .binary(installed.path())
        .replicas("ledger", &[echo.address()]);
    Proxy::start(&setup)
}

fn a_replaced_binary_is_what_the_next_restart_runs() {
    let (echo, installed) = (Echo::start("one"), Installed::new());
    let mut proxy = start(&installed, &echo);
    let first = proxy.process().id();
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let (proxy, asked, stop) = (&proxy, &asked, &stop);
        let callers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        assert_eq!(ask(proxy).status(), 200);
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        installed.replace(|draft| {
            fs::copy(heddle(), draft).expect("the binary can be copied");
        });
        let line = Line(proxy);
        assert_ne!(running(&first.to_string()), installed.path());
        line.restart(first);
        let second = line.ids().pop().expect("one took over");
        assert_eq!(running(&second), installed.path());
        let before = asked.load(Ordering::Relaxed);
        within(PATIENCE, "the new process is asked", || {
            asked.load(Ordering::Relaxed) > before + 50
        });
        stop.store(true, Ordering::Relaxed);
        for caller in callers {
            caller.join().expect("each request is answered");
        }
    });
}

fn a_broken_binary_leaves_the_old_one_serving() {
    let (echo, installed) = (Echo::start("one"), Installed::new());
    let proxy = start(&installed, &echo);
    let mut proxy = proxy;
    let whole = fs::read(heddle()).expect("the binary can be read");
    // Cut short, no program at all, and one that claims to be ready and then ends.
    let crash = "#!/bin/sh\nprintf r >&0\nhead -c 1 <&0 >/dev/null\nexit 3\n";
    let broken = [&whole[..whole.len() / 2], b"", crash.as_bytes()];
    for (index, bytes) in broken.into_iter().enumerate() {
        installed.replace(|draft| fs::write(draft, bytes).expect("ours"));
        proxy.process().signal("USR2");
        within(PATIENCE, "the failure is told", || {
            proxy.log().matches("not handed over").count() > index
        });
        assert_eq!(ask(&proxy).status(), 200);
        assert_eq!(proxy.ask_admin("/ready").status(), 200);
        assert!(proxy.process().is_alive());
    }
    // The right one again, and the way is free.
    installed.replace(|draft| fs::write(draft, &whole).expect("ours"));
    let first = proxy.process().id();
    let line = Line(&proxy);
    line.restart(first);
    assert_eq!(ask(&proxy).status(), 200);
}
