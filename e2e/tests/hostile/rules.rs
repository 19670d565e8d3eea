//! What the guard does on a connection, beside refusing.

use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::{Scripted, eventually};
use heddle_e2e::wire::Wire;
use libtest_mimic::Trial;

const NAME: &str = "echo";

pub(crate) fn trials() -> Vec<Trial> {
    let all: [(&str, fn()); 7] = [
        ("requests_before_a_refused_one_are_answered", before),
        ("a_refused_body_is_broken_off", body),
        ("a_late_head_is_answered_with_408", late_head),
        ("a_body_that_stands_still_is_answered_with_408", still),
        ("refused_callers_that_stay_hold_nobody_up", stay),
        ("bytes_behind_a_declined_upgrade_are_guarded", upgrade),
        ("requests_in_a_tunnel_are_guarded", tunnel),
    ];
    all.into_iter()
        .map(|(name, run)| {
            Trial::test(name, move || {
                run();
                Ok(())
            })
        })
        .collect()
}

fn proxy(echo: &Echo, limits: &str) -> Proxy {
    let setup = Setup::new().listener("outbound", &format!("limits: {{{limits}}}"));
    Proxy::start(&setup.replicas(NAME, &[echo.address()]))
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: {NAME}\r\n\r\n")
}

fn counted(proxy: &Proxy, reason: &str) -> bool {
    let metrics = proxy.ask_admin("/metrics").text();
    metrics.lines().any(|line| {
        line.starts_with("heddle_refused_total")
            && line.contains(&format!("reason=\"{reason}\""))
            && line.ends_with(" 1")
    })
}

fn before() {
    let echo = Echo::start(NAME);
    let proxy = proxy(&echo, "");
    let mut wire = Wire::connect(proxy.outbound());
    let bad = format!("GET /bad HTTP/1.1\r\nhost: {NAME}\r\nhost: {NAME}\r\n\r\n");
    wire.send([get("/1?delay=100"), get("/2"), bad, get("/3")].concat());
    for target in ["/1?delay=100", "/2"] {
        assert_eq!(wire.read_response().json()["target"], target);
    }
    let answer = wire.read_response();
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.head.get("connection").as_deref(), Some("close"));
    let why = answer.head.get("heddle-err").expect("it says why");
    assert!(why.starts_with("refused") && why.contains("Host"), "{why}");
    wire.expect_end();
    assert_eq!(echo.requests(), 2);
    assert!(counted(&proxy, "host"));
}

fn body() {
    let server = Scripted::start(|mut guest| {
        if guest.request_head().is_some() {
            let (rest, _) = guest.wire.read_to_end();
            // Neither the last chunk nor what stands behind it.
            let rest = String::from_utf8_lossy(&rest).into_owned();
            guest.record_text(&rest);
        }
    });
    let proxy = Proxy::start(&Setup::new().replicas(NAME, &[server.address()]));
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(format!(
        "POST / HTTP/1.1\r\nhost: {NAME}\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"
    ));
    eventually("the request arrives", || server.requests().len() == 1);
    wire.send("5 \r\nworld\r\n0\r\n\r\n");
    let answer = wire.read_response();
    assert_eq!(answer.status(), 400);
    wire.expect_end();
    eventually("the server sees the end", || server.texts().len() == 1);
    let texts = server.texts();
    assert!(
        texts[0].contains("hello")
            && !texts[0].contains("world")
            && !texts[0].contains("0\r\n\r\n"),
        "{texts:?}"
    );
    assert!(counted(&proxy, "chunk"));
}

fn late_head() {
    let echo = Echo::start(NAME);
    let proxy = proxy(&echo, "headerTimeout: 300ms");
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(get("/"));
    assert_eq!(wire.read_response().status(), 200);
    wire.send(format!("GET / HTTP/1.1\r\nhost: {NAME}\r\nx-slow: "));
    assert_eq!(wire.read_response().status(), 408);
    wire.expect_end();
    assert_eq!(echo.requests(), 1);
    assert!(counted(&proxy, "header-timeout"));
}

fn still() {
    let echo = Echo::start(NAME);
    let proxy = proxy(&echo, "bodyTimeout: 300ms");
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(format!(
        "POST / HTTP/1.1\r\nhost: {NAME}\r\ncontent-length: 10\r\n\r\nhello"
    ));
    assert_eq!(wire.read_response().status(), 408);
    wire.expect_end();
    eventually("the server is told", || echo.open() == 0);
    assert!(counted(&proxy, "body-timeout"));
    // One that waits for its answer stands still as well, and is left alone.
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(get("/?delay=1500"));
    assert_eq!(wire.read_response().status(), 200);
}

/// Longer than a connection needs to be let rest, and than one lingers after its last answer.
fn stay() {
    let echo = Echo::start(NAME);
    let proxy = proxy(&echo, "headerTimeout: 300ms");
    let chunked = format!("POST / HTTP/1.1\r\nhost: {NAME}\r\ntransfer-encoding: chunked\r\n\r\n");
    let cases = [
        (
            format!("GET / HTTP/1.1\r\nhost: {NAME}\r\nx : y\r\n\r\n"),
            400,
        ),
        (format!("{chunked}5\r\nhello\r\n5 \r\n"), 400),
        (format!("GET / HTTP/1.1\r\nhost: {NAME}\r\nx-slow: "), 408),
        // Answered before its body has come.
        (
            "POST / HTTP/1.1\r\nhost: nobody\r\ncontent-length: 100000\r\n\r\nhello".to_owned(),
            404,
        ),
    ];
    let stay: Vec<_> = cases
        .iter()
        .map(|(message, status)| {
            let mut wire = Wire::connect(proxy.outbound());
            wire.send(message);
            assert_eq!(wire.read_response().status(), *status, "{message}");
            wire
        })
        .collect();
    for _ in 0..2 {
        // One for each worker, and more.
        let mut others: Vec<_> = (0..8).map(|_| Wire::connect(proxy.outbound())).collect();
        for wire in &mut others {
            wire.send(get("/?delay=1500"));
        }
        for wire in &mut others {
            assert_eq!(wire.read_response().status(), 200);
        }
    }
    drop(stay);
}

fn upgrade() {
    let echo = Echo::start(NAME);
    let proxy = proxy(&echo, "");
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(format!(
        "GET /1 HTTP/1.1\r\nhost: {NAME}\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nGET /2 HTTP/1.1\r\nhost: {NAME}\r\nx : y\r\n\r\n"
    ));
    assert_eq!(wire.read_response().json()["target"], "/1");
    assert_eq!(wire.read_response().status(), 400);
    wire.expect_end();
    assert_eq!(echo.requests(), 1);
}

fn tunnel() {
    let echo = Echo::start(NAME);
    let proxy = proxy(&echo, "");
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(format!(
        "CONNECT {NAME}:80 HTTP/1.1\r\nhost: {NAME}:80\r\n\r\n"
    ));
    assert_eq!(wire.read_head().status(), 200);
    wire.send([get("/1"), get("/2")].concat());
    assert_eq!(wire.read_response().json()["target"], "/1");
    assert_eq!(wire.read_response().json()["target"], "/2");
    wire.send(format!(
        "POST / HTTP/1.1\r\nhost: {NAME}\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    ));
    assert_eq!(wire.read_response().status(), 400);
    wire.expect_end();
    assert_eq!(echo.requests(), 2);
}
