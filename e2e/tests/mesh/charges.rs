//! What an endpoint is told to have done (design section 5), read from the admin address.

use crate::support::{ask, endpoint, get, kind, metric, nobody};
use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::{Scripted, eventually};
use heddle_e2e::wire::Wire;
use std::net::SocketAddr;
use std::time::Duration;

fn failures(proxy: &Proxy, address: SocketAddr) -> u64 {
    endpoint(proxy, address)["failures"]
        .as_u64()
        .expect("a count")
}

/// A proxy in front of one endpoint, with an attempt time-out and nothing retried.
fn in_front_of(address: SocketAddr, spec: &str) -> Proxy {
    let spec = format!("{{service: a, rules: [{{to: a}}], retries: {{max: 0}}{spec}}}");
    Proxy::start(
        &Setup::new()
            .replicas("a", &[address])
            .document("Route", "a", &spec),
    )
}

#[test]
fn answers_and_their_absence() {
    let grpc = |code: u32| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: {code}\r\ncontent-length: 0\r\n\r\n"
        )
    };
    let plain = |status: &str| format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
    let rows: Vec<(&str, Scripted, u64)> = vec![
        ("200", Scripted::answering(plain("200 OK")), 0),
        ("404", Scripted::answering(plain("404 Not Found")), 0),
        (
            "429",
            Scripted::answering(plain("429 Too Many Requests")),
            0,
        ),
        ("500", Scripted::answering(plain("500 Oops")), 1),
        ("503", Scripted::answering(plain("503 Busy")), 1),
        ("gRPC OK", Scripted::answering(grpc(0)), 0),
        ("gRPC NOT_FOUND", Scripted::answering(grpc(5)), 0),
        ("gRPC UNAVAILABLE", Scripted::answering(grpc(14)), 1),
        ("gRPC INTERNAL", Scripted::answering(grpc(13)), 1),
        ("reset at once", Scripted::resetting(), 1),
        (
            "reset after the request",
            Scripted::resetting_after_request(),
            1,
        ),
        ("broken off half-way", Scripted::half_answering(true), 1),
        ("never answers", Scripted::silent(), 1),
    ];
    for (case, server, charged) in rows {
        let proxy = in_front_of(server.address(), ", attemptTimeout: 300ms");
        let mut wire = Wire::connect(proxy.outbound());
        wire.send(get("a", "/", ""));
        if wire.try_read_head().is_ok() {
            // Reads what there is of a body, so that the exchange ends.
            wire.set_patience(Duration::from_millis(300));
            wire.read_to_end();
        }
        drop(wire);
        eventually(&format!("{case}: charged {charged}"), || {
            failures(&proxy, server.address()) == charged
        });
        let seen = endpoint(&proxy, server.address());
        assert_eq!(seen["requests"], 1, "{case}: {seen}");
        assert_eq!(seen["inFlight"], 0, "{case}: {seen}");
    }
}

#[test]
fn a_refused_connection_is_a_failure() {
    let address = nobody();
    let proxy = in_front_of(address, "");
    let answer = ask(proxy.outbound(), get("a", "/", ""));
    assert_eq!((answer.status(), kind(&answer).as_str()), (502, "connect"));
    assert_eq!(failures(&proxy, address), 1);
}

#[test]
fn a_given_up_attempt_is_a_latency() {
    let server = Scripted::silent();
    let proxy = in_front_of(server.address(), ", attemptTimeout: 400ms");
    let answer = ask(proxy.outbound(), get("a", "/", ""));
    assert_eq!((answer.status(), kind(&answer).as_str()), (504, "timeout"));
    let seen = endpoint(&proxy, server.address());
    let latency = seen["ewmaMs"].as_f64().expect("a latency was observed");
    assert!((300.0..2000.0).contains(&latency), "{seen}");
}

#[test]
fn callers_that_leave() {
    for (case, wait, charged) in [("at once", 100, 0), ("after more than a second", 1400, 1)] {
        for resets in [true, false] {
            let server = Scripted::silent();
            let proxy = in_front_of(server.address(), "");
            let mut wire = Wire::connect(proxy.outbound());
            wire.send(get("a", "/", ""));
            eventually("the request arrived", || endpoint_started(&proxy));
            std::thread::sleep(Duration::from_millis(wait));
            // Without a reset the proxy waits whether the caller only finished its half; that
            // wait is not charged.
            match resets {
                true => wire.reset(),
                false => drop(wire),
            }
            eventually(&format!("{case}: nothing in flight"), || {
                endpoint(&proxy, server.address())["inFlight"] == 0
            });
            assert_eq!(
                metric(&proxy, "heddle_requests_in_flight", &[]),
                0.0,
                "{case}: nothing is counted for ever"
            );
            let case = format!("{case}, with a reset: {resets}");
            assert_eq!(failures(&proxy, server.address()), charged, "{case}");
        }
    }
}

