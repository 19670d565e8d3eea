use super::*;
use serde_json::json;

#[test]
fn a_counter_that_went_down_began_anew() {
    let cases = [
        (10, None, 10),
        (10, Some(4), 6),
        (10, Some(10), 0),
        (3, Some(10), 3),
    ];
    for (now, before, expected) in cases {
        assert_eq!(grown(now, before), expected, "{now} after {before:?}");
    }
}

#[test]
fn quantiles_are_linear_within_a_bucket() {
    let bounds = [1.0, 2.0, 4.0];
    let cases: [(&[u64], f64, Option<f64>); 9] = [
        (&[0, 0, 0, 0], 0.5, None),
        (&[10, 0, 0, 0], 0.5, Some(0.5)),
        (&[0, 10, 0, 0], 0.5, Some(1.5)),
        (&[0, 0, 10, 0], 1.0, Some(4.0)),
        (&[5, 5, 0, 0], 0.5, Some(1.0)),
        (&[5, 0, 5, 0], 0.75, Some(3.0)),
        (&[0, 0, 0, 10], 0.5, Some(4.0)),
        (&[0, 10, 0, 0], 0.0, Some(1.0)),
        (&[99, 0, 0, 1], 0.99, Some(1.0)),
    ];
    for (counts, q, expected) in cases {
        assert_eq!(quantile(&bounds, counts, q), expected, "{counts:?} at {q}");
    }
}

fn reading(process: u64, seconds: f64, requests: u64, failures: u64, counts: [u64; 3]) -> Value {
    json!({
        "version": 1, "process": process, "monotonicSeconds": seconds, "latencyBounds": [1.0, 2.0],
        "config": {"generation": 4, "refused": null},
        "services": [{
            "name": "/svc/a\u{1b}[2J", "listener": "outbound", "requests": requests, "failures": failures,
            "inFlight": 2, "latency": {"counts": counts}, "retries": {"connect": requests / 10, "503": 0},
            "retryBudget": {"balance": 7},
        }],
        "replicaSets": [{"id": "/#/static/a", "endpoints": [
            {"address": "127.0.0.1:1", "status": "busy", "ejectedMs": 1500, "ewmaMs": 2.0, "requests": requests},
        ]}],
    })
}

#[test]
fn two_readings_make_rates() {
    let before = reading(1, 10.0, 100, 50, [100, 0, 0]);
    let now = reading(1, 12.0, 140, 60, [100, 40, 0]);
    let figures = figures(&now, Some(&before));
    let service = &figures.services[0];
    assert_eq!(service.rate, Some(20.0));
    assert_eq!(service.success, Some(0.75));
    assert_eq!(service.percentiles[0], Some(1.5));
    assert_eq!(service.retry_rate, Some(2.0));
    assert_eq!(service.name, "/svc/a?[2J", "no control character");
    let replica = &figures.replicas[0];
    assert_eq!(replica.rate, Some(20.0));
    assert_eq!(replica.status, "ejected");
    assert_eq!(replica.ejected_seconds, Some(1.5));
}

#[test]
fn one_reading_or_another_process_makes_no_rate() {
    let now = reading(2, 12.0, 40, 10, [40, 0, 0]);
    for before in [
        None,
        Some(reading(1, 10.0, 100, 50, [100, 0, 0])),
        Some(now.clone()),
    ] {
        let figures = figures(&now, before.as_ref());
        assert_eq!(figures.services[0].rate, None, "{before:?}");
        assert_eq!(figures.services[0].success, Some(0.75));
    }
}

#[test]
fn what_cannot_be_understood_is_told() {
    for (text, reason) in [
        ("<html>", "not JSON"),
        ("{}", "version None"),
        ("{\"version\": 2}", "version Some(2)"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}
