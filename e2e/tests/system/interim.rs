//! `Expect: 100-continue` and other interim responses (RFC 9110, 10.1.1 and 15.2).

use crate::support::{GET, NAME, in_front_of};
use h2::client::ResponseFuture;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::{Scripted, eventually};
use heddle_e2e::streams::{StreamClient, StreamServer, Then, get, read, whole};
use heddle_e2e::wire::Wire;
use http::{Request, Response};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::timeout;

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

/// What a service hints at, over either protocol.
const HINTS: &str = "</a.css>; rel=preload";

/// A service over HTTP/1.1 that hints, gives the go-ahead, and returns the body.
fn hinting_http1() -> Scripted {
    Scripted::start(|mut guest| {
        while let Some(head) = guest.request_head() {
            let fields = "connection: x-hop\r\nx-hop: 1\r\ncontent-length: 3\r\n";
            let interim = [
                format!("HTTP/1.1 103 Early Hints\r\nlink: {HINTS}\r\n{fields}\r\n"),
                "HTTP/1.1 100 Continue\r\n\r\n".to_owned(),
            ];
            for interim in interim {
                guest.wire.send(interim);
            }
            let request = guest.wire.read_rest(head, "");
            let length = request.body.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            guest.wire.send(head);
            guest.wire.send(request.body);
        }
    })
}

fn interim(status: u16, fields: &[(&str, &str)]) -> Response<()> {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(()).expect("a valid head")
}

/// The same over HTTP/2, where a switch of protocols means nothing.
async fn hinting_http2() -> StreamServer {
    StreamServer::start(|mut call| async move {
        let interims = [
            interim(103, &[("link", HINTS)]),
            interim(101, &[]),
            interim(100, &[]),
        ];
        for interim in interims {
            call.respond
                .send_informational(interim)
                .expect("the stream is open");
        }
        let (body, _) = read(call.request.into_body()).await.expect("a whole body");
        let response = interim(200, &[]);
        let mut stream = call
            .respond
            .send_response(response, false)
            .expect("the stream is open");
        stream
            .send_data(body.into(), true)
            .expect("the stream is open");
        Then::Stay
    })
    .await
}

/// The interim answers to a request, until its answer.
async fn interims(response: &mut ResponseFuture) -> Vec<Response<()>> {
    let mut seen = Vec::new();
    let next = async |response: &mut ResponseFuture| {
        timeout(
            Duration::from_secs(10),
            poll_fn(|cx| response.poll_informational(cx)),
        )
        .await
        .expect("something comes")
    };
    while let Some(interim) = next(response).await {
        seen.push(interim.expect("the stream goes well"));
    }
    seen
}

fn expecting(expects: bool) -> Request<()> {
    let mut request = Request::post("http://echo/");
    if expects {
        request = request.header("expect", "100-continue");
    }
    request.body(()).expect("a valid request")
}

#[tokio::test]
async fn interim_answers_reach_callers_over_http2() {
    let (old, new) = (hinting_http1(), hinting_http2().await);
    for (case, address) in [("HTTP/1.1", old.address()), ("HTTP/2", new.address())] {
        for expects in [true, false] {
            let case = format!("from {case}, with `expect`: {expects}");
            let proxy = in_front_of_any(address, case.contains("HTTP/2"));
            let (client, _task) = StreamClient::connect(proxy.outbound()).await;
            for _ in 0..3 {
                let opened = client.open(expecting(expects), false).await;
                let (mut response, mut body) = opened.expect("a stream opens");
                if !expects {
                    body.send_data("hello".into(), true).expect("it is open");
                }
                let mut seen = Vec::new();
                while seen.len() < 1 + usize::from(expects) {
                    let next = timeout(
                        Duration::from_secs(10),
                        poll_fn(|cx| response.poll_informational(cx)),
                    );
                    let next = next.await.expect("interim answers come");
                    seen.push(next.expect("before the answer").expect("in order"));
                }
                assert_eq!(seen[0].status(), 103, "{case}");
                let fields = seen[0].headers();
                assert_eq!(fields.get("link").expect("a hint"), HINTS, "{case}");
                assert_eq!(fields.len(), 1, "{case}: {fields:?}");
                if expects {
                    assert_eq!(seen[1].status(), 100, "{case}");
                    body.send_data("hello".into(), true).expect("it is open");
                }
                let rest = interims(&mut response).await;
                assert!(rest.is_empty(), "{case}: {rest:?}");
                let answer = whole(response).await.expect("an answer");
                assert_eq!((answer.status(), &*answer.body), (200, &b"hello"[..]));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_of_http2_reach_callers_over_http1() {
    let server = hinting_http2().await;
    let proxy = in_front_of_any(server.address(), true);
    for version in ["1.1", "1.0"] {
        for expects in [true, false] {
            let mut wire = Wire::connect(proxy.outbound());
            let lines = if expects {
                "expect: 100-continue\r\n"
            } else {
                ""
            };
            wire.send(format!(
                "POST / HTTP/{version}\r\nhost: echo\r\ncontent-length: 5\r\n{lines}\r\n"
            ));
            if version == "1.1" {
                let hints = wire.read_message("POST");
                assert_eq!(hints.status(), 103);
                assert_eq!(hints.head.get("link").as_deref(), Some(HINTS));
                assert_eq!(hints.head.get("content-length"), None);
                if expects {
                    assert_eq!(wire.read_message("POST").status(), 100);
                }
            }
            wire.send("hello");
            let answer = wire.read_message("POST");
            assert_eq!((answer.status(), answer.text()), (200, "hello".into()));
        }
    }
}

/// They are bounded, since nothing holds them back when their caller does not read.
#[tokio::test]
async fn a_flood_of_interim_answers_is_cut() {
    let head = format!(
        "HTTP/1.1 103 Early Hints\r\nlink: {}\r\n\r\n",
        "a".repeat(4000)
    );
    let server = Scripted::start(move |mut guest| {
        while guest.request_head().is_some() {
            for _ in 0..200 {
                guest.wire.send(&head);
            }
            guest
                .wire
                .send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let proxy = in_front_of_any(server.address(), false);
    let (client, _task) = StreamClient::connect(proxy.outbound()).await;
    let (mut response, _) = client.open(get("http://echo/"), true).await.expect("opens");
    let seen = interims(&mut response).await;
    let answer = whole(response).await.expect("an answer");
    assert_eq!(
        (answer.status(), &*answer.body),
        (200, &b"ok"[..]),
        "{answer:?}"
    );
    assert!((1..=16).contains(&seen.len()), "{}", seen.len());
}

/// A proxy in front of a service that speaks this protocol.
fn in_front_of_any(address: SocketAddr, http2: bool) -> Proxy {
    let protocol = if http2 { "http2" } else { "http1" };
    Proxy::start(&Setup::new().replicas_speaking(NAME, &[address], protocol))
}