/// What follows a head may be quiet by its nature; whoever leaves it has had enough, and says nothing of the endpoint.
#[test]
fn callers_that_leave_what_may_be_quiet() {
    const STAY: Duration = Duration::from_millis(1400);
    let answer = |lines: &str, piece: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n{piece}");
    let chunked = "transfer-encoding: chunked\r\n";
    let (grpc, events) = (
        "content-type: application/grpc\r\n",
        "content-type: text/event-stream\r\n",
    );
    let long = "content-length: 100\r\n";
    let rows = [
        (
            "server-sent events",
            "",
            answer(&format!("{events}{chunked}"), "3\r\n:\n\n\r\n"),
            0,
        ),
        (
            "a body without length",
            "",
            answer(chunked, "2\r\nhi\r\n"),
            0,
        ),
        ("a body that has not begun", "", answer(chunked, ""), 0),
        (
            "a gRPC watch",
            grpc,
            answer(&format!("{grpc}{chunked}"), ""),
            0,
        ),
        ("a gRPC watch without a head", grpc, String::new(), 0),
        (
            "far from its deadline",
            &format!("{grpc}grpc-timeout: 60S\r\n"),
            String::new(),
            0,
        ),
        (
            "close to its deadline",
            &format!("{grpc}grpc-timeout: 1500m\r\n"),
            String::new(),
            1,
        ),
        (
            "bytes that were announced",
            "",
            answer(long, "0123456789"),
            1,
        ),
        ("no answer at all", "", String::new(), 1),
    ];
    for (case, lines, begins, charged) in rows {
        let server = Scripted::start(move |mut guest| {
            guest.request();
            guest.wire.send(&begins);
            guest.hold();
        });
        let proxy = in_front_of(server.address(), "");
        let mut wire = Wire::connect(proxy.outbound());
        wire.send(crate::support::post("a", "/s/m", lines));
        eventually("the request arrived", || endpoint_started(&proxy));
        std::thread::sleep(STAY);
        wire.reset();
        eventually(&format!("{case}: nothing in flight"), || {
            endpoint(&proxy, server.address())["inFlight"] == 0
        });
        let seen = endpoint(&proxy, server.address());
        assert_eq!(seen["failures"], charged, "{case}: {seen}");
        let left = metric(&proxy, "heddle_attempts_total", &["outcome=\"cancelled\""]);
        assert_eq!(left, 1.0, "{case}");
        if charged == 0 {
            let latency = seen["ewmaMs"].as_f64().unwrap_or_default();
            assert!(latency < STAY.as_secs_f64() * 500.0, "{case}: {seen}");
        }
    }
}

