//! HTTP/1.1 as RFC 9112 has it.

use crate::support::{GET, NAME, ask, get, in_front_of};
use heddle_e2e::echo::{Echo, checksum, pattern};
use heddle_e2e::script::Scripted;
use heddle_e2e::wire::{Ending, Wire};

#[test]
fn connections_are_kept_alive_on_both_sides() {
    let echo = Echo::start(NAME);
    let proxy = in_front_of(echo.address());
    let mut wire = Wire::connect(proxy.outbound());
    for number in 0..20 {
        wire.send(get(&format!("/{number}")));
        assert_eq!(wire.read_response().json()["target"], format!("/{number}"));
    }
    assert_eq!((echo.requests(), echo.connections()), (20, 1));
}

#[test]
fn a_client_that_asks_to_close_is_obeyed() {
    let echo = Echo::start(NAME);
    let proxy = in_front_of(echo.address());
    for round in 0..3 {
        let mut wire = Wire::connect(proxy.outbound());
        wire.send("GET / HTTP/1.1\r\nhost: echo\r\nconnection: close\r\n\r\n");
        let answer = wire.read_response();
        assert_eq!(answer.status(), 200, "round {round}");
        assert_eq!(answer.head.get("connection").as_deref(), Some("close"));
        assert_eq!(wire.expect_end(), Ending::Closed);
    }
}

#[test]
fn a_server_that_closes_does_not_close_the_client() {
    let server = Scripted::start(|mut guest| {
        guest.request();
        guest
            .wire
            .send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok");
    });
    let proxy = in_front_of(server.address());
    let mut wire = Wire::connect(proxy.outbound());
    for _ in 0..3 {
        wire.send(GET);
        let answer = wire.read_response();
        assert_eq!((answer.status(), answer.text()), (200, "ok".into()));
        assert_ne!(answer.head.get("connection").as_deref(), Some("close"));
    }
    assert_eq!(server.connections(), 3);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let echo = Echo::start(NAME);
    let proxy = in_front_of(echo.address());
    let mut wire = Wire::connect(proxy.outbound());
    let targets = ["/a?delay=150", "/b", "/c?delay=30", "/d"];
    wire.send(targets.map(get).concat());
    for target in targets {
        assert_eq!(wire.read_response().json()["target"], target);
    }
    assert_eq!(echo.requests(), 4);
}

#[test]
fn a_pipelined_request_after_a_body_is_not_lost() {
    let echo = Echo::start(NAME);
    let proxy = in_front_of(echo.address());
    let mut wire = Wire::connect(proxy.outbound());
    let post = "POST /first HTTP/1.1\r\nhost: echo\r\ncontent-length: 5\r\n\r\nhello";
    wire.send([post, &get("/second")].concat());
    assert_eq!(wire.read_response().json()["bodyBytes"], 5);
    assert_eq!(wire.read_response().json()["target"], "/second");
}

#[test]
fn chunked_bodies_pass_both_ways_with_their_trailers() {
    let server = Scripted::start(|mut guest| {
        let request = guest.request();
        guest.record_text(&String::from_utf8_lossy(&request.body));
        guest
            .wire
            .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n");
        guest
            .wire
            .send("3\r\nabc\r\n1\r\nd\r\n0\r\nx-sum: 42\r\n\r\n");
    });
    let proxy = in_front_of(server.address());
    let mut wire = Wire::connect(proxy.outbound());
    wire.send("POST / HTTP/1.1\r\nhost: echo\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\nte: trailers\r\n");
    wire.send("connection: te\r\n\r\n5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nx-end: yes\r\n\r\n");
    let answer = wire.read_response();
    assert_eq!(answer.text(), "abcd");
    assert_eq!(server.texts(), ["hello world"]);
    assert_eq!(answer.trailers, [("x-sum".into(), "42".into())]);
    let head = &server.requests()[0];
    assert_eq!(
        head.get("transfer-encoding").as_deref(),
        Some("chunked"),
        "{head:?}"
    );
    assert_eq!(head.get("content-length"), None);
}

