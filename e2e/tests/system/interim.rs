//! `Expect: 100-continue` and other interim responses (RFC 9110, 10.1.1 and 15.2).

use crate::support::{GET, in_front_of};
use heddle_e2e::script::{Scripted, eventually};
use heddle_e2e::wire::Wire;
use std::time::Duration;

const EXPECTING: &str =
    "POST / HTTP/1.1\r\nhost: echo\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n";

#[test]
fn a_client_that_waits_for_the_go_ahead_gets_it() {
    let server = Scripted::start(|mut guest| {
        let head = guest.request_head().expect("a request comes");
        guest.wire.send("HTTP/1.1 100 Continue\r\n\r\n");
        let request = guest.wire.read_rest(head, "");
        guest.wire.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
            request.body.len()
        ));
        guest.wire.send(request.body);
    });
    let proxy = in_front_of(server.address());
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(EXPECTING);
    assert_eq!(wire.read_message("POST").status(), 100);
    wire.send("hello");
    let answer = wire.read_message("POST");
    assert_eq!((answer.status(), answer.text()), (200, "hello".into()));
}

#[test]
fn a_server_that_refuses_at_once_spares_the_body() {
    let server = Scripted::start(|mut guest| {
        guest.request_head();
        guest.wire.send(
            "HTTP/1.1 417 Expectation Failed\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno",
        );
        guest.wire.finish();
        guest.wire.read_to_end();
    });
    let proxy = in_front_of(server.address());
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(EXPECTING);
    let answer = wire.read_message("POST");
    assert_eq!(
        (answer.status(), answer.text()),
        (417, "no".into()),
        "the go-ahead was the proxy's own"
    );
    assert!(
        server.requests()[0].get("expect").is_some(),
        "the server could not know"
    );
}

#[test]
fn a_client_that_does_not_wait_is_served_too() {
    let server = Scripted::start(|mut guest| {
        let request = guest.request();
        guest.wire.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{}",
            request.body.len()
        ));
    });
    let proxy = in_front_of(server.address());
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(EXPECTING);
    wire.send("hello");
    assert_eq!(wire.read_response().text(), "5");
}

#[test]
fn an_unknown_expectation_is_refused() {
    let server = Scripted::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let proxy = in_front_of(server.address());
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(
        "POST / HTTP/1.1\r\nhost: echo\r\ncontent-length: 0\r\nexpect: 100-continues\r\n\r\n",
    );
    assert_eq!(wire.read_response().status(), 417);
    assert!(server.requests().is_empty());
}

#[test]
fn early_hints_pass_before_the_answer() {
    let server = Scripted::start(|mut guest| {
        guest.request();
        guest
            .wire
            .send("HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n");
        std::thread::sleep(Duration::from_millis(50));
        guest
            .wire
            .send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        guest.hold();
    });
    let proxy = in_front_of(server.address());
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(GET);
    let hints = wire.read_message("GET");
    assert_eq!(hints.status(), 103);
    assert_eq!(
        hints.head.get("link").as_deref(),
        Some("</a.css>; rel=preload")
    );
    assert_eq!(wire.read_message("GET").text(), "ok");
}

#[test]
fn many_interim_responses_do_no_harm() {
    let server = Scripted::start(|mut guest| {
        while guest.request_head().is_some() {
            for _ in 0..20 {
                guest.wire.send("HTTP/1.1 102 Processing\r\n\r\n");
            }
            guest
                .wire
                .send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let proxy = in_front_of(server.address());
    let mut wire = Wire::connect(proxy.outbound());
    for _ in 0..3 {
        wire.send(GET);
        assert_eq!(wire.read_response().text(), "ok");
    }
    eventually("all requests arrive", || server.requests().len() == 3);
}
