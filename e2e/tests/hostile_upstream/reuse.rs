//! Bytes behind the end of an answer are nobody's: the connection is not used again, and the next caller gets its own.

use crate::place::{GET, Place};
use heddle_e2e::script::{Guest, eventually};
use heddle_e2e::wire::{Ending, Wire};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

const POISON: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood";

/// Answers the very first request with these bytes, and all others as a good service would.
fn begins_with(guest: &mut Guest, first: &str) {
    if guest.request_head().is_none() {
        return;
    }
    guest
        .wire
        .try_send(if guest.number == 0 { first } else { GOOD });
    while guest.request_head().is_some() {
        if guest.number == 0 {
            guest.record_text("asked again");
        }
        guest.wire.try_send(GOOD);
    }
    guest.record_text("closed");
}

fn poisoned() -> Vec<(&'static str, &'static str, String)> {
    let head = "HEAD / HTTP/1.1\r\nhost: bad\r\n\r\n";
    vec![
        ("an answer behind it", GET, format!("{GOOD}{POISON}")),
        (
            "an answer behind chunks",
            GET,
            format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n{POISON}"
            ),
        ),
        (
            "more bytes than its length",
            GET,
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngoodness".into(),
        ),
        (
            "half an answer behind it",
            GET,
            format!("{GOOD}HTTP/1.1 200 OK\r\ncontent-le"),
        ),
        ("an empty line behind it", GET, format!("{GOOD}\r\n")),
        ("a blank behind it", GET, format!("{GOOD} ")),
        (
            "an interim answer behind it",
            GET,
            format!("{GOOD}HTTP/1.1 103 Early Hints\r\n\r\n"),
        ),
        (
            "a body of 204",
            GET,
            format!("HTTP/1.1 204 No Content\r\n\r\n{POISON}"),
        ),
        (
            "a body of 304",
            GET,
            format!("HTTP/1.1 304 Not Modified\r\ncontent-length: 4\r\n\r\n{POISON}"),
        ),
        ("a body of HEAD", head, format!("{GOOD}{POISON}")),
        (
            "chunks of HEAD",
            head,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n".into(),
        ),
    ]
}

#[test]
fn bytes_behind_an_answer_reach_nobody() {
    for (what, request, first) in poisoned() {
        let place = Place::new("http1", move |mut guest| begins_with(&mut guest, &first));
        let answer = place.ask(request);
        assert!(answer.status() < 400, "{what}: {}", answer.status());
        assert!(!answer.text().contains("poison"), "{what}");
        eventually(&format!("{what}: the connection is closed"), || {
            place.server.texts().contains(&"closed".to_owned())
        });
        for _ in 0..3 {
            let next = place.ask(GET);
            let text = next.text();
            assert!(
                !text.contains("poison") && !text.contains("evil"),
                "{what}: {text}"
            );
        }
        assert!(
            !place.server.texts().contains(&"asked again".to_owned()),
            "{what}: the connection was used again"
        );
        eventually(&format!("{what} is counted"), || {
            place.malformed("unasked") > 0
        });
    }
}

/// The bytes come when the connection is in the pool.
#[test]
fn bytes_on_an_idle_connection_end_it() {
    let answered = Arc::new(AtomicBool::new(false));
    let heard = answered.clone();
    let place = Place::new("http1", move |mut guest| {
        if guest.number > 0 {
            return begins_with(&mut guest, GOOD);
        }
        guest.request_head();
        guest.wire.send(GOOD);
        eventually("the caller is answered", || heard.load(Relaxed));
        guest.wire.try_send(POISON);
        guest.wire.read_to_end();
        guest.record_text("closed");
    });
    assert_eq!(place.ask(GET).text(), "good");
    answered.store(true, Relaxed);
    eventually("the connection is closed", || {
        place.server.texts().contains(&"closed".to_owned())
    });
    assert_eq!(place.ask(GET).text(), "good");
    assert_eq!(place.server.connections(), 2);
    assert_eq!(place.malformed("unasked"), 1);
}

/// An answer before the request's body has come: the connection is used again only when all of it went out.
#[test]
fn an_early_answer_waits_for_the_body() {
    let place = Place::new("http1", |mut guest| {
        let Some(head) = guest.request_head() else {
            return;
        };
        guest.wire.send(GOOD);
        let request = guest.wire.read_rest(head, "");
        guest.record_text(&format!("{} bytes", request.body.len()));
        while guest.request_head().is_some() {
            guest.wire.try_send(GOOD);
        }
    });
    let mut slow = Wire::connect(place.proxy.outbound());
    slow.send("POST / HTTP/1.1\r\nhost: bad\r\ncontent-length: 10\r\n\r\nfirst");
    assert_eq!(slow.read_response().text(), "good");
    // Another caller's request must not become the rest of the body.
    assert_eq!(place.ask(GET).text(), "good");
    assert_eq!(place.server.connections(), 2);
    slow.try_send("-last");
    slow.finish();
    let heads = place.server.requests();
    assert!(
        heads
            .iter()
            .all(|head| head.get("host").as_deref() == Some("bad")),
        "{heads:?}"
    );
}

/// One that broke off is not used again either.
#[test]
fn a_body_of_another_length_ends_its_connection() {
    for (first, complete) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ngood", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngoods", true),
    ] {
        let place = Place::new("http1", move |mut guest| {
            if guest.number > 0 {
                return begins_with(&mut guest, GOOD);
            }
            guest.request_head();
            guest.wire.send(first);
            guest.wire.finish();
            guest.wire.read_to_end();
        });
        let mut wire = Wire::connect(place.proxy.outbound());
        wire.send(GET);
        let head = wire.read_head();
        assert_eq!(head.status(), 200);
        assert_eq!(wire.read_exactly(4), b"good");
        if !complete {
            assert_ne!(
                wire.expect_end(),
                Ending::Open,
                "the caller sees that it is not complete"
            );
        }
        assert_eq!(place.ask(GET).text(), "good");
    }
}
