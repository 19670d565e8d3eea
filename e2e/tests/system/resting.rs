//! Connections that rest: the proxy holds as little as it can for them, and nobody may notice.

use crate::support::{NAME, get, in_front_of};
use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::Proxy;
use heddle_e2e::wire::{Ending, Wire};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Waits until so many connections rest.
fn wait_for_resting(proxy: &Proxy, count: usize) {
    let series = format!("heddle_connections_resting{{listener=\"outbound\"}} {count}");
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let metrics = proxy.ask_admin("/metrics").text();
        if metrics.lines().any(|line| line == series) {
            return;
        }
        assert!(Instant::now() < until, "no line {series:?} in\n{metrics}");
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_connection_that_rested_is_served_as_before() {
    let echo = Echo::start(NAME);
    let proxy = in_front_of(echo.address());
    let mut wire = Wire::connect(proxy.outbound());
    for round in 0..3 {
        wire.send(get(&format!("/{round}")));
        assert_eq!(wire.read_response().json()["target"], format!("/{round}"));
        wait_for_resting(&proxy, 1);
    }
    // A head byte by byte, a body, and a request behind it.
    for byte in get("/slow").into_bytes() {
        wire.send([byte]);
    }
    assert_eq!(wire.read_response().json()["target"], "/slow");
    wait_for_resting(&proxy, 1);
    let post = "POST /post HTTP/1.1\r\nhost: echo\r\ncontent-length: 5\r\n\r\nhello";
    wire.send([post, &get("/behind")].concat());
    assert_eq!(wire.read_response().json()["bodyBytes"], 5);
    assert_eq!(wire.read_response().json()["target"], "/behind");
}

#[test]
fn a_connection_that_rests_is_guarded() {
    let echo = Echo::start(NAME);
    let proxy = in_front_of(echo.address());
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(get("/"));
    assert_eq!(wire.read_response().status(), 200);
    wait_for_resting(&proxy, 1);
    wire.send("GET / HTTP/1.1\r\nhost: echo\r\nhost: other\r\n\r\n");
    let answer = wire.read_response();
    assert_eq!(answer.status(), 400);
    assert_eq!(wire.expect_end(), Ending::Closed);
    assert_eq!(echo.requests(), 1);
    wait_for_resting(&proxy, 0);
}

#[test]
fn a_caller_that_leaves_while_it_rests_is_let_go() {
    let echo = Echo::start(NAME);
    let proxy = in_front_of(echo.address());
    let wires: Vec<Wire> = (0..10)
        .map(|_| {
            let mut wire = Wire::connect(proxy.outbound());
            wire.send(get("/"));
            assert_eq!(wire.read_response().status(), 200);
            wire
        })
        .collect();
    wait_for_resting(&proxy, 10);
    drop(wires);
    wait_for_resting(&proxy, 0);
}

#[test]
fn a_connection_that_rests_takes_part_in_the_drain() {
    let echo = Echo::start(NAME);
    let mut proxy = in_front_of(echo.address());
    let (mut asks, mut rests) = (
        Wire::connect(proxy.outbound()),
        Wire::connect(proxy.outbound()),
    );
    for wire in [&mut asks, &mut rests] {
        wire.send(get("/"));
        assert_eq!(wire.read_response().status(), 200);
    }
    wait_for_resting(&proxy, 2);
    proxy.process().signal("TERM");
    proxy.wait_for_log("draining");
    asks.send(get("/last"));
    let last = asks.read_response();
    assert_eq!(last.status(), 200);
    assert_eq!(last.head.get("connection").as_deref(), Some("close"));
    assert_eq!(asks.expect_end(), Ending::Closed);
    assert_eq!(rests.expect_end(), Ending::Closed);
}
