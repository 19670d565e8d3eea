//! Frames in numbers that nobody needs.

use crate::frames::{
    Attacker, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, PING,
    PRIORITY, Place, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, get,
};

/// Stream identifiers of a client, in order.
fn stream(index: usize) -> u32 {
    u32::try_from(2 * index + 1).expect("few streams")
}

#[test]
fn control_frames_are_cut_off_within_ten_thousand() {
    let cases: [(&str, u8, u8, u32, &[u8]); 7] = [
        ("h2-ping", PING, 0, 0, &[1; 8]),
        ("h2-ping", PING, 1, 0, &[1; 8]),
        ("h2-settings", SETTINGS, 0, 0, &[]),
        ("h2-settings", SETTINGS, 0, 0, &[0, 1, 0, 0, 16, 0]),
        ("h2-priority", PRIORITY, 0, 1, &[0, 0, 0, 3, 16]),
        ("h2-window-update", WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        ("h2-other-frames", 0xfa, 0, 0, &[7; 16]),
    ];
    for (reason, kind, flags, stream, payload) in cases {
        let place = Place::new();
        let mut attacker = Attacker::connect(&place.proxy);
        let bytes = frame(kind, flags, stream, payload);
        attacker.flood(600_000, |_| bytes.clone());
        let seen = attacker.end();
        assert!(seen.closed, "{reason}");
        assert_eq!(seen.goaway(), Some(ENHANCE_YOUR_CALM), "{reason}");
        assert!(place.refused(reason), "{reason} is counted");
        place.is_well();
    }
}

#[test]
fn rapid_reset_reaches_few_endpoints() {
    let place = Place::new();
    let before = place.echo.requests();
    let mut attacker = Attacker::connect(&place.proxy);
    attacker.flood(60_000, |index| {
        let mut pair = frame(HEADERS, END_HEADERS | END_STREAM, stream(index), &get());
        pair.extend(frame(RST_STREAM, 0, stream(index), &[0, 0, 0, 8]));
        pair
    });
    assert_eq!(attacker.end().goaway(), Some(ENHANCE_YOUR_CALM));
    let reached = place.echo.requests() - before;
    assert!(reached <= 256, "{reached} requests reached the service");
    place.is_well();
}

#[test]
fn made_you_reset_ends_the_connection() {
    type Wrong = fn(u32) -> Vec<u8>;
    let provocations: [(&str, Wrong); 6] = [
        ("WINDOW_UPDATE of 0", |id| {
            frame(WINDOW_UPDATE, 0, id, &[0; 4])
        }),
        ("DATA after the end", |id| frame(DATA, 0, id, b"more")),
        ("HEADERS after the end", |id| {
            frame(HEADERS, END_HEADERS | END_STREAM, id, &get())
        }),
        ("a window beyond its bound", |id| {
            frame(WINDOW_UPDATE, 0, id, &[0x7f, 0xff, 0xff, 0xff])
        }),
        ("PRIORITY on itself", |id| {
            let mut payload = id.to_be_bytes().to_vec();
            payload.push(1);
            frame(PRIORITY, 0, id, &payload)
        }),
        ("PRIORITY of a wrong size", |id| {
            frame(PRIORITY, 0, id, &[0; 4])
        }),
    ];
    for (what, provocation) in provocations {
        let place = Place::new();
        let before = place.echo.requests();
        let slow = block(&[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "echo"),
            (":path", "/?delay=30000"),
        ]);
        let mut attacker = Attacker::connect(&place.proxy);
        attacker.flood(20_000, |index| {
            let mut pair = frame(HEADERS, END_HEADERS | END_STREAM, stream(index), &slow);
            pair.extend(provocation(stream(index)));
            pair
        });
        attacker.read_until(|seen| seen.goaway().is_some() || seen.frames.len() > 256);
        let reached = place.echo.requests() - before;
        assert!(
            reached <= 600,
            "{what}: {reached} requests reached the service"
        );
        place.is_well();
    }
}

