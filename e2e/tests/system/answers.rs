//! Every answer of the proxy's own (design: what happened, HTTP status, kind in `heddle-err`).

use crate::support::{GET, NAME, ask, get};
use heddle_e2e::echo::Echo;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::{Scripted, eventually};
use heddle_e2e::wire::{Message, Wire};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

/// Asserts an answer of the proxy's own.
fn is_own(answer: &Message, status: u16, kind: &str, case: &str) {
    assert_eq!(answer.status(), status, "{case}: {answer:?}");
    let error = answer.head.get("heddle-err").unwrap_or_default();
    assert!(
        error.starts_with(&format!("{kind};")),
        "{case}: heddle-err is {error:?}"
    );
    assert!(
        error.contains("reason=\""),
        "{case}: heddle-err is {error:?}"
    );
    let media = answer.head.get("content-type").unwrap_or_default();
    assert!(
        media.starts_with("application/problem+json"),
        "{case}: {media:?}"
    );
    let problem = answer.json();
    assert_eq!(problem["status"], status, "{case}: {problem}");
}

/// An address at which nothing listens: connecting is refused at once.
fn nobody() -> SocketAddr {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    socket.local_addr().expect("a bound socket has an address")
}

/// An address that never answers a connect: its queue of connections is full.
fn black_hole() -> (TcpListener, Vec<std::net::TcpStream>, SocketAddr) {
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .expect("loopback has a free port");
    socket.listen(1).expect("it can listen");
    let listener = TcpListener::from(socket);
    let address = listener
        .local_addr()
        .expect("a bound socket has an address");
    let mut queued = Vec::new();
    while let Ok(stream) =
        std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200))
    {
        queued.push(stream);
    }
    (listener, queued, address)
}

#[test]
fn names_that_lead_nowhere() {
    let setup = Setup::default()
        .listener("outbound", "dtab: |\n  /svc => /#/static ;\n  /svc/failing => ! ;\n  /svc/nothing => ~ ;\n  /svc/empty => $ ;");
    let proxy = Proxy::start(&setup);
    for (host, status, kind) in [
        ("stranger", 404, "no-such-name"),
        ("nothing", 404, "no-such-name"),
        ("failing", 502, "name-failed"),
        ("empty", 503, "no-endpoints"),
    ] {
        let answer = ask(&proxy, format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"));
        is_own(&answer, status, kind, host);
        assert!(
            answer.text().contains(host),
            "the answer names what was asked for: {}",
            answer.text()
        );
    }
}

#[test]
fn a_request_that_nothing_identifies() {
    let setup = Setup::default().listener("outbound", "identify: [{header: x-name}]");
    let proxy = Proxy::start(&setup);
    is_own(&ask(&proxy, GET), 400, "unidentified", "no x-name");
}

#[test]
fn servers_that_fail() {
    let resets = Scripted::resetting_after_request();
    let closes = Scripted::start(|mut guest| drop(guest.request_head()));
    let babbles = Scripted::start(|mut guest| {
        guest.request_head();
        guest.wire.send("this is no HTTP at all\r\n\r\n");
    });
    let setup = Setup::new()
        .replicas("refuses", &[nobody()])
        .replicas("resets", &[resets.address()])
        .replicas("closes", &[closes.address()])
        .replicas("babbles", &[babbles.address()]);
    let proxy = Proxy::start(&setup);
    for (host, kind) in [
        ("refuses", "connect"),
        ("resets", "upstream-reset"),
        ("closes", "upstream-reset"),
        ("babbles", "protocol"),
    ] {
        let answer = ask(
            &proxy,
            format!("POST / HTTP/1.1\r\nhost: {host}\r\ncontent-length: 2\r\n\r\nhi"),
        );
        is_own(&answer, 502, kind, host);
    }
    assert_eq!(
        resets.requests().len(),
        1,
        "a POST that a server has read is not sent again"
    );
}

#[test]
fn times_that_run_out() {
    let silent = Scripted::silent();
    let (_listener, _queued, hole) = black_hole();
    let setup = Setup::new()
        .replicas("total", &[silent.address()])
        .replicas("attempt", &[silent.address()])
        .replicas("deadline", &[silent.address()])
        .replicas("hole", &[hole])
        .document(
            "Route",
            "total",
            "{service: total, timeout: 200ms, rules: [{to: total}]}",
        )
        .document(
            "Route",
            "attempt",
            "{service: attempt, attemptTimeout: 200ms, rules: [{to: attempt}]}",
        );
    let proxy = Proxy::start(&setup);
    for (host, field, kind) in [
        ("total", "", "timeout"),
        ("attempt", "", "timeout"),
        ("deadline", "heddle-context: deadline=200\r\n", "deadline"),
        ("hole", "", "timeout"),
    ] {
        let started = std::time::Instant::now();
        let answer = ask(
            &proxy,
            format!("POST / HTTP/1.1\r\nhost: {host}\r\n{field}content-length: 0\r\n\r\n"),
        );
        is_own(&answer, 504, kind, host);
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{host} took {:?}",
            started.elapsed()
        );
    }
}

