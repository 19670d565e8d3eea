//! Frames that no sender may send: the connection or the stream ends, and everybody else is served.

use crate::frames::{
    Attacker, CONTINUATION, DATA, END_HEADERS, END_STREAM, FLAG_PRIORITY, GOAWAY, HEADERS, PADDED,
    PING, PRIORITY, Place, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, get,
};
use heddle_e2e::script::eventually;

const WHOLE: u8 = END_HEADERS | END_STREAM;
const PUSH_PROMISE: u8 = 5;
const ACK: u8 = 1;

type Case = (&'static str, Vec<u8>);

/// A frame's head that promises so many bytes, without them.
fn promise(length: u32, kind: u8, flags: u8, stream: u32) -> Vec<u8> {
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes
}

fn joined(frames: &[Vec<u8>]) -> Vec<u8> {
    frames.concat()
}

/// An open stream, whose body is still to come.
fn open(stream: u32) -> Vec<u8> {
    let post = block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "echo"),
        (":path", "/"),
    ]);
    frame(HEADERS, END_HEADERS, stream, &post)
}

fn setting(id: u8, value: u32) -> Vec<u8> {
    let mut payload = vec![0, id];
    payload.extend(value.to_be_bytes());
    frame(SETTINGS, 0, 0, &payload)
}

fn wrong_streams() -> Vec<Case> {
    vec![
        ("DATA on 0", frame(DATA, 0, 0, b"a")),
        ("HEADERS on 0", frame(HEADERS, WHOLE, 0, &get())),
        ("PRIORITY on 0", frame(PRIORITY, 0, 0, &[0, 0, 0, 1, 1])),
        ("RST_STREAM on 0", frame(RST_STREAM, 0, 0, &[0; 4])),
        ("SETTINGS on 1", frame(SETTINGS, 0, 1, &[])),
        ("PING on 1", frame(PING, 0, 1, &[0; 8])),
        ("GOAWAY on 1", frame(GOAWAY, 0, 1, &[0; 8])),
        ("CONTINUATION on 0", frame(CONTINUATION, 4, 0, &[])),
        (
            "CONTINUATION of nothing",
            frame(CONTINUATION, 4, 1, &[0x82]),
        ),
        (
            "CONTINUATION after the end",
            joined(&[open(1), frame(CONTINUATION, 4, 1, &[0x82])]),
        ),
        (
            "PUSH_PROMISE",
            joined(&[
                open(1),
                frame(PUSH_PROMISE, 4, 1, b"\0\0\0\x02\x82\x86\x84"),
            ]),
        ),
        ("an even stream", frame(HEADERS, WHOLE, 2, &get())),
        (
            "a lower stream",
            joined(&[
                frame(HEADERS, WHOLE, 5, &get()),
                frame(HEADERS, WHOLE, 3, &get()),
            ]),
        ),
        ("DATA on an idle stream", frame(DATA, 0, 7, b"a")),
        (
            "RST_STREAM on an idle stream",
            frame(RST_STREAM, 0, 7, &[0; 4]),
        ),
        (
            "WINDOW_UPDATE on an idle stream",
            frame(WINDOW_UPDATE, 0, 7, &[0, 0, 0, 1]),
        ),
    ]
}

fn wrong_sizes() -> Vec<Case> {
    vec![
        ("PING of 7", frame(PING, 0, 0, &[0; 7])),
        ("PING of 9", frame(PING, 0, 0, &[0; 9])),
        ("SETTINGS of 5", frame(SETTINGS, 0, 0, &[0; 5])),
        (
            "SETTINGS with ACK and more",
            frame(SETTINGS, ACK, 0, &[0; 6]),
        ),
        ("WINDOW_UPDATE of 3", frame(WINDOW_UPDATE, 0, 0, &[0; 3])),
        (
            "RST_STREAM of 3",
            joined(&[open(1), frame(RST_STREAM, 0, 1, &[0; 3])]),
        ),
        (
            "RST_STREAM of 5",
            joined(&[open(1), frame(RST_STREAM, 0, 1, &[0; 5])]),
        ),
        ("GOAWAY of 7", frame(GOAWAY, 0, 0, &[0; 7])),
        (
            "DATA of 16385",
            joined(&[open(1), frame(DATA, 0, 1, &[0; 16_385])]),
        ),
        (
            "HEADERS of 16385",
            frame(HEADERS, WHOLE, 1, &[0x82; 16_385]),
        ),
        ("a frame of 16 MiB", promise(0xff_ffff, DATA, 0, 1)),
        ("an unknown frame of 16 MiB", promise(0xff_ffff, 0xee, 0, 1)),
        (
            "DATA that is all padding",
            joined(&[open(1), frame(DATA, PADDED, 1, &[9, 0, 0])]),
        ),
        (
            "DATA without its padding's length",
            joined(&[open(1), frame(DATA, PADDED, 1, &[])]),
        ),
        (
            "HEADERS that are all padding",
            frame(HEADERS, WHOLE | PADDED, 1, &[200, 0x82]),
        ),
        (
            "HEADERS without padding's length",
            frame(HEADERS, WHOLE | PADDED, 1, &[]),
        ),
        (
            "HEADERS without their priority",
            frame(HEADERS, WHOLE | FLAG_PRIORITY, 1, &[0; 3]),
        ),
    ]
}

