//! What is exposed, what the cap does, and that the document tells the truth.

use super::*;
use std::collections::BTreeMap;

/// Samples by their full text, `name{labels}`.
fn samples(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let parts = lines.map(|line| line.rsplit_once(' ').expect("a sample has a value"));
    parts
        .map(|(name, value)| (name, value.parse().expect("a value is a number")))
        .collect()
}

#[test]
fn each_handle_counts_under_its_own_name() {
    let metrics = Metrics::new(100);
    let listener = metrics.listener("outbound");
    let service = metrics.service("outbound", "/svc/accounts");
    let set = metrics.replica_set("/#/static/accounts-v1");
    listener.connections.inc();
    listener.connections_open.inc();
    listener.bytes_sent.add(17);
    listener.detected_http2.inc();
    listener.refused.inc("smuggling");
    for status in [200, 201, 404, 503, 101, 999, 42] {
        service.answered(status, 1_500_000);
    }
    service.grpc_status(14);
    service.grpc_status(77);
    service.retries.inc("connect");
    service.answers.inc("no-endpoints");
    service.hedges_won.inc();
    service.mirrors_dropped.inc();
    service.retry_budget_balance.set(100);
    set.success.add(3);
    set.reset.inc();
    set.endpoints_ejected.inc();
    set.refused.inc("pending");
    set.connect_duration.observe(Duration::from_millis(4));
    set.updated(std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    metrics
        .config()
        .applied(1, 0xab, 2, std::time::UNIX_EPOCH + Duration::from_secs(5));
    metrics
        .config()
        .refused(3, std::time::UNIX_EPOCH + Duration::from_secs(6));
    metrics.caches().tree.hits.inc();
    metrics.discovery().guard_holds.inc();
    metrics.refused("connections");
    let text = metrics.render();
    let samples = samples(&text);
    let service = r#"listener="outbound",service="/svc/accounts""#;
    let set = r##"replica_set="/#/static/accounts-v1""##;
    let expected = [
        (r#"heddle_connections_total{listener="outbound"}"#.to_owned(), 1.0),
        (r#"heddle_connections_open{listener="outbound"}"#.to_owned(), 1.0),
        (r#"heddle_bytes_total{listener="outbound",direction="sent"}"#.to_owned(), 17.0),
        (r#"heddle_protocols_detected_total{listener="outbound",protocol="http2"}"#.to_owned(), 1.0),
        (r#"heddle_refused_total{listener="outbound",reason="smuggling"}"#.to_owned(), 1.0),
        (format!(r#"heddle_requests_total{{{service},class="1xx"}}"#), 1.0),
        (format!(r#"heddle_requests_total{{{service},class="2xx"}}"#), 2.0),
        (format!(r#"heddle_requests_total{{{service},class="3xx"}}"#), 0.0),
        (format!(r#"heddle_requests_total{{{service},class="4xx"}}"#), 1.0),
        (format!(r#"heddle_requests_total{{{service},class="5xx"}}"#), 3.0),
        (format!("heddle_request_duration_seconds_bucket{{{service},le=\"0.001\"}}"), 0.0),
        (format!("heddle_request_duration_seconds_bucket{{{service},le=\"0.002\"}}"), 7.0),
        (format!("heddle_request_duration_seconds_count{{{service}}}"), 7.0),
        (format!(r#"heddle_grpc_responses_total{{{service},code="UNAVAILABLE"}}"#), 1.0),
        (format!(r#"heddle_grpc_responses_total{{{service},code="UNKNOWN"}}"#), 1.0),
        (format!("heddle_retries_total{{{service},reason=\"connect\"}}"), 1.0),
        (r#"heddle_answers_total{listener="outbound",service="/svc/accounts",kind="no-endpoints"}"#.to_owned(), 1.0),
        (format!(r#"heddle_hedges_total{{{service},event="won"}}"#), 1.0),
        (format!(r#"heddle_mirrors_total{{{service},event="dropped"}}"#), 1.0),
        (format!("heddle_retry_budget_balance{{{service}}}"), 100.0),
        (format!("heddle_attempts_total{{{set},outcome=\"success\"}}"), 3.0),
        (format!("heddle_attempts_total{{{set},outcome=\"reset\"}}"), 1.0),
        (format!("heddle_endpoints_ejected{{{set}}}"), 1.0),
        (format!("heddle_upstream_refused_total{{{set},cap=\"pending\"}}"), 1.0),
        (format!("heddle_connect_duration_seconds_sum{{{set}}}"), 0.004),
        (format!("heddle_replica_set_updated_timestamp_seconds{{{set}}}"), 1.7e9),
        ("heddle_config_generation".to_owned(), 1.0),
        ("heddle_config_findings".to_owned(), 3.0),
        ("heddle_config_last_reload_successful".to_owned(), 0.0),
        ("heddle_config_last_reload_success_timestamp_seconds".to_owned(), 5.0),
        (r#"heddle_config_info{hash="00000000000000ab"}"#.to_owned(), 1.0),
        ("heddle_config_last_reload_timestamp_seconds".to_owned(), 6.0),
        (r#"heddle_config_reloads_total{result="failed"}"#.to_owned(), 1.0),
        (r#"heddle_cache_hits_total{level="tree"}"#.to_owned(), 1.0),
        (r#"heddle_mass_loss_guard_total{event="held"}"#.to_owned(), 1.0),
        (r#"heddle_proxy_refused_total{reason="connections"}"#.to_owned(), 1.0),
    ];
    for (sample, value) in expected {
        assert_eq!(samples.get(&*sample), Some(&value), "{sample}\n{text}");
    }
    for sample in [
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_threads",
        "process_max_fds",
    ] {
        assert!(
            samples.get(sample).is_some_and(|&value| value > 0.0),
            "{sample}"
        );
    }
}

#[test]
fn label_values_are_escaped_and_kept_apart() {
    let metrics = Metrics::new(100);
    metrics.service("a", "b\"\\\n").faults.inc();
    // A hash of the joined values could not tell these two apart.
    metrics.service("ab", "c").faults.inc();
    metrics.service("a", "bc").faults.add(2);
    let text = metrics.render();
    let samples = samples(&text);
    let value = |labels: &str| {
        samples
            .get(&*format!("heddle_faults_injected_total{{{labels}}}"))
            .copied()
    };
    assert_eq!(
        value(r#"listener="a",service="b\"\\\n""#),
        Some(1.0),
        "{text}"
    );
    assert_eq!(value(r#"listener="ab",service="c""#), Some(1.0));
    assert_eq!(value(r#"listener="a",service="bc""#), Some(2.0));
}

#[test]
fn beyond_the_cap_names_share_the_overflow() {
    let metrics = Metrics::new(12);
    let services: Vec<_> = (0..5)
        .map(|i| metrics.service("in", &format!("/svc/{i}")))
        .collect();
    let sets: Vec<_> = (0..5)
        .map(|i| metrics.replica_set(&format!("/#/static/{i}")))
        .collect();
    services.iter().for_each(|service| service.answered(200, 1));
    sets.iter().for_each(|set| set.success.inc());
    assert!(
        Arc::ptr_eq(&services[2], &services[4]),
        "names beyond the cap share one handle"
    );
    let text = metrics.render();
    let found = samples(&text);
    let ok = |service: &str| {
        found
            .get(&*format!(
                r#"heddle_requests_total{{listener="in",service="{service}",class="2xx"}}"#
            ))
            .copied()
    };
    assert_eq!(
        [ok("/svc/0"), ok("/svc/1"), ok("/svc/2"), ok("overflow")],
        [Some(1.0), Some(1.0), None, Some(3.0)]
    );
    let attempts = found.get(r#"heddle_attempts_total{replica_set="overflow",outcome="success"}"#);
    assert_eq!(attempts, Some(&3.0));
    let refused =
        found.get(r#"heddle_metric_series_overflow_total{metric="heddle_requests_total"}"#);
    assert_eq!(refused, Some(&3.0));
    let families = metrics.families.registry.gather();
    for family in &families {
        let own = |metric: &&prometheus::proto::Metric| {
            metric.get_label().iter().all(|l| l.value() != OVERFLOW)
        };
        let count = family.get_metric().iter().filter(own).count();
        assert!(
            count <= 12 || family.name() == "heddle_metric_series_overflow_total",
            "{}: {count}",
            family.name()
        );
    }
    metrics.set_max_series(100);
    assert!(
        !Arc::ptr_eq(&services[2], &metrics.service("in", "/svc/2")),
        "a raised cap takes effect"
    );
}

#[test]
fn reasons_beyond_their_cap_fall_into_overflow_one_by_one() {
    let metrics = Metrics::new(5);
    let service = metrics.service("in", "/svc/a");
    for reason in ["a", "b", "c", "d", "e", "f", "g", "a"] {
        service.answers.inc(reason);
    }
    assert_eq!(service.answers.get("a"), 2);
    assert_eq!(service.answers.counts().count(), 7);
    let text = metrics.render();
    let found = samples(&text);
    let count = |name: &str, kind: &str| {
        found
            .get(&*format!(
                r#"heddle_answers_total{{listener="in",service="{name}",kind="{kind}"}}"#
            ))
            .copied()
    };
    assert_eq!(
        (
            count("/svc/a", "a"),
            count("/svc/a", "f"),
            count("overflow", "f")
        ),
        (Some(2.0), None, Some(1.0))
    );
}

#[test]
fn a_name_that_nobody_holds_is_forgotten_after_its_time() {
    let metrics = Metrics::new(100);
    let (start, idle) = (Instant::now(), Duration::from_secs(600));
    let kept = metrics.service("in", "/svc/kept");
    metrics.service("in", "/svc/gone").answered(200, 1);
    metrics.replica_set("/#/static/gone").success.inc();
    let shown = |what: &str| metrics.render().contains(what);
    metrics.forget_idle(start, idle);
    metrics.forget_idle(start + idle / 2, idle);
    assert!(shown("/svc/gone") && shown("/#/static/gone"));
    drop(metrics.service("in", "/svc/gone"));
    metrics.forget_idle(start + idle, idle);
    assert!(!shown("/svc/gone") && !shown("/#/static/gone") && shown("/svc/kept"));
    assert_eq!(kept.requests[1].get(), 0);
    assert_eq!(
        metrics.service("in", "/svc/gone").requests[1].get(),
        0,
        "it starts again at zero"
    );
}

#[test]
fn room_of_idle_names_is_given_away() {
    let metrics = Metrics::new(5);
    drop(metrics.service("in", "/svc/a"));
    let b = metrics.service("in", "/svc/b");
    let text = metrics.render();
    assert!(
        text.contains("/svc/b") && !text.contains("/svc/a") && !text.contains("overflow\""),
        "{text}"
    );
    let c = metrics.service("in", "/svc/c");
    assert!(!Arc::ptr_eq(&b, &c) && metrics.render().contains(r#"service="overflow""#));
}

#[test]
fn the_document_lists_what_is_registered() {
    let cell = |text: &str| text.trim().trim_matches('`').to_owned();
    let rows = include_str!("../../../docs/metrics.md")
        .lines()
        .filter(|line| line.starts_with("| `"));
    let documented: BTreeMap<String, (String, String)> = rows
        .map(|row| row.split('|').map(cell).collect::<Vec<_>>())
        .map(|cells| (cells[1].clone(), (cells[2].clone(), cells[3].clone())))
        .collect();
    let metrics = Metrics::new(5);
    let registered: BTreeMap<String, (String, String)> = metrics
        .described()
        .iter()
        .map(|family| {
            (
                family.name.to_owned(),
                (family.kind.to_owned(), family.labels.join(", ")),
            )
        })
        .collect();
    assert_eq!(
        documented, registered,
        "docs/metrics.md and proxy/src/metrics differ"
    );
    let unnamed: Vec<_> = registered
        .iter()
        .filter(|(name, (kind, _))| (kind == "counter") != name.ends_with("_total"))
        .map(|(name, _)| name)
        .collect();
    assert!(
        unnamed.is_empty(),
        "counters and nothing else end in _total: {unnamed:?}"
    );
}
