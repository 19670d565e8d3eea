//! Trying again: what may be, how often, and for how long.

use crate::support::{ask, get, kind, metric, post};
use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::{Scripted, eventually};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const BUSY: &str = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";

/// A route with these retries, and a rule with these further keys. Its accrual never ejects, so that
/// only retries are seen.
fn retrying(endpoints: &[SocketAddr], retries: &str, rule: &str) -> Proxy {
    let spec = format!(
        "{{service: a, rules: [{{to: a{rule}}}], retries: {retries}, {TOLERANT}, balancer: {{kind: round-robin}}}}"
    );
    Proxy::start(
        &Setup::new()
            .replicas("a", endpoints)
            .document("Route", "a", &spec),
    )
}

/// Failures in a row do not eject.
const TOLERANT: &str = "accrual: {consecutiveFailures: 10000, successRate: {below: 0}}";

#[test]
fn by_method_and_cause() {
    for (case, request, retries, rule, attempts) in [
        (
            "GET on a listed status",
            get("a", "/", ""),
            "{on: [503], max: 2}",
            "",
            3,
        ),
        (
            "GET on one that is not listed",
            get("a", "/", ""),
            "{on: [502], max: 2}",
            "",
            1,
        ),
        (
            "POST on a listed status",
            post("a", "/", ""),
            "{on: [503], max: 2}",
            "",
            1,
        ),
        (
            "POST with an idempotency key",
            post("a", "/", "idempotency-key: k1\r\n"),
            "{on: [503], max: 2}",
            "",
            3,
        ),
        (
            "POST that the rule calls idempotent",
            post("a", "/", ""),
            "{on: [503], max: 2}",
            ", idempotent: true",
            3,
        ),
        (
            "no retries",
            get("a", "/", ""),
            "{on: [503], max: 0}",
            "",
            1,
        ),
        (
            "tokens of the caller's hop",
            get("a", "/", "heddle-context: retries=1\r\n"),
            "{on: [503], max: 2}",
            "",
            2,
        ),
        (
            "no tokens left",
            get("a", "/", "heddle-context: retries=0\r\n"),
            "{on: [503], max: 2}",
            "",
            1,
        ),
    ] {
        let server = Scripted::answering(BUSY);
        let proxy = retrying(&[server.address()], retries, rule);
        assert_eq!(ask(proxy.outbound(), request).status(), 503, "{case}");
        assert_eq!(server.requests().len(), attempts, "{case}");
    }
}

#[test]
fn what_is_sent_again_is_the_same_request() {
    let server = Scripted::answering(BUSY);
    let proxy = retrying(&[server.address()], "{on: [503], max: 2}", "");
    let request = get("a", "/path?query=1", "x-mark: 7\r\ncookie: a=b\r\n");
    assert_eq!(ask(proxy.outbound(), request).status(), 503);
    let sent = server.requests();
    assert_eq!(sent.len(), 3);
    for head in sent {
        assert_eq!(head.first, "GET /path?query=1 HTTP/1.1");
        for (name, value) in [("host", "a"), ("x-mark", "7"), ("cookie", "a=b")] {
            assert_eq!(head.get(name).as_deref(), Some(value), "{name}");
        }
    }
}

