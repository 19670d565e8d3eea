//! Who is left out after failures, for how long, and who is asked meanwhile; and gRPC over real streams.

use crate::support::{ask, endpoint, get, kind, metric, nobody};
use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::{Scripted, eventually};
use heddle_e2e::streams::{self, StreamClient, StreamServer, Then};
use heddle_e2e::wire::Wire;
use std::net::SocketAddr;
use std::time::Duration;

/// A proxy in front of `a`, with this accrual and nothing tried again.
fn judging(replicas: &[SocketAddr], accrual: &str) -> Proxy {
    let spec = format!(
        "{{service: a, rules: [{{to: a}}], retries: {{max: 0}}, balancer: {{kind: p2c-peak-ewma, slowStart: 0s}}, accrual: {accrual}}}"
    );
    Proxy::start(
        &Setup::new()
            .replicas("a", replicas)
            .document("Route", "a", &spec),
    )
}

/// The requests that a replica was sent are settled.
fn settled(proxy: &Proxy, address: SocketAddr, count: usize) {
    eventually("the attempts are settled", || {
        let shown = endpoint(proxy, address);
        shown["requests"] == count && shown["inFlight"] == 0
    });
}

fn is_ejected(proxy: &Proxy, address: SocketAddr) -> bool {
    endpoint(proxy, address)["status"] == "busy"
}

#[test]
fn at_most_half_of_a_set_is_left_out() {
    let echoes: Vec<_> = (0..4).map(|_| Echo::start("a")).collect();
    let addresses: Vec<_> = echoes.iter().map(Echo::address).collect();
    let proxy = judging(
        &addresses,
        "{consecutiveFailures: 2, successRate: off, minProbe: 30s}",
    );
    for _ in 0..100 {
        let answer = ask(proxy.outbound(), get("a", "/?status=500", ""));
        assert_eq!(answer.status(), 500, "some replica is always asked");
    }
    let ejected = addresses
        .iter()
        .filter(|address| is_ejected(&proxy, **address))
        .count();
    assert_eq!(ejected, 2);
}

#[test]
fn a_rate_of_failures_ejects_as_well_but_not_the_last() {
    let echoes = [Echo::start("a"), Echo::start("a")];
    let addresses = [echoes[0].address(), echoes[1].address()];
    let rate = "{below: 0.8, window: 10s, minRequests: 10}";
    let proxy = judging(
        &addresses,
        &format!("{{consecutiveFailures: off, successRate: {rate}, minProbe: 30s}}"),
    );
    for number in 0..100 {
        let status = if number % 3 == 0 { 500 } else { 200 };
        let answer = ask(
            proxy.outbound(),
            get("a", &format!("/?status={status}"), ""),
        );
        assert_eq!(answer.status(), status, "of a replica");
    }
    let ejected = addresses
        .iter()
        .filter(|address| is_ejected(&proxy, **address))
        .count();
    assert_eq!(ejected, 1);
}

#[test]
fn five_failures_in_a_row_eject_and_fail_fast() {
    let echo = Echo::start("a");
    let proxy = judging(&[echo.address()], "{successRate: off, minProbe: 30s}");
    for _ in 0..4 {
        ask(proxy.outbound(), get("a", "/?status=500", ""));
    }
    assert_eq!(ask(proxy.outbound(), get("a", "/", "")).status(), 200);
    for number in 0..5 {
        let answer = ask(proxy.outbound(), get("a", "/?status=500", ""));
        assert_eq!(answer.status(), 500, "failure {number} in a row");
    }
    settled(&proxy, echo.address(), 10);
    assert!(is_ejected(&proxy, echo.address()));
    for _ in 0..5 {
        let answer = ask(proxy.outbound(), get("a", "/", ""));
        assert_eq!((answer.status(), &*kind(&answer)), (503, "no-endpoints"));
    }
    assert_eq!(echo.requests(), 10, "fail-fast asks nobody");
    let set = "/#/static/a";
    assert_eq!(metric(&proxy, "heddle_ejections_total", &[set]), 1.0);
    assert_eq!(metric(&proxy, "heddle_endpoints_ejected", &[set]), 1.0);
}

