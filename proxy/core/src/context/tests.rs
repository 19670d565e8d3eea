//! Tables: what travels, as it is written and read.

use super::{HopContext, parse_grpc_timeout, parse_local_dtab, show_grpc_timeout, trace_id};
use crate::name::Dtab;
use std::time::Duration;

#[test]
fn contexts_are_read_or_refused_as_a_whole() {
    let read = |text: &str| HopContext::parse(text.as_bytes());
    let cases = [
        ("", Some((None, None, ""))),
        ("deadline=0", Some((Some(0), None, ""))),
        ("retries=3, deadline=1500", Some((Some(1500), Some(3), ""))),
        ("dtab=:L2E9Pi9iOw==:", Some((None, None, "/a=>/b"))),
        ("deadline=5;unit=ms", Some((Some(5), None, ""))),
        (
            "new=(1 2), other=?1, third=\"x\", deadline=7",
            Some((Some(7), None, "")),
        ),
        ("deadline=1, deadline=2", Some((Some(2), None, ""))),
        ("deadline=-1", None),
        ("deadline=1.5", None),
        ("deadline=\"1\"", None),
        ("deadline", None),
        ("deadline=(1)", None),
        ("retries=4294967296", None),
        ("dtab=\"/a=>/b\"", None),
        ("dtab=:L2EtPi9i:", None),
        ("dtab=:/w==:", None),
        ("deadline=1,", None),
        ("Deadline=1", None),
        ("deadline=99999999999999999", None),
        ("\u{e9}", None),
    ];
    for (text, expected) in cases {
        let expected = expected.map(|(deadline, retries, dtab)| HopContext {
            deadline: deadline.map(Duration::from_millis),
            retries,
            dtab: Dtab::parse(dtab).unwrap(),
        });
        assert_eq!(read(text).ok(), expected, "{text}: {:?}", read(text));
    }
    assert_eq!(HopContext::default().show(), None);
}

#[test]
fn local_tables_append_in_the_order_in_which_they_win() {
    let both = parse_local_dtab(&[b"/a=>/1", b"/a=>/2"], &[b"/a=>/3"], &[b" /a => /4 ; "]).unwrap();
    assert_eq!(both.to_string(), "/a=>/1;/a=>/2;/a=>/3;/a=>/4");
    assert_eq!(parse_local_dtab(&[], &[], &[]), Ok(Dtab::empty()));
    let error = parse_local_dtab(&[], &[b"/a -> /b"], &[]).unwrap_err();
    assert!(
        error.starts_with("`l5d-dtab` is no dtab: at byte 3"),
        "{error}"
    );
    assert!(
        parse_local_dtab(&[], &[], &[b"\xff"])
            .unwrap_err()
            .contains("UTF-8")
    );
}

#[test]
fn grpc_timeouts_have_eight_digits_and_a_unit() {
    let cases: [(&[u8], Option<Duration>); 12] = [
        (b"1H", Some(Duration::from_secs(3600))),
        (b"2M", Some(Duration::from_secs(120))),
        (b"3S", Some(Duration::from_secs(3))),
        (b"4m", Some(Duration::from_millis(4))),
        (b"5u", Some(Duration::from_micros(5))),
        (b"00000006n", Some(Duration::from_nanos(6))),
        (b"99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
        (b"123456789n", None),
        (b"S", None),
        (b"1s", None),
        (b"-1S", None),
        (b"", None),
    ];
    for (text, expected) in cases {
        assert_eq!(
            parse_grpc_timeout(text),
            expected,
            "{}",
            text.escape_ascii()
        );
    }
    let cases = [
        (Duration::ZERO, "0n"),
        (Duration::from_nanos(99_999_999), "99999999n"),
        (Duration::from_nanos(100_000_999), "100000u"),
        (Duration::from_secs(100), "100000m"),
        (Duration::from_secs(1_000_000), "1000000S"),
        (Duration::MAX, "99999999H"),
    ];
    for (left, expected) in cases {
        assert_eq!(show_grpc_timeout(left), expected, "{left:?}");
    }
}

#[test]
fn trace_ids_come_from_well_formed_headers_only() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";
    let cases = [
        (format!("00-{TRACE}-{PARENT}-01"), true),
        (format!("00-{TRACE}-{PARENT}-01-more"), false),
        (format!("cc-{TRACE}-{PARENT}-01-more"), true),
        (format!("cc-{TRACE}-{PARENT}-01"), true),
        (format!("ff-{TRACE}-{PARENT}-01"), false),
        (format!("00-{}-{PARENT}-01", TRACE.to_uppercase()), false),
        (format!("00-{}-{PARENT}-01", "0".repeat(32)), false),
        (format!("00-{TRACE}-{}-01", "0".repeat(16)), false),
        (format!("00-{TRACE}-{PARENT}"), false),
        (format!("00-{TRACE}-{PARENT}-1"), false),
        (String::new(), false),
    ];
    for (header, expected) in cases {
        assert_eq!(trace_id(header.as_bytes()).is_some(), expected, "{header}");
    }
}
