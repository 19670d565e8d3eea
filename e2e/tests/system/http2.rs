//! HTTP/2 with prior knowledge on both sides: streams, resets, GOAWAY.

use crate::support::{NAME, in_front_of};
use bytes::Bytes;
use h2::Reason;
use heddle_e2e::echo::{Echo, pattern};
use heddle_e2e::script::until;
use heddle_e2e::streams::{StreamClient, StreamServer, Then, answer, get, read, whole};
use http::{HeaderMap, HeaderValue, Request, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[tokio::test]
async fn streams_share_a_connection() {
    let echo = Echo::start(NAME);
    let proxy = in_front_of(echo.address());
    let (client, _task) = StreamClient::connect(proxy.outbound()).await;
    let asks = (0..100).map(|number| {
        let client = client.clone();
        tokio::spawn(async move { client.get(&format!("http://echo/{number}?delay=50")).await })
    });
    for (number, asked) in asks.collect::<Vec<_>>().into_iter().enumerate() {
        let answer = asked
            .await
            .expect("no task panics")
            .expect("a whole answer");
        assert_eq!(
            (answer.status(), &answer.json()["version"]),
            (200, &"HTTP/2.0".into())
        );
        assert!(
            answer.json()["target"]
                .as_str()
                .expect("a target")
                .starts_with(&format!("/{number}?"))
        );
    }
    assert_eq!(echo.requests(), 100);
    assert!(
        echo.connections() <= 4,
        "{} connections for 100 streams",
        echo.connections()
    );
}

#[tokio::test]
async fn more_streams_than_one_connection_takes() {
    let echo = Echo::start(NAME); // allows 250 streams a connection
    let proxy = in_front_of(echo.address());
    let mut asks = Vec::new();
    for _ in 0..3 {
        let (client, _task) = StreamClient::connect(proxy.outbound()).await;
        for _ in 0..200 {
            let client = client.clone();
            asks.push(tokio::spawn(async move {
                client.get("http://echo/?delay=300").await
            }));
        }
    }
    for asked in asks {
        assert_eq!(
            asked
                .await
                .expect("no task panics")
                .expect("a whole answer")
                .status(),
            200
        );
    }
    assert_eq!(echo.requests(), 600);
    // 100 streams a connection, on each of the workers: a connection a request would be a storm.
    assert!(
        echo.connections() <= 12,
        "{} connections",
        echo.connections()
    );
}

#[tokio::test]
async fn bodies_and_trailers_pass_both_ways() {
    let server = StreamServer::start(|mut call| async move {
        let (body, trailers) = read(call.request.into_body()).await.expect("a whole body");
        let response = Response::new(());
        let mut sender = call
            .respond
            .send_response(response, false)
            .expect("the stream is open");
        sender
            .send_data(Bytes::from(body), false)
            .expect("the stream is open");
        let mut back = HeaderMap::new();
        back.insert(
            "x-back",
            trailers
                .get("x-there")
                .cloned()
                .unwrap_or(HeaderValue::from_static("none")),
        );
        sender.send_trailers(back).expect("the stream is open");
        Then::Stay
    })
    .await;
    let proxy = in_front_of(server.address());
    let (client, _task) = StreamClient::connect(proxy.outbound()).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-there", HeaderValue::from_static("and back"));
    let request = Request::post("http://echo/").body(()).expect("valid");
    let answer = client
        .ask(request, &pattern(0, 30_000), Some(trailers))
        .await
        .expect("a whole answer");
    assert!(answer.body == pattern(0, 30_000));
    assert_eq!(answer.trailers["x-back"], "and back");
}

#[tokio::test]
async fn a_large_body_passes_in_both_directions_at_once() {
    let echo = Echo::start(NAME);
    let proxy = in_front_of(echo.address());
    let (client, _task) = StreamClient::connect(proxy.outbound()).await;
    let request = Request::post("http://echo/?mirror=1")
        .body(())
        .expect("valid");
    let answer = client
        .ask(request, &pattern(0, 8 << 20), None)
        .await
        .expect("a whole answer");
    assert!(
        answer.body == pattern(0, 8 << 20),
        "{} bytes came back",
        answer.body.len()
    );
}

#[tokio::test]
async fn a_stream_that_the_server_resets_is_reset_to_the_client() {
    let server = StreamServer::start(|mut call| async move {
        if call.request.uri().path() == "/reset" {
            let mut body = call
                .respond
                .send_response(Response::new(()), false)
                .expect("the stream is open");
            body.send_data(Bytes::from_static(b"begin"), false)
                .expect("the stream is open");
            tokio::time::sleep(Duration::from_millis(50)).await;
            body.send_reset(Reason::INTERNAL_ERROR);
        } else {
            answer(&mut call, 200, "fine");
        }
        Then::Stay
    })
    .await;
    let proxy = in_front_of(server.address());
    let (client, _task) = StreamClient::connect(proxy.outbound()).await;
    let (response, _) = client
        .open(get("http://echo/reset"), true)
        .await
        .expect("the connection is open");
    let error = whole(response).await.expect_err("the answer breaks off");
    assert!(error.is_reset() && error.is_remote(), "{error:?}");
    assert_eq!(
        client
            .get("http://echo/")
            .await
            .expect("the connection lives on")
            .status(),
        200
    );
    assert_eq!(
        server.streams(),
        2,
        "an answer that began is not asked for again"
    );
}

#[tokio::test]
async fn a_stream_that_is_reset_before_its_answer_is_a_bad_gateway() {
    let server = StreamServer::start(|mut call| async move {
        call.respond.send_reset(Reason::INTERNAL_ERROR);
        Then::Stay
    })
    .await;
    let proxy = in_front_of(server.address());
    let (client, _task) = StreamClient::connect(proxy.outbound()).await;
    let answer = client.get("http://echo/").await.expect("the proxy answers");
    assert_eq!(answer.status(), 502);
    let error = answer.head.headers["heddle-err"].to_str().expect("text");
    assert!(error.starts_with("upstream-reset;"), "{error}");
}

#[tokio::test]
async fn a_refused_stream_is_tried_again() {
    let server = StreamServer::start(|mut call| async move {
        if call.number == 0 {
            call.respond.send_reset(Reason::REFUSED_STREAM);
        } else {
            answer(&mut call, 200, "second time");
        }
        Then::Stay
    })
    .await;
    let proxy = in_front_of(server.address());
    let (client, _task) = StreamClient::connect(proxy.outbound()).await;
    let request = Request::post("http://echo/").body(()).expect("valid");
    let answer = client
        .ask(request, b"body", None)
        .await
        .expect("a whole answer");
    assert_eq!(
        (answer.status(), &*answer.body),
        (200, b"second time".as_slice())
    );
    assert_eq!(server.streams(), 2);
}

#[tokio::test]
async fn a_stream_that_the_client_resets_is_reset_to_the_server() {
    let reset = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&reset);
    let server = StreamServer::start(move |mut call| {
        let counter = Arc::clone(&counter);
        async move {
            let mut body = call
                .respond
                .send_response(Response::new(()), false)
                .expect("the stream is open");
            let reason = std::future::poll_fn(|context| body.poll_reset(context)).await;
            assert_eq!(reason.expect("the connection is open"), Reason::CANCEL);
            counter.fetch_add(1, Ordering::SeqCst);
            Then::Stay
        }
    })
    .await;
    let proxy = in_front_of(server.address());
    let (client, _task) = StreamClient::connect(proxy.outbound()).await;
    let (response, mut body) = client
        .open(get("http://echo/"), false)
        .await
        .expect("the connection is open");
    let head = response
        .await
        .expect("the head comes while the request is open");
    assert_eq!(head.status(), 200);
    body.send_reset(Reason::CANCEL);
    drop(head);
    until("the server's stream is cancelled", || {
        reset.load(Ordering::SeqCst) == 1
    })
    .await;
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_server_that_goes_away_loses_no_request() {
    let server = StreamServer::start(|mut call| async move {
        tokio::time::sleep(Duration::from_millis(5)).await;
        answer(&mut call, 200, "ok");
        // Every fifth stream is the connection's last.
        if call.number % 5 == 4 {
            Then::Leave
        } else {
            Then::Stay
        }
    })
    .await;
    let proxy = in_front_of(server.address());
    let (client, _task) = StreamClient::connect(proxy.outbound()).await;
    // How many streams a connection has taken when it is told to go depends on the machine; so does how often that
    // must be to be seen.
    for round in 0.. {
        assert!(round < 100, "{} connections", server.connections());
        let asks = (0..10).map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.get("http://echo/").await })
        });
        for asked in asks.collect::<Vec<_>>() {
            let answer = asked.await.expect("no task panics");
            assert_eq!(answer.expect("a whole answer").status(), 200);
        }
        if round >= 9 && server.connections() > 5 {
            break;
        }
    }
}

