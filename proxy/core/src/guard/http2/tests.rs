use super::*;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn begun() -> Accountant {
    let mut accountant = Accountant::new(65_536);
    accountant.received(&mut [0; PREFACE], 0).unwrap();
    accountant
}

/// How many of a frame pass, and why not more.
fn flood(frames: &[u8]) -> (usize, &'static str) {
    let mut accountant = begun();
    for count in 0..20_000 {
        if let Err(breach) = accountant.received(&mut frames.to_vec(), 0) {
            return (count, breach.reason);
        }
    }
    panic!("20 000 passed");
}

#[test]
fn floods_end_within_their_allowance() {
    let cases: [(&str, u8, u8, &[u8], usize); 8] = [
        ("h2-ping", PING, 0, &[0; 8], 1000),
        ("h2-ping", PING, 1, &[0; 8], 1000),
        ("h2-settings", SETTINGS, 0, &[], 200),
        ("h2-priority", PRIORITY, 0, &[0; 5], 1000),
        ("h2-window-update", WINDOW_UPDATE, 0, &[0, 0, 0, 1], 5000),
        ("h2-empty-data", DATA, 0, &[], 200),
        ("h2-rapid-reset", RST_STREAM, 0, &[0; 4], 200),
        ("h2-other-frames", 0xb0, 0, &[1], 200),
    ];
    for (reason, kind, flags, payload, passed) in cases {
        let found = flood(&frame(kind, flags, 1, payload));
        assert_eq!(found, (passed, reason), "kind {kind}");
    }
}

#[test]
fn rapid_reset_ends_at_two_hundred_pairs() {
    let mut accountant = begun();
    let mut passed = 0;
    for stream in (1..).step_by(2) {
        let mut pair = frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0x82]);
        pair.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
        if accountant.received(&mut pair, 0).is_err() {
            break;
        }
        passed += 1;
    }
    assert_eq!(passed, 200);
}

#[test]
fn resets_of_old_or_answered_streams_are_free() {
    let mut accountant = begun();
    let mut now = 0;
    for round in 0..50_u32 {
        let streams = (0..100).map(|n| 1 + 2 * (round * 100 + n));
        for stream in streams.clone() {
            let mut open = frame(HEADERS, END_HEADERS, stream, &[0x82]);
            accountant.received(&mut open, now).unwrap();
        }
        now += 2 * GROWN;
        accountant.received(&mut [], now).unwrap();
        now += GROWN;
        for stream in streams {
            let mut reset = frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
            accountant.received(&mut reset, now).unwrap();
        }
    }
    let mut accountant = begun();
    for stream in (1..10_000).step_by(2) {
        let mut open = frame(HEADERS, END_HEADERS, stream, &[0x82]);
        accountant.received(&mut open, 0).unwrap();
        accountant
            .sent(
                &frame(DATA, END_STREAM, stream, b"answer"),
                0,
                |_| {},
                |_| true,
            )
            .unwrap();
        let mut reset = frame(RST_STREAM, 0, stream, &[0, 0, 0, 0]);
        accountant.received(&mut reset, 0).unwrap();
    }
}

#[test]
fn a_download_with_pings_and_windows_goes_on() {
    let mut accountant = begun();
    accountant
        .received(&mut frame(HEADERS, 5, 1, &[0x82]), 0)
        .unwrap();
    for _ in 0..50_000 {
        accountant
            .sent(&frame(DATA, 0, 1, &[7; 100]), 0, |_| {}, |_| true)
            .unwrap();
        let mut answer = frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 100]);
        answer.extend(frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 100]));
        answer.extend(frame(PING, 0, 0, &[0; 8]));
        accountant.received(&mut answer, 0).unwrap();
    }
}

#[test]
fn a_connection_that_lives_long_earns_its_allowance_again() {
    let mut accountant = begun();
    for second in 0..100_000 {
        for _ in 0..5 {
            accountant
                .received(&mut frame(PING, 0, 0, &[0; 8]), second * GROWN)
                .unwrap();
        }
    }
}

