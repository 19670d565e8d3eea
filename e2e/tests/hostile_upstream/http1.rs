//! Answers over HTTP/1 that have two meanings, or none.

use crate::place::{GET, Place, is_refused};
use heddle_e2e::wire::{Ending, Wire};

type Case = (&'static str, Vec<u8>);

fn head(fields: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nhello").into_bytes()
}

fn framing() -> Vec<Case> {
    [
        "content-length: 5\r\ncontent-length: 6",
        "content-length: 5\r\ncontent-length: 5",
        "content-length: 5, 5",
        "content-length: 5,6",
        "content-length: +5",
        "content-length: -5",
        "content-length: 0x5",
        "content-length: 05",
        "content-length: 5 5",
        "content-length: 5;",
        "content-length:",
        "content-length: 18446744073709551621",
        "content-length: 9223372036854775808",
        "content-length: five",
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked, gzip",
        "transfer-encoding: gzip",
        "transfer-encoding: identity",
        "transfer-encoding: identity\r\ncontent-length: 5",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
        "transfer-encoding: xchunked",
        "transfer-encoding: \"chunked\"",
        "transfer-encoding: chunked;a=b",
        "transfer-encoding:",
    ]
    .into_iter()
    .map(|fields| (fields, head(fields)))
    .collect()
}

fn line_ends() -> Vec<Case> {
    [
        "HTTP/1.1 200 OK\ncontent-length: 5\n\nhello",
        "HTTP/1.1 200 OK\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\nhello",
        "HTTP/1.1 200 OK\r\nx-a: b\nset-cookie: evil=1\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\ncontent-length: 5\r\n\r\nhello",
    ]
    .into_iter()
    .map(|text| (text, text.into()))
    .collect()
}

fn lines() -> Vec<Case> {
    [
        "x-a: b\r\n c: d",
        "x-a: b\r\n\tc",
        " x-a: b",
        "x-a : b",
        "x-a\t: b",
        "x-a",
        ": b",
        "x a: b",
        "x(a): b",
        "x-a: b\0c",
        "x-a: b\rc: d",
        "x-a: b\r",
        "x-a: b\u{1}",
        "x-a: b\u{7f}",
        "x-a: b\u{b}c",
    ]
    .into_iter()
    .map(|fields| (fields, head(fields)))
    .collect()
}

fn status_lines() -> Vec<Case> {
    [
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 2a0 OK\r\n\r\n",
        "HTTP/1.1 -20 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1\t200 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.2 200 OK\r\n\r\n",
        "HTTP/1.10 200 OK\r\n\r\n",
        "HTTP/0.9 200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "200 OK\r\n\r\n",
        "<html>hello</html>\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "\r\n\r\n",
        " HTTP/1.1 200 OK\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        "HTTP/1.1 200 OK\0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\u{0}\u{0}\u{0}\u{4}\u{0}\u{0}\u{0}\u{0}\u{0}\r\n\r\n",
    ]
    .into_iter()
    .map(|text| (text, text.into()))
    .collect()
}

fn sizes() -> Vec<Case> {
    let long = "b".repeat(70_000);
    let many = "x-a: b\r\n".repeat(300);
    vec![
        ("a value of 70,000", head(&format!("x-a: {long}"))),
        ("a name of 70,000", head(&format!("{long}: a"))),
        (
            "a reason of 70,000",
            format!("HTTP/1.1 200 {long}\r\n\r\n").into_bytes(),
        ),
        ("300 fields", head(many.trim_end())),
        (
            "2,000 fields",
            head(&format!("x-a: {}", "\r\nx-a: ".repeat(2000))),
        ),
    ]
}

fn all_refused(cases: Vec<Case>, reasons: &[&str]) {
    let place = Place::saying(cases.iter().map(|case| case.1.clone()).collect());
    for (number, (what, _)) in cases.iter().enumerate() {
        assert_eq!(place.server.connections(), number, "one connection each");
        let answer = place.ask(GET);
        assert!(
            is_refused(&answer),
            "{}: {} {:?}",
            what.escape_debug(),
            answer.status(),
            answer.head
        );
        assert!(!answer.text().contains("hello"));
    }
    let counted: u64 = reasons.iter().map(|reason| place.malformed(reason)).sum();
    assert_eq!(counted, cases.len() as u64, "each is counted once");
}

#[test]
fn answers_of_two_lengths_are_refused() {
    all_refused(framing(), &["framing", "syntax"]);
}

#[test]
fn lines_that_end_with_lf_alone_are_refused() {
    all_refused(line_ends(), &["line-end"]);
}

#[test]
fn broken_fields_are_refused() {
    all_refused(lines(), &["syntax"]);
}

#[test]
fn broken_status_lines_are_refused() {
    all_refused(status_lines(), &["status-line", "syntax"]);
}

#[test]
fn large_heads_are_refused() {
    all_refused(sizes(), &["size"]);
}

#[test]
fn http_1_0_has_no_transfer_coding() {
    all_refused(
        vec![(
            "chunked in 1.0",
            b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
        )],
        &["syntax"],
    );
}

#[test]
fn a_protocol_that_nobody_asked_for_is_refused() {
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nraw";
    all_refused(vec![("101", switch.into())], &["upgrade"]);
}

/// What a body has wrong comes after its head: the answer breaks off, and is never taken for complete.
#[test]
fn broken_bodies_break_off() {
    let chunked = |body: &str| {
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}").into_bytes()
    };
    let cases = vec![
        ("no number", chunked("5\r\nhello\r\nx\r\n\r\n")),
        ("a signed number", chunked("+5\r\nhello\r\n0\r\n\r\n")),
        (
            "a number of hexadecimal kind",
            chunked("0x5\r\nhello\r\n0\r\n\r\n"),
        ),
        (
            "a number too large",
            chunked("10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ),
        ("more than it says", chunked("4\r\nhello\r\n0\r\n\r\n")),
        ("less than it says", chunked("6\r\nhello\r\n0\r\n\r\n")),
        ("LF behind the size", chunked("5\nhello\r\n0\r\n\r\n")),
        ("LF behind the data", chunked("5\r\nhello\n0\r\n\r\n")),
        (
            "LF within an extension",
            chunked("5;a\nb\r\nhello\r\n0\r\n\r\n"),
        ),
        ("no last chunk", chunked("5\r\nhello\r\n")),
        (
            "no end of trailers",
            chunked("5\r\nhello\r\n0\r\nx-a: b\r\n"),
        ),
        (
            "a broken trailer",
            chunked("5\r\nhello\r\n0\r\nx-a\r\n\r\n"),
        ),
        (
            "fewer bytes than its length",
            b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello".to_vec(),
        ),
    ];
    let place = Place::saying(cases.iter().map(|case| case.1.clone()).collect());
    for (what, _) in &cases {
        let mut wire = Wire::connect(place.proxy.outbound());
        wire.send(GET);
        let (bytes, ending) = wire.read_to_end();
        let text = String::from_utf8_lossy(&bytes);
        assert_ne!(ending, Ending::Open, "{what}: {text}");
        let whole = text.ends_with("0\r\n\r\n") || text.contains("content-length: 5");
        assert!(text.starts_with("HTTP/1.1 502") || !whole, "{what}: {text}");
    }
    assert!(place.malformed("chunk") > 0);
}

/// Trailers that frame, route or authorise are removed (RFC 9110 section 6.5.1).
#[test]
fn trailers_do_not_change_the_head() {
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n5\r\nhello\r\n0\r\n\
                  content-length: 3\r\nset-cookie: evil=1\r\ntransfer-encoding: chunked\r\nx-sum: 7\r\n\r\n";
    let place = Place::saying(vec![answer.into()]);
    let mut wire = Wire::connect(place.proxy.outbound());
    wire.send("GET / HTTP/1.1\r\nhost: bad\r\nconnection: te, close\r\nte: trailers\r\n\r\n");
    let text = String::from_utf8_lossy(&wire.read_to_end().0).into_owned();
    assert!(text.contains("x-sum: 7"), "{text}");
    assert!(
        !text.contains("evil") && !text.contains("content-length"),
        "{text}"
    );
}

/// A thousand interim answers do no harm, and neither does one that never ends.
#[test]
fn interim_answers_are_bounded() {
    let mut many = "HTTP/1.1 102 Processing\r\n\r\n".repeat(1000);
    many.push_str("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
    let place = Place::saying(vec![many.into()]);
    let mut wire = Wire::connect(place.proxy.outbound());
    wire.send(GET);
    assert_eq!(wire.read_response().text(), "hello");

    let place = Place::new("http1", |mut guest| {
        if guest.request_head().is_some() {
            let head = format!("HTTP/1.1 103 Early Hints\r\nlink: {}\r\n", "a".repeat(1000));
            guest.wire.try_send(&head);
            while guest
                .wire
                .try_send(format!("x-a: {}\r\n", "b".repeat(10_000)))
            {}
        }
    });
    assert!(is_refused(&place.ask(GET)));
    assert_eq!(place.malformed("size"), 1);
}
