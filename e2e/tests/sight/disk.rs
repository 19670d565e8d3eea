//! A disk that is full: requests go on, lines are counted, and the log comes back.

use crate::support::{ask, lines, metric};
use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::eventually;
use std::process::Command;

const FAILED: &str = "heddle_access_log_lines_total{result=\"write-failed\"}";

fn get(proxy: &Proxy, path: &str) {
    let answer = ask(proxy, format!("GET {path} HTTP/1.1\r\nhost: echo\r\n\r\n"));
    assert_eq!(answer.status(), 200, "{path}");
}

pub(crate) fn a_device_that_is_always_full() {
    let echo = Echo::start("echo");
    let setup = Setup::new()
        .top("accessLog: {file: /dev/full}")
        .replicas("echo", &[echo.address()]);
    let proxy = Proxy::start(&setup);
    for n in 0..100 {
        get(&proxy, &format!("/{n}"));
    }
    eventually("all lines are counted as lost", || {
        metric(&proxy, FAILED) == 100.0
    });
}

/// A small file system, unmounted when dropped.
struct Small(std::path::PathBuf);

impl Small {
    fn mount(at: &std::path::Path) -> Option<Self> {
        std::fs::create_dir_all(at).ok()?;
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(at)
            .output()
            .ok()?;
        done.status.success().then(|| Self(at.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).output().ok();
    }
}

/// Whether a file system can be mounted, which only root may, and not in every container.
pub(crate) fn mountable() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let small = Small::mount(&folder.path().join("small"));
    small.map(drop).ok_or_else(|| {
        "the small file system that this fills cannot be mounted, which takes root".to_owned()
    })
}

pub(crate) fn a_disk_that_fills_and_is_freed() {
    let echo = Echo::start("echo");
    let setup = Setup::new()
        .top("accessLog: {file: ./small/access.log}")
        .replicas("echo", &[echo.address()]);
    let proxy = Proxy::start(&setup);
    let folder = proxy.folder().join("small");
    let _small = Small::mount(&folder).expect("it was possible a moment ago");
    let path = folder.join("access.log");
    eventually("the log is opened once its folder is there", || {
        path.exists()
    });
    std::fs::write(folder.join("ballast"), vec![b'x'; 32 * 1024]).expect("half of it is free");
    let mut n = 0;
    eventually("the disk is full", || {
        (0..50).for_each(|_| {
            n += 1;
            get(&proxy, &format!("/fill/{n}"));
        });
        metric(&proxy, FAILED) > 0.0
    });
    let lost = metric(&proxy, FAILED);
    for n in 0..50 {
        get(&proxy, &format!("/full/{n}"));
    }
    eventually("what the disk does not take is counted", || {
        metric(&proxy, FAILED) > lost
    });
    std::fs::remove_file(folder.join("ballast")).expect("it is ours");
    get(&proxy, "/back");
    eventually("lines are written again", || {
        lines(&path).iter().any(|line| line["path"] == "/back")
    });
}