#[test]
fn header_blocks_are_bounded_in_frames_and_bytes() {
    let mut accountant = begun();
    accountant
        .received(&mut frame(HEADERS, 0, 1, &[0x82]), 0)
        .unwrap();
    assert!(accountant.in_block());
    let empty = accountant.received(&mut frame(CONTINUATION, 0, 1, &[]), 0);
    assert_eq!(empty.unwrap_err().reason, "h2-continuation");

    let mut accountant = begun();
    accountant
        .received(&mut frame(HEADERS, 0, 1, &[0x82]), 0)
        .unwrap();
    let count = (0..1000)
        .take_while(|_| {
            accountant
                .received(&mut frame(CONTINUATION, 0, 1, &[0x82]), 0)
                .is_ok()
        })
        .count();
    assert_eq!(count, MAX_CONTINUATIONS as usize);

    let mut accountant = begun();
    accountant
        .received(&mut frame(HEADERS, 0, 1, &[1; 16_384]), 0)
        .unwrap();
    let count = (0..1000)
        .take_while(|_| {
            accountant
                .received(&mut frame(CONTINUATION, 0, 1, &[1; 16_384]), 0)
                .is_ok()
        })
        .count();
    assert_eq!(count, 3);

    let mut accountant = begun();
    accountant
        .received(&mut frame(HEADERS, 0, 1, &[0x82]), 0)
        .unwrap();
    accountant
        .received(&mut frame(CONTINUATION, END_HEADERS, 1, &[0x84]), 0)
        .unwrap();
    assert!(!accountant.in_block());
}

#[test]
fn provoked_resets_are_counted_and_others_are_not() {
    let mut accountant = begun();
    for stream in (1..2000).step_by(2) {
        for code in [0, 2, 7, 8, 11] {
            accountant
                .sent(
                    &frame(RST_STREAM, 0, stream, &[0, 0, 0, code]),
                    0,
                    |_| {},
                    |_| true,
                )
                .unwrap();
        }
    }
    let passed = (0..1000)
        .take_while(|_| {
            accountant
                .sent(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 1]), 0, |_| {}, |_| true)
                .is_ok()
        })
        .count();
    assert_eq!(passed, 100);
}

#[test]
fn the_verdict_does_not_depend_on_where_bytes_are_cut() {
    let mut stream = vec![0; PREFACE];
    for number in 0..600_u32 {
        stream.extend(frame(HEADERS, 4, 2 * number + 1, &[3; 33]));
        stream.extend(frame(DATA, 0, 2 * number + 1, &[0xff; 21]));
        stream.extend(frame(RST_STREAM, 0, 2 * number + 1, &[0, 0, 0, 8]));
    }
    let ends_at = |piece: usize| {
        let mut accountant = Accountant::new(65_536);
        let mut pieces = stream.chunks(piece);
        let at = pieces.position(|piece| accountant.received(&mut piece.to_vec(), 0).is_err());
        at.map(|at| at * piece)
    };
    let exact = ends_at(1).expect("a breach");
    for piece in [2, 3, 5, 7, 9, 13, 64, 1000, 16_384] {
        assert_eq!(
            ends_at(piece),
            Some(exact / piece * piece),
            "pieces of {piece}"
        );
    }
}

#[test]
fn a_frame_may_be_added_between_frames_only() {
    let mut accountant = begun();
    assert!(accountant.at_boundary());
    let data = frame(DATA, 0, 1, b"text");
    accountant.sent(&data[..5], 0, |_| {}, |_| true).unwrap();
    assert!(!accountant.at_boundary());
    accountant.sent(&data[5..12], 0, |_| {}, |_| true).unwrap();
    assert!(!accountant.at_boundary());
    accountant.sent(&data[12..], 0, |_| {}, |_| true).unwrap();
    assert!(accountant.at_boundary());
}

