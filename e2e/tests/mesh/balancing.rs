//! Which replica: shares, affinity, nearness, slow replicas, caps.

use crate::support::{ask, endpoint, get, kind, metric};
use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::{Scripted, eventually};
use heddle_e2e::wire::Wire;
use std::collections::BTreeMap;
use std::time::Duration;

/// Requests by server, over one connection; `lines` are header lines that depend on the number.
fn tally(proxy: &Proxy, count: usize, lines: impl Fn(usize) -> String) -> BTreeMap<String, usize> {
    let mut wire = Wire::connect(proxy.outbound());
    let mut seen = BTreeMap::new();
    for number in 0..count {
        wire.send(get("a", "/", &lines(number)));
        let server = wire.read_response().json()["server"].clone();
        *seen
            .entry(server.as_str().expect("a name").to_owned())
            .or_insert(0) += 1;
    }
    seen
}

fn echoes(names: &[&str]) -> Vec<Echo> {
    names.iter().map(|name| Echo::start(name)).collect()
}

/// A proxy with the endpoints written as they are, and a balancer.
fn proxy(endpoints: &[String], balancer: &str) -> Proxy {
    let cluster = format!("{{endpoints: [{}]}}", endpoints.join(", "));
    let route = format!("{{service: a, rules: [{{to: a}}], balancer: {balancer}}}");
    Proxy::start(
        &Setup::new()
            .top("locality: {zone: near}")
            .document("Cluster", "a", &cluster)
            .document("Route", "a", &route),
    )
}

#[test]
fn in_turn_and_by_weight() {
    let echoes = echoes(&["one", "two"]);
    let (one, two) = (echoes[0].address(), echoes[1].address());
    let even = proxy(
        &[format!("\"{one}\""), format!("\"{two}\"")],
        "{kind: round-robin, slowStart: 0s}",
    );
    let seen = tally(&even, 200, |_| String::new());
    // Two workers have each a turn of their own.
    assert!(
        seen.values().all(|count| (98..=102).contains(count)),
        "{seen:?}"
    );
    let heavy = proxy(
        &[format!("\"{one}\""), format!("\"{two} * 3\"")],
        "{kind: p2c-least-loaded, slowStart: 0s}",
    );
    let seen = tally(&heavy, 2000, |_| String::new());
    let share = seen["two"] as f64 / 2000.0;
    assert!((0.70..0.80).contains(&share), "weight 3 of 4 got {share}");
}

#[test]
fn a_key_stays_with_its_replica() {
    let echoes = echoes(&["one", "two", "three", "four"]);
    let written: Vec<String> = echoes
        .iter()
        .map(|echo| format!("\"{}\"", echo.address()))
        .collect();
    for (by, line) in [
        ("header:x-user", "x-user: u"),
        ("cookie:session", "cookie: a=b; session=u"),
    ] {
        let balancer = format!("{{kind: ring-hash, by: \"{by}\", slowStart: 0s}}");
        let few = proxy(&written[..3], &balancer);
        let all = proxy(&written, &balancer);
        let mut moved = 0;
        for user in 0..100 {
            let lines = |_| format!("{line}{user}\r\n");
            let first = tally(&few, 3, lines);
            assert_eq!(first.len(), 1, "{by}: user {user} went to {first:?}");
            moved += usize::from(tally(&all, 1, lines).keys().next() != first.keys().next());
        }
        assert!(
            (5..=50).contains(&moved),
            "{by}: a fourth replica moved {moved} of 100 users"
        );
    }
}

#[test]
fn near_replicas_first_and_far_ones_when_they_are_gone() {
    let far = Echo::start("far");
    let near = Echo::start("near");
    let endpoints = [
        format!("{{address: \"{}\", zone: near}}", near.address()),
        format!("{{address: \"{}\", zone: elsewhere}}", far.address()),
    ];
    let proxy = proxy(&endpoints, "{kind: p2c-peak-ewma, slowStart: 0s}");
    let seen = tally(&proxy, 200, |_| String::new());
    assert!(seen["near"] >= 190, "{seen:?}");
    drop(near);
    let seen = tally(&proxy, 50, |_| String::new());
    assert_eq!(seen.get("far"), Some(&50), "{seen:?}");
}

