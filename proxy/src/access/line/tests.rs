//! That a line is what the document says.

use super::*;
use crate::access::record::{End, Record, Tried};
use heddle_core::name::{Dtab, Path};
use heddle_core::trace::TraceContext;
use std::collections::BTreeSet;

struct Nothing;

impl heddle_core::spec::Source for Nothing {
    fn read(&self, _: &std::path::Path) -> std::io::Result<Vec<u8>> {
        Err(std::io::ErrorKind::NotFound.into())
    }
    fn list(&self, _: &std::path::Path) -> std::io::Result<Vec<String>> {
        Err(std::io::ErrorKind::NotFound.into())
    }
    fn env(&self, _: &str) -> Option<String> {
        None
    }
}

fn record() -> Record {
    let config = heddle_core::spec::load(None, &Nothing).config.unwrap();
    let tried = |port: u16, outcome, status| Tried {
        set: Path::parse("/#/static/a").unwrap(),
        replica: ([127, 0, 0, 1], port).into(),
        span: [1; 8],
        started: 1_100_000,
        ended: 3_000_000,
        connect: 500_000,
        outcome,
        status,
    };
    Record {
        listener: config.listeners[0].clone(),
        caller: [127, 0, 0, 1].into(),
        version: http::Version::HTTP_11,
        grpc: false,
        method: http::Method::GET,
        uri: "/a/b?secret=1".parse().unwrap(),
        unread: None,
        refusal: None,
        host: Some(http::HeaderValue::from_bytes(b"acc\"ounts\xff").unwrap()),
        name: Some(Path::parse("/svc/a").unwrap()),
        route: None,
        rule: Some(1),
        overrides: Dtab::parse("/svc/a => /svc/b").unwrap(),
        attempts: vec![tried(1, "connect", 0), tried(2, "status", 200)],
        started: 1_000_000,
        answered: 3_000_000,
        ended: 4_500_000,
        at: SystemTime::UNIX_EPOCH + Duration::from_millis(951_826_088_123),
        status: 200,
        grpc_status: None,
        bytes_in: 3,
        bytes_out: 5,
        end: End::Complete,
        timer: None,
        error: None,
        trace: TraceContext::from_b3(b"64fe8b2a57d3eff7-e457b5a2e4d86bd1-1"),
        has_parent: true,
        span: [2; 8],
        log: true,
    }
}

fn line(record: &Record, query: bool) -> serde_json::Value {
    let mut out = Vec::new();
    append(&mut out, record, query);
    assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1);
    serde_json::from_slice(&out).unwrap()
}

#[test]
fn a_line_tells_what_happened() {
    let line = line(&record(), false);
    for (field, value) in [
        ("time", serde_json::json!("2000-02-29T12:08:08.123Z")),
        ("authority", "acc\"ounts\u{fffd}".into()),
        ("path", "/a/b".into()),
        ("name", "/svc/a".into()),
        ("overrides", "/svc/a=>/svc/b".into()),
        ("replica", "127.0.0.1:2".into()),
        ("retry_reasons", serde_json::json!(["connect"])),
        ("pick_ms", 0.1.into()),
        ("connect_ms", 0.5.into()),
        ("first_byte_ms", 2.0.into()),
        ("total_ms", 3.5.into()),
        ("trace_id", "000000000000000064fe8b2a57d3eff7".into()),
        ("timer", serde_json::Value::Null),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
}

#[test]
fn what_callers_chose_is_bounded_and_escaped() {
    let mut record = record();
    record.uri = format!("/{}?secret=1", "x".repeat(5000)).parse().unwrap();
    record.error = Some(("refused", "a\r\nb".into()));
    let shown = line(&record, true);
    let path = shown["path"].as_str().unwrap();
    assert!(path.len() < TEXT_MAX + 4 && path.ends_with('…'), "{path}");
    assert_eq!(shown["reason"], "a\r\nb");
    record.uri = "/a?b=c".parse().unwrap();
    assert_eq!(line(&record, true)["path"], "/a?b=c");
}

#[test]
fn the_document_lists_every_field() {
    let fields: BTreeSet<String> = match line(&record(), false) {
        serde_json::Value::Object(map) => map.keys().cloned().collect(),
        other => panic!("{other}"),
    };
    let document = include_str!("../../../../docs/observability.md");
    let table = document.split("| field | type | meaning |").nth(1).unwrap();
    let documented: BTreeSet<String> = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with("| `"))
        .map(|line| line.split('`').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(documented, fields);
}

#[test]
fn dates_are_those_of_the_calendar() {
    for (days, expect) in [
        (0, (1970, 1, 1)),
        (59, (1970, 3, 1)),
        (11_016, (2000, 2, 29)),
        (11_017, (2000, 3, 1)),
        (19_722, (2023, 12, 31)),
        (47_540, (2100, 2, 28)),
        (47_541, (2100, 3, 1)),
    ] {
        assert_eq!(date(days), expect, "{days}");
    }
}