#[test]
fn streams_that_their_caller_does_not_read_are_found_however_bytes_are_cut() {
    let mut incoming = vec![0; PREFACE];
    // A table size, and a window of 10 bytes.
    let settings = [0, 1, 0, 0, 16, 0, 0, 4, 0, 0, 0, 10];
    incoming.extend(frame(SETTINGS, 0, 0, &settings));
    for stream in [1, 3, 5, 7] {
        incoming.extend(frame(HEADERS, 5, stream, &[0x82]));
    }
    let mut outgoing = Vec::new();
    for stream in [1, 3, 5, 7] {
        let end = if stream == 7 { END_STREAM } else { 0 };
        outgoing.extend(frame(HEADERS, END_HEADERS, stream, &[0x88]));
        outgoing.extend(frame(DATA, end, stream, &[1; 10]));
    }
    let mut later = frame(WINDOW_UPDATE, 0, 3, &[0, 0, 16, 0]);
    later.extend(frame(SETTINGS, 1, 0, &[]));
    for piece in [1, 2, 5, 9, 13, 1000] {
        let mut accountant = Accountant::new(65_536);
        let mut said = [(&incoming, 1), (&later, 3)].into_iter();
        let mut receive = |accountant: &mut Accountant| {
            let (bytes, now) = said.next().unwrap();
            for piece in bytes.chunks(piece) {
                accountant.received(&mut piece.to_vec(), now).unwrap();
            }
        };
        receive(&mut accountant);
        assert_eq!(accountant.first_shut(), 0);
        for piece in outgoing.chunks(piece) {
            accountant.sent(piece, 2, |_| {}, |_| true).unwrap();
        }
        receive(&mut accountant);
        assert_eq!(accountant.left_of_frame(), 0);
        assert_eq!(accountant.first_shut(), 2, "pieces of {piece}");
        let stalled = accountant.stalled(2);
        assert_eq!(stalled, Some(Stalled::Streams(vec![1, 5])), "{piece}");
        assert_eq!(accountant.first_shut(), 0);
    }
}

#[test]
fn settings_are_bounded_by_what_there_are() {
    let mut accountant = begun();
    let mut most = frame(SETTINGS, 0, 0, &[0; 96]);
    accountant.received(&mut most, 0).unwrap();
    let mut more = frame(SETTINGS, 0, 0, &[0; 102]);
    let breach = accountant.received(&mut more, 0).unwrap_err();
    assert_eq!(breach.reason, "h2-settings");
}

#[test]
fn a_reset_is_a_frame() {
    assert_eq!(reset(0x0102, 11), [0, 0, 4, 3, 0, 0, 0, 1, 2, 0, 0, 0, 11]);
}

#[test]
fn goaway_says_why() {
    let frame = goaway(Breach {
        code: ENHANCE_YOUR_CALM,
        reason: "h2-ping",
        text: "why",
    });
    assert_eq!(
        frame,
        b"\0\0\x0b\x07\0\0\0\0\0\x7f\xff\xff\xff\0\0\0\x0bwhy"
    );
}

#[test]
fn an_answer_to_what_was_never_given_on_is_the_parsers() {
    let rows = [
        (HEADERS, END_STREAM, 1),
        (HEADERS, 0, 0),
        (DATA, END_STREAM, 0),
    ];
    for (kind, flags, told) in rows {
        for given in [true, false] {
            let mut accountant = Accountant::new(1000);
            let mut reasons = Vec::new();
            accountant
                .sent(
                    &frame(kind, flags, 7, b"."),
                    0,
                    |reason| reasons.push(reason),
                    |_| given,
                )
                .unwrap();
            let told = if given { 0 } else { told };
            assert_eq!(reasons, vec![LIST_TOO_LONG.reason; told], "{kind} {flags}");
        }
    }
}
