//! Connections that hold something and say nothing: a header block that does not end, no stream at all.

use crate::frames::{
    Attacker, CONTINUATION, END_HEADERS, END_STREAM, HEADERS, PING, Place, frame, get,
};
use heddle_e2e::proxy::Setup;
use std::time::{Duration, Instant};

const LIMITS: &str = "limits: {headerTimeout: 1s, idle: 1s}";

fn place() -> Place {
    Place::with(Setup::default().listener("outbound", LIMITS))
}

#[test]
fn a_header_block_that_does_not_end_ends_the_connection() {
    let place = place();
    let whole = frame(HEADERS, END_STREAM, 1, &get());
    let (begun, last) = whole.split_at(whole.len() - 1);
    // A frame without END_HEADERS, a frame that is not complete, and one of which a few bytes come now and then.
    for (first, drop_by_drop) in [(&whole[..], None), (begun, None), (&begun[..9], Some(last))] {
        let mut attacker = Attacker::connect(&place.proxy);
        attacker.send(first);
        if let Some(byte) = drop_by_drop {
            let begun = Instant::now();
            while !attacker.seen.closed && begun.elapsed() < Duration::from_secs(8) {
                attacker.send(byte);
                attacker.pause();
            }
        }
        assert!(attacker.end().closed);
    }
    assert!(place.refused("header-timeout"));
    place.is_well();
}

/// Each frame of a block comes in time, the block does not.
#[test]
fn a_header_block_that_is_dragged_out_ends_the_connection() {
    let place = place();
    let mut attacker = Attacker::connect(&place.proxy);
    attacker.send(&frame(HEADERS, END_STREAM, 1, &get()));
    let begun = Instant::now();
    for _ in 0..12 {
        attacker.send(&frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b"));
        attacker.read_for(Duration::from_millis(300));
    }
    assert!(attacker.end().closed, "after {:?}", begun.elapsed());
    assert!(place.refused("header-timeout"));
    place.is_well();
}

/// PING is no use of a connection.
#[test]
fn a_connection_without_streams_ends_whatever_it_pings() {
    let place = place();
    for pings in [false, true] {
        let mut attacker = Attacker::connect(&place.proxy);
        attacker.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &get()));
        attacker.read_until(|seen| seen.has_ended(1));
        let begun = Instant::now();
        while attacker.seen.goaway().is_none() && begun.elapsed() < Duration::from_secs(15) {
            if pings {
                attacker.send(&frame(PING, 0, 0, &[0; 8]));
            }
            attacker.read_for(Duration::from_millis(100));
        }
        assert_eq!(attacker.seen.goaway(), Some(0), "pings: {pings}");
    }
    place.is_well();
}
