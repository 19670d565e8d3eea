//! Who ended a request or a connection that has no answer: `end`, `error`, `refusal` and `timer` of the access log.

use crate::support::{lines, log_of, logging};
use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::{Scripted, eventually, within};
use heddle_e2e::wire::Wire;
use serde_json::{Value, json};
use std::time::Duration;

/// Waits for the first line, and compares.
fn expect(proxy: &Proxy, fields: &[(&str, Value)]) {
    within(Duration::from_secs(20), "a line", || {
        !lines(&log_of(proxy)).is_empty()
    });
    let line = &lines(&log_of(proxy))[0];
    for (field, value) in fields {
        assert_eq!(&line[*field], value, "{field} in {line}");
    }
}

fn refused(class: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("status", Value::Null),
        ("error", json!("refused")),
        ("refusal", json!(class)),
        ("end", json!("proxy")),
        ("caller", json!("127.0.0.1")),
    ]
}

pub(crate) fn a_head_of_an_unknown_protocol_that_does_not_come() {
    let proxy = Proxy::start(
        &Setup::default()
            .top("accessLog: {file: ./access.log}")
            .listener("outbound", "limits: {headerTimeout: 200ms}"),
    );
    let mut wire = Wire::connect(proxy.outbound());
    wire.send("PRI * HTT");
    wire.read_to_end();
    let mut fields = refused("header-timeout");
    fields.push(("timer", json!("header")));
    fields.push(("protocol", Value::Null));
    expect(&proxy, &fields);
}

pub(crate) fn a_connection_too_many() {
    let echo = Echo::start("echo");
    let setup = Setup::default()
        .top("accessLog: {file: ./access.log}")
        .listener("outbound", "limits: {connections: 1}")
        .replicas("echo", &[echo.address()]);
    let proxy = Proxy::start(&setup);
    let mut first = Wire::connect(proxy.outbound());
    first.send("GET / HTTP/1.1\r\nhost: echo\r\n\r\n");
    assert_eq!(first.read_response().status(), 200);
    within(Duration::from_secs(20), "its line", || {
        lines(&log_of(&proxy)).len() == 1
    });
    Wire::connect(proxy.outbound()).read_to_end();
    within(Duration::from_secs(20), "a line", || {
        lines(&log_of(&proxy)).len() == 2
    });
    let line = &lines(&log_of(&proxy))[1];
    assert_eq!(
        (&line["error"], &line["refusal"], &line["end"]),
        (
            &json!("overloaded"),
            &json!("too-many-connections"),
            &json!("proxy")
        ),
        "{line}"
    );
}

pub(crate) fn a_connection_that_floods() {
    let proxy = Proxy::start(&logging());
    let mut wire = Wire::connect(proxy.outbound());
    wire.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    // PING frames, which ask for as many answers.
    let ping = b"\0\0\x08\x06\0\0\0\0\0abcdefgh";
    for _ in 0..200 {
        if !wire.try_send(ping.repeat(100)) {
            break;
        }
    }
    let mut fields = refused("h2-ping");
    fields.push(("protocol", json!("http/2")));
    expect(&proxy, &fields);
}

pub(crate) fn a_reset_on_purpose() {
    let echo = Echo::start("echo");
    let setup = logging().replicas("echo", &[echo.address()]).document(
        "Fault",
        "echo",
        "{service: echo, percent: 100, reset: true, until: 10m}",
    );
    let proxy = Proxy::start(&setup);
    let mut wire = Wire::connect(proxy.outbound());
    wire.send("GET / HTTP/1.1\r\nhost: echo\r\n\r\n");
    wire.read_to_end();
    expect(
        &proxy,
        &[
            ("status", Value::Null),
            ("error", json!("fault")),
            ("reason", json!("injected by Fault default/echo")),
            ("end", json!("proxy")),
        ],
    );
}

pub(crate) fn a_body_that_stops_behind_the_head_of_the_answer() {
    // It answers at once, and takes the body all the same.
    let early = Scripted::start(|mut guest| {
        guest.request_head();
        guest
            .wire
            .send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab");
        guest.hold();
    });
    let setup = Setup::default()
        .top("accessLog: {file: ./access.log}")
        .listener("outbound", "limits: {bodyTimeout: 300ms}")
        .replicas("early", &[early.address()]);
    let proxy = Proxy::start(&setup);
    let mut wire = Wire::connect(proxy.outbound());
    wire.send("POST / HTTP/1.1\r\nhost: early\r\ncontent-length: 9\r\n\r\nabc");
    assert_eq!(wire.read_head().status(), 200);
    wire.read_to_end();
    expect(
        &proxy,
        &[
            ("status", json!(200)),
            ("refusal", json!("body-timeout")),
            ("timer", json!("body")),
            ("end", json!("proxy")),
        ],
    );
}

pub(crate) fn requests_that_a_drain_cuts_off() {
    let silent = Scripted::silent();
    let setup = logging()
        .top("drain: 200ms")
        .replicas("echo", &[silent.address()]);
    let mut proxy = Proxy::start(&setup);
    let mut wire = Wire::connect(proxy.outbound());
    wire.send("GET / HTTP/1.1\r\nhost: echo\r\n\r\n");
    eventually("it waits", || silent.connections() > 0);
    proxy.process().signal("TERM");
    wire.read_to_end();
    expect(
        &proxy,
        &[
            ("status", Value::Null),
            ("timer", json!("drain")),
            ("end", json!("proxy")),
        ],
    );
}