#[tokio::test]
async fn a_server_that_aborts_fails_only_what_it_had() {
    let server = StreamServer::start(|mut call| async move {
        if call.request.uri().path() == "/abort" {
            return Then::Abort(Reason::INTERNAL_ERROR);
        }
        answer(&mut call, 200, "ok");
        Then::Stay
    })
    .await;
    let proxy = in_front_of(server.address());
    let (client, _task) = StreamClient::connect(proxy.outbound()).await;
    for _ in 0..3 {
        let request = Request::post("http://echo/abort").body(()).expect("valid");
        let answer = client
            .ask(request, b"x", None)
            .await
            .expect("the proxy answers");
        assert_eq!(answer.status(), 502);
        assert_eq!(
            client
                .get("http://echo/")
                .await
                .expect("a whole answer")
                .status(),
            200
        );
    }
}

#[tokio::test]
async fn a_proxy_that_is_told_to_end_says_goaway_and_finishes() {
    let echo = Echo::start(NAME);
    let mut proxy = in_front_of(echo.address());
    let (client, task) = StreamClient::connect(proxy.outbound()).await;
    let (response, _) = client
        .open(get("http://echo/?delay=500"), true)
        .await
        .expect("the connection is open");
    until("the request arrives", || echo.open() == 1).await;
    proxy.process().signal("TERM");
    let answer = whole(response).await.expect("what had begun is finished");
    assert_eq!(answer.status(), 200);
    let ended = tokio::time::timeout(Duration::from_secs(5), task)
        .await
        .expect("the connection ends");
    ended
        .expect("the task does not panic")
        .expect("it ends in order");
    assert_eq!(proxy.process().wait(Duration::from_secs(10)), Some(0));
}

#[tokio::test]
async fn own_answers_have_the_form_of_the_protocol() {
    let echo = Echo::start(NAME);
    let proxy = in_front_of(echo.address());
    let (client, _task) = StreamClient::connect(proxy.outbound()).await;
    let plain = client
        .get("http://stranger/")
        .await
        .expect("the proxy answers");
    assert_eq!(plain.status(), 404);
    assert_eq!(plain.json()["status"], 404);
    let request = Request::post("http://stranger/a.B/C")
        .header("content-type", "application/grpc")
        .body(());
    let grpc = client
        .ask(request.expect("valid"), b"\0\0\0\0\0", None)
        .await
        .expect("the proxy answers");
    assert_eq!(grpc.status(), 200, "gRPC carries its status elsewhere");
    let status = grpc
        .head
        .headers
        .get("grpc-status")
        .or_else(|| grpc.trailers.get("grpc-status"));
    assert_eq!(status.expect("there is a grpc-status"), "12");
    let error = grpc
        .head
        .headers
        .get("heddle-err")
        .or_else(|| grpc.trailers.get("heddle-err"));
    assert!(
        error
            .expect("there is a heddle-err")
            .to_str()
            .expect("text")
            .starts_with("no-such-name;")
    );
}