fn wrong_values() -> Vec<Case> {
    vec![
        ("ENABLE_PUSH of 2", setting(2, 2)),
        ("INITIAL_WINDOW_SIZE of 2^31", setting(4, 0x8000_0000)),
        ("INITIAL_WINDOW_SIZE of 2^32-1", setting(4, u32::MAX)),
        ("MAX_FRAME_SIZE of 16383", setting(5, 16_383)),
        ("MAX_FRAME_SIZE of 2^24", setting(5, 0x100_0000)),
        ("MAX_FRAME_SIZE of 0", setting(5, 0)),
        (
            "WINDOW_UPDATE of 0 for all",
            frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
        ),
        (
            "WINDOW_UPDATE of 0",
            joined(&[open(1), frame(WINDOW_UPDATE, 0, 1, &[0; 4])]),
        ),
        (
            "a window beyond 2^31-1",
            joined(&[
                frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
                frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            ]),
        ),
        (
            "a setting that makes windows too large",
            joined(&[
                open(1),
                frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0, 0]),
                setting(4, 0x7fff_ffff),
            ]),
        ),
    ]
}

fn wrong_blocks() -> Vec<Case> {
    let whole = |block: &[u8]| frame(HEADERS, WHOLE, 1, block);
    let start = b"\x82\x86\x84\x01\x04echo".as_slice();
    let with = |rest: &[u8]| whole(&[start, rest].concat());
    vec![
        ("index 0", with(b"\x80")),
        ("an index beyond the tables", with(b"\xff\x80\x01")),
        ("a name beyond the tables", with(b"\x7f\x80\x01\x01a")),
        (
            "an integer of six bytes",
            with(b"\xff\x80\x80\x80\x80\x80\x01"),
        ),
        ("an integer without end", with(&[0xff; 40])),
        (
            "a table of 1 GiB",
            whole(&[b"\x3f\xe1\xff\xff\xff\x03", start].concat()),
        ),
        (
            "a table larger than settled",
            whole(&[b"\x3f\xe2\x1f", start].concat()),
        ),
        ("a table's size behind a field", with(b"\x3f\xe1\x1f")),
        ("a string longer than the block", with(b"\x00\x01a\x7e1234")),
        ("a name longer than the block", with(b"\x00\x7e")),
        ("a block that ends in a field", with(b"\x00\x01a")),
        ("the end code", with(b"\x00\x01a\x84\xff\xff\xff\xff")),
        ("padding of zeros", with(b"\x00\x01a\x81\x00")),
        ("padding of eight bits", with(b"\x00\x01a\x82\x1f\xff")),
        ("an unknown pseudo field", with(b"\x00\x04:foo\x01a")),
        ("a field without a name", with(b"\x00\x00\x01a")),
        (
            "a method with a blank",
            whole(b"\x02\x05G ET \x86\x84\x01\x04echo"),
        ),
        ("a NUL in a value", with(b"\x00\x01a\x03b\0c")),
        ("a CR in a value", with(b"\x00\x01a\x03b\rc")),
        ("an LF in a value", with(b"\x00\x01a\x03b\nc")),
        ("a capital in a name", with(b"\x00\x03x-A\x01b")),
    ]
}