#[test]
fn a_replica_that_becomes_slow_loses_its_share() {
    let quick: Vec<Echo> = echoes(&["one", "two"]);
    let slow = Scripted::start(|mut guest| {
        while guest.request_head().is_some() {
            std::thread::sleep(Duration::from_millis(400));
            guest
                .wire
                .send("HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n{\"server\":\"slow\"}");
        }
    });
    let mut addresses = vec![slow.address()];
    addresses.extend(quick.iter().map(Echo::address));
    let proxy = Proxy::start(&Setup::new().replicas("a", &addresses));
    tally(&proxy, 100, |_| String::new());
    let seen = tally(&proxy, 1000, |_| String::new());
    let share = *seen.get("slow").unwrap_or(&0) as f64 / 1000.0;
    assert!(
        share < 0.2 / 3.0,
        "the slow replica still has {share} of the traffic"
    );
}

#[test]
fn statistics_survive_a_change_of_the_set() {
    let echoes = echoes(&["one", "two", "three"]);
    let addresses: Vec<_> = echoes.iter().map(Echo::address).collect();
    let proxy = Proxy::start(&Setup::new().replicas("a", &addresses[..2]));
    tally(&proxy, 50, |_| String::new());
    let before = endpoint(&proxy, addresses[0])["requests"]
        .as_u64()
        .expect("a count");
    proxy.rewrite(&Setup::new().replicas("a", &addresses));
    eventually("the third is known", || {
        ask(proxy.outbound(), get("a", "/", ""));
        proxy
            .ask_admin("/clusters?format=json")
            .text()
            .contains(&addresses[2].to_string())
    });
    assert!(
        endpoint(&proxy, addresses[0])["requests"]
            .as_u64()
            .expect("a count")
            >= before
    );
    assert!(endpoint(&proxy, addresses[0])["ewmaMs"].is_number());
}

#[test]
fn caps_refuse_fast() {
    let silent = Scripted::silent();
    for (pool, reason) in [
        ("{maxRequests: 2}", "requests"),
        ("{maxConnections: 2}", "connections"),
    ] {
        let spec = format!("{{service: a, rules: [{{to: a}}], pool: {pool}}}");
        let proxy = Proxy::start(
            &Setup::new()
                .replicas("a", &[silent.address()])
                .document("Route", "a", &spec),
        );
        let held: Vec<Wire> = (0..2)
            .map(|_| {
                let mut wire = Wire::connect(proxy.outbound());
                wire.send(get("a", "/", ""));
                wire
            })
            .collect();
        eventually("two are in flight", || {
            metric(&proxy, "heddle_attempts_in_flight", &[]) >= 2.0
        });
        let answer = ask(proxy.outbound(), get("a", "/", ""));
        assert_eq!(
            (answer.status(), kind(&answer).as_str()),
            (503, "overloaded"),
            "{reason}"
        );
        assert!(
            metric(&proxy, "heddle_upstream_refused_total", &[reason]) >= 1.0,
            "{reason} is counted"
        );
        drop(held);
    }
}

#[test]
fn faults_happen_as_written_and_end() {
    let echo = Echo::start("a");
    let fault = "{service: a, match: {headers: {x-chaos: \"1\"}}, percent: 100, delay: 100ms, abort: {status: 418}, until: 3s}";
    let proxy = Proxy::start(
        &Setup::new()
            .replicas("a", &[echo.address()])
            .document("Fault", "f", fault),
    );
    let chaos = get("a", "/", "x-chaos: 1\r\n");
    let answer = ask(proxy.outbound(), &chaos);
    assert_eq!((answer.status(), kind(&answer).as_str()), (418, "fault"));
    assert_eq!(
        ask(proxy.outbound(), get("a", "/", "")).status(),
        200,
        "others are spared"
    );
    eventually("the fault ends", || {
        ask(proxy.outbound(), &chaos).status() == 200
    });
    assert!(metric(&proxy, "heddle_faults_injected_total", &[]) >= 1.0);
}
