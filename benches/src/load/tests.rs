use super::*;
use crate::backend;
use bytes::Bytes;
use hyper::Method;
use std::sync::mpsc;

/// A backend in a thread of its own; the thread ends with the process.
fn backend(protocol: Protocol) -> SocketAddr {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let local = tokio::task::LocalSet::new();
        local.block_on(&crate::runtime().expect("a runtime"), async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
                .await
                .expect("a free port");
            sender
                .send(listener.local_addr().expect("bound"))
                .expect("the test waits");
            backend::serve(listener, protocol, Bytes::from_static(b"ok")).await
        })
    });
    receiver.recv().expect("the backend listens")
}

#[test]
fn both_loops_over_both_protocols_get_every_answer() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let load = Load {
            connections: 4,
            streams: if protocol == Protocol::Http2 { 8 } else { 1 },
            answered_by: Some(backend::ANSWERED_BY),
            ..Load::new(backend(protocol), protocol)
        };
        let duration = Duration::from_millis(300);
        for pace in [Pace::Closed { duration }, Pace::open(200.0, duration)] {
            let open = matches!(pace, Pace::Open { .. });
            let post = Template::new(Method::POST, "backend", "/?a=b", "body");
            let mut tally = Tally::default();
            let summary = run(
                &load,
                pace,
                move |_| post.clone(),
                |sample| tally.record(sample),
            )
            .expect("it runs");
            assert_eq!(tally.requests(), summary.finished);
            assert_eq!(tally.failed(), 0, "{:?}", tally.outcomes);
            assert_eq!(tally.answered.values().sum::<u64>(), tally.requests());
            assert!((1..=4).contains(&summary.connects), "{summary:?}");
            if open {
                assert_eq!((tally.requests(), summary.unsent), (60, 0));
            }
        }
    }
}

#[test]
fn a_stall_is_charged_to_every_request_that_should_have_started() {
    // One connection to a server that answers 5 times a second, asked 50 times a second: the last
    // request waits behind all others, and its latency says so.
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        use std::io::{BufRead, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        sender
            .send(listener.local_addr().expect("bound"))
            .expect("the test waits");
        let (stream, _) = listener.accept().expect("a client");
        let mut lines = std::io::BufReader::new(stream.try_clone().expect("a handle")).lines();
        while let Some(Ok(line)) = lines.next() {
            if line.is_empty() {
                std::thread::sleep(Duration::from_millis(100));
                (&stream)
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    .expect("the client reads");
            }
        }
    });
    let load = Load::new(
        receiver.recv().expect("the server listens"),
        Protocol::Http1,
    );
    let get = Template::get("backend", "/");
    let mut tally = Tally::default();
    let pace = Pace::open(50.0, Duration::from_millis(200));
    let summary = run(
        &load,
        pace,
        move |_| get.clone(),
        |sample| tally.record(sample),
    )
    .expect("it runs");
    assert_eq!(tally.requests(), 10);
    assert!(!summary.kept_rate(), "{summary:?}");
    // 10 requests at 100 ms each, the last of which should have started at 180 ms.
    assert!(
        tally.quantile(1.0) >= Duration::from_millis(800),
        "{:?}",
        tally.quantile(1.0)
    );
}

#[test]
fn nobody_listening_is_a_failure_and_no_error() {
    let target = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|held| held.local_addr())
        .expect("a free port");
    let get = Template::get("backend", "/");
    let mut tally = Tally::default();
    let pace = Pace::open(50.0, Duration::from_millis(100));
    run(
        &Load::new(target, Protocol::Http1),
        pace,
        move |_| get.clone(),
        |sample| tally.record(sample),
    )
    .expect("runs");
    assert_eq!((tally.requests(), tally.outcomes["connect"]), (5, 5));
}

#[test]
fn an_endless_run_ends_when_told() {
    let stop = Stop::default();
    let get = Template::get("backend", "/");
    let pace = Pace::Open {
        rate: 100.0,
        jitter: 1.0,
        duration: None,
        stop: stop.clone(),
    };
    let mut seen = 0;
    let load = Load {
        connections: 2,
        ..Load::new(backend(Protocol::Http1), Protocol::Http1)
    };
    run(
        &load,
        pace,
        move |_| get.clone(),
        |_| {
            seen += 1;
            if seen == 5 {
                stop.stop();
            }
        },
    )
    .expect("it runs");
    assert!((5..100).contains(&seen), "{seen}");
}
