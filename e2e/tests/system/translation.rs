//! From HTTP/1.1 to HTTP/2 and back.

use crate::support::{NAME, get};
use heddle_e2e::echo::{Echo, checksum, pattern};
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::{Scripted, until};
use heddle_e2e::streams::{StreamClient, StreamServer, Then, answer};
use heddle_e2e::wire::{Ending, Wire};
use http::{HeaderMap, HeaderValue, Request};
use std::net::SocketAddr;

fn speaking(protocol: &str, backend: SocketAddr) -> Proxy {
    Proxy::start(&Setup::new().replicas_speaking(NAME, &[backend], protocol))
}

#[test]
fn an_http_1_client_reaches_an_http_2_server() {
    let echo = Echo::start(NAME);
    let proxy = speaking("http2", echo.address());
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(
        "POST /a?b=c HTTP/1.1\r\nhost: echo\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\n",
    );
    wire.send("connection: te, x-gone\r\nte: trailers\r\nx-gone: 1\r\nx-stays: 2\r\n\r\n");
    wire.send("5\r\nhello\r\n0\r\nx-end: yes\r\n\r\n");
    let report = wire.read_response().json();
    assert_eq!(
        (&report["version"], &report["method"]),
        (&"HTTP/2.0".into(), &"POST".into())
    );
    assert_eq!(
        (&report["target"], &report["authority"]),
        (&"/a?b=c".into(), &"echo".into())
    );
    assert_eq!(
        (&report["bodyBytes"], &report["trailers"]),
        (&5.into(), &serde_json::json!([["x-end", "yes"]]))
    );
    let names: Vec<_> = report["headers"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|pair| pair[0].as_str())
        .collect();
    for name in [
        "connection",
        "transfer-encoding",
        "x-gone",
        "keep-alive",
        "upgrade",
    ] {
        assert!(
            !names.contains(&name),
            "{name} has no place in HTTP/2: {names:?}"
        );
    }
    assert!(names.contains(&"x-stays"));
}

#[test]
fn trailers_of_an_http_2_server_reach_an_http_1_client() {
    let echo = Echo::start(NAME);
    let proxy = speaking("http2", echo.address());
    let mut wire = Wire::connect(proxy.outbound());
    wire.send("GET /?bytes=1000&trailers=1 HTTP/1.1\r\nhost: echo\r\nte: trailers\r\nconnection: te\r\n\r\n");
    let answer = wire.read_response();
    assert!(answer.body == pattern(0, 1000));
    assert_eq!(
        answer.trailers,
        [
            ("x-trailer".into(), "end".into()),
            ("x-bytes".into(), "1000".into())
        ]
    );
}

#[test]
fn large_bodies_pass_from_http_1_to_http_2() {
    let echo = Echo::start(NAME);
    let proxy = speaking("http2", echo.address());
    let mut wire = Wire::connect(proxy.outbound());
    let body = pattern(0, 4 << 20);
    wire.send(format!(
        "POST / HTTP/1.1\r\nhost: echo\r\ncontent-length: {}\r\n\r\n",
        body.len()
    ));
    wire.send(&body);
    assert_eq!(wire.read_response().json()["bodySum"], checksum(0, &body));
    wire.send(get("/?bytes=4194304"));
    assert!(wire.read_response().body == body);
}

#[tokio::test]
async fn an_http_2_client_reaches_an_http_1_server() {
    let echo = Echo::start(NAME);
    let proxy = speaking("http1", echo.address());
    let (client, _task) = StreamClient::connect(proxy.outbound()).await;
    let request = Request::post("http://echo/a?b=c")
        .header("cookie", "a=1")
        .header("cookie", "b=2");
    let mut trailers = HeaderMap::new();
    trailers.insert("x-end", HeaderValue::from_static("yes"));
    let request = request.header("trailer", "x-end").body(()).expect("valid");
    let report = client
        .ask(request, b"hello", Some(trailers))
        .await
        .expect("a whole answer")
        .json();
    assert_eq!(
        (&report["version"], &report["method"]),
        (&"HTTP/1.1".into(), &"POST".into())
    );
    assert_eq!(
        (&report["target"], &report["bodyBytes"]),
        (&"/a?b=c".into(), &5.into())
    );
    assert_eq!(report["trailers"], serde_json::json!([["x-end", "yes"]]));
    let values = |name: &str| -> Vec<String> {
        let fields = report["headers"].as_array().expect("a list");
        fields
            .iter()
            .filter(|pair| pair[0] == name)
            .map(|pair| pair[1].as_str().unwrap_or("").into())
            .collect()
    };
    assert_eq!(values("host"), ["echo"]);
    assert_eq!(
        values("cookie"),
        ["a=1; b=2"],
        "RFC 9113 8.2.3: HTTP/1 knows one cookie field only"
    );
}

