//! The fixtures against each other, without a proxy: what fails here is not the proxy's fault.

use heddle_e2e::echo::{Echo, checksum, pattern};
use heddle_e2e::script::{Scripted, eventually};
use heddle_e2e::wire::{Ending, Wire};
use std::time::Duration;

#[test]
fn an_echo_server_reports_what_arrived() {
    let echo = Echo::start("one");
    let mut wire = Wire::connect(echo.address());
    wire.send("POST /a?x=1 HTTP/1.1\r\nHost: h\r\nX-B: 2\r\ntransfer-encoding: chunked\r\n\r\n");
    wire.send("3\r\nabc\r\n2\r\nde\r\n0\r\nx-end: yes\r\n\r\n");
    let answer = wire.read_response();
    let report = answer.json();
    assert_eq!(report["server"], "one");
    assert_eq!(report["method"], "POST");
    assert_eq!(report["target"], "/a?x=1");
    assert_eq!(report["bodyBytes"], 5);
    assert_eq!(report["bodySum"], checksum(0, b"abcde"));
    assert_eq!(report["trailers"], serde_json::json!([["x-end", "yes"]]));
    assert_eq!(
        (echo.connections(), echo.requests(), echo.open()),
        (1, 1, 0)
    );
}

#[test]
fn an_echo_server_obeys_the_query() {
    let echo = Echo::start("one");
    let mut wire = Wire::connect(echo.address());
    wire.send("GET /?status=503&bytes=70000&header=x-a:b HTTP/1.1\r\nhost: h\r\n\r\n");
    let answer = wire.read_response();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.head.get("x-a").as_deref(), Some("b"));
    assert_eq!(answer.body, pattern(0, 70_000));
    wire.send("GET /?bytes=10&trailers=1 HTTP/1.1\r\nhost: h\r\nte: trailers\r\n\r\n");
    let answer = wire.read_response();
    assert_eq!(
        answer.trailers,
        [
            ("x-trailer".into(), "end".into()),
            ("x-bytes".into(), "10".into())
        ]
    );
}

#[test]
fn an_echo_server_notices_who_leaves() {
    let echo = Echo::start("one");
    let mut wire = Wire::connect(echo.address());
    wire.send("GET /?delay=9000 HTTP/1.1\r\nhost: h\r\n\r\n");
    eventually("the request arrives", || echo.open() == 1);
    drop(wire);
    eventually("the request is given up", || {
        echo.cancelled() == 1 && echo.open() == 0
    });
}

#[test]
fn scripted_servers_follow_their_script() {
    let get = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";
    let half = Scripted::half_answering(true);
    let mut wire = Wire::connect(half.address());
    wire.send(get);
    assert_eq!(wire.read_head().status(), 200);
    assert_eq!(wire.read_to_end(), (b"0123456789".to_vec(), Ending::Reset));

    let reset = Scripted::resetting_after_request();
    let mut wire = Wire::connect(reset.address());
    wire.send(get);
    assert_eq!(wire.expect_end(), Ending::Reset);
    assert_eq!((reset.connections(), reset.requests().len()), (1, 1));

    let idle = Scripted::closing_idle(Duration::from_millis(10));
    let mut wire = Wire::connect(idle.address());
    wire.send(get);
    assert_eq!(wire.read_response().text(), "ok");
    assert_eq!(wire.expect_end(), Ending::Closed);

    let silent = Scripted::silent();
    let mut wire = Wire::connect(silent.address());
    wire.send(get);
    assert!(wire.is_quiet_for(Duration::from_millis(50)));
}
