//! Header fields that belong to one connection, and those that a proxy adds (RFC 9110, 7.6; RFC 7239).

use crate::support::{GET, NAME, ask, in_front_of};
use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::Scripted;
use heddle_e2e::wire::Head;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// What a server receives when a client sends these fields beside `Host`.
fn received(setup: Setup, fields: &str) -> Option<Head> {
    let server = Scripted::answering(OK);
    let proxy = Proxy::start(&setup.replicas(NAME, &[server.address()]));
    ask(
        &proxy,
        format!("GET / HTTP/1.1\r\nhost: echo\r\n{fields}\r\n"),
    );
    server.requests().first().cloned()
}

#[test]
fn fields_of_the_clients_connection_are_not_passed_on() {
    let fields = "connection: x-secret, x-other\r\nx-secret: 1\r\nX-Other: 2\r\nkeep-alive: timeout=5\r\n\
                  proxy-connection: keep-alive\r\nte: gzip\r\nproxy-authorization: Basic eDp5\r\nx-stays: 3\r\n";
    let head = received(Setup::new(), fields).expect("it is a good request");
    for name in [
        "x-secret",
        "x-other",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "transfer-encoding",
    ] {
        assert_eq!(head.get(name), None, "{name} was passed on");
    }
    assert_eq!(head.get("x-stays").as_deref(), Some("3"));
    assert_ne!(head.get("connection").as_deref(), Some("x-secret, x-other"));
}

#[test]
fn connection_cannot_remove_what_matters() {
    let fields = "connection: close, host, authorization, x-forwarded-for, content-length, cookie\r\n\
                  authorization: Bearer t\r\ncookie: a=b\r\n";
    // Refusing is right as well: such a request is an attack.
    if let Some(head) = received(Setup::new(), fields) {
        assert_eq!(head.get("host").as_deref(), Some("echo"));
        assert_eq!(head.get("authorization").as_deref(), Some("Bearer t"));
        assert_eq!(head.get("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    }
}

#[test]
fn fields_of_the_servers_connection_are_not_passed_back() {
    let server = Scripted::answering(
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: x-internal, keep-alive\r\nX-Internal: 1\r\n\
         keep-alive: timeout=5, max=100\r\nproxy-connection: keep-alive\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\r\n",
    );
    let proxy = in_front_of(server.address());
    let answer = ask(&proxy, GET);
    for name in ["x-internal", "keep-alive", "proxy-connection"] {
        assert_eq!(answer.head.get(name), None, "{name} was passed back");
    }
    assert_eq!(
        answer.head.all("set-cookie"),
        ["a=1", "b=2"],
        "fields of one name stay apart, in order"
    );
}

#[test]
fn the_proxy_says_that_it_was_there() {
    let head = received(Setup::new(), "via: 1.0 front\r\n").expect("it is a good request");
    let via = head.get("via").expect("there is a Via");
    assert!(via.starts_with("1.0 front, 1.1 "), "{via}");
    let server =
        Scripted::answering("HTTP/1.1 200 OK\r\nvia: 1.1 back\r\ncontent-length: 0\r\n\r\n");
    let proxy = in_front_of(server.address());
    let via = ask(&proxy, GET).head.get("via").expect("there is a Via");
    assert!(via.starts_with("1.1 back, 1.1 "), "{via}");
}

#[test]
fn a_stranger_cannot_say_whom_it_speaks_for() {
    let forged = "x-forwarded-for: 1.2.3.4\r\nx-forwarded-proto: https\r\nx-forwarded-host: bank\r\n\
                  forwarded: for=1.2.3.4;proto=https\r\nx-real-ip: 1.2.3.4\r\n";
    let head = received(Setup::new(), forged).expect("it is a good request");
    assert_eq!(head.get("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(head.get("x-forwarded-proto").as_deref(), Some("http"));
    assert_ne!(head.get("x-forwarded-host").as_deref(), Some("bank"));
    let forwarded = head.get("forwarded").unwrap_or_default();
    assert!(!forwarded.contains("1.2.3.4"), "{forwarded}");
}

#[test]
fn a_trusted_caller_may_say_whom_it_speaks_for() {
    let setup = Setup::default().listener("outbound", "trust: [\"127.0.0.0/8\"]");
    let fields = "x-forwarded-for: 1.2.3.4\r\nx-forwarded-proto: https\r\nforwarded: for=1.2.3.4;proto=https\r\n";
    let head = received(setup, fields).expect("it is a good request");
    assert_eq!(
        head.get("x-forwarded-for").as_deref(),
        Some("1.2.3.4, 127.0.0.1")
    );
    assert_eq!(head.get("x-forwarded-proto").as_deref(), Some("https"));
    let forwarded = head.get("forwarded").expect("Forwarded is continued");
    assert!(
        forwarded.starts_with("for=1.2.3.4;proto=https, ") && forwarded.contains("127.0.0.1"),
        "{forwarded}"
    );
}

#[test]
fn two_proxies_in_a_row_both_sign() {
    let echo = Echo::start(NAME);
    let second = in_front_of(echo.address());
    let first = in_front_of(second.outbound());
    let report = ask(&first, GET).json();
    let via = report["headers"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|pair| pair[0] == "via");
    let via = via
        .and_then(|pair| pair[1].as_str())
        .expect("there is a Via");
    assert_eq!(via.split(',').count(), 2, "{via}");
}

#[test]
fn ends_of_messages_are_the_proxys_own() {
    // A server that is spoken to in chunks must not hear of a length as well, nor the other way round.
    let head = received(Setup::new(), "x-a: 1\r\n").expect("it is a good request");
    assert_eq!(head.get("transfer-encoding"), None);
    assert!(
        matches!(head.get("content-length").as_deref(), None | Some("0")),
        "{head:?}"
    );
}