#[test]
fn continuation_floods_are_cut_off() {
    let cases: [(&str, &[u8]); 3] = [
        ("empty", &[]),
        ("small", &[0x00, 1, b'a', 1, b'b']),
        ("large", &[0x82; 16_384]),
    ];
    for (what, piece) in cases {
        let place = Place::new();
        let mut attacker = Attacker::connect(&place.proxy);
        assert!(attacker.send(&frame(HEADERS, END_STREAM, 1, &get())));
        let bytes = frame(CONTINUATION, 0, 1, piece);
        attacker.flood(4_000, |_| bytes.clone());
        // Whether the guard or the parser is first depends on how the bytes arrive.
        assert!(attacker.end().closed, "{what}");
        place.is_well();
    }
}

#[test]
fn empty_data_is_cut_off() {
    let place = Place::new();
    let mut attacker = Attacker::connect(&place.proxy);
    let post = block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "echo"),
        (":path", "/"),
    ]);
    assert!(attacker.send(&frame(HEADERS, END_HEADERS, 1, &post)));
    attacker.flood(100_000, |_| frame(DATA, 0, 1, &[]));
    assert!(attacker.end().closed);
    place.is_well();
}

/// One large field in the dynamic table, and blocks of one-byte references to it (CVE-2016-6581, CVE-2026-47774).
#[test]
fn header_bombs_stay_small() {
    let place = Place::new();
    let mut attacker = Attacker::connect(&place.proxy);
    // SETTINGS_INITIAL_WINDOW_SIZE 0: answers are held.
    assert!(attacker.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])));
    let mut first = get();
    first.push(0x40);
    first.extend([6, b'c', b'o', b'o', b'k', b'i', b'e', 127, 0x80 | 113, 30]);
    first.extend(vec![b'a'; 127 + 113 + 30 * 128]);
    let mut bomb = get();
    bomb.extend(vec![0x80 | 62; 15_000]);
    attacker.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &first));
    attacker.flood(100, |index| {
        frame(HEADERS, END_HEADERS | END_STREAM, stream(index + 1), &bomb)
    });
    attacker.read_until(|seen| seen.goaway().is_some() || seen.frames.len() > 20);
    place.is_well();
}

/// DATA behind a reset in the same packet (CVE-2026-26311).
#[test]
fn data_after_a_reset_is_nobodys() {
    let place = Place::new();
    let mut attacker = Attacker::connect(&place.proxy);
    let post = block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "echo"),
        (":path", "/"),
    ]);
    let mut bytes = frame(HEADERS, END_HEADERS, 1, &post);
    bytes.extend(frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]));
    bytes.extend(frame(DATA, END_STREAM, 1, b"ghost"));
    bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, 3, &get()));
    attacker.send(&bytes);
    assert_eq!(attacker.answer(3).status(3), Some(200));
    place.is_well();
}

/// A table that changes its size with every request costs neither memory nor answers (RFC 7541 section 4.2).
#[test]
fn tables_of_every_size_are_served() {
    let place = Place::new();
    let mut attacker = Attacker::connect(&place.proxy);
    for (index, size) in [0_u32, 4096, 0, u32::MAX, 1, 65_536, 0, 4096]
        .into_iter()
        .enumerate()
    {
        let mut setting = vec![0, 1];
        setting.extend(size.to_be_bytes());
        assert!(attacker.send(&frame(SETTINGS, 0, 0, &setting)));
        // The sender's own table, set to nothing and back at the beginning of a block.
        let mut head = b"\x20\x3f\xe1\x1f".to_vec();
        head.extend(get());
        let id = stream(index);
        attacker.send(&frame(HEADERS, END_HEADERS | END_STREAM, id, &head));
        attacker.read_until(|seen| seen.has_ended(id) || seen.goaway().is_some());
        assert!(
            attacker.seen.has_ended(id),
            "size {size}: {:?}",
            attacker.seen
        );
    }
    place.is_well();
}

/// Fields without a name or a value, in numbers (CVE-2019-9516).
#[test]
fn empty_fields_stay_small() {
    let place = Place::new();
    for field in [&b"\x00\x00\x00"[..], b"\x00\x80\x80", b"\x40\x01a\x00"] {
        let mut attacker = Attacker::connect(&place.proxy);
        attacker.flood(200, |index| {
            let mut head = get();
            head.extend(field.repeat(4000));
            frame(HEADERS, END_HEADERS | END_STREAM, stream(index), &head)
        });
        attacker.read_until(|seen| seen.goaway().is_some() || seen.frames.len() > 20);
    }
    place.is_well();
}
