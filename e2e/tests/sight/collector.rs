//! Spans, as a collector made of OpenTelemetry's own code receives them.

use crate::support::{ask, metric, nobody};
use heddle_e2e::echo::Echo;
use heddle_e2e::needs::{Need, clients};
use heddle_e2e::process::Running;
use heddle_e2e::proxy::{Proxy, Setup};
use heddle_e2e::script::{Scripted, eventually};
use serde_json::Value;
use std::time::Duration;

const PARENT: &str = "00f067aa0ba902b7";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SERVER: u64 = 2;
const CLIENT: u64 = 3;

/// The collector and its port.
fn collector() -> (Running, String) {
    let mut command = Need::OpentelemetryProto.command();
    command.arg(clients("python").join("otlp_collector.py"));
    let mut running = Running::start(&mut command);
    let port = running.wait_for_line("listening on ", Duration::from_secs(30));
    (running, port)
}

fn spans(collector: &Running) -> Vec<Value> {
    collector
        .output()
        .lines()
        .filter_map(|line| serde_json::from_str(line.split_once("span ")?.1).ok())
        .collect()
}

fn tracing(port: &str, service: &str) -> Setup {
    Setup::new().top(&format!(
        "tracing: {{otlp: \"http://127.0.0.1:{port}\", sample: 1, service: {service}}}"
    ))
}

pub(crate) fn a_trace_goes_through_two_proxies() {
    let (collector, port) = collector();
    let echo = Scripted::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
    let second = Proxy::start(&tracing(&port, "second").replicas("echo", &[echo.address()]));
    let first = Proxy::start(&tracing(&port, "first").replicas("echo", &[second.outbound()]));
    let request = format!(
        "GET /traced HTTP/1.1\r\nhost: echo\r\ntraceparent: 00-{TRACE}-{PARENT}-01\r\ntracestate: a=b\r\n\r\n"
    );
    assert_eq!(ask(&first, request).status(), 200);
    eventually("four spans", || spans(&collector).len() == 4);
    let spans = spans(&collector);
    let of = |service: &str, kind: u64| {
        spans
            .iter()
            .find(|span| span["service"] == service && span["kind"] == kind)
            .unwrap_or_else(|| panic!("no span of {service} and kind {kind} in {spans:#?}"))
    };
    let chain = [
        of("first", SERVER),
        of("first", CLIENT),
        of("second", SERVER),
        of("second", CLIENT),
    ];
    let mut parent = Value::from(PARENT);
    for span in chain {
        assert_eq!(
            (&span["trace"], &span["parent"]),
            (&TRACE.into(), &parent),
            "{spans:#?}"
        );
        assert!(span["start"].as_u64() <= span["end"].as_u64(), "{span}");
        assert_eq!(
            span["attributes"]["http.response.status_code"], 200,
            "{span}"
        );
        parent = span["span"].clone();
    }
    assert_eq!(chain[0]["attributes"]["url.path"], "/traced");
    assert_eq!(chain[0]["attributes"]["heddle.name"], "/svc/echo");
    let head = &echo.requests()[0];
    let last = chain[3]["span"].as_str().expect("an id");
    assert_eq!(
        head.get("traceparent"),
        Some(format!("00-{TRACE}-{last}-01"))
    );
    assert_eq!(head.get("tracestate").as_deref(), Some("a=b"));
}

pub(crate) fn without_a_collector_requests_go_on_and_spans_are_counted() {
    let echo = Echo::start("echo");
    let port = nobody().port().to_string();
    let proxy = Proxy::start(&tracing(&port, "alone").replicas("echo", &[echo.address()]));
    for _ in 0..20 {
        assert_eq!(
            ask(&proxy, "GET / HTTP/1.1\r\nhost: echo\r\n\r\n").status(),
            200
        );
    }
    eventually("spans are counted as lost", || {
        metric(&proxy, "heddle_trace_spans_total{result=\"export-failed\"}") == 40.0
    });
}

pub(crate) fn contexts_go_on_in_the_form_in_which_they_came() {
    let echo = Scripted::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
    let port = nobody().port().to_string();
    let proxy = Proxy::start(&tracing(&port, "alone").replicas("echo", &[echo.address()]));
    let plain = Proxy::start(&Setup::new().replicas("echo", &[echo.address()]));
    let b3 = format!("b3: {TRACE}-{PARENT}-1\r\n");
    let many = format!("x-b3-traceid: {TRACE}\r\nx-b3-spanid: {PARENT}\r\nx-b3-sampled: 1\r\n");
    let unsampled = format!("traceparent: 00-{TRACE}-{PARENT}-00\r\n");
    let mut sent = 0;
    let mut send = |proxy: &Proxy, fields: &str| {
        let request = format!("GET / HTTP/1.1\r\nhost: echo\r\n{fields}\r\n");
        assert_eq!(ask(proxy, request).status(), 200);
        sent += 1;
        echo.requests()[sent - 1].clone()
    };
    let head = send(&proxy, &b3);
    let value = head.get("b3").expect("it goes on");
    assert!(
        value.starts_with(TRACE) && value.ends_with("-1") && !value.contains(PARENT),
        "{value}"
    );
    assert_eq!(head.get("traceparent"), None);
    let head = send(&proxy, &many);
    assert_eq!(head.get("x-b3-traceid").as_deref(), Some(TRACE));
    assert_ne!(head.get("x-b3-spanid").as_deref(), Some(PARENT));
    let head = send(&proxy, &unsampled);
    assert_eq!(
        head.get("traceparent"),
        Some(format!("00-{TRACE}-{PARENT}-00"))
    );
    let head = send(&proxy, "");
    let new = head.get("traceparent").expect("a trace begins here");
    assert!(new.starts_with("00-") && new.ends_with("-01"), "{new}");
    let head = send(&plain, &b3);
    assert_eq!(
        head.get("b3"),
        Some(format!("{TRACE}-{PARENT}-1")),
        "untouched without tracing"
    );
    assert_eq!(send(&plain, "").get("traceparent"), None);
}
