//! Heads, trailers and lengths that would be another request as HTTP/1.

use crate::frames::{Attacker, DATA, END_HEADERS, END_STREAM, HEADERS, Place, block, frame};

type Fields = Vec<(&'static str, &'static str)>;

fn with(extra: &[(&'static str, &'static str)]) -> Fields {
    let mut fields = pseudo("GET", "/", "echo");
    fields.extend(extra);
    fields
}

fn pseudo(method: &'static str, path: &'static str, authority: &'static str) -> Fields {
    vec![
        (":method", method),
        (":scheme", "http"),
        (":authority", authority),
        (":path", path),
    ]
}

fn injections() -> Vec<Fields> {
    let inject = "a\r\n\r\nGET /admin HTTP/1.1\r\nhost: echo\r\n\r\n";
    vec![
        with(&[("x-note", inject)]),
        with(&[("x-note", "a\nb: c")]),
        with(&[("x-note", "a\rb")]),
        with(&[("x-note", "a\0b")]),
        with(&[("x-note", " a")]),
        with(&[("x-note", "a\t")]),
        with(&[("x\r\nb", "c")]),
        with(&[("x: a\r\nb", "c")]),
        with(&[("x note", "c")]),
        with(&[("x:note", "c")]),
        with(&[("X-Note", "c")]),
        with(&[("", "c")]),
        with(&[("transfer-encoding", "chunked")]),
        with(&[("connection", "close")]),
        with(&[("keep-alive", "1")]),
        with(&[("proxy-connection", "close")]),
        with(&[("upgrade", "websocket")]),
        with(&[("te", "chunked")]),
        with(&[("host", "other")]),
        with(&[("host", "echo"), ("host", "echo")]),
        with(&[("content-length", "+1")]),
        with(&[("content-length", "0x10")]),
        with(&[("content-length", "1"), ("content-length", "2")]),
        with(&[("x_forwarded_for", "10.0.0.1")]),
        with(&[(":path", "/other")]),
        with(&[(":status", "200")]),
        with(&[(":unknown", "1")]),
        pseudo("GET\r\nx: y", "/", "echo"),
        pseudo("GET /admin HTTP/1.1\r\n", "/", "echo"),
        pseudo("G ET", "/", "echo"),
        pseudo("GET", "/ HTTP/1.1\r\nhost: x\r\n\r\nGET /", "echo"),
        pseudo("GET", "/a b", "echo"),
        pseudo("GET", "/a\0", "echo"),
        pseudo("GET", "/a%00", "echo"),
        pseudo("GET", "/a\\b", "echo"),
        pseudo("GET", "/%2e%2e/b", "echo"),
        pseudo("GET", "", "echo"),
        pseudo("POST", "*", "echo"),
        pseudo("GET", "http://other/", "echo"),
        pseudo("GET", "/", "user@echo"),
        pseudo("GET", "/", "echo\r\nx: y"),
        pseudo("GET", "/", "echo/admin"),
        pseudo("GET", "/", "echo, other"),
        vec![(":method", "GET"), (":scheme", "http"), (":path", "/")],
        vec![
            (":method", "GET"),
            (":scheme", "gopher"),
            (":authority", "echo"),
            (":path", "/"),
        ],
        vec![
            (":method", "GET"),
            (":scheme", "http"),
            ("x-a", "b"),
            (":authority", "echo"),
            (":path", "/"),
        ],
        vec![(":scheme", "http"), (":authority", "echo"), (":path", "/")],
        vec![(":method", "GET"), (":authority", "echo"), (":path", "/")],
    ]
}

#[test]
fn nothing_is_injected_on_the_way_down_to_http1() {
    let place = Place::new();
    let before = place.echo.requests();
    for fields in injections() {
        let mut attacker = Attacker::connect(&place.proxy);
        attacker.send(&frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            1,
            &block(&fields),
        ));
        let status = attacker.answer(1).status(1);
        assert_ne!(status, Some(200), "{fields:?} was answered");
        assert_eq!(
            place.echo.requests(),
            before,
            "{fields:?} reached the service"
        );
    }
    place.is_well();
}

#[test]
fn more_fields_than_the_limit_are_refused_though_each_is_a_crumb() {
    let place = Place::new();
    let before = place.echo.requests();
    let mut attacker = Attacker::connect(&place.proxy);
    let fields = with(&[("cookie", "a=b"); 101]);
    attacker.send(&frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        &block(&fields),
    ));
    assert_ne!(attacker.answer(1).status(1), Some(200));
    assert_eq!(place.echo.requests(), before);
    place.is_well();
}

#[test]
fn trailers_do_not_change_the_head() {
    let place = Place::new();
    let cases = [
        ("content-length", "3"),
        ("host", "other"),
        ("transfer-encoding", "chunked"),
        ("authorization", "Bearer x"),
        ("cookie", "a=b"),
        ("te", "trailers"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x_forwarded_for", "10.0.0.1"),
    ];
    for (name, value) in cases {
        let mut attacker = Attacker::connect(&place.proxy);
        let mut bytes = frame(
            HEADERS,
            END_HEADERS,
            1,
            &block(&pseudo("POST", "/", "echo")),
        );
        bytes.extend(frame(DATA, 0, 1, b"body"));
        bytes.extend(frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            1,
            &block(&[(name, value)]),
        ));
        attacker.send(&bytes);
        let seen = attacker.answer(1);
        assert_ne!(seen.status(1), Some(200), "{name} was taken");
    }
    place.is_well();
}

#[test]
fn a_body_of_another_length_resets_its_stream() {
    let place = Place::new();
    for (length, body) in [("5", &b"abc"[..]), ("3", b"abcde"), ("0", b"a")] {
        let mut attacker = Attacker::connect(&place.proxy);
        let mut fields = pseudo("POST", "/", "echo");
        fields.push(("content-length", length));
        let mut bytes = frame(HEADERS, END_HEADERS, 1, &block(&fields));
        bytes.extend(frame(DATA, END_STREAM, 1, body));
        attacker.send(&bytes);
        let seen = attacker.answer(1);
        assert!(
            seen.is_reset(1) || seen.goaway().is_some(),
            "content-length {length} with {} bytes: {seen:?}",
            body.len()
        );
        place.is_well();
    }
}
