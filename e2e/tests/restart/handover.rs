//! A new process takes over the sockets, or fails to and leaves the old one serving.

use crate::Case;
use heddle_e2e::echo::Echo;
use heddle_e2e::process::succeed;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::within;
use heddle_e2e::wire::{Message, Wire};
use std::process::Command;
use std::time::Duration;

pub(crate) const CASES: &[Case] = &[
    Case(
        "handover::a_new_process_takes_over_and_the_old_one_ends",
        &[],
        a_new_process_takes_over_and_the_old_one_ends,
    ),
    Case(
        "handover::one_that_cannot_start_leaves_the_old_one_serving",
        &[],
        one_that_cannot_start_leaves_the_old_one_serving,
    ),
    Case(
        "handover::one_that_is_killed_meanwhile_leaves_the_old_one_serving",
        &[],
        one_that_is_killed_meanwhile_leaves_the_old_one_serving,
    ),
];

/// How long a hand-over may take here.
const PATIENCE: Duration = Duration::from_secs(40);

/// The processes that took over, of which the last one is ours to end.
pub(crate) struct Line<'a>(pub(crate) &'a Proxy);

impl Line<'_> {
    /// The ids of those that took over so far.
    pub(crate) fn ids(&self) -> Vec<String> {
        let log = self.0.log();
        let id = |line: &str| Some(line.split_once("handed over process=")?.1.trim().to_owned());
        log.lines().filter_map(id).collect()
    }

    /// The id of the process that serves.
    fn serving(&self, first: u32) -> String {
        self.ids().pop().unwrap_or_else(|| first.to_string())
    }

    /// Asks the process that serves to hand over, and waits until it has.
    pub(crate) fn restart(&self, first: u32) {
        let before = self.ids().len();
        signal("USR2", &self.serving(first));
        within(PATIENCE, "a new process takes over", || {
            self.ids().len() > before
        });
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if let Some(last) = self.ids().pop() {
            signal("KILL", &last);
        }
    }
}

pub(crate) fn signal(name: &str, id: &str) {
    // It fails only when the process has ended already.
    drop(Command::new("kill").args(["-s", name, id]).status());
}

pub(crate) fn ask(proxy: &Proxy) -> Message {
    let mut wire = Wire::connect(proxy.outbound());
    wire.send("GET / HTTP/1.1\r\nhost: ledger\r\n\r\n");
    wire.read_response()
}

fn a_new_process_takes_over_and_the_old_one_ends() {
    let echo = Echo::start("one");
    let setup = Setup::new()
        .top("drain: 2s")
        .replicas("ledger", &[echo.address()]);
    let mut proxy = Proxy::start(&setup);
    let first = proxy.process().id();
    let mut kept = Wire::connect(proxy.outbound());
    kept.send("GET / HTTP/1.1\r\nhost: ledger\r\n\r\n");
    assert_eq!(kept.read_response().head.get("connection"), None);
    {
        let line = Line(&proxy);
        line.restart(first);
        assert_eq!(ask(&proxy).status(), 200);
        assert_eq!(proxy.ask_admin("/ready").status(), 200);
        kept.send("GET / HTTP/1.1\r\nhost: ledger\r\n\r\n");
        let last = kept.read_response();
        assert_eq!(
            (last.status(), last.head.get("connection")),
            (200, Some("close".to_owned()))
        );
        line.restart(first);
        assert_eq!(ask(&proxy).status(), 200);
        assert_eq!(line.ids().len(), 2);
        signal("TERM", &line.ids().pop().expect("two took over"));
    }
    assert_eq!(proxy.process().wait(PATIENCE), Some(0));
}

fn one_that_cannot_start_leaves_the_old_one_serving() {
    let echo = Echo::start("one");
    let setup = Setup::new().replicas("ledger", &[echo.address()]);
    let mut proxy = Proxy::start(&setup);
    std::fs::write(proxy.folder().join("heddle.yaml"), "listeners: 7\n").expect("ours");
    proxy.process().signal("USR2");
    proxy.wait_for_log("not handed over");
    assert_eq!(ask(&proxy).status(), 200);
    assert_eq!(proxy.ask_admin("/ready").status(), 200);
    let metrics = proxy.ask_admin("/metrics").text();
    assert!(
        metrics.contains("heddle_handovers_total{result=\"failed\"} 1"),
        "{metrics}"
    );
    assert!(proxy.process().is_alive());
}

fn one_that_is_killed_meanwhile_leaves_the_old_one_serving() {
    let echo = Echo::start("one");
    let setup = Setup::new().replicas("ledger", &[echo.address()]);
    let mut proxy = Proxy::start(&setup);
    let parent = proxy.process().id().to_string();
    // A pipe without a writer: whoever reads it as its configuration is not ready until killed.
    let file = proxy.folder().join("heddle.yaml");
    std::fs::remove_file(&file).expect("ours");
    succeed(Command::new("mkfifo").arg(&file), PATIENCE);
    proxy.process().signal("USR2");
    let mut child = String::new();
    within(PATIENCE, "a new process starts", || {
        let found = Command::new("pgrep").args(["-P", &parent]).output();
        child = String::from_utf8_lossy(&found.expect("procps").stdout)
            .trim()
            .to_owned();
        !child.is_empty()
    });
    signal("KILL", &child);
    proxy.wait_for_log("not handed over");
    assert_eq!(ask(&proxy).status(), 200);
}
