//! Bodies stream: back-pressure, memory, and ends before the end.

use crate::support::{NAME, get, in_front_of};
use heddle_e2e::echo::{Echo, pattern};
use heddle_e2e::proxy::Proxy;
use heddle_e2e::scale;
use heddle_e2e::script::{Scripted, eventually};
use heddle_e2e::wire::{Ending, Wire};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const MIB: usize = 1 << 20;

/// What a proxy may grow by while it holds back a body of any size.
const SLACK: usize = 16 * MIB;

/// Size of a body that must not fit anywhere in between.
fn large() -> usize {
    64 * MIB * scale()
}

/// Repeats the proxy's first requests, so that later growth is not that of starting up.
fn settled(proxy: &Proxy) -> usize {
    for _ in 0..8 {
        let mut wire = Wire::connect(proxy.outbound());
        wire.send(get("/?bytes=100000"));
        wire.read_response();
    }
    proxy.resident()
}

#[test]
fn a_slow_reader_holds_back_the_server() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let size = large();
    let server = Scripted::start(move |mut guest| {
        while let Some(head) = guest.request_head() {
            let size = if head.first.contains("large") {
                size
            } else {
                10
            };
            guest
                .wire
                .send(format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n"));
            for start in (0..size).step_by(MIB) {
                if !guest.wire.try_send(pattern(start, MIB.min(size - start))) {
                    return;
                }
                counter.fetch_add(MIB, Ordering::Relaxed);
            }
        }
    });
    let proxy = in_front_of(server.address());
    let before = settled(&proxy);
    let mut wire = Wire::connect(proxy.outbound());
    sent.store(0, Ordering::Relaxed);
    wire.send(get("/large"));
    assert_eq!(wire.read_head().status(), 200);
    std::thread::sleep(Duration::from_millis(500));
    let stuck = sent.load(Ordering::Relaxed);
    assert!(
        stuck < size / 2,
        "the server could send {stuck} bytes to a client that does not read"
    );
    let grown = proxy.resident().saturating_sub(before);
    assert!(
        grown < SLACK,
        "the proxy holds {grown} bytes of a body that nobody reads"
    );
    let body = wire.read_exactly(size);
    assert!(body == pattern(0, size), "the body came altered");
    let grown = proxy.resident().saturating_sub(before);
    assert!(grown < SLACK, "the proxy grew by {grown} bytes");
}

#[test]
fn a_slow_server_holds_back_the_client() {
    let size = large();
    let server = Scripted::start(|mut guest| {
        while let Some(head) = guest.request_head() {
            if head.get("content-length").is_some() {
                std::thread::sleep(Duration::from_millis(500));
            }
            let length = guest.wire.read_rest(head, "").body.len().to_string();
            guest.wire.send(format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{length}",
                length.len()
            ));
        }
    });
    let proxy = in_front_of(server.address());
    let before = settled(&proxy);
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(format!(
        "POST / HTTP/1.1\r\nhost: echo\r\ncontent-length: {size}\r\n\r\n"
    ));
    let (mut most, mut taken) = (0, 0);
    let body = pattern(0, MIB);
    for _ in (0..size).step_by(MIB) {
        wire.send(&body);
        taken += MIB;
        if taken % (8 * MIB) == 0 {
            most = most.max(proxy.resident());
        }
    }
    assert_eq!(wire.read_response().text(), size.to_string());
    let grown = most.saturating_sub(before);
    assert!(grown < SLACK, "the proxy grew by {grown} bytes");
}

#[test]
fn the_first_bytes_do_not_wait_for_the_last() {
    let echo = Echo::start(NAME);
    let proxy = in_front_of(echo.address());
    let mut wire = Wire::connect(proxy.outbound());
    wire.send("POST /?mirror=1 HTTP/1.1\r\nhost: echo\r\ntransfer-encoding: chunked\r\n\r\n");
    for word in ["one", "two", "three"] {
        wire.send(format!("{:x}\r\n{word}\r\n", word.len()));
        if word == "one" {
            assert_eq!(
                wire.read_head().status(),
                200,
                "the head comes while the request goes on"
            );
        }
        assert_eq!(usize::from_str_radix(&wire.read_line(), 16), Ok(word.len()));
        assert_eq!(
            wire.read_line(),
            word,
            "each piece comes back before the next is sent"
        );
    }
    wire.send("0\r\n\r\n");
    assert_eq!(wire.read_line(), "0");
    assert_eq!(echo.requests(), 1);
}

