//! Ways into HTTP/2: there is one, the preface at a connection's beginning.

use crate::frames::{Attacker, HEADERS, PATIENCE, Place, SETTINGS, frame, get};
use heddle_e2e::wire::Wire;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A request over HTTP/2, preface included.
fn second() -> Vec<u8> {
    let mut bytes = PREFACE.as_bytes().to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes.extend(frame(HEADERS, 5, 1, &get()));
    bytes
}

/// All that a connection answers to these bytes, until it is silent or closed.
fn all_answers(place: &Place, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(place.proxy.outbound()).expect("the proxy listens");
    stream
        .set_read_timeout(Some(Duration::from_millis(500)))
        .expect("a socket takes its options");
    stream.write_all(bytes).expect("the proxy reads");
    let mut answers = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(count) = stream.read(&mut piece) {
        if count == 0 {
            break;
        }
        answers.extend(&piece[..count]);
    }
    answers
}

/// `Upgrade: h2c` is an ordinary request (RFC 9110 section 7.8): the bytes behind it are HTTP/1, or refused.
#[test]
fn upgrade_to_h2c_opens_no_second_way() {
    let place = Place::new();
    let requests = [
        "GET / HTTP/1.1\r\nhost: echo\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: echo\r\nconnection: upgrade\r\nupgrade: h2c, websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: echo\r\nconnection: upgrade\r\nupgrade: HTTP/2.0\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: echo\r\nconnection: upgrade\r\nupgrade: H2C\r\n\r\n",
        "OPTIONS / HTTP/1.1\r\nhost: echo\r\nconnection: upgrade\r\nupgrade: h2c\r\ncontent-length: 0\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: echo\r\nupgrade: h2c\r\n\r\n",
    ];
    for request in requests {
        let before = place.echo.requests();
        let mut bytes = request.as_bytes().to_vec();
        bytes.extend(second());
        let text = String::from_utf8_lossy(&all_answers(&place, &bytes)).into_owned();
        assert!(!text.contains("HTTP/1.1 101"), "{request}: {text}");
        assert!(
            place.echo.requests() <= before + 1,
            "{request}: the second one was served"
        );
        assert!(
            !text.contains("\"http2-settings\"") && !text.contains("\"upgrade\""),
            "{request}: {text}"
        );
    }
    place.is_well();
}

/// A preface anywhere but at the beginning is a request of another version.
#[test]
fn a_preface_within_http1_is_refused() {
    let place = Place::new();
    let before_it = [
        "GET / HTTP/1.1\r\nhost: echo\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: echo\r\ncontent-length: 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nhost: echo\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ];
    for request in before_it {
        let before = place.echo.requests();
        let mut bytes = request.as_bytes().to_vec();
        bytes.extend(second());
        let text = String::from_utf8_lossy(&all_answers(&place, &bytes)).into_owned();
        assert!(text.contains("HTTP/1.1 200"), "{request}: {text}");
        assert!(
            text.contains("HTTP/1.1 400") || text.contains("HTTP/1.1 505"),
            "{text}"
        );
        assert_eq!(place.echo.requests(), before + 1, "{request}");
    }
    // And in a body it is a body.
    let body = second();
    let mut wire = Wire::connect(place.proxy.outbound());
    wire.send(format!(
        "POST / HTTP/1.1\r\nhost: echo\r\ncontent-length: {}\r\n\r\n",
        body.len()
    ));
    wire.send(&body);
    let answer = wire.read_response();
    assert_eq!(answer.json()["bodyBytes"], body.len());
    place.is_well();
}

/// Nearly a preface is no protocol at all, and half of one is waited for until its time is over.
#[test]
fn what_is_nearly_a_preface_opens_nothing() {
    let place = Place::new();
    let cases = [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\rx",
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        "PRI * HTTP/2.0\r\nhost: echo\r\n\r\n",
        "PRI * HTTP/2.0\n\nSM\n\n",
        "PRI / HTTP/1.1\r\nhost: echo\r\n\r\n",
        "pri * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    for case in cases {
        let before = place.echo.requests();
        let mut bytes = case.as_bytes().to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, &[]));
        bytes.extend(frame(HEADERS, 5, 1, &get()));
        let text = String::from_utf8_lossy(&all_answers(&place, &bytes)).into_owned();
        assert!(!text.contains(" 200"), "{case:?}: {text}");
        assert_eq!(place.echo.requests(), before, "{case:?}");
    }
    place.is_well();
}

/// The first frame is SETTINGS (RFC 9113 section 3.4).
#[test]
fn a_connection_begins_with_settings() {
    let place = Place::new();
    let before = place.echo.requests();
    let mut attacker = Attacker::after(&place.proxy, PREFACE.as_bytes());
    attacker.send(&frame(HEADERS, 5, 1, &get()));
    attacker.read_until(|seen| seen.goaway().is_some() || seen.has_headers(1));
    // h2 takes it nonetheless, as it is free to: nothing depends on settings that say nothing.
    assert!(place.echo.requests() <= before + 1);
    place.is_well();
}

/// One that stays half is closed within the listener's time, and holds nothing up.
#[test]
fn half_a_preface_holds_nothing_up() {
    let place = Place::new();
    let mut halves: Vec<_> = (1..PREFACE.len())
        .map(|length| {
            let mut stream = TcpStream::connect(place.proxy.outbound()).expect("the proxy listens");
            stream
                .write_all(&PREFACE.as_bytes()[..length])
                .expect("the proxy reads");
            stream
        })
        .collect();
    place.is_well();
    for half in &mut halves {
        half.set_read_timeout(Some(PATIENCE))
            .expect("a socket takes its options");
        let mut rest = Vec::new();
        // Closed or reset, with or without words.
        half.read_to_end(&mut rest).ok();
        assert!(!String::from_utf8_lossy(&rest).contains(" 200"));
    }
}