/// Something else within a header block (RFC 9113 section 6.10).
fn interleaved() -> Vec<Case> {
    let begun = frame(HEADERS, END_STREAM, 1, b"\x82\x86\x84");
    let then = |other: Vec<u8>| joined(&[begun.clone(), other]);
    vec![
        ("PING within", then(frame(PING, 0, 0, &[0; 8]))),
        ("SETTINGS within", then(frame(SETTINGS, 0, 0, &[]))),
        ("DATA within", then(frame(DATA, 0, 1, b"a"))),
        ("HEADERS within", then(frame(HEADERS, WHOLE, 3, &get()))),
        ("RST_STREAM within", then(frame(RST_STREAM, 0, 1, &[0; 4]))),
        (
            "WINDOW_UPDATE within",
            then(frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ),
        (
            "PRIORITY within",
            then(frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 1])),
        ),
        ("an unknown frame within", then(frame(0xee, 0, 0, b"a"))),
        (
            "another stream's CONTINUATION",
            then(frame(CONTINUATION, 4, 3, b"\x01\x04echo")),
        ),
    ]
}

fn ends_the_connection(cases: Vec<Case>) {
    let place = Place::new();
    for (what, bytes) in cases {
        let refusals = place.all_refusals();
        let mut attacker = Attacker::connect(&place.proxy);
        attacker.send(&bytes);
        let seen = attacker.end();
        assert!(
            seen.goaway().is_some_and(|code| code != 0),
            "{what}: {:?}",
            seen.frames
        );
        eventually(&format!("{what} is counted"), || {
            place.all_refusals() > refusals
        });
    }
    place.is_well();
}

#[test]
fn frames_on_wrong_streams_end_the_connection() {
    ends_the_connection(wrong_streams());
}

#[test]
fn frames_of_wrong_sizes_end_the_connection() {
    ends_the_connection(wrong_sizes());
}

#[test]
fn wrong_settings_and_windows_end_the_connection() {
    ends_the_connection(wrong_values());
}

#[test]
fn broken_header_blocks_end_the_connection() {
    let place = Place::new();
    for (what, bytes) in wrong_blocks() {
        let requests = place.echo.requests();
        let mut attacker = Attacker::connect(&place.proxy);
        attacker.send(&bytes);
        let seen = attacker.answer(1);
        assert!(
            seen.goaway().is_some() || seen.is_reset(1),
            "{what}: {seen:?}"
        );
        assert_eq!(
            place.echo.requests(),
            requests,
            "{what} reached the service"
        );
    }
    assert!(place.refused("h2-connection-error"));
    place.is_well();
}

#[test]
fn nothing_comes_between_the_frames_of_a_block() {
    ends_the_connection(interleaved());
}

/// Streams beyond the listener's `streams` are refused one by one, and may be sent again.
#[test]
fn more_streams_than_allowed_are_refused() {
    let place = Place::new();
    let slow = block(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "echo"),
        (":path", "/?delay=20000"),
    ]);
    let mut attacker = Attacker::connect(&place.proxy);
    let mut sent = 0;
    for stream in (1..2000).step_by(2) {
        attacker.send(&frame(HEADERS, WHOLE, stream, &slow));
        sent += 1;
    }
    let seen = attacker.read_until(|seen| seen.resets() > 0 || seen.goaway().is_some());
    assert!(seen.resets() > 0, "{sent} streams: {seen:?}");
    assert!(place.echo.open() <= 256, "{} are open", place.echo.open());
    eventually("they are counted", || place.refused("h2-refused-stream"));
    place.is_well();
}

/// What is wrong with one stream alone leaves the others.
#[test]
fn what_breaks_one_stream_leaves_the_others() {
    let place = Place::new();
    let of_1: [Case; 3] = [
        (
            "a window beyond its bound",
            frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff]),
        ),
        (
            "trailers without an end",
            frame(HEADERS, END_HEADERS, 1, b"\x00\x01a\x01b"),
        ),
        ("a reset", frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])),
    ];
    for (what, bytes) in of_1 {
        let mut attacker = Attacker::connect(&place.proxy);
        attacker.send(&open(1));
        attacker.send(&bytes);
        attacker.send(&frame(HEADERS, WHOLE, 3, &get()));
        let seen = attacker.read_until(|seen| seen.has_headers(3) || seen.goaway().is_some());
        assert_eq!(seen.status(3), Some(200), "{what}: {seen:?}");
    }
    place.is_well();
}