#[test]
fn trailers_of_a_request_arrive() {
    let echo = Echo::start(NAME);
    let proxy = in_front_of(echo.address());
    let request = "POST / HTTP/1.1\r\nhost: echo\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\n\r\n\
                   5\r\nhello\r\n0\r\nx-end: yes\r\n\r\n";
    let report = ask(&proxy, request).json();
    assert_eq!(report["bodyBytes"], 5);
    assert_eq!(report["trailers"], serde_json::json!([["x-end", "yes"]]));
}

#[test]
fn bodies_arrive_as_they_were_sent() {
    let echo = Echo::start(NAME);
    let proxy = in_front_of(echo.address());
    let mut wire = Wire::connect(proxy.outbound());
    for size in [0, 1, 1000, 65_535, 65_536, 65_537, 1_000_000] {
        let body = pattern(0, size);
        wire.send(format!(
            "PUT / HTTP/1.1\r\nhost: echo\r\ncontent-length: {size}\r\n\r\n"
        ));
        wire.send(&body);
        let report = wire.read_response().json();
        assert_eq!(
            (&report["bodyBytes"], &report["bodySum"]),
            (&size.into(), &checksum(0, &body).into())
        );
        wire.send(get(&format!("/?bytes={size}&length=1")));
        let answer = wire.read_response();
        assert_eq!(answer.head.get("content-length"), Some(size.to_string()));
        assert!(answer.body == body, "{size} bytes came back altered");
        wire.send(get(&format!("/?bytes={size}")));
        assert!(
            wire.read_response().body == body,
            "{size} bytes in chunks came back altered"
        );
    }
    assert_eq!(echo.connections(), 1);
}

#[test]
fn answers_without_a_body_leave_the_connection_usable() {
    let cases = [
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n",
            200,
            Some("1234"),
        ),
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            200,
            None,
        ),
        (
            "GET",
            "HTTP/1.1 204 No Content\r\nx-a: b\r\n\r\n",
            204,
            None,
        ),
        (
            "GET",
            // A 304 may say the length or not (RFC 9110 section 8.6); hyper's server does not.
            "HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\ncontent-length: 77\r\n\r\n",
            304,
            None,
        ),
        (
            "GET",
            "HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n",
            205,
            Some("0"),
        ),
    ];
    for (method, response, status, length) in cases {
        let server = Scripted::answering(response);
        let proxy = in_front_of(server.address());
        let mut wire = Wire::connect(proxy.outbound());
        for round in 0..3 {
            wire.send(format!("{method} / HTTP/1.1\r\nhost: echo\r\n\r\n"));
            let answer = wire.read_message(method);
            assert_eq!(answer.status(), status, "{response:?} round {round}");
            assert_eq!(
                answer.head.get("content-length").as_deref(),
                length,
                "{response:?} round {round}"
            );
            assert!(answer.body.is_empty());
        }
        assert_eq!(server.requests().len(), 3);
    }
}

#[test]
fn an_answer_may_be_delimited_by_the_close() {
    let server = Scripted::start(|mut guest| {
        guest.request();
        guest.wire.send("HTTP/1.1 200 OK\r\n\r\nuntil the end");
    });
    let proxy = in_front_of(server.address());
    let mut wire = Wire::connect(proxy.outbound());
    for _ in 0..2 {
        wire.send(GET);
        assert_eq!(wire.read_response().text(), "until the end");
    }
}

#[test]
fn the_absolute_form_is_understood() {
    let echo = Echo::start(NAME);
    let proxy = in_front_of(echo.address());
    for (target, arrives) in [
        ("http://echo/a/b?c=d", "/a/b?c=d"),
        ("http://ECHO/", "/"),
        ("http://echo", "/"),
        ("http://echo:80/x", "/x"),
        ("http://echo?q=1", "/?q=1"),
    ] {
        let authority = target
            .trim_start_matches("http://")
            .split(['/', '?'])
            .next()
            .unwrap_or_default();
        let report = ask(
            &proxy,
            format!("GET {target} HTTP/1.1\r\nhost: {authority}\r\n\r\n"),
        )
        .json();
        assert_eq!(
            report["target"], arrives,
            "{target}: the origin form goes to a server"
        );
    }
}