#[test]
fn a_client_that_leaves_is_noticed_by_the_server() {
    let echo = Echo::start(NAME);
    let proxy = in_front_of(echo.address());
    for (number, target) in ["/?delay=9000", "/?bytes=1000000&gap=100"]
        .into_iter()
        .enumerate()
    {
        let mut wire = Wire::connect(proxy.outbound());
        wire.send(get(target));
        if number == 1 {
            wire.read_head();
        }
        eventually("the request arrives", || echo.open() == 1);
        drop(wire);
        eventually("the request is given up", || {
            echo.cancelled() == number + 1 && echo.open() == 0
        });
    }
}

#[test]
fn an_unfinished_request_does_not_look_finished() {
    let ends = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&ends);
    let server = Scripted::start(move |mut guest| {
        guest.request_head();
        let (body, ending) = guest.wire.read_to_end();
        seen.lock()
            .expect("no test panics with this")
            .push((String::from_utf8_lossy(&body).into_owned(), ending));
    });
    let proxy = in_front_of(server.address());
    for framing in ["content-length: 1000", "transfer-encoding: chunked"] {
        let mut wire = Wire::connect(proxy.outbound());
        wire.send(format!(
            "POST / HTTP/1.1\r\nhost: echo\r\n{framing}\r\n\r\n5\r\nhello\r\n"
        ));
        std::thread::sleep(Duration::from_millis(100));
        wire.reset();
    }
    eventually("the server sees both end", || {
        ends.lock().expect("no test panics with this").len() == 2
    });
    for (body, ending) in ends.lock().expect("no test panics with this").iter() {
        assert_ne!(*ending, Ending::Open);
        assert!(
            !body.ends_with("0\r\n\r\n"),
            "the end was made up: {body:?}"
        );
    }
}

#[test]
fn an_unfinished_answer_does_not_look_finished() {
    let chunked = Scripted::start(|mut guest| {
        guest.request();
        guest
            .wire
            .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n");
        std::thread::sleep(Duration::from_millis(50));
        guest.wire.reset();
    });
    let servers = [
        ("reset within a length", Scripted::half_answering(true)),
        ("closed within a length", Scripted::half_answering(false)),
        ("reset between chunks", chunked),
    ];
    for (case, server) in servers {
        let proxy = in_front_of(server.address());
        let mut wire = Wire::connect(proxy.outbound());
        wire.send(get("/"));
        let head = wire.read_head();
        assert_eq!(head.status(), 200, "{case}");
        let (body, ending) = wire.read_to_end();
        assert_ne!(
            ending,
            Ending::Open,
            "{case}: the client would wait for ever"
        );
        let body = String::from_utf8_lossy(&body);
        assert!(
            !body.ends_with("0\r\n\r\n") && body.len() < 100,
            "{case}: the end was made up: {body:?}"
        );
        assert_eq!(
            server.requests().len(),
            1,
            "{case}: an answer that began is not asked for again"
        );
    }
}

#[test]
fn a_server_that_dribbles_is_waited_for() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n0123456789abcdefghij";
    let server = Scripted::dribbling(answer, Duration::from_millis(4));
    let proxy = in_front_of(server.address());
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(get("/"));
    assert_eq!(wire.read_response().text(), "0123456789abcdefghij");
}

#[test]
fn a_client_that_dribbles_is_waited_for() {
    let echo = Echo::start(NAME);
    let proxy = in_front_of(echo.address());
    let mut wire = Wire::connect(proxy.outbound());
    let request = "POST /slow HTTP/1.1\r\nhost: echo\r\ncontent-length: 10\r\n\r\n0123456789";
    wire.dribble(request, 1, Duration::from_millis(4));
    assert_eq!(wire.read_response().json()["bodyBytes"], 10);
}

#[test]
fn a_client_that_finishes_its_half_still_gets_its_answer() {
    let echo = Echo::start(NAME);
    let proxy = in_front_of(echo.address());
    let mut wire = Wire::connect(proxy.outbound());
    wire.send(get("/?delay=100"));
    wire.finish();
    let mut answer = String::new();
    wire.stream()
        .read_to_string(&mut answer)
        .expect("the connection ends in order");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
}
