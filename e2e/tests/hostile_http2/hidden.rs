//! What the HTTP/2 library drops without a word: the guard sees it in the header block itself.

use crate::frames::{
    Attacker, CONTINUATION, DATA, END_HEADERS, END_STREAM, FLAG_PRIORITY, HEADERS, PADDED,
    PROTOCOL_ERROR, Place, RST_STREAM, block, frame, get,
};
use heddle_e2e::script::eventually;

const WHOLE: u8 = END_HEADERS | END_STREAM;

/// `:method`, `:scheme` and `:authority` of an ordinary request.
const START: &[u8] = b"\x82\x86\x01\x04echo";

/// A request whose path is written so.
fn request(path: &[u8]) -> Vec<u8> {
    [START, path].concat()
}

/// `/a#b`, `/?c#d` and `/` followed by `#` alone, as literals of every form.
fn number_signs() -> Vec<Vec<u8>> {
    let names: [&[u8]; 7] = [
        b"\x04",
        b"\x14",
        b"\x44",
        b"\x05",
        b"\x00\x05:path",
        b"\x40\x05:path",
        b"\x10\x84\xb9\x58\xd3\x3f",
    ];
    // The last three in Huffman's code.
    let values: [&[u8]; 7] = [
        b"\x04/a#b",
        b"\x05/?c#d",
        b"\x02/#",
        b"\x01#",
        b"\x84\x60\x7f\xf5\x1f",
        b"\x85\x63\xfc\x27\xfd\x49",
        b"\x83\x63\xfe\xbf",
    ];
    names
        .iter()
        .flat_map(|name| values.map(|value| request(&[*name, value].concat())))
        .collect()
}

#[test]
fn a_number_sign_in_the_path_is_refused_in_every_form() {
    let place = Place::new();
    let before = place.echo.requests();
    for block in number_signs() {
        let mut attacker = Attacker::connect(&place.proxy);
        attacker.send(&frame(HEADERS, WHOLE, 1, &block));
        let seen = attacker.answer(1);
        assert!(
            seen.status(1) == Some(400) || seen.is_reset(1),
            "{}: {seen:?}",
            block.escape_ascii()
        );
        assert!(seen.goaway().is_none(), "other streams of it go on");
        // Whatever the table says from here on is as the client thinks.
        attacker.send(&frame(HEADERS, WHOLE, 3, &get()));
        attacker.read_until(|seen| seen.has_headers(3));
    }
    let served = number_signs().len();
    assert_eq!(place.echo.requests(), before + served);
    assert!(place.refused("target"));
    place.is_well();
}

#[test]
fn a_number_sign_that_arrives_in_pieces_is_refused() {
    let place = Place::new();
    for block in number_signs() {
        let bytes = frame(HEADERS, WHOLE, 1, &block);
        for cut in [
            10,
            bytes.len() - 4,
            bytes.len() - 3,
            bytes.len() - 2,
            bytes.len() - 1,
        ] {
            let mut attacker = Attacker::connect(&place.proxy);
            attacker.send(&bytes[..cut]);
            attacker.pause();
            attacker.send(&bytes[cut..]);
            let seen = attacker.answer(1);
            assert!(
                seen.status(1) == Some(400) || seen.is_reset(1),
                "{} cut at {cut}: {seen:?}",
                bytes.escape_ascii()
            );
        }
    }
    place.is_well();
}

/// The table remembers the path: later requests name it with one byte.
#[test]
fn a_number_sign_stays_refused_when_the_table_has_it() {
    let place = Place::new();
    let before = place.echo.requests();
    let cases: [&[u8]; 3] = [
        b"\x44\x04/a#b",
        b"\x44\x84\x60\x7f\xf5\x1f",
        b"\x40\x05:path\x04/a#b",
    ];
    for path in cases {
        let mut attacker = Attacker::connect(&place.proxy);
        attacker.send(&frame(HEADERS, WHOLE, 1, &request(path)));
        attacker.answer(1);
        for stream in [3, 5] {
            attacker.send(&frame(HEADERS, WHOLE, stream, &request(b"\xbe")));
            attacker.answer(stream);
        }
        assert_eq!(place.echo.requests(), before, "{}", path.escape_ascii());
    }
    place.is_well();
}

/// The name of the path comes from the dynamic table, between entries of other names.
#[test]
fn the_guards_table_is_the_parsers() {
    let place = Place::new();
    let before = place.echo.requests();
    let mut attacker = Attacker::connect(&place.proxy);
    // A path of the table's, then two other entries above it.
    let first = request(b"\x40\x05:path\x02/x\x40\x03x-a\x01b\x40\x03x-c\x01d");
    attacker.send(&frame(HEADERS, WHOLE, 1, &first));
    attacker.answer(1);
    eventually("the first arrives", || place.echo.requests() == before + 1);
    // 64 is its name now.
    attacker.send(&frame(HEADERS, WHOLE, 3, &request(b"\x0f\x31\x03/#y")));
    let seen = attacker.answer(3);
    assert!(seen.has_headers(3) || seen.is_reset(3), "{seen:?}");
    assert_eq!(place.echo.requests(), before + 1);
    place.is_well();
}

