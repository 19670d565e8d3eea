//! File descriptors run out.

use crate::support::{GET, ask, crowd, is_served, lines, load_of, served, turned_away};
use heddle_e2e::echo::Echo;
use heddle_e2e::process;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::within;
use heddle_e2e::wire::Wire;
use std::process::Command;
use std::time::Duration;

/// A proxy that waits for descriptors must not burn its core; a tenth is a few hundred times what it needs.
const QUIET: f64 = 0.2;
const REFUSED: &str = "heddle_refused_total{listener=\"outbound\",reason=\"descriptors\"}";
const EJECTED: &str = "heddle_ejections_total{replica_set=\"/#/static/echo\"}";

#[test]
fn more_clients_than_descriptors_are_refused_and_those_who_are_there_are_served() {
    let echo = Echo::start("echo");
    let setup = Setup::new()
        .replicas("echo", &[echo.address()])
        .under(&["prlimit", "--nofile=256:256"]);
    let proxy = Proxy::start(&setup);
    assert!(
        proxy.log().contains("fewer connections of clients fit"),
        "a limit this low is worth a warning at start"
    );
    let mut established: Vec<_> = (0..20).map(|_| served(proxy.outbound())).collect();
    let crowd = crowd(proxy.outbound(), 1000);
    within(Duration::from_secs(10), "clients are refused", || {
        proxy.metric(REFUSED) > 100.0
    });
    assert!(proxy.descriptors() < 256, "some are left");
    let load = load_of(&proxy, Duration::from_secs(1));
    assert!(load < QUIET, "uses {load} of a core");
    // Each of them at the same time, so that most need a connection to the endpoint of their own.
    for wire in &mut established {
        wire.send("GET /?delay=100 HTTP/1.1\r\nhost: echo\r\n\r\n");
    }
    for wire in &mut established {
        assert_eq!(wire.read_response().status(), 200);
    }
    for page in ["/ready", "/metrics", "/clusters", "/config"] {
        assert_eq!(proxy.ask_admin(page).status(), 200, "{page}");
    }
    assert!(turned_away(proxy.outbound()).is_some());
    drop(crowd);
    within(Duration::from_secs(5), "a new client is served", || {
        is_served(proxy.outbound())
    });
    for wire in &mut established {
        assert_eq!(ask(wire, GET).status(), 200);
    }
    let told = lines(&proxy, "connections refused");
    assert!((1..=5).contains(&told), "{told} lines of the log");
    assert!(proxy.metric(EJECTED) == 0.0);
}

#[test]
fn idle_clients_make_room_for_new_ones() {
    let echo = Echo::start("echo");
    let setup = Setup::new()
        .replicas("echo", &[echo.address()])
        .under(&["prlimit", "--nofile=128:128"]);
    let proxy = Proxy::start(&setup);
    let idle = crowd(proxy.outbound(), 200);
    within(Duration::from_secs(15), "a new client is served", || {
        is_served(proxy.outbound())
    });
    drop(idle);
}

/// The limit of a running process.
fn limit(proxy: &mut Proxy, descriptors: usize) {
    let id = proxy.process().id().to_string();
    let limit = format!("--nofile={descriptors}:1024");
    process::succeed(
        Command::new("prlimit").args(["--pid", &id, &limit]),
        Duration::from_secs(5),
    );
}

#[test]
fn without_any_descriptor_the_proxy_waits_and_blames_nobody() {
    let echo = Echo::start("echo");
    let setup = Setup::new()
        .replicas("echo", &[echo.address()])
        .under(&["prlimit", "--nofile=1024:1024"]);
    let mut proxy = Proxy::start(&setup);
    let (mut first, mut second) = (served(proxy.outbound()), served(proxy.outbound()));
    let mut admin = Wire::connect(proxy.admin());
    let page = "GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert_eq!(ask(&mut admin, page).status(), 200);

    // The system's own refusal, below what the proxy reckons with.
    limit(&mut proxy, 10);
    let waiting = crowd(proxy.outbound(), 50);
    let load = load_of(&proxy, Duration::from_secs(2));
    assert!(load < QUIET, "uses {load} of a core");
    assert_eq!(ask(&mut admin, page).status(), 200);
    // Two at once: there is one connection to the endpoint, or two, and a third is not to be had.
    let mut third = Vec::new();
    for _ in 0..20 {
        first.send("GET /?delay=50 HTTP/1.1\r\nhost: echo\r\n\r\n");
        second.send("GET /?delay=50 HTTP/1.1\r\nhost: echo\r\n\r\n");
        third.push(first.read_response());
        third.push(second.read_response());
    }
    for answer in &third {
        let why = answer.head.get("heddle-err");
        match answer.status() {
            200 => assert_eq!(why, None),
            503 => {
                let why = why.expect("the proxy says why");
                assert!(
                    why.starts_with("overloaded") && why.contains("file descriptor"),
                    "{why}"
                );
            }
            status => panic!("{status}: {answer:?}"),
        }
    }
    assert!(third.iter().any(|answer| answer.status() == 200));

    limit(&mut proxy, 1024);
    within(Duration::from_secs(5), "a new client is served", || {
        is_served(proxy.outbound())
    });
    drop(waiting);
    assert!(
        proxy.metric("heddle_refused_total{listener=\"outbound\",reason=\"accept-failed\"}") > 0.0
    );
    assert!(proxy.metric(EJECTED) == 0.0, "no endpoint pays for it");
    let told = lines(&proxy, "accept failed");
    assert!((1..=5).contains(&told), "{told} lines of the log");
}