#[tokio::test]
async fn trailers_of_an_http_1_server_reach_an_http_2_client() {
    let server = Scripted::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\nconnection: keep-alive\r\n\r\n\
         3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n",
    );
    let proxy = speaking("http1", server.address());
    let (client, _task) = StreamClient::connect(proxy.outbound()).await;
    let answer = client.get("http://echo/").await.expect("a whole answer");
    assert_eq!((answer.status(), &*answer.body), (200, b"abc".as_slice()));
    assert_eq!(answer.trailers["x-sum"], "6");
    for name in ["connection", "transfer-encoding", "keep-alive"] {
        assert!(
            !answer.head.headers.contains_key(name),
            "{name} has no place in HTTP/2"
        );
    }
}

#[tokio::test]
async fn a_broken_answer_of_an_http_1_server_resets_the_stream() {
    let server = Scripted::half_answering(false);
    let proxy = speaking("http1", server.address());
    let (client, _task) = StreamClient::connect(proxy.outbound()).await;
    let error = client
        .get("http://echo/")
        .await
        .expect_err("the answer breaks off");
    assert!(error.is_reset(), "{error:?}");
    let echo = client
        .get("http://stranger/")
        .await
        .expect("the connection lives on");
    assert_eq!(echo.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_stream_ends_the_connection_of_an_http_1_client() {
    let server = StreamServer::start(|mut call| async move {
        let mut body = call
            .respond
            .send_response(http::Response::new(()), false)
            .expect("the stream is open");
        body.send_data(bytes::Bytes::from_static(b"begin"), false)
            .expect("the stream is open");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        body.send_reset(h2::Reason::INTERNAL_ERROR);
        Then::Stay
    })
    .await;
    let proxy = speaking("http2", server.address());
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(get("/"));
    assert_eq!(wire.read_head().status(), 200);
    let (body, ending) = wire.read_to_end();
    assert_ne!(ending, Ending::Open);
    assert!(!body.ends_with(b"0\r\n\r\n"), "the end was made up");
}

#[tokio::test]
async fn a_client_of_one_version_that_leaves_cancels_the_other() {
    let echo = Echo::start(NAME);
    let upward = speaking("http2", echo.address());
    let mut wire = Wire::connect(upward.outbound());
    wire.send(get("/?delay=9000"));
    until("the request arrives", || echo.open() == 1).await;
    drop(wire);
    until("the stream is cancelled", || echo.cancelled() == 1).await;

    let downward = speaking("http1", echo.address());
    let (client, _task) = StreamClient::connect(downward.outbound()).await;
    let request = heddle_e2e::streams::get("http://echo/?delay=9000");
    let (response, mut body) = client
        .open(request, false)
        .await
        .expect("the connection is open");
    // The server waits for the body first; the head has arrived all the same.
    until("the request arrives", || echo.open() == 1).await;
    body.send_reset(h2::Reason::CANCEL);
    drop(response);
    until("the connection is given up", || echo.cancelled() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_request_has_no_body_in_either_direction() {
    let server = StreamServer::start(|mut call| async move {
        let response = http::Response::builder()
            .header("content-length", "99")
            .body(())
            .expect("valid");
        if call.request.method() == "HEAD" {
            call.respond
                .send_response(response, true)
                .expect("the stream is open");
        } else {
            answer(&mut call, 200, "text");
        }
        Then::Stay
    })
    .await;
    let proxy = speaking("http2", server.address());
    let mut wire = Wire::connect(proxy.outbound());
    for _ in 0..2 {
        wire.send("HEAD / HTTP/1.1\r\nhost: echo\r\n\r\n");
        assert_eq!(
            wire.read_message("HEAD")
                .head
                .get("content-length")
                .as_deref(),
            Some("99")
        );
    }
    wire.send(get("/"));
    assert_eq!(wire.read_response().text(), "text");
}