/// The parser resets such a stream without looking at its block, so that it would have another table from then on.
#[test]
fn a_stream_that_depends_on_itself_ends_the_connection() {
    let place = Place::new();
    for (flags, prefix) in [
        (FLAG_PRIORITY, &b"\0\0\0\x01\x10"[..]),
        (FLAG_PRIORITY, b"\x80\0\0\x01\x10"),
        (FLAG_PRIORITY | PADDED, b"\0\0\0\0\x01\x10"),
    ] {
        let mut attacker = Attacker::connect(&place.proxy);
        let block = [prefix, &request(b"\x40\x03x-a\x01b\x84")].concat();
        attacker.send(&frame(HEADERS, WHOLE | flags, 1, &block));
        assert_eq!(attacker.end().goaway(), Some(PROTOCOL_ERROR));
    }
    assert!(place.refused("h2-malformed"));
    place.is_well();
}

#[test]
fn pseudo_fields_in_trailers_end_the_connection() {
    let place = Place::new();
    let cases: [&[u8]; 8] = [
        b"\x84",
        b"\x82",
        b"\x86",
        b"\x88",
        b"\x04\x06/admin",
        b"\x01\x05other",
        b"\x00\x03x-a\x01b\x00\x05:path\x06/admin",
        b"\x00\x84\xb9\x58\xd3\x3f\x06/admin",
    ];
    for trailers in cases {
        let mut attacker = Attacker::connect(&place.proxy);
        let post = block(&[
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "echo"),
            (":path", "/"),
        ]);
        let mut bytes = frame(HEADERS, END_HEADERS, 1, &post);
        bytes.extend(frame(DATA, 0, 1, b"body"));
        bytes.extend(frame(HEADERS, WHOLE, 1, trailers));
        attacker.send(&bytes);
        let seen = attacker.end();
        assert_eq!(
            seen.goaway(),
            Some(PROTOCOL_ERROR),
            "{}",
            trailers.escape_ascii()
        );
        assert_ne!(seen.status(1), Some(200));
    }
    assert!(place.refused("trailers"));
    place.is_well();
}

/// Cut within a field, the parser forgets what was wrong with the part before.
#[test]
fn a_block_cut_within_a_field_hides_nothing() {
    let place = Place::new();
    let before = place.echo.requests();
    let cases: [&[u8]; 4] = [
        b"\x82\x86\x84\x04\x06/admin\x01\x04echo",
        b"\x82\x86\x84\x82\x01\x04echo",
        b"\x82\x86\x84\x00\x03x-a\x01b\x01\x04echo",
        b"\x82\x86\x84\x01\x05other\x01\x04echo",
    ];
    for bytes in cases {
        let (left, right) = bytes.split_at(bytes.len() - 3);
        let mut attacker = Attacker::connect(&place.proxy);
        let mut both = frame(HEADERS, END_STREAM, 1, left);
        both.extend(frame(CONTINUATION, END_HEADERS, 1, right));
        attacker.send(&both);
        let seen = attacker.end();
        assert_eq!(
            seen.goaway(),
            Some(PROTOCOL_ERROR),
            "{}",
            bytes.escape_ascii()
        );
    }
    assert_eq!(place.echo.requests(), before);
    place.is_well();
}

/// Connection fields of such a part are dropped by the parser: the service sees none of them.
#[test]
fn a_connection_field_cut_off_is_not_forwarded() {
    let place = Place::new();
    let mut attacker = Attacker::connect(&place.proxy);
    let block = block(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "echo"),
        (":path", "/"),
        ("transfer-encoding", "chunked"),
        ("x-note", "abc"),
    ]);
    let (left, right) = block.split_at(block.len() - 2);
    let mut both = frame(HEADERS, END_STREAM, 1, left);
    both.extend(frame(CONTINUATION, END_HEADERS, 1, right));
    attacker.send(&both);
    attacker.read_until(|seen| seen.has_ended(1));
    let body = attacker.seen.body(1);
    assert!(!body.contains("transfer-encoding"), "{body}");
    place.is_well();
}

/// Without an authority the parser drops the scheme.
#[test]
fn a_scheme_without_authority_counts() {
    let place = Place::new();
    let before = place.echo.requests();
    for scheme in ["https", "gopher", "HTTP", "http:", "", "a"] {
        let mut attacker = Attacker::connect(&place.proxy);
        let fields = [
            (":method", "GET"),
            (":scheme", scheme),
            (":path", "/"),
            ("host", "echo"),
        ];
        attacker.send(&frame(HEADERS, WHOLE, 1, &block(&fields)));
        let seen = attacker.answer(1);
        assert!(
            seen.status(1) == Some(400) || seen.is_reset(1),
            "{scheme:?}: {seen:?}"
        );
    }
    assert_eq!(place.echo.requests(), before);
    let mut attacker = Attacker::connect(&place.proxy);
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        ("host", "echo"),
    ];
    attacker.send(&frame(HEADERS, WHOLE, 1, &block(&fields)));
    assert_eq!(attacker.answer(1).status(1), Some(200));
    place.is_well();
}

/// A client that resets what it has just asked for, once, is a client like others.
#[test]
fn one_reset_is_no_attack() {
    let place = Place::new();
    let mut attacker = Attacker::connect(&place.proxy);
    attacker.send(&frame(HEADERS, WHOLE, 1, &get()));
    attacker.send(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]));
    attacker.send(&frame(HEADERS, WHOLE, 3, &get()));
    attacker.read_until(|seen| seen.has_headers(3));
    place.is_well();
}