#[test]
fn an_absolute_form_is_never_routed_by_a_host_that_contradicts_it() {
    let echo = Echo::start(NAME);
    let other = Echo::start("other");
    let setup = heddle_e2e::proxy::Setup::new()
        .replicas(NAME, &[echo.address()])
        .replicas("other", &[other.address()]);
    let proxy = heddle_e2e::proxy::Proxy::start(&setup);
    let answer = ask(&proxy, "GET http://echo/ HTTP/1.1\r\nhost: other\r\n\r\n");
    assert_eq!(other.requests(), 0, "Host won over the target");
    if answer.status() == 200 {
        // RFC 9112 3.2.2: the target counts, and Host is replaced by it.
        let report = answer.json();
        assert_eq!(report["server"], NAME);
        let hosts: Vec<_> = report["headers"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|pair| pair[0] == "host")
            .collect();
        assert_eq!(hosts, [&serde_json::json!(["host", "echo"])]);
    } else {
        assert_eq!(answer.status(), 400);
    }
}

#[test]
fn clients_of_http_1_0_are_served() {
    let echo = Echo::start(NAME);
    let proxy = in_front_of(echo.address());
    let mut wire = Wire::connect(proxy.outbound());
    wire.send("GET /?bytes=70000 HTTP/1.0\r\nhost: echo\r\n\r\n");
    let head = wire.read_head();
    assert_eq!(head.status(), 200);
    assert_eq!(
        head.get("transfer-encoding"),
        None,
        "HTTP/1.0 knows no chunks"
    );
    let (body, ending) = wire.read_to_end();
    assert!(body == pattern(0, 70_000));
    assert_eq!(ending, Ending::Closed);
}

#[test]
fn a_client_of_http_1_0_may_keep_its_connection() {
    let echo = Echo::start(NAME);
    let proxy = in_front_of(echo.address());
    let mut wire = Wire::connect(proxy.outbound());
    for _ in 0..3 {
        wire.send("GET / HTTP/1.0\r\nhost: echo\r\nconnection: keep-alive\r\n\r\n");
        let answer = wire.read_response();
        assert_eq!(answer.status(), 200);
        assert_eq!(
            answer
                .head
                .get("connection")
                .map(|value| value.to_lowercase())
                .as_deref(),
            Some("keep-alive")
        );
    }
}

#[test]
fn a_server_of_http_1_0_is_understood() {
    let server = Scripted::start(|mut guest| {
        guest.request();
        guest
            .wire
            .send("HTTP/1.0 200 OK\r\nserver: old\r\n\r\nold answer");
    });
    let proxy = in_front_of(server.address());
    let mut wire = Wire::connect(proxy.outbound());
    for _ in 0..2 {
        wire.send(GET);
        let answer = wire.read_response();
        assert_eq!(answer.text(), "old answer");
        assert!(
            answer.head.first.starts_with("HTTP/1.1 200"),
            "the proxy speaks its own version"
        );
    }
}

#[test]
fn an_answer_that_comes_before_the_body_is_passed_on() {
    let server = Scripted::start(|mut guest| {
        guest.request_head();
        guest.wire.send(
            "HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig",
        );
        // Closing with unread bytes would be a reset that can overtake the answer.
        guest.wire.finish();
        guest.wire.read_to_end();
    });
    let proxy = in_front_of(server.address());
    let mut wire = Wire::connect(proxy.outbound());
    wire.send("POST / HTTP/1.1\r\nhost: echo\r\ncontent-length: 100000000\r\n\r\n");
    for _ in 0..20 {
        if !wire.try_send(pattern(0, 10_000)) {
            break;
        }
    }
    let answer = wire.read_response();
    assert_eq!((answer.status(), answer.text()), (413, "big".into()));
}

#[test]
fn methods_and_targets_pass_unchanged() {
    let echo = Echo::start(NAME);
    let proxy = in_front_of(echo.address());
    let targets = [
        "/%7Euser/a%2Fb",
        "/a//b/../c",
        "/?a=b&a=c&d",
        "/;x=1",
        "/a?b=c?d",
        "/%C3%BC",
    ];
    for method in [
        "GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND",
    ] {
        for target in targets {
            let report = ask(
                &proxy,
                format!("{method} {target} HTTP/1.1\r\nhost: echo\r\n\r\n"),
            )
            .json();
            assert_eq!(
                (&report["method"], &report["target"]),
                (&method.into(), &target.into())
            );
        }
    }
}
