//! What a listener in front of a service lets through.

use crate::support::{Beside, PATIENCE, ask, free_port, python};
use heddle_e2e::script::within;
use heddle_e2e::wire::Wire;
use std::net::SocketAddr;

/// A service behind a listener with these limits.
fn start(limits: &str) -> (Beside, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let file = folder.path().join("heddle.yaml").display().to_string();
    let port = free_port();
    let text = format!(
        "admin: {{listen: 127.0.0.1:0}}\nlisteners:\n  - {{name: outbound, listen: 127.0.0.1:0}}\n  - {{name: in, listen: 127.0.0.1:0, mode: inbound, forwardTo: 127.0.0.1:{port}, limits: {{{limits}}}}}\n"
    );
    std::fs::write(&file, text).expect("the folder is ours");
    let beside = Beside::start(&[
        "--service",
        "a",
        "--port",
        &port,
        "-c",
        &file,
        "--",
        "python3",
        &python(),
        "a",
    ]);
    assert_eq!(ask(beside.inbound(), "a", "GET", "/", "").status(), 200);
    (beside, folder)
}

fn slow(to: SocketAddr, millis: u32, extra: &str) -> Wire {
    let mut wire = Wire::connect(to);
    wire.send(format!(
        "GET /slow/{millis} HTTP/1.1\r\nhost: a\r\n{extra}\r\n"
    ));
    wire
}

fn waiting(beside: &Beside) -> f64 {
    beside.metric("heddle_listener_requests_waiting", "listener=\"in\"")
}

fn shed(beside: &Beside, reason: &str) -> f64 {
    beside.metric("heddle_shed_total", &format!("reason=\"{reason}\""))
}

pub(crate) fn what_is_too_much_waits_and_then_is_shed() {
    let (beside, _folder) = start("concurrency: 1, queue: 1, queueWait: 60s");
    let mut works = slow(beside.inbound(), 1500, "");
    beside.wait_for("working");
    let mut waits = slow(beside.inbound(), 0, "");
    within(PATIENCE, "one waits", || waiting(&beside) == 1.0);
    let full = ask(beside.inbound(), "a", "GET", "/", "");
    assert_eq!(full.status(), 503);
    let err = full.head.get("heddle-err").unwrap_or_default();
    assert!(
        err.starts_with("overloaded; reason=\"the service works on 1 requests"),
        "{err}"
    );
    let grpc = "content-type: application/grpc\r\n";
    let full = ask(beside.inbound(), "a", "POST", "/", grpc);
    assert_eq!(full.head.get("grpc-status").as_deref(), Some("14"));
    assert_eq!(works.read_response().status(), 200);
    assert_eq!(waits.read_response().status(), 200);
    assert_eq!(shed(&beside, "queue-full"), 2.0);
    assert_eq!(waiting(&beside), 0.0);
}

pub(crate) fn nobody_waits_longer_than_is_allowed() {
    let (beside, _folder) = start("concurrency: 1, queueWait: 100ms");
    let mut works = slow(beside.inbound(), 1500, "");
    beside.wait_for("working");
    let late = ask(beside.inbound(), "a", "GET", "/", "");
    assert_eq!(late.status(), 503);
    assert_eq!(shed(&beside, "queue-wait"), 1.0);
    assert_eq!(works.read_response().status(), 200);
}

pub(crate) fn who_waits_and_goes_away_leaves_no_trace() {
    let (beside, _folder) = start("concurrency: 1, queue: 1, queueWait: 60s");
    let mut works = slow(beside.inbound(), 1500, "");
    beside.wait_for("working");
    let gone = slow(beside.inbound(), 0, "");
    within(PATIENCE, "it waits", || waiting(&beside) == 1.0);
    gone.reset();
    within(PATIENCE, "it has gone", || waiting(&beside) == 0.0);
    assert_eq!(works.read_response().status(), 200);
    assert_eq!(ask(beside.inbound(), "a", "GET", "/", "").status(), 200);
}

pub(crate) fn a_deadline_that_has_passed_does_not_bother_the_service() {
    let (beside, _folder) = start("concurrency: 1, queueWait: 60s");
    let dead = ask(
        beside.inbound(),
        "a",
        "GET",
        "/slow/0",
        "heddle-context: deadline=0\r\n",
    );
    assert_eq!(dead.status(), 504);
    let err = dead.head.get("heddle-err").unwrap_or_default();
    assert!(err.starts_with("deadline;"), "{err}");
    assert!(!beside.running.output().contains("working"));
    let mut works = slow(beside.inbound(), 1500, "");
    beside.wait_for("working");
    let late = ask(
        beside.inbound(),
        "a",
        "GET",
        "/",
        "heddle-context: deadline=100\r\n",
    );
    assert_eq!(late.status(), 504);
    assert_eq!(shed(&beside, "deadline"), 2.0);
    assert_eq!(works.read_response().status(), 200);
}
