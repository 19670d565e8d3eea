//! Answers over HTTP/2 that would be another answer as HTTP/1, or none.

use crate::place::{GET, Place, is_refused};
use heddle_e2e::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, block, frame,
};
use heddle_e2e::script::Guest;
use heddle_e2e::wire::{Ending, Wire};

type Case = (&'static str, Vec<u8>);

const WHOLE: u8 = END_HEADERS | END_STREAM;
const PREFACE: usize = 24;
const GOAWAY: u8 = 7;
const PUSH_PROMISE: u8 = 5;
/// The first stream of a client.
const FIRST: u32 = 1;

/// Answers the first request of a connection with these frames.
fn answer(guest: &mut Guest, frames: &[u8]) {
    guest.wire.read_exactly(PREFACE);
    guest.wire.send(frame(SETTINGS, 0, 0, &[]));
    loop {
        let head = guest.wire.read_exactly(9);
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        guest.wire.read_exactly(length);
        if head[3] == HEADERS {
            break;
        }
    }
    guest.wire.try_send(frames);
    guest.wire.finish();
    guest.wire.read_to_end();
}

fn place(cases: &[Case]) -> Place {
    let answers: Vec<_> = cases.iter().map(|case| case.1.clone()).collect();
    Place::new("http2", move |mut guest| {
        let frames = &answers[guest.number % answers.len()];
        answer(&mut guest, frames);
    })
}

/// An answer with these fields, and a body.
fn with(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut all = vec![(":status", "200")];
    all.extend(fields);
    of(&all)
}

fn of(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = frame(HEADERS, END_HEADERS, FIRST, &block(fields));
    bytes.extend(frame(DATA, END_STREAM, FIRST, b"hello"));
    bytes
}

fn heads() -> Vec<Case> {
    vec![
        ("no status", of(&[("x-a", "b")])),
        (
            "two statuses",
            of(&[(":status", "200"), (":status", "404")]),
        ),
        (
            "a status behind a field",
            of(&[("x-a", "b"), (":status", "200")]),
        ),
        ("a status that is no number", of(&[(":status", "abc")])),
        ("a status of two digits", of(&[(":status", "20")])),
        ("a status of four digits", of(&[(":status", "2000")])),
        (
            "a status with more behind",
            of(&[(":status", "200 OK\r\nx: y")]),
        ),
        ("an unknown pseudo field", with(&[(":foo", "b")])),
        ("a capital", with(&[("X-A", "b")])),
        ("no name", with(&[("", "b")])),
        ("a blank in a name", with(&[("x a", "b")])),
        ("a colon in a name", with(&[("x:a", "b")])),
        ("a line end in a name", with(&[("x\r\nset-cookie", "b")])),
        (
            "a line end in a value",
            with(&[("x-a", "b\r\nset-cookie: evil=1")]),
        ),
        (
            "an LF in a value",
            with(&[("x-a", "b\nset-cookie: evil=1")]),
        ),
        ("a CR in a value", with(&[("x-a", "b\rc")])),
        ("a NUL in a value", with(&[("x-a", "b\0c")])),
        (
            "two answers in a value",
            with(&[("x-a", "b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")]),
        ),
        ("connection", with(&[("connection", "close")])),
        ("keep-alive", with(&[("keep-alive", "timeout=5")])),
        ("proxy-connection", with(&[("proxy-connection", "close")])),
        (
            "transfer-encoding",
            with(&[("transfer-encoding", "chunked")]),
        ),
        ("upgrade", with(&[("upgrade", "websocket")])),
        (
            "two lengths",
            with(&[("content-length", "5"), ("content-length", "6")]),
        ),
        (
            "a length twice",
            with(&[("content-length", "5"), ("content-length", "5")]),
        ),
        ("a list of lengths", with(&[("content-length", "5, 5")])),
        ("a signed length", with(&[("content-length", "+5")])),
        ("a length of no number", with(&[("content-length", "0x5")])),
        ("no length", with(&[("content-length", "")])),
        (
            "a length and no body",
            frame(
                HEADERS,
                WHOLE,
                FIRST,
                &block(&[(":status", "200"), ("content-length", "5")]),
            ),
        ),
        (
            "an interim answer that ends",
            frame(HEADERS, WHOLE, FIRST, &block(&[(":status", "103")])),
        ),
        (
            "DATA before a head",
            frame(DATA, END_STREAM, FIRST, b"hello"),
        ),
        (
            "a push",
            frame(PUSH_PROMISE, END_HEADERS, FIRST, b"\0\0\0\x02\x82\x86\x84"),
        ),
        ("index 0", frame(HEADERS, WHOLE, FIRST, b"\x88\x80")),
        ("a broken frame", frame(SETTINGS, 0, 0, &[0; 5])),
        ("a frame too large", frame(DATA, 0, FIRST, &[0; 20_000])),
        (
            "an answer of HTTP/1",
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec(),
        ),
        (
            "a block that is never over",
            [
                frame(HEADERS, 0, FIRST, b"\x88"),
                frame(CONTINUATION, 0, FIRST, b"\x00\x01a\x01b").repeat(100),
            ]
            .concat(),
        ),
        (
            "a block of 15,000 references",
            [
                frame(
                    HEADERS,
                    0,
                    FIRST,
                    &[&b"\x88\x40\x03x-a\x7f\x71"[..], &[b'b'; 240]].concat(),
                ),
                frame(CONTINUATION, END_HEADERS, FIRST, &[0xbe; 15_000]),
            ]
            .concat(),
        ),
    ]
}

#[test]
fn broken_answers_are_refused() {
    let cases = heads();
    let place = place(&cases);
    for (number, (what, _)) in cases.iter().enumerate() {
        place.end_connections(number);
        let answer = place.ask(GET);
        assert!(
            is_refused(&answer),
            "{what}: {} {:?}",
            answer.status(),
            answer.head
        );
        assert!(!answer.text().contains("hello"), "{what}");
    }
    assert!(place.malformed("h2") + place.malformed("framing") >= cases.len() as u64);
}

/// What a body has wrong breaks it off: it is never taken for complete.
#[test]
fn bodies_of_another_length_break_off() {
    let sized = |length: &str, data: &[u8]| {
        let head = block(&[(":status", "200"), ("content-length", length)]);
        let mut bytes = frame(HEADERS, END_HEADERS, FIRST, &head);
        bytes.extend(frame(DATA, END_STREAM, FIRST, data));
        bytes
    };
    let cases = vec![
        ("fewer bytes", sized("9", b"hello")),
        ("more bytes", sized("3", b"hello")),
        ("bytes where there are none", sized("0", b"hello")),
    ];
    let place = place(&cases);
    for (number, (what, _)) in cases.iter().enumerate() {
        place.end_connections(number);
        let mut wire = Wire::connect(place.proxy.outbound());
        wire.send(GET);
        let (bytes, ending) = wire.read_to_end();
        let text = String::from_utf8_lossy(&bytes);
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let refused = text.starts_with("HTTP/1.1 502");
        // No more than the head promised; where it promised more than came, the connection ends.
        assert!(
            refused || body.len() < 5 || ending != Ending::Open,
            "{what}: {text}"
        );
    }
    assert!(place.malformed("h2") > 0);
}

#[test]
fn trailers_do_not_change_the_head() {
    let mut bytes = frame(HEADERS, END_HEADERS, FIRST, &block(&[(":status", "200")]));
    bytes.extend(frame(DATA, 0, FIRST, b"hello"));
    let trailers = block(&[
        ("content-length", "3"),
        ("set-cookie", "evil=1"),
        ("x-sum", "7"),
    ]);
    bytes.extend(frame(HEADERS, WHOLE, FIRST, &trailers));
    let place = place(&[("trailers", bytes)]);
    let mut wire = Wire::connect(place.proxy.outbound());
    wire.send("GET / HTTP/1.1\r\nhost: bad\r\nconnection: te, close\r\nte: trailers\r\n\r\n");
    let text = String::from_utf8_lossy(&wire.read_to_end().0).into_owned();
    assert!(text.contains("hello"), "{text}");
    assert!(
        !text.contains("evil") && !text.contains("content-length"),
        "{text}"
    );
}

/// Interim answers go on, but for a go-ahead that nobody asked for; 101 is none of HTTP/2 (RFC 9113 section 8.6), and
/// means nothing.
#[test]
fn interim_answers_go_on_where_they_mean_something() {
    for (status, goes_on) in [
        ("100", false),
        ("101", false),
        ("102", true),
        ("103", true),
        ("199", true),
    ] {
        let interim = frame(HEADERS, END_HEADERS, FIRST, &block(&[(":status", status)]));
        let mut bytes = interim.repeat(20);
        bytes.extend(with(&[]));
        let place = place(&[("interim", bytes)]);
        let (interim, answer) = place.ask_for_all(GET);
        assert_eq!(
            (answer.status(), answer.text()),
            (200, "hello".into()),
            "{status}"
        );
        assert_eq!(interim.len(), if goes_on { 20 } else { 0 }, "{status}");
    }
}

/// However many there are, they are not kept.
#[test]
fn a_flood_of_interim_answers_stays_small() {
    let interim = frame(HEADERS, END_HEADERS, FIRST, &block(&[(":status", "103")]));
    let mut bytes = interim.repeat(100_000);
    bytes.extend(with(&[]));
    let place = place(&[("interim", bytes)]);
    let before = place.proxy.resident();
    assert_eq!(place.ask(GET).text(), "hello");
    let grown = place.proxy.resident().saturating_sub(before);
    assert!(grown < 24 * 1024 * 1024, "grew by {grown} bytes");
}

/// GOAWAY with an error is the service's word, not a broken one.
#[test]
fn a_service_that_gives_up_is_no_broken_one() {
    let goaway = frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 2]);
    let place = place(&[("goaway", goaway)]);
    let answer = place.ask(GET);
    assert_eq!(answer.status(), 502);
    assert_eq!(place.malformed("h2"), 0);
}