#[test]
fn a_post_that_was_sent_is_never_sent_twice() {
    let server = Scripted::resetting_after_request();
    let proxy = retrying(
        &[server.address()],
        "{on: [connect, reset, 503], max: 3}",
        "",
    );
    let answer = ask(proxy.outbound(), post("a", "/", ""));
    assert_eq!(
        (answer.status(), kind(&answer).as_str()),
        (502, "upstream-reset")
    );
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn what_the_server_says_about_coming_back() {
    for (case, header, attempts, at_least) in [
        ("retry-after: 1", "retry-after: 1\r\n", 2, 1000),
        ("retry-after far away", "retry-after: 3600\r\n", 1, 0),
        ("push-back of gRPC", "grpc-retry-pushback-ms: -1\r\n", 1, 0),
    ] {
        let server = Scripted::answering(format!(
            "HTTP/1.1 503 Busy\r\n{header}content-length: 0\r\n\r\n"
        ));
        let proxy = retrying(&[server.address()], "{on: [503], max: 1}", "");
        let started = Instant::now();
        assert_eq!(ask(proxy.outbound(), get("a", "/", "")).status(), 503);
        assert_eq!(server.requests().len(), attempts, "{case}");
        assert!(
            started.elapsed() >= Duration::from_millis(at_least),
            "{case}: {:?}",
            started.elapsed()
        );
    }
}

#[test]
fn bodies_are_repeated_within_the_bound() {
    for (size, attempts) in [(60_000, 3), (70_000, 1)] {
        let server = Scripted::answering(BUSY);
        let proxy = retrying(&[server.address()], "{on: [503], max: 2}", "");
        let request = format!(
            "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n{}",
            "x".repeat(size)
        );
        assert_eq!(ask(proxy.outbound(), request).status(), 503);
        assert_eq!(server.requests().len(), attempts, "{size} bytes");
    }
}

#[test]
fn the_budget_bounds_what_a_dead_service_costs() {
    let server = Scripted::answering(BUSY);
    let budget = "{on: [503], max: 3, budget: {ratio: 0.2, minPerSecond: 0, window: 10s}}";
    let proxy = retrying(&[server.address()], budget, "");
    let requests = 200;
    for _ in 0..requests {
        ask(proxy.outbound(), get("a", "/", ""));
    }
    let attempts = server.requests().len();
    assert!(
        attempts <= requests + requests / 5 + 1,
        "{attempts} attempts for {requests} requests"
    );
    assert!(attempts > requests, "the budget allows some");
    assert!(metric(&proxy, "heddle_retry_budget_exhausted_total", &[]) > 0.0);
}

#[test]
fn times_within_times() {
    let silent = Scripted::silent();
    let long = "POST /s/m HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\ngrpc-timeout: 300m\r\ncontent-length: 0\r\n\r\n";
    for (case, request, spec, expected, attempts, most) in [
        (
            "attempts within the total",
            get("a", "/", ""),
            "timeout: 700ms, attemptTimeout: 300ms, retries: {on: [attempt-timeout], max: 5}",
            "timeout",
            3,
            2000,
        ),
        (
            "the caller's deadline",
            get("a", "/", "heddle-context: deadline=300\r\n"),
            "timeout: 5s",
            "deadline",
            1,
            2000,
        ),
        (
            "a total time-out",
            get("a", "/", ""),
            "timeout: 400ms",
            "timeout",
            1,
            2000,
        ),
        (
            "the deadline of gRPC",
            long.to_owned(),
            "timeout: 5s",
            "deadline",
            1,
            2000,
        ),
    ] {
        let before = silent.connections();
        let spec = format!("{{service: a, rules: [{{to: a}}], {spec}, {TOLERANT}}}");
        let proxy = Proxy::start(
            &Setup::new()
                .replicas("a", &[silent.address()])
                .document("Route", "a", &spec),
        );
        let started = Instant::now();
        let answer = ask(proxy.outbound(), request);
        assert_eq!(kind(&answer), expected, "{case}: {answer:?}");
        assert!(
            started.elapsed() < Duration::from_millis(most),
            "{case}: {:?}",
            started.elapsed()
        );
        eventually(case, || silent.connections() - before >= attempts.min(2));
    }
}

#[test]
fn tiers_do_not_multiply() {
    let leaf = Scripted::answering(BUSY);
    let spec =
        &format!("{{service: a, rules: [{{to: a}}], retries: {{on: [503], max: 2}}, {TOLERANT}}}");
    let lower = Proxy::start(
        &Setup::new()
            .replicas("a", &[leaf.address()])
            .document("Route", "a", spec),
    );
    let upper = Proxy::start(
        &Setup::new()
            .replicas("a", &[lower.outbound()])
            .document("Route", "a", spec),
    );
    assert_eq!(ask(upper.outbound(), get("a", "/", "")).status(), 503);
    let attempts = leaf.requests().len();
    assert!(
        attempts <= 3,
        "two tiers of three attempts made {attempts} at the leaf"
    );
}

#[test]
fn backup_requests_are_sent_and_lose_no_answer() {
    let (one, two) = (Echo::start("one"), Echo::start("two"));
    let spec =
        "{service: a, rules: [{to: a}], hedge: {percentile: 50}, balancer: {kind: round-robin}}";
    let proxy = Proxy::start(
        &Setup::new()
            .replicas("a", &[one.address(), two.address()])
            .document("Route", "a", spec),
    );
    for _ in 0..200 {
        assert_eq!(ask(proxy.outbound(), get("a", "/", "")).status(), 200);
    }
    // The same delay on both: a backup request is sent, and no answer is lost.
    for _ in 0..5 {
        assert_eq!(
            ask(proxy.outbound(), get("a", "/?delay=300", "")).status(),
            200
        );
    }
    assert!(metric(&proxy, "heddle_hedges_total", &["sent"]) >= 1.0);
}

#[test]
fn a_mirror_gets_copies_and_changes_nothing() {
    let (real, copy) = (
        Echo::start("real"),
        Scripted::answering("HTTP/1.1 202 Noted\r\ncontent-length: 0\r\n\r\n"),
    );
    let spec = "{service: a, rules: [{to: real, mirror: {to: copy, percent: 100}}]}";
    let proxy = Proxy::start(
        &Setup::new()
            .replicas("real", &[real.address()])
            .replicas("copy", &[copy.address()])
            .document("Route", "a", spec),
    );
    for number in 0..20 {
        let request = if number % 2 == 0 {
            get("a", "/", "")
        } else {
            post("a", "/", "")
        };
        assert_eq!(ask(proxy.outbound(), request).json()["server"], "real");
    }
    eventually("the copies arrive", || copy.requests().len() == 20);
    assert_eq!(real.requests(), 20);
}