#[test]
fn a_replica_that_returns_is_probed_by_one_request() {
    let healthy = Echo::start("healthy");
    let gone = nobody();
    let proxy = judging(
        &[healthy.address(), gone],
        "{consecutiveFailures: 1, successRate: off, minProbe: 500ms, maxProbe: 1s}",
    );
    eventually("it is ejected", || {
        ask(proxy.outbound(), get("a", "/", ""));
        is_ejected(&proxy, gone)
    });
    // It returns, slow to answer: while it does, nobody else is sent there.
    let back = Scripted::start_at(gone, |mut guest| {
        let mut probe = guest.number == 0;
        while guest.request_head().is_some() {
            if std::mem::take(&mut probe) {
                std::thread::sleep(Duration::from_millis(500));
            }
            guest
                .wire
                .send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nback");
        }
    });
    let mut waiting = Vec::new();
    eventually("it is probed", || {
        let mut wire = Wire::connect(proxy.outbound());
        wire.send(get("a", "/", ""));
        waiting.push(wire);
        back.requests().len() == 1
    });
    for _ in 0..20 {
        assert_eq!(
            ask(proxy.outbound(), get("a", "/", "")).json()["server"],
            "healthy",
            "during the probe"
        );
    }
    assert!(
        waiting
            .iter_mut()
            .all(|w| w.read_response().status() == 200)
    );
    eventually("it is back in use", || {
        ask(proxy.outbound(), get("a", "/", ""));
        back.requests().len() > 3
    });
    let set = "/#/static/a";
    assert!(metric(&proxy, "heddle_probes_total", &[set]) >= 1.0);
    assert!(metric(&proxy, "heddle_revivals_total", &[set]) >= 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_by_grpc_status() {
    let server = StreamServer::start(|mut call| async move {
        let code = call.request.uri().path()["/code/".len()..].to_owned();
        let head = http::Response::builder()
            .header("content-type", "application/grpc")
            .body(())
            .expect("the head is valid");
        let mut body = call
            .respond
            .send_response(head, false)
            .expect("the stream is open");
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", code.parse().expect("a number"));
        body.send_trailers(trailers).expect("the stream is open");
        Then::Stay
    })
    .await;
    let proxy = judging(
        &[server.address()],
        "{consecutiveFailures: off, successRate: off}",
    );
    let (client, _connection) = StreamClient::connect(proxy.outbound()).await;
    let (mut sent, mut failed) = (0, 0);
    for (code, is_failure) in [
        (0, false),
        (1, false),
        (3, false),
        (5, false),
        (4, true),
        (13, true),
        (14, true),
    ] {
        let request = http::Request::post(format!("http://a/code/{code}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .expect("the head is valid");
        let answer = client.ask(request, b"", None).await.expect("an answer");
        assert_eq!(answer.trailers["grpc-status"], code.to_string());
        sent += 1;
        failed += u64::from(is_failure);
        settled(&proxy, server.address(), sent);
        let shown = endpoint(&proxy, server.address());
        assert_eq!(shown["failures"], failed, "after code {code}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_answers_to_grpc_callers() {
    let gone = nobody();
    let silent = Scripted::silent();
    let setup = Setup::default()
        .listener(
            "outbound",
            "dtab: |\n  /svc => /#/static ;\n  /svc/failing => ! ;\n  /svc/empty => $ ;",
        )
        .replicas("refuses", &[gone])
        .replicas("silent", &[silent.address()])
        .document(
            "Route",
            "silent",
            "{service: silent, attemptTimeout: 200ms, rules: [{to: silent}]}",
        );
    let proxy = Proxy::start(&setup);
    let (client, _connection) = StreamClient::connect(proxy.outbound()).await;
    for (name, code, word) in [
        ("stranger", "12", "no-such-name"),
        ("failing", "14", "name-failed"),
        ("empty", "14", "no-endpoints"),
        ("refuses", "14", "connect"),
        ("silent", "4", "timeout"),
    ] {
        let request = http::Request::post(format!("http://{name}/bank.Accounts/Get"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .expect("the head is valid");
        let streams::Whole { head, body, .. } =
            client.ask(request, b"", None).await.expect("an answer");
        assert_eq!(head.status, 200, "{name}");
        assert!(body.is_empty(), "{name}: trailers only");
        assert_eq!(head.headers["grpc-status"], code, "{name}");
        assert!(head.headers.contains_key("grpc-message"), "{name}");
        let error = head.headers["heddle-err"].to_str().expect("it is text");
        assert!(error.starts_with(word), "{name}: {error}");
    }
}
