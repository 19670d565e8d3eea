//! Canaries: shares within sampling error, cohorts that are stable and only grow.

use crate::support::{get, metric};
use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::eventually;
use heddle_e2e::wire::Wire;
use std::collections::BTreeSet;

fn setup(one: &Echo, two: &Echo, share: f64, sticky: &str) -> Setup {
    let spec = format!(
        "{{service: a, rules: [{{match: {{headers: {{x-stage: two}}}}, to: two}}, \
         {{to: [{{service: one, weight: {}}}, {{service: two, weight: {share}}}]{sticky}}}]}}",
        100.0 - share
    );
    Setup::new()
        .replicas("one", &[one.address()])
        .replicas("two", &[two.address()])
        .document("Route", "a", &spec)
}

/// The users of `range` that the proxy sends to the new version.
fn cohort(proxy: &Proxy, users: usize) -> BTreeSet<usize> {
    let mut wire = Wire::connect(proxy.outbound());
    (0..users)
        .filter(|user| {
            wire.send(get("a", "/", &format!("x-user-id: user-{user}\r\n")));
            wire.read_response().json()["server"] == "two"
        })
        .collect()
}

fn change(proxy: &Proxy, setup: &Setup) {
    let before = metric(proxy, "heddle_config_generation", &[]);
    proxy.rewrite(setup);
    eventually("the change applies", || {
        metric(proxy, "heddle_config_generation", &[]) > before
    });
}

#[test]
fn shares_are_what_the_weights_say() {
    let (one, two) = (Echo::start("one"), Echo::start("two"));
    let proxy = Proxy::start(&setup(&one, &two, 5.0, ""));
    let total = 2000;
    for share in [5.0, 50.0, 0.0, 100.0] {
        change(
            &proxy,
            &setup(
                &one,
                &two,
                share,
                ", set: {requestHeaders: {x-share: \"1\"}}",
            ),
        );
        let before = two.requests();
        let mut wire = Wire::connect(proxy.outbound());
        for _ in 0..total {
            wire.send(get("a", "/", ""));
            assert_eq!(wire.read_response().status(), 200);
        }
        let (n, p) = (f64::from(total), share / 100.0);
        let seen = (two.requests() - before) as f64;
        let sigma = (n * p * (1.0 - p)).sqrt();
        assert!(
            (seen - n * p).abs() <= 4.0 * sigma,
            "{share} %: {seen} of {total}"
        );
        if share == 100.0 {
            change(&proxy, &setup(&one, &two, 1.0, ""));
        }
    }
}

#[test]
fn cohorts_are_stable_grow_with_the_weight_and_are_the_same_on_two_proxies() {
    let (one, two) = (Echo::start("one"), Echo::start("two"));
    let by_user = ", stickyBy: \"header:x-user-id\"";
    let first = Proxy::start(&setup(&one, &two, 5.0, by_user));
    let second = Proxy::start(&setup(&one, &two, 5.0, by_user));
    let users = 1000;
    let mut before = BTreeSet::new();
    for share in [5.0, 20.0, 50.0] {
        if share > 5.0 {
            change(&first, &setup(&one, &two, share, by_user));
            change(&second, &setup(&one, &two, share, by_user));
        }
        let now = cohort(&first, users);
        assert_eq!(now, cohort(&first, users), "{share} %: stable");
        assert_eq!(now, cohort(&second, users), "{share} %: the same on both");
        assert!(now.is_superset(&before), "{share} %: nobody leaves");
        let (n, p) = (users as f64, share / 100.0);
        let sigma = (n * p * (1.0 - p)).sqrt();
        assert!(
            (now.len() as f64 - n * p).abs() <= 4.0 * sigma,
            "{share} %: {} users",
            now.len()
        );
        before = now;
    }
}

#[test]
fn staff_reach_the_new_version_by_a_header() {
    let (one, two) = (Echo::start("one"), Echo::start("two"));
    let proxy = Proxy::start(&setup(&one, &two, 0.0, ""));
    let mut wire = Wire::connect(proxy.outbound());
    for (lines, server) in [
        ("x-stage: two\r\n", "two"),
        ("x-stage: 2\r\n", "one"),
        ("", "one"),
    ] {
        wire.send(get("a", "/", lines));
        assert_eq!(wire.read_response().json()["server"], server, "{lines:?}");
    }
}