#[test]
fn a_server_that_accepts_and_never_answers_does_not_stop_the_others() {
    let silent = Scripted::silent();
    let echo = Echo::start(NAME);
    let setup = Setup::new()
        .replicas("silent", &[silent.address()])
        .replicas(NAME, &[echo.address()]);
    let proxy = Proxy::start(&setup);
    let mut waiting: Vec<_> = (0..20).map(|_| Wire::connect(proxy.outbound())).collect();
    for wire in &mut waiting {
        wire.send("GET / HTTP/1.1\r\nhost: silent\r\n\r\n");
    }
    eventually("all of them wait", || silent.connections() == 20);
    for _ in 0..20 {
        assert_eq!(ask(&proxy, GET).status(), 200);
    }
}

#[test]
fn an_idempotent_request_goes_to_a_replica_that_can_be_reached() {
    let echo = Echo::start(NAME);
    let proxy = Proxy::start(&Setup::new().replicas(NAME, &[nobody(), echo.address()]));
    for number in 0..50 {
        let answer = ask(&proxy, get(&format!("/{number}")));
        assert_eq!(answer.status(), 200, "request {number}: {answer:?}");
    }
}

#[test]
fn a_request_that_never_started_is_sent_again_whatever_its_method() {
    let echo = Echo::start(NAME);
    let proxy = Proxy::start(&Setup::new().replicas(NAME, &[nobody(), echo.address()]));
    for number in 0..50 {
        let request =
            format!("POST /{number} HTTP/1.1\r\nhost: echo\r\ncontent-length: 2\r\n\r\nhi");
        let answer = ask(&proxy, request);
        assert_eq!(answer.status(), 200, "request {number}: {answer:?}");
    }
    assert_eq!(echo.requests(), 50, "and never twice");
}

#[test]
fn servers_that_close_idle_connections_early_lose_no_request() {
    let server = Scripted::closing_idle(Duration::from_millis(20));
    let proxy = Proxy::start(&Setup::new().replicas(NAME, &[server.address()]));
    let mut wire = Wire::connect(proxy.outbound());
    for pause in [0, 5, 15, 18, 20, 22, 25, 40, 19, 20, 21] {
        std::thread::sleep(Duration::from_millis(pause));
        wire.send(GET);
        let answer = wire.read_response();
        assert_eq!(answer.status(), 200, "after {pause} ms: {answer:?}");
    }
}

#[test]
fn errors_of_a_server_are_passed_on_with_their_origin() {
    let server = Scripted::answering(
        "HTTP/1.1 503 Service Unavailable\r\nheddle-err: overloaded; reason=\"theirs\"\r\ncontent-length: 4\r\n\r\nbusy",
    );
    let proxy = Proxy::start(&Setup::new().replicas(NAME, &[server.address()]));
    let answer = ask(&proxy, GET);
    assert_eq!((answer.status(), answer.text()), (503, "busy".into()));
    let error = answer.head.get("heddle-err").expect("it is passed on");
    assert!(error.contains("theirs"), "{error}");
}

#[test]
fn all_replicas_gone_and_back() {
    let first = Echo::start(NAME);
    let address = first.address();
    let proxy = Proxy::start(&Setup::new().replicas(NAME, &[address]));
    assert_eq!(ask(&proxy, GET).status(), 200);
    drop(first);
    for _ in 0..20 {
        let status = ask(&proxy, GET).status();
        assert!(status == 502 || status == 503, "{status}");
    }
    let back = Scripted::start_at(address, |mut guest| {
        while guest.request_head().is_some() {
            guest
                .wire
                .send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nback");
        }
    });
    eventually("the replica is used again", || {
        ask(&proxy, GET).status() == 200
    });
    drop(back);
}

#[test]
fn a_request_that_has_passed_a_hundred_proxies_is_in_a_loop() {
    let echo = Echo::start(NAME);
    let proxy = Proxy::start(&Setup::new().replicas(NAME, &[echo.address()]));
    for (hops, status) in [(99, 200), (100, 400)] {
        let via = vec!["1.1 heddle"; hops].join(", ");
        let answer = ask(
            &proxy,
            format!("GET / HTTP/1.1\r\nhost: echo\r\nvia: {via}\r\n\r\n"),
        );
        assert_eq!(answer.status(), status, "{hops} hops: {answer:?}");
    }
}