/// A slow download is no slow endpoint: what counts is how long the caller waited for its last piece.
#[test]
fn a_caller_that_leaves_a_flowing_body_was_not_let_down() {
    let server = Scripted::start(|mut guest| {
        guest.request();
        guest
            .wire
            .send("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n");
        while guest.wire.try_send("piece") {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let proxy = in_front_of(server.address(), "");
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(get("a", "/", ""));
    assert_eq!(wire.read_head().status(), 200);
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_millis(1400) {
        wire.read_exactly(5);
    }
    wire.reset();
    eventually("nothing is in flight", || {
        endpoint(&proxy, server.address())["inFlight"] == 0
    });
    assert_eq!(failures(&proxy, server.address()), 0);
}

fn endpoint_started(proxy: &Proxy) -> bool {
    metric(proxy, "heddle_attempts_in_flight", &[]) >= 1.0
}

#[test]
fn idle_connections_that_the_server_closes_charge_nobody() {
    let server = Scripted::closing_idle(Duration::from_millis(20));
    let proxy = Proxy::start(&Setup::new().replicas("a", &[server.address()]));
    let mut wire = Wire::connect(proxy.outbound());
    for _ in 0..10 {
        wire.send(get("a", "/", ""));
        assert_eq!(wire.read_response().status(), 200);
    }
    assert_eq!(failures(&proxy, server.address()), 0);
}

#[test]
fn five_failures_eject_and_one_probe_revives() {
    let (bad, good) = (Echo::start("bad"), Echo::start("good"));
    let spec = "{service: a, rules: [{to: a}], retries: {max: 0}, balancer: {kind: round-robin, slowStart: 0s}, \
                accrual: {consecutiveFailures: 5, minProbe: 1s, maxProbe: 2s}}";
    let proxy = Proxy::start(
        &Setup::new()
            .replicas("a", &[bad.address(), good.address()])
            .document("Route", "a", spec),
    );
    // Everything fails; both would be ejected, and the floor of half the set keeps one.
    for _ in 0..40 {
        ask(proxy.outbound(), get("a", "/?status=500", ""));
    }
    let status = |address| endpoint(&proxy, address)["status"].clone();
    let busy = [bad.address(), good.address()]
        .into_iter()
        .filter(|a| status(*a) == "busy")
        .count();
    assert!(busy <= 1, "at most half of the set is ejected");
    assert!(metric(&proxy, "heddle_ejections_total", &[]) >= 1.0);
    // It works again: the probe comes within the back-off, and both are open.
    eventually("both are back", || {
        ask(proxy.outbound(), get("a", "/", ""));
        status(bad.address()) == "open"
            && status(good.address()) == "open"
            && metric(&proxy, "heddle_revivals_total", &[]) >= 1.0
    });
}

#[test]
fn when_nothing_is_left() {
    for (open, status) in [(false, 503), (true, 502)] {
        let address = nobody();
        let proxy = in_front_of(
            address,
            &format!(", accrual: {{consecutiveFailures: 2, minProbe: 30s, failOpen: {open}}}"),
        );
        for _ in 0..2 {
            assert_eq!(ask(proxy.outbound(), get("a", "/", "")).status(), 502);
        }
        let answer = ask(proxy.outbound(), get("a", "/", ""));
        assert_eq!(answer.status(), status, "failOpen: {open}: {answer:?}");
    }
}

#[test]
fn grpc_callers_get_grpc_answers() {
    let silent = Scripted::silent();
    let proxy = Proxy::start(
        &Setup::new()
            .replicas("gone", &[nobody()])
            .replicas("silent", &[silent.address()]),
    );
    for (host, lines, code) in [
        ("nowhere", "", "12"),
        ("gone", "", "14"),
        ("silent", "grpc-timeout: 200m\r\n", "4"),
    ] {
        let lines = format!("content-type: application/grpc\r\nte: trailers\r\n{lines}");
        let answer = ask(proxy.outbound(), post(host, &lines));
        assert_eq!(answer.status(), 200, "{host}");
        assert_eq!(
            answer.head.get("grpc-status").as_deref(),
            Some(code),
            "{host}: {answer:?}"
        );
        assert!(
            answer
                .head
                .get("grpc-message")
                .is_some_and(|message| !message.is_empty()),
            "{host}"
        );
        assert!(!kind(&answer).is_empty(), "{host}");
    }
}

fn post(host: &str, lines: &str) -> String {
    crate::support::post(host, "/s/m", lines)
}

#[test]
fn the_life_of_a_tunnel_is_no_latency() {
    const LIFE: Duration = Duration::from_secs(2);
    let server = Scripted::start(|mut guest| {
        if guest.request_head().is_some() {
            guest.wire.send(
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n",
            );
            let (said, _) = guest.wire.read_to_end();
            guest.wire.send(said);
        }
    });
    let proxy = in_front_of(server.address(), "");
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(get("a", "/", "connection: upgrade\r\nupgrade: echo\r\n"));
    assert_eq!(wire.read_head().status(), 101);
    wire.send("both ways");
    std::thread::sleep(LIFE);
    wire.finish();
    let (echo, _) = wire.read_to_end();
    assert_eq!(echo, b"both ways");
    eventually("the tunnel is over", || {
        endpoint(&proxy, server.address())["inFlight"] == 0
    });
    let seen = endpoint(&proxy, server.address());
    let latency = seen["ewmaMs"].as_f64().expect("a latency was observed");
    assert!(latency < LIFE.as_secs_f64() * 500.0, "{seen}");
    assert_eq!(seen["failures"], 0, "{seen}");
    let succeeded = metric(&proxy, "heddle_attempts_total", &["outcome=\"success\""]);
    assert_eq!(succeeded, 1.0, "a tunnel is an attempt that went well");
}
