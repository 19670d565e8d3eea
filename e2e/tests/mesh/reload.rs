//! Configuration changes under traffic: none is noticed, and none that is wrong applies.

use crate::support::{ask, get, metric, post};
use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::eventually;
use heddle_e2e::wire::Wire;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

fn setup(one: &Echo, two: &Echo, share: u32, extra: bool) -> Setup {
    let spec = format!(
        "{{service: a, rules: [{{to: [{{service: one, weight: {}}}, {{service: two, weight: {share}}}]}}]}}",
        100 - share
    );
    let setup = Setup::new()
        .replicas("one", &[one.address()])
        .replicas("two", &[two.address(), one.address()])
        .document("Route", "a", &spec);
    if extra {
        setup.replicas("three", &[two.address()])
    } else {
        setup
    }
}

#[test]
fn a_hundred_reloads_lose_no_request() {
    let (one, two) = (Echo::start("one"), Echo::start("two"));
    let proxy = Proxy::start(&setup(&one, &two, 1, false));
    let stop = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicUsize::new(0));
    let address = proxy.outbound();
    let callers: Vec<_> = (0..4)
        .map(|number| {
            let (stop, sent) = (stop.clone(), sent.clone());
            std::thread::spawn(move || {
                let mut wire = Wire::connect(address);
                while !stop.load(Ordering::Relaxed) {
                    let request = if number % 2 == 0 {
                        get("a", "/", "")
                    } else {
                        post("a", "/", "")
                    };
                    wire.send(request);
                    let answer = wire.read_response();
                    assert_eq!(answer.status(), 200, "{answer:?}");
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let reloads = 100;
    for number in 0..reloads {
        let before = metric(&proxy, "heddle_config_generation", &[]);
        proxy.rewrite(&setup(&one, &two, 1 + number % 99, number % 2 == 0));
        eventually("the change applies", || {
            metric(&proxy, "heddle_config_generation", &[]) > before
        });
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.join().expect("no request failed");
    }
    let sent = sent.load(Ordering::Relaxed);
    assert!(sent > 2000, "only {sent} requests passed meanwhile");
}

#[test]
fn a_bad_change_keeps_the_last_good_one_and_says_so() {
    let (one, two) = (Echo::start("one"), Echo::start("two"));
    let good = setup(&one, &two, 0, false);
    let proxy = Proxy::start(&good);
    proxy.rewrite(&Setup::new().replicas("one", &[one.address()]).document(
        "Route",
        "a",
        "{service: a, rules: [{to: one}], timeout: soon}",
    ));
    eventually("the refusal is shown", || {
        proxy.ask_admin("/config").text().contains("HED206")
    });
    assert_eq!(ask(proxy.outbound(), get("a", "/", "")).status(), 200);
    assert_eq!(metric(&proxy, "heddle_config_generation", &[]), 1.0);
    proxy.rewrite(&setup(&one, &two, 100, false));
    eventually("the mended file applies", || {
        metric(&proxy, "heddle_config_generation", &[]) >= 2.0
    });
    assert!(!proxy.ask_admin("/config").text().contains("HED206"));
}

#[test]
fn a_file_that_is_empty_or_gone_for_a_moment_changes_nothing() {
    let (one, two) = (Echo::start("one"), Echo::start("two"));
    let proxy = Proxy::start(&setup(&one, &two, 0, false));
    let file = proxy.folder().join("heddle.yaml");
    let text = std::fs::read(&file).expect("it is there");
    for number in 0..6 {
        match number % 3 {
            0 => std::fs::write(&file, "").expect("writable"),
            1 => std::fs::remove_file(&file).expect("removable"),
            _ => std::fs::write(&file, &text[..text.len() / 2]).expect("writable"),
        }
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(ask(proxy.outbound(), get("a", "/", "")).status(), 200);
        std::fs::write(&file, &text).expect("writable");
        std::thread::sleep(Duration::from_millis(150));
    }
    assert_eq!(ask(proxy.outbound(), get("a", "/", "")).status(), 200);
}

#[test]
fn a_drain_finishes_what_is_in_flight_and_refuses_what_is_new() {
    let echo = Echo::start("echo");
    let mut proxy = Proxy::start(&Setup::new().replicas("a", &[echo.address()]));
    let address = proxy.outbound();
    let mut slow = Wire::connect(address);
    slow.send(get("a", "/?delay=1500", ""));
    let mut idle = Wire::connect(address);
    idle.send(get("a", "/", ""));
    idle.read_response();
    eventually("the slow request arrived", || echo.open() == 1);
    proxy.process().signal("TERM");
    eventually("new connections are refused", || {
        std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err()
    });
    idle.expect_end();
    let answer = slow.read_response();
    assert_eq!(answer.status(), 200);
    assert_eq!(proxy.process().wait(Duration::from_secs(10)), Some(0));
}
